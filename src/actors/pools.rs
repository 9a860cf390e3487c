//! What the pools of this node add up to: summed up when the node starts, or their shard comes, and then every few
//! seconds where something has changed. An org that is left alone is not woken for it: its stored timer does that, when
//! one of its windows ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{Orgs, news, registry::Registry, residents::Arrivals};
use crate::{
    domain::{
        command::RollPools,
        ids::OrgId,
        reply::{PoolSummary, PoolView},
        rows::RowKind,
        shard::ShardSet,
        window::iso,
    },
    ports::StoreFault,
};

/// Orgs that are asked at once, and read from the store at a time.
const ASKED_AT_ONCE: usize = 16;
const PAGE: usize = 256;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pools that are named one by one when the node starts.
const POOLS_NAMED: usize = 100;

/// All pools of the node together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolTotals {
    /// Pools of orgs that were summed up.
    pub pools: u64,
    /// Those without a usable account.
    pub exhausted: u64,
    /// All of them added up.
    pub sum: PoolSummary,
}

/// Orgs whose pools have changed, and what the pools of each add up to.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) arrivals: Arrivals,
    touched: Mutex<BTreeSet<OrgId>>,
    summaries: Mutex<BTreeMap<OrgId, Vec<PoolSummary>>>,
    called: watch::Sender<bool>,
}

impl Orgs {
    /// What all pools add up to, as last summed up.
    pub fn pool_totals(&self) -> PoolTotals {
        self.shared.pools.totals()
    }
}

impl Default for Board {
    fn default() -> Self {
        Self {
            arrivals: Arrivals::default(),
            touched: Mutex::default(),
            summaries: Mutex::default(),
            called: watch::Sender::new(false),
        }
    }
}

impl Board {
    pub(super) fn touched(&self, org: &OrgId) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(org.clone());
    }

    fn take(&self) -> BTreeSet<OrgId> {
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, org: OrgId, pools: &[PoolView]) {
        let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        if pools.is_empty() {
            summaries.remove(&org);
        } else {
            summaries.insert(org, pools.iter().map(|pool| pool.summary).collect());
        }
    }

    /// Their orgs are another node's.
    pub(super) fn left(&self, shards: &ShardSet) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).retain(|org| !shards.holds(org));
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).retain(|org, _| !shards.holds(org));
    }

    fn orgs(&self) -> Vec<OrgId> {
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(super) fn totals(&self) -> PoolTotals {
        let summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = PoolTotals::default();
        for pool in summaries.values().flatten() {
            totals.pools += 1;
            totals.exhausted += u64::from(pool.active == 0);
            totals.sum = totals.sum.and(pool);
        }
        totals
    }

    /// Resolves when every pool was summed up once since the start.
    pub(super) async fn called(&self) {
        let _ = self.called.subscribe().wait_for(|called| *called).await;
    }
}

pub(super) async fn run(registry: Weak<Registry>) {
    let Some(mut told) = registry.upgrade().map(|registry| registry.shared().pools.arrivals.told()) else { return };
    let mut seen = None;
    loop {
        let Some(period) = registry.upgrade().map(|registry| registry.shared().rules.load().pool_stats) else { return };
        let is_arrival = tokio::select! {
            told = told.changed() => told.is_ok(),
            () = sleep(period) => false,
        };
        let Some(registry) = registry.upgrade() else { return };
        if is_arrival {
            if let Some(shards) = registry.shared().pools.arrivals.take() {
                call_all(&registry, &shards).await;
            }
            continue;
        }
        let rules = registry.shared().rules.load_full();
        let board = &registry.shared().pools;
        if seen.replace(rules.generation) != Some(rules.generation) {
            // Other limits may be in force.
            board.orgs().iter().for_each(|org| board.touched(org));
        }
        ask(&registry, board.take()).await;
        log(&board.totals(), "pools");
    }
}

/// Every org of these shards that has pools, before anything else.
async fn call_all(registry: &Arc<Registry>, shards: &ShardSet) {
    let mut after = None;
    let mut named = 0;
    loop {
        let page = match registry.shared().store.having(RowKind::Pool, shards, after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(fault) => {
                tell_fault(&fault);
                Vec::new()
            }
        };
        let last = page.last().cloned();
        for (org, pools) in ask(registry, page.into_iter().collect()).await {
            for pool in pools.iter().take(POOLS_NAMED.saturating_sub(named)) {
                named += 1;
                introduce(&org, pool);
            }
        }
        if last.is_none() {
            let shared = registry.shared();
            log(&shared.pools.totals(), "pools are up");
            shared.pools.called.send_replace(true);
            return;
        }
        after = last;
    }
}

fn tell_fault(fault: &StoreFault) {
    tracing::warn!(target: "tollgate::pools", %fault, "pools could not be read; each is read when it is used");
}

/// Asks orgs what their pools add up to. Who does not answer in time is asked again later; an org that
/// cannot be loaded has said so.
async fn ask(registry: &Arc<Registry>, orgs: BTreeSet<OrgId>) -> Vec<(OrgId, Vec<PoolView>)> {
    let asked = stream::iter(orgs).map(|org| async move {
        let pools = timeout(ANSWER_WITHIN, registry.ask(&org, RollPools)).await;
        (org, pools)
    });
    let answers: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
    let board = &registry.shared().pools;
    let mut known = Vec::with_capacity(answers.len());
    for (org, pools) in answers {
        match pools {
            Ok(Some(pools)) => {
                board.put(org.clone(), &pools);
                known.push((org, pools));
            }
            Ok(None) => {}
            Err(_) => board.touched(&org),
        }
    }
    known
}

/// R-POOL-5: which accounts are stopped before the first request.
fn introduce(org: &OrgId, pool: &PoolView) {
    let PoolView { id, summary, accounts, .. } = pool;
    let stopped: Vec<_> = accounts.iter().filter(|account| account.exhausted.is_some()).collect();
    tracing::info!(
        target: "tollgate::pools",
        %org,
        pool = %id,
        active = format!("{}/{}", summary.active, summary.accounts),
        capacity = summary.capacity,
        used = summary.used,
        remaining = summary.remaining,
        stopped = news::named(stopped.into_iter()),
        "a pool is up"
    );
}

/// One line for the whole node; none where it has no pools.
fn log(totals: &PoolTotals, message: &'static str) {
    let PoolTotals { pools, exhausted, sum } = totals;
    if *pools == 0 {
        return;
    }
    tracing::info!(
        target: "tollgate::pools",
        pools,
        exhausted,
        active = format!("{}/{}", sum.active, sum.accounts),
        avoided = sum.avoided,
        capacity = sum.capacity,
        used = sum.used,
        remaining = sum.remaining,
        failed = sum.failed,
        quota_errors = sum.quota_errors,
        calls_today = sum.total_calls,
        bytes_today = sum.bytes,
        soonest_reset = sum.soonest_reset.map(|due| iso(due.at)),
        "{message}"
    );
}
