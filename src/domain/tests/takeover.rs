//! Budgets of an older system are taken over once.

use super::*;
use crate::domain::{
    org::takeover::OlderBudget,
    window::{LEGACY_PERIOD, PERIODS},
};

fn older(scope_name: &str, limit: Option<u64>, monthly_spend: u64, call: &str) -> OlderBudget {
    OlderBudget {
        scope: scope(scope_name),
        limit,
        monthly_spend,
        source: Source::parse("source", "older").unwrap(),
        incarnation: Incarnation::parse("incarnation", "older").unwrap(),
        idempotency: key(call),
    }
}

impl OrgBench {
    fn take_over(&mut self, older: &OlderBudget) -> Result<bool, OrgError> {
        self.in_context(DecisionId(0), |state, ctx| state.take_over(older, ctx))
    }

    /// Limit and spend of every period of a scope.
    fn periods(&mut self, scope_name: &str) -> Vec<(&'static str, Option<u64>, u64)> {
        match self.ask(GetBudget { scope: scope(scope_name) }) {
            Ok(budget) => budget.periods.iter().map(|each| (each.period, each.limit, each.used)).collect(),
            other => panic!("no budget: {other:?}"),
        }
    }
}

#[test]
fn it_fills_the_month_and_its_baseline_and_doing_it_again_changes_nothing() {
    let mut org = OrgBench::new();
    let row = older("workspace/a", Some(100), 40, "1");
    assert_eq!(org.take_over(&row), Ok(true));
    let month = |name: &str| name == LEGACY_PERIOD;
    let longer =
        |name: &str| PERIODS.iter().skip_while(|(period, _)| !month(period)).any(|(period, _)| *period == name);
    for (period, limit, used) in org.periods("workspace/a") {
        assert_eq!(limit, month(period).then_some(100), "{period}");
        assert_eq!(used, if longer(period) { 40 } else { 0 }, "it was spent some time this month: {period}");
    }
    assert_eq!(org.periods("").last().unwrap().2, 40, "what a scope has spent, its org has");
    org.restart();
    let before = org.snapshot();
    assert_eq!(org.take_over(&older("workspace/a", Some(100), 40, "2")), Ok(false));
    assert_eq!(org.snapshot(), before);
    assert!(org.flush().is_none_or(|write| write.puts.len() <= 1), "at most the head: time went on");
    assert_eq!(before.baselines.len(), 1);
}

#[test]
fn a_limit_that_was_changed_since_stays_and_a_total_that_has_grown_counts_what_it_grew_by() {
    let mut org = OrgBench::new();
    org.take_over(&older("", Some(100), 40, "1")).unwrap();
    let (scope, periods, idempotency) = (Scope::org(), vec![(LEGACY_PERIOD, Some(70))], key("set"));
    let set = SetBudget { scope, replace: false, periods, expected_version: None, idempotency };
    org.ask(Box::new(set)).unwrap();
    assert_eq!(org.take_over(&older("", Some(100), 55, "2")), Ok(true));
    let month = org.periods("").into_iter().find(|(period, ..)| *period == LEGACY_PERIOD).unwrap();
    assert_eq!(month, (LEGACY_PERIOD, Some(70), 55));
}

#[test]
fn it_enters_an_org_that_has_spent_and_every_number_still_adds_up() {
    let windows = [Window::Aligned { len: 25 * DAY_MS }, Window::Anchored { len: 20 * DAY_MS }];
    let mut org = OrgBench::with(windows.map(|window| spend_limit(window, 1000)));
    org.record("workspace/a", spend(5), "r").unwrap();
    org.after(10 * DAY_MS).record("", spend(7), "s").unwrap();
    org.take_over(&older("workspace/a", None, 40, "1")).unwrap();
    org.restart();
    let audit = org.ask(RunAudit).unwrap().expect("an audit");
    assert_eq!(audit.drift, vec![], "R-BUD-3");
    assert_eq!(org.periods("workspace/a").last().unwrap().2, 45);
    assert_eq!(org.used("quota/spend/anchored/20d"), 52, "it began before");
}

#[test]
fn what_was_taken_over_leaves_the_month_in_its_time() {
    let mut org = OrgBench::new();
    org.take_over(&older("", Some(40), 40, "1")).unwrap();
    assert_eq!(org.run(), Code::BudgetExceeded);
    org.after(23 * DAY_MS);
    assert_eq!(org.run(), Code::Allowed);
}
