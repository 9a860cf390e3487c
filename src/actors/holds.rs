//! How many reservations are open in all orgs of the node, in memory or not: as they are stored.
//!
//! Counted in the store once, when the node starts, and of every shard that comes later. From then on every commit
//! that changes the number of its org says so when it is durable, so an org that leaves memory, or whose actor crashes,
//! counts as what is kept of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::watch;

use super::{Orgs, Shared, registry::Registry, residents::Arrivals};
use crate::{
    domain::{
        holds::{self, KINDS},
        ids::OrgId,
        rows::RowKind,
        shard::ShardSet,
    },
    ports::StoreFault,
};

/// Orgs that are read from the store at a time.
const PAGE: usize = 256;

#[derive(Debug)]
pub(super) struct Holds {
    pub(super) arrivals: Arrivals,
    counts: Mutex<Counts>,
    counted: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Orgs that have some. While the store is counted also those that have none any more: what was found of
    /// them is older.
    of_org: BTreeMap<OrgId, u64>,
    total: u64,
    is_whole: bool,
}

impl Default for Holds {
    fn default() -> Self {
        Self { arrivals: Arrivals::default(), counts: Mutex::default(), counted: watch::Sender::new(false) }
    }
}

impl Orgs {
    /// Reservations that are open in all orgs, in memory or not; the slices of sessions are none of them.
    pub fn open_holds(&self) -> u64 {
        self.shared.holds.total()
    }
}

impl Holds {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit of the org is durable, with which it has `open`.
    pub(super) fn committed(&self, org: &OrgId, open: u64) {
        self.counts().set(org, open);
    }

    /// What the store has of an org; a commit that became durable meanwhile says it better.
    fn found(&self, org: &OrgId, open: u64) {
        let mut counts = self.counts();
        if !counts.of_org.contains_key(org) {
            counts.set(org, open);
        }
    }

    /// From now on what is committed is newer than what is found.
    fn begin(&self) {
        self.counts().is_whole = false;
    }

    /// Their orgs are another node's.
    pub(super) fn left(&self, shards: &ShardSet) {
        let mut counts = self.counts();
        let Counts { of_org, total, .. } = &mut *counts;
        of_org.retain(|org, open| {
            let stays = !shards.holds(org);
            *total = total.saturating_sub(if stays { 0 } else { *open });
            stays
        });
    }

    fn all_found(&self) {
        let mut counts = self.counts();
        counts.is_whole = true;
        counts.of_org.retain(|_, open| *open > 0);
        drop(counts);
        self.counted.send_replace(true);
    }

    pub(super) fn total(&self) -> u64 {
        self.counts().total
    }

    /// Resolves when the store was counted.
    pub(super) async fn counted(&self) {
        let _ = self.counted.subscribe().wait_for(|counted| *counted).await;
    }
}

impl Counts {
    fn set(&mut self, org: &OrgId, open: u64) {
        let before =
            if open == 0 && self.is_whole { self.of_org.remove(org) } else { self.of_org.insert(org.clone(), open) };
        self.total = self.total.saturating_sub(before.unwrap_or(0)).saturating_add(open);
    }
}

/// Counts what is stored, once of each shard that comes.
pub(super) async fn run(registry: Weak<Registry>) {
    let Some(mut told) = registry.upgrade().map(|registry| registry.shared().holds.arrivals.told()) else { return };
    while told.changed().await.is_ok() {
        let Some(registry) = registry.upgrade() else { return };
        let shared = registry.shared();
        if let Some(shards) = shared.holds.arrivals.take() {
            shared.holds.begin();
            count(shared, &shards).await;
            shared.holds.all_found();
        }
    }
}

async fn count(shared: &Shared, shards: &ShardSet) {
    let mut after: Option<OrgId> = None;
    loop {
        let page = shared.store.having(RowKind::Reservation, shards, after.as_ref(), PAGE).await;
        let page = page.unwrap_or_else(|fault| {
            tell_fault(&fault);
            Vec::new()
        });
        for org in page.iter().filter(|org| shared.table.owns(org)) {
            match shared.store.some(org, KINDS).await {
                Ok(rows) => shared.holds.found(org, holds::open(rows)),
                Err(fault) => tell_fault(&fault),
            }
        }
        let Some(last) = page.last() else { return };
        after = Some(last.clone());
    }
}

fn tell_fault(fault: &StoreFault) {
    tracing::warn!(%fault, "open reservations could not be counted; they are missing in tollgate_reservations_open");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::org;

    #[test]
    fn what_is_committed_while_the_store_is_counted_stands() {
        let holds = Holds::default();
        holds.committed(&org("settled"), 0);
        holds.committed(&org("more"), 3);
        for name in ["settled", "more", "at_rest"] {
            holds.found(&org(name), 2);
        }
        assert_eq!(holds.total(), 5);
        holds.all_found();
        holds.committed(&org("more"), 1);
        holds.committed(&org("at_rest"), 0);
        assert_eq!((holds.total(), holds.counts().of_org.len()), (1, 1));
    }
}
