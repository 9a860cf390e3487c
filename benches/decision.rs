//! What one decision costs: pure, and through the actor of one process over the memory store.

#![allow(missing_docs, clippy::disallowed_methods)]

mod measured;

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smallvec::smallvec;
use tollgate::{
    actors::Orgs,
    bounds::{AMOUNT_MAX, Bounds, SCOPES_PER_CALL},
    domain::{
        command::{Acquire, ConfigurePool, NewAccount, Pick},
        commands::{Command, Lane},
        ids::{AccountId, DecisionId, Meter, OrgId, PoolId, Reason, RequestId, Scope},
        lease::Now,
        org::{Context, OrgState},
        policy::NoPlans,
        request::Idempotency,
        rows::OrgRows,
        scopes::Scopes,
    },
    store::memory::MemoryStore,
    telemetry::Metrics,
};

use measured::{NOW, deps, limited_agents, rate_only, seven_limits};

fn org() -> OrgId {
    OrgId::parse("org", "acme").expect("an org")
}

/// An execution in the scopes of so many agents.
fn acquire(agents: usize) -> Command {
    let agent = |number| Scope::parse("scope", &format!("agent/{number}")).expect("a scope");
    let scopes: Scopes = (0..agents).map(agent).collect();
    Command::Acquire(Arc::new(Acquire::of(scopes, smallvec![(Meter::executions(), 1)])))
}

fn pure(c: &mut Criterion) {
    let mut group = c.benchmark_group("pure decision");
    group.throughput(Throughput::Elements(1));
    for (name, policy, agents) in [
        ("rate only", rate_only(), 0),
        ("seven limits", seven_limits(), 0),
        ("seven limits, 1 scope", limited_agents(), 1),
        ("seven limits, 3 scopes", limited_agents(), 3),
        ("seven limits, 8 scopes", limited_agents(), SCOPES_PER_CALL),
    ] {
        let command = acquire(agents);
        let (mut state, bounds) = (OrgState::load(OrgRows::default(), Now::at(NOW)), Bounds::default());
        let (mut number, org, policy) = (0, org(), Arc::new(policy));
        group.bench_function(name, |b| {
            b.iter(|| {
                number += 1;
                let ctx = Context {
                    org: &org,
                    now: Now::at(NOW),
                    policy: &policy,
                    plans: &NoPlans,
                    policy_since: Some(0),
                    bounds: &bounds,
                    decision: DecisionId(number),
                    store_fault: false,
                    within: None,
                    caller: "bench",
                    reason: Reason::none(),
                    trace: None,
                };
                black_box(state.apply(&command, &ctx).is_ok())
            });
        });
    }
    group.finish();
}

/// Every pick examines every account of the pool.
fn picks(c: &mut Criterion) {
    let mut group = c.benchmark_group("pure pick");
    group.throughput(Throughput::Elements(1));
    let pool = PoolId::parse("pool", "relay").expect("a pool");
    for accounts in [5, 100, 1000] {
        let (mut state, bounds, org) = (OrgState::load(OrgRows::default(), Now::at(NOW)), Bounds::default(), org());
        let policy = Arc::new(rate_only());
        let account = |number| NewAccount {
            id: AccountId::parse("account", &format!("account-{number}")).expect("an account"),
            daily_limit: Some(AMOUNT_MAX),
            safety_buffer: None,
            window: None,
            per_minute: None,
        };
        let idempotency =
            Idempotency { id: RequestId::parse("request_id", "configure").expect("an id"), fingerprint: 0 };
        let accounts_of = (0..accounts).map(account).collect();
        let (pool_id, settings) = (pool.clone(), None);
        let set = ConfigurePool { pool: pool_id, accounts: accounts_of, settings, expected_version: None, idempotency };
        let mut number = 0;
        let mut apply = |command: &Command| {
            number += 2;
            let (decision, store_fault) = (DecisionId(number), false);
            let (now, policy_since) = (Now::at(NOW), Some(0));
            let ctx = Context {
                org: &org,
                now,
                policy: &policy,
                plans: &NoPlans,
                policy_since,
                bounds: &bounds,
                decision,
                store_fault,
                within: None,
                caller: "bench",
                reason: Reason::none(),
                trace: None,
            };
            state.apply(command, &ctx).is_ok()
        };
        assert!(apply(&Command::ConfigurePool(Box::new(set))));
        let pick = Command::Pick(Pick { pool: pool.clone(), idempotency: None });
        group.bench_function(format!("{accounts} accounts"), |b| b.iter(|| black_box(apply(&pick))));
    }
    group.finish();
}

fn in_process(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let interval = Duration::from_millis(10);
    let deps = deps(rate_only(), MemoryStore::new(), Arc::new(Metrics::default()), interval);
    let orgs = runtime.block_on(Orgs::start(deps)).expect("actors");
    let org = org();
    let mut group = c.benchmark_group("acquire in process");
    for commands in [1_usize, 64] {
        group.throughput(Throughput::Elements(commands as u64));
        group.bench_function(format!("{commands} per message"), |b| {
            b.to_async(&runtime).iter(|| async {
                let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
                let batch = (0..commands).map(|_| acquire(0)).collect();
                black_box(orgs.call(&org, batch, Lane::Admit, deadline).await.is_ok())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pure, picks, in_process);
criterion_main!(benches);
