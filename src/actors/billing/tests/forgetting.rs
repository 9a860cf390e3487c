//! What invalidate and refresh make of memory, of what is under way, and of those who wait.

use super::*;
use crate::testing::{allowed, exhausted};
use std::sync::atomic::Ordering;

#[tokio::test(start_paused = true)]
async fn an_org_is_unblocked_at_once_when_it_is_invalidated_or_refreshed() {
    let it = setup().await;
    it.billing.says(exhausted());
    it.ask("acme").await;
    it.billing.says(allowed());
    it.balances.invalidate(&org("acme"));
    assert_eq!(it.remembered("acme"), None);
    quiet().await;
    assert_eq!(it.billing.asked(), 1, "nobody waits, so nothing is asked");
    assert_eq!(it.ask("acme").await, allowed());
    it.billing.says(exhausted());
    assert_eq!(it.balances.refresh(&org("acme"), within(ms(100))).await, exhausted());
    it.billing.says(allowed());
    assert_eq!(it.balances.refresh(&org("acme"), within(ms(100))).await, allowed());
    assert_eq!(it.remembered("acme"), Some(allowed()));
    assert_eq!((it.billing.asked(), it.billing.asked_fresh.load(Ordering::SeqCst)), (4, 2));
}

/// A question begins, the org pays, the question is invalidated; then the answers come in, the old
/// one after `old`, the new one `new` after its question.
async fn stale_answer(old: Duration, new: Duration, waiting: bool, refresh: bool) {
    let it = setup().await;
    it.billing.says(exhausted());
    if !waiting {
        it.ask("acme").await;
        pass(ms(2_000)).await;
    }
    it.billing.takes(old);
    let waiter = if waiting { Some(it.asking("acme")) } else { None };
    assert!(waiting || it.remembered("acme").is_some_and(denied), "begins a check behind it");
    pass(ms(50)).await;
    it.billing.says(allowed());
    it.billing.takes(new);
    let refreshed = if refresh { Some(it.refreshing("acme")) } else { None };
    if !refresh {
        it.balances.invalidate(&org("acme"));
    }
    quiet().await;
    let asked = it.billing.asked();
    for _ in 0..150 {
        assert!(!it.remembered("acme").is_some_and(denied), "R-BAL-2: blocked again");
        pass(ms(10)).await;
    }
    if let Some(waiter) = waiter {
        assert_eq!(waiter.await.unwrap(), allowed(), "handed to the new question");
    }
    if let Some(refreshed) = refreshed {
        assert_eq!(refreshed.await.unwrap(), allowed());
    }
    assert_eq!(it.billing.asked(), asked);
    assert_eq!(it.ask("acme").await, allowed());
    assert_eq!(it.balances.readings().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_under_way_never_blocks_again() {
    for (old, new) in [(ms(300), ms(1_000)), (ms(1_000), ms(300))] {
        for (waiting, refresh) in [(true, false), (true, true), (false, false), (false, true)] {
            stale_answer(old, new, waiting, refresh).await;
        }
    }
}

/// The answer has come in and the actor has not had its turn yet when the org is invalidated. Timers
/// of one instant fire in an order of their own, so the two are set in both.
#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_the_actor_no_longer_counts_either() {
    for invalidated_first in [true, false] {
        let it = setup().await;
        it.billing.says(exhausted());
        it.billing.takes(ms(300));
        let (at, balances, billing) = (within(ms(300)), it.balances.clone(), it.billing.clone());
        let invalidate = async move {
            let _ = tokio::time::timeout_at(at, std::future::pending::<()>()).await;
            billing.says(allowed());
            balances.invalidate(&org("acme"));
            assert_eq!(balances.remembered(&org("acme")), None);
        };
        let early = if invalidated_first { Ok(tokio::spawn(invalidate)) } else { Err(invalidate) };
        quiet().await;
        let ask = it.asking("acme");
        quiet().await;
        let invalidated = early.unwrap_or_else(tokio::spawn);
        invalidated.await.unwrap();
        quiet().await;
        assert_eq!(it.remembered("acme"), None, "not written down");
        pass(ms(300)).await;
        assert_eq!((it.remembered("acme"), ask.await.unwrap()), (Some(allowed()), allowed()));
    }
}

/// Real threads: the answer, its being written down and the invalidation meet in every order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_an_invalidation_no_thread_finds_what_was_said_before() {
    let it = setup().await;
    for _ in 0..500 {
        it.billing.says(exhausted());
        it.balances.invalidate(&org("acme"));
        let callers = [it.asking("acme"), it.asking("acme")];
        yield_now().await;
        it.billing.says(allowed());
        it.balances.invalidate(&org("acme"));
        for _ in 0..10 {
            assert!(!it.remembered("acme").is_some_and(denied));
            yield_now().await;
        }
        assert_eq!(it.ask("acme").await, allowed());
        for caller in callers {
            caller.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_org_is_polled_for_a_minute_while_it_is_denied() {
    let it = setup().await;
    it.billing.says(exhausted());
    let begin = Instant::now();
    let (first, second) = (it.refreshing("acme"), it.refreshing("acme"));
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (exhausted(), exhausted()));
    assert_eq!(it.balances.readings().polls, 1, "one poll per org");
    let before = it.billing.asked();
    let mut asked_at = Vec::new();
    while begin.elapsed() < ms(120_000) {
        pass(ms(10)).await;
        if it.billing.asked() > before + asked_at.len() as u64 {
            asked_at.push(u64::try_from(begin.elapsed().as_millis()).unwrap());
        }
    }
    assert_eq!(asked_at, [500, 1_500, 3_500, 7_500, 15_500, 31_500, 60_000]);
    assert_eq!(it.billing.asked(), it.billing.asked_fresh.load(Ordering::SeqCst), "past the provider's caches");
    assert_eq!(it.balances.readings().polls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_poll_outlives_its_caller_and_an_outage_and_ends_when_the_org_is_allowed() {
    let it = setup().await;
    it.billing.says(exhausted());
    it.billing.takes(ms(100));
    let caller = it.refreshing("acme");
    quiet().await;
    caller.abort();
    pass(ms(400)).await;
    assert_eq!((it.billing.asked(), it.balances.readings().polls), (1, 1));
    it.billing.says(unknown(Cause::ProviderError));
    pass(ms(400)).await;
    assert_eq!(it.remembered("acme"), Some(exhausted()), "no word changes nothing");
    it.billing.says(allowed());
    pass(ms(1_000)).await;
    assert_eq!((it.remembered("acme"), it.billing.asked()), (Some(allowed()), 3));
    pass(ms(60_000)).await;
    assert_eq!((it.billing.asked(), it.balances.readings().polls), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn however_often_it_is_refreshed_an_org_has_two_questions_at_once() {
    let it = setup().await;
    it.billing.takes(ms(600));
    let mut callers = Vec::new();
    for _ in 0..100 {
        callers.push(it.refreshing("acme"));
        quiet().await;
    }
    assert_eq!((it.billing.asked(), it.balances.readings().in_flight), (2, 2));
    for caller in callers {
        assert_eq!(caller.await.unwrap(), allowed(), "all are answered by a question that began after them");
    }
    assert!(it.billing.asked() <= 3);
}
