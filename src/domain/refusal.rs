//! Why a command was refused, so that it changed nothing.

use std::fmt;

use super::{outcome::Settlement, window::Millis};
use crate::bounds::Bound;

/// None of these is a verdict about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgError {
    /// The request id was used with another body.
    RequestIdReused,
    /// No room for another request id, and none is old enough to give up.
    RequestMemoryFull {
        most: u32,
    },
    ReservationNotFound,
    ReservationSettled(Settlement),
    TooManyReservations {
        most: u32,
    },
    /// Longer than an operator lets a reservation hold, in milliseconds.
    ReservationTooLong {
        most: Millis,
    },
    /// Settlement may open more of them than admission.
    TooManyLedgers {
        most: usize,
    },
    TooManySources {
        most: u32,
    },
    TooManyDisputed,
    /// The budget was changed by somebody else.
    BudgetVersion {
        current: u64,
    },
    TooManyBudgets {
        most: u32,
    },
    TooManyExecutions {
        most: u32,
    },
    SessionUnknown,
    /// Running, or ended not long ago.
    SessionExists,
    OtherIdentity,
    TooManySessions {
        most: u32,
    },
    PoolUnknown,
    /// The pool was changed by somebody else.
    PoolVersion {
        current: u64,
    },
    /// The account at this place of the list.
    AccountInOtherPool {
        index: usize,
    },
    TooManyPools {
        most: u32,
    },
    TooManyAccounts {
        most: u32,
    },
}

impl fmt::Display for OrgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::RequestMemoryFull { most } => {
                at_most(f, most, "remembered request ids per org", Bound::request_ids_per_org)?;
                "; try again in a minute"
            }
            Self::TooManyReservations { most } => {
                return at_most(f, most, "open reservations per org", Bound::reservations_per_org);
            }
            Self::ReservationTooLong { most } => {
                at_most(f, most, "milliseconds per reservation", Bound::reservation_ttl_max_ms)?;
                "; ask for less and extend the reservation"
            }
            Self::TooManyLedgers { most } => {
                at_most(f, most, "pairs of scope and meter per org", Bound::ledgers_per_org)?;
                "; leave the scope empty, or name a known one"
            }
            Self::TooManySources { most } => {
                return at_most(f, most, "cumulative sources per org", Bound::sources_per_org);
            }
            Self::TooManyBudgets { most } => {
                return at_most(f, most, "scopes per org with a budget of their own", Bound::budgets_per_org);
            }
            Self::TooManySessions { most } => {
                at_most(f, most, "sessions per org", Bound::sessions_per_org)?;
                ", including those that ended within a day"
            }
            Self::TooManyExecutions { most } => {
                return at_most(f, most, "executions with counted continuations per org", Bound::executions_per_org);
            }
            Self::TooManyPools { most } => return at_most(f, most, "pools per org", Bound::pools_per_org),
            Self::TooManyAccounts { most } => {
                return at_most(f, most, "accounts per pool", Bound::accounts_per_pool);
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
            Self::RequestIdReused => "request_id was used before with another body; use a new one",
            Self::ReservationNotFound => "no such reservation, or it was settled more than a day ago",
            Self::ReservationSettled(Settlement::Committed) => "the reservation is already committed",
            Self::ReservationSettled(Settlement::Released) => "the reservation is already released",
            Self::ReservationSettled(Settlement::Expired) => {
                "the reservation has expired; book what was used with Record"
            }
            Self::TooManyDisputed => "this org has as many disputed entries as allowed; an operator must look",
            Self::SessionUnknown => "no such session, or it ended more than a day ago",
            Self::SessionExists => "this org has a session of that session_id; use a new one",
            Self::OtherIdentity => "identity is not the one that the session was started with",
            Self::PoolUnknown => "this org has no such pool; configure it first",
        };
        f.write_str(text)
    }
}

impl std::error::Error for OrgError {}

/// The value of a limit, what it limits, and the key an operator moves it with.
fn at_most(f: &mut fmt::Formatter<'_>, most: impl fmt::Display, what: &str, bound: Bound) -> fmt::Result {
    write!(f, "at most {most} {what} ({bound})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_lack_of_room_names_the_limit_its_value_and_its_key() {
        for (error, text) in [
            (
                OrgError::TooManySessions { most: 3 },
                "at most 3 sessions per org (bounds.sessions_per_org), including those that ended within a day",
            ),
            (
                OrgError::TooManyLedgers { most: 4 },
                "at most 4 pairs of scope and meter per org (bounds.ledgers_per_org); leave the scope empty, or name a \
                 known one",
            ),
            (OrgError::TooManyPools { most: 5 }, "at most 5 pools per org (bounds.pools_per_org)"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
