//! Why a command was refused, so that it changed nothing.

use std::fmt;

use super::{
    outcome::Settlement,
    window::{Millis, iso},
};
use crate::bounds::{Bound, HOUR_MS, SESSION_FORMER_LIVES};

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
        }
    }
}

impl fmt::Display for OrgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::RequestMemoryFull { most } => {
                return no_memory(f, most, "remembered request ids per org", Bound::request_ids_per_org);
            }
            Self::KeptIdsFull { most } => return kept_ids_full(f, *most),
            Self::RequestIdTooOld { made_at, known_from } => return too_old(f, *made_at, *known_from),
            Self::TooManyReservations { most } => {
                return at_most(f, most, "open reservations per org", Bound::reservations_per_org);
            }
            Self::ReservationTooLong { most } => {
                at_most(f, most, "milliseconds per reservation", Bound::reservation_ttl_max_ms)?;
                "; ask for less and extend the reservation"
            }
            Self::TooManyLedgers { most } => {
                return at_most(f, most, "ledgers of accounts and pools per org", Bound::ledgers_per_org);
            }
            Self::TooManyMeters { most } => return at_most(f, most, "meters per org", Bound::ledgers_per_org),
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
            Self::OccurredAt { given, oldest, latest } => return not_then(f, [*given, *oldest, *latest]),
            Self::ChargeUnknown => CHARGE_UNKNOWN,
            Self::ChargeRefunded { at } => return refunded(f, *at),
            Self::ChargeOpen => "decision_id has a reservation that is open: Release gives back what it holds",
            Self::ChargeOfSession => CHARGE_OF_SESSION,
            Self::RefundAt { given, oldest, latest } => return not_used_then(f, [*given, *oldest, *latest]),
            Self::NothingUsed { hour } => return nothing_used(f, *hour),
            Self::OverrideVersion { current } => return other_version(f, "override", *current),
            Self::TooManyOverrides { most } => return at_most(f, most, "overrides per org", Bound::overrides_per_org),
            Self::TooManyLimits { most } => return write!(f, "at most {most} limits on one org or scope"),
            Self::EndNotThen { given, after, latest } => return not_its_end(f, [*given, *after, *latest]),
            Self::LimitUnknown => LIMIT_UNKNOWN,
            Self::NoGrant(why) => why.text(),
            Self::GrantUnknown => GRANT_UNKNOWN,
            Self::NoReset(why) => why.text(),
            Self::BudgetVersion { current } => return other_version(f, "budget", *current),
            Self::PoolVersion { current } => return other_version(f, "pool", *current),
            Self::AccountInOtherPool { index } => {
                return write!(f, "accounts[{index}] is in another pool of this org; take it out of that one first");
            }
            Self::RequestIdReused => "request_id was used before with another body; use a new one",
            Self::ReservationNotFound => "no such reservation, or it was settled more than a day ago",
            Self::ReservationSettled(Settlement::Committed) => "the reservation is already committed",
            Self::ReservationSettled(Settlement::Released) => "the reservation is already released",
            Self::ReservationSettled(Settlement::Refunded) => RESERVATION_REFUNDED,
            Self::ReservationExpired => RESERVATION_EXPIRED,
            Self::ReservationSettled(Settlement::Expired) => RESERVATION_ENDED,
            Self::TooManyDisputed => "this org has as many disputed entries as allowed; an operator must look",
            Self::SessionUnknown => "no such session, or it ended more than a day ago",
            Self::SessionExists => "a session of that session_id runs; end it first, or use another id",
            Self::SessionIdWornOut => return worn_out(f),
            Self::SessionReplaced => SESSION_REPLACED,
            Self::OtherIdentity => "identity is not the one that the session was started with",
            Self::PoolUnknown => "this org has no such pool; configure it first",
            Self::AccountUnknown => "the pool has no such account",
        };
        f.write_str(text)
    }
}

const RESERVATION_EXPIRED: &str =
    "the reservation has expired and holds nothing; a Commit within 24 hours of that still records what was used";

const RESERVATION_ENDED: &str = "the reservation has expired; book what was used with Record";

const RESERVATION_REFUNDED: &str =
    "what this decision has charged was given back; book what was used since with Record";

const CHARGE_UNKNOWN: &str = "nothing is known of what decision_id has charged: it is kept for 24 hours after a \
                              Commit or a Release, and for two minutes in the memory of the node that decided \
                              where nothing was reserved. Name amounts, scopes and at_ms in its place";

const CHARGE_OF_SESSION: &str = "decision_id began a session, which books its compute as it goes: name the amount \
                                 of compute, the scopes and at_ms in its place";

const SESSION_REPLACED: &str = "the session has ended and its session_id was used again: end what still reports for it, and \
                                start under a new incarnation";

const GRANT_UNKNOWN: &str =
    "no grant of this org has this number, or it ended long ago: ListOverrides shows the numbers";

const LIMIT_UNKNOWN: &str = "there is no limit of this name: GetOrg lists those of the org and of its scopes. An amount makes one, but for \
     balance, account and account/minute, and not in account/... and pool/...";

impl std::error::Error for OrgError {}

fn other_version(f: &mut fmt::Formatter<'_>, what: &str, current: u64) -> fmt::Result {
    write!(f, "the {what} has version {current}, not expected_version; read it again")
}

/// A time of late usage that is not believed, and the oldest and the latest that are.
fn not_then(f: &mut fmt::Formatter<'_>, times: [Millis; 3]) -> fmt::Result {
    not_kept_then(f, "occurred_at_ms", times)
}

/// The same of usage that is to be given back.
fn not_used_then(f: &mut fmt::Formatter<'_>, times: [Millis; 3]) -> fmt::Result {
    not_kept_then(f, "at_ms", times)
}

fn refunded(f: &mut fmt::Formatter<'_>, at: Millis) -> fmt::Result {
    write!(f, "what decision_id has charged was given back at {}", iso(at))
}

fn nothing_used(f: &mut fmt::Formatter<'_>, hour: Millis) -> fmt::Result {
    let (from, to) = (iso(hour), iso(hour.saturating_add(HOUR_MS)));
    write!(
        f,
        "nothing of it was used in all of these scopes from {from} to {to}, so nothing is given back. Usage is given \
         back in the hour of at_ms: name the time at which it was charged, and the scopes that the charge named"
    )
}

fn not_kept_then(f: &mut fmt::Formatter<'_>, field: &str, times: [Millis; 3]) -> fmt::Result {
    let [given, oldest, latest] = times;
    let [said, from, to] = times.map(iso);
    write!(
        f,
        "{field} \"{given}\" ({said}) is not allowed: from {oldest} ({from}), for as long as usage is kept in \
         slices, to {latest} ({to}), or 0 for now"
    )
}

/// A time at which something should end by itself, and between which times that may be.
fn not_its_end(f: &mut fmt::Formatter<'_>, times: [Millis; 3]) -> fmt::Result {
    let [given, after, latest] = times;
    let [said, from, to] = times.map(iso);
    write!(f, "until_ms \"{given}\" ({said}) is not allowed: later than {after} ({from}), up to {latest} ({to})")
}

/// The value of a limit, what it limits, and the key an operator moves it with.
fn at_most(f: &mut fmt::Formatter<'_>, most: impl fmt::Display, what: &str, bound: Bound) -> fmt::Result {
    write!(f, "at most {most} {what} ({bound})")
}

fn no_memory(f: &mut fmt::Formatter<'_>, most: impl fmt::Display, what: &str, bound: Bound) -> fmt::Result {
    at_most(f, most, what, bound)?;
    f.write_str("; try again in a minute")
}

fn kept_ids_full(f: &mut fmt::Formatter<'_>, most: u64) -> fmt::Result {
    no_memory(f, most, "bytes of remembered request ids per org", Bound::request_id_bytes_per_org)
}

fn worn_out(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "session_id was used again too often: its sessions of the last 24 hours had {SESSION_FORMER_LIVES} incarnations, \
         which are all that are remembered of one id; use another id"
    )
}

fn too_old(f: &mut fmt::Formatter<'_>, made_at: Millis, known_from: Millis) -> fmt::Result {
    let (made_at, known_from) = (iso(made_at), iso(known_from));
    write!(
        f,
        "request_id was made at {made_at}, and ids of this org are remembered from {known_from} on: whether this call \
         was carried out before is not known, and it was not carried out now. Find out what became of it; if nothing \
         did, make the call with a new request_id"
    )
}

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
