//! The certificate that the listeners show, and whom they let in.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::Metrics;

#[derive(Debug, Default)]
pub(super) struct DoorMetrics {
    certificate_ends: Gauge<i64, AtomicI64>,
    certificate_refused: Counter,
    tokens_stale: Gauge,
    jwt_keys: Gauge,
    jwt_keys_refused: Counter,
}

impl DoorMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "certificate_ends_seconds",
            "When the certificate of the listeners is no longer valid, in seconds since the epoch; 0 without one",
            self.certificate_ends.clone(),
        );
        registry.register(
            "certificate_refused",
            "Times that a changed certificate was read and could not be served",
            self.certificate_refused.clone(),
        );
        registry.register(
            "tokens_stale",
            "1 while tokens cannot be read again and those before stay in force",
            self.tokens_stale.clone(),
        );
        registry.register(
            "jwt_keys",
            "Keys that tokens of auth.jwt may be signed with; 0 = no such token lets anybody in",
            self.jwt_keys.clone(),
        );
        registry.register(
            "jwt_keys_refused",
            "Times that the keys of auth.jwt were read and were of no use",
            self.jwt_keys_refused.clone(),
        );
    }
}

impl Metrics {
    /// When the certificate of the listeners is no longer valid, in seconds since the epoch.
    pub fn certificate_ends(&self, at: i64) {
        self.door.certificate_ends.set(at);
    }

    /// Whether tokens cannot be read again, so that those before stay in force.
    pub fn tokens_are_stale(&self, stale: bool) {
        self.door.tokens_stale.set(stale.into());
    }

    /// How many keys tokens may be signed with.
    pub fn jwt_keys(&self, number: usize) {
        self.door.jwt_keys.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Counts keys that could not be read, or were of no use.
    pub fn jwt_keys_refused(&self) {
        self.door.jwt_keys_refused.inc();
    }

    /// Counts a changed certificate that could not be served.
    pub fn certificate_refused(&self) {
        self.door.certificate_refused.inc();
    }
}
