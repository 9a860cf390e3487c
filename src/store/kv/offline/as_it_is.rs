//! An opened data directory as a store to be read from, damaged or not: rows that do not add up are given
//! all the same, and so are those of an org whose head is lost. What is wrong is for fsck to say.

use std::fmt;

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::watch;

use super::super::{
    beside, questions,
    read::{self, ReadError},
    sled::{Engine, Opened},
};
use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Head, OrgRows, OrgWrite, Row, RowKey, RowKind},
        shard::{Epoch, ShardSet},
        window::Millis,
    },
    ports::{CommitDone, CommitError, OrgStore, StoreFault, StoreState},
};

pub(super) struct AsItIs<'o> {
    opened: &'o Opened,
    state: watch::Sender<StoreState>,
}

impl<'o> AsItIs<'o> {
    pub(super) fn new(opened: &'o Opened) -> Self {
        Self { opened, state: watch::Sender::new(StoreState::Up) }
    }

    async fn read<T>(&self, read: impl FnOnce(&Engine) -> Result<T, ReadError>) -> Result<T, StoreFault> {
        read(&self.opened.engine).map_err(|error| StoreFault { operation: "load", cause: error.to_string() })
    }
}

fn orgs(
    engine: &Engine,
    shards: &ShardSet,
    mut after: Option<OrgId>,
    max: usize,
) -> Result<Vec<(OrgId, Head)>, ReadError> {
    let mut orgs = Vec::new();
    while orgs.len() < max
        && let Some(org) = read::next_org(engine, after.as_ref())?
    {
        after = Some(org.clone());
        if shards.holds(&org) {
            orgs.push((org, Head::default()));
        }
    }
    Ok(orgs)
}

impl fmt::Debug for AsItIs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsItIs").field("opened", self.opened).finish_non_exhaustive()
    }
}

impl OrgStore for AsItIs<'_> {
    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        let org = org.clone();
        self.read(move |engine| read::salvage(engine, &org)).boxed()
    }

    fn commit(&self, _write: OrgWrite, _fence: Epoch, done: CommitDone) {
        let fault = StoreFault { operation: "commit", cause: "the directory is only read".to_owned() };
        done(Err(CommitError::Lost(fault)));
    }

    /// Heads are not read: one may be lost.
    fn list(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>> {
        let (shards, after) = (shards.clone(), after.cloned());
        self.read(move |engine| orgs(engine, &shards, after, max)).boxed()
    }

    questions!();

    fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        ready(Ok(())).boxed()
    }
}
