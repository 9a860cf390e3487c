//! What a process that has orgs and secrets keeps from the other users of its machine.

use nix::sys::{
    resource::{Resource, setrlimit},
    stat::{Mode, umask},
};

/// Whatever it writes from now on is its user's alone, also what the engine makes.
pub(super) fn keep_files() {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// Its memory is written to no file when it crashes.
pub(super) fn keep_memory() {
    // Where it may not even lower this, the supervisor has set it.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
