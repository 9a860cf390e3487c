//! What a node tells about itself: Prometheus metrics and structured logs.
//!
//! No metric carries an org: the number of series does not grow with tenants.

mod billing;
mod calls;
mod cluster;
mod door;
mod events;
mod gateways;
mod limits;
mod log;
mod pools;
mod process;
mod readings;
mod room;
mod seldom;
mod spans;
mod turns;
mod webhook;

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    bounds::SECOND_MS,
    domain::{
        decision::Decision,
        gate::{Cause, Code, FailOpen, Gate},
        service_time::ClockState,
        upstream::Upstream,
    },
};

pub use calls::GRPC;
pub use cluster::ClusterReadings;
pub use log::init_logging;
pub use readings::{Readings, ReloadReadings};
pub use seldom::Seldom;
pub use spans::{Collector, Span, Spans};

use billing::BillingMetrics;
use calls::CallMetrics;
use cluster::ClusterMetrics;
use door::DoorMetrics;
use gateways::GatewayMetrics;
use limits::LimitMetrics;
use pools::PoolMetrics;
use process::ProcessMetrics;
use room::RoomMetrics;
use turns::TurnMetrics;
use webhook::WebhookMetrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    code: &'static str,
    gate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailOpenLabels {
    gate: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionLabels {
    /// `started`, `ended` or `expired`.
    outcome: &'static str,
}

/// The label of a decision that no gate denied.
const NO_GATE: &str = "none";
/// Seconds: from a tenth of a millisecond to the decision budget.
const LATENCY: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const GROUP: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, 4096.0];

/// Every metric of one node. Not global, so that several nodes fit one process.
pub struct Metrics {
    registry: Registry,
    /// What the semantic conventions of OpenTelemetry have a name for.
    conventions: Registry,
    decisions: Family<DecisionLabels, Counter>,
    /// The one of `decisions` that nearly every call hits, without a look-up.
    allowed: Counter,
    replays: Counter,
    fail_open: Family<FailOpenLabels, Counter>,
    emergency_denials: Counter,
    calls: CallMetrics,
    billing: BillingMetrics,
    door: DoorMetrics,
    limits: LimitMetrics,
    process: ProcessMetrics,
    room: RoomMetrics,
    pools: PoolMetrics,
    turns: TurnMetrics,
    webhook: WebhookMetrics,
    gateways: GatewayMetrics,
    cluster: ClusterMetrics,
    sessions: Family<SessionLabels, Counter>,
    reservations_forgotten: Counter,
    request_ids_forgotten: Counter,
    request_ids_filling: Counter,
    trials_ended: Counter,
    denials_unkept: Counter,
    folded: Counter,
    drift: Counter,
    unguarded: Counter,
    uncounted_resumes: Counter,
    unusual_continuations: Counter,
    group_writes: Histogram,
    group_seconds: Histogram,
    store_faults: Counter,
    store_stalls: Counter,
    oldest_group: Gauge,
    clock_unsteady: Gauge,
    clock_behind: Gauge,
    serving: Gauge,
    reservations_open: Gauge,
    watches_open: Gauge,
    reservations_expired: Counter,
    config_waiting: Gauge,
    config_refused: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let decisions: Family<DecisionLabels, Counter> = Family::default();
        let allowed = decisions.get_or_create_owned(&DecisionLabels { code: Code::Allowed.name(), gate: NO_GATE });
        let mut metrics = Self {
            registry: Registry::with_prefix("tollgate"),
            conventions: Registry::default(),
            allowed,
            decisions,
            replays: Counter::default(),
            fail_open: Family::default(),
            emergency_denials: Counter::default(),
            calls: CallMetrics::default(),
            billing: BillingMetrics::default(),
            door: DoorMetrics::default(),
            limits: LimitMetrics::default(),
            process: ProcessMetrics::default(),
            room: RoomMetrics::default(),
            pools: PoolMetrics::default(),
            turns: TurnMetrics::default(),
            webhook: WebhookMetrics::default(),
            gateways: GatewayMetrics::default(),
            cluster: ClusterMetrics::default(),
            sessions: Family::default(),
            reservations_forgotten: Counter::default(),
            request_ids_forgotten: Counter::default(),
            request_ids_filling: Counter::default(),
            trials_ended: Counter::default(),
            denials_unkept: Counter::default(),
            folded: Counter::default(),
            drift: Counter::default(),
            unguarded: Counter::default(),
            uncounted_resumes: Counter::default(),
            unusual_continuations: Counter::default(),
            group_writes: Histogram::new(GROUP),
            group_seconds: Histogram::new(LATENCY),
            store_faults: Counter::default(),
            store_stalls: Counter::default(),
            oldest_group: Gauge::default(),
            clock_unsteady: Gauge::default(),
            clock_behind: Gauge::default(),
            serving: Gauge::default(),
            reservations_open: Gauge::default(),
            watches_open: Gauge::default(),
            reservations_expired: Counter::default(),
            config_waiting: Gauge::default(),
            config_refused: Gauge::default(),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("decisions", "Decisions by code and deciding gate", self.decisions.clone());
        r.register("replays", "Answers given again to a known request id", self.replays.clone());
        r.register("fail_open", "Gates let through unevaluated, by gate and cause", self.fail_open.clone());
        r.register("emergency_denials", "Denials by the emergency cap", self.emergency_denials.clone());
        self.calls.register(r, &mut self.conventions);
        r.register("sessions", "Sessions that started, ended, and expired unheard", self.sessions.clone());
        let (holds, ids) = (self.reservations_forgotten.clone(), self.request_ids_forgotten.clone());
        r.register("reservations_forgotten", "Expired reservations forgotten before a day was over", holds);
        r.register("request_ids_forgotten", "Ids of durable calls forgotten before a day was over", ids);
        r.register("request_ids_filling", "Warnings that ids will be forgotten", self.request_ids_filling.clone());
        r.register("folded_calls", "Calls counted in ledgers that scopes share, for want of room", self.folded.clone());
        r.register("trials_ended", "Trials that have used up what they include", self.trials_ended.clone());
        r.register("denials_unkept", "Calls decided without their org, and not kept", self.denials_unkept.clone());
        r.register("audit_drift", "Numbers found that are not what the ledger says", self.drift.clone());
        r.register("unguarded_records", "Record calls that name no decision", self.unguarded.clone());
        r.register("resumes_uncounted", "Resume calls served uncounted", self.uncounted_resumes.clone());
        r.register("continuations_unusual", "Resume calls past the alarm", self.unusual_continuations.clone());
        r.register("commit_group_writes", "Org commits per commit group", self.group_writes.clone());
        r.register("commit_group_seconds", "Time to make a commit group durable", self.group_seconds.clone());
        r.register("store_faults", "Store faults", self.store_faults.clone());
        r.register("store_stalls", "Times that a commit group was not answered in time", self.store_stalls.clone());
        r.register("commit_group_oldest_ms", "Age of the oldest unanswered commit group", self.oldest_group.clone());
        r.register("clock_unsteady", "1 while the wall clock is behind or not believed", self.clock_unsteady.clone());
        r.register(
            "clock_behind_seconds",
            "For how long service time will stand still, because the wall clock is behind it",
            self.clock_behind.clone(),
        );
        r.register("serving", "1 while health is SERVING", self.serving.clone());
        r.register("reservations_open", "Open reservations of all orgs", self.reservations_open.clone());
        r.register("watches_open", "Open streams of events", self.watches_open.clone());
        r.register(
            "reservations_expired",
            "Reservations that nobody settled in time",
            self.reservations_expired.clone(),
        );
        r.register(
            "config_needs_restart",
            "Keys of the configuration that wait for a restart",
            self.config_waiting.clone(),
        );
        r.register("config_reload_refused", "1 while the last reload was refused", self.config_refused.clone());
        self.billing.register(r);
        self.door.register(r);
        self.limits.register(r);
        self.process.register(r);
        self.cluster.register(r);
        self.room.register(r);
        self.pools.register(r);
        self.turns.register(r);
        self.webhook.register(r);
        self.gateways.register(r);
    }

    /// An increase is seen from the first time on that something happens, only where its series was there before.
    fn begin_at_zero(&self) {
        for (gate, cause) in Gate::ALL.iter().flat_map(|gate| Cause::ALL.iter().map(move |cause| (gate, cause))) {
            drop(self.fail_open.get_or_create(&FailOpenLabels { gate: gate.name(), cause: cause.name() }));
        }
        for outcome in ["started", "ended", "expired"] {
            self.sessions(0, outcome);
        }
        for (code, gate) in limits::DENIALS {
            drop(self.decisions.get_or_create(&DecisionLabels { code, gate }));
        }
        self.calls.begin_at_zero();
        self.billing.begin_at_zero();
        self.limits.begin_at_zero();
        self.pools.begin_at_zero();
        self.turns.begin_at_zero();
        self.webhook.begin_at_zero();
        self.cluster.begin_at_zero();
    }

    /// Counts a decision with its code and gate, and at which limits it was; one that was given again counts as a replay
    /// only. `plan` is the name of the org's, empty without one.
    pub fn decided(&self, decision: &Decision, plan: impl FnOnce() -> String) {
        if decision.replayed {
            self.replays.inc();
            return;
        }
        self.limits.decided(decision, plan);
        match (decision.code(), decision.gate()) {
            (Code::Allowed, None) => self.allowed.inc(),
            (code, gate) => {
                let gate = gate.map_or(NO_GATE, Gate::name);
                self.decisions.get_or_create(&DecisionLabels { code: code.name(), gate }).inc()
            }
        };
        decision.let_through().into_iter().for_each(|open| self.failed_open(open));
    }

    fn failed_open(&self, open: FailOpen) {
        let labels = FailOpenLabels { gate: open.gate.name(), cause: open.cause.name() };
        self.fail_open.get_or_create(&labels).inc();
    }

    /// Counts a denial by the emergency cap.
    pub fn emergency_denial(&self) {
        self.emergency_denials.inc();
    }

    /// Counts the start of a session.
    pub fn session_started(&self) {
        self.sessions(1, "started");
    }

    fn sessions(&self, count: u64, outcome: &'static str) {
        self.sessions.get_or_create(&SessionLabels { outcome }).inc_by(count);
    }

    /// Counts a pick by its code.
    pub fn picked(&self, code: Code) {
        self.pools.picked(code);
    }

    /// Counts what an upstream answered.
    pub fn upstream(&self, outcome: Upstream) {
        self.pools.upstream(outcome);
    }

    /// Counts numbers that are not what the ledger says.
    pub fn drifted(&self, numbers: u64) {
        self.drift.inc_by(numbers);
    }

    /// Counts a Record that names no decision.
    pub fn unguarded_record(&self) {
        self.unguarded.inc();
    }

    /// Counts a Resume that was served without being counted.
    pub fn uncounted_resume(&self) {
        self.uncounted_resumes.inc();
    }

    /// Counts a Resume past the alarm.
    pub fn unusual_continuations(&self) {
        self.unusual_continuations.inc();
    }

    /// Measures a commit group: how many commits it has, and the time to make it durable.
    pub fn committed(&self, writes: u64, took: Duration) {
        // Exact below 2^53, far above any group.
        self.group_writes.observe(u32::try_from(writes).map_or(f64::MAX, f64::from));
        self.group_seconds.observe(took.as_secs_f64());
    }

    /// Counts a fault of the store.
    pub fn store_fault(&self) {
        self.store_faults.inc();
    }

    /// Counts a commit group that is not answered in time.
    pub fn store_stall(&self) {
        self.store_stalls.inc();
    }

    /// The OpenMetrics text of everything.
    pub fn render(&self, now: Readings) -> String {
        self.billing.read(&now.billing, now.spaced_reports);
        self.pools.read(&now.pools);
        self.room.read(&now);
        self.cluster.read(&now);
        self.turns.read(&now);
        self.webhook.read(&now);
        self.clock_unsteady.set(i64::from(now.clock != ClockState::Steady));
        self.clock_behind.set(i64::try_from(now.clock.behind() / SECOND_MS).unwrap_or(i64::MAX));
        self.serving.set(i64::from(now.serving));
        self.reservations_open.set(i64::try_from(now.open_reservations).unwrap_or(i64::MAX));
        self.watches_open.set(now.watches.into());
        self.config_waiting.set(i64::try_from(now.reload.needs_restart).unwrap_or(i64::MAX));
        self.config_refused.set(i64::from(now.reload.is_refused));
        self.oldest_group.set(i64::try_from(now.oldest_group_ms).unwrap_or(i64::MAX));
        let mut text = String::new();
        let of_process = self.process.write(&mut text, now.started_at);
        let of_conventions = of_process.and_then(|()| encode_registry(&mut text, &self.conventions));
        match of_conventions.and_then(|()| encode(&mut text, &self.registry)) {
            Ok(()) => text,
            Err(error) => format!("# metrics could not be written: {error}\n"),
        }
    }
}

#[cfg(test)]
#[path = "telemetry/tests.rs"]
mod tests;
