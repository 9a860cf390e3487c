//! What a refusal says: the limit, its value, and the key that moves it.

use std::fmt;

use super::OrgError;
use crate::{
    bounds::{Bound, HOUR_MS, SESSION_FORMER_LIVES},
    domain::{
        outcome::Settlement,
        window::{Millis, iso},
    },
};

impl fmt::Display for OrgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::RequestMemoryFull { most } => {
                return no_memory(f, most, "remembered request ids per org", Bound::request_ids_per_org);
            }
            Self::KeptIdsFull { most } => return kept_ids_full(f, *most),
            Self::RequestIdTooOld { made_at, known_from } => return too_old(f, *made_at, *known_from),
            Self::TooManyReservations { most } => return too_many_held(f, *most),
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
            Self::TooManyAccounts { most } => return at_most(f, most, "accounts per pool", Bound::accounts_per_pool),
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
            Self::AccountInOtherPool { index } => return in_other_pool(f, *index),
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
            Self::OrgUnknown => ORG_UNKNOWN,
            Self::TooManyNames { most } => return too_many_names(f, *most),
            Self::BeingPurged => BEING_PURGED,
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

const ORG_UNKNOWN: &str = "nothing is kept of this org, so there is nothing to rename";

const BEING_PURGED: &str = "the org was purged and its names are not free yet: PurgeOrg once more frees them";

const LIMIT_UNKNOWN: &str = "there is no limit of this name: GetOrg lists those of the org and of its scopes. An amount makes one, but for \
     balance, account and account/minute, and not in account/... and pool/...";

fn in_other_pool(f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
    write!(f, "accounts[{index}] is in another pool of this org; take it out of that one first")
}

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

fn too_many_held(f: &mut fmt::Formatter<'_>, most: u32) -> fmt::Result {
    at_most(f, most, "open reservations per org", Bound::reservations_per_org)
}

fn too_many_names(f: &mut fmt::Formatter<'_>, most: usize) -> fmt::Result {
    write!(
        f,
        "an org has at most {most} former names, and all of them lead to it for as long as it is there: rename it to \
         one of them"
    )
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
