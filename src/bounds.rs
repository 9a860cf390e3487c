//! Every maximum in one place, with its reason.
//!
//! The constants of `fixed.rs` are part of the contract and do not move. [`Bounds`] holds those that an operator may
//! move under `[bounds]`: each is one line of the `bounds!` table at the end of this file.

mod fixed;

use std::fmt;

pub use fixed::*;

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
    /// Mean wait of calls for their turn on a processor, from which on, once it has stood for 100 ms, connections that
    /// flood are read only where there is room.
    turn_wait_us: 250 in 0..=10_000_000, live;
    /// Calls at work, for each core, that there is room for at least while calls wait too long.
    busy_calls_per_core: 8 in 1..=65_536, live;
    /// Items of one batch.
    batch_items: 1_000 in 1..=10_000, live;
    /// Bytes of one gRPC message.
    message_bytes: 1_048_576 in 4_096..=67_108_864, at_start;
    /// Streams and unary requests in flight per connection.
    streams_per_connection: 100 in 1..=65_536, at_start;
    /// Open connections of the gRPC port.
    connections: 10_000 in 1..=1_000_000, at_start;
    /// Open connections of the HTTP port.
    http_connections: 256 in 1..=1_000_000, at_start;
    /// Open connections from one address (IPv6: one network of 64 bits), on each port; more are closed at once.
    connections_per_address: 2_000 in 1..=1_000_000, at_start;
    /// Time without a request after which a connection is asked to close.
    connection_idle_ms: 60_000 in 1_000..=86_400_000, at_start;
    /// Time for a request to arrive: each of its messages, and its headers on the HTTP port.
    request_ms: 10_000 in 100..=600_000, at_start;
    /// Time in which a caller has to take an answer; past it the connection is cut, at the latest after twice as long.
    answer_ms: 30_000 in 100..=600_000, at_start;
    /// Bytes of requests that have not arrived whole, on all connections together.
    unread_bytes: 67_108_864 in 1_048_576..=2_147_483_647, at_start;
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
    /// Orgs in memory, some 13 KB each; past it the idlest leave early. An eighth is kept for settlement.
    resident_orgs: 20_000 in 16..=10_000_000, live;
    /// Orgs within a minute of which nothing was stored before; those with a section of their own are not counted.
    new_orgs_per_minute: 10_000 in 1..=10_000_000, live;
    /// As many of them by one caller.
    new_orgs_per_caller: 5_000 in 1..=10_000_000, live;
    /// Bytes free on the disk of the data directory, below which nothing new is admitted.
    disk_headroom_bytes: 536_870_912 in 0..=4_294_967_295, live;
    /// The same as a part of that disk, in percent: the smaller one of the two decides.
    disk_headroom_percent: 10 in 0..=100, live;
    /// Time within which the bytes of a purged org leave the files of the data directory; they are compacted after half of it.
    purged_within_ms: 86_400_000 in 1_000..=2_592_000_000, live;
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
    /// Overrides per org at a time, one for each limit of a scope; each is compared with the limits of its scope when one
    /// of them changes.
    overrides_per_org: 1_000 in 1..=100_000, live;
    /// Sessions per org, including those that ended within the last day.
    sessions_per_org: 10_000 in 1..=1_000_000, live;
    /// Rows of denials per org, some 400 bytes each, in memory with the org; past it the oldest goes. 0 = none is kept.
    denials_per_org: 1_000 in 0..=100_000, live;
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
    /// Events per org, without those of operators, for a week; past it the oldest go first. They are in memory with
    /// their org, some 300 bytes each.
    events_per_org: 200 in 1..=100_000, live;
    /// Events of operators per org, for 400 days; past it the oldest go first.
    operator_events_per_org: 200 in 1..=100_000, live;
    /// Streams of events (WatchEvents) that are open on this node; each has a page of events in
    /// memory at most.
    watches: 1_000 in 0..=100_000, live;
    /// The same of one caller.
    watches_per_caller: 100 in 0..=100_000, live;
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
