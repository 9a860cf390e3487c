//! Why a command was refused, so that it changed nothing.

use std::fmt;

use super::{outcome::Settlement, window::Millis};

/// None of these is a verdict about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgError {
    /// The request id was used with another body.
    RequestIdReused,
    /// No room for another request id, and none is old enough to give up.
    RequestMemoryFull,
    ReservationNotFound,
    ReservationSettled(Settlement),
    TooManyReservations,
    /// Longer than an operator lets a reservation hold, in milliseconds.
    ReservationTooLong {
        most: Millis,
    },
    TooManyLedgers,
    TooManySources,
    TooManyDisputed,
    /// The budget was changed by somebody else.
    BudgetVersion {
        current: u64,
    },
    TooManyBudgets,
    TooManyExecutions,
    SessionUnknown,
    /// Running, or ended not long ago.
    SessionExists,
    OtherIdentity,
    TooManySessions,
    PoolUnknown,
    /// The pool was changed by somebody else.
    PoolVersion {
        current: u64,
    },
    /// The account at this place of the list.
    AccountInOtherPool {
        index: usize,
    },
    TooManyPools,
    TooManyAccounts {
        most: u32,
    },
}

impl fmt::Display for OrgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservationTooLong { most } => {
                return write!(f, "a reservation may hold for at most {most} milliseconds; ask for less and extend it");
            }
            Self::BudgetVersion { current } => {
                return write!(f, "the budget has version {current}, not expected_version; read it again");
            }
            Self::PoolVersion { current } => {
                return write!(f, "the pool has version {current}, not expected_version; read it again");
            }
            Self::AccountInOtherPool { index } => {
                return write!(f, "accounts[{index}] is in another pool of this org; take it out of that one first");
            }
            Self::TooManyAccounts { most } => return write!(f, "a pool has at most {most} accounts"),
            Self::RequestIdReused => "request_id was used before with another body; use a new one",
            Self::RequestMemoryFull => "this org remembers as many request ids as allowed; try again in a minute",
            Self::ReservationNotFound => "no such reservation, or it was settled more than a day ago",
            Self::ReservationSettled(Settlement::Committed) => "the reservation is already committed",
            Self::ReservationSettled(Settlement::Released) => "the reservation is already released",
            Self::ReservationSettled(Settlement::Expired) => {
                "the reservation has expired; book what was used with Record"
            }
            Self::TooManyReservations => "this org has as many open reservations as allowed",
            Self::TooManyLedgers => {
                "this org has as many pairs of scope and meter as allowed; leave the scope empty, or name a known one"
            }
            Self::TooManySources => "this org has as many cumulative sources as allowed",
            Self::TooManyDisputed => "this org has as many disputed entries as allowed; an operator must look",
            Self::TooManyBudgets => "this org has budgets of its own on as many scopes as allowed",
            Self::TooManyExecutions => "this org has as many executions with counted continuations as allowed",
            Self::SessionUnknown => "no such session, or it ended more than a day ago",
            Self::SessionExists => "this org has a session of that session_id; use a new one",
            Self::OtherIdentity => "identity is not the one that the session was started with",
            Self::PoolUnknown => "this org has no such pool; configure it first",
            Self::TooManyPools => "this org has as many pools as allowed",
            Self::TooManySessions => "this org has as many sessions as allowed, those included that ended today",
        })
    }
}

impl std::error::Error for OrgError {}
