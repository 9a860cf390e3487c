//! What is part of the contract and does not move.

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
/// Longest name of a principal in bytes.
pub const PRINCIPAL_BYTES: usize = 256;
/// Longest signed token in bytes: the headers of a request have 16 KiB in all.
pub const JWT_BYTES: usize = 8 << 10;
/// The clock of an issuer may be off by this, in milliseconds.
pub const JWT_LEEWAY_MS: u64 = 30 * SECOND_MS;
/// Largest key set in bytes.
pub const JWKS_BYTES: usize = 256 << 10;
/// Most keys of a key set: an issuer has a handful, and a few more while it rotates them.
pub const JWKS_KEYS: usize = 100;
/// Largest file of CAs in bytes.
pub const CA_BYTES: u64 = 4 << 20;
/// Tokens and certificates that were judged, each, and need not be judged again: some 500 bytes of memory each.
pub const CREDENTIALS_REMEMBERED: u64 = 10_000;
/// Databases of one cluster; the table `cell` of each has it as well.
pub const CELLS_MAX: usize = 64;
/// Tokens that a cluster keeps in its store. Every node has all of them in memory, some 500 bytes each.
pub const TOKENS_MAX: usize = 10_000;
/// Names that an org had before the one that it has. Each is a row at an id of its own that stays as long as the org.
pub const FORMER_NAMES: usize = 8;
/// Longest reason of a freeze, or of another act of an operator, in bytes.
pub const REASON_BYTES: usize = 256;
/// Events of an org are kept for so many milliseconds.
pub const EVENT_RETENTION_MS: u64 = 7 * DAY_MS;
/// Those of operators: a year, and a month to ask about it.
pub const OPERATOR_EVENT_RETENTION_MS: u64 = 400 * DAY_MS;
/// Values that one event names as changed.
pub const EVENT_CHANGES: usize = 32;
/// Longest name or value of them in bytes.
pub const EVENT_TEXT_BYTES: usize = 160;
/// Events of an org in one minute, of sessions and of anything else but operators, each; what is more is counted.
pub const EVENTS_PER_MINUTE: usize = 60;
/// An event that is still to be delivered to the webhook after this is looked for again, as after a restart.
pub const WEBHOOK_GRACE_MS: u64 = 5 * SECOND_MS;
/// What was handed out for delivery is not looked for again before this.
pub const WEBHOOK_LEASE_MS: u64 = 10 * MINUTE_MS;
/// Events and gaps of an org that are handed out at a time.
pub const WEBHOOK_BATCH: usize = 64;
/// An event that is older than this is not tried again where it fails once more.
pub const WEBHOOK_FOR_MS: u64 = 3 * DAY_MS;
/// Events of a node that are in no org's log, in its memory.
pub const NODE_EVENTS: usize = 200;
/// Limits, spells and sessions of an org of which something was announced that is not over. Pools, upstream accounts and the end of a
/// trial are not counted: they have bounds of their own.
pub const ALERTS_PER_ORG: usize = 1_000;
/// How often the count of a spell that goes on is written, in milliseconds.
pub const SPELL_WRITTEN_MS: u64 = 10 * SECOND_MS;
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
/// Sections `[envoy.DOMAIN]`, and as many `[forward_auth.NAME]`: metrics have a label for each.
pub const GATEWAY_RULES: usize = 64;
/// Descriptors of one question of Envoy's rate-limit filter.
pub const DESCRIPTORS: usize = 100;
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

/// Longest time until something that an operator has set ends by itself: ten years, in milliseconds.
pub const OVERRIDE_LONGEST_MS: u64 = 3_650 * DAY_MS;
/// The shortest, in milliseconds.
pub const OVERRIDE_SHORTEST_MS: u64 = SECOND_MS;

/// Minute detail of the ledger is kept this long; the longest minute-sliced window is one hour.
pub const MINUTE_RETENTION_MS: u64 = 2 * HOUR_MS;
/// Hour slices outlive the longest window by this. How long that is follows from the table of periods,
/// in `domain/window.rs`.
pub const RETENTION_SLACK_MS: u64 = 4 * DAY_MS;

/// Usage by day is kept this long behind the end of its month: a year, and a month to close it in.
pub const USAGE_DAYS_MS: u64 = 400 * DAY_MS;
/// Usage by month is kept this long behind its end: seven years, as books are.
pub const USAGE_MONTHS_MS: u64 = 7 * 366 * DAY_MS;
/// Limits that one question tries.
pub const WHAT_IF_LIMITS: usize = 8;
/// What they would have denied is answered for so long, in milliseconds.
pub const WHAT_IF_MS: u64 = 30 * DAY_MS;
/// Planes of one day that have a share of their own; the rest is `other`. Callers choose their names.
pub const PLANES_PER_DAY: usize = 16;
/// Shares of one day: planes by meters. Its row is written with the commits of that day.
pub const PLANE_METERS_PER_DAY: usize = 64;
/// Rows of usage in one answer, where the caller does not say, and at most.
pub const USAGE_PAGE: usize = 1_000;
/// The most rows of usage in one answer.
pub const USAGE_PAGE_MAX: usize = 5_000;

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
/// Lives of the sessions that had an id before, whose reports are refused. A start that would need more is refused: 16
/// bytes each in a row that every heartbeat writes, and a session of one id every 3 minutes for the whole of a day.
pub const SESSION_FORMER_LIVES: usize = 512;
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
/// Orgs, with their pools and accounts, of which each line is written and counted apart in that time: enough to see whom
/// a trouble concerns, and no more lines where it concerns everybody.
pub const LOG_ORGS: usize = 100;
/// Lines that are counted apart, by what they are about: a few hundred bytes each, and the most that callers who
/// invent names can make the log grow by in that time.
pub const LOG_LINES: usize = 4_096;

/// Length of a node's lease in a store that nodes share, by the store's clock, in milliseconds: its shards are another
/// node's within two seconds.
pub const NODE_LEASE_MS: u64 = 1_500;
/// How long the node trusts it, by its own clock and from before it asked for it, in milliseconds. Clocks may run apart by
/// the rest.
pub const NODE_LEASE_VALID_MS: u64 = NODE_LEASE_MS / 10 * 9;
/// From one renewal to the next, in milliseconds.
pub const NODE_LEASE_RENEWAL_MS: u64 = 400;
/// Three attempts fit into a lease.
const _: () = assert!(3 * NODE_LEASE_RENEWAL_MS < NODE_LEASE_VALID_MS && NODE_LEASE_VALID_MS < NODE_LEASE_MS);

/// The DNS name in the certificate of every node of a cluster. It resolves to nothing: both ends of a connection ask for
/// it, so that the certificate of a caller, which the same CA may have signed, is never taken for that of a node.
pub const NAME_OF_NODES: &str = "peer.tollgate.internal";

/// Denials are kept for 7 days after the last one of a row, and their counts by day for 35 days.
pub const DENIAL_RETENTION_MS: u64 = 7 * DAY_MS;
/// The first instant of a day goes with it, so a day more.
pub const DENIAL_DAYS_MS: u64 = 36 * DAY_MS;
/// Denials by one gate or limit are one spell until so many milliseconds pass without one: in one row, if they are
/// alike, and between two events.
pub const DENIAL_SPELL_MS: u64 = 10 * MINUTE_MS;
/// Denials of an org within one spell that have rows of their own; what differs beyond that shares a row for each gate.
pub const DENIALS_TOLD_APART: usize = 256;
/// What counts as lately in views that were asked for something else.
pub const DENIALS_LATELY_MS: u64 = HOUR_MS;
/// Orgs whose decisions without their state wait in memory, and rows of each: 500 bytes each.
pub const UNNOTED_ORGS: usize = 1_000;
/// Rows of one org that wait; those that are alike are one.
pub const UNNOTED_PER_ORG: usize = 32;
/// How long a node remembers admissions.
pub const ADMISSIONS_REMEMBERED_MS: u64 = 2 * MINUTE_MS;
/// Admissions of a second that a node remembers, some kilobyte each.
pub const ADMISSIONS_PER_SECOND: u64 = 64;
/// Rows of denials that are judged again for one answer, the newest; what is older is taken for what it was.
pub const DENIALS_EVALUATED: usize = 256;
/// Rows of an answer that are over, and of calls that were let through: a list has all.
pub const DENIALS_OVER: usize = 100;

/// From so many percent on a limit is near.
pub const NEAR_PERCENT: u64 = 80;
