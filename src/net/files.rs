//! File descriptors: every connection takes one, and the store needs some as well.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the node itself opens: its store, its listeners, its requests to the billing provider.
const OF_THE_NODE: u64 = 512;

/// Raises the limit of this process to what it may be, and answers how many connections it has room for.
pub fn room_for_connections() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    let raised = soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    (if raised { hard } else { soft }).saturating_sub(OF_THE_NODE)
}
