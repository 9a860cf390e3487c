//! How often one Acquire allocates between the decoded request and the response, over the memory store:
//! everything that stands above the transport.
//!
//! `cargo test --test allocations -- --nocapture` prints the counts. With `DHAT=1` a profile of the plain
//! case, with a stack for every allocation, is written to `dhat-heap.json` for DHAT's viewer.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a test")]

use std::{env, sync::Arc, time::Duration};

use tollgate::{
    actors::{
        self, Orgs, Policies, Rules, WriteBehind,
        billing::{Balances, BillingRules},
    },
    billing::NoBilling,
    bounds::{Bounds, DAY_MS, HOUR_MS},
    domain::{
        ids::{Meter, OrgId},
        limit::Limit,
        policy::OrgPolicy,
        service_time::{ClockMark, ClockState},
        window::{Calendar, Millis, PERIODS, Window},
    },
    ports::Clock,
    rpc::{self, table},
    service::{self, Service},
    store::memory::MemoryStore,
    telemetry::Metrics,
    wire::v1::{AcquireRequest, Amount},
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CALLS: u64 = 2_000;
/// Of these the actor's own queue takes one for some thirty messages.
const MOST: u64 = 8;

#[derive(Debug)]
struct Uniform(Arc<OrgPolicy>);

impl Policies for Uniform {
    fn policy(&self, _: &OrgId) -> Arc<OrgPolicy> {
        self.0.clone()
    }
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Millis {
        495_000 * HOUR_MS
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

/// A node that writes nothing while it is measured.
async fn node(policy: OrgPolicy) -> Service {
    let (clock, store, provider): (Arc<dyn Clock>, _, _) = (Arc::new(Still), MemoryStore::new(), Arc::new(NoBilling));
    let metrics = Arc::new(Metrics::default());
    let deps = actors::Deps {
        clock: clock.clone(),
        store: store.clone(),
        rules: Rules {
            policies: Arc::new(Uniform(Arc::new(policy))),
            bounds: Bounds::default(),
            pool_stats: Duration::from_secs(15),
            generation: 0,
        },
        write_behind: WriteBehind { interval: Duration::from_secs(3600), max: u64::MAX },
        incarnation: 7,
        provider: provider.clone(),
        events: metrics.clone(),
    };
    let orgs = Orgs::start(deps).await.unwrap();
    let balances = Balances::start(provider, clock.clone(), BillingRules::default()).await.unwrap();
    let node = "node".to_owned();
    Service::new(service::Deps { orgs, clock, store: store.clone(), engine: store, balances, metrics, node })
}

/// The four periods of `spend` and two quotas on executions.
fn six_limits() -> OrgPolicy {
    let budgets = PERIODS.iter().map(|(_, len)| (Meter::spend(), Window::Rolling { len: *len }));
    let quotas = [Window::Calendar(Calendar::Month), Window::Anchored { len: DAY_MS }];
    let quotas = quotas.map(|window| (Meter::executions(), window));
    let limits = budgets.chain(quotas).map(|(meter, window)| Limit::new(meter, window, Some(u64::MAX / 2)));
    OrgPolicy { limits: limits.collect(), ..roomy() }
}

fn roomy() -> OrgPolicy {
    let mut policy = OrgPolicy::default();
    policy.rate.amount = Some(u64::MAX);
    policy
}

/// Allocations of one call, on average.
async fn allocations(policy: OrgPolicy, request: AcquireRequest) -> u64 {
    let service = node(policy).await;
    let requests: Vec<_> = (0..CALLS).map(|_| request.clone()).collect();
    // The first call of an org starts its actor.
    assert!(rpc::serve::<table::Acquire>(&service, None, request).await.unwrap().allowed);
    let before = dhat::HeapStats::get().total_blocks;
    for request in requests {
        assert!(rpc::serve::<table::Acquire>(&service, None, request).await.unwrap().allowed);
    }
    (dhat::HeapStats::get().total_blocks - before) / CALLS
}

#[test]
fn an_acquire_allocates_little() {
    let builder = dhat::Profiler::builder();
    let _profiler = if env::var_os("DHAT").is_some() { builder.build() } else { builder.testing().build() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plain = AcquireRequest { org: "acme".into(), ..AcquireRequest::default() };
    let cost = vec![Amount { meter: "executions".into(), amount: 1 }, Amount { meter: "spend".into(), amount: 7 }];
    let scope = "workspace/a".to_owned();
    let full = AcquireRequest { scope, cost, plane: "executor".into(), request_id: String::new(), ..plain.clone() };
    let counted = runtime.block_on(allocations(roomy(), plain.clone()));
    println!("a plain Acquire: {counted}");
    assert!(counted <= MOST, "a plain Acquire makes {counted} allocations, at most {MOST}");
    for (what, policy, request) in [
        ("with six limits", six_limits(), plain),
        ("with six limits, a scope, a plane and two amounts", six_limits(), full),
    ] {
        let counted = runtime.block_on(allocations(policy, request));
        println!("{what}: {counted}");
        assert!(counted <= 2 * MOST, "{what}: {counted} allocations, at most {}", 2 * MOST);
    }
}
