//! What the node decided. A denial is a value of its own type, so that no path runs an execution that has one.

use std::time::Duration;

use super::execution::Admitted;
use crate::wire::v1::{AcquireResponse, DecisionCode, FailOpen, Limit};

/// The answer to one question.
#[derive(Debug)]
pub enum Decision {
    /// The execution may run, and has to be completed.
    Admitted(Admitted),
    /// It must not run.
    Denied(Denial),
}

/// What the node said of an execution that may run.
#[derive(Debug, Clone)]
pub struct Admission(pub(super) AcquireResponse);

impl Admission {
    /// Names the decision, and the execution: for [`Client::resume`](super::Client::resume) and `tollgate explain`.
    pub fn id(&self) -> &str {
        &self.0.decision_id
    }

    /// [`DecisionCode::Allowed`]; in shadow what would have denied it.
    pub fn code(&self) -> DecisionCode {
        self.0.code()
    }

    /// Every limit that was judged, in the order of the pipeline.
    pub fn limits(&self) -> &[Limit] {
        &self.0.limits
    }

    /// Gates that the node could not evaluate and let through by its own policy.
    pub fn unevaluated(&self) -> &[FailOpen] {
        &self.0.fail_open
    }

    /// The reservation, where one was asked for.
    pub fn reservation_id(&self) -> Option<&str> {
        Some(self.0.reservation_id.as_str()).filter(|id| !id.is_empty())
    }

    /// How long the reservation holds from the answer on; `None` without one.
    pub fn reserved_for(&self) -> Option<Duration> {
        self.reservation_id().map(|_| millis(self.0.reservation_remaining_ms))
    }

    /// The same id was admitted before, and nothing was charged again.
    pub fn is_replay(&self) -> bool {
        self.0.replayed
    }

    /// The message as it came.
    pub fn message(&self) -> &AcquireResponse {
        &self.0
    }
}

/// What the node said of an execution that must not run.
#[derive(Debug, Clone)]
pub struct Denial(pub(super) AcquireResponse);

impl Denial {
    /// Which kind of limit denied.
    pub fn code(&self) -> DecisionCode {
        self.0.code()
    }

    /// A sentence for people, with the limit, its numbers and what to do next.
    pub fn text(&self) -> &str {
        &self.0.message
    }

    /// After how long the call fits if nothing else happens; `None` = never, or nobody knows.
    pub fn retry_after(&self) -> Option<Duration> {
        Some(millis(self.0.retry_after_ms)).filter(|after| !after.is_zero())
    }

    /// The HTTP status that a plane may show: 402, 403, 429 or 503.
    pub fn http_status(&self) -> u16 {
        u16::try_from(self.0.http_status_hint).unwrap_or(503)
    }

    /// Every limit that was judged, in the order of the pipeline.
    pub fn limits(&self) -> &[Limit] {
        &self.0.limits
    }

    /// The limits that denied.
    pub fn limiting(&self) -> impl Iterator<Item = &Limit> {
        self.0.limits.iter().filter(|limit| limit.limiting)
    }

    /// Names the decision, for `tollgate explain`.
    pub fn id(&self) -> &str {
        &self.0.decision_id
    }

    /// The message as it came.
    pub fn message(&self) -> &AcquireResponse {
        &self.0
    }
}

pub(super) fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}
