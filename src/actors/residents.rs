//! Shards come and go: what is counted of their orgs comes and goes with them, and what is in memory leaves.

use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use super::Orgs;
use crate::{domain::shard::ShardSet, ports::Residents};

/// Shards that have come, and of whose orgs something is not counted yet.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    waiting: Mutex<Option<ShardSet>>,
    some: watch::Sender<()>,
}

impl Arrivals {
    pub(super) fn add(&self, shards: &ShardSet) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(waiting.take().map_or_else(|| shards.clone(), |before| before.and(shards)));
        drop(waiting);
        self.some.send_replace(());
    }

    /// Says when there are some, and ends with them.
    pub(super) fn told(&self) -> watch::Receiver<()> {
        let mut told = self.some.subscribe();
        told.mark_changed();
        told
    }

    /// Those that wait, each once.
    pub(super) fn take(&self) -> Option<ShardSet> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Residents for Orgs {
    fn came(&self, shards: &ShardSet) {
        self.shared.pools.arrivals.add(shards);
        self.shared.holds.arrivals.add(shards);
    }

    fn leave<'a>(&'a self, shards: &'a ShardSet) -> BoxFuture<'a, ()> {
        async move {
            self.registry.leave(shards).await;
            self.shared.pools.left(shards);
            self.shared.holds.left(shards);
        }
        .boxed()
    }
}
