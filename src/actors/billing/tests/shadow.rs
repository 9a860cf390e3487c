//! What is left of an allowance, counted here between two words of the provider.

use smallvec::smallvec;

use super::*;
use crate::{domain::ids::Meter, testing::exhausted};

fn admitted(it: &Setup, units: u64) {
    it.balances.admitted(&org("acme"), &smallvec![(Meter::spend(), 1_000), (Meter::executions(), units)]);
}

#[tokio::test(start_paused = true)]
async fn an_allowance_that_runs_low_is_checked_early() {
    let it = setup().await;
    it.billing.says(left(10));
    it.ask("acme").await;
    pass(ms(2_000)).await;
    admitted(&it, 5);
    quiet().await;
    assert_eq!((it.remembered("acme"), it.billing.asked()), (Some(left(10)), 1), "as much is left as was used");
    it.billing.says(left(8));
    admitted(&it, 1);
    quiet().await;
    assert_eq!((it.remembered("acme"), it.billing.asked()), (Some(left(8)), 2), "the count begins anew");
    admitted(&it, 7);
    quiet().await;
    assert_eq!(it.billing.asked(), 2, "at most once per two seconds");
    pass(ms(2_000)).await;
    assert_eq!(it.remembered("acme"), Some(left(8)));
    quiet().await;
    assert_eq!(it.billing.asked(), 3, "and with the next call after");
    assert_eq!(it.balances.readings().revalidations, 2);
}

#[tokio::test(start_paused = true)]
async fn an_allowance_that_is_used_up_asks_and_is_no_denial() {
    let it = setup().await;
    it.billing.says(left(3));
    it.ask("acme").await;
    admitted(&it, 2);
    assert_eq!(it.remembered("acme"), Some(left(3)));
    admitted(&it, 2);
    assert_eq!(it.remembered("acme"), None);
    it.billing.says(left(1));
    assert_eq!(it.ask("acme").await, left(1), "the provider's word counts");
    admitted(&it, 1);
    it.billing.says(unknown(Cause::Timeout));
    assert_eq!(it.ask("acme").await, unknown(Cause::Timeout));
    it.billing.says(exhausted());
    assert_eq!(it.ask("acme").await, exhausted());
    assert_eq!(it.billing.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_bound_is_not_used_up() {
    let balance = Balance { remaining: Some(1), authoritative: true, ..Balance::default() };
    let unbounded = [
        Balance { unlimited: true, ..balance },
        Balance { overage: true, ..balance },
        Balance { remaining: None, ..balance },
    ];
    for balance in unbounded {
        let it = setup().await;
        it.billing.says(BalanceVerdict::Allowed(balance));
        it.ask("acme").await;
        pass(ms(2_000)).await;
        admitted(&it, 1_000);
        assert_eq!(it.remembered("acme"), Some(BalanceVerdict::Allowed(balance)), "R-BAL-4");
        quiet().await;
        assert_eq!(it.billing.asked(), 1);
    }
}
