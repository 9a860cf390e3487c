//! Every maximum in one place, with its reason.
//!
//! Constants are part of the contract and do not move. [`Bounds`] holds those that an operator may
//! move under `[bounds]`: each is one line of the `bounds!` table at the end of this file.

use std::fmt;

/// Longest org, scope, source, account or pool id in bytes. Keys carry the length in one byte.
pub const ID_BYTES: usize = 128;
/// Longest scope: `account/` and an id behind it.
pub const SCOPE_BYTES: usize = 8 + ID_BYTES;
/// Longest request id, execution id or incarnation in bytes.
pub const REQUEST_ID_BYTES: usize = 128;
/// Longest meter name in bytes.
pub const METER_BYTES: usize = 64;
/// Longest identity of a session in bytes.
pub const IDENTITY_BYTES: usize = 128;
/// Longest `plane` label and freeze reason.
pub const PLANE_BYTES: usize = 64;
/// Longest reason of a freeze in bytes.
pub const REASON_BYTES: usize = 256;
/// Largest single amount: 10^16 micro-USD is ten billion dollars, and 1800 of them fit in a u64.
pub const AMOUNT_MAX: u64 = 10_000_000_000_000_000;
/// Older forms of a budget are in cents.
pub const MICROS_PER_CENT: i64 = 10_000;
/// `spend` is counted in millionths of a dollar.
pub const MICROS_PER_DOLLAR: u64 = 1_000_000;
/// Meters named by one call.
pub const METERS_PER_CALL: usize = 16;
/// Scopes named by one call: each adds its limits to what one step judges.
pub const SCOPES_PER_CALL: usize = 8;
/// Limits on one org or scope.
pub const LIMITS_PER_SCOPE: usize = 32;

/// A second in milliseconds.
pub const SECOND_MS: u64 = 1_000;
/// A minute in milliseconds.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// An hour in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// A day of 24 hours in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Minute detail of the ledger is kept this long; the longest minute-sliced window is one hour.
pub const MINUTE_RETENTION_MS: u64 = 2 * HOUR_MS;
/// Hour slices outlive the longest window by this. How long that is follows from the table of periods,
/// in `domain/window.rs`.
pub const RETENTION_SLACK_MS: u64 = 4 * DAY_MS;

/// Request ids of plain Acquire and Resume are remembered this long, in milliseconds.
pub const SHORT_MEMORY_MS: u64 = 10 * MINUTE_MS;
/// Request ids of durable calls are remembered this long, in milliseconds.
pub const LONG_MEMORY_MS: u64 = DAY_MS;
/// A full memory gives up ids older than this; younger ones are still within a retry's reach.
pub const MEMORY_FLOOR_MS: u64 = MINUTE_MS;
const _: () = assert!(MEMORY_FLOOR_MS <= SHORT_MEMORY_MS && SHORT_MEMORY_MS <= LONG_MEMORY_MS);

/// What a pattern limits finds room up to this many times `ledgers_per_org`, and what really happened may add this
/// many times the meters that admission may.
pub const SETTLEMENT_LEDGERS: usize = 2;

/// Shortest time to live that a reservation may ask for, in milliseconds.
pub const RESERVATION_TTL_MIN_MS: u64 = SECOND_MS;
/// Time to live of a reservation that asks for none, in milliseconds.
pub const RESERVATION_TTL_DEFAULT_MS: u64 = 5 * MINUTE_MS;
/// Longest time to live that a reservation may ask for, in milliseconds.
pub const RESERVATION_TTL_MAX_MS: u64 = DAY_MS;
/// A Commit is taken so long after its reservation expired, in milliseconds.
pub const LATE_COMMIT_MS: u64 = DAY_MS;
/// Usage that is said to happen at most so many milliseconds from now happens now: clocks of callers differ.
pub const OCCURRED_AHEAD_MAX_MS: u64 = MINUTE_MS;
/// Largest session settings: an unheard session expires within a day.
pub const SESSION_SLICE_MAX_MS: u64 = DAY_MS;
/// Longest interval between heartbeats, in milliseconds.
pub const SESSION_HEARTBEAT_MAX_MS: u64 = HOUR_MS;
/// Most heartbeats that may be missed before the grace, at whose end a session expires.
pub const SESSION_MISSED_MAX: u64 = 23;
/// What is left of its first slice is a reservation until then.
const _: () = assert!(SESSION_MISSED_MAX * SESSION_HEARTBEAT_MAX_MS + SESSION_GRACE_MAX_MS <= RESERVATION_TTL_MAX_MS);
/// Longest time that a session gets to save and end after a stop, in milliseconds.
pub const SESSION_GRACE_MAX_MS: u64 = HOUR_MS;
/// An ended session is remembered this long, so that late and repeated words of it are understood.
pub const SESSION_MEMORY_MS: u64 = DAY_MS;
/// Lives of a session's machine whose totals are remembered.
pub const SESSION_LIVES: usize = 8;
/// Share of a quota from which on a session is warned, in percent, the lowest first.
pub const SESSION_WARN_PERCENT: [u64; 2] = [80, 95];
/// Longest time a route of an upstream account is avoided, and texts that speak of its quota.
pub const ROUTE_AVOIDED_MAX_MS: u64 = 30 * DAY_MS;
/// First pause of an account whose upstream asks to wait and names no time, in milliseconds. Each one doubles.
pub const LIMITED_PAUSE_MS: u64 = SECOND_MS;
/// Longest of these pauses, and how long after one the next still doubles, in milliseconds.
pub const LIMITED_PAUSE_MAX_MS: u64 = HOUR_MS;
/// Most texts that are configured as signs of a used-up quota.
pub const QUOTA_TEXTS: usize = 64;
/// Longest of these texts in bytes.
pub const QUOTA_TEXT_BYTES: usize = 128;
/// Calls before what a pool will transfer is estimated, and the least and most that one is taken for, in bytes.
pub const ESTIMATE_CALLS: u64 = 5;
/// Least and most that the average call of a pool is taken for in an estimate, in bytes.
pub const ESTIMATE_BYTES: (u64, u64) = (50_000, 500_000);
/// Continuation counts are kept this long after the last Resume, and executions that did not complete
/// this long after their admission.
pub const EXECUTION_RETENTION_MS: u64 = DAY_MS;
/// A counter outlives its window by this at least, so that a ledger slice cannot be counted twice for it.
pub const COUNTER_SLACK_MS: u64 = HOUR_MS;

/// A new outbox row that was not delivered with its commit is tried again after this.
pub const EXPORT_GRACE_MS: u64 = 30 * SECOND_MS;
/// Pause before the second attempt; doubles up to the maximum.
pub const EXPORT_BACKOFF_MS: u64 = SECOND_MS;
/// Longest pause between two attempts, in milliseconds.
pub const EXPORT_BACKOFF_MAX_MS: u64 = 10 * MINUTE_MS;
/// Attempts go on for this long: providers recognise repeats by their key for a day.
pub const EXPORT_RETRY_MS: u64 = 23 * HOUR_MS;
/// Rows handed out at a time.
pub const EXPORT_BATCH: usize = 64;
/// A row that was handed out is not handed out again before this, unless its outcome came.
pub const EXPORT_LEASE_MS: u64 = MINUTE_MS;

/// Calls to the billing provider about one org that may fail in a row before the next one waits.
pub const SPACING_FREE: u32 = 2;
/// How long it then waits; doubles with every further failure up to the maximum.
pub const SPACING_MS: u64 = 250;
/// The longest wait: an org whose trouble is over is noticed within this.
pub const SPACING_MAX_MS: u64 = 10 * SECOND_MS;
/// A row of failures is over after this long without another one.
pub const SPACING_MEMORY_MS: u64 = 10 * MINUTE_MS;
/// Orgs whose failures are counted; about any further one the provider is asked as if nothing had failed.
pub const SPACED_ORGS: usize = 10_000;

/// A forward jump of the wall clock up to this is followed at once.
pub const CLOCK_STEP_MS: u64 = 60 * SECOND_MS;
/// A larger one is followed when it has stood this long.
pub const CLOCK_PROOF_MS: u64 = HOUR_MS;
/// A stored mark further ahead of the wall than this refuses to start.
pub const CLOCK_AHEAD_MAX_MS: u64 = 25 * HOUR_MS;
/// The end of a lease is shown as before, while the wall clock and lease time differ by no more than this from what
/// they differed by then.
pub const CLOCK_SHOWN_MS: u64 = SECOND_MS;
/// After a reboot the time that passed is unknown: up to five weeks are believed.
pub const CLOCK_REBOOT_STEP_MS: u64 = 35 * DAY_MS;

/// A line of the log about an org is written once in this time, in milliseconds, and then with a count.
pub const LOG_WINDOW_MS: u64 = MINUTE_MS;
/// Lines without an org in that time, each: enough for an operator's work, and no flood.
pub const LOG_WITHOUT_ORG: u32 = 60;
/// Lines that are counted apart, by what they are about: a few hundred bytes each, and the most that callers who
/// invent names can make the log grow by in that time.
pub const LOG_LINES: usize = 4_096;

/// When a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// With the next call after a reload.
    Live,
    /// With the next start of the node.
    AtStart,
}

/// What the table says about one bound.
#[derive(Debug)]
struct Row {
    name: &'static str,
    doc: &'static str,
    default: u32,
    least: u32,
    most: u32,
    applies: Applies,
}

/// One line per bound, `name: default in least..=most, live | at_start;`, becomes a field of
/// [`Bounds`], its default, a variant of [`Bound`], its row, and a check that the default is in its
/// range.
macro_rules! bounds {
    (@applies live) => { Applies::Live };
    (@applies at_start) => { Applies::AtStart };
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $default:literal in $least:literal..=$most:literal, $applies:ident;
    )+) => {
        /// Maxima that an operator may move, under `[bounds]`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Bounds {
            $($(#[doc = $doc])+ pub $name: u32,)+
        }

        impl Default for Bounds {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Bounds {
            /// The value in force.
            pub fn get(&self, bound: Bound) -> u32 {
                match bound {
                    $(Bound::$name => self.$name,)+
                }
            }

            /// Sets one bound. The range of the bound is the caller's to check.
            pub fn set(&mut self, bound: Bound, value: u32) {
                match bound {
                    $(Bound::$name => self.$name = value,)+
                }
            }
        }

        /// The key of one field of [`Bounds`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(non_camel_case_types, reason = "a variant is spelled as its key")]
        pub enum Bound {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Bound {
            /// In the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => &Row {
                        name: stringify!($name),
                        doc: concat!($($doc,)+),
                        default: $default,
                        least: $least,
                        most: $most,
                        applies: bounds!(@applies $applies),
                    },)+
                }
            }
        }

        $(const _: () = assert!(
            Bound::$name.least() <= Bound::$name.default() && Bound::$name.default() <= Bound::$name.most(),
            concat!("the default of bounds.", stringify!($name), " is outside its range")
        );)+
    };
}

impl Bound {
    /// The key under `[bounds]`.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What it bounds, in one sentence.
    pub fn doc(self) -> &'static str {
        self.row().doc.trim()
    }

    /// The value where the configuration names none.
    pub const fn default(self) -> u32 {
        self.row().default
    }

    /// The smallest value that is allowed.
    pub const fn least(self) -> u32 {
        self.row().least
    }

    /// The largest value that is allowed.
    pub const fn most(self) -> u32 {
        self.row().most
    }

    /// Whether a change takes effect with a reload or with the next start.
    pub const fn applies(self) -> Applies {
        self.row().applies
    }
}

/// The path of the key: `bounds.idle_ms`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bounds.{}", self.name())
    }
}

bounds! {
    /// Calls of one org in flight, per lane (admission, settlement).
    org_in_flight: 1_024 in 1..=65_536, live;
    /// Calls in flight on this node, per lane (admission, settlement).
    node_in_flight: 65_536 in 1..=1_000_000, live;
    /// Items of one batch.
    batch_items: 1_000 in 1..=10_000, live;
    /// Bytes of one gRPC message.
    message_bytes: 1_048_576 in 4_096..=67_108_864, at_start;
    /// Streams and unary requests in flight per connection.
    streams_per_connection: 1_024 in 1..=65_536, at_start;
    /// Open connections.
    connections: 10_000 in 1..=1_000_000, at_start;
    /// Age at which a connection is asked to close, ±10 %.
    connection_age_ms: 1_800_000 in 1_000..=86_400_000, at_start;
    /// Total time for one decision.
    decision_budget_ms: 2_500 in 100..=60_000, live;
    /// Time after which the rate backstop is indeterminate.
    rate_budget_ms: 250 in 10..=60_000, live;
    /// Time from NOT_SERVING to the end of settlement on SIGTERM, for load balancers to notice.
    drain_notice_ms: 1_000 in 0..=600_000, live;
    /// Time after that for the calls that are still in flight.
    drain_ms: 20_000 in 0..=600_000, live;
    /// Time between a store fault and the exit.
    store_fault_grace_ms: 5_000 in 0..=600_000, live;
    /// Age of the oldest unanswered commit group from which on health is NOT_SERVING, until it is answered.
    store_stall_ms: 2_000 in 100..=600_000, live;
    /// Time without calls after which an org leaves memory.
    idle_ms: 60_000 in 100..=86_400_000, live;
    /// Request ids of plain Acquires and Resumes per org, remembered in memory for ten minutes.
    request_ids_per_org: 100_000 in 1..=10_000_000, live;
    /// Bytes of request ids of durable calls per org, remembered on disk for 24 hours; past it the oldest go
    /// first. An id of 26 characters takes some 105 bytes.
    request_id_bytes_per_org: 4_000_000_000 in 65_536..=4_294_967_295, live;
    /// Open reservations per org.
    reservations_per_org: 10_000 in 1..=1_000_000, live;
    /// Bytes of reservations per org that expired within a day and can still be committed; past it the oldest is
    /// forgotten. 16 MiB are some 80 000 of them.
    expired_reservation_bytes_per_org: 16_777_216 in 4_096..=1_073_741_824, live;
    /// Ledgers (pairs of scope and meter) of the scopes of an org, past which new scopes share one; twice as many
    /// for scopes that a pattern limits. As many meters of the org itself, and twice as many by settlement.
    ledgers_per_org: 10_000 in 1..=1_000_000, live;
    /// Longest time that a reservation holds without an Extend.
    reservation_ttl_max_ms: 86_400_000 in 1_000..=86_400_000, live;
    /// Largest part of a limit that one reservation may hold, in percent.
    reservation_share_percent: 100 in 1..=100, live;
    /// Budgets set at run time per org, one for each scope.
    budgets_per_org: 10_000 in 1..=1_000_000, live;
    /// Sessions per org, including those that ended within the last day.
    sessions_per_org: 10_000 in 1..=1_000_000, live;
    /// Pools of upstream accounts per org.
    pools_per_org: 100 in 1..=10_000, live;
    /// Upstream accounts per pool; every pick examines each of them.
    accounts_per_pool: 1_000 in 1..=10_000, live;
    /// Cumulative sources per org.
    sources_per_org: 10_000 in 1..=1_000_000, live;
    /// Executions with counted continuations per org.
    executions_per_org: 10_000 in 1..=1_000_000, live;
    /// Rows of usage per org that wait for the billing provider.
    exports_per_org: 100_000 in 1..=10_000_000, live;
    /// Orgs whose balance and exemption are remembered.
    billing_orgs: 10_000 in 1..=10_000_000, at_start;
    /// Requests to the billing provider in flight.
    billing_in_flight: 256 in 1..=65_536, at_start;
    /// Callers that wait for the billing provider.
    billing_waiting: 65_536 in 1..=1_000_000, at_start;
    /// Orgs that the emergency cap counts one by one; further orgs share one count.
    emergency_orgs: 10_000 in 1..=1_000_000, live;
    /// Continuations of one execution from which on it is logged as unusual.
    continuation_alarm: 100 in 1..=1_000_000, live;
}

/// What clients may ask for, whatever an operator allows.
const _: () = assert!(Bound::reservation_ttl_max_ms.most() as u64 == RESERVATION_TTL_MAX_MS);
/// A disk that hangs is noticed before the first decision that waits for it runs out of time.
const _: () = assert!(Bound::store_stall_ms.default() <= Bound::decision_budget_ms.default());
/// A decision leaves the backstop its time.
const _: () = assert!(Bound::rate_budget_ms.default() < Bound::decision_budget_ms.default());
