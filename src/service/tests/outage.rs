//! R-PIPE-2: what could not be evaluated is said, gate by gate, and bounded by the emergency cap.

use std::time::Duration;

use smallvec::smallvec;

use super::{ask, call};
use crate::{
    actors::WriteBehind,
    bounds::{DAY_MS, HOUR_MS},
    domain::{
        command::{Acquire, Freeze, Mode, SetBudget},
        decision::Decision,
        gate::{Cause, Code, FailOpen, Gate},
        ids::{Meter, Reason, Scope},
        limit::{Limit, LimitSource, Origin},
        policy::{BalancePolicy, BalanceSource, Exemption, OnIndeterminate, OrgPolicy, RateLimit, SessionPolicy},
        window::{Calendar, Window},
    },
    service::{Ask, Service},
    testing::{Node, acquire, idempotency, node, node_on, org, record},
};

const OFF: RateLimit = RateLimit {
    shadow: false,
    origin: Origin::of(LimitSource::Default),
    amount: None,
    len: HOUR_MS,
    idle_windows: 2,
    on_indeterminate: OnIndeterminate::Allow,
    exempt: Exemption::Never,
    until_spent: false,
};

fn unlimited() -> OrgPolicy {
    OrgPolicy { rate: OFF, ..OrgPolicy::default() }
}

fn daily(amount: u64) -> Limit {
    Limit::new(Meter::spend(), Window::Rolling { len: DAY_MS }, Some(amount))
}

async fn decide(node: &Node, name: &str, acquire: Acquire) -> Box<Decision> {
    node.service.acquire(Ask { org: org(name), acquire: acquire.into() }, &call()).await.unwrap()
}

/// Freezes `icy` and puts `poor` over the daily budget that was set on it.
async fn trouble(node: &Node) {
    let freeze = Freeze { reason: Reason::parse("reason", "").unwrap(), end: None, idempotency: idempotency("f") };
    node.service.operate(&org("icy"), freeze, Reason::none(), &call()).await.unwrap();
    let budget = SetBudget {
        scope: Scope::org(),
        replace: false,
        periods: vec![("daily", Some(10))],
        expected_version: None,
        idempotency: idempotency("b"),
    };
    node.service.ask(&org("poor"), Box::new(budget), &call()).await.unwrap();
    node.service.ask(&org("poor"), record("r", 10), &call()).await.unwrap();
}

fn faults(gates: &[Gate]) -> Vec<FailOpen> {
    gates.iter().map(|gate| FailOpen { gate: *gate, cause: Cause::StoreFault }).collect()
}

#[tokio::test(start_paused = true)]
async fn a_frozen_org_and_one_over_its_budget_are_not_let_through_without_a_word_when_nobody_can_read_them() {
    let first = node(unlimited()).await;
    trouble(&first).await;
    let write_behind = WriteBehind { interval: Duration::from_millis(10), max: 4096 };
    let second = node_on(first.store.crash(), unlimited(), write_behind).await;
    second.store.break_now("ENOSPC");
    for name in ["poor", "icy"] {
        let open = ask(&second, name).await.unwrap();
        assert_eq!((open.allowed, open.fail_open()), (true, faults(&[Gate::Freeze, Gate::Budgets])), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_memory_what_is_known_denies_and_what_is_counted_is_flagged() {
    let troubled = node(unlimited()).await;
    trouble(&troubled).await;
    let within = OrgPolicy { limits: vec![daily(100)].into(), ..unlimited() };
    let within = node(within).await;
    assert!(ask(&within, "acme").await.unwrap().fail_open().is_empty());
    for node in [&troubled, &within] {
        node.store.break_now("ENOSPC");
    }
    assert_eq!(ask(&troubled, "icy").await.unwrap().code(), Code::Frozen);
    assert_eq!(ask(&troubled, "poor").await.unwrap().code(), Code::BudgetExceeded);
    let open = ask(&within, "acme").await.unwrap();
    assert_eq!((open.allowed, open.fail_open()), (true, faults(&[Gate::Budgets])), "counted in memory only");
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_where_the_backstop_is_off_and_says_why() {
    for (given, amount) in [(None, 1000), (Some(3), 3)] {
        let node = node(OrgPolicy { emergency_amount: given, ..unlimited() }).await;
        node.store.break_now("ENOSPC");
        for _ in 0..amount {
            assert!(ask(&node, "acme").await.unwrap().allowed);
        }
        let capped = ask(&node, "acme").await.unwrap();
        assert_eq!((capped.allowed, capped.code(), capped.gate()), (false, Code::RateLimited, Some(Gate::Rate)));
        let expected = format!(
            "Emergency cap reached: the store cannot be asked, and this node has let through {amount} calls of \
             this org per clock hour without. It resets at"
        );
        assert!(capped.message().starts_with(&expected), "{}", capped.message());
        assert!(!capped.fail_open().is_empty() && capped.let_through().is_empty(), "nothing was let through");
        assert!(ask(&node, "other").await.unwrap().allowed, "each org alone");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_in_memory_too_where_nothing_that_bounds_the_org_could_be_evaluated() {
    let node = node(OrgPolicy { limits: vec![daily(100)].into(), emergency_amount: Some(2), ..unlimited() }).await;
    assert!(ask(&node, "acme").await.unwrap().allowed);
    node.store.break_now("ENOSPC");
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(ask(&node, "acme").await.unwrap().code());
    }
    assert_eq!(codes, [Code::Allowed, Code::Allowed, Code::RateLimited]);
}

#[tokio::test(start_paused = true)]
async fn the_cap_is_not_used_up_by_a_peek_and_not_enforced_in_shadow_mode() {
    let node = node(OrgPolicy { emergency_amount: Some(1), ..unlimited() }).await;
    node.store.break_now("ENOSPC");
    let with = |mode| Acquire { mode, ..acquire() };
    for _ in 0..3 {
        assert!(decide(&node, "acme", with(Mode::CheckOnly)).await.allowed);
    }
    assert!(decide(&node, "acme", with(Mode::Normal)).await.allowed);
    assert!(!decide(&node, "acme", with(Mode::CheckOnly)).await.allowed, "a peek says what a call would be answered");
    let shadow = decide(&node, "acme", with(Mode::Shadow)).await;
    assert_eq!((shadow.allowed, shadow.code()), (true, Code::RateLimited), "R-PIPE-7");
}

#[tokio::test(start_paused = true)]
async fn a_gate_whose_policy_is_to_deny_denies_unread_and_names_itself() {
    let strict = OrgPolicy { budgets_on_indeterminate: OnIndeterminate::Deny, ..unlimited() };
    let node = node(strict).await;
    node.store.break_now("ENOSPC");
    let denied = ask(&node, "acme").await.unwrap();
    assert_eq!((denied.allowed, denied.code(), denied.gate()), (false, Code::Indeterminate, Some(Gate::Budgets)));
    assert!(denied.message().contains("budgets") && denied.message().contains("store_fault"), "{}", denied.message());
    let shadow = decide(&node, "acme", Acquire { mode: Mode::Shadow, ..acquire() }).await;
    assert!(shadow.allowed, "R-PIPE-7: shadow always allows");
}

/// Each gate with something that only it evaluates.
#[tokio::test(start_paused = true)]
async fn every_gate_that_has_something_configured_is_flagged() {
    let quota = Limit::new(Meter::compute(), Window::Calendar(Calendar::Month), Some(1));
    let included = BalanceSource::included(Some(5), Calendar::Month, false);
    let balance = BalancePolicy { source: included, ..BalancePolicy::default() };
    let sessions = SessionPolicy { max: Some(1), ..SessionPolicy::default() };
    for (policy, flagged) in [
        (unlimited(), vec![Gate::Freeze, Gate::Budgets]),
        (OrgPolicy::default(), vec![Gate::Freeze, Gate::Rate, Gate::Budgets]),
        (OrgPolicy { balance, ..unlimited() }, vec![Gate::Freeze, Gate::Budgets, Gate::Balance]),
        (OrgPolicy { sessions, limits: vec![quota].into(), ..unlimited() }, vec![Gate::Freeze, Gate::Budgets]),
    ] {
        let node = node(policy).await;
        node.store.break_now("ENOSPC");
        let open = ask(&node, "acme").await.unwrap();
        assert_eq!(open.fail_open(), faults(&flagged));
        let denials = node.metrics.render(node.service.readings());
        for gate in flagged {
            let line = format!("tollgate_fail_open_total{{gate=\"{}\",cause=\"store_fault\"}} 1", gate.name());
            assert!(denials.contains(&line), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_the_plan_does_not_name_is_no_outage() {
    let not_included = BalancePolicy { source: BalanceSource::NotIncluded, ..BalancePolicy::default() };
    let node = node(OrgPolicy { balance: not_included, emergency_amount: Some(1), ..unlimited() }).await;
    for _ in 0..3 {
        let open = ask(&node, "acme").await.unwrap();
        let flagged = vec![FailOpen { gate: Gate::Balance, cause: Cause::NoEntitlement }];
        assert_eq!((open.allowed, open.fail_open()), (true, flagged), "R-BAL-4: allowed with an alert, uncapped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peek_of_a_batch_does_not_wait_for_its_neighbours_disk() {
    let node = node(unlimited()).await;
    let spend = smallvec![(Meter::spend(), 5)];
    let peek = Acquire { mode: Mode::CheckOnly, reserve: spend.clone(), ..acquire() };
    let hold = Acquire { reserve: spend, ..acquire() };
    let asks = [peek, acquire(), hold].map(|acquire| Ask { org: org("acme"), acquire: acquire.into() });
    node.store.hold();
    for (name, mut group) in Service::grouped(asks) {
        if !group.positions.contains(&0) {
            continue;
        }
        let call = call();
        let decided = node.service.decide(&name, &mut group.asks, &call);
        let decided = tokio::time::timeout(Duration::from_secs(1), decided).await.expect("no commit is awaited");
        assert!(decided.into_iter().all(|decision| decision.is_ok_and(|decision| decision.allowed)));
    }
}
