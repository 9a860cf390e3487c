//! What one connection has said, has in flight, and does not take.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What every HTTP/2 client says first. Before it no keepalive watches the connection.
const PREFACE_BYTES: u64 = 24;

/// Shared by the connection's task, its socket, and the requests in flight.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Bytes that arrived.
    heard: AtomicU64,
    /// Since when the socket takes no byte, in milliseconds since the beginning plus one; 0 = it does.
    stalled: AtomicU64,
    in_flight: AtomicU32,
    /// Requests so far.
    begun: AtomicU64,
    /// How often the connection was polled.
    polls: AtomicU64,
    /// When a request began or ended last, in milliseconds since the beginning.
    touched: AtomicU64,
    /// Answers that wait for the peer to make room, by the parity of the period in which they began to.
    waiting: [AtomicU32; 2],
    period: AtomicU64,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Goes,
    /// Asked nothing for so long that it is asked to go.
    Idle,
    /// Said nothing, or does not take what it asked for: cut.
    Stuck,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            touched: AtomicU64::new(0),
            waiting: [AtomicU32::new(0), AtomicU32::new(0)],
            period: AtomicU64::new(0),
        })
    }

    pub(super) fn hear(&self, bytes: usize) {
        self.heard.fetch_add(bytes as u64, Relaxed);
    }

    /// The socket took bytes, or did not.
    pub(super) fn sent(&self, took: bool) {
        if took {
            // Nearly always 0 already: read before it is written.
            if self.stalled.load(Relaxed) != 0 {
                self.stalled.store(0, Relaxed);
            }
        } else if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(self.now() + 1, Relaxed);
        }
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Flight {
        self.in_flight.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        Flight(self.clone())
    }

    /// `connection`, whose polls are counted.
    pub(super) async fn counting<F: Future>(&self, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            self.polls.fetch_add(1, Relaxed);
            connection.as_mut().poll(cx)
        })
        .await
    }

    /// How often the connection was polled.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Called every so often. `idle` without a request is too long, and so is `answer` for an answer that the peer
    /// does not take, or for a socket. An answer is found stuck after one to two of its periods.
    pub(super) fn judge(&self, preface: Duration, idle: Duration, answer: Duration) -> Verdict {
        let now = self.now();
        let passed = |since: u64, at_most: Duration| now.saturating_sub(since) >= millis(at_most);
        if self.heard.load(Relaxed) < PREFACE_BYTES && passed(0, preface) {
            return Verdict::Stuck;
        }
        let stalled = self.stalled.load(Relaxed);
        if stalled != 0 && passed(stalled - 1, answer) {
            return Verdict::Stuck;
        }
        let (period, present) = (self.period.load(Relaxed), now / millis(answer).max(1));
        if present > period {
            self.period.store(present, Relaxed);
            // Those of the period before the last: their counter is used again from here on.
            if self.waiting[parity(present)].load(Relaxed) > 0 {
                return Verdict::Stuck;
            }
        }
        let none = self.in_flight.load(Relaxed) == 0;
        if none && passed(self.touched.load(Relaxed), idle) { Verdict::Idle } else { Verdict::Goes }
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn parity(period: u64) -> usize {
    usize::from(period % 2 == 1)
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Flight(Arc<Activity>);

impl Flight {
    /// Its answer waits for the peer from now on: which counter it is in.
    pub(super) fn wait(&self) -> usize {
        let parity = parity(self.0.period.load(Relaxed));
        self.0.waiting[parity].fetch_add(1, Relaxed);
        parity
    }

    /// Its answer waits no more.
    pub(super) fn go_on(&self, parity: usize) {
        self.0.waiting[parity].fetch_sub(1, Relaxed);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        self.0.touched.store(self.0.now(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);
    const ANSWER: Duration = Duration::from_secs(30);

    fn judged(activity: &Activity) -> Verdict {
        activity.judge(PREFACE, IDLE, ANSWER)
    }

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn spoken() -> Arc<Activity> {
        let activity = Activity::new();
        activity.hear(24);
        activity
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_one_is_cut_and_one_that_asks_nothing_is_asked_to_go() {
        let (silent, spoken) = (Activity::new(), spoken());
        silent.hear(23);
        after(9).await;
        assert_eq!(judged(&silent), Verdict::Goes);
        after(2).await;
        assert_eq!((judged(&silent), judged(&spoken)), (Verdict::Stuck, Verdict::Goes));
        let flight = spoken.begin();
        after(120).await;
        assert_eq!(judged(&spoken), Verdict::Goes, "a request is in flight");
        drop(flight);
        after(59).await;
        assert_eq!(judged(&spoken), Verdict::Goes);
        after(1).await;
        assert_eq!(judged(&spoken), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_found_within_two_periods_and_not_before_one() {
        let activity = spoken();
        after(29).await;
        assert_eq!(judged(&activity), Verdict::Goes);
        let flight = activity.begin();
        let waits = flight.wait();
        after(2).await;
        assert_eq!(judged(&activity), Verdict::Goes, "it waits for 2 s");
        after(28).await;
        assert_eq!(judged(&activity), Verdict::Goes, "for 30 s, and the period has not ended");
        after(2).await;
        assert_eq!(judged(&activity), Verdict::Stuck);
        flight.go_on(waits);
        after(30).await;
        assert_eq!(judged(&activity), Verdict::Goes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_takes_nothing_is_stuck_and_one_that_takes_again_is_not() {
        let activity = spoken();
        activity.sent(false);
        after(29).await;
        activity.sent(false);
        activity.sent(true);
        activity.sent(false);
        after(29).await;
        assert_eq!(judged(&activity), Verdict::Goes);
        after(1).await;
        assert_eq!(judged(&activity), Verdict::Stuck);
    }
}
