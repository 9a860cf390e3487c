//! What one decision costs: pure, and through the actor of one process over the memory store.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smallvec::smallvec;
use tollgate::{
    actors::{self, Orgs, Policies, Rules, WriteBehind},
    billing::NoBilling,
    bounds::{AMOUNT_MAX, Bounds, DAY_MS, HOUR_MS},
    domain::{
        command::{Acquire, ConfigurePool, NewAccount, Pick},
        commands::{Command, Lane},
        ids::{AccountId, DecisionId, Meter, OrgId, PoolId, RequestId, Scope},
        limit::Limit,
        org::{Context, OrgState},
        policy::{OrgPolicy, RateLimit},
        request::Idempotency,
        rows::OrgRows,
        service_time::{ClockMark, ClockState},
        window::{Calendar, Millis, PERIODS, Window},
    },
    ports::Clock,
    store::memory::MemoryStore,
    telemetry::Metrics,
};

const NOW: Millis = 495_000 * HOUR_MS;

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
        NOW
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

fn rate_only() -> OrgPolicy {
    OrgPolicy { rate: RateLimit { amount: Some(u64::MAX), ..RateLimit::default() }, ..OrgPolicy::default() }
}

/// The backstop, a monthly quota, an anchored one, and the four periods of `spend`.
fn seven_limits() -> OrgPolicy {
    let spend =
        PERIODS.iter().map(|(_, len)| Limit::new(Meter::spend(), Window::Rolling { len: *len }, Some(u64::MAX / 2)));
    let quotas = [Window::Calendar(Calendar::Month), Window::Anchored { len: DAY_MS }]
        .map(|window| Limit::new(Meter::executions(), window, Some(u64::MAX / 2)));
    OrgPolicy { limits: spend.chain(quotas).collect(), ..rate_only() }
}

fn org() -> OrgId {
    OrgId::parse("org", "acme").expect("an org")
}

fn acquire() -> Command {
    Command::Acquire(Arc::new(Acquire::of(Scope::org(), smallvec![(Meter::executions(), 1)])))
}

fn pure(c: &mut Criterion) {
    let mut group = c.benchmark_group("pure decision");
    group.throughput(Throughput::Elements(1));
    for (name, policy) in [("rate only", rate_only()), ("seven limits", seven_limits())] {
        let (mut state, bounds, command) = (OrgState::load(OrgRows::default(), NOW), Bounds::default(), acquire());
        let (mut number, org, policy) = (0, org(), Arc::new(policy));
        group.bench_function(name, |b| {
            b.iter(|| {
                number += 1;
                let ctx = Context {
                    org: &org,
                    now: NOW,
                    policy: &policy,
                    bounds: &bounds,
                    decision: DecisionId(number),
                    store_fault: false,
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
        let (mut state, bounds, org) = (OrgState::load(OrgRows::default(), NOW), Bounds::default(), org());
        let policy = Arc::new(rate_only());
        let account = |number| NewAccount {
            id: AccountId::parse("account", &format!("account-{number}")).expect("an account"),
            daily_limit: Some(AMOUNT_MAX),
            safety_buffer: None,
            window: None,
        };
        let idempotency =
            Idempotency { id: RequestId::parse("request_id", "configure").expect("an id"), fingerprint: 0 };
        let accounts_of = (0..accounts).map(account).collect();
        let set = ConfigurePool { pool: pool.clone(), accounts: accounts_of, expected_version: None, idempotency };
        let mut number = 0;
        let mut apply = |command: &Command| {
            number += 2;
            let (decision, store_fault) = (DecisionId(number), false);
            let ctx = Context { org: &org, now: NOW, policy: &policy, bounds: &bounds, decision, store_fault };
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
    let deps = actors::Deps {
        clock: Arc::new(Still),
        store: MemoryStore::new(),
        rules: Rules {
            policies: Arc::new(Uniform(Arc::new(rate_only()))),
            bounds: Bounds::default(),
            pool_stats: Duration::from_secs(15),
            generation: 0,
        },
        write_behind: WriteBehind { interval: Duration::from_millis(10), max: u64::MAX },
        incarnation: 1,
        provider: Arc::new(NoBilling),
        events: Arc::new(Metrics::default()),
    };
    let orgs = runtime.block_on(Orgs::start(deps)).expect("actors");
    let org = org();
    let mut group = c.benchmark_group("acquire in process");
    for commands in [1_usize, 64] {
        group.throughput(Throughput::Elements(commands as u64));
        group.bench_function(format!("{commands} per message"), |b| {
            b.to_async(&runtime).iter(|| async {
                let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
                let batch = (0..commands).map(|_| acquire()).collect();
                black_box(orgs.call(&org, batch, Lane::Admit, deadline).await.is_ok())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pure, picks, in_process);
criterion_main!(benches);
