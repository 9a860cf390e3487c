//! What a node tells about the delivery of events.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Readings;
use crate::ports::DeliveryFault;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct WebhookMetrics {
    deliveries: Family<Outcome, Counter>,
    given_up: Counter,
    failing: Gauge,
}

impl WebhookMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("webhook_deliveries", "Attempts to deliver an event, by outcome", self.deliveries.clone());
        r.register("webhook_given_up", "Events that were tried for too long", self.given_up.clone());
        r.register("webhook_failing", "Deliveries that failed since the last receipt", self.failing.clone());
    }

    pub(super) fn begin_at_zero(&self) {
        drop(self.deliveries.get_or_create(&Outcome { outcome: "delivered" }));
        for fault in
            [DeliveryFault::Timeout, DeliveryFault::Unreachable, DeliveryFault::Refused(0), DeliveryFault::Unconfigured]
        {
            drop(self.deliveries.get_or_create(&Outcome { outcome: fault.name() }));
        }
    }

    pub(super) fn attempted(&self, outcome: Result<(), DeliveryFault>) {
        let outcome = outcome.map_or_else(DeliveryFault::name, |()| "delivered");
        self.deliveries.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn read(&self, now: &Readings) {
        self.failing.set(now.webhook_failures.into());
    }

    pub(super) fn never_delivered(&self) {
        self.given_up.inc();
    }
}
