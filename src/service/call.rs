//! What every use case knows of the call that it serves: which rpc it is, and until when it may take.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::field::{DisplayValue, display};

use crate::{
    actors::Terms,
    auth::Principal,
    domain::{
        ids::OrgId,
        trace::{TraceId, Traceparent},
    },
    telemetry::{GRPC, Span},
};

/// Left to the caller's side of a deadline: an answer that arrives too late is no answer.
const MARGIN: Duration = Duration::from_millis(50);

/// Until when a call may take, counted from its arrival.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    pub(super) at: Instant,
    arrived: Instant,
}

impl Deadline {
    /// The caller's own deadline less a margin, and never more than `budget_ms`.
    pub fn new(callers: Option<Duration>, budget_ms: u32) -> Self {
        let arrived = now();
        let budget = Duration::from_millis(u64::from(budget_ms));
        let left = callers.map_or(budget, |callers| callers.saturating_sub(MARGIN.min(callers / 2)).min(budget));
        Self { at: arrived + left, arrived }
    }

    /// A part of it with a budget of its own.
    pub(super) fn within(self, budget_ms: u32) -> Instant {
        self.at.min(now() + Duration::from_millis(u64::from(budget_ms)))
    }

    /// Until when a question to somebody else may take, so that the org can still be asked after it:
    /// `budget_ms` earlier, or a quarter of what is left where that is less.
    pub(super) fn leaving(self, budget_ms: u32) -> Instant {
        let left = self.at.saturating_duration_since(now());
        self.at.checked_sub(Duration::from_millis(u64::from(budget_ms)).min(left / 4)).unwrap_or(self.at)
    }

    /// When `left` of it is left.
    pub fn leaving_time(self, left: Duration) -> Instant {
        self.at.checked_sub(left).unwrap_or(self.at)
    }

    /// How long it is until then.
    pub fn left(self) -> Duration {
        self.at.saturating_duration_since(now())
    }

    /// Since the call arrived.
    pub fn elapsed(self) -> Duration {
        now().saturating_duration_since(self.arrived)
    }
}

/// The runtime's clock, which tests can pause; only for deadlines and latencies.
fn now() -> Instant {
    Instant::now()
}

/// The kind of protocol in which a call was asked, as telemetry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum System {
    /// Over gRPC, or gRPC-Web.
    #[default]
    Grpc,
    /// Over Connect.
    Connect,
    /// The question of a proxy.
    ForwardAuth,
}

impl System {
    /// `rpc.system.name` of the semantic conventions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => GRPC,
            Self::Connect => "connectrpc",
            Self::ForwardAuth => "forward_auth",
        }
    }
}

/// One call on its way through the service.
#[derive(Debug, Clone)]
pub struct Call {
    /// The name of the rpc, as in the protos.
    pub rpc: &'static str,
    /// How it was asked.
    pub system: System,
    /// Until when the call may take.
    pub deadline: Deadline,
    /// Who calls. It may call this rpc; whether it may reach an org is judged where the org is named.
    pub caller: Arc<Principal>,
    /// The trace that it is a part of; `None` = of none.
    pub trace: Option<Traceparent>,
    /// What is recorded of it; `None` = nothing is.
    pub span: Option<Span>,
    /// Another node has sent it here, and it goes no further.
    pub is_forwarded: bool,
    /// How the caller named the org, where that is another name of the one that the call is about now: the caller may
    /// reach what it has named.
    pub said: Option<OrgId>,
    /// The answer is what the call would do; it does nothing.
    pub dry_run: bool,
    /// It has waited for an owner of its org in vain: what is known without the org's state decides.
    pub is_ownerless: bool,
}

impl Call {
    /// A call of `rpc` that has arrived now.
    pub fn new(rpc: &'static str, caller: Arc<Principal>, deadline: Deadline) -> Self {
        Self {
            rpc,
            system: System::default(),
            deadline,
            caller,
            trace: None,
            span: None,
            is_forwarded: false,
            said: None,
            dry_run: false,
            is_ownerless: false,
        }
    }

    /// The same, which does nothing where `dry_run` says so.
    #[must_use]
    pub fn dry(&self, dry_run: bool) -> Self {
        Self { dry_run, ..self.clone() }
    }

    /// Another call on behalf of the same caller, about another org: it goes where that is.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { is_forwarded: false, said: None, ..self.clone() }
    }

    /// A part of what is recorded of it, about an org, until it is dropped.
    pub(super) fn part(&self, name: &'static str, org: &OrgId) -> Option<Span> {
        let part = self.span.as_ref()?.part(name);
        part.says("tollgate.org", org.to_string());
        Some(part)
    }

    /// Its trace, as a line of the log has it.
    pub fn shown_trace(&self) -> Option<DisplayValue<TraceId>> {
        self.trace.map(|trace| display(trace.trace))
    }

    /// How an org is asked for this call, until then.
    pub(super) fn until(&self, deadline: Instant) -> Terms<'_> {
        Terms {
            deadline,
            within: self.caller.scopes().cloned(),
            caller: self.caller.shared_name(),
            reason: None,
            trace: self.trace.map(|trace| trace.trace),
            dry_run: self.dry_run,
        }
    }
}
