//! The orgs in memory, and the room that there is, there and on the disk.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::Readings;

#[derive(Debug, Default)]
pub(super) struct RoomMetrics {
    resident: Gauge,
    left_early: Counter,
    crashes: Gauge,
    disk_free: Gauge,
    disk_low: Gauge,
}

impl RoomMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("resident_orgs", "Orgs in memory", self.resident.clone());
        registry.register("orgs_left_early", "Orgs that left memory early, to make room", self.left_early.clone());
        registry.register("actor_crashes", "Org actors that crashed since start", self.crashes.clone());
        registry.register("disk_free_bytes", "Bytes free on the disk of the data directory", self.disk_free.clone());
        let low = "1 while nothing new is admitted because the disk is nearly full";
        registry.register("disk_low", low, self.disk_low.clone());
    }

    pub(super) fn left_early(&self, orgs: u64) {
        self.left_early.inc_by(orgs);
    }

    pub(super) fn read(&self, now: &Readings) {
        self.resident.set(i64::try_from(now.resident).unwrap_or(i64::MAX));
        self.crashes.set(i64::try_from(now.crashes).unwrap_or(i64::MAX));
        self.disk_free.set(now.disk.map_or(0, |disk| i64::try_from(disk.free).unwrap_or(i64::MAX)));
        self.disk_low.set(i64::from(now.disk_is_low));
    }
}
