//! The heartbeats of a session, sent by a task of its own until it is ended.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tonic::Code;

use super::{
    Core,
    call::{Unary, within},
    decision::millis,
    error::{Error, Refused},
    events::called,
    session::Signal,
};
use crate::wire::v1::{HeartbeatRequest, HeartbeatResponse, SessionAction, SessionState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Continue,
    Warn(u8),
    Stop,
}

/// For how long a session has run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    /// In this incarnation, under another process.
    pub(super) before: Duration,
    pub(super) since: Instant,
}

impl Ran {
    pub(super) fn seconds(self) -> i64 {
        let all = self.before.saturating_add(self.since.elapsed());
        i64::try_from(all.as_secs()).unwrap_or(i64::MAX)
    }
}

/// The heartbeats of one session.
pub(super) struct Beats {
    core: Weak<Core>,
    beat: HeartbeatRequest,
    ran: Ran,
    said: Said,
    is_over: Arc<AtomicBool>,
}

impl Beats {
    pub(super) fn new(core: &Arc<Core>, beat: HeartbeatRequest, ran: Ran, is_over: Arc<AtomicBool>) -> Self {
        Self { core: Arc::downgrade(core), beat, ran, said: Said::Continue, is_over }
    }

    /// Until the session is over, or the other end of `stopped` is dropped.
    pub(super) async fn run(mut self, first: Duration, mut stopped: watch::Receiver<()>, signal: impl Fn(Signal)) {
        let mut interval = first.max(Duration::from_millis(100));
        let mut wait = interval;
        // Nothing is ever sent: a change is that the session is gone.
        while timeout(wait, stopped.changed()).await.is_err() {
            let Some(core) = self.core.upgrade() else { return };
            self.beat.total_seconds = self.ran.seconds();
            let beat = &self.beat;
            let sent = core.call(Unary(|time| {
                let (mut sessions, beat) = (core.link.sessions(), within(beat, time));
                async move { sessions.heartbeat(beat).await }
            }));
            // What is answered after the end is of no interest any more.
            let answer = tokio::select! {
                biased;
                _ = stopped.changed() => return,
                answer = sent => answer,
            };
            match answer {
                Ok(answer) => {
                    interval = millis(answer.heartbeat_interval_ms).max(Duration::from_millis(100));
                    wait = interval;
                    if !self.heard(answer, &signal) {
                        return;
                    }
                }
                Err(Error::Refused(Refused { code: Code::NotFound, .. })) => return self.gone(&signal),
                // No other error is a reason to end a session; it expires when three of them did not arrive.
                Err(_) => wait = interval / 4,
            }
        }
    }

    fn heard(&mut self, answer: HeartbeatResponse, signal: &impl Fn(Signal)) -> bool {
        if answer.state() != SessionState::Running {
            self.gone(signal);
            return false;
        }
        let percent = u8::try_from(answer.warn_percent).unwrap_or_default();
        let said = match answer.action() {
            SessionAction::Unspecified | SessionAction::Continue => Said::Continue,
            SessionAction::Warn => Said::Warn(percent),
            SessionAction::Stop => Said::Stop,
        };
        if std::mem::replace(&mut self.said, said) != said {
            match said {
                Said::Continue => {}
                Said::Warn(percent) => say(signal, Signal::Warn { percent, text: answer.message }),
                Said::Stop => say(signal, Signal::Stop { grace: millis(answer.grace_ms), text: answer.message }),
            }
        }
        true
    }

    fn gone(&self, signal: &impl Fn(Signal)) {
        self.is_over.store(true, Relaxed);
        say(signal, Signal::Gone);
    }
}

fn say(signal: &impl Fn(Signal), what: Signal) {
    called(|| signal(what));
}
