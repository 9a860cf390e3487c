//! What is in flight, how long calls wait for their turn, and what is shed.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, Readings};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    /// The bound or the share that was reached.
    by: &'static str,
}

/// What may be reached.
const SHED: [&str; 8] = [
    "org_in_flight",
    "node_in_flight",
    "resident_orgs",
    "org_share",
    "caller_share",
    "owner_in_flight",
    "unread_bytes",
    "watches",
];

#[derive(Debug, Default)]
pub(super) struct TurnMetrics {
    shed: Family<ShedLabels, Counter>,
    in_flight: Gauge,
    wait: Gauge,
    room: Gauge,
}

impl TurnMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("calls_in_flight", "Calls in flight", self.in_flight.clone());
        registry.register(
            "calls_shed",
            "Calls and items that were shed before anything happened, by the bound or share that was reached",
            self.shed.clone(),
        );
        registry.register(
            "call_wait_us",
            "Mean wait of calls for their turn on a processor, in the last 20 ms that had calls, in microseconds",
            self.wait.clone(),
        );
        registry.register(
            "call_room",
            "Calls that there is room for while calls wait too long for their turn; 0 while they do not",
            self.room.clone(),
        );
    }

    pub(super) fn begin_at_zero(&self) {
        for by in SHED {
            drop(self.shed.get_or_create(&ShedLabels { by }));
        }
    }

    pub(super) fn read(&self, now: &Readings) {
        self.in_flight.set(i64::from(now.in_flight));
        self.wait.set(i64::try_from(now.turns.wait_us).unwrap_or(i64::MAX));
        self.room.set(i64::from(now.turns.room.unwrap_or(0)));
    }
}

impl Metrics {
    /// Counts a call, or an item, that was shed before anything happened; `by` names the bound or the share.
    pub fn shed(&self, by: &'static str) {
        self.turns.shed.get_or_create(&ShedLabels { by }).inc();
    }
}
