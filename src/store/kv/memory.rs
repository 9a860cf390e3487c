//! The store in a map: for tests and simulations, and the yardstick for every other engine. It keeps
//! the same bytes as the others, and fails on request.
//!
//! ```text
//! commit ──▶ pending ──release()──▶ durable ──▶ done(Ok)
//!               └── crash(): gone, done is never called with Ok
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, ControlFlow},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

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
        shard::ShardSet,
        window::Millis,
    },
    ports::{CommitDone, OrgStore, StoreEngine, StoreFault},
};

type Bytes = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store that ends with the process.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    fault: watch::Sender<Option<StoreFault>>,
    /// Loads wait while this is true.
    stalled: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    durable: Bytes,
    pending: VecDeque<(Prepared, CommitDone)>,
    held: bool,
    closed: bool,
    fail_next: Option<String>,
    groups: u64,
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
        let inner = Inner { durable, ..Inner::default() };
        Self { inner: Mutex::new(inner), fault: watch::Sender::new(None), stalled: watch::Sender::new(false) }
    }

    /// From now on commits wait for [`release`](Self::release).
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Makes every waiting commit durable, in order, and goes on holding.
    pub fn release(&self) {
        while self.release_one() {}
    }

    /// Makes the oldest waiting commit durable; false where none waits.
    pub fn release_one(&self) -> bool {
        let Some((prepared, done)) = self.lock().pending.pop_front() else { return false };
        done(self.make_durable(prepared));
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
        let fault = self.standing_fault("commit", "crashed");
        for (_, done) in dropped {
            done(Err(fault.clone()));
        }
        Arc::new(Self::holding(durable))
    }

    /// The next commit that would become durable fails with this cause, and so does all after it.
    pub fn fail_next(&self, cause: impl Into<String>) {
        self.lock().fail_next = Some(cause.into());
    }

    /// The store is broken from now on.
    pub fn break_now(&self, cause: impl Into<String>) {
        self.latch(StoreFault { operation: "commit", cause: cause.into() });
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
        self.fault.send_if_modified(|standing| {
            let first = standing.is_none();
            if first {
                *standing = Some(fault);
            }
            first
        });
    }

    fn standing_fault(&self, operation: &'static str, otherwise: &str) -> StoreFault {
        self.fault.borrow().clone().unwrap_or_else(|| StoreFault { operation, cause: otherwise.to_owned() })
    }

    fn make_durable(&self, prepared: Prepared) -> Result<(), StoreFault> {
        if let Some(fault) = self.fault.borrow().clone() {
            return Err(fault);
        }
        let injected = self.lock().fail_next.take();
        if let Some(cause) = injected {
            let fault = StoreFault { operation: "commit", cause };
            self.latch(fault.clone());
            return Err(fault);
        }
        self.lock().apply(prepared)
    }

    async fn read<T>(&self, read: impl FnOnce(&Bytes) -> Result<T, ReadError>) -> Result<T, StoreFault> {
        let mut stalled = self.stalled.subscribe();
        let _ = stalled.wait_for(|stalled| !stalled).await;
        if let Some(fault) = self.fault.borrow().clone() {
            return Err(fault);
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

impl OrgStore for MemoryStore {
    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        let org = org.clone();
        self.read(move |bytes| read::load(bytes, &org)).boxed()
    }

    fn commit(&self, write: OrgWrite, done: CommitDone) {
        let prepared = match prepare(write) {
            Ok(prepared) => prepared,
            Err(error) => {
                let fault = StoreFault { operation: "commit", cause: error.to_string() };
                self.latch(fault.clone());
                return done(Err(fault));
            }
        };
        let mut inner = self.lock();
        if inner.closed {
            drop(inner);
            return done(Err(self.standing_fault("commit", "the store is closed")));
        }
        if inner.held {
            return inner.pending.push_back((prepared, done));
        }
        drop(inner);
        done(self.make_durable(prepared));
    }

    questions!(list);

    fn fault(&self) -> watch::Receiver<Option<StoreFault>> {
        self.fault.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        async move {
            self.lock().closed = true;
            self.release();
            self.fault.borrow().clone().map_or(Ok(()), Err)
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
