//! The wall clock of a plane: it dates request ids, and usage that is recorded later. What is dated here, the node judges
//! by its own time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "this is the module of the client that reads a clock")]
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
