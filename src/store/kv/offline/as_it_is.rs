//! An opened data directory as a store to be read from, damaged or not: rows that do not add up are given
//! all the same, and so are those of an org whose head is lost. What is wrong is for fsck to say.

use std::fmt;

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::watch;

use super::super::{
    beside,
    read::{self, ReadError},
    sled::Opened,
};
use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Head, OrgRows, OrgWrite, Row, RowKey, RowKind},
        shard::ShardSet,
        window::Millis,
    },
    ports::{CommitDone, OrgStore, StoreFault},
};

pub(super) struct AsItIs<'o> {
    opened: &'o Opened,
    fault: watch::Sender<Option<StoreFault>>,
}

impl<'o> AsItIs<'o> {
    pub(super) fn new(opened: &'o Opened) -> Self {
        Self { opened, fault: watch::Sender::new(None) }
    }

    fn orgs(&self, shards: &ShardSet, after: Option<&OrgId>, max: usize) -> Result<Vec<(OrgId, Head)>, ReadError> {
        let mut orgs = Vec::new();
        let mut after = after.cloned();
        while orgs.len() < max
            && let Some(org) = read::next_org(&self.opened.engine, after.as_ref())?
        {
            after = Some(org.clone());
            if shards.holds(&org) {
                orgs.push((org, Head::default()));
            }
        }
        Ok(orgs)
    }
}

impl fmt::Debug for AsItIs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsItIs").field("opened", self.opened).finish_non_exhaustive()
    }
}

fn answer<'f, T: Send + 'f>(read: Result<T, ReadError>) -> BoxFuture<'f, Result<T, StoreFault>> {
    ready(read.map_err(|error| StoreFault { operation: "load", cause: error.to_string() })).boxed()
}

impl OrgStore for AsItIs<'_> {
    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        answer(read::salvage(&self.opened.engine, org))
    }

    fn commit(&self, _write: OrgWrite, done: CommitDone) {
        done(Err(StoreFault { operation: "commit", cause: "the directory is only read".to_owned() }));
    }

    fn due(
        &self,
        now: Millis,
        shards: &ShardSet,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(Millis, OrgId)>, StoreFault>> {
        answer(read::due(&self.opened.engine, now, shards, max))
    }

    /// Heads are not read: one may be lost.
    fn list(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>> {
        answer(self.orgs(shards, after, max))
    }

    fn having(
        &self,
        kind: RowKind,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<OrgId>, StoreFault>> {
        answer(read::having(&self.opened.engine, kind, shards, after, max))
    }

    fn some(&self, org: &OrgId, kinds: &'static [RowKind]) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        answer(read::some(&self.opened.engine, org, kinds))
    }

    fn latest(&self, org: &OrgId, names: Vec<KeptName>) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        answer(beside::latest(&self.opened.engine, org, &names))
    }

    fn beside(
        &self,
        org: &OrgId,
        kind: RowKind,
        after: Option<RowKey>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        answer(beside::beside(&self.opened.engine, org, kind, after.as_ref(), max))
    }

    fn fault(&self) -> watch::Receiver<Option<StoreFault>> {
        self.fault.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        ready(Ok(())).boxed()
    }
}
