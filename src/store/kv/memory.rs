//! The store in a map: for tests and simulations, and the yardstick for every other engine. It keeps
//! the same bytes as the others, and fails on request.
//!
//! ```text
//! commit ──▶ pending ──release()──▶ durable ──▶ done(Ok)
//!               └── crash(): gone, done is never called with Ok
//! ```
//!
//! A commit that is not durable is followed by nothing of its org until that is loaded again, as behind any engine.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, ControlFlow},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::{sync::watch, time::Instant};

use super::{
    beside,
    changes::Changes,
    keys::Key,
    keyspace::{Keyspace, Visit},
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
        tenure::Tenure,
        window::Millis,
    },
    ports::{CommitDone, CommitError, OrgStore, StoreEngine, StoreFault, StoreState},
};

type Bytes = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store that ends with the process.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    state: watch::Sender<StoreState>,
    /// Loads wait while this is true.
    stalled: watch::Sender<bool>,
}

struct Inner {
    durable: Bytes,
    pending: VecDeque<(Handed, CommitDone)>,
    held: bool,
    closed: bool,
    epoch: Epoch,
    /// What the next commit is answered, and whether the store is lost with it.
    next: Option<(CommitError, bool)>,
    /// Orgs that have to be loaded again, with the answer to what is handed over meanwhile.
    broken: BTreeMap<OrgId, CommitError>,
    groups: u64,
}

struct Handed {
    org: OrgId,
    fence: Epoch,
    prepared: Prepared,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("durable", &self.durable.len())
            .field("pending", &self.pending.len())
            .field("held", &self.held)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::holding(Bytes::new())
    }
}

impl MemoryStore {
    /// Commits are durable at once.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn holding(durable: Bytes) -> Self {
        let inner = Inner {
            durable,
            pending: VecDeque::new(),
            held: false,
            closed: false,
            epoch: Epoch::ONLY,
            next: None,
            broken: BTreeMap::new(),
            groups: 0,
        };
        let (state, stalled) = (watch::Sender::new(StoreState::Up), watch::Sender::new(false));
        Self { inner: Mutex::new(inner), state, stalled }
    }

    /// From now on commits wait for [`release`](Self::release).
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Ends [`hold`](Self::hold): makes every waiting commit durable, in order, and what comes after at once.
    pub fn resume_commits(&self) {
        self.release();
        self.lock().held = false;
    }

    /// Makes every waiting commit durable, in order, and goes on holding.
    pub fn release(&self) {
        while self.release_one() {}
    }

    /// Makes the oldest waiting commit durable; false where none waits.
    pub fn release_one(&self) -> bool {
        let Some((handed, done)) = self.lock().pending.pop_front() else { return false };
        done(self.make_durable(handed));
        true
    }

    /// Commits that wait.
    pub fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// What a restart finds: the durable set alone. Waiting commits are dropped, and this store
    /// answers nothing more.
    pub fn crash(&self) -> Arc<Self> {
        let (durable, dropped) = {
            let mut inner = self.lock();
            inner.closed = true;
            (inner.durable.clone(), std::mem::take(&mut inner.pending))
        };
        self.break_now("crashed");
        let lost = self.lost("crashed");
        for (_, done) in dropped {
            done(Err(lost.clone()));
        }
        Arc::new(Self::holding(durable))
    }

    /// The next commit that would become durable fails with this cause and is in doubt, and the store is lost.
    pub fn fail_next(&self, cause: impl Into<String>) {
        self.lock().next = Some((CommitError::InDoubt(fault(cause)), true));
    }

    /// The next commit that would become durable has this answer, and the store goes on. One in doubt is written.
    pub fn answer_next(&self, error: CommitError) {
        self.lock().next = Some((error, false));
    }

    /// Another node takes the shards over: whoever was loaded before is fenced.
    pub fn take_over(&self) {
        self.lock().epoch.0 += 1;
    }

    /// Nothing is read or written until [`recover`](Self::recover).
    pub fn go_away(&self, cause: impl Into<String>) {
        self.state.send_replace(StoreState::Retrying { since: Instant::now(), fault: fault(cause) });
    }

    /// Ends [`go_away`](Self::go_away).
    pub fn recover(&self) {
        self.state.send_replace(StoreState::Up);
    }

    /// The store is broken from now on.
    pub fn break_now(&self, cause: impl Into<String>) {
        self.latch(fault(cause));
    }

    /// Loads hang until [`resume_loads`](Self::resume_loads).
    pub fn stall_loads(&self) {
        self.stalled.send_replace(true);
    }

    /// Ends [`stall_loads`](Self::stall_loads): loads that hang go on.
    pub fn resume_loads(&self) {
        self.stalled.send_replace(false);
    }

    /// Overwrites a stored value behind the codec's back, for tests of corruption: flips one bit of
    /// every value of the org's rows. Returns how many were hit.
    pub fn corrupt(&self, org: &OrgId) -> usize {
        let mut inner = self.lock();
        let of_org = |key: &[u8]| Key::decode(key).is_ok_and(|key| key.org() == Some(org));
        let hit = inner.durable.iter_mut().filter(|(key, _)| of_org(key));
        hit.filter_map(|(_, value)| value.last_mut()).map(|byte| *byte ^= 1).count()
    }

    /// Takes a stored row away behind the codec's back. Answers whether it was there.
    pub fn lose(&self, org: &OrgId, row: &RowKey) -> bool {
        self.lock().durable.remove(&Key::row(org, row).encode()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latch(&self, fault: StoreFault) {
        self.state.send_if_modified(|state| {
            let first = state.lost().is_none();
            if first {
                *state = StoreState::Lost(fault);
            }
            first
        });
    }

    fn lost(&self, otherwise: &str) -> CommitError {
        CommitError::Lost(self.state.borrow().lost().cloned().unwrap_or_else(|| fault(otherwise)))
    }

    fn make_durable(&self, handed: Handed) -> Result<(), CommitError> {
        let state = self.state.borrow().clone();
        let mut inner = self.lock();
        if let Some(error) = inner.broken.get(&handed.org) {
            return Err(error.clone());
        }
        let org = handed.org.clone();
        let (result, is_lost) = match (state, inner.next.take()) {
            (StoreState::Lost(fault), _) => (Err(CommitError::Lost(fault)), false),
            (StoreState::Retrying { fault, .. }, _) => (Err(CommitError::Unavailable(fault)), false),
            (StoreState::Up, _) if handed.fence != inner.epoch => (Err(CommitError::Fenced), false),
            (StoreState::Up, Some((error, is_lost))) => {
                if matches!(error, CommitError::InDoubt(_)) && !is_lost {
                    inner.apply(handed.prepared).map_err(CommitError::Lost)?;
                }
                (Err(error), is_lost)
            }
            (StoreState::Up, None) => (inner.apply(handed.prepared).map_err(CommitError::Lost), false),
        };
        if let Err(error) = &result {
            inner.broken.insert(org, error.clone());
            if let Some(fault) = error.fault().filter(|_| is_lost) {
                self.latch(fault.clone());
            }
        }
        result
    }

    async fn read<T>(&self, read: impl FnOnce(&Bytes) -> Result<T, ReadError>) -> Result<T, StoreFault> {
        let mut stalled = self.stalled.subscribe();
        let _ = stalled.wait_for(|stalled| !stalled).await;
        if let Some(fault) = self.state.borrow().fault() {
            return Err(fault.clone());
        }
        read(&self.lock().durable).map_err(|error| match error {
            ReadError::Engine(fault) => fault,
            ReadError::Row(error) => read::unreadable(&error),
        })
    }
}

impl Inner {
    fn apply(&mut self, prepared: Prepared) -> Result<(), StoreFault> {
        let mut changes = Changes::default();
        changes.merge(&self.durable, prepared)?;
        // Nothing survives the process, so there is no meta row to keep the sum in.
        changes.seal(&self.durable, 0)?;
        for (key, value) in changes {
            match value {
                Some(value) => self.durable.insert(key, value),
                None => self.durable.remove(&key),
            };
        }
        self.groups += 1;
        Ok(())
    }
}

impl Keyspace for Bytes {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(Self::get(self, key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreFault> {
        for (key, value) in self.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

fn fault(cause: impl Into<String>) -> StoreFault {
    StoreFault { operation: "commit", cause: cause.into() }
}

impl OrgStore for MemoryStore {
    fn tenure(&self, _org: &OrgId) -> Option<Tenure> {
        Some(Tenure { epoch: self.lock().epoch, ..Tenure::ONLY })
    }

    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        let org = org.clone();
        async move {
            let rows = self.read(|bytes| read::load(bytes, &org)).await?;
            self.lock().broken.remove(&org);
            Ok(rows)
        }
        .boxed()
    }

    fn commit(&self, write: OrgWrite, fence: Epoch, done: CommitDone) {
        let org = write.org.clone();
        let prepared = match prepare(write) {
            Ok(prepared) => prepared,
            Err(error) => {
                let fault = fault(error.to_string());
                self.latch(fault.clone());
                return done(Err(CommitError::Lost(fault)));
            }
        };
        let handed = Handed { org, fence, prepared };
        let mut inner = self.lock();
        if inner.closed {
            drop(inner);
            return done(Err(self.lost("the store is closed")));
        }
        if inner.held {
            return inner.pending.push_back((handed, done));
        }
        drop(inner);
        done(self.make_durable(handed));
    }

    questions!(list);

    fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        async move {
            self.lock().closed = true;
            self.release();
            self.state.borrow().fault().cloned().map_or(Ok(()), Err)
        }
        .boxed()
    }
}

impl StoreEngine for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn groups(&self) -> u64 {
        self.lock().groups
    }
}

#[cfg(test)]
mod tests;
