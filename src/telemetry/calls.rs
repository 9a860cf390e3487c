//! How long calls take, which errors they end with, and what became of the spans of those that are recorded.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{LATENCY, Metrics};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc_method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    rpc: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabels {
    outcome: &'static str,
}

/// Reasons of errors that say that a node, or an org, has too much to do.
const SHED: [&str; 2] = ["NODE_OVERLOADED", "ORG_OVERLOADED"];

#[derive(Debug)]
pub(super) struct CallMetrics {
    latencies: Family<RpcLabels, Histogram, fn() -> Histogram>,
    /// Those of the table, by the name that calls have.
    latency: OnceLock<BTreeMap<&'static str, Histogram>>,
    errors: Family<ErrorLabels, Counter>,
    spans: Family<SpanLabels, Counter>,
}

impl Default for CallMetrics {
    fn default() -> Self {
        let latencies = Family::new_with_constructor((|| Histogram::new(LATENCY)) as fn() -> Histogram);
        Self { latencies, latency: OnceLock::new(), errors: Family::default(), spans: Family::default() }
    }
}

impl CallMetrics {
    pub(super) fn register(&self, r: &mut Registry, conventions: &mut Registry) {
        conventions.register("rpc_server_call_duration_seconds", "Time to answer, by rpc", self.latencies.clone());
        r.register("rpc_errors", "Calls answered with an error, by rpc and reason", self.errors.clone());
        r.register("spans", "Spans of recorded calls, by whether the collector has taken them", self.spans.clone());
    }

    pub(super) fn begin_at_zero(&self) {
        for outcome in ["sent", "lost"] {
            drop(self.spans.get_or_create(&SpanLabels { outcome }));
        }
    }
}

impl Metrics {
    /// The rpcs that there are, each by the name that its calls have, and in full: what they take, and the load that they shed, is
    /// counted from zero.
    pub fn begin_rpcs(&self, rpcs: impl Iterator<Item = (&'static str, &'static str)> + Clone) {
        let of = |(rpc, rpc_method)| (rpc, self.calls.latencies.get_or_create_owned(&RpcLabels { rpc_method }));
        drop(self.calls.latency.set(rpcs.clone().map(of).collect()));
        for (rpc, _) in rpcs {
            for reason in SHED {
                drop(self.calls.errors.get_or_create(&ErrorLabels { rpc, reason }));
            }
        }
    }

    /// Measures the time to an answer or to an error.
    pub fn answered(&self, rpc: &'static str, took: Duration) {
        if let Some(latency) = self.calls.latency.get().and_then(|latency| latency.get(rpc)) {
            latency.observe(took.as_secs_f64());
        }
    }

    /// Counts a call, or an item, that was answered with an error; `reason` is that of the status table.
    pub fn failed(&self, rpc: &'static str, reason: &'static str) {
        self.calls.errors.get_or_create(&ErrorLabels { rpc, reason }).inc();
    }

    /// Counts spans by what became of them.
    pub fn spans(&self, outcome: &'static str, count: u64) {
        self.calls.spans.get_or_create(&SpanLabels { outcome }).inc_by(count);
    }
}
