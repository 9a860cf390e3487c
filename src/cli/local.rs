//! The verbs that work on this machine's files instead of asking a node.

use super::{
    Exit,
    args::{CheckConfigArgs, ExportArgs, FsckArgs, ImportArgs, ServeArgs},
    output::Output,
};

pub(super) fn serve(_args: &ServeArgs, output: &mut Output<'_>) -> Exit {
    not_in_this_build("serve", output)
}

pub(super) fn check_config(_args: &CheckConfigArgs, output: &mut Output<'_>) -> Exit {
    not_in_this_build("check-config", output)
}

pub(super) fn fsck(_args: &FsckArgs, output: &mut Output<'_>) -> Exit {
    not_in_this_build("fsck", output)
}

pub(super) fn export(_args: &ExportArgs, output: &mut Output<'_>) -> Exit {
    not_in_this_build("export", output)
}

pub(super) fn import(_args: &ImportArgs, output: &mut Output<'_>) -> Exit {
    not_in_this_build("import", output)
}

fn not_in_this_build(verb: &str, output: &mut Output<'_>) -> Exit {
    output.error(&format!("`tollgate {verb}` is not part of this build"));
    Exit::Error
}
