//! The calls that one node waits for from another: which are to be sent, which were, and who waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::sync::{Notify, oneshot};

use super::NotForwarded;
use crate::wire::peer::v1::{Call, answer::Outcome};

/// What a call ends with.
pub(super) type Ended = Result<Outcome, NotForwarded>;

/// Shared by callers, the stream, and the task that keeps the stream.
#[derive(Debug)]
pub(super) struct Waiting {
    most: usize,
    state: Mutex<State>,
    /// A call waits and there is no stream.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    calls: HashMap<u64, Waiter>,
    /// To be sent, in this order; those whose caller has gone are still in it.
    queue: VecDeque<u64>,
    next: u64,
    phase: Phase,
    /// Which stream it is: one that has ended sends nothing more.
    stream: u64,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Ended>,
    /// Until it is sent.
    unsent: Option<Call>,
}

#[derive(Debug, Clone)]
enum Phase {
    /// There is no stream, and none is being opened.
    Idle,
    /// A stream is being opened; calls wait for it.
    Opening,
    Open,
    /// No stream could be opened: not again for a while.
    Paused(Arc<str>),
    /// For ever.
    Closed(Arc<str>),
}

impl Waiting {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let state = State {
            calls: HashMap::new(),
            queue: VecDeque::new(),
            next: 0,
            phase: Phase::Idle,
            stream: 0,
            writer: None,
        };
        Arc::new(Self { most, state: Mutex::new(state), wanted: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call to be sent. Its `id` is given here.
    ///
    /// # Errors
    /// At once, where it cannot be sent or too many wait.
    pub(super) fn begin(self: &Arc<Self>, mut call: Call) -> Result<Begun, NotForwarded> {
        let mut state = self.state();
        if let Phase::Paused(why) | Phase::Closed(why) = &state.phase {
            return Err(NotForwarded::Gone { is_sent: false, why: why.clone() });
        }
        if state.calls.len() >= self.most {
            return Err(NotForwarded::Busy { most: self.most });
        }
        let id = state.next;
        state.next += 1;
        call.id = id;
        let (reply, ended) = oneshot::channel();
        state.calls.insert(id, Waiter { reply, unsent: Some(call) });
        if state.queue.len() >= self.most.saturating_mul(2) {
            let State { calls, queue, .. } = &mut *state;
            queue.retain(|id| calls.contains_key(id));
        }
        state.queue.push_back(id);
        let writer = state.writer.take();
        let is_idle = matches!(state.phase, Phase::Idle);
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        if is_idle {
            self.wanted.notify_one();
        }
        Ok(Begun { waiting: self.clone(), id, ended })
    }

    /// Resolves when a call waits for a stream; the stream is being opened then.
    pub(super) async fn wanted(&self) {
        loop {
            let notified = self.wanted.notified();
            {
                let mut state = self.state();
                if !state.calls.is_empty() {
                    state.phase = Phase::Opening;
                    return;
                }
            }
            notified.await;
        }
    }

    /// Which stream is being opened, or is open.
    pub(super) fn stream(&self) -> u64 {
        self.state().stream
    }

    /// Both sides have said hello: calls are sent.
    pub(super) fn open(&self) {
        let mut state = self.state();
        state.phase = Phase::Open;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// The next call that is sent on this stream; it counts as sent. `None` where the stream is over.
    pub(super) fn poll_next(&self, stream: u64, cx: &Context<'_>) -> Poll<Option<Call>> {
        let mut state = self.state();
        if state.stream != stream || matches!(state.phase, Phase::Closed(_)) {
            return Poll::Ready(None);
        }
        if matches!(state.phase, Phase::Open) {
            while let Some(id) = state.queue.pop_front() {
                // One whose caller has gone is not sent.
                if let Some(call) = state.calls.get_mut(&id).and_then(|waiter| waiter.unsent.take()) {
                    return Poll::Ready(Some(call));
                }
            }
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// An answer, to whoever waits for it.
    pub(super) fn answer(&self, id: u64, outcome: Outcome) {
        let waiter = self.state().calls.remove(&id);
        if let Some(waiter) = waiter {
            let _ = waiter.reply.send(Ok(outcome));
        }
    }

    /// The stream has ended, and all its calls with it. `served`: the other node has answered all that it took.
    pub(super) fn end(&self, why: &Arc<str>, served: bool) {
        self.over(Phase::Idle, why, served);
    }

    /// No stream could be opened: calls fail at once until [`resume`](Self::resume).
    pub(super) fn pause(&self, why: &Arc<str>) {
        self.over(Phase::Paused(why.clone()), why, false);
    }

    /// Streams are opened again.
    pub(super) fn resume(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Paused(_)) {
            state.phase = Phase::Idle;
        }
    }

    /// For ever.
    pub(super) fn close(&self, why: &str) {
        let why = why.into();
        self.over(Phase::Closed(Arc::clone(&why)), &why, false);
    }

    fn over(&self, phase: Phase, why: &Arc<str>, served: bool) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Closed(_)) {
            return;
        }
        state.phase = phase;
        state.stream += 1;
        state.queue = VecDeque::new();
        let (calls, writer) = (std::mem::take(&mut state.calls), state.writer.take());
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        for Waiter { reply, unsent } in calls.into_values() {
            let is_sent = unsent.is_none() && !served;
            let _ = reply.send(Err(NotForwarded::Gone { is_sent, why: why.clone() }));
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        let state = self.state();
        (state.calls.len(), state.queue.len())
    }
}

/// A call that has begun; forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct Begun {
    waiting: Arc<Waiting>,
    id: u64,
    ended: oneshot::Receiver<Ended>,
}

impl Begun {
    /// What it ends with.
    pub(super) async fn ended(&mut self) -> Ended {
        match (&mut self.ended).await {
            Ok(ended) => ended,
            // Nobody drops what was not answered.
            Err(_) => Err(NotForwarded::Gone { is_sent: true, why: "the call was lost".into() }),
        }
    }

    /// Nobody waits any more. Whether it was sent; otherwise it will not be.
    pub(super) fn give_up(self) -> bool {
        let waiter = self.waiting.state().calls.remove(&self.id);
        waiter.is_none_or(|waiter| waiter.unsent.is_none())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let waiter = self.waiting.state().calls.remove(&self.id);
        drop(waiter);
    }
}
