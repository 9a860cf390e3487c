//! What stands behind a store: files, groups of commits, and the time that what is purged stays in the files.

use std::{fmt, future::ready, sync::Arc};

use futures_util::future::BoxFuture;

use super::StoreFault;
use crate::domain::window::Millis;

/// The engine behind a store, for the node that runs it and for operators. No decision depends on it.
pub trait StoreEngine: Send + Sync + fmt::Debug {
    /// `sled`, `memory`, …
    fn kind(&self) -> &'static str;

    /// Commit groups made durable in the life of this store.
    fn groups(&self) -> u64;

    /// The commit group that is being made durable, by a number that no other group of this store has;
    /// `None` while there is none. One that stays for long is a disk that hangs.
    fn unanswered(&self) -> Option<u64> {
        None
    }

    /// Makes the clock's mark durable, which otherwise goes with the next commit group. Returns at once;
    /// nothing where no mark is kept.
    fn keep_mark(&self) {}

    /// Since when the files may hold bytes of what was purged, in service time; kept over restarts. `None` where they
    /// hold none, and where the engine gives no time for it.
    fn purged_since(&self) -> Option<Millis> {
        None
    }

    /// Whether [`compact`](Self::compact) does anything.
    fn compacts(&self) -> bool {
        false
    }

    /// Rewrites the files without what was overwritten or removed, while they are in use. Ends early where `may_go_on`
    /// says no, and at a close.
    ///
    /// # Errors
    /// Why the files are those that they were before. Nothing is lost then.
    fn compact(&self, may_go_on: MayGoOn) -> BoxFuture<'_, Result<Compacted, StoreFault>> {
        drop(may_go_on);
        let cause = format!("{} is not compacted by tollgate", self.kind());
        Box::pin(ready(Err(StoreFault { operation: "compact", cause })))
    }
}

/// Asked again and again by what takes long: whether there is still room for it.
pub type MayGoOn = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Rows of every kind.
    pub rows: u64,
    /// Bytes of the engine's files on the disk before.
    pub before: u64,
    /// Bytes of the engine's files on the disk now.
    pub after: u64,
}
