//! What every call passes: one budget of time for all attempts, the same request id in each, pauses with chance in them, and
//! the breaker.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Response, Status};

use super::{
    Core,
    breaker::{Change, Permit},
    error::{Error, Fault, NoDecision, Remedy},
    events::{Event, add},
    ids,
};

/// Before the second attempt; doubled before each later one. The node may ask for more.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One call, as often as it has to be sent.
pub(super) trait Attempts: Send {
    type Answer: Send;

    /// Sends it once more; `within` is how long this attempt has.
    fn send(&mut self, within: Duration) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;

    /// Waits before the next attempt; an earlier one may be answered meanwhile.
    fn pause(&mut self, pause: Duration) -> impl Future<Output = Option<Self::Answer>> + Send {
        async move {
            sleep(pause).await;
            None
        }
    }

    /// There is no time for another attempt; an earlier one may still be answered.
    fn last(&mut self, _left: Duration) -> impl Future<Output = Option<Self::Answer>> + Send {
        async { None }
    }
}

/// A call with one answer: a function that sends it.
pub(super) struct Unary<F>(pub(super) F);

impl<T, F, Answering> Attempts for Unary<F>
where
    T: Send,
    F: FnMut(Duration) -> Answering + Send,
    Answering: Future<Output = Result<Response<T>, Status>> + Send,
{
    type Answer = T;

    fn send(&mut self, within: Duration) -> impl Future<Output = Result<T, Fault>> + Send {
        let sent = (self.0)(within);
        async move { Ok(sent.await.map_err(Fault::from)?.into_inner()) }
    }
}

/// The message with its deadline: the node stops working on a call whose time is over.
pub(super) fn within<T>(message: &T, time: Duration) -> Request<T>
where
    T: Clone,
{
    let mut request = Request::new(message.clone());
    request.set_timeout(time);
    request
}

impl Core {
    /// Sends a call until it is answered or refused, or its budget is used up.
    pub(super) async fn call<A: Attempts>(&self, mut attempts: A) -> Result<A::Answer, Error> {
        let Some(permit) = self.breaker.enter() else {
            let message = "the node has not answered lately, so it was not asked".to_owned();
            return Err(Error::NoDecision(NoDecision { code: Code::Unavailable, message, attempts: 0 }));
        };
        let until = Instant::now() + self.options.budget;
        let (mut sent, mut pause) = (0, FIRST_PAUSE);
        loop {
            sent += 1;
            let left = until.saturating_duration_since(Instant::now());
            let attempt = self.options.attempt.min(left);
            let answer = timeout(attempt, attempts.send(attempt)).await;
            let fault = match answer {
                Ok(Ok(answer)) => return Ok(self.answered(permit, answer)),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::silence(),
            };
            let Remedy::Retry(asked) = fault.remedy() else {
                self.changed(permit.answered());
                return Err(self.failed(fault, sent));
            };
            let wait = ids::jittered(pause).max(asked);
            let left = until.saturating_duration_since(Instant::now());
            if wait >= left {
                if let Some(answer) = attempts.last(left).await {
                    return Ok(self.answered(permit, answer));
                }
                self.changed(permit.unanswered());
                return Err(self.failed(fault, sent));
            }
            if let Some(answer) = attempts.pause(wait).await {
                return Ok(self.answered(permit, answer));
            }
            add(&self.watch.counters.retries);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn answered<T>(&self, permit: Permit<'_>, answer: T) -> T {
        self.changed(permit.answered());
        answer
    }

    fn failed(&self, fault: Fault, attempts: u32) -> Error {
        let error = fault.into_error(attempts);
        if matches!(error, Error::Refused(_)) {
            add(&self.watch.counters.refused);
        }
        error
    }

    fn changed(&self, change: Option<Change>) {
        match change {
            Some(Change::Opened) => self.watch.happened(&Event::BreakerOpened),
            Some(Change::Closed) => self.watch.happened(&Event::BreakerClosed),
            None => {}
        }
    }
}
