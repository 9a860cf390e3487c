//! The balance gate through the use cases: who is asked, when, and what follows from the answer.

use std::time::Duration;

use super::*;
use crate::{
    domain::{
        balance::{Balance, DenyReason},
        command::Mode,
        policy::{BalancePolicy, Exemption},
    },
    testing::{allowed, resume},
};

const DOWN: BalanceVerdict = BalanceVerdict::Unknown(Cause::ProviderUnreachable);

fn asked(node: &Node) -> u64 {
    node.billing.asked.load(Ordering::SeqCst)
}

fn denied(reason: DenyReason) -> BalanceVerdict {
    BalanceVerdict::Denied(reason, Balance { authoritative: true, ..Balance::default() })
}

fn opened(decision: &Decision) -> Vec<&'static str> {
    decision.fail_open().iter().map(|open| open.cause.name()).collect()
}

/// I7, R-BAL-8: over limit × provider down × draining × store degraded × frozen × emergency cap.
#[tokio::test(start_paused = true)]
async fn resume_is_served_in_every_state_and_asks_the_provider_nothing() {
    for state in 0..64_u8 {
        let [over, down, draining, lost, frozen, capped] = [1, 2, 4, 8, 16, 32].map(|bit| state & bit != 0);
        let node = node(metered(1)).await;
        let name = org("acme");
        if over {
            ask(&node, "acme").await.unwrap();
            assert!(!ask(&node, "acme").await.unwrap().allowed);
        }
        if down {
            node.billing.says(DOWN);
        }
        if frozen {
            let reason = Reason::parse("reason", "why").unwrap();
            let freeze = Freeze { reason, end: None, idempotency: idempotency("f") };
            node.service.operate(&name, freeze, Reason::none(), &call()).await.unwrap();
        }
        if lost {
            node.store.break_now("EIO");
        }
        if capped {
            // With the store lost as well this is the cap; without, just more calls.
            for _ in 0..3 {
                let _ = ask(&node, "acme").await;
            }
        }
        if draining {
            node.service.start_draining();
        }
        let before = (asked(&node), node.billing.asked_pays.load(Ordering::SeqCst));
        let continuations = node.service.resume(&name, resume(), &call()).await.unwrap().outcome.continuations;
        assert_eq!(continuations, u64::from(!lost), "state {state:06b}: counted wherever there is a store");
        let after = (asked(&node), node.billing.asked_pays.load(Ordering::SeqCst));
        assert_eq!(before, after, "state {state:06b}: the provider is never asked");
    }
}

/// BILLING.md §6.2, from the verdict to the answer.
#[tokio::test(start_paused = true)]
async fn every_verdict_has_its_answer() {
    let balance = Balance { granted: Some(100), remaining: Some(5), authoritative: true, ..Balance::default() };
    let free = |balance| BalanceVerdict::Allowed(balance);
    for (name, verdict, code, causes) in [
        ("metered", free(balance), Code::Allowed, vec![]),
        ("unlimited", free(Balance { unlimited: true, remaining: Some(0), ..balance }), Code::Allowed, vec![]),
        ("overage", free(Balance { overage: true, remaining: Some(0), ..balance }), Code::Allowed, vec![]),
        ("boolean", free(Balance { authoritative: true, ..Balance::default() }), Code::Allowed, vec![]),
        ("exhausted", denied(DenyReason::Exhausted), Code::BalanceExhausted, vec![]),
        ("spend cap", denied(DenyReason::SpendCap), Code::BalanceExhausted, vec![]),
        ("usage cap", denied(DenyReason::UsageCap), Code::BalanceExhausted, vec![]),
        ("past due", denied(DenyReason::PastDue), Code::BalanceExhausted, vec![]),
        ("not in plan", denied(DenyReason::NoEntitlement), Code::Allowed, vec!["no_entitlement"]),
        ("unknown", BalanceVerdict::Unknown(Cause::UnknownCustomer), Code::Allowed, vec!["unknown_customer"]),
        (
            "failed open",
            BalanceVerdict::Unknown(Cause::ProviderFailedOpen),
            Code::Allowed,
            vec!["provider_failed_open"],
        ),
    ] {
        let node = node(metered(10)).await;
        node.billing.says(verdict);
        let decision = ask(&node, "acme").await.unwrap();
        assert_eq!((decision.code(), opened(&decision)), (code, causes), "{name}");
        assert_eq!(decision.allowed, code == Code::Allowed, "{name}");
        let metrics = node.metrics.render(node.service.readings());
        for cause in opened(&decision) {
            let counted = format!("tollgate_fail_open_total{{gate=\"balance\",cause=\"{cause}\"}} 1");
            assert!(metrics.contains(&counted), "{name}: {metrics}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn strict_policies_deny_what_the_others_let_through() {
    let strict = |balance: BalancePolicy| BalancePolicy {
        on_no_entitlement: OnIndeterminate::Deny,
        on_unknown_customer: OnIndeterminate::Deny,
        on_indeterminate: OnIndeterminate::Deny,
        ..balance
    };
    let policy = metered(10);
    let node = node(OrgPolicy { balance: strict(policy.balance.clone()), ..policy }).await;
    for (verdict, code) in [
        (denied(DenyReason::NoEntitlement), Code::BalanceExhausted),
        (BalanceVerdict::Unknown(Cause::UnknownCustomer), Code::Indeterminate),
        (DOWN, Code::Indeterminate),
    ] {
        node.billing.says(verdict);
        node.service.balance_changed(&org("acme"));
        let decision = ask(&node, "acme").await.unwrap();
        assert_eq!(
            (decision.allowed, decision.code(), decision.gate()),
            (false, code, Some(Gate::Balance)),
            "{verdict:?}"
        );
        assert!(opened(&decision).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_names_the_plan_the_reset_and_where_to_get_more() {
    let mut policy = metered(10);
    policy.plan = "free".into();
    policy.balance.upgrade_url = "https://example.com/upgrade".into();
    let node = node(policy).await;
    let resets_at = Some(crate::testing::T0 + crate::bounds::HOUR_MS);
    let spent =
        Balance { granted: Some(100), remaining: Some(0), resets_at, authoritative: true, ..Balance::default() };
    node.billing.says(BalanceVerdict::Denied(DenyReason::Exhausted, spent));
    let decision = ask(&node, "acme").await.unwrap();
    for part in ["plan free", "used up", "100", "resets at", "https://example.com/upgrade"] {
        assert!(decision.message().contains(part), "R-BAL-9: {}", decision.message());
    }
    assert_eq!(decision.retry_after(), crate::bounds::HOUR_MS);
    let view = decision.limits.iter().find(|view| view.name() == "balance").unwrap();
    assert_eq!((view.amount, view.used, view.remaining(), view.limiting), (Some(100), 100, Some(0), true));
}

#[tokio::test(start_paused = true)]
async fn an_expensive_call_needs_all_of_what_it_asks() {
    let node = node(metered(100)).await;
    let left = Balance { granted: Some(100), remaining: Some(5), authoritative: true, ..Balance::default() };
    node.billing.says(BalanceVerdict::Allowed(left));
    for (executions, allowed) in [(5, true), (6, false)] {
        let acquire =
            Acquire { cost: smallvec![(Meter::executions(), executions)], mode: Mode::CheckOnly, ..acquire() };
        let decision = node.service.acquire(Ask { org: org("acme"), acquire: Arc::new(acquire) }, &call()).await;
        assert_eq!(decision.unwrap().allowed, allowed, "{executions}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_asks_for_more_than_is_left_finds_out_that_more_was_bought() {
    let node = node(metered(100)).await;
    let left = |units| Balance { remaining: Some(units), authoritative: true, ..Balance::default() };
    let expensive = async || {
        let acquire = Arc::new(Acquire { cost: smallvec![(Meter::executions(), 6)], ..acquire() });
        node.service.acquire(Ask { org: org("acme"), acquire }, &call()).await.unwrap().allowed
    };
    node.billing.says(BalanceVerdict::Allowed(left(5)));
    assert!(!expensive().await);
    node.billing.says(BalanceVerdict::Allowed(left(50)));
    let mut calls = 0;
    while !expensive().await {
        calls += 1;
        assert!(calls < 30, "R-BAL-2: within three seconds of calls");
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(asked(&node), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_is_taken_off_what_is_left_as_well() {
    let node = node(metered(100)).await;
    node.billing.says(BalanceVerdict::Allowed(Balance {
        remaining: Some(5),
        authoritative: true,
        ..Balance::default()
    }));
    for asked_then in [1, 2] {
        let acquire = Acquire { cost: smallvec![], reserve: smallvec![(Meter::executions(), 5)], ..acquire() };
        let ask = Ask { org: org("acme"), acquire: Arc::new(acquire) };
        assert!(node.service.acquire(ask, &call()).await.unwrap().allowed);
        assert_eq!(asked(&node), asked_then, "used up by our own count: asked again, and not denied");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_costs_its_budget_and_nobody_else_anything() {
    let node = node(metered(10)).await;
    *node.billing.takes.lock().unwrap() = Duration::from_secs(3600);
    let began = tokio::time::Instant::now();
    let decision = ask(&node, "acme").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(2_500), "R-PIPE-8: {:?}", began.elapsed());
    assert_eq!((decision.allowed, opened(&decision)), (true, vec!["timeout"]));
    assert_eq!(decision.fail_open()[0].gate, Gate::Balance, "the counter itself was there");
    let patient =
        Call::new("Test", Arc::new(Principal::anybody()), Deadline::new(Some(Duration::from_millis(400)), 2_500));
    let began = tokio::time::Instant::now();
    let decision =
        node.service.acquire(Ask { org: org("acme"), acquire: Arc::new(acquire()) }, &patient).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(400), "the caller's own deadline");
    assert_eq!((decision.allowed, opened(&decision), decision.limits[0].used), (true, vec!["timeout"], 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_counter_a_known_denial_is_still_one() {
    let node = node(metered(10)).await;
    node.billing.says(exhausted());
    assert!(!ask(&node, "acme").await.unwrap().allowed);
    node.store.break_now("EIO");
    node.billing.says(allowed());
    let open = ask(&node, "other").await.unwrap();
    assert_eq!((open.allowed, opened(&open)), (true, vec!["store_fault"; 3]), "the provider was asked and allows");
    node.billing.says(exhausted());
    let denied = ask(&node, "third").await.unwrap();
    assert_eq!((denied.allowed, denied.code()), (false, Code::BalanceExhausted));
}

#[tokio::test(start_paused = true)]
async fn store_and_provider_blind_meet_the_emergency_cap_also_where_the_backstop_is_off() {
    let node = node(metered(2)).await;
    node.store.break_now("EIO");
    node.billing.says(DOWN);
    let mut codes = Vec::new();
    for _ in 0..4 {
        let decision = ask(&node, "acme").await.unwrap();
        if decision.allowed {
            assert_eq!(opened(&decision), ["store_fault", "store_fault", "store_fault", "provider_unreachable"]);
        } else {
            assert!(decision.message().contains("cannot be asked"), "{}", decision.message());
            assert!(!decision.id.unwrap().is_admitted(), "R-PIPE-1: nothing is billed in its name");
        }
        codes.push(decision.code());
    }
    assert_eq!(codes, [Code::Allowed, Code::Allowed, Code::RateLimited, Code::RateLimited], "R-PIPE-2");
    let off = RateLimit { amount: None, ..RateLimit::default() };
    let off = OrgPolicy { rate: off, emergency_amount: Some(3), ..metered(2) };
    let node = crate::testing::node(off).await;
    node.store.break_now("EIO");
    node.billing.says(DOWN);
    for _ in 0..3 {
        let decision = ask(&node, "acme").await.unwrap();
        let causes = ["store_fault", "store_fault", "provider_unreachable"];
        assert_eq!((decision.allowed, opened(&decision)), (true, causes.to_vec()));
    }
    assert_eq!(ask(&node, "acme").await.unwrap().code(), Code::RateLimited, "R-PIPE-2");
}

#[tokio::test(start_paused = true)]
async fn an_exemption_is_resolved_only_when_the_backstop_is_reached() {
    let mut policy = rate_of(1);
    policy.rate.exempt = Exemption::IfPaying;
    let node = node(policy).await;
    let asked = || node.billing.asked_pays.load(Ordering::SeqCst);
    assert!(ask(&node, "acme").await.unwrap().allowed);
    assert_eq!(asked(), 0, "R-RATE-6: only when already over");
    assert_eq!(ask(&node, "acme").await.unwrap().code(), Code::RateLimited);
    assert_eq!(asked(), 1);
    *node.billing.pays.lock().unwrap() = Ok(true);
    assert!(ask(&node, "paying").await.unwrap().allowed);
    assert!(ask(&node, "paying").await.unwrap().allowed, "past its amount");
    let status = node.service.status(&org("paying"), crate::domain::scopes::Scopes::org(), &call()).await.unwrap();
    assert!(status.decision.allowed, "a status says what an Acquire would be told");
    *node.billing.pays.lock().unwrap() = Err(Cause::ProviderUnreachable);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(ask(&node, "paying").await.unwrap().allowed, "what was known last is honoured");
    assert!(ask(&node, "stranger").await.unwrap().allowed);
    assert_eq!(ask(&node, "stranger").await.unwrap().code(), Code::RateLimited, "an outage exempts nobody");
}

#[tokio::test(start_paused = true)]
async fn an_org_that_is_always_exempt_asks_nobody() {
    let mut policy = rate_of(1);
    policy.rate.exempt = Exemption::Always;
    let node = node(policy).await;
    for _ in 0..3 {
        assert!(ask(&node, "acme").await.unwrap().allowed);
    }
    assert_eq!(node.billing.asked_pays.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_asks_once_for_all_of_an_org() {
    let node = node(metered(100)).await;
    let mut asks = (0..50).map(|_| Arc::new(acquire())).collect();
    let decided = node.service.decide(&org("acme"), &mut asks, &call()).await;
    assert!(decided.iter().all(|decision| decision.as_ref().unwrap().allowed));
    assert_eq!(asked(&node), 1);
    assert_eq!(decided.last().unwrap().as_ref().unwrap().limits[0].used, 50, "charged once each, in order");
}

#[tokio::test(start_paused = true)]
async fn a_status_says_what_the_provider_says() {
    let node = node(metered(10)).await;
    node.billing.says(exhausted());
    let status = node.service.status(&org("acme"), crate::domain::scopes::Scopes::org(), &call()).await.unwrap();
    assert_eq!((status.decision.allowed, status.decision.code()), (false, Code::BalanceExhausted));
}
