//! Which orgs pay. While the provider cannot answer, its last answer holds for a day, so that an
//! outage neither switches the rate backstop off nor blocks the orgs that are exempt from it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{super::spacing::Spacing, BillingRules, cache::Cache, under_way::UnderWay};
use crate::domain::{ids::OrgId, shard::ShardSet};

/// What was known last is honoured for so long, however often asking again fails.
const HONOURED: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(super) struct Payers {
    known: Cache<Known>,
    pub(super) under_way: UnderWay,
    pub(super) spacing: Spacing,
    ttl: Duration,
}

#[derive(Debug)]
struct Known {
    pays: bool,
    learned: Instant,
    doubted: AtomicBool,
}

impl Payers {
    pub(super) fn new(rules: &BillingRules) -> Self {
        let (under_way, spacing) = (UnderWay::default(), Spacing::default());
        Self { known: Cache::new(rules), under_way, spacing, ttl: rules.exempt_ttl }
    }

    /// What need not be asked again.
    pub(super) fn fresh(&self, org: &OrgId) -> Option<bool> {
        let known = self.known.get(org)?;
        let fresh = known.learned.elapsed() < self.ttl && !known.doubted.load(Ordering::Acquire);
        fresh.then_some(known.pays)
    }

    /// What was known last; an org of which nothing is known does not pay.
    pub(super) fn last_known(&self, org: &OrgId) -> bool {
        self.known.get(org).is_some_and(|known| known.pays && known.learned.elapsed() < HONOURED)
    }

    /// Called while the question counts.
    pub(super) fn remember(&self, org: &OrgId, pays: bool) {
        self.known.put(org, Known { pays, learned: Instant::now(), doubted: AtomicBool::new(false) });
    }

    /// Forgets every org of these shards.
    pub(super) fn leave(&self, shards: &ShardSet) {
        for org in self.known.orgs(shards) {
            self.spacing.forget(&org);
            self.under_way.forget(&org, || self.known.remove(&org));
        }
    }

    /// The next who wants to know asks; until there is an answer, what is known holds.
    pub(super) fn doubt(&self, org: &OrgId) {
        self.spacing.forget(org);
        self.under_way.forget(org, || {
            if let Some(known) = self.known.get(org) {
                known.doubted.store(true, Ordering::Release);
            }
        });
    }
}
