//! What was sent on a stream and not answered: how long it is waited for, and when a stream has to be given up.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    error::Fault,
    stream::{Asked, Call},
};
use crate::wire::v1::AcquireStreamRequest;

/// An attempt on a stream.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) call: Arc<Call>,
    pub(super) org: String,
    at: Instant,
}

/// Attempts on one stream that were not answered, by their tags.
#[derive(Debug)]
pub(super) struct InFlight {
    last_tag: u64,
    sent: HashMap<u64, Sent>,
    /// When something was answered, or the stream was opened.
    heard: Instant,
    /// So long nothing may be answered while somebody waits.
    patience: Duration,
    /// So long an answer is expected when nobody waits any more.
    late: Duration,
}

impl InFlight {
    pub(super) fn new(attempt: Duration, budget: Duration) -> Self {
        let (sent, heard, patience) = (HashMap::new(), Instant::now(), attempt * 2);
        Self { last_tag: 0, sent, heard, patience, late: budget + patience }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn put(&mut self, asked: Asked) -> AcquireStreamRequest {
        self.last_tag += 1;
        let sent = Sent { call: asked.call, org: asked.request.org.clone(), at: Instant::now() };
        self.sent.insert(self.last_tag, sent);
        AcquireStreamRequest { tag: self.last_tag, acquire: Some(asked.request) }
    }

    pub(super) fn take(&mut self, tag: u64) -> Option<Sent> {
        self.heard = Instant::now();
        self.sent.remove(&tag)
    }

    pub(super) fn is_silent(&self) -> bool {
        let is_overdue = |sent: &Sent| {
            let most = if sent.call.is_waited_for() { self.patience } else { self.late };
            sent.at.elapsed() >= most
        };
        self.heard.elapsed() >= self.patience && self.sent.values().any(is_overdue)
    }

    /// Forgets attempts that were given up long ago.
    pub(super) fn sweep(&mut self) {
        let late = self.late;
        self.sent.retain(|_, sent| sent.at.elapsed() < late || sent.call.is_waited_for());
    }

    pub(super) fn fail(self, fault: &Fault) {
        for sent in self.sent.into_values() {
            sent.call.fail(fault.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::wire::v1::AcquireRequest;

    const ATTEMPT: Duration = Duration::from_millis(100);

    fn put(in_flight: &mut InFlight) -> Arc<Call> {
        let call = Arc::new(Call::new(false));
        in_flight.put(Asked { request: AcquireRequest::default(), call: call.clone() });
        call
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_silent_when_somebody_waits_and_nothing_is_answered() {
        let mut in_flight = InFlight::new(ATTEMPT, 5 * ATTEMPT);
        put(&mut in_flight);
        advance(ATTEMPT).await;
        assert!(!in_flight.is_silent());
        in_flight.take(7);
        advance(ATTEMPT).await;
        assert!(!in_flight.is_silent(), "something was answered");
        advance(ATTEMPT).await;
        assert!(in_flight.is_silent());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_given_up_is_forgotten_when_its_answer_is_not_expected_any_more() {
        let mut in_flight = InFlight::new(ATTEMPT, 5 * ATTEMPT);
        let given_up = put(&mut in_flight);
        given_up.abandon();
        advance(6 * ATTEMPT).await;
        assert!(!in_flight.is_silent(), "it may come late");
        in_flight.sweep();
        assert_eq!(in_flight.sent.len(), 1);
        put(&mut in_flight);
        advance(ATTEMPT).await;
        assert!(in_flight.is_silent(), "also where calls give up before");
        in_flight.sweep();
        assert_eq!(in_flight.sent.len(), 1);
    }
}
