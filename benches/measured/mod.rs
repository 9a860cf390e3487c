//! What the benchmark of decisions and the count of their allocations measure: the same policies, and actors
//! over the memory store under a clock that stands still.

use std::{sync::Arc, time::Duration};

use tollgate::{
    actors::{self, Policies, Rules, WriteBehind},
    billing::NoBilling,
    bounds::{Bounds, DAY_MS, HOUR_MS},
    cluster::table::Table,
    domain::{
        events::EventKinds,
        ids::{Meter, OrgId},
        lease::Now,
        limit::Limit,
        policy::{OrgPolicy, Plans, RateLimit},
        service_time::{ClockMark, ClockState},
        window::{Calendar, Millis, PERIODS, Window},
    },
    ports::Clock,
    store::memory::MemoryStore,
    telemetry::Metrics,
    webhook::Endpoints,
};

pub(crate) const NOW: Millis = 495_000 * HOUR_MS;

#[derive(Debug)]
struct Uniform(Arc<OrgPolicy>);

impl Plans for Uniform {
    fn with_plan(&self, _: &OrgId, _: &str) -> Option<Arc<OrgPolicy>> {
        None
    }

    fn plan_names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Policies for Uniform {
    fn policy(&self, _: &OrgId) -> Arc<OrgPolicy> {
        self.0.clone()
    }

    fn admits(&self, _: &OrgId) -> bool {
        true
    }

    fn lists(&self, _: &OrgId) -> bool {
        false
    }
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn read(&self) -> Now {
        Now::at(NOW)
    }

    fn may_purge(&self) -> bool {
        true
    }

    fn state(&self) -> ClockState {
        ClockState::Steady
    }

    fn mark(&self) -> ClockMark {
        ClockMark::default()
    }
}

/// The backstop alone, which never denies.
pub(crate) fn rate_only() -> OrgPolicy {
    OrgPolicy { rate: RateLimit { amount: Some(u64::MAX), ..RateLimit::default() }, ..OrgPolicy::default() }
}

/// The backstop, a monthly quota, an anchored one, and the four periods of `spend`.
pub(crate) fn seven_limits() -> OrgPolicy {
    let spend =
        PERIODS.iter().map(|(_, len)| Limit::new(Meter::spend(), Window::Rolling { len: *len }, Some(u64::MAX / 2)));
    let quotas = [Window::Calendar(Calendar::Month), Window::Anchored { len: DAY_MS }]
        .map(|window| Limit::new(Meter::executions(), window, Some(u64::MAX / 2)));
    OrgPolicy { limits: spend.chain(quotas).collect(), ..rate_only() }
}

/// The same, and for every agent the day of `spend` and a monthly quota.
pub(crate) fn limited_agents() -> OrgPolicy {
    let spend = Limit::new(Meter::spend(), Window::Rolling { len: DAY_MS }, Some(u64::MAX / 2));
    let quota = Limit::new(Meter::executions(), Window::Calendar(Calendar::Month), Some(u64::MAX / 2));
    let of_agent = [spend, quota].into_iter().collect();
    OrgPolicy { scope_prefixes: [("agent/".to_owned(), of_agent)].into(), ..seven_limits() }
}

/// What actors need to serve every org by `policy`, and to write behind every `interval`.
pub(crate) fn deps(
    policy: OrgPolicy,
    store: Arc<MemoryStore>,
    metrics: Arc<Metrics>,
    interval: Duration,
) -> actors::Deps {
    actors::Deps {
        clock: Arc::new(Still),
        store,
        table: Table::alone(),
        rules: Rules {
            policies: Arc::new(Uniform(Arc::new(policy))),
            bounds: Bounds::default(),
            pool_stats: Duration::from_secs(15),
            gateways: Default::default(),
            webhook_kinds: EventKinds::NONE,
            since: 0,
            generation: 0,
        },
        write_behind: WriteBehind { interval, max: u64::MAX },
        incarnation: 1,
        node: "bench".into(),
        provider: Arc::new(NoBilling),
        webhook: Arc::new(Endpoints::new(Arc::new(Still))),
        events: metrics,
    }
}
