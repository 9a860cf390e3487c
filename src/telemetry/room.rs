//! The orgs in memory, and the room that there is, there and on the disk.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, Readings};

#[derive(Debug, Default)]
pub(super) struct RoomMetrics {
    resident: Gauge,
    left_early: Counter,
    crashes: Gauge,
    disk_free: Gauge,
    disk_low: Gauge,
    purged_late: Gauge,
    compactions: Counter,
    compactions_failed: Counter,
}

impl RoomMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("resident_orgs", "Orgs in memory", self.resident.clone());
        registry.register("orgs_left_early", "Orgs that left memory early, to make room", self.left_early.clone());
        registry.register("actor_crashes", "Org actors that crashed since start", self.crashes.clone());
        registry.register("disk_free_bytes", "Bytes free on the disk of the data directory", self.disk_free.clone());
        let low = "1 while nothing new is admitted because the disk is nearly full";
        registry.register("disk_low", low, self.disk_low.clone());
        let late = "1 while the files have bytes of a purge for longer than bounds.purged_within_ms";
        registry.register("purged_late", late, self.purged_late.clone());
        registry.register("compactions", "Compactions of the files in use", self.compactions.clone());
        let failed = "Compactions that left the files as they were";
        registry.register("compactions_failed", failed, self.compactions_failed.clone());
    }

    pub(super) fn left_early(&self, orgs: u64) {
        self.left_early.inc_by(orgs);
    }

    pub(super) fn read(&self, now: &Readings) {
        self.resident.set(i64::try_from(now.resident).unwrap_or(i64::MAX));
        self.crashes.set(i64::try_from(now.crashes).unwrap_or(i64::MAX));
        self.disk_free.set(now.disk.map_or(0, |disk| i64::try_from(disk.free).unwrap_or(i64::MAX)));
        self.disk_low.set(i64::from(now.disk_is_low));
        self.purged_late.set(i64::from(now.purged_is_late));
    }
}

impl Metrics {
    /// Counts a compaction of the files in use, or one that left them as they were.
    pub fn compacted(&self, is_done: bool) {
        if is_done {
            self.room.compactions.inc()
        } else {
            self.room.compactions_failed.inc()
        };
    }
}
