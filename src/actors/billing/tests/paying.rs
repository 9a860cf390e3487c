//! Who pays: closed where nothing is known, true to what was known last where nothing can be learned.

use super::*;
use std::sync::atomic::Ordering;

impl Setup {
    async fn pays(&self, name: &str) -> bool {
        self.balances.pays(&org(name), within(ms(500))).await
    }

    fn says_pays(&self, pays: Result<bool, Cause>) {
        *self.billing.pays.lock().unwrap() = pays;
    }

    fn asked_pays(&self) -> u64 {
        self.billing.asked_pays.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn who_pays_is_remembered_and_asked_for_once_by_all() {
    let it = setup().await;
    it.says_pays(Ok(true));
    it.billing.takes(ms(100));
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let balances = it.balances.clone();
            tokio::spawn(async move { balances.pays(&org("acme"), within(ms(500))).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    it.says_pays(Ok(false));
    pass(ms(59_000)).await;
    assert!(it.pays("acme").await);
    assert_eq!(it.asked_pays(), 1);
    pass(ms(1_000)).await;
    assert!(!it.pays("acme").await, "R-RATE-6: cached 60 s");
    assert!(!it.pays("other").await);
    assert_eq!(it.asked_pays(), 3);
}

#[tokio::test(start_paused = true)]
async fn while_it_can_not_be_learned_what_was_known_last_holds_for_a_day() {
    let it = setup().await;
    it.says_pays(Err(Cause::ProviderError));
    assert!(!it.pays("acme").await, "R-RATE-6: nothing is known, so the backstop holds");
    it.says_pays(Ok(true));
    assert!(it.pays("acme").await, "a failure is not remembered");
    it.says_pays(Err(Cause::ProviderError));
    pass(ms(60_000)).await;
    assert!(it.pays("acme").await, "R-RATE-6: a stale positive is honoured");
    it.billing.takes(ms(10_000));
    let before = Instant::now();
    assert!(it.pays("acme").await);
    assert_eq!(before.elapsed(), ms(500), "waited for as long as the caller had");
    advance(Duration::from_hours(24)).await;
    assert!(!it.pays("acme").await);
    assert_eq!(it.balances.readings().exemptions_failed, 3);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_ends_what_need_not_be_asked_again() {
    let it = setup().await;
    it.says_pays(Ok(true));
    assert!(it.pays("acme").await);
    it.balances.invalidate(&org("acme"));
    it.says_pays(Err(Cause::Timeout));
    assert!(it.pays("acme").await, "known last");
    it.says_pays(Ok(false));
    assert!(!it.pays("acme").await);
    assert_eq!(it.asked_pays(), 3);
    // An answer from before the invalidation is neither given nor written down.
    it.balances.invalidate(&org("acme"));
    it.billing.takes(ms(100));
    let balances = it.balances.clone();
    let waiter = tokio::spawn(async move { balances.pays(&org("acme"), within(ms(500))).await });
    quiet().await;
    it.says_pays(Ok(true));
    it.balances.invalidate(&org("acme"));
    assert!(waiter.await.unwrap());
    assert!(it.pays("acme").await);
    assert_eq!(it.asked_pays(), 5);
}
