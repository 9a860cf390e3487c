//! Why a call has no answer. The difference that matters is between a call on which nobody decided, which may be let through
//! by policy, and one that is wrong, which is never let through silently.

use std::{fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::wire::v1::ItemError;

/// Why a call has no answer.
#[derive(Debug, Clone)]
pub enum Error {
    /// Nobody decided in time. The only error that [`OnUnavailable::Open`](super::OnUnavailable::Open) lets through.
    NoDecision(NoDecision),
    /// The node refused the call: it is wrong, or its caller may not make it.
    Refused(Refused),
}

/// Nobody decided in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoDecision {
    /// Of the last attempt.
    pub code: Code,
    /// Of the last attempt, for people.
    pub message: String,
    /// How often the call was sent; 0 = not at all, because the node has not answered lately.
    pub attempts: u32,
}

/// The node refused the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, ALREADY_EXISTS, NOT_FOUND, …
    pub code: Code,
    /// `ErrorInfo.reason`: UPPER_SNAKE and stable, such as `REQUEST_ID_REUSED`. Empty where something before the node
    /// answered.
    pub reason: String,
    /// For people: names the field, its value and what is allowed.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDecision(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for NoDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no decision after {} attempts: {:?}: {}", self.attempts, self.code, self.message)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {:?} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Error {}
impl std::error::Error for NoDecision {}
impl std::error::Error for Refused {}

/// What an attempt that was not answered with a decision asks for.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: Code,
    reason: String,
    message: String,
    /// How long the node wants to be left alone.
    after: Option<Duration>,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The same call again, not before this.
    Retry(Duration),
    /// Nobody decided, and another attempt would not change that.
    GiveUp,
    /// The call is wrong.
    Correct,
}

/// The node does not check credentials from here for a while, because too many were wrong. It comes with a time to try
/// again, and yet it is no outage.
const THROTTLED: &str = "TOO_MANY_REFUSALS";

/// The pauses that `ErrorInfo` and `RetryInfo` ask for; an item of a stream has only the reason.
fn pause_of(reason: &str) -> Option<Duration> {
    match reason {
        "ORG_OVERLOADED" | "NODE_OVERLOADED" => Some(Duration::from_millis(100)),
        "RESERVATIONS_FULL" => Some(Duration::from_secs(1)),
        "REQUEST_MEMORY_FULL" => Some(Duration::from_secs(60)),
        _ => None,
    }
}

impl Fault {
    /// There was no answer in time.
    pub(super) fn silence() -> Self {
        Self::local(Code::DeadlineExceeded, "no answer in time")
    }

    /// The stream ended before the answer.
    pub(super) fn interrupted(message: impl Into<String>) -> Self {
        Self::local(Code::Unavailable, message)
    }

    fn local(code: Code, message: impl Into<String>) -> Self {
        Self { code, reason: String::new(), message: message.into(), after: None }
    }

    /// Whether the node itself said it, about this call.
    pub(super) fn is_answer(&self) -> bool {
        !self.reason.is_empty()
    }

    pub(super) fn remedy(&self) -> Remedy {
        if self.reason == THROTTLED {
            return Remedy::Correct;
        }
        match self.code {
            // The channel says CANCELLED where the deadline of a call is over, and UNKNOWN of a connection that broke.
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal => {
                Remedy::Retry(self.after.unwrap_or_default())
            }
            // A limit that does not pass by itself has no time.
            Code::ResourceExhausted => self.after.map_or(Remedy::GiveUp, Remedy::Retry),
            Code::DataLoss | Code::Ok => Remedy::GiveUp,
            Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Aborted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Remedy::Correct,
        }
    }

    pub(super) fn into_error(self, attempts: u32) -> Error {
        let remedy = self.remedy();
        let Self { code, reason, message, .. } = self;
        match remedy {
            Remedy::Correct => Error::Refused(Refused { code, reason, message }),
            Remedy::Retry(_) | Remedy::GiveUp => Error::NoDecision(NoDecision { code, message, attempts }),
        }
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let after = details.retry_info().and_then(|info| info.retry_delay).or_else(|| pause_of(&reason));
        Self { code: status.code(), reason, message: status.message().to_owned(), after }
    }
}

impl From<ItemError> for Fault {
    fn from(item: ItemError) -> Self {
        let after = pause_of(&item.reason);
        Self { code: Code::from_i32(item.grpc_code), reason: item.reason, message: item.message, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(code: Code, reason: &str) -> Fault {
        Fault::from(ItemError { grpc_code: code as i32, reason: reason.into(), message: "why".into() })
    }

    #[test]
    fn what_is_overload_is_asked_again_and_what_is_full_is_not() {
        let soon = Remedy::Retry(Duration::from_millis(100));
        assert_eq!(item(Code::ResourceExhausted, "ORG_OVERLOADED").remedy(), soon);
        assert_eq!(item(Code::ResourceExhausted, "LEDGERS_FULL").remedy(), Remedy::GiveUp);
        assert_eq!(item(Code::Unavailable, "DRAINING").remedy(), Remedy::Retry(Duration::ZERO));
    }

    /// R-PIPE-5: only what nobody decided on may be let through by policy.
    #[test]
    fn a_mistake_of_the_caller_is_never_taken_for_an_outage() {
        for code in [
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::NotFound,
            Code::AlreadyExists,
            Code::Aborted,
            Code::FailedPrecondition,
            Code::OutOfRange,
            Code::Unimplemented,
        ] {
            assert_eq!(item(code, "X").remedy(), Remedy::Correct, "{code:?}");
            assert!(matches!(item(code, "X").into_error(1), Error::Refused(_)), "{code:?}");
        }
        assert!(matches!(item(Code::ResourceExhausted, THROTTLED).into_error(1), Error::Refused(_)));
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::ResourceExhausted] {
            assert!(matches!(item(code, "X").into_error(1), Error::NoDecision(_)), "{code:?}");
        }
    }

    #[test]
    fn the_time_that_the_node_names_is_kept() {
        let mut details = tonic_types::ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::ResourceExhausted, "later", details);
        assert_eq!(Fault::from(status).remedy(), Remedy::Retry(Duration::from_secs(7)));
    }
}
