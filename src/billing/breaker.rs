//! Leaves a provider alone that keeps failing, so that its trouble does not become everybody's wait.
//!
//! ```text
//! closed ──N failures in a row──▶ open ──after a while──▶ half open: one call is the probe
//!    ▲                             ▲                          │
//!    └────────── it worked ────────┼──────────────────────────┤
//!                                  └───────── it failed ──────┘
//! ```
//!
//! What counts as a failure is the caller's to say. One failure alone never opens it: the next call
//! asks again. A call that began before the last change of state has no say in the next one.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A provider that asks for more is asked again all the same: it may have recovered.
const OPEN_MAX: Duration = Duration::from_secs(60);

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least 2.
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
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// A probe is under way.
    HalfOpen,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Counts the changes of state.
    epoch: u64,
}

impl Inner {
    fn become_state(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
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
        let inner = Inner { state: State::Closed { failures: 0 }, epoch: 0 };
        Self { provider, settings, inner: Mutex::new(inner) }
    }

    /// Leave to make one call; the error is how long there will be none, zero while a probe is under
    /// way.
    pub fn enter(&self) -> Result<Permit<'_>, Duration> {
        let mut inner = self.lock();
        match inner.state {
            State::Closed { .. } => {}
            State::HalfOpen => return Err(Duration::ZERO),
            State::Open { until } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                inner.become_state(State::HalfOpen);
            }
        }
        Ok(Permit { breaker: self, epoch: inner.epoch, spoken: false })
    }

    fn worked(&self, epoch: u64) {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return;
        }
        if inner.state == State::HalfOpen {
            tracing::info!(provider = self.provider, "the provider answers again");
            inner.become_state(State::Closed { failures: 0 });
        } else {
            inner.state = State::Closed { failures: 0 };
        }
    }

    fn failed(&self, epoch: u64, asked: Option<Duration>) {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return;
        }
        let failures = match inner.state {
            State::Closed { failures } => failures.saturating_add(1),
            State::Open { .. } | State::HalfOpen => self.settings.failures,
        };
        // One alone never opens it, whatever was configured.
        if failures < self.settings.failures.max(2) && inner.state != State::HalfOpen {
            inner.state = State::Closed { failures };
            return;
        }
        let open = asked.unwrap_or_default().max(self.settings.open).min(OPEN_MAX);
        if inner.state != State::HalfOpen {
            tracing::warn!(provider = self.provider, failures, "the provider keeps failing and is left alone");
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
    epoch: u64,
    spoken: bool,
}

impl Permit<'_> {
    /// The call succeeded: ends a row of failures, or closes the breaker if this was the probe.
    pub fn worked(mut self) {
        self.spoken = true;
        self.breaker.worked(self.epoch);
    }

    /// `after`: how long the provider asked to be left alone.
    pub fn failed(mut self, after: Option<Duration>) {
        self.spoken = true;
        self.breaker.failed(self.epoch, after);
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

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new("test", BreakerSettings::default())
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.enter().expect("closed").failed(None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_failures_than_it_takes_leave_it_closed() {
        let breaker = breaker();
        fail(&breaker, 4);
        breaker.enter().unwrap().worked();
        fail(&breaker, 4);
        assert!(breaker.enter().is_ok(), "a success between them: not five in a row");
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_never_opens_it_even_where_one_was_configured() {
        let breaker = Breaker::new("test", BreakerSettings { failures: 1, ..BreakerSettings::default() });
        fail(&breaker, 1);
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn five_in_a_row_open_it_for_five_seconds() {
        let breaker = breaker();
        fail(&breaker, 5);
        assert_eq!(breaker.enter().unwrap_err(), 5 * SECOND);
        advance(4 * SECOND).await;
        assert_eq!(breaker.enter().unwrap_err(), SECOND);
        advance(SECOND).await;
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_exactly_one_probe_through() {
        let breaker = breaker();
        fail(&breaker, 5);
        advance(5 * SECOND).await;
        let probe = breaker.enter().unwrap();
        assert_eq!(breaker.enter().unwrap_err(), Duration::ZERO, "a second one waits for the first");
        probe.worked();
        assert!(breaker.enter().is_ok(), "closed again");
        fail(&breaker, 4);
        assert!(breaker.enter().is_ok(), "and counting from nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_at_once() {
        let breaker = breaker();
        fail(&breaker, 5);
        advance(5 * SECOND).await;
        breaker.enter().unwrap().failed(None);
        assert_eq!(breaker.enter().unwrap_err(), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waits_for_makes_room_for_the_next() {
        let breaker = breaker();
        fail(&breaker, 5);
        advance(5 * SECOND).await;
        drop(breaker.enter().unwrap());
        let probe = breaker.enter().expect("the slot is free");
        assert!(breaker.enter().is_err());
        probe.worked();
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_provider_asks_for_counts_where_it_is_longer_and_at_most_a_minute() {
        for (asked, open) in [(1, 5), (30, 30), (3600, 60)] {
            let breaker = breaker();
            fail(&breaker, 4);
            breaker.enter().unwrap().failed(Some(asked * SECOND));
            assert_eq!(breaker.enter().unwrap_err(), open * SECOND, "asked for {asked} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_from_before_has_no_say() {
        let breaker = breaker();
        let (good, bad) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        fail(&breaker, 5);
        good.worked();
        assert!(breaker.enter().is_err(), "a success that began before the failures does not close it");
        advance(5 * SECOND).await;
        let probe = breaker.enter().unwrap();
        bad.failed(None);
        probe.worked();
        assert!(breaker.enter().is_ok(), "nor does an old failure spoil the probe");
    }
}
