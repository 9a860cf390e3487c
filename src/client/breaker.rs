//! Leaves a node alone that does not answer, so that its outage does not become a wait of every execution.
//!
//! ```text
//! closed ──so many calls in a row without an answer──▶ open ──after a while──▶ half open: one call is the probe
//!    ▲                                                  ▲                         │
//!    └─────────────────── any answer ───────────────────┼─────────────────────────┤
//!                                                       └── without an answer ────┘
//! ```
//!
//! Calls are counted, not attempts: a connection that breaks under a hundred calls is one event, and those that are answered
//! by their second attempt were answered. The breaker of the billing provider (`billing/breaker.rs`) counts customers, so
//! that one alone never opens it; a plane may well have one org only.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// What a call has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    open: Duration,
    state: Mutex<State>,
}

impl Breaker {
    pub(super) fn new(failures: u32, open: Duration) -> Self {
        Self { failures, open, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Leave to make one call; `None` while the node is left alone.
    pub(super) fn enter(&self) -> Option<Permit<'_>> {
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => {
                *state = State::HalfOpen;
                true
            }
            State::Open { .. } | State::HalfOpen => return None,
        };
        Some(Permit { breaker: self, is_probe, is_over: false })
    }

    /// Whether a call would be sent now.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.lock(), State::Closed { .. })
    }

    /// The node has answered, whatever it said.
    pub(super) fn answered(&self) -> Option<Change> {
        let mut state = self.lock();
        let was_closed = matches!(*state, State::Closed { .. });
        *state = State::Closed { failures: 0 };
        (!was_closed).then_some(Change::Closed)
    }

    fn unanswered(&self, is_probe: bool) -> Option<Change> {
        let mut state = self.lock();
        let open = State::Open { until: Instant::now() + self.open };
        match *state {
            State::Closed { failures } if failures + 1 >= self.failures => {
                *state = open;
                Some(Change::Opened)
            }
            State::Closed { failures } => {
                *state = State::Closed { failures: failures + 1 };
                None
            }
            State::HalfOpen if is_probe => {
                *state = open;
                None
            }
            // A call that began before.
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call under way. A probe that nobody waits for any more makes room for the next one.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_over: bool,
}

impl Permit<'_> {
    pub(super) fn answered(mut self) -> Option<Change> {
        self.is_over = true;
        self.breaker.answered()
    }

    pub(super) fn unanswered(mut self) -> Option<Change> {
        self.is_over = true;
        self.breaker.unanswered(self.is_probe)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_over {
            let mut state = self.breaker.lock();
            if *state == State::HalfOpen {
                *state = State::Open { until: Instant::now() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened() -> Breaker {
        let breaker = Breaker::new(3, SECOND);
        for failure in 1..=3 {
            let change = breaker.enter().expect("closed").unanswered();
            assert_eq!(change, (failure == 3).then_some(Change::Opened));
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_failures_in_a_row_open_it_and_an_answer_in_between_does_not() {
        let breaker = Breaker::new(3, SECOND);
        for _ in 0..10 {
            for _ in 0..2 {
                assert_eq!(breaker.enter().expect("closed").unanswered(), None);
            }
            assert_eq!(breaker.enter().expect("closed").answered(), None);
        }
        assert!(opened().enter().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_asks_and_its_answer_closes_it() {
        let breaker = opened();
        advance(SECOND).await;
        let probe = breaker.enter().expect("the probe");
        assert!(breaker.enter().is_none(), "a second one");
        assert_eq!(probe.unanswered(), None);
        assert!(breaker.enter().is_none(), "open again");
        advance(SECOND).await;
        assert_eq!(breaker.enter().expect("the probe").answered(), Some(Change::Closed));
        assert!(breaker.enter().is_some() && breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waits_for_makes_room_for_the_next() {
        let breaker = opened();
        advance(SECOND).await;
        drop(breaker.enter().expect("the probe"));
        assert!(breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_without_a_permit_closes_it_too() {
        let breaker = opened();
        assert_eq!(breaker.answered(), Some(Change::Closed));
        assert!(breaker.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_began_before_says_nothing_of_the_probe() {
        let breaker = Breaker::new(1, SECOND);
        let (before, other) = (breaker.enter().expect("closed"), breaker.enter().expect("closed"));
        assert_eq!(before.unanswered(), Some(Change::Opened));
        advance(SECOND).await;
        let probe = breaker.enter().expect("the probe");
        assert_eq!(other.unanswered(), None);
        assert!(breaker.enter().is_none(), "the probe is still under way");
        drop(probe);
    }
}
