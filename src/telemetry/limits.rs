//! How close calls come to limits: near, over, and over a shadow limit, by gate, limit and plan, as Envoy counts its own.

use std::{collections::BTreeSet, sync::Mutex};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{
    bounds::NEAR_PERCENT,
    domain::{
        decision::{Decision, LimitView},
        gate::Gate,
    },
};

/// Pairs of a limit and a plan that have series of their own; what comes later is counted as `other`.
const PAIRS_MAX: usize = 256;
const OTHER: &str = "other";

/// What became of a call at a limit.
const NEAR: &str = "near";
const OVER: &str = "over";
const SHADOW: &str = "shadow";

/// Codes of denials with the gates that deny by them, as their series are called from the start.
pub(super) const DENIALS: [(&str, &str); 10] = [
    ("FROZEN", "freeze"),
    ("SCOPE_REQUIRED", "scopes"),
    ("ACCOUNTS_EXHAUSTED", "accounts"),
    ("RATE_LIMITED", "rate"),
    ("SESSION_LIMIT_REACHED", "concurrency"),
    ("QUOTA_EXCEEDED", "session_quota"),
    ("BUDGET_EXCEEDED", "budgets"),
    ("QUOTA_EXCEEDED", "budgets"),
    ("BALANCE_EXHAUSTED", "balance"),
    ("INDETERMINATE", "balance"),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    gate: &'static str,
    limit: String,
    /// Empty without one.
    plan: String,
    state: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct LimitMetrics {
    calls: Family<LimitLabels, Counter>,
    /// The pairs that have series.
    pairs: Mutex<BTreeSet<(String, String)>>,
}

impl LimitMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "limit_calls",
            "Calls that a limit was near for (80 %), that it denied, or that a shadow limit would have denied",
            self.calls.clone(),
        );
    }

    /// The backstop is everybody's; the series of other limits begin when they are near for the first time.
    pub(super) fn begin_at_zero(&self) {
        for state in [NEAR, OVER, SHADOW] {
            drop(self.calls.get_or_create(&self.labels(gate_of("rate"), "rate", "", state)));
        }
    }

    /// Counts what the limits of a decision say. The plan is asked for only where one of them says something.
    pub(super) fn decided(&self, decision: &Decision, plan: impl FnOnce() -> String) {
        let mut said = decision.limits.iter().filter_map(|view| state(view).map(|state| (view, state))).peekable();
        if said.peek().is_none() {
            return;
        }
        let plan = plan();
        for (view, state) in said {
            let denied_by = decision.gate().filter(|_| state == OVER).map(Gate::name);
            let gate = denied_by.unwrap_or_else(|| gate_of(view.name()));
            self.calls.get_or_create(&self.labels(gate, view.name(), &plan, state)).inc();
        }
    }

    fn labels(&self, gate: &'static str, limit: &str, plan: &str, state: &'static str) -> LimitLabels {
        let pair = (limit.to_owned(), plan.to_owned());
        let (limit, plan) = match self.pairs.lock() {
            Ok(pairs) if pairs.contains(&pair) => pair,
            Ok(mut pairs) if pairs.len() < PAIRS_MAX => {
                pairs.insert(pair.clone());
                pair
            }
            _ => (OTHER.to_owned(), OTHER.to_owned()),
        };
        LimitLabels { gate, limit, plan, state }
    }
}

/// The gate that holds an org to a limit of this name.
fn gate_of(limit: &str) -> &'static str {
    match limit {
        "rate" => "rate",
        "sessions" => "concurrency",
        "balance" => "balance",
        _ => "budgets",
    }
}

fn state(view: &LimitView) -> Option<&'static str> {
    let usable = view.amount?.saturating_sub(view.buffer);
    let taken = u128::from(view.used) + u128::from(view.reserved);
    match (view.shadow, view.limiting) {
        (true, _) if taken > u128::from(usable) => Some(SHADOW),
        (false, true) => Some(OVER),
        _ if view.percent_taken()? >= NEAR_PERCENT => Some(NEAR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::{Meter, Scope},
        limit::Limit,
        window::Window,
    };

    fn view(amount: Option<u64>, used: u64, reserved: u64) -> LimitView {
        let limit = Limit::new(Meter::spend(), Window::Rolling { len: 3_600_000 }, amount);
        LimitView::of(&limit, &Scope::org(), used, reserved)
    }

    fn counted(metrics: &LimitMetrics, limit: &str, plan: &str, state: &'static str) -> u64 {
        metrics.calls.get_or_create(&metrics.labels(gate_of(limit), limit, plan, state)).get()
    }

    #[test]
    fn a_limit_is_near_from_80_percent_over_where_it_denies_and_shadow_where_it_would() {
        assert_eq!(state(&view(Some(100), 79, 0)), None);
        assert_eq!(state(&view(Some(100), 70, 10)), Some(NEAR));
        assert_eq!(state(&LimitView { buffer: 50, ..view(Some(100), 40, 0) }), Some(NEAR));
        assert_eq!(state(&LimitView { limiting: true, ..view(Some(100), 10, 0) }), Some(OVER));
        let shadow = LimitView { shadow: true, ..view(Some(100), 101, 0) };
        assert_eq!((state(&shadow), state(&LimitView { used: 100, ..shadow })), (Some(SHADOW), Some(NEAR)));
        assert_eq!(state(&view(None, u64::MAX, u64::MAX)), None, "unlimited");
    }

    #[test]
    fn calls_are_counted_by_limit_and_plan_and_the_plan_is_asked_for_only_then() {
        let metrics = LimitMetrics::default();
        let mut decision = Decision::allowed(None);
        decision.limits.push(view(Some(100), 10, 0));
        metrics.decided(&decision, || panic!("nothing is near"));
        decision.limits.push(view(Some(100), 90, 0));
        metrics.decided(&decision, || "free".to_owned());
        assert_eq!(counted(&metrics, "budget/hourly", "free", NEAR), 1);
    }

    #[test]
    fn gates_are_called_as_they_call_themselves() {
        let gates: Vec<_> = Gate::ALL.iter().map(|gate| gate.name()).collect();
        let named = DENIALS.iter().map(|(_, gate)| *gate);
        for gate in named.chain(["rate", "sessions", "balance", "budget/daily"].map(gate_of)) {
            assert!(gates.contains(&gate), "{gate}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = LimitMetrics::default();
        let mut decision = Decision::allowed(None);
        decision.limits.push(view(Some(1), 1, 0));
        for plan in 0..2 * PAIRS_MAX {
            metrics.decided(&decision, || format!("plan-{plan}"));
        }
        assert_eq!(metrics.pairs.lock().unwrap().len(), PAIRS_MAX);
        let other = LimitLabels { gate: "budgets", limit: OTHER.into(), plan: OTHER.into(), state: NEAR };
        assert_eq!(metrics.calls.get_or_create(&other).get(), u64::try_from(PAIRS_MAX).unwrap());
    }
}
