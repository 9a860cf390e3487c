//! What gateways were answered.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Metrics;
use crate::domain::gateways::{ENVOY, FORWARD_AUTH, Gateways};

/// What a question may be answered.
const ANSWERS: [&str; 6] = ["allowed", "near_limit", "denied", "shadow_denied", "no_org", "error"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    gateway: &'static str,
    /// The domain, or the name of the rule: both are configured.
    rule: String,
    answer: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct GatewayMetrics {
    answers: Family<Answer, Counter>,
}

impl GatewayMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_answers",
            "Answers to Envoy's rate-limit filter and to forward authentication, by the rule that was asked",
            self.answers.clone(),
        );
    }
}

impl Metrics {
    /// An increase is seen from the first answer of a rule on. Errors of Envoy's rpc are counted as those of every rpc.
    pub fn begin_gateways(&self, gateways: &Gateways) {
        let envoy = gateways.envoy.keys().map(|rule| (ENVOY, rule));
        for (gateway, rule) in envoy.chain(gateways.forward_auth.keys().map(|rule| (FORWARD_AUTH, rule))) {
            for answer in ANSWERS {
                drop(self.gateways.answers.get_or_create(&Answer { gateway, rule: rule.clone(), answer }));
            }
        }
    }

    /// Counts an answer to a gateway, by a rule that is configured.
    pub fn gateway(&self, gateway: &'static str, rule: &str, answer: &'static str) {
        self.gateways.answers.get_or_create(&Answer { gateway, rule: rule.to_owned(), answer }).inc();
    }
}
