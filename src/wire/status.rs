//! The one table from errors to gRPC, exhaustive. Handlers never pick a status.

use std::time::Duration;

use tonic::{Code, Status, codegen::Bytes};
use tonic_types::{ErrorDetails, StatusExt};

use super::{peer::v1 as peer, v1::ItemError};
use crate::{
    auth::Refused,
    domain::{
        ids::OrgId,
        reach::ScopeRefused,
        refusal::{NoGrant, NoReset, OrgError},
    },
    error::{ORG_UNKNOWN, Relayed, ServiceError},
};

/// A node that has too much to do.
pub const NODE_OVERLOADED: &str = "NODE_OVERLOADED";
/// A request that is not one, too long, or has not arrived in time.
pub const UNREADABLE: &str = "UNREADABLE";
/// `ErrorInfo.domain` of every error.
const DOMAIN: &str = "tollgate";
/// When a shed or interrupted call is worth another try.
const RETRY_SOON: Duration = Duration::from_millis(100);
const RETRY_LATER: Duration = Duration::from_secs(1);

/// The status code, the machine-readable reason, and when to try again.
fn row(error: &ServiceError) -> (Code, &'static str, Option<Duration>) {
    match error {
        ServiceError::Input(_) => (Code::InvalidArgument, "INVALID_FIELD", None),
        ServiceError::Org(error) => org_row(*error),
        ServiceError::Store(_) | ServiceError::InDoubt(_) => {
            (Code::Unavailable, "STORE_UNAVAILABLE", Some(RETRY_LATER))
        }
        ServiceError::NoOwner => (Code::Unavailable, "NO_OWNER", Some(RETRY_SOON)),
        ServiceError::Moved => (Code::Unavailable, "ORG_MOVED", Some(RETRY_SOON)),
        ServiceError::OrgBusy { .. } | ServiceError::OrgOverShare => {
            (Code::ResourceExhausted, "ORG_OVERLOADED", Some(RETRY_SOON))
        }
        ServiceError::NodeBusy { .. } | ServiceError::CallerOverShare => {
            (Code::ResourceExhausted, NODE_OVERLOADED, Some(RETRY_SOON))
        }
        ServiceError::NewOrgs { retry_in, .. } => (Code::ResourceExhausted, NODE_OVERLOADED, Some(*retry_in)),
        ServiceError::NotAdmitted(_) => (Code::PermissionDenied, "ORG_NOT_ADMITTED", None),
        ServiceError::DiskLow { .. } => (Code::Unavailable, "DISK_LOW", Some(RETRY_LATER)),
        ServiceError::TimedOut => (Code::DeadlineExceeded, "NO_ANSWER_IN_TIME", None),
        ServiceError::Interrupted => (Code::Unavailable, "INTERRUPTED", Some(RETRY_SOON)),
        ServiceError::Bug => (Code::Internal, "INTERNAL", None),
        ServiceError::Draining => (Code::Unavailable, "DRAINING", Some(RETRY_LATER)),
        ServiceError::UnknownDecision => (Code::NotFound, "DECISION_UNKNOWN", None),
        ServiceError::SnapshotBroken(_) => (Code::Aborted, "SNAPSHOT_BROKEN", None),
        ServiceError::SnapshotsOpen { .. } => (Code::ResourceExhausted, "SNAPSHOTS_OPEN", Some(RETRY_LATER)),
        ServiceError::UnknownNode(_) => (Code::NotFound, "NODE_UNKNOWN", None),
        ServiceError::UnknownOrg(_) => (Code::NotFound, ORG_UNKNOWN, None),
        ServiceError::LeadsTo(_) => (Code::Unavailable, "ORG_RENAMED", Some(RETRY_SOON)),
        ServiceError::NameTaken { .. } => (Code::AlreadyExists, "NAME_TAKEN", None),
        ServiceError::Unauthenticated(refused) => unauthenticated_row(*refused),
        ServiceError::OtherRole { .. } => (Code::PermissionDenied, "ROLE_NOT_ALLOWED", None),
        ServiceError::OtherOrg => (Code::PermissionDenied, "ORG_NOT_ALLOWED", None),
        ServiceError::OtherScope(ScopeRefused::Outside { .. }) => (Code::PermissionDenied, "SCOPE_NOT_ALLOWED", None),
        ServiceError::OtherScope(ScopeRefused::Unnamed) => (Code::PermissionDenied, "SCOPE_MISSING", None),
        // Its owner has counted it by the reason that it has.
        ServiceError::Relayed(relayed) => (Code::from_i32(relayed.code), "RELAYED", None),
        ServiceError::OwnerUnreachable { .. } => (Code::Unavailable, "OWNER_UNREACHABLE", Some(RETRY_SOON)),
        ServiceError::OwnerBusy { .. } => (Code::ResourceExhausted, NODE_OVERLOADED, Some(RETRY_SOON)),
    }
}

fn unauthenticated_row(refused: Refused) -> (Code, &'static str, Option<Duration>) {
    let (code, retry) = match refused {
        Refused::Missing | Refused::Malformed | Refused::Invalid | Refused::Expired => (Code::Unauthenticated, None),
        Refused::Unavailable => (Code::Unavailable, Some(RETRY_LATER)),
        Refused::Throttled => (Code::ResourceExhausted, Some(RETRY_LATER)),
    };
    (code, refused.reason(), retry)
}

fn org_row(error: OrgError) -> (Code, &'static str, Option<Duration>) {
    match error {
        OrgError::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED", None),
        OrgError::RequestIdTooOld { .. } => (Code::FailedPrecondition, "REQUEST_ID_TOO_OLD", None),
        OrgError::RequestMemoryFull { .. } | OrgError::KeptIdsFull { .. } => {
            (Code::ResourceExhausted, "REQUEST_MEMORY_FULL", Some(Duration::from_secs(60)))
        }
        OrgError::ReservationNotFound => (Code::NotFound, "RESERVATION_UNKNOWN", None),
        OrgError::ReservationSettled(_) | OrgError::ReservationExpired => {
            (Code::FailedPrecondition, "RESERVATION_SETTLED", None)
        }
        OrgError::TooManyReservations { .. } => (Code::ResourceExhausted, "RESERVATIONS_FULL", Some(RETRY_LATER)),
        OrgError::TooManyLedgers { .. } | OrgError::TooManyMeters { .. } => {
            (Code::ResourceExhausted, "LEDGERS_FULL", None)
        }
        OrgError::TooManySources { .. } => (Code::ResourceExhausted, "SOURCES_FULL", None),
        OrgError::TooManyDisputed => (Code::ResourceExhausted, "DISPUTED_FULL", None),
        OrgError::OccurredAt { .. } => (Code::InvalidArgument, "INVALID_FIELD", None),
        OrgError::ReservationTooLong { .. } => (Code::InvalidArgument, "RESERVATION_TOO_LONG", None),
        OrgError::BudgetVersion { .. } => (Code::Aborted, "BUDGET_VERSION", None),
        OrgError::TooManyBudgets { .. } => (Code::ResourceExhausted, "BUDGETS_FULL", None),
        OrgError::TooManyExecutions { .. } => (Code::ResourceExhausted, "EXECUTIONS_FULL", None),
        OrgError::SessionUnknown | OrgError::SessionReplaced => (Code::NotFound, "SESSION_UNKNOWN", None),
        OrgError::SessionExists => (Code::AlreadyExists, "SESSION_EXISTS", None),
        OrgError::SessionIdWornOut => (Code::FailedPrecondition, "SESSION_ID_WORN_OUT", None),
        OrgError::OtherIdentity => (Code::PermissionDenied, "OTHER_IDENTITY", None),
        OrgError::PoolUnknown => (Code::NotFound, "POOL_UNKNOWN", None),
        OrgError::AccountUnknown => (Code::NotFound, "ACCOUNT_UNKNOWN", None),
        OrgError::PoolVersion { .. } => (Code::Aborted, "POOL_VERSION", None),
        OrgError::AccountInOtherPool { .. } => (Code::AlreadyExists, "ACCOUNT_IN_OTHER_POOL", None),
        OrgError::TooManyPools { .. } => (Code::ResourceExhausted, "POOLS_FULL", None),
        OrgError::TooManyAccounts { .. } => (Code::ResourceExhausted, "ACCOUNTS_FULL", None),
        OrgError::ChargeUnknown => (Code::NotFound, "DECISION_UNKNOWN", None),
        OrgError::ChargeRefunded { .. } => (Code::FailedPrecondition, "DECISION_REFUNDED", None),
        OrgError::ChargeOpen => (Code::FailedPrecondition, "RESERVATION_OPEN", None),
        OrgError::ChargeOfSession => (Code::FailedPrecondition, "DECISION_OF_SESSION", None),
        OrgError::RefundAt { .. } => (Code::InvalidArgument, "INVALID_FIELD", None),
        OrgError::NothingUsed { .. } => (Code::FailedPrecondition, "NOTHING_USED", None),
        OrgError::OverrideVersion { .. } => (Code::Aborted, "OVERRIDE_VERSION", None),
        OrgError::TooManyOverrides { .. } => (Code::ResourceExhausted, "OVERRIDES_FULL", None),
        OrgError::TooManyLimits { .. } => (Code::ResourceExhausted, "LIMITS_FULL", None),
        OrgError::NoGrant(NoGrant::NoLimit) => (Code::NotFound, "LIMIT_UNKNOWN", None),
        OrgError::NoGrant(_) => (Code::FailedPrecondition, "LIMIT_NOT_GRANTABLE", None),
        OrgError::NoReset(NoReset::NoLimit) => (Code::NotFound, "LIMIT_UNKNOWN", None),
        OrgError::NoReset(_) => (Code::FailedPrecondition, "LIMIT_NOT_RESETTABLE", None),
        OrgError::GrantUnknown => (Code::NotFound, "GRANT_UNKNOWN", None),
        OrgError::LimitUnknown => (Code::NotFound, "LIMIT_UNKNOWN", None),
        OrgError::EndNotThen { .. } => (Code::InvalidArgument, "INVALID_FIELD", None),
        OrgError::OrgUnknown => (Code::NotFound, ORG_UNKNOWN, None),
        OrgError::TooManyNames { .. } => (Code::ResourceExhausted, "NAMES_FULL", None),
        OrgError::BeingPurged => (Code::FailedPrecondition, "ORG_BEING_PURGED", None),
        OrgError::TooManySessions { .. } => (Code::ResourceExhausted, "SESSIONS_FULL", None),
    }
}

/// `UPPER_SNAKE`, stable; also a metric label. That of another node's error is in the error.
pub fn reason(error: &ServiceError) -> &'static str {
    row(error).1
}

/// The error as gRPC has it: code, message, and details with the reason and when to try again.
pub fn to_status(error: &ServiceError) -> Status {
    if let ServiceError::Relayed(relayed) = error {
        let details = Bytes::copy_from_slice(&relayed.details);
        return Status::with_details(Code::from_i32(relayed.code), relayed.message.as_str(), details);
    }
    let (code, reason, retry) = row(error);
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    if let Some(retry) = retry {
        details.set_retry_info(Some(retry));
    }
    if let ServiceError::Input(input) = error {
        details.add_bad_request_violation(input.field.clone(), input.to_string());
    }
    if let ServiceError::Org(refusal @ OrgError::OccurredAt { .. }) = error {
        details.add_bad_request_violation("occurred_at_ms", refusal.to_string());
    }
    if let ServiceError::Org(refusal @ OrgError::RefundAt { .. }) = error {
        details.add_bad_request_violation("at_ms", refusal.to_string());
    }
    if let ServiceError::Org(refusal @ OrgError::EndNotThen { .. }) = error {
        details.add_bad_request_violation("until_ms", refusal.to_string());
    }
    Status::with_error_details(code, error.to_string(), details)
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        to_status(&error)
    }
}

/// The same for one item of a batch or stream.
pub fn to_item(error: &ServiceError) -> ItemError {
    let (code, mut reason, _) = row(error);
    if let ServiceError::Relayed(relayed) = error {
        reason = &relayed.reason;
    }
    ItemError { grpc_code: code as i32, reason: reason.into(), message: error.to_string() }
}

/// The same with its details, where one of many is the error of a whole call.
pub fn from_item(error: ItemError) -> Relayed {
    let ItemError { grpc_code, reason, message } = error;
    let details = of_reason(Code::from_i32(grpc_code), &reason, &message).details().to_vec();
    Relayed { code: grpc_code, reason, message, details, leads_to: None }
}

/// Whether an error of this code is the fault of who answers, and not of who asks: as spans of gRPC servers have it by the semantic
/// conventions of OpenTelemetry.
pub fn is_of_server(code: i32) -> bool {
    matches!(
        Code::from_i32(code),
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// Whether it is about what the call names: an org or a scope that there cannot be, or that its caller may not reach, or the id of
/// another call.
pub fn is_of_names(error: &ItemError) -> bool {
    let is_of_id = error.reason.starts_with("REQUEST_ID_");
    is_of_id || matches!(Code::from_i32(error.grpc_code), Code::InvalidArgument | Code::PermissionDenied)
}

/// The same for another node, which hands it to its caller as it is.
pub fn to_peer(error: &ServiceError) -> peer::Error {
    let (status, item) = (to_status(error), to_item(error));
    peer::Error {
        code: item.grpc_code,
        reason: item.reason,
        message: item.message,
        leads_to: if let ServiceError::LeadsTo(org) = error { org.to_string() } else { String::new() },
        details: Bytes::copy_from_slice(status.details()),
    }
}

/// Details of an error that is in no row: nodes that do not understand each other.
pub fn details(code: Code, reason: &str, message: &str) -> Bytes {
    Bytes::copy_from_slice(of_reason(code, reason, message).details())
}

fn of_reason(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    Status::with_error_details(code, message, details)
}

/// The refusal of a request that was not read, or cannot be.
pub fn unreadable(code: Code, why: impl Into<String>) -> Status {
    of_reason(code, UNREADABLE, why)
}

/// The error of another node.
pub fn from_peer(error: peer::Error) -> Relayed {
    let peer::Error { code, reason, message, details, leads_to } = error;
    let leads_to = OrgId::parse("leads_to", &leads_to).ok();
    Relayed { code, reason, message, details: details.to_vec(), leads_to }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::InputError;

    #[test]
    fn bad_input_names_the_field_in_the_details() {
        let status = to_status(&ServiceError::Input(InputError::new("org", "a b", "letters")));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, "org");
    }

    #[test]
    fn an_error_of_another_node_is_the_same_as_one_of_this_node() {
        for error in [
            ServiceError::Input(InputError::new("org", "a b", "letters")),
            ServiceError::OrgBusy { most: 1 },
            ServiceError::OtherOrg,
            ServiceError::OwnerUnreachable { is_sent: true },
        ] {
            let relayed = ServiceError::Relayed(Box::new(from_peer(to_peer(&error))));
            let (own, other) = (to_status(&error), to_status(&relayed));
            assert_eq!((own.code(), own.message(), own.details()), (other.code(), other.message(), other.details()));
            assert_eq!(to_item(&error), to_item(&relayed));
            assert_eq!(to_peer(&error), to_peer(&relayed), "over two nodes as well");
            assert_eq!(reason(&relayed), "RELAYED");
        }
    }

    #[test]
    fn overload_is_not_a_quota_denial_and_says_when_to_retry() {
        let status = to_status(&ServiceError::OrgBusy { most: 1 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.get_error_details().retry_info().unwrap().retry_delay, Some(RETRY_SOON));
    }
}
