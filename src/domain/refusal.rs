//! Why a command was refused, so that it changed nothing.

mod text;

use super::{outcome::Settlement, window::Millis};

/// None of these is a verdict about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgError {
    /// The request id was used with another body.
    RequestIdReused,
    /// No room for another request id, and none is old enough to give up.
    RequestMemoryFull {
        /// How many an org may remember.
        most: u32,
    },
    /// No room for another request id of a durable call, and none is old enough to give up.
    KeptIdsFull {
        /// How much an org may keep, in bytes.
        most: u64,
    },
    /// The request id was made before everything that is remembered: what it named may be forgotten.
    RequestIdTooOld {
        /// When it was made, as it says itself.
        made_at: Millis,
        /// From then on every id is known.
        known_from: Millis,
    },
    /// No reservation has this id, or it was settled more than a day ago.
    ReservationNotFound,
    /// The reservation has ended, in this way.
    ReservationSettled(Settlement),
    /// The reservation has expired less than a day ago: it can be committed, and nothing else.
    ReservationExpired,
    /// The org has as many open reservations as it may.
    TooManyReservations {
        /// How many may be open.
        most: u32,
    },
    /// Late usage is not believed, in milliseconds since the epoch.
    OccurredAt {
        /// When it is said to have happened.
        given: Millis,
        /// The slices of usage are kept since then.
        oldest: Millis,
        /// From then on it would be in the future.
        latest: Millis,
    },
    /// Longer than an operator lets a reservation hold, in milliseconds.
    ReservationTooLong {
        /// The longest, in milliseconds.
        most: Millis,
    },
    /// The org counts as many meters as it may, and this one is new. Settlement may add more of them than
    /// admission.
    TooManyMeters {
        /// How many there may be.
        most: usize,
    },
    /// The pools of the org have as many ledgers as they may.
    TooManyLedgers {
        /// How many there may be.
        most: usize,
    },
    /// The org has as many cumulative sources as it may, and this one is new.
    TooManySources {
        /// How many there may be.
        most: u32,
    },
    /// The org has as many disputed entries as it may, and none may be dropped.
    TooManyDisputed,
    /// The budget was changed by somebody else.
    BudgetVersion {
        /// The version that the budget has.
        current: u64,
    },
    /// As many scopes as may have a budget have one.
    TooManyBudgets {
        /// How many scopes that is.
        most: u32,
    },
    /// As many executions as may have counted continuations have them.
    TooManyExecutions {
        /// How many executions that is.
        most: u32,
    },
    /// No session has this id, or it ended more than a day ago.
    SessionUnknown,
    /// A session of the id runs.
    SessionExists,
    /// The sessions that had the id within a day had as many lives as are remembered of one id.
    SessionIdWornOut,
    /// The id was used again since; the session that is meant has ended.
    SessionReplaced,
    /// The session was started with another identity.
    OtherIdentity,
    /// The org has as many sessions as it may, ended ones included.
    TooManySessions {
        /// How many there may be.
        most: u32,
    },
    /// The org has no pool of this id.
    PoolUnknown,
    /// The pool has no such account.
    AccountUnknown,
    /// The pool was changed by somebody else.
    PoolVersion {
        /// The version that the pool has; 0 = there is no such pool.
        current: u64,
    },
    /// The account at this place of the list.
    AccountInOtherPool {
        /// The place in the list, from 0.
        index: usize,
    },
    /// The org has as many pools as it may.
    TooManyPools {
        /// How many there may be.
        most: u32,
    },
    /// The override was changed by somebody else.
    OverrideVersion {
        /// The version that the override has; 0 = there never was one.
        current: u64,
    },
    /// As many things of the org are overridden as may be.
    TooManyOverrides {
        /// How many there may be.
        most: u32,
    },
    /// The scope does not have the limit, and what is to be set cannot make one.
    LimitUnknown,
    /// There is nothing that a grant could add to.
    NoGrant(NoGrant),
    /// The limit has no window that can be reset.
    NoReset(NoReset),
    /// The org has no grant of this number, or it ended so long ago that it is forgotten.
    GrantUnknown,
    /// The scope has as many limits as it may, and this one is new.
    TooManyLimits {
        /// How many there may be.
        most: usize,
    },
    /// What is to end at that time would have ended, or would not end within a lifetime.
    EndNotThen {
        /// When it is said to end.
        given: Millis,
        /// It has to be after this.
        after: Millis,
        /// And at this at the latest.
        latest: Millis,
    },
    /// Nothing is known of what the decision has charged.
    ChargeUnknown,
    /// What it has charged was given back before.
    ChargeRefunded {
        /// When that was.
        at: Millis,
    },
    /// The decision holds a reservation that is open.
    ChargeOpen,
    /// The decision began a session.
    ChargeOfSession,
    /// Usage is not given back at that time, in milliseconds since the epoch.
    RefundAt {
        /// When it is said to have been used.
        given: Millis,
        /// The slices of usage are kept since then.
        oldest: Millis,
        /// From then on it would be in the future.
        latest: Millis,
    },
    /// Nothing of what is named was used in the hour.
    NothingUsed {
        /// The start of the hour.
        hour: Millis,
    },
    /// Nothing is kept of the org that is to be renamed.
    OrgUnknown,
    /// The org has as many former names as it may.
    TooManyNames {
        /// How many there may be.
        most: usize,
    },
    /// The org was purged, and its names are not free yet.
    BeingPurged,
    /// The list has more accounts than a pool may have.
    TooManyAccounts {
        /// How many there may be.
        most: u32,
    },
}

/// Why the window of a limit is not reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReset {
    /// The scope has no limit of that name.
    NoLimit,
    /// It counts what is open, not what was used.
    Concurrent,
    /// What is over it is carried into the next window.
    Carries,
}

impl NoReset {
    const fn text(self) -> &'static str {
        match self {
            Self::NoLimit => "there is no limit of this name: GetOrg lists those of the org and of its scopes",
            Self::Concurrent => "this limit counts the sessions that run: nothing of it is used up; end a session",
            Self::Carries => {
                "usage over this limit is carried into its next window (overrun = \"carry\"), so it cannot be reset: grant \
                 more of it"
            }
        }
    }
}

/// Why nothing is granted on top of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoGrant {
    /// The scope has no limit of that name.
    NoLimit,
    /// It has no amount.
    Unlimited,
    /// It never denies.
    Shadow,
    /// No window of it ends by itself.
    NoWindow,
    /// It counts what runs at once, of which nothing is spent.
    Concurrent,
    /// What is over it is carried into its next window.
    Carries,
    /// It is judged by usage that other scopes share with its own.
    Shared,
}

impl NoGrant {
    const fn text(self) -> &'static str {
        match self {
            Self::NoLimit => "there is no limit of this name: GetOrg lists those of the org and of its scopes",
            Self::Unlimited => "nothing is granted on top of this limit: it is unlimited",
            Self::Shadow => "nothing is granted on top of this limit: it is in shadow and never denies",
            Self::NoWindow => {
                "this limit has no window that ends, so nothing is granted for one: give the grant for_ms or until_ms"
            }
            Self::Concurrent => {
                "this limit counts the sessions that run, so nothing granted on top of it is ever spent: give the grant \
                 for_ms or until_ms instead of until_spent"
            }
            Self::Carries => {
                "usage over this limit is carried into its next window (overrun = \"carry\") and would be paid for twice: \
                 give the grant for_ms or until_ms instead of until_spent"
            }
            Self::Shared => {
                "this scope is counted together with others (GetStatus names them in folded), which would spend its grant: \
                 give the grant for_ms or until_ms instead of until_spent"
            }
        }
    }
}

impl std::error::Error for OrgError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_not_believed_is_shown_with_what_is() {
        let error = OrgError::EndNotThen { given: 5_000, after: 1_795_392_000_000, latest: 1_795_392_001_000 };
        let text = "until_ms \"5000\" (1970-01-01T00:00:05Z) is not allowed: later than 1795392000000 (2026-11-23T00:00:00Z), \
                    up to 1795392001000 (2026-11-23T00:00:01Z)";
        assert_eq!(error.to_string(), text);
        assert!(OrgError::LimitUnknown.to_string().contains("GetOrg lists those"));
        let full = OrgError::TooManyOverrides { most: 2 }.to_string();
        assert_eq!(full, "at most 2 overrides per org (bounds.overrides_per_org)");
    }

    #[test]
    fn a_refusal_for_lack_of_room_names_the_limit_its_value_and_its_key() {
        for (error, text) in [
            (
                OrgError::TooManySessions { most: 3 },
                "at most 3 sessions per org (bounds.sessions_per_org), including those that ended within a day",
            ),
            (
                OrgError::TooManyLedgers { most: 4 },
                "at most 4 ledgers of accounts and pools per org (bounds.ledgers_per_org)",
            ),
            (OrgError::TooManyMeters { most: 4 }, "at most 4 meters per org (bounds.ledgers_per_org)"),
            (OrgError::TooManyPools { most: 5 }, "at most 5 pools per org (bounds.pools_per_org)"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
