//! Providers that hang or panic, callers that leave, too much of everything, and a crash.

use super::*;
use crate::{
    domain::{
        lease::Now,
        service_time::{ClockMark, ClockState},
    },
    ports::Clock,
    testing::{T0, allowed, exhausted},
};
use std::sync::atomic::{AtomicBool, Ordering};

const FOREVER: Duration = Duration::from_hours(1_000);

#[tokio::test(start_paused = true)]
async fn with_a_hanging_provider_every_caller_is_answered_in_its_time() {
    let it = setup().await;
    it.billing.says_of("hung", exhausted(), FOREVER);
    let callers: Vec<_> = [100, 500, 1_900]
        .map(|budget| {
            let balances = it.balances.clone();
            let began = Instant::now();
            tokio::spawn(async move {
                let verdict = balances.ask(&org("hung"), Duration::ZERO, within(ms(budget))).await;
                (verdict, began.elapsed() == ms(budget))
            })
        })
        .into_iter()
        .collect();
    let before = Instant::now();
    assert_eq!(it.ask("acme").await, allowed());
    assert_eq!(Instant::now(), before, "other orgs do not wait");
    for caller in callers {
        assert_eq!(caller.await.unwrap(), (unknown(Cause::Timeout), true));
    }
    assert_eq!((it.billing.asked(), it.balances.readings().in_flight), (2, 1));
    it.billing.says_of("hung", allowed(), Duration::ZERO);
    pass(ms(28_200)).await;
    assert_eq!(it.ask("hung").await, allowed(), "a call without end is given up");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_takes_the_question_from_nobody() {
    let it = setup().await;
    it.billing.takes(ms(300));
    let (leaves, stays) = (it.asking("acme"), it.asking("acme"));
    pass(ms(100)).await;
    leaves.abort();
    assert_eq!(stays.await.unwrap(), allowed());
    let last = it.asking("other");
    pass(ms(100)).await;
    last.abort();
    pass(ms(200)).await;
    assert_eq!(it.remembered("other"), Some(allowed()), "it went on, and is worth remembering");
    assert_eq!(it.billing.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn too_many_questions_and_too_many_callers_are_refused_at_once() {
    let it = setup_with(BillingRules { in_flight_max: 2, waiting_max: 5, ..BillingRules::default() }).await;
    it.billing.takes(ms(1_000));
    let mut callers = vec![it.asking("a"), it.asking("b")];
    quiet().await;
    let before = Instant::now();
    assert_eq!(it.ask("c").await, unknown(Cause::Overloaded), "questions");
    callers.extend([it.asking("a"), it.asking("a"), it.asking("b")]);
    quiet().await;
    assert_eq!(it.ask("a").await, unknown(Cause::Overloaded), "callers");
    assert_eq!((Instant::now(), it.balances.readings().shed), (before, 2));
    for caller in callers {
        assert_eq!(caller.await.unwrap(), allowed());
    }
    assert_eq!(it.ask("c").await, allowed());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_no_word_and_the_next_call_asks_again() {
    let it = setup().await;
    it.billing.broken.store(true, Ordering::SeqCst);
    assert_eq!(it.ask("acme").await, unknown(Cause::ProviderError));
    it.billing.broken.store(false, Ordering::SeqCst);
    assert_eq!(it.ask("acme").await, allowed());
    let readings = it.balances.readings();
    assert_eq!((readings.unknown.get(&Cause::ProviderError), readings.in_flight, readings.crashes), (Some(&1), 0, 0));
}

#[derive(Debug, Default)]
struct FragileClock(AtomicBool);

impl Clock for FragileClock {
    fn read(&self) -> Now {
        assert!(!self.0.swap(false, Ordering::SeqCst), "fragile");
        Now::at(T0)
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

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_actor_answers_those_who_wait_and_forgets_nothing() {
    let (billing, clock) = (Arc::new(Scripted::default()), Arc::new(FragileClock::default()));
    let balances = Balances::start(billing.clone(), clock.clone(), BillingRules::default()).await.unwrap();
    assert_eq!(balances.ask(&org("kept"), Duration::ZERO, within(ms(100))).await, allowed());
    let balance = Balance { resets_at: Some(T0 + 1), authoritative: true, ..Balance::default() };
    billing.says(BalanceVerdict::Allowed(balance));
    billing.takes(ms(10));
    let slow = billing.clone();
    slow.says_of("slow", exhausted(), ms(500));
    let of_before = {
        let balances = balances.clone();
        tokio::spawn(async move { balances.ask(&org("slow"), Duration::ZERO, within(ms(1_000))).await })
    };
    quiet().await;
    clock.0.store(true, Ordering::SeqCst);
    assert_eq!(balances.ask(&org("acme"), Duration::ZERO, within(ms(100))).await, unknown(Cause::ProviderError));
    assert_eq!(of_before.await.unwrap(), unknown(Cause::ProviderError));
    quiet().await;
    assert!(is_allowed(balances.ask(&org("acme"), Duration::ZERO, within(ms(100))).await), "started again");
    assert_eq!(balances.remembered(&org("kept")), Some(allowed()));
    pass(ms(1_000)).await;
    assert_eq!(balances.remembered(&org("slow")), None, "what was under way reports to nobody");
    assert_eq!((balances.readings().crashes, balances.readings().in_flight), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_what_was_learned_last_is_in_it() {
    let it = setup_with(BillingRules { orgs_max: 10, ..BillingRules::default() }).await;
    for number in 0..1_000 {
        let name = format!("org-{number}");
        it.ask(&name).await;
        assert_eq!(it.remembered(&name), Some(allowed()));
        assert!(it.balances.readings().remembered <= 10);
    }
    assert_eq!(it.balances.readings().remembered, 10, "evicting, never cleared");
    assert_eq!(it.remembered("org-0"), None);
    assert_eq!(it.remembered("org-990"), Some(allowed()));
}

#[tokio::test(start_paused = true)]
async fn the_actor_ends_with_the_last_handle() {
    let it = setup().await;
    it.ask("acme").await;
    let core = Arc::downgrade(&it.balances.core);
    drop(it);
    quiet().await;
    assert!(core.upgrade().is_none());
}
