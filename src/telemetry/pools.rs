//! What a node tells about pools of upstream accounts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    actors::PoolTotals,
    domain::{gate::Code, reply::Exhaustion, upstream::Upstream},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PickLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExhaustionLabels {
    /// `limit` or `upstream`.
    by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    /// `active`, `avoided` (still active) or `exhausted`.
    state: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct PoolMetrics {
    picks: Family<PickLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    accounts_exhausted: Family<ExhaustionLabels, Counter>,
    pools_exhausted: Counter,
    pools: Gauge,
    accounts: Family<StateLabels, Gauge>,
    remaining: Gauge,
}

impl PoolMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("picks", "Picks of an upstream account, by code", self.picks.clone());
        r.register("upstream_outcomes", "Reported calls of upstream accounts, by outcome", self.outcomes.clone());
        let exhausted = self.accounts_exhausted.clone();
        r.register("accounts_exhausted", "Times that an upstream account became exhausted", exhausted);
        r.register("pools_exhausted", "Times that the last account of a pool did", self.pools_exhausted.clone());
        r.register("pools", "Pools of upstream accounts", self.pools.clone());
        r.register("pool_accounts", "Upstream accounts by state; an avoided one is active", self.accounts.clone());
        r.register("pool_remaining", "Calls that can still be picked, of all pools", self.remaining.clone());
    }

    pub(super) fn begin_at_zero(&self) {
        for code in [Code::Allowed, Code::AccountsExhausted] {
            drop(self.picks.get_or_create(&PickLabels { code: code.name() }));
        }
        for outcome in Upstream::ALL {
            drop(self.outcomes.get_or_create(&OutcomeLabels { outcome: outcome.name() }));
        }
        for by in Exhaustion::ALL {
            drop(self.accounts_exhausted.get_or_create(&ExhaustionLabels { by: by.name() }));
        }
        for state in ["active", "avoided", "exhausted"] {
            drop(self.accounts.get_or_create(&StateLabels { state }));
        }
    }

    pub(super) fn picked(&self, code: Code) {
        self.picks.get_or_create(&PickLabels { code: code.name() }).inc();
    }

    pub(super) fn upstream(&self, outcome: Upstream) {
        self.outcomes.get_or_create(&OutcomeLabels { outcome: outcome.name() }).inc();
    }

    pub(super) fn account_exhausted(&self, by: Exhaustion) {
        self.accounts_exhausted.get_or_create(&ExhaustionLabels { by: by.name() }).inc();
    }

    pub(super) fn pool_exhausted(&self) {
        self.pools_exhausted.inc();
    }

    pub(super) fn read(&self, totals: &PoolTotals) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let PoolTotals { pools, sum, .. } = totals;
        self.pools.set(gauge(*pools));
        self.remaining.set(gauge(sum.remaining));
        let exhausted = sum.accounts.saturating_sub(sum.active);
        for (state, count) in [("active", sum.active), ("avoided", sum.avoided), ("exhausted", exhausted)] {
            self.accounts.get_or_create(&StateLabels { state }).set(gauge(count));
        }
    }
}
