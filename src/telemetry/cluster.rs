//! What a node owns among others, what comes and goes, and the calls that other nodes carry out for it. A node that is
//! alone owns everything.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{LATENCY, Metrics, Readings};

/// Numbers of this node's place among others.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClusterReadings {
    /// Shards that it owns.
    pub owned: usize,
    /// Shards that nobody owns, as far as it knows.
    pub free: usize,
    /// Databases of the cluster.
    pub cells: usize,
    /// Those of them that do not answer this node.
    pub cells_away: usize,
    /// Since the start: shards that it has claimed, handed over, and lost; and leases that it has lost.
    pub moved: [u64; 4],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What may become of a call that is handed to the owner of its org.
const OUTCOMES: [&str; 6] = ["answered", "refused", "moved", "gone", "timed_out", "busy"];

#[derive(Debug)]
pub(super) struct ClusterMetrics {
    owned: Gauge,
    free: Gauge,
    cells: Gauge,
    cells_away: Gauge,
    moved: [Gauge; 4],
    forwarded: Family<Outcome, Counter>,
    latency: Histogram,
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self {
            owned: Gauge::default(),
            free: Gauge::default(),
            cells: Gauge::default(),
            cells_away: Gauge::default(),
            moved: Default::default(),
            forwarded: Family::default(),
            latency: Histogram::new(LATENCY),
        }
    }
}

impl ClusterMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("shards_owned", "Shards that this node owns", self.owned.clone());
        registry.register("shards_free", "Shards without an owner, as far as this node knows", self.free.clone());
        registry.register("cells", "Databases of the cluster", self.cells.clone());
        let away = "Databases of the cluster that do not answer this node";
        registry.register("cells_away", away, self.cells_away.clone());
        let [claimed, handed_over, lost, leases] = self.moved.clone();
        registry.register("shards_claimed", "Shards claimed since the start", claimed);
        registry.register("shards_handed_over", "Shards handed over since the start", handed_over);
        registry.register("shards_lost", "Shards lost since the start", lost);
        registry.register("leases_lost", "Leases of this node that were lost since the start", leases);
        registry.register("forwarded_calls", "Calls handed to the owner of their org", self.forwarded.clone());
        registry.register("forwarded_seconds", "Time until the owner has answered", self.latency.clone());
    }

    pub(super) fn begin_at_zero(&self) {
        for outcome in OUTCOMES {
            drop(self.forwarded.get_or_create(&Outcome { outcome }));
        }
    }

    pub(super) fn read(&self, now: &Readings) {
        let gauge = |of: &Gauge, value: u64| {
            of.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&self.owned, now.cluster.owned as u64);
        gauge(&self.free, now.cluster.free as u64);
        gauge(&self.cells, now.cluster.cells as u64);
        gauge(&self.cells_away, now.cluster.cells_away as u64);
        for (of, value) in self.moved.iter().zip(now.cluster.moved) {
            gauge(of, value);
        }
    }
}

impl Metrics {
    /// A call was handed to the node that owns its org, and came to this after so long.
    pub fn forwarded(&self, outcome: &'static str, took: Duration) {
        self.cluster.forwarded.get_or_create(&Outcome { outcome }).inc();
        self.cluster.latency.observe(took.as_secs_f64());
    }
}
