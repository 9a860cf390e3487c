//! What a node serves with when its store could not be opened: every operation is a fault, and the
//! fault is there from the start, so the node is never healthy.

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::watch;

use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Head, OrgRows, OrgWrite, Row, RowKey, RowKind},
        shard::{Epoch, ShardSet},
        window::Millis,
    },
    ports::{CommitDone, CommitError, OrgStore, StoreEngine, StoreFault, StoreState},
};

/// A store that fails every operation.
#[derive(Debug)]
pub struct BrokenStore {
    state: watch::Sender<StoreState>,
    reason: String,
}

impl BrokenStore {
    /// `reason` is the cause of every fault.
    pub fn new(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let fault = StoreFault { operation: "open", cause: reason.clone() };
        Self { state: watch::Sender::new(StoreState::Lost(fault)), reason }
    }

    fn refuse<T: Send + 'static>(&self, operation: &'static str) -> BoxFuture<'_, Result<T, StoreFault>> {
        ready(Err(StoreFault { operation, cause: self.reason.clone() })).boxed()
    }
}

impl OrgStore for BrokenStore {
    fn load(&self, _org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        self.refuse("load")
    }

    fn commit(&self, _write: OrgWrite, _fence: Epoch, done: CommitDone) {
        done(Err(CommitError::Lost(StoreFault { operation: "commit", cause: self.reason.clone() })));
    }

    fn due(
        &self,
        _now: Millis,
        _shards: &ShardSet,
        _max: usize,
    ) -> BoxFuture<'_, Result<Vec<(Millis, OrgId)>, StoreFault>> {
        self.refuse("due")
    }

    fn list(
        &self,
        _shards: &ShardSet,
        _after: Option<&OrgId>,
        _max: usize,
    ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>> {
        self.refuse("list")
    }

    fn having(
        &self,
        _kind: RowKind,
        _shards: &ShardSet,
        _after: Option<&OrgId>,
        _max: usize,
    ) -> BoxFuture<'_, Result<Vec<OrgId>, StoreFault>> {
        self.refuse("having")
    }

    fn some(&self, _org: &OrgId, _kinds: &'static [RowKind]) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        self.refuse("some")
    }

    fn latest(&self, _org: &OrgId, _names: Vec<KeptName>) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.refuse("latest")
    }

    fn beside(
        &self,
        _org: &OrgId,
        _kind: RowKind,
        _after: Option<RowKey>,
        _max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.refuse("beside")
    }

    fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    /// Nothing was opened, so nothing fails to close.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        ready(Ok(())).boxed()
    }
}

impl StoreEngine for BrokenStore {
    fn kind(&self) -> &'static str {
        "broken"
    }

    fn groups(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_operation_is_a_fault_from_the_start() {
        let store = BrokenStore::new("quarantined");
        let org = OrgId::parse("org", "a").unwrap();
        assert_eq!(store.state().borrow().lost().map(|fault| fault.operation), Some("open"));
        assert!(store.load(&org).await.is_err());
        assert!(store.due(0, &ShardSet::all(), 1).await.is_err());
        assert!(store.list(&ShardSet::all(), None, 1).await.is_err());
        assert!(store.having(RowKind::Pool, &ShardSet::all(), None, 1).await.is_err());
        assert!(store.some(&org, &[RowKind::Pool]).await.is_err());
        assert!(store.latest(&org, vec![]).await.is_err());
        assert!(store.beside(&org, RowKind::IdPage, None, 1).await.is_err());
        let (answer, answered) = std::sync::mpsc::channel();
        let write = OrgWrite::empty(&org);
        store.commit(write, Epoch::ONLY, Box::new(move |result| answer.send(result).unwrap()));
        let refused = answered.recv().unwrap().unwrap_err();
        assert!(matches!(refused, CommitError::Lost(fault) if fault.cause == "quarantined"));
    }
}
