//! An org about which asking keeps failing is asked about less, and no other is.

use super::*;
use crate::{
    bounds::SPACING_MAX_MS,
    testing::{allowed, exhausted},
};

impl Setup {
    /// Calls of `name` at 20 a second for `time`, each with its answer.
    async fn hammer(&self, name: &str, time: Duration) -> Vec<BalanceVerdict> {
        let end = within(time);
        let mut answers = Vec::new();
        while Instant::now() < end {
            answers.push(self.ask(name).await);
            pass(ms(50)).await;
        }
        answers
    }
}

/// R-BAL-10
#[tokio::test(start_paused = true)]
async fn from_the_third_failure_on_questions_are_spaced_and_calls_get_the_cause() {
    let it = setup().await;
    let down = unknown(Cause::ProviderRateLimited);
    it.billing.says_of("bad", down, Duration::ZERO);
    let answers = it.hammer("bad", ms(60_000)).await;
    assert_eq!((answers.len(), answers.iter().all(|answer| *answer == down)), (1_200, true));
    // Three at once, then after 250 ms, 500 ms, 1 s, 2 s, 4 s, 8 s, and every 10 s.
    let asked = it.billing.asked();
    assert!((12..=14).contains(&asked), "asked {asked} times");
    let readings = it.balances.readings();
    assert_eq!((readings.spaced, readings.spaced_orgs), (1_200 - asked, 1));
    assert_eq!(it.ask("good").await, allowed(), "others are asked about");
    // Its trouble is over: noticed within the longest pause.
    it.billing.says_of("bad", allowed(), Duration::ZERO);
    pass(ms(SPACING_MAX_MS)).await;
    assert_eq!((it.ask("bad").await, it.balances.readings().spaced_orgs), (allowed(), 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_not_remembered_and_two_of_them_space_nothing() {
    let it = setup().await;
    for round in 0..10 {
        for _ in 0..2 {
            it.billing.says(unknown(Cause::Timeout));
            assert_eq!(it.ask("acme").await, unknown(Cause::Timeout));
        }
        it.billing.says(exhausted());
        assert_eq!(it.ask("acme").await, exhausted(), "{round}: the next call asks again");
        it.balances.invalidate(&org("acme"));
    }
    assert_eq!((it.billing.asked(), it.balances.readings().spaced), (30, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_and_news_ask_at_once() {
    let it = setup().await;
    it.billing.says(unknown(Cause::ProviderError));
    it.hammer("acme", ms(20_000)).await;
    let asked = it.billing.asked();
    it.billing.says(allowed());
    assert_eq!(it.ask("acme").await, unknown(Cause::ProviderError), "spaced");
    assert_eq!(it.refreshing("acme").await.unwrap(), allowed());
    assert_eq!(it.billing.asked(), asked + 1);
    it.balances.invalidate(&org("acme"));
    it.billing.says(unknown(Cause::ProviderError));
    it.hammer("acme", ms(20_000)).await;
    it.billing.says(allowed());
    it.balances.invalidate(&org("acme"));
    assert_eq!(it.ask("acme").await, allowed(), "a webhook");
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_end_of_a_pause_share_one_question() {
    let it = setup().await;
    it.billing.says(unknown(Cause::Timeout));
    it.hammer("acme", ms(20_000)).await;
    pass(ms(SPACING_MAX_MS)).await;
    it.billing.takes(ms(100));
    let asked = it.billing.asked();
    let callers: Vec<_> = (0..100).map(|_| it.asking("acme")).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), unknown(Cause::Timeout));
    }
    assert_eq!(it.billing.asked(), asked + 1);
}

/// A denial that is remembered is checked again in the background: as rarely, where that fails.
#[tokio::test(start_paused = true)]
async fn checks_in_the_background_are_spaced_as_well() {
    let it = setup().await;
    it.billing.says(exhausted());
    it.ask("acme").await;
    it.billing.says(unknown(Cause::ProviderError));
    let answers = it.hammer("acme", ms(59_000)).await;
    assert!(answers.iter().all(|answer| *answer == exhausted()));
    let asked = it.billing.asked();
    assert!((8..=16).contains(&asked), "asked {asked} times, and not every two seconds");
}

/// R-RATE-6: what was known last counts in between.
#[tokio::test(start_paused = true)]
async fn questions_who_pays_are_spaced_by_themselves() {
    let it = setup().await;
    *it.billing.pays.lock().unwrap() = Err(Cause::ProviderError);
    for _ in 0..400 {
        assert!(!it.balances.pays(&org("acme"), within(ms(500))).await);
        pass(ms(50)).await;
    }
    let asked = it.billing.asked_pays.load(std::sync::atomic::Ordering::SeqCst);
    assert!((8..=10).contains(&asked), "asked {asked} times in 20 s");
    assert_eq!(it.ask("acme").await, allowed(), "its balance is another question");
}
