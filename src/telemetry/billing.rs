//! What a node tells about its billing provider: questions, memory, and usage on its way.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    actors::billing::Readings,
    domain::{gate::Cause, outbox::Delivery},
};

/// The label where there is no cause.
const NO_CAUSE: &str = "none";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    cause: &'static str,
}

impl Outcome {
    fn of(outcome: &'static str) -> Self {
        Self { outcome, cause: NO_CAUSE }
    }
}

#[derive(Debug, Default)]
pub(super) struct BillingMetrics {
    exports: Family<Outcome, Counter>,
    set_aside: Counter,
    uncompleted: Counter,
    questions: Family<Outcome, Counter>,
    exemptions: Family<Outcome, Counter>,
    from_memory: Counter,
    background: Counter,
    shed: Counter,
    spaced: Counter,
    stale: Counter,
    crashes: Counter,
    remembered: Gauge,
    spaced_orgs: Gauge,
    spaced_reports: Gauge,
    in_flight: Gauge,
    waiting: Gauge,
    polls: Gauge,
}

impl BillingMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("exports", "Attempts to report usage to billing, by outcome and cause", self.exports.clone());
        r.register("exports_set_aside", "Usage set aside for an operator, in rows", self.set_aside.clone());
        r.register("executions_uncompleted", "Executions admitted and never completed", self.uncompleted.clone());
        r.register("billing_checks", "Balance questions to the provider", self.questions.clone());
        r.register("billing_exemptions", "Questions whether an org pays", self.exemptions.clone());
        r.register("billing_from_memory", "Balance questions that memory answered", self.from_memory.clone());
        r.register("billing_revalidations", "Balance questions begun in the background", self.background.clone());
        r.register("billing_shed", "Callers turned away because too many waited", self.shed.clone());
        r.register("billing_spaced", "Questions not asked because the last ones failed", self.spaced.clone());
        r.register("billing_stale_denials", "Denials that stood while nobody could be asked", self.stale.clone());
        r.register("billing_crashes", "Times the billing check crashed since start", self.crashes.clone());
        r.register("billing_remembered", "Orgs whose balance is remembered", self.remembered.clone());
        r.register("billing_spaced_orgs", "Orgs asked about less, as that fails", self.spaced_orgs.clone());
        r.register("exports_spaced_orgs", "Orgs reported less often, as that fails", self.spaced_reports.clone());
        r.register("billing_in_flight", "Questions to the provider under way", self.in_flight.clone());
        r.register("billing_waiting", "Callers that wait for the provider", self.waiting.clone());
        r.register("billing_polls", "Orgs polled because they were refreshed and are denied", self.polls.clone());
    }

    pub(super) fn begin_at_zero(&self) {
        for outcome in ["delivered", "duplicate"] {
            drop(self.exports.get_or_create(&Outcome::of(outcome)));
        }
        for cause in Cause::ALL.iter().map(|cause| cause.name()) {
            for outcome in ["retried", "rejected", "not_tried"] {
                drop(self.exports.get_or_create(&Outcome { outcome, cause }));
            }
            drop(self.questions.get_or_create(&Outcome { outcome: "unknown", cause }));
        }
        for outcome in ["allowed", "denied"] {
            drop(self.questions.get_or_create(&Outcome::of(outcome)));
        }
        for outcome in ["answered", "failed"] {
            drop(self.exemptions.get_or_create(&Outcome::of(outcome)));
        }
    }

    pub(super) fn reported(&self, delivery: Delivery) {
        let outcome = match delivery {
            Delivery::Delivered => Outcome::of("delivered"),
            Delivery::Duplicate => Outcome::of("duplicate"),
            Delivery::Retry { cause, .. } => Outcome { outcome: "retried", cause: cause.name() },
            Delivery::Rejected(cause) => Outcome { outcome: "rejected", cause: cause.name() },
            Delivery::NotTried { cause, .. } => Outcome { outcome: "not_tried", cause: cause.name() },
        };
        self.exports.get_or_create(&outcome).inc();
    }

    pub(super) fn set_aside(&self, rows: u64) {
        self.set_aside.inc_by(rows);
    }

    pub(super) fn uncompleted(&self, executions: u64) {
        self.uncompleted.inc_by(executions);
    }

    /// Takes over what the billing check has counted so far.
    pub(super) fn read(&self, now: &Readings, spaced_reports: u64) {
        let checks = |outcome| self.questions.get_or_create_owned(&outcome);
        raise(&checks(Outcome::of("allowed")), now.allowed);
        raise(&checks(Outcome::of("denied")), now.denied);
        for (cause, count) in &now.unknown {
            raise(&checks(Outcome { outcome: "unknown", cause: cause.name() }), *count);
        }
        let exemptions = |outcome| self.exemptions.get_or_create_owned(&Outcome::of(outcome));
        raise(&exemptions("answered"), now.exemptions.saturating_sub(now.exemptions_failed));
        raise(&exemptions("failed"), now.exemptions_failed);
        raise(&self.from_memory, now.from_memory);
        raise(&self.background, now.revalidations);
        raise(&self.shed, now.shed);
        raise(&self.spaced, now.spaced);
        raise(&self.stale, now.stale);
        raise(&self.crashes, now.crashes);
        let gauges = [
            (&self.remembered, now.remembered),
            (&self.spaced_orgs, now.spaced_orgs),
            (&self.spaced_reports, spaced_reports),
            (&self.in_flight, now.in_flight),
            (&self.waiting, now.waiting),
            (&self.polls, now.polls),
        ];
        for (gauge, value) in gauges {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}

/// To what was counted elsewhere.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
