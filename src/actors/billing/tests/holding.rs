//! What is remembered, and for how long.

use super::*;
use crate::{
    domain::balance::DenyReason,
    testing::{T0, allowed, exhausted},
};

#[tokio::test(start_paused = true)]
async fn an_allowance_answers_from_memory_for_its_time_and_is_asked_again_after() {
    let it = setup().await;
    assert_eq!(it.ask("acme").await, allowed(), "R-BAL-1");
    for _ in 0..599 {
        pass(ms(100)).await;
        assert_eq!(it.ask("acme").await, allowed());
    }
    assert_eq!(it.billing.asked(), 1);
    pass(ms(100)).await;
    assert_eq!(it.remembered("acme"), None, "60 s are over");
    it.billing.says(exhausted());
    assert_eq!(it.ask("acme").await, exhausted());
    assert_eq!(it.billing.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_denial_answers_from_memory_for_its_time_and_is_asked_again_after() {
    let it = setup().await;
    it.billing.says(exhausted());
    assert_eq!(it.ask("acme").await, exhausted(), "R-BAL-1");
    it.billing.takes(ms(500));
    let before = Instant::now();
    for _ in 0..100 {
        assert_eq!(it.ask("acme").await, exhausted());
    }
    assert_eq!((it.billing.asked(), Instant::now()), (1, before), "no call, no waiting");
    pass(ms(59_990)).await;
    assert_eq!(it.ask("acme").await, exhausted());
    assert_eq!(Instant::now(), before + ms(59_990), "answered at once, checked behind it");
    quiet().await;
    assert_eq!(it.billing.asked(), 2, "one revalidation");
    let it = setup().await;
    it.billing.says(exhausted());
    it.ask("acme").await;
    pass(ms(60_000)).await;
    assert_eq!((it.remembered("acme"), it.billing.asked()), (None, 1));
    it.billing.says(allowed());
    assert_eq!(it.ask("acme").await, allowed());
    assert_eq!(it.billing.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hammered_denial_is_checked_at_most_once_per_two_seconds() {
    let it = setup().await;
    it.billing.says(exhausted());
    it.billing.takes(ms(30));
    for _ in 0..1_000 {
        assert_eq!(it.ask("acme").await, exhausted());
        pass(ms(10)).await;
    }
    let asked = it.billing.asked();
    assert!((4..=6).contains(&asked), "R-BAL-2: asked {asked} times");
    let readings = it.balances.readings();
    assert_eq!((readings.denied, readings.revalidations, readings.from_memory), (asked, asked - 1, 999));
}

#[tokio::test(start_paused = true)]
async fn an_org_that_has_paid_is_unblocked_within_three_seconds_of_calls() {
    let it = setup().await;
    it.billing.takes(ms(200));
    it.billing.says(exhausted());
    it.ask("acme").await;
    pass(ms(7_350)).await;
    it.billing.says(allowed());
    let paid = Instant::now();
    while denied(it.ask("acme").await) {
        pass(ms(50)).await;
    }
    assert!(paid.elapsed() < ms(3_000), "R-BAL-2: it took {:?}", paid.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_check_in_the_background_that_fails_changes_nothing() {
    let it = setup().await;
    it.billing.says(exhausted());
    it.ask("acme").await;
    it.billing.says(unknown(Cause::ProviderError));
    for _ in 0..599 {
        pass(ms(100)).await;
        assert_eq!(it.ask("acme").await, exhausted());
    }
    assert!(it.billing.asked() > 5, "it was checked, and less where that fails: R-BAL-10");
    pass(ms(100)).await;
    assert_eq!(it.ask("acme").await, unknown(Cause::ProviderError), "its own end");
}

#[tokio::test(start_paused = true)]
async fn one_org_never_answers_for_another() {
    let it = setup().await;
    it.billing.says_of("broke", exhausted(), Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(it.ask("acme").await, allowed());
        assert_eq!(it.ask("broke").await, exhausted());
        assert_eq!(it.ask("broke/2").await, allowed());
    }
    assert_eq!(it.billing.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn neither_a_failure_nor_an_estimate_is_remembered() {
    let it = setup().await;
    for cause in Cause::ALL {
        it.billing.says(unknown(cause));
        let name = cause.name();
        assert_eq!(it.ask(name).await, unknown(cause), "R-BAL-3");
        assert_eq!(it.remembered(name), None);
    }
    let estimates = [
        BalanceVerdict::Allowed(Balance::default()),
        BalanceVerdict::Denied(DenyReason::Exhausted, Balance::default()),
    ];
    for verdict in estimates {
        it.billing.says(verdict);
        assert_eq!(it.ask("acme").await, verdict);
        assert_eq!(it.remembered("acme"), None);
    }
    it.billing.says(allowed());
    assert_eq!(it.ask("acme").await, allowed(), "the next call asks again");
    assert_eq!(it.billing.asked(), Cause::ALL.len() as u64 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_the_plan_does_not_include_is_remembered_like_a_denial() {
    let it = setup_with(BillingRules { deny_ttl: ms(10_000), ..BillingRules::default() }).await;
    let verdict =
        BalanceVerdict::Denied(DenyReason::NoEntitlement, Balance { authoritative: true, ..Balance::default() });
    it.billing.says(verdict);
    assert_eq!(it.ask("acme").await, verdict);
    pass(ms(9_990)).await;
    it.billing.says(allowed());
    assert_eq!(it.ask("acme").await, verdict, "R-BAL-4");
    quiet().await;
    assert_eq!(it.remembered("acme"), Some(allowed()), "checked behind it");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_make_one_call() {
    let it = setup().await;
    it.billing.takes(ms(300));
    let callers: Vec<_> = (0..1_000).map(|_| it.asking("acme")).collect();
    quiet().await;
    let readings = it.balances.readings();
    assert_eq!((readings.in_flight, readings.waiting), (1, 1_000));
    for caller in callers {
        assert_eq!(caller.await.unwrap(), allowed());
    }
    assert_eq!(it.billing.asked(), 1, "R-BAL-2");
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_ends_when_the_provider_resets_the_balance() {
    let balance = Balance { resets_at: Some(T0 + 5_000), authoritative: true, ..Balance::default() };
    for verdict in [BalanceVerdict::Allowed(balance), BalanceVerdict::Denied(DenyReason::UsageCap, balance)] {
        let it = setup().await;
        it.billing.says(verdict);
        it.ask("acme").await;
        it.clock.advance(4_999);
        assert_eq!(it.remembered("acme"), Some(verdict));
        it.clock.advance(1);
        assert_eq!(it.remembered("acme"), None, "R-BAL-2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_is_late_is_not_asked_for_with_every_call() {
    let it = setup().await;
    let balance = Balance { resets_at: Some(T0), authoritative: true, ..Balance::default() };
    it.billing.says(BalanceVerdict::Denied(DenyReason::Exhausted, balance));
    for _ in 0..1_000 {
        assert!(denied(it.ask("acme").await));
        pass(ms(10)).await;
    }
    assert!((4..=6).contains(&it.billing.asked()), "asked {} times", it.billing.asked());
}
