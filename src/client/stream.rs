//! Acquires of many tasks over one stream.
//!
//! ```text
//! task ──Asked──▶ queue ──▶ this task: tag, one stream ══▶ node
//!   ▲                           │  answers by tag, in any order
//!   └──── Call ◀────────────────┘
//! ```
//!
//! Where a stream ends, whatever waits on it gets an error and asks again under its own request id, on the next one. So it
//! does where nothing is answered for too long on a connection that lives: something in between may answer its pings. A call
//! may be sent several times; the first decision counts. A decision that comes when nobody waits any more charges nothing
//! that is held: its reservation is given back, unless the id is the caller's, who may ask for the same again.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    ask::Question,
    call::Attempts,
    error::Fault,
    events::{Watch, add},
    ids,
    in_flight::{InFlight, Sent},
    link::Link,
    settle::Settler,
};
use crate::wire::v1::{
    AcquireRequest, AcquireResponse, AcquireStreamRequest, AcquireStreamResponse,
    acquire_stream_response::Result as Outcome,
};

/// As many as a node reads of one stream before it answers; more wait in their tasks.
const IN_FLIGHT: usize = 1_024;
/// After a stream that could not be opened, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum State {
    /// The last attempt failed so, if it did.
    Waiting(Option<Fault>),
    /// Nobody has taken it yet.
    Decided(Box<AcquireResponse>),
    Taken,
    /// Nobody waits any more.
    Abandoned,
}

/// One call between its task and the stream, over all of its attempts.
#[derive(Debug)]
pub(super) struct Call {
    has_own_id: bool,
    state: Mutex<State>,
    changed: Notify,
}

impl Call {
    pub(super) fn new(has_own_id: bool) -> Self {
        Self { has_own_id, state: Mutex::new(State::Waiting(None)), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        if matches!(*state, State::Waiting(_)) {
            *state = State::Waiting(Some(fault));
            self.changed.notify_one();
        }
    }

    /// Hands the decision over; back it comes where nobody waits for it.
    fn decide(&self, decision: Box<AcquireResponse>) -> Option<Box<AcquireResponse>> {
        let mut state = self.lock();
        match *state {
            State::Waiting(_) => {
                *state = State::Decided(decision);
                self.changed.notify_one();
                None
            }
            State::Abandoned => {
                *state = State::Taken;
                (!self.has_own_id).then_some(decision)
            }
            // Another attempt was answered: the same decision.
            State::Decided(_) | State::Taken => None,
        }
    }

    /// Nobody waits any more; a decision that was not taken comes back where nobody can ask for it again.
    pub(super) fn abandon(&self) -> Option<Box<AcquireResponse>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Waiting(_) | State::Abandoned => {
                *state = State::Abandoned;
                None
            }
            State::Taken => None,
            State::Decided(late) => (!self.has_own_id).then_some(late),
        }
    }

    fn take(&self) -> Option<Result<AcquireResponse, Fault>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Decided(decision) => Some(Ok(*decision)),
            State::Waiting(fault) => {
                *state = State::Waiting(None);
                fault.map(Err)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        matches!(*self.lock(), State::Waiting(_))
    }

    async fn answer(&self) -> Result<AcquireResponse, Fault> {
        loop {
            if let Some(answer) = self.take() {
                return answer;
            }
            self.changed.notified().await;
        }
    }
}

/// One attempt of a call.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: AcquireRequest,
    pub(super) call: Arc<Call>,
}

/// The task that waits for a call.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    request: &'a AcquireRequest,
    call: Arc<Call>,
    queue: &'a mpsc::Sender<Asked>,
    settler: &'a Settler,
    /// Attempts of which nothing was heard.
    silent: u32,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(question: &'a Question, queue: &'a mpsc::Sender<Asked>, settler: &'a Settler) -> Self {
        let Question { request, has_own_id } = question;
        Self { request, call: Arc::new(Call::new(*has_own_id)), queue, settler, silent: 0 }
    }

    async fn answer(&mut self) -> Result<AcquireResponse, Fault> {
        let answer = self.call.answer().await;
        self.silent = self.silent.saturating_sub(1);
        answer
    }

    async fn decision(&mut self) -> AcquireResponse {
        loop {
            if let Ok(decision) = self.answer().await {
                return decision;
            }
        }
    }
}

impl Attempts for Waiter<'_> {
    type Answer = AcquireResponse;

    async fn send(&mut self, _within: Duration) -> Result<AcquireResponse, Fault> {
        let asked = Asked { request: self.request.clone(), call: self.call.clone() };
        self.queue.send(asked).await.map_err(|_| Fault::interrupted("the client's task has ended with its runtime"))?;
        self.silent += 1;
        self.answer().await
    }

    async fn pause(&mut self, pause: Duration) -> Option<AcquireResponse> {
        timeout(pause, self.decision()).await.ok()
    }

    async fn last(&mut self, left: Duration) -> Option<AcquireResponse> {
        if self.silent == 0 {
            return None;
        }
        self.pause(left).await
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(late) = self.call.abandon() {
            self.settler.release_late(&self.request.org, &late);
        }
    }
}

/// What a stream needs.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) link: Link,
    pub(super) watch: Arc<Watch>,
    pub(super) settler: Settler,
    /// How long the opening of a stream may take.
    pub(super) attempt: Duration,
    /// How long a call may take.
    pub(super) budget: Duration,
}

/// Serves the queue until nobody can put anything into it any more.
pub(super) async fn run(streams: Streams, mut queue: mpsc::Receiver<Asked>) {
    let mut pause = FIRST_PAUSE;
    while let Some(first) = queue.recv().await {
        if !first.call.is_waited_for() {
            continue;
        }
        if streams.one(first, &mut queue).await {
            pause = FIRST_PAUSE;
        } else {
            sleep(ids::jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The place between a task and a stream; as many calls as the queue holds wait here.
pub(super) fn queue() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(IN_FLIGHT)
}

impl Streams {
    /// One stream from its first call to its end; whether it could be opened.
    async fn one(&self, first: Asked, queue: &mut mpsc::Receiver<Asked>) -> bool {
        let (out, outgoing) = mpsc::channel(IN_FLIGHT);
        let mut in_flight = InFlight::new(self.attempt, self.budget);
        // It has room, because it is new.
        drop(out.try_send(in_flight.put(first)));
        let mut gate = self.link.gate();
        let opening = gate.acquire_stream(ReceiverStream::new(outgoing));
        let opened = match timeout(self.attempt, opening).await {
            Ok(Ok(opened)) => Ok(opened.into_inner()),
            Ok(Err(status)) => Err(Fault::from(status)),
            Err(_) => Err(Fault::silence()),
        };
        match opened {
            Ok(answers) => {
                add(&self.watch.counters.streams);
                let ended = self.serve(answers, &out, &mut in_flight, queue).await;
                in_flight.fail(&ended);
                true
            }
            Err(fault) => {
                in_flight.fail(&fault);
                // They have waited for the same stream.
                while let Ok(asked) = queue.try_recv() {
                    asked.call.fail(fault.clone());
                }
                false
            }
        }
    }

    /// Returns why the stream has ended.
    async fn serve(
        &self,
        answers: Streaming<AcquireStreamResponse>,
        out: &mpsc::Sender<AcquireStreamRequest>,
        in_flight: &mut InFlight,
        queue: &mut mpsc::Receiver<Asked>,
    ) -> Fault {
        let mut answers = pin!(answers);
        let mut place = None;
        let mut looks = interval(self.attempt);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.deliver(answer, in_flight),
                    Ok(None) => return Fault::interrupted("the stream ended"),
                    // Whatever ended it, also a credential that is over: the next stream says whether it stands.
                    Err(status) => return Fault::interrupted(format!("the stream ended: {}", status.message())),
                },
                reserved = out.reserve(), if place.is_none() => match reserved {
                    Ok(reserved) => place = Some(reserved),
                    Err(_) => return Fault::interrupted("the stream takes no more requests"),
                },
                asked = queue.recv(), if place.is_some() => match asked {
                    Some(asked) if !asked.call.is_waited_for() => {}
                    Some(asked) => {
                        let request = in_flight.put(asked);
                        if let Some(place) = place.take() {
                            place.send(request);
                        }
                    }
                    None => return Fault::interrupted("the client was dropped"),
                },
                _ = looks.tick(), if !in_flight.is_empty() => {
                    if in_flight.is_silent() {
                        return Fault::silence();
                    }
                    in_flight.sweep();
                }
            }
        }
    }

    fn deliver(&self, answer: AcquireStreamResponse, in_flight: &mut InFlight) {
        let Some(Sent { call, org, .. }) = in_flight.take(answer.tag) else { return };
        match answer.result {
            Some(Outcome::Decision(decision)) => {
                if let Some(late) = call.decide(Box::new(decision)) {
                    self.settler.release_late(&org, &late);
                }
            }
            Some(Outcome::Error(error)) => call.fail(error.into()),
            None => call.fail(Fault::interrupted("the answer has neither a decision nor an error")),
        }
    }
}
