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
    rpc_system_name: &'static str,
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

/// The system of most calls, as the semantic conventions name it.
pub const GRPC: &str = "grpc";

/// An rpc by its name in full, and what its calls take over gRPC.
#[derive(Debug)]
struct OfRpc {
    name: &'static str,
    grpc: Histogram,
}

#[derive(Debug)]
pub(super) struct CallMetrics {
    latencies: Family<RpcLabels, Histogram, fn() -> Histogram>,
    /// Those of the table, by the name that calls have.
    rpcs: OnceLock<BTreeMap<&'static str, OfRpc>>,
    errors: Family<ErrorLabels, Counter>,
    spans: Family<SpanLabels, Counter>,
}

impl Default for CallMetrics {
    fn default() -> Self {
        let latencies = Family::new_with_constructor((|| Histogram::new(LATENCY)) as fn() -> Histogram);
        Self { latencies, rpcs: OnceLock::new(), errors: Family::default(), spans: Family::default() }
    }
}

impl CallMetrics {
    pub(super) fn register(&self, r: &mut Registry, conventions: &mut Registry) {
        conventions.register(
            "rpc_server_call_duration_seconds",
            "Time to answer, by rpc and protocol",
            self.latencies.clone(),
        );
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
        let of = |(rpc, name)| {
            let labels = RpcLabels { rpc_method: name, rpc_system_name: GRPC };
            (rpc, OfRpc { name, grpc: self.calls.latencies.get_or_create_owned(&labels) })
        };
        drop(self.calls.rpcs.set(rpcs.clone().map(of).collect()));
        for (rpc, _) in rpcs {
            for reason in SHED {
                drop(self.calls.errors.get_or_create(&ErrorLabels { rpc, reason }));
            }
        }
    }

    /// Measures the time to an answer or to an error of a call that was asked in this system.
    pub fn answered(&self, rpc: &'static str, system: &'static str, took: Duration) {
        let Some(of) = self.calls.rpcs.get().and_then(|rpcs| rpcs.get(rpc)) else { return };
        let took = took.as_secs_f64();
        if system == GRPC {
            of.grpc.observe(took);
        } else {
            let labels = RpcLabels { rpc_method: of.name, rpc_system_name: system };
            self.calls.latencies.get_or_create(&labels).observe(took);
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
