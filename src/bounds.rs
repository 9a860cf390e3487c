//! Every maximum in one place, with its reason.
//!
//! Constants are part of the contract and do not move; the fields of [`Bounds`] may be moved by an
//! operator under `[bounds]`.

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
pub const REASON_BYTES: usize = 256;
/// Largest single amount: 10^16 micro-USD is ten billion dollars, and 1800 of them fit in a u64.
pub const AMOUNT_MAX: u64 = 10_000_000_000_000_000;
/// Older forms of a budget are in cents.
pub const MICROS_PER_CENT: i64 = 10_000;
/// `spend` is counted in millionths of a dollar.
pub const MICROS_PER_DOLLAR: u64 = 1_000_000;
/// Meters named by one call.
pub const METERS_PER_CALL: usize = 16;
/// Limits on one org or scope.
pub const LIMITS_PER_SCOPE: usize = 32;

pub const SECOND_MS: u64 = 1_000;
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Minute detail of the ledger is kept this long; the longest minute-sliced window is one hour.
pub const MINUTE_RETENTION_MS: u64 = 2 * HOUR_MS;
/// Hour slices outlive the longest window by this. How long that is follows from the table of periods,
/// in `domain/window.rs`.
pub const RETENTION_SLACK_MS: u64 = 4 * DAY_MS;

/// Request ids of plain Acquire and Resume are remembered this long; those of durable calls, a day.
pub const SHORT_MEMORY_MS: u64 = 10 * MINUTE_MS;
pub const LONG_MEMORY_MS: u64 = DAY_MS;
/// A full memory gives up ids older than this; younger ones are still within a retry's reach.
pub const MEMORY_FLOOR_MS: u64 = MINUTE_MS;
const _: () = assert!(MEMORY_FLOOR_MS <= SHORT_MEMORY_MS && SHORT_MEMORY_MS <= LONG_MEMORY_MS);

/// What really happened may open this many times the ledgers that admission may.
pub const SETTLEMENT_LEDGERS: usize = 2;

pub const RESERVATION_TTL_MIN_MS: u64 = SECOND_MS;
pub const RESERVATION_TTL_DEFAULT_MS: u64 = 5 * MINUTE_MS;
pub const RESERVATION_TTL_MAX_MS: u64 = DAY_MS;
/// Largest session settings: an unheard session expires within a day.
pub const SESSION_SLICE_MAX_MS: u64 = DAY_MS;
pub const SESSION_HEARTBEAT_MAX_MS: u64 = HOUR_MS;
pub const SESSION_MISSED_MAX: u64 = 23;
/// What is left of its first slice is a reservation until then.
const _: () = assert!(SESSION_MISSED_MAX * SESSION_HEARTBEAT_MAX_MS + SESSION_GRACE_MAX_MS <= RESERVATION_TTL_MAX_MS);
pub const SESSION_GRACE_MAX_MS: u64 = HOUR_MS;
/// An ended session is remembered this long, so that late and repeated words of it are understood.
pub const SESSION_MEMORY_MS: u64 = DAY_MS;
/// Lives of a session's machine whose totals are remembered.
pub const SESSION_LIVES: usize = 8;
/// Share of a quota from which on a session is warned, in percent, the lowest first.
pub const SESSION_WARN_PERCENT: [u64; 2] = [80, 95];
/// Longest time a route of an upstream account is avoided, and texts that speak of its quota.
pub const ROUTE_AVOIDED_MAX_MS: u64 = 30 * DAY_MS;
pub const QUOTA_TEXTS: usize = 64;
pub const QUOTA_TEXT_BYTES: usize = 128;
/// Calls before what a pool will transfer is estimated, and the least and most that one is taken for, in bytes.
pub const ESTIMATE_CALLS: u64 = 5;
pub const ESTIMATE_BYTES: (u64, u64) = (50_000, 500_000);
/// Continuation counts are kept this long after the last Resume, and executions that did not complete
/// this long after their admission.
pub const EXECUTION_RETENTION_MS: u64 = DAY_MS;
/// A counter outlives its window by this at least, so that a ledger slice can not be counted twice for it.
pub const COUNTER_SLACK_MS: u64 = HOUR_MS;

/// A new outbox row that was not delivered with its commit is looked at again after this.
pub const EXPORT_GRACE_MS: u64 = 30 * SECOND_MS;
/// Pause before the second attempt; doubles up to the maximum.
pub const EXPORT_BACKOFF_MS: u64 = SECOND_MS;
pub const EXPORT_BACKOFF_MAX_MS: u64 = 10 * MINUTE_MS;
/// Attempts go on for this long: providers tell repeats by their key for a day.
pub const EXPORT_RETRY_MS: u64 = 23 * HOUR_MS;
/// Rows handed out at a time.
pub const EXPORT_BATCH: usize = 64;
/// A row that was handed out is not handed out again before this, unless its outcome came.
pub const EXPORT_LEASE_MS: u64 = MINUTE_MS;

/// A forward jump of the wall clock up to this is followed at once.
pub const CLOCK_STEP_MS: u64 = 60 * SECOND_MS;
/// A larger one is followed when it has stood this long.
pub const CLOCK_PROOF_MS: u64 = HOUR_MS;
/// A stored mark further ahead of the wall than this refuses to start.
pub const CLOCK_AHEAD_MAX_MS: u64 = 25 * HOUR_MS;
/// After a reboot the time that passed is unknown: up to five weeks are believed.
pub const CLOCK_REBOOT_STEP_MS: u64 = 35 * DAY_MS;

/// Maxima an operator may move, under `[bounds]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Calls of one org in flight, per lane (admission, settlement).
    pub org_in_flight: u32,
    /// Calls in flight on this node, per lane.
    pub node_in_flight: u32,
    /// Items of one batch.
    pub batch_items: u32,
    /// Bytes of one gRPC message.
    pub message_bytes: u32,
    /// Streams, and requests at once, per connection.
    pub streams_per_connection: u32,
    /// Connections.
    pub connections: u32,
    /// A connection is asked to go away after this, ±10 %.
    pub connection_age_ms: u32,
    /// Total time for one decision.
    pub decision_budget_ms: u32,
    /// Time the rate backstop may take before it is indeterminate.
    pub rate_budget_ms: u32,
    /// From NOT_SERVING to the end of settlement on SIGTERM, for load balancers to notice.
    pub drain_notice_ms: u32,
    /// Time that what is in flight after that may take.
    pub drain_ms: u32,
    /// Time between a store fault and the exit.
    pub store_fault_grace_ms: u32,
    /// An org's actor without calls for this long leaves memory.
    pub idle_ms: u32,
    /// Remembered request ids per org.
    pub request_ids_per_org: u32,
    /// Open reservations per org.
    pub reservations_per_org: u32,
    /// Ledgers (pairs of scope and meter) per org that admission may open; settlement may open
    /// [`SETTLEMENT_LEDGERS`] times as many.
    pub ledgers_per_org: u32,
    /// Longest time a reservation may hold without an Extend.
    pub reservation_ttl_max_ms: u32,
    /// Largest part of a limit that one reservation may hold, in percent.
    pub reservation_share_percent: u32,
    /// Budgets set at run time per org, one for each scope.
    pub budgets_per_org: u32,
    /// Sessions per org, those included that ended within the last day.
    pub sessions_per_org: u32,
    /// Pools of upstream accounts per org, and accounts in one of them: every pick looks at each.
    pub pools_per_org: u32,
    pub accounts_per_pool: u32,
    /// Cumulative sources per org.
    pub sources_per_org: u32,
    /// Executions with counted continuations per org.
    pub executions_per_org: u32,
    /// Usage waiting for the billing provider, per org, in rows.
    pub exports_per_org: u32,
    /// Balances and exemptions remembered, in orgs.
    pub billing_orgs: u32,
    /// Questions to the billing provider at once, and callers that wait for one.
    pub billing_in_flight: u32,
    pub billing_waiting: u32,
    /// Orgs counted by the emergency cap.
    pub emergency_orgs: u32,
    /// Continuations of one execution from which on it is logged as unusual.
    pub continuation_alarm: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            org_in_flight: 1024,
            node_in_flight: 65_536,
            batch_items: 1000,
            message_bytes: 1 << 20,
            streams_per_connection: 1024,
            connections: 10_000,
            connection_age_ms: 1_800_000,
            decision_budget_ms: 2_500,
            rate_budget_ms: 250,
            drain_notice_ms: 1_000,
            drain_ms: 20_000,
            store_fault_grace_ms: 5_000,
            idle_ms: 60_000,
            request_ids_per_org: 100_000,
            reservations_per_org: 10_000,
            ledgers_per_org: 10_000,
            reservation_ttl_max_ms: 86_400_000,
            reservation_share_percent: 100,
            budgets_per_org: 10_000,
            sessions_per_org: 10_000,
            pools_per_org: 100,
            accounts_per_pool: 1_000,
            sources_per_org: 10_000,
            executions_per_org: 10_000,
            exports_per_org: 100_000,
            billing_orgs: 10_000,
            billing_in_flight: 256,
            billing_waiting: 65_536,
            emergency_orgs: 10_000,
            continuation_alarm: 100,
        }
    }
}

/// Name and allowed range of every field of [`Bounds`], the one table behind configuration, reload
/// and the admin view.
pub const FIELDS: [(&str, Accessor, u32, u32); 30] = [
    ("org_in_flight", |b| &mut b.org_in_flight, 1, 65_536),
    ("node_in_flight", |b| &mut b.node_in_flight, 1, 1_000_000),
    ("batch_items", |b| &mut b.batch_items, 1, 10_000),
    ("message_bytes", |b| &mut b.message_bytes, 4_096, 64 << 20),
    ("streams_per_connection", |b| &mut b.streams_per_connection, 1, 65_536),
    ("connections", |b| &mut b.connections, 1, 1_000_000),
    ("connection_age_ms", |b| &mut b.connection_age_ms, 1_000, 86_400_000),
    ("decision_budget_ms", |b| &mut b.decision_budget_ms, 100, 60_000),
    ("rate_budget_ms", |b| &mut b.rate_budget_ms, 10, 60_000),
    ("drain_notice_ms", |b| &mut b.drain_notice_ms, 0, 600_000),
    ("drain_ms", |b| &mut b.drain_ms, 0, 600_000),
    ("store_fault_grace_ms", |b| &mut b.store_fault_grace_ms, 0, 600_000),
    ("idle_ms", |b| &mut b.idle_ms, 100, 86_400_000),
    ("request_ids_per_org", |b| &mut b.request_ids_per_org, 1, 10_000_000),
    ("reservations_per_org", |b| &mut b.reservations_per_org, 1, 1_000_000),
    ("ledgers_per_org", |b| &mut b.ledgers_per_org, 1, 1_000_000),
    ("reservation_ttl_max_ms", |b| &mut b.reservation_ttl_max_ms, 1_000, 86_400_000),
    ("reservation_share_percent", |b| &mut b.reservation_share_percent, 1, 100),
    ("budgets_per_org", |b| &mut b.budgets_per_org, 1, 1_000_000),
    ("sessions_per_org", |b| &mut b.sessions_per_org, 1, 1_000_000),
    ("pools_per_org", |b| &mut b.pools_per_org, 1, 10_000),
    ("accounts_per_pool", |b| &mut b.accounts_per_pool, 1, 10_000),
    ("sources_per_org", |b| &mut b.sources_per_org, 1, 1_000_000),
    ("executions_per_org", |b| &mut b.executions_per_org, 1, 1_000_000),
    ("exports_per_org", |b| &mut b.exports_per_org, 1, 10_000_000),
    ("billing_orgs", |b| &mut b.billing_orgs, 1, 10_000_000),
    ("billing_in_flight", |b| &mut b.billing_in_flight, 1, 65_536),
    ("billing_waiting", |b| &mut b.billing_waiting, 1, 1_000_000),
    ("emergency_orgs", |b| &mut b.emergency_orgs, 1, 1_000_000),
    ("continuation_alarm", |b| &mut b.continuation_alarm, 1, 1_000_000),
];

/// Picks one field out of [`Bounds`].
pub type Accessor = fn(&mut Bounds) -> &mut u32;
