//! A session: started, kept alive by heartbeats of its own task, ended. The node says with every heartbeat whether it goes
//! on.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    Client, Core,
    call::{Unary, within},
    decision::millis,
    error::Error,
    heartbeats::{Beats, Ran},
    ids,
    settle::Settlement,
};
use crate::wire::v1::{self, EndSessionRequest, HeartbeatRequest, StartSessionRequest, StartSessionResponse};

/// What is asked for one session.
#[derive(Debug, Clone, Default)]
pub struct SessionAsk {
    request: StartSessionRequest,
    /// Empty = a new one.
    incarnation: String,
    has_run: Duration,
}

impl SessionAsk {
    /// `session_id` is unique in its org, and `identity` says who or what it runs for.
    pub fn new(session_id: impl Into<String>, identity: impl Into<String>) -> Self {
        let (session_id, identity) = (session_id.into(), identity.into());
        Self {
            request: StartSessionRequest { session_id, identity, ..StartSessionRequest::default() },
            ..Self::default()
        }
    }

    /// A part of the org in which its compute counts as well; at most 8.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.request.scopes.push(scope.into());
        self
    }

    /// An id of the caller's. Default: a new UUID of version 7.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request.request_id = id.into();
        self
    }

    /// Names one run of the machine, such as its boot id; a new one counts from zero. Default: a new UUID.
    #[must_use]
    pub fn incarnation(mut self, id: impl Into<String>) -> Self {
        self.incarnation = id.into();
        self
    }

    /// The machine has run for so long in this incarnation already. Default: not at all.
    #[must_use]
    pub fn has_run(mut self, time: Duration) -> Self {
        self.has_run = time;
        self
    }
}

/// The answer to a start.
#[derive(Debug)]
pub enum Start {
    /// It runs: provision it.
    Running(Session),
    /// It must not be provisioned.
    Denied(SessionDenial),
}

/// What the node said of a session that must not run.
#[derive(Debug, Clone)]
pub struct SessionDenial(StartSessionResponse);

impl SessionDenial {
    /// `QuotaExceeded`, `SessionLimitReached`, or a code of any other gate.
    pub fn code(&self) -> v1::DecisionCode {
        self.0.code()
    }

    /// A sentence for people.
    pub fn text(&self) -> &str {
        &self.0.message
    }

    /// Where the org can get more; empty where nothing is configured.
    pub fn upgrade_url(&self) -> &str {
        &self.0.upgrade_url
    }

    /// The message as it came.
    pub fn message(&self) -> &StartSessionResponse {
        &self.0
    }
}

/// What the node says of a session that runs. Each is announced once, when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// It goes on; so much of the quota is used.
    Warn {
        /// 80 or 95.
        percent: u8,
        /// A sentence for people.
        text: String,
    },
    /// Save and end it within `grace`.
    Stop {
        /// Zero = at once.
        grace: Duration,
        /// A sentence for people.
        text: String,
    },
    /// The node does not know it any more, or it has expired: it holds no slot. End it.
    Gone,
}

/// A session that runs. Heartbeats are sent until it is ended, also after [`Signal::Stop`], so that what it uses counts.
///
/// Dropped, it is ended by a task of the client, with its last total. A process that is killed ends nothing: the session
/// expires after three heartbeats that did not come.
pub struct Session {
    core: Arc<Core>,
    end: EndSessionRequest,
    ran: Ran,
    first_slice: Duration,
    /// Dropped to end the heartbeats.
    beating: Option<watch::Sender<()>>,
    is_over: Arc<AtomicBool>,
}

impl Session {
    /// As it was asked for.
    pub fn id(&self) -> &str {
        &self.end.session_id
    }

    /// Names this run of the machine: keep it where another process may take the session over.
    pub fn incarnation(&self) -> &str {
        &self.end.incarnation
    }

    /// Compute that is reserved: it is not stopped before it has used it. Zero where the session was taken over.
    pub fn first_slice(&self) -> Duration {
        self.first_slice
    }

    /// False after [`Signal::Gone`].
    pub fn is_known(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    /// Ends it with its total; the session as the node has it then, where it has answered. Where it has not, the client goes
    /// on sending the end.
    ///
    /// # Errors
    /// Where nobody answered in time, or the node refused it.
    pub async fn end(mut self) -> Result<v1::Session, Error> {
        self.beating = None;
        // A repetition under the same request id says the same.
        self.end = self.last();
        let request = self.end.clone();
        let sent = self.core.call(Unary(|time| {
            let (mut sessions, request) = (self.core.link.sessions(), within(&request, time));
            async move { sessions.end_session(request).await }
        }));
        let ended = sent.await;
        if !matches!(ended, Err(Error::NoDecision(_))) {
            // Answered: nothing is left to be sent when this is dropped.
            self.end.session_id.clear();
        }
        Ok(ended?.session.unwrap_or_default())
    }

    fn last(&self) -> EndSessionRequest {
        let total_seconds = self.end.total_seconds.or_else(|| Some(self.ran.seconds()));
        EndSessionRequest { total_seconds, ..self.end.clone() }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("org", &self.end.org).field("id", &self.end.session_id).finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.end.session_id.is_empty() {
            self.core.settler.push(Settlement::EndSession(self.last()));
        }
    }
}

impl Client {
    /// Starts a session and sends its heartbeats; `signal` is called from the runtime with what the node says of it.
    ///
    /// A session does not fail open, whatever [`OnUnavailable`](super::OnUnavailable) is: it would run without a slot, and
    /// nobody could stop it. Whoever provisions it all the same does so by its own decision.
    ///
    /// ```no_run
    /// # use tollgate::client::{Client, SessionAsk, Signal, Start};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let started = client
    ///     .start_session("acme", SessionAsk::new("vm-1", "user 7"), |signal| {
    ///         if let Signal::Stop { grace, text } = signal {
    ///             println!("{text} Ending within {grace:?}.");
    ///         }
    ///     })
    ///     .await?;
    /// match started {
    ///     Start::Running(session) => {
    ///         // … the machine runs …
    ///         session.end().await?;
    ///     }
    ///     Start::Denied(denial) => println!("{} {}", denial.text(), denial.upgrade_url()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where nobody decided in time, or the node refused the call.
    pub async fn start_session(
        &self,
        org: &str,
        ask: SessionAsk,
        signal: impl Fn(Signal) + Send + Sync + 'static,
    ) -> Result<Start, Error> {
        let mut ask = ask;
        let request = &mut ask.request;
        request.org = org.to_owned();
        request.plane.clone_from(&self.core.options.plane);
        if request.request_id.is_empty() {
            request.request_id = ids::request_id();
        }
        let core = &self.core;
        let start = Unary(|time| {
            let (mut sessions, request) = (core.link.sessions(), within(&*request, time));
            async move { sessions.start_session(request).await }
        });
        let answer = core.call(start).await?;
        if !answer.allowed {
            return Ok(Start::Denied(SessionDenial(answer)));
        }
        let (interval, first_slice) = (millis(answer.heartbeat_interval_ms), millis(answer.first_slice_ms));
        Ok(Start::Running(self.host(ask, interval, first_slice, signal)))
    }

    /// Takes over a session that runs, such as after a restart of the process that started it, and sends its heartbeats,
    /// the first one at once. Nothing is asked: of a session that the node does not know, `signal` says [`Signal::Gone`].
    ///
    /// `ask` has to name its [`SessionAsk::incarnation`] and for how long it [`SessionAsk::has_run`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tollgate::client::{Client, SessionAsk};
    /// # fn example(client: Client, boot_id: &str, since_boot: Duration) {
    /// let ask = SessionAsk::new("vm-1", "user 7").incarnation(boot_id).has_run(since_boot);
    /// let session = client.attach_session("acme", ask, |signal| println!("{signal:?}"));
    /// # }
    /// ```
    pub fn attach_session(
        &self,
        org: &str,
        mut ask: SessionAsk,
        signal: impl Fn(Signal) + Send + Sync + 'static,
    ) -> Session {
        org.clone_into(&mut ask.request.org);
        self.host(ask, Duration::ZERO, Duration::ZERO, signal)
    }

    fn host(
        &self,
        ask: SessionAsk,
        interval: Duration,
        first_slice: Duration,
        signal: impl Fn(Signal) + Send + Sync + 'static,
    ) -> Session {
        let SessionAsk { request: StartSessionRequest { org, session_id, identity, .. }, incarnation, has_run } = ask;
        let incarnation = if incarnation.is_empty() { ids::request_id() } else { incarnation };
        let (beating, stopped) = watch::channel(());
        let is_over = Arc::new(AtomicBool::new(false));
        let ran = Ran { before: has_run, since: Instant::now() };
        let beat = HeartbeatRequest {
            org: org.clone(),
            session_id: session_id.clone(),
            identity: identity.clone(),
            incarnation: incarnation.clone(),
            ..HeartbeatRequest::default()
        };
        tokio::spawn(Beats::new(&self.core, beat, ran, is_over.clone()).run(interval, stopped, signal));
        let request_id = ids::request_id();
        let end = EndSessionRequest { org, session_id, identity, request_id, incarnation, total_seconds: None };
        Session { core: self.core.clone(), end, ran, first_slice, beating: Some(beating), is_over }
    }
}
