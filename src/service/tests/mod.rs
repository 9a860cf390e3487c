//! Use cases over the memory store, with a provider that answers as each test sets it.

mod billing;
mod outage;
mod pools;
mod sessions;
mod snapshot;
mod usage;

use std::sync::{Arc, atomic::Ordering};

use smallvec::smallvec;

use super::{Ask, Call, Deadline};
use crate::{
    auth::Principal,
    domain::{
        balance::BalanceVerdict,
        command::{Acquire, Freeze},
        decision::Decision,
        gate::{Cause, Code, FailOpen, Gate},
        ids::{Meter, Plane, Reason},
        outcome::{Recorded, Shown},
        policy::{OnIndeterminate, OrgPolicy, RateLimit},
        request::Idempotency,
        scopes::Scopes,
    },
    error::ServiceError,
    testing::{Node, acquire, billed, exhausted, idempotency, node, org, rate_of, record},
};

fn call() -> Call {
    Call::new("Test", Arc::new(Principal::anybody()), Deadline::new(None, 2_500))
}

async fn ask(node: &Node, name: &str) -> Result<Box<Decision>, ServiceError> {
    node.service.acquire(Ask { org: org(name), acquire: Arc::new(acquire()) }, &call()).await
}

fn metered(amount: u64) -> OrgPolicy {
    billed(rate_of(amount))
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_asked_last_and_the_actor_judges_afresh() {
    let node = node(metered(1)).await;
    assert!(ask(&node, "acme").await.unwrap().allowed);
    assert_eq!(node.billing.asked.load(Ordering::SeqCst), 1);
    assert_eq!(ask(&node, "acme").await.unwrap().code(), Code::RateLimited);
    assert_eq!(node.billing.asked.load(Ordering::SeqCst), 1, "R-PIPE-1: not asked about what an earlier gate denies");
    assert_eq!(ask(&node, "other").await.unwrap().limits[0].used, 1, "R-PIPE-4: charged once over both passes");
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_balance_denies_and_an_unknown_one_follows_its_policy() {
    let node = node(metered(10)).await;
    *node.billing.verdict.lock().unwrap() = exhausted();
    let denied = ask(&node, "acme").await.unwrap();
    assert_eq!((denied.allowed, denied.code(), denied.gate()), (false, Code::BalanceExhausted, Some(Gate::Balance)));
    *node.billing.verdict.lock().unwrap() = BalanceVerdict::Unknown(Cause::ProviderError);
    let open = ask(&node, "other").await.unwrap();
    assert_eq!(
        (open.allowed, open.fail_open()),
        (true, vec![FailOpen { gate: Gate::Balance, cause: Cause::ProviderError }])
    );
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_does_not_answer_in_time_is_indeterminate() {
    let node = node(rate_of(10)).await;
    node.store.stall_loads();
    let open = ask(&node, "acme").await.unwrap();
    assert!(open.allowed, "R-RATE-4");
    let timeout = |gate| FailOpen { gate, cause: Cause::Timeout };
    assert_eq!(open.fail_open(), [Gate::Freeze, Gate::Rate, Gate::Budgets].map(timeout), "R-PIPE-2");
    let metrics = node.metrics.render(node.service.readings());
    assert!(metrics.contains("tollgate_fail_open_total{gate=\"rate\",cause=\"timeout\"} 1"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_deny_names_gate_and_cause() {
    let strict = RateLimit { on_indeterminate: OnIndeterminate::Deny, ..RateLimit::default() };
    let node = node(OrgPolicy { rate: strict, ..OrgPolicy::default() }).await;
    node.store.break_now("EIO");
    let denied = ask(&node, "acme").await.unwrap();
    assert_eq!((denied.allowed, denied.code(), denied.fail_open().len()), (false, Code::Indeterminate, 1));
    assert!(denied.message().contains("rate") && denied.message().contains("store_fault"), "{}", denied.message());
}

#[tokio::test(start_paused = true)]
async fn without_store_and_memory_the_emergency_cap_holds() {
    let node = node(rate_of(3)).await;
    node.store.break_now("EIO");
    for _ in 0..3 {
        let open = ask(&node, "acme").await.unwrap();
        assert_eq!((open.allowed, open.fail_open().len()), (true, 3));
    }
    let capped = ask(&node, "acme").await.unwrap();
    assert_eq!((capped.allowed, capped.code()), (false, Code::RateLimited));
    assert!(capped.message().contains("the store cannot be asked"), "R-PIPE-2: {}", capped.message());
    assert!(ask(&node, "other").await.unwrap().allowed);
}

#[tokio::test(start_paused = true)]
async fn two_fail_opens_do_not_stack() {
    let node = node(metered(2)).await;
    *node.billing.verdict.lock().unwrap() = BalanceVerdict::Unknown(Cause::ProviderError);
    // The org is in memory when the store fails, so that the actor itself flags both gates.
    assert!(ask(&node, "acme").await.unwrap().allowed);
    node.store.break_now("EIO");
    let open = ask(&node, "acme").await.unwrap();
    assert_eq!((open.allowed, open.fail_open().len()), (true, 2));
    let codes: Vec<_> = [ask(&node, "acme").await, ask(&node, "acme").await].map(|d| d.unwrap().code()).into();
    assert_eq!(codes, [Code::RateLimited, Code::RateLimited]);
}

#[tokio::test(start_paused = true)]
async fn a_switched_off_limiter_is_allow_and_not_a_fail_open() {
    let off = RateLimit { amount: None, ..RateLimit::default() };
    let node = node(OrgPolicy { rate: off, ..OrgPolicy::default() }).await;
    node.store.break_now("EIO");
    let allowed = ask(&node, "acme").await.unwrap();
    let fault = |gate| FailOpen { gate, cause: Cause::StoreFault };
    let rest = [Gate::Freeze, Gate::Budgets].map(fault);
    assert_eq!((allowed.allowed, allowed.fail_open()), (true, rest.to_vec()), "R-PIPE-2: this says nothing of others");
}

#[tokio::test(start_paused = true)]
async fn what_is_promised_durable_is_an_error_without_a_store() {
    let node = node(rate_of(10)).await;
    node.store.break_now("EIO");
    let reserving = Acquire { reserve: smallvec![(Meter::spend(), 5)], ..acquire() };
    let refused = node.service.acquire(Ask { org: org("acme"), acquire: Arc::new(reserving) }, &call()).await;
    assert!(matches!(refused, Err(ServiceError::Store(_))), "{refused:?}");
    assert!(matches!(node.service.ask(&org("acme"), record("r", 1), &call()).await, Err(ServiceError::Store(_))));
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_admits_nothing_new_and_settles_on() {
    let node = node(rate_of(10)).await;
    node.service.start_draining();
    assert_eq!(ask(&node, "acme").await, Err(ServiceError::Draining));
    let settled = node.service.ask(&org("acme"), record("r", 1), &call()).await;
    let recorded = Shown { outcome: Recorded, replayed: false, view: Scopes::org() };
    assert_eq!(settled, Ok(recorded), "I17");
    assert!(!node.service.is_serving());
}

#[tokio::test(start_paused = true)]
async fn the_same_id_is_charged_once_over_both_passes() {
    let node = node(metered(10)).await;
    let keyed = || Acquire { idempotency: Some(Idempotency { fingerprint: 1, ..idempotency("r1") }), ..acquire() };
    let mut ids = Vec::new();
    for replayed in [false, true] {
        let decision =
            node.service.acquire(Ask { org: org("acme"), acquire: Arc::new(keyed()) }, &call()).await.unwrap();
        assert_eq!((decision.replayed, decision.limits[0].used), (replayed, 1));
        ids.push(decision.id);
    }
    assert_eq!(ids[0], ids[1]);
}

/// What is logged while it lives, on this thread.
#[derive(Debug, Clone, Default)]
struct Logged(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_and_a_fail_open_are_logged_with_the_plane_that_asked() {
    // Beside a single subscriber, a line that the thread of another test reaches first stays silent.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let logged = Logged::default();
    let writer = logged.clone();
    let logs = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let _installed = tracing::subscriber::set_default(logs.with_writer(move || writer.clone()).finish());
    let node = node(metered(2)).await;
    *node.billing.verdict.lock().unwrap() = BalanceVerdict::Unknown(Cause::ProviderError);
    for plane in ["one", "two", "three"] {
        let acquire = Acquire { plane: Plane::parse("plane", plane).unwrap(), ..acquire() };
        node.service.acquire(Ask { org: org("acme"), acquire: Arc::new(acquire) }, &call()).await.unwrap();
    }
    let lines = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let line = |plane: &str| lines.lines().find(|line| line.contains(&format!("plane=\"{plane}\""))).unwrap_or(&lines);
    assert!(line("two").contains("WARN") && line("two").contains("allowed without"), "R-PIPE-2: {lines}");
    assert!(line("three").contains("DEBUG") && line("three").contains("RATE_LIMITED"), "{lines}");
}
