//! Numbers that metrics read when somebody asks for them.

use super::ClusterReadings;
use crate::{
    actors,
    domain::{service_time::ClockState, window::Millis},
    turns::TurnReadings,
};

/// Numbers read when asked for, not counted as they happen.
#[derive(Debug, Clone)]
pub struct Readings {
    /// When the node was started, by service time.
    pub started_at: Millis,
    /// Orgs in memory.
    pub resident: usize,
    /// The disk of the data directory, where it can be seen.
    pub disk: Option<actors::Disk>,
    /// Whether nothing new is admitted because of it.
    pub disk_is_low: bool,
    /// Whether the files have had bytes of a purge for longer than `bounds.purged_within_ms`.
    pub purged_is_late: bool,
    /// Calls in flight, of both lanes.
    pub in_flight: u32,
    /// How long calls wait for their turn.
    pub turns: TurnReadings,
    /// This node's place among others.
    pub cluster: ClusterReadings,
    /// Actors of orgs that crashed since the start.
    pub crashes: u64,
    /// How the wall clock stands to service time.
    pub clock: ClockState,
    /// Whether health is SERVING.
    pub serving: bool,
    /// How long the oldest unanswered commit group has waited, in milliseconds.
    pub oldest_group_ms: u64,
    /// Readings of the balances and of the provider.
    pub billing: actors::billing::Readings,
    /// Orgs whose usage is reported less often, because the last reports failed.
    pub spaced_reports: u64,
    /// Pools of all orgs in memory, added up.
    pub pools: actors::PoolTotals,
    /// Reservations that are open, of all orgs.
    pub open_reservations: u64,
    /// Streams of events that are open.
    pub watches: u32,
    /// Deliveries to the webhook that failed since the last receipt.
    pub webhook_failures: u32,
    /// How the last reload of the configuration went.
    pub reload: ReloadReadings,
}

/// How the last reload of the configuration went.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReloadReadings {
    /// Keys that wait for a restart.
    pub needs_restart: usize,
    /// It had mistakes, and the configuration before it is in force.
    pub is_refused: bool,
}
