//! The billing check over a scripted provider, in the runtime's paused time.

mod bounds;
mod forgetting;
mod holding;
mod paying;
mod shadow;
mod spaced;
mod stale;

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, advance},
};

use super::{Balances, BillingRules};
use crate::{
    domain::{
        balance::{Balance, BalanceVerdict},
        gate::Cause,
    },
    testing::{Scripted, TestClock, org},
};

struct Setup {
    balances: Balances,
    billing: Arc<Scripted>,
    clock: Arc<TestClock>,
}

async fn setup() -> Setup {
    setup_with(BillingRules::default()).await
}

async fn setup_with(rules: BillingRules) -> Setup {
    let (billing, clock) = (Arc::new(Scripted::default()), Arc::new(TestClock::default()));
    let balances = Balances::start(billing.clone(), clock.clone(), rules).await.unwrap();
    Setup { balances, billing, clock }
}

impl Setup {
    async fn ask(&self, name: &str) -> BalanceVerdict {
        self.balances.ask(&org(name), Duration::ZERO, within(ms(2_000))).await
    }

    fn asking(&self, name: &str) -> JoinHandle<BalanceVerdict> {
        let (balances, org) = (self.balances.clone(), org(name));
        tokio::spawn(async move { balances.ask(&org, Duration::ZERO, within(ms(2_000))).await })
    }

    fn refreshing(&self, name: &str) -> JoinHandle<BalanceVerdict> {
        let (balances, org) = (self.balances.clone(), org(name));
        tokio::spawn(async move { balances.refresh(&org, within(ms(2_000))).await })
    }

    fn remembered(&self, name: &str) -> Option<BalanceVerdict> {
        self.balances.remembered(&org(name))
    }
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

/// Lets everything run that can, without time passing.
async fn quiet() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Lets time pass in steps of 10 ms, so that every timer fires in its turn.
async fn pass(time: Duration) {
    let end = within(time);
    quiet().await;
    while Instant::now() < end {
        advance(ms(10).min(end - Instant::now())).await;
        quiet().await;
    }
}

fn denied(verdict: BalanceVerdict) -> bool {
    matches!(verdict, BalanceVerdict::Denied(..))
}

fn is_allowed(verdict: BalanceVerdict) -> bool {
    matches!(verdict, BalanceVerdict::Allowed(_))
}

fn unknown(cause: Cause) -> BalanceVerdict {
    BalanceVerdict::Unknown(cause)
}

/// Allowed, with so many units left.
fn left(units: u64) -> BalanceVerdict {
    let balance = Balance { granted: Some(100), remaining: Some(units), authoritative: true, ..Balance::default() };
    BalanceVerdict::Allowed(balance)
}
