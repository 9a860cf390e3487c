//! One use case per file, shared by every front. Nothing here knows a protocol.

mod acquire;
mod admin;
mod budgets;
mod emergency;
mod pools;
mod sessions;
mod settle;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{Orgs, billing::Balances},
    domain::{ids::OrgId, policy::OrgPolicy, window::Millis},
    error::ServiceError,
    ports::{Clock, OrgStore},
    telemetry::Metrics,
};

use emergency::EmergencyCap;

pub use acquire::{Ask, Group};
pub use admin::NodeView;

/// Left to the caller's side of a deadline: an answer that arrives too late is no answer.
const MARGIN: Duration = Duration::from_millis(50);

/// Until when a call may take, counted from its arrival.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    arrived: Instant,
}

impl Deadline {
    /// The caller's own deadline less a margin, and never more than `budget_ms`.
    pub fn new(callers: Option<Duration>, budget_ms: u32) -> Self {
        let arrived = now();
        let budget = Duration::from_millis(u64::from(budget_ms));
        let left = callers.map_or(budget, |callers| callers.saturating_sub(MARGIN.min(callers / 2)).min(budget));
        Self { at: arrived + left, arrived }
    }

    /// A part of it with a budget of its own.
    fn within(self, budget_ms: u32) -> Instant {
        self.at.min(now() + Duration::from_millis(u64::from(budget_ms)))
    }

    /// Until when a question to somebody else may take, so that the org can still be asked after it:
    /// `budget_ms` earlier, or a quarter of what is left where that is less.
    fn leaving(self, budget_ms: u32) -> Instant {
        let left = self.at.saturating_duration_since(now());
        self.at.checked_sub(Duration::from_millis(u64::from(budget_ms)).min(left / 4)).unwrap_or(self.at)
    }

    pub fn elapsed(self) -> Duration {
        now().saturating_duration_since(self.arrived)
    }
}

/// The runtime's clock, which tests can pause; only for deadlines and latencies.
fn now() -> Instant {
    Instant::now()
}

/// What the service needs.
#[derive(Debug)]
pub struct Deps {
    pub orgs: Orgs,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<dyn OrgStore>,
    pub balances: Balances,
    pub metrics: Arc<Metrics>,
    /// Name of this node in answers.
    pub node: String,
}

/// Every use case.
#[derive(Debug)]
pub struct Service {
    orgs: Orgs,
    clock: Arc<dyn Clock>,
    store: Arc<dyn OrgStore>,
    balances: Balances,
    metrics: Arc<Metrics>,
    emergency: EmergencyCap,
    node: String,
    started_at: Millis,
    draining: AtomicBool,
    closing: CancellationToken,
}

impl Service {
    pub fn new(deps: Deps) -> Self {
        Self {
            started_at: deps.clock.now(),
            orgs: deps.orgs,
            clock: deps.clock,
            store: deps.store,
            balances: deps.balances,
            metrics: deps.metrics,
            emergency: EmergencyCap::default(),
            node: deps.node,
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
        }
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn orgs(&self) -> &Orgs {
        &self.orgs
    }

    /// What is configured for the org, as it is now.
    fn policy(&self, org: &OrgId) -> Arc<OrgPolicy> {
        self.orgs.rules().policies.policy(org).at(self.clock.now()).clone()
    }

    /// A deadline for a call that came with `callers`.
    pub fn deadline(&self, callers: Option<Duration>) -> Deadline {
        Deadline::new(callers, self.orgs.rules().bounds.decision_budget_ms)
    }

    /// From now on only running executions are served.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Cancelled when the node stops taking calls; open streams end with it.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    fn refuse_while_draining(&self) -> Result<(), ServiceError> {
        if self.is_draining() { Err(ServiceError::Draining) } else { Ok(()) }
    }
}
