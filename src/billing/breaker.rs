//! Leaves a provider alone that keeps failing, so that its trouble does not become everybody's wait.
//!
//! ```text
//! closed ──N customers fail, and nobody is answered──▶ open ──after a while──▶ half open: one call is the probe
//!    ▲                                                   ▲                         │
//!    └───────────────────── it worked ───────────────────┼─────────────────────────┤
//!                                                        └──────── it failed ──────┘
//! ```
//!
//! What counts as a failure is the caller's to say. Customers are counted, not failures: one that fails over
//! and over is one. A customer that fails while another is answered has trouble of its own, and does not
//! count until it is answered itself. Those that were asked about a moment ago and have not failed count against those
//! that fail: while they are as many, it is not the provider. The probe is a call of a customer that has not failed, where one comes
//! in time. A call that began before the last change of state has no say in the next one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::ids::OrgId;

/// A provider that asks for more is asked again all the same: it may have recovered.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// A failure says nothing any more after this.
const REMEMBERED: Duration = Duration::from_secs(60);
/// A customer that was asked about and has not failed speaks for the provider for so long: a real outage is noticed later
/// by this at most.
const ASKED: Duration = Duration::from_secs(5);
/// Customers whose failures are remembered, or questions; more than ever have to fail.
const FAILING_MAX: usize = 2_048;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// It opens where so many customers fail and nobody is answered in between; at least 2.
    pub failures: u32,
    /// How long it then stays open, unless the provider asked for longer; at most a minute either way.
    pub open: Duration,
}

/// For tests; a node has it from its configuration.
#[cfg(test)]
impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(5) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is under way.
    HalfOpen,
}

/// The last failure of a customer that was not answered since.
#[derive(Debug, Clone, Copy)]
struct Failing {
    at: Instant,
    /// Others were answered since: the trouble is its own.
    alone: bool,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Counts the changes of state.
    epoch: u64,
    failing: HashMap<OrgId, Failing>,
    /// When each customer was last asked about that has not failed since.
    asked: HashMap<OrgId, Instant>,
}

impl Inner {
    fn become_state(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Notes the failure, and answers how many customers have failed since anybody was answered.
    fn note_failure(&mut self, customer: &OrgId) -> usize {
        let now = Instant::now();
        self.asked.remove(customer);
        self.asked.retain(|_, at| now.duration_since(*at) < ASKED);
        self.failing.retain(|_, failing| now.duration_since(failing.at) < REMEMBERED);
        if let Some(failing) = self.failing.get_mut(customer) {
            failing.at = now;
        } else if self.failing.len() < FAILING_MAX {
            self.failing.insert(customer.clone(), Failing { at: now, alone: false });
        }
        self.failing.values().filter(|failing| !failing.alone).count()
    }

    fn note_question(&mut self, customer: &OrgId) {
        let now = Instant::now();
        if let Some(at) = self.asked.get_mut(customer) {
            *at = now;
            return;
        }
        if self.asked.len() >= FAILING_MAX {
            self.asked.retain(|_, at| now.duration_since(*at) < ASKED);
        }
        if self.asked.len() < FAILING_MAX {
            self.asked.insert(customer.clone(), now);
        }
    }

    fn note_answer(&mut self, customer: &OrgId) {
        self.failing.remove(customer);
        for failing in self.failing.values_mut() {
            failing.alone = true;
        }
    }

    fn has_failed(&self, customer: &OrgId) -> bool {
        self.failing.get(customer).is_some_and(|failing| failing.at.elapsed() < REMEMBERED)
    }
}

/// The breaker of one provider, shared by all calls to it.
#[derive(Debug)]
pub struct Breaker {
    provider: &'static str,
    settings: BreakerSettings,
    inner: Mutex<Inner>,
}

impl Breaker {
    /// `provider` names it in the log.
    pub fn new(provider: &'static str, settings: BreakerSettings) -> Self {
        let inner = Inner { state: State::Closed, epoch: 0, failing: HashMap::new(), asked: HashMap::new() };
        Self { provider, settings, inner: Mutex::new(inner) }
    }

    /// Leave to make one call about `customer`; the error is how long there will be none, zero while a probe
    /// is under way.
    pub fn enter<'a>(&'a self, customer: &'a OrgId) -> Result<Permit<'a>, Duration> {
        let mut inner = self.lock();
        match inner.state {
            State::Closed => {}
            State::HalfOpen => return Err(Duration::ZERO),
            State::Open { until } => {
                // Whose trouble may be its own is not the probe while somebody else may be.
                let more = if inner.has_failed(customer) { self.settings.open.min(OPEN_MAX) } else { Duration::ZERO };
                let left = (until + more).saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                inner.become_state(State::HalfOpen);
            }
        }
        if !inner.has_failed(customer) {
            inner.note_question(customer);
        }
        Ok(Permit { breaker: self, customer, epoch: inner.epoch, spoken: false })
    }

    fn worked(&self, epoch: u64, customer: &OrgId) {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return;
        }
        inner.note_answer(customer);
        if inner.state == State::HalfOpen {
            tracing::info!(provider = self.provider, "the provider answers again");
            inner.become_state(State::Closed);
        }
    }

    fn failed(&self, epoch: u64, customer: &OrgId, asked: Option<Duration>) {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return;
        }
        let customers = inner.note_failure(customer);
        // One alone never opens it, whatever was configured.
        let enough = usize::try_from(self.settings.failures.max(2)).unwrap_or(usize::MAX);
        let few = customers < enough || customers <= inner.asked.len();
        if few && inner.state != State::HalfOpen {
            return;
        }
        let open = asked.unwrap_or_default().max(self.settings.open).min(OPEN_MAX);
        if inner.state != State::HalfOpen {
            tracing::warn!(provider = self.provider, customers, "the provider keeps failing and is left alone");
        }
        inner.become_state(State::Open { until: Instant::now() + open });
    }

    /// The call ended without a word on the provider.
    fn abandoned(&self, epoch: u64) {
        let mut inner = self.lock();
        if inner.epoch == epoch && inner.state == State::HalfOpen {
            // The next call is the probe.
            inner.become_state(State::Open { until: Instant::now() });
        }
    }

    /// No step of a change can panic, so what a poisoned lock guards is whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call under way. Dropped without a word, for instance because nobody waits for the answer any
/// more, it changes nothing, and a probe makes room for the next one.
#[must_use]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    customer: &'a OrgId,
    epoch: u64,
    spoken: bool,
}

impl Permit<'_> {
    /// The provider answered: closes the breaker if this was the probe. Who has failed before has trouble of
    /// its own.
    pub fn worked(mut self) {
        self.spoken = true;
        self.breaker.worked(self.epoch, self.customer);
    }

    /// `after`: how long the provider asked to be left alone.
    pub fn failed(mut self, after: Option<Duration>) {
        self.spoken = true;
        self.breaker.failed(self.epoch, self.customer, after);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.spoken {
            self.breaker.abandoned(self.epoch);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::testing::org;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new("test", BreakerSettings::default())
    }

    fn fail(breaker: &Breaker, name: &str) {
        breaker.enter(&org(name)).expect("closed").failed(None);
    }

    fn work(breaker: &Breaker, name: &str) {
        breaker.enter(&org(name)).expect("closed").worked();
    }

    /// That many customers, each once.
    fn all_fail(breaker: &Breaker, customers: u32) {
        for number in 0..customers {
            fail(breaker, &format!("org-{number}"));
        }
    }

    /// Whether it lets a call of this customer through; the call ends without a word.
    fn left(breaker: &Breaker, name: &str) -> Option<Duration> {
        breaker.enter(&org(name)).err()
    }

    #[tokio::test(start_paused = true)]
    async fn five_customers_open_it_for_five_seconds_and_fewer_do_not() {
        let breaker = breaker();
        all_fail(&breaker, 4);
        assert_eq!(left(&breaker, "other"), None);
        fail(&breaker, "org-4");
        assert_eq!(left(&breaker, "other"), Some(5 * SECOND));
        advance(4 * SECOND).await;
        assert_eq!(left(&breaker, "other"), Some(SECOND));
        advance(SECOND).await;
        assert_eq!(left(&breaker, "other"), None);
    }

    /// R-BAL-10
    #[tokio::test(start_paused = true)]
    async fn one_customer_never_opens_it_however_often_it_fails() {
        for failures in [1, 2, 5] {
            let breaker = Breaker::new("test", BreakerSettings { failures, ..BreakerSettings::default() });
            for _ in 0..100 {
                fail(&breaker, "bad");
                advance(SECOND / 10).await;
            }
            assert_eq!(left(&breaker, "other"), None, "{failures}");
        }
    }

    /// R-BAL-10
    #[tokio::test(start_paused = true)]
    async fn customers_that_fail_while_another_is_answered_do_not_count() {
        let breaker = breaker();
        for _ in 0..10 {
            all_fail(&breaker, 4);
            work(&breaker, "good");
            for own in 4..8 {
                fail(&breaker, &format!("org-{own}"));
            }
            work(&breaker, "good");
        }
        all_fail(&breaker, 8);
        assert_eq!(left(&breaker, "good"), None, "all eight have trouble of their own");
        for other in 10..15 {
            fail(&breaker, &format!("org-{other}"));
        }
        assert!(left(&breaker, "good").is_some(), "five that were answered before");
    }

    /// R-BAL-10
    #[tokio::test(start_paused = true)]
    async fn customers_that_fail_open_it_only_where_they_are_the_majority_of_those_asked_about() {
        let breaker = breaker();
        for number in 0..20 {
            work(&breaker, &format!("good-{number}"));
        }
        all_fail(&breaker, 20);
        assert_eq!(left(&breaker, "org-0"), None, "as many do not fail");
        fail(&breaker, "org-20");
        assert!(left(&breaker, "org-0").is_some(), "more fail than do not");
        // What is under way has not failed.
        let breaker = self::breaker();
        let names: Vec<_> = (0..20).map(|number| org(&format!("slow-{number}"))).collect();
        let under_way: Vec<_> = names.iter().map(|name| breaker.enter(name).unwrap()).collect();
        all_fail(&breaker, 6);
        assert_eq!(left(&breaker, "org-0"), None);
        drop(under_way);
        advance(ASKED).await;
        fail(&breaker, "org-0");
        assert!(left(&breaker, "org-0").is_some(), "nobody else was asked about lately");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_counts_again_and_what_is_long_ago_does_not() {
        let breaker = breaker();
        all_fail(&breaker, 4);
        work(&breaker, "good");
        for name in ["org-0", "org-1", "org-2", "org-3"] {
            work(&breaker, name);
        }
        all_fail(&breaker, 4);
        advance(REMEMBERED).await;
        fail(&breaker, "org-4");
        assert_eq!(left(&breaker, "good"), None, "the four failed a minute ago");
        all_fail(&breaker, 4);
        assert!(left(&breaker, "good").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_exactly_one_probe_through() {
        let breaker = breaker();
        all_fail(&breaker, 5);
        advance(5 * SECOND).await;
        let (first, second) = (org("first"), org("second"));
        let probe = breaker.enter(&first).unwrap();
        assert_eq!(breaker.enter(&second).unwrap_err(), Duration::ZERO, "a second one waits for the first");
        probe.worked();
        work(&breaker, "second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_at_once() {
        let breaker = breaker();
        all_fail(&breaker, 5);
        advance(5 * SECOND).await;
        fail(&breaker, "probe");
        assert_eq!(left(&breaker, "other"), Some(5 * SECOND));
    }

    /// Otherwise a customer with trouble of its own would keep it open for all.
    #[tokio::test(start_paused = true)]
    async fn who_has_failed_is_not_the_probe_while_another_may_be() {
        let breaker = breaker();
        all_fail(&breaker, 5);
        advance(5 * SECOND).await;
        assert_eq!(left(&breaker, "org-0"), Some(5 * SECOND));
        work(&breaker, "other");
        assert_eq!(left(&breaker, "org-0"), None, "closed");
        // Where nobody else asks, one of them is.
        for name in ["a", "b", "c", "d", "e"] {
            fail(&breaker, name);
        }
        advance(10 * SECOND).await;
        assert_eq!(left(&breaker, "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waits_for_makes_room_for_the_next() {
        let breaker = breaker();
        all_fail(&breaker, 5);
        advance(5 * SECOND).await;
        let (first, second) = (org("first"), org("second"));
        drop(breaker.enter(&first).unwrap());
        let probe = breaker.enter(&first).expect("the slot is free");
        assert!(breaker.enter(&second).is_err());
        probe.worked();
        assert!(breaker.enter(&second).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_provider_asks_for_counts_where_it_is_longer_and_at_most_a_minute() {
        for (asked, open) in [(1, 5), (30, 30), (3600, 60)] {
            let breaker = breaker();
            all_fail(&breaker, 4);
            breaker.enter(&org("last")).unwrap().failed(Some(asked * SECOND));
            assert_eq!(left(&breaker, "other"), Some(open * SECOND), "asked for {asked} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_from_before_has_no_say() {
        let breaker = breaker();
        let (first, second, other) = (org("first"), org("second"), org("other"));
        let (good, bad) = (breaker.enter(&first).unwrap(), breaker.enter(&second).unwrap());
        all_fail(&breaker, 5);
        good.worked();
        assert!(breaker.enter(&other).is_err(), "a success that began before the failures does not close it");
        advance(5 * SECOND).await;
        let probe = breaker.enter(&other).unwrap();
        bad.failed(None);
        probe.worked();
        assert!(breaker.enter(&other).is_ok(), "nor does an old failure spoil the probe");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_failures_is_bounded() {
        let breaker = Breaker::new("test", BreakerSettings { failures: 1_000, ..BreakerSettings::default() });
        for number in 0..3 * FAILING_MAX {
            fail(&breaker, &format!("org-{number}"));
            work(&breaker, "good");
        }
        assert_eq!(breaker.lock().failing.len(), FAILING_MAX);
    }
}
