//! The engine of a single node: sled 0.34 behind [`OrgStore`].
//!
//! sled's own `flush` is not durable on Linux and its asynchronous form deadlocks, so one committer
//! thread merges what is waiting into one batch, flushes, syncs the file itself and only then
//! answers. Around it stand the guards that sled lacks:
//!
//! ```text
//! <data-dir>/          0700
//!   lock               one process per data directory
//!   sled/              the engine's own files
//!   committed          number of the last durable commit group; a smaller number found in the
//!                      engine means that its tail was lost, which sled itself does not notice
//!   purged             since when the engine may hold bytes of what was purged; see purged.rs
//!   compacting/, sled.compacted/, sled.replaced/
//!                      while a compaction is under way; see compaction.rs and replacing.rs
//!   quarantine-<ms>/   an engine that could not be opened, moved aside as it was
//!   QUARANTINED        why, and what to do; while it exists nothing is opened
//! ```

mod committer;
mod compaction;
mod engine;
mod held;
mod layout;
mod open;
mod open_error;
mod purged;
mod replacing;
mod twin;

use std::{
    fmt, panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{oneshot, watch};

pub(in crate::store::kv) use committer::put_meta;
pub(in crate::store::kv) use engine::Engine;
pub(in crate::store::kv) use layout::{Committed, Layout};
pub(in crate::store::kv) use open::{
    Failure, clear_unfinished_import, committed, finish_import, open_for_import, open_for_repair, quarantine_note,
    undo_import,
};
pub use open::{Opened, open};
pub use open_error::OpenError;
pub(in crate::store::kv) use replacing::bytes_below;
pub(in crate::store::kv) use twin::Twin;

use self::{
    committer::{Handed, Inlet, Message},
    compaction::Changed,
    layout::Lock,
    purged::Purged,
};
use super::{
    beside,
    prepare::{Prepared, prepare},
    questions,
    read::{self, ReadError},
};
use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Head, OrgRows, OrgWrite, Row, RowKey, RowKind},
        shard::{Epoch, ShardSet},
        window::Millis,
    },
    ports::{CommitDone, CommitError, Compacted, MayGoOn, OrgStore, StoreEngine, StoreFault, StoreState},
    store::reply::Reply,
};

/// How the engine runs. There is nothing here for an operator to tune.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// Sync the engine's file after every group. False exists only for the negative control of the
    /// power-cut test, which must then lose acknowledged commits: never run so.
    pub sync_data: bool,
    /// How long to wait for another process to let go of the data directory.
    pub lock_wait: Duration,
    /// Go on where the file that would show a lost tail is missing.
    pub accept_lost_tail: bool,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { sync_data: true, lock_wait: Duration::from_secs(2), accept_lost_tail: false }
    }
}

/// One commit group, once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupStats {
    /// Commits merged.
    pub writes: usize,
    /// Keys written or removed.
    pub rows: usize,
    /// Bytes of the keys and values.
    pub bytes: usize,
    /// From merging to the end of the sync.
    pub micros: u64,
}

/// Called for every group, on the committer's thread: brief, and never blocking.
pub type GroupObserver = Arc<dyn Fn(GroupStats) + Send + Sync>;

/// A data directory in use, with the thread that commits to it.
pub struct SledStore {
    shared: Arc<Shared>,
    committer: Inlet,
}

/// What the store's handle and its committer both hold.
struct Shared {
    /// Another one once it is compacted.
    engine: ArcSwap<Engine>,
    layout: Layout,
    purged: Purged,
    /// While a compaction is under way.
    changed: Mutex<Option<Changed>>,
    closing: AtomicBool,
    state: watch::Sender<StoreState>,
    groups: AtomicU64,
    /// The group that the committer is at, counted from 1; 0 while it is at none.
    under_way: AtomicU64,
    /// Let go last, when the engine is gone.
    lock: Lock,
}

impl Shared {
    fn standing_fault(&self) -> Option<StoreFault> {
        self.state.borrow().lost().cloned()
    }

    /// The first fault stays.
    fn latch(&self, fault: &StoreFault) {
        let first = self.state.send_if_modified(|state| {
            let first = state.is_up();
            if first {
                *state = StoreState::Lost(fault.clone());
            }
            first
        });
        if first {
            tracing::error!(%fault, "the store has failed; nothing is acknowledged any more");
        }
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl SledStore {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreFault> {
        if let Some(fault) = self.shared.standing_fault() {
            return Err(fault);
        }
        let shared = Arc::clone(&self.shared);
        let fault = match tokio::task::spawn_blocking(move || read(&shared.engine.load())).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(ReadError::Row(error))) => return Err(read::unreadable(&error)),
            Ok(Err(ReadError::Engine(fault))) => fault,
            Err(error) => StoreFault { operation: "load", cause: format!("the engine panicked: {error}") },
        };
        self.shared.latch(&fault);
        Err(fault)
    }
}

impl OrgStore for SledStore {
    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        let org = org.clone();
        self.read(move |engine| read::load(engine, &org)).boxed()
    }

    /// Nobody else can own the data directory, so there is nothing to compare the epoch with.
    fn commit(&self, write: OrgWrite, _fence: Epoch, done: CommitDone) {
        let done = Reply::new(done);
        match prepare(write) {
            // A send that fails drops the reply, which answers that the store is closed.
            Ok(prepared) => drop(self.committer.send(Message::Commit(Handed { prepared, done }))),
            Err(error) => {
                let fault = StoreFault { operation: "commit", cause: error.to_string() };
                self.shared.latch(&fault);
                done.answer(Err(CommitError::Lost(fault)));
            }
        }
    }

    questions!(list);

    fn state(&self) -> watch::Receiver<StoreState> {
        self.shared.state.subscribe()
    }

    fn fault(&self, _org: &OrgId) -> Option<StoreFault> {
        self.shared.standing_fault()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        let (answer, closed) = oneshot::channel();
        self.shared.closing.store(true, Ordering::Relaxed);
        // Where the committer is gone already, `answer` is dropped and the wait ends at once.
        drop(self.committer.send(Message::Close(answer)));
        async move {
            let _ = closed.await;
            self.shared.standing_fault().map_or(Ok(()), Err)
        }
        .boxed()
    }
}

impl StoreEngine for SledStore {
    fn kind(&self) -> &'static str {
        "sled"
    }

    fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    fn unanswered(&self) -> Option<u64> {
        Some(self.shared.under_way.load(Ordering::Relaxed)).filter(|group| *group > 0)
    }

    /// Every group carries the mark, also one without rows.
    fn keep_mark(&self) {
        let done = Reply::new(Box::new(|_| {}));
        drop(self.committer.send(Message::Commit(Handed { prepared: Prepared::default(), done })));
    }

    fn purged_since(&self) -> Option<Millis> {
        self.shared.purged.since()
    }

    fn compacts(&self) -> bool {
        true
    }

    fn compact(&self, may_go_on: MayGoOn) -> BoxFuture<'_, Result<Compacted, StoreFault>> {
        let (shared, committer) = (Arc::clone(&self.shared), self.committer.clone());
        let run = move || guarded("compact", || compaction::run(&shared, &committer, &*may_go_on));
        async move { tokio::task::spawn_blocking(run).await.map_err(twin::failed)? }.boxed()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }
}

/// What a panic said.
fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message").to_owned()
}

/// Runs what may panic inside the engine.
fn guarded<T>(operation: &'static str, run: impl FnOnce() -> Result<T, StoreFault>) -> Result<T, StoreFault> {
    panic::catch_unwind(panic::AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        Err(StoreFault { operation, cause: format!("the engine panicked: {}", panic_text(&*payload)) })
    })
}

#[cfg(test)]
pub(crate) mod stale;
#[cfg(test)]
pub(in crate::store::kv) mod tests;
