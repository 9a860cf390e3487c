//! A process that stays on a core.

use std::process::Command;

/// The program on this core, where there is `taskset`.
pub(crate) fn pinned(core: &str, program: &str) -> Command {
    let pins = Command::new("taskset").args(["-c", core, "true"]).status().is_ok_and(|status| status.success());
    if !pins {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core, program]);
    command
}
