//! A denial that was known stands for a while where nobody can be asked, if an operator wants that.

use super::*;
use crate::{
    domain::balance::DenyReason,
    testing::{T0, allowed, exhausted},
};

type End = fn(&Setup);

const DENY_STALE: Duration = Duration::from_secs(600);

impl Setup {
    async fn ask_stale(&self, name: &str) -> BalanceVerdict {
        self.balances.ask(&org(name), DENY_STALE, within(ms(2_000))).await
    }
}

fn stale(cause: Cause) -> BalanceVerdict {
    let BalanceVerdict::Denied(reason, balance) = exhausted() else { panic!("no denial") };
    BalanceVerdict::Denied(reason, Balance { stale: Some(cause), ..balance })
}

/// R-BAL-10
#[tokio::test(start_paused = true)]
async fn a_denial_stands_beyond_its_time_while_nobody_answers_and_no_longer() {
    let it = setup().await;
    it.billing.says(exhausted());
    assert_eq!(it.ask_stale("acme").await, exhausted());
    it.billing.says(unknown(Cause::ProviderError));
    pass(ms(59_990)).await;
    assert_eq!(it.ask_stale("acme").await, exhausted(), "in its own time");
    pass(ms(20)).await;
    assert_eq!(it.ask_stale("acme").await, stale(Cause::ProviderError));
    assert_eq!(it.ask("acme").await, unknown(Cause::ProviderError), "off by default");
    pass(DENY_STALE - ms(1_000)).await;
    assert_eq!(it.ask_stale("acme").await, stale(Cause::ProviderError));
    pass(ms(1_000)).await;
    assert_eq!(it.ask_stale("acme").await, unknown(Cause::ProviderError));
    assert_eq!(it.balances.readings().stale, 2);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_an_answer_with_news_and_with_the_reset() {
    let resets = Balance { resets_at: Some(T0 + 5_000), authoritative: true, ..Balance::default() };
    let ends: [(BalanceVerdict, End); 4] = [
        (exhausted(), |it| it.billing.says(allowed())),
        (exhausted(), |it| it.balances.invalidate(&org("acme"))),
        (BalanceVerdict::Denied(DenyReason::UsageCap, resets), |it| it.clock.advance(5_000)),
        // The provider knows the org no more, which is an answer.
        (exhausted(), |it| it.billing.says(unknown(Cause::UnknownCustomer))),
    ];
    for (index, (denial, end)) in ends.into_iter().enumerate() {
        let it = setup().await;
        it.billing.says(denial);
        it.ask_stale("acme").await;
        pass(ms(60_000)).await;
        it.billing.says(unknown(Cause::CircuitOpen));
        assert!(denied(it.ask_stale("acme").await), "{index}");
        end(&it);
        assert!(!denied(it.ask_stale("acme").await), "{index}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_silence_leaves_a_denial_standing_and_nothing_else_is_made_one() {
    for cause in Cause::ALL {
        let it = setup().await;
        it.billing.says(exhausted());
        it.ask_stale("acme").await;
        pass(ms(60_000)).await;
        it.billing.says(unknown(cause));
        let expected = if cause.is_silence() { stale(cause) } else { unknown(cause) };
        assert_eq!(it.ask_stale("acme").await, expected);
    }
    let no_plan =
        BalanceVerdict::Denied(DenyReason::NoEntitlement, Balance { authoritative: true, ..Balance::default() });
    for before in [allowed(), no_plan] {
        let it = setup().await;
        it.billing.says(before);
        it.ask_stale("acme").await;
        pass(ms(60_000)).await;
        it.billing.says(unknown(Cause::Timeout));
        assert_eq!(it.ask_stale("acme").await, unknown(Cause::Timeout), "not metered is not exhausted");
    }
}

/// An org that is asked about too often is not let through for it.
#[tokio::test(start_paused = true)]
async fn it_stands_while_questions_are_spaced() {
    let it = setup().await;
    it.billing.says(exhausted());
    it.ask_stale("acme").await;
    pass(ms(60_000)).await;
    it.billing.says(unknown(Cause::ProviderRateLimited));
    for _ in 0..200 {
        assert_eq!(it.ask_stale("acme").await, stale(Cause::ProviderRateLimited));
        pass(ms(50)).await;
    }
    assert!(it.billing.asked() < 12, "asked {} times", it.billing.asked());
}
