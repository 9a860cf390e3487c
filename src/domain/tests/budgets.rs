//! Budgets that are set at run time, over those of the configuration.

use super::*;
use crate::domain::{
    gate::{Cause, FailOpen, Gate},
    outcome::{BudgetSet, Shown},
    policy::OnIndeterminate,
    reply::BudgetView,
    rows::{BudgetRow, Row},
    window::PERIODS,
};

impl OrgBench {
    fn try_set(
        &mut self,
        scope_name: &str,
        set: &[(&'static str, Option<u64>)],
        call: &str,
    ) -> Result<Shown<BudgetSet, BudgetView>, OrgError> {
        self.change(scope_name, set, false, None, call)
    }

    fn change(
        &mut self,
        scope_name: &str,
        set: &[(&'static str, Option<u64>)],
        replace: bool,
        expected_version: Option<u64>,
        call: &str,
    ) -> Result<Shown<BudgetSet, BudgetView>, OrgError> {
        let (scope, periods, idempotency) = (scope(scope_name), set.to_vec(), key(call));
        self.ask(Box::new(SetBudget { scope, replace, periods, expected_version, idempotency }))
    }

    fn set(&mut self, scope_name: &str, set: &[(&'static str, Option<u64>)]) -> BudgetView {
        let call = format!("set {}", self.next_id);
        let done = self.try_set(scope_name, set, &call).unwrap();
        assert!(!done.replayed);
        done.view
    }

    fn budget(&mut self, scope_name: &str) -> BudgetView {
        *self.ask(GetBudget { scope: scope(scope_name) }).unwrap()
    }

    /// An execution of that scope, without a cost in spend.
    fn code(&mut self, scope_name: &str) -> Code {
        self.acquire(ask_on(scope_name)).code()
    }
}

fn limits(view: &BudgetView) -> Vec<(&str, u64)> {
    view.periods.iter().filter_map(|period| Some((period.period, period.limit?))).collect()
}

#[test]
fn a_patch_sets_and_clears_and_keeps_what_it_does_not_name() {
    let mut org = OrgBench::new();
    let set = org.set("", &[("hourly", Some(5)), ("monthly", Some(50))]);
    assert_eq!((set.version, limits(&set)), (1, vec![("hourly", 5), ("monthly", 50)]));
    let merged = org.set("", &[("hourly", None), ("daily", Some(7))]);
    assert_eq!((merged.version, limits(&merged)), (2, vec![("daily", 7), ("monthly", 50)]), "R-BUD-6");
    let same = org.set("", &[("daily", Some(7)), ("weekly", None)]);
    assert_eq!((same.version, limits(&same)), (2, limits(&merged)), "nothing changed");
    let previous = |view: &BudgetView| -> Vec<_> { view.periods.iter().map(|period| period.previous).collect() };
    assert_eq!(previous(&set), [None; PERIODS.len()], "R-BUD-6: what was in force before");
    assert_eq!(previous(&merged)[..4], [Some(5), None, None, Some(50)]);
    assert_eq!(previous(&org.budget("")), [None; PERIODS.len()], "nothing was changed by reading");
    let budget = org.change("", &[("weekly", Some(9))], true, Some(2), "r").unwrap().view;
    assert_eq!((budget.version, limits(&budget)), (3, vec![("weekly", 9)]));
}

#[test]
fn a_budget_that_somebody_else_changed_is_not_overwritten() {
    let mut org = OrgBench::new();
    org.set("", &[("hourly", Some(5))]);
    let stale = org.change("", &[("hourly", Some(6))], false, Some(0), "x");
    assert_eq!(stale, Err(OrgError::BudgetVersion { current: 1 }));
    assert_eq!(limits(&org.budget(""))[0], ("hourly", 5));
    assert!(org.change("", &[("hourly", Some(6))], false, Some(1), "x").is_ok(), "a refusal is not remembered");
}

#[test]
fn a_limit_is_in_force_on_the_next_call_over_the_configured_one_and_after_a_restart() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100)]);
    org.record("", spend(60), "r").unwrap();
    assert_eq!(org.code(""), Code::Allowed);
    org.set("", &[("hourly", Some(60))]);
    assert_eq!(org.code(""), Code::BudgetExceeded, "R-PIPE-11");
    org.restart();
    assert_eq!(org.code(""), Code::BudgetExceeded);
    let view = org.budget("");
    let hourly = &view.periods[0];
    assert_eq!((hourly.limit, hourly.set, hourly.used, hourly.remaining), (Some(60), true, 60, Some(0)));
    org.set("", &[("hourly", Some(61))]);
    assert_eq!(org.code(""), Code::Allowed, "a raised limit unblocks at once");
    org.set("", &[("hourly", None)]);
    let view = org.budget("");
    assert_eq!((view.periods[0].limit, view.periods[0].set), (Some(100), false), "the configured one is back");
}

#[test]
fn each_period_denies_by_itself_with_its_name() {
    for (period, len) in PERIODS {
        let mut org = OrgBench::new();
        org.set("", &[(period, Some(10))]);
        org.record("", spend(10), "r").unwrap();
        let denied = org.acquire(ask());
        let limiting: Vec<_> =
            denied.limits.iter().filter(|view| view.limiting).map(|view| view.name().to_string()).collect();
        assert_eq!(limiting, [format!("budget/{period}")], "R-BUD-2");
        assert!(denied.message().contains(&format!("budget/{period}")), "{}", denied.message());
        org.after(*len - HOUR_MS.min(*len / 2));
        assert_eq!(org.run(), Code::BudgetExceeded);
        org.after(2 * HOUR_MS.max(*len / 2));
        assert_eq!(org.run(), Code::Allowed, "{period}: it has left");
    }
}

#[test]
fn nothing_blocks_all_and_no_limit_blocks_nothing() {
    let mut org = OrgBench::new();
    org.set("", &[("weekly", Some(0))]);
    assert_eq!(org.code(""), Code::BudgetExceeded, "R-BUD-2");
    org.set("", &[("weekly", None)]);
    org.record("", spend(1_000_000), "r").unwrap();
    assert_eq!(org.code(""), Code::Allowed);
}

#[test]
fn org_and_scope_must_both_fit_and_the_one_that_fits_last_is_named() {
    let mut org = OrgBench::new();
    org.set("", &[("daily", Some(100))]);
    org.set("workspace/a", &[("daily", Some(40))]);
    let reserve = |amount| Acquire { reserve: spend(amount), ..ask_on("workspace/a") };
    let denied = org.acquire(reserve(41));
    assert!(denied.message().contains("scope workspace/a"), "R-BUD-7: {}", denied.message());
    org.record("workspace/b", spend(90), "r").unwrap();
    let denied = org.acquire(reserve(11));
    assert!(denied.message().contains("of this org"), "R-BUD-7: {}", denied.message());
    assert!(org.acquire(reserve(10)).allowed);
    assert_eq!(org.code("workspace/b"), Code::BudgetExceeded, "the org's is used up");
}

#[test]
fn a_scope_behind_a_prefix_keeps_the_other_limits_of_the_prefix() {
    let mut org = OrgBench::new();
    let configured = vec![spend_limit(HOURLY, 10), spend_limit(DAILY, 20)];
    org.policy.scope_prefixes.insert("workspace/".into(), configured.into());
    org.set("workspace/a", &[("hourly", Some(30))]);
    assert_eq!(limits(&org.budget("workspace/a")), [("hourly", 30), ("daily", 20)]);
    assert_eq!(limits(&org.budget("workspace/b")), [("hourly", 10), ("daily", 20)]);
}

#[test]
fn a_changed_configuration_is_in_force_beneath_what_was_set() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    org.set("", &[("daily", Some(5))]);
    org.policy.limits = vec![spend_limit(HOURLY, 7)].into();
    assert_eq!(limits(&org.budget("")), [("hourly", 7), ("daily", 5)]);
}

#[test]
fn a_call_is_answered_again_and_carried_out_once() {
    let mut org = OrgBench::new();
    org.try_set("", &[("hourly", Some(5))], "u").unwrap();
    org.set("", &[("hourly", Some(6))]);
    let Shown { view: budget, replayed, .. } = org.try_set("", &[("hourly", Some(5))], "u").unwrap();
    assert!(replayed);
    assert_eq!((budget.version, budget.periods[0].limit), (2, Some(6)), "R-PIPE-6: as it is now");
    assert_eq!(org.try_set("", &[("hourly", Some(5))], "u#2"), Err(OrgError::RequestIdReused));
}

#[test]
fn a_limit_that_can_not_be_understood_is_neither_a_limit_nor_none() {
    for (name, amount) in [("fortnightly", 5), ("hourly", u64::MAX)] {
        let mut org = OrgBench::with([spend_limit(DAILY, 100)]);
        org.set("workspace/a", &[("weekly", Some(50))]);
        org.flush();
        let mut rows = org.disk.rows();
        for row in &mut rows.rows {
            if let Row::Budget(BudgetRow { limits, .. }) = row {
                limits.insert(name.into(), amount);
            }
        }
        org.state = OrgState::load(rows, org.clocks());
        let decision = org.acquire(ask_on("workspace/a"));
        let open = FailOpen { gate: Gate::Budgets, cause: Cause::MalformedLimit };
        assert_eq!((decision.allowed, &decision.fail_open()), (true, &vec![open]), "R-BUD-2");
        assert!(org.acquire(ask_on("workspace/b")).fail_open().is_empty(), "other scopes are well");
        assert_eq!(org.budget("workspace/a").malformed, [(name.into(), amount)]);
        org.policy.budgets_on_indeterminate = OnIndeterminate::Deny;
        let denied = org.acquire(ask_on("workspace/a"));
        assert_eq!((denied.code(), denied.gate()), (Code::Indeterminate, Some(Gate::Budgets)));
        org.record("workspace/a", spend(50), "r").unwrap();
        assert_eq!(org.code("workspace/a"), Code::BudgetExceeded, "what is known to be exhausted denies first");
        org.change("workspace/a", &[], true, None, "heal").unwrap();
        assert!(org.acquire(ask_on("workspace/a")).fail_open().is_empty());
        org.restart();
        assert!(org.budget("workspace/a").malformed.is_empty());
    }
}

#[test]
fn scopes_with_a_budget_are_bounded_and_cleared_ones_give_way() {
    let mut org = OrgBench::new();
    org.bounds.budgets_per_org = 2;
    org.set("workspace/a", &[("daily", Some(1))]);
    org.set("workspace/b", &[("daily", Some(1))]);
    assert_eq!(org.try_set("workspace/c", &[("daily", Some(1))], "c"), Err(OrgError::TooManyBudgets { most: 2 }));
    org.set("workspace/a", &[("daily", None)]);
    assert_eq!(org.set("workspace/c", &[("daily", Some(1))]).version, 1);
    org.restart();
    let scopes: Vec<_> = org.snapshot().budgets.into_iter().map(|row| row.scope.as_str().to_owned()).collect();
    assert_eq!(scopes, ["workspace/b", "workspace/c"]);
}

#[test]
fn a_purge_forgets_what_was_set() {
    let mut org = OrgBench::new();
    org.set("", &[("hourly", Some(0))]);
    org.ask(Purge).unwrap();
    assert_eq!(org.code(""), Code::Allowed);
    assert_eq!(org.budget("").version, 0);
}

#[test]
fn one_reservation_holds_no_more_than_its_share_of_a_limit_and_no_longer_than_it_may() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100)]);
    org.bounds.reservation_share_percent = 40;
    let denied = org.acquire(reserving(spend(41)));
    assert_eq!((denied.code(), denied.gate(), denied.retry_after()), (Code::BudgetExceeded, Some(Gate::Reserve), 0));
    assert!(denied.message().contains("at most $0.00004, which is") && denied.limits.iter().any(|view| view.limiting));
    assert!(org.acquire(reserving(spend(40))).allowed);
    org.bounds.reservation_ttl_max_ms = 60_000;
    let long = Acquire { reservation_ttl: 60_001, ..reserving(spend(1)) };
    assert_eq!(org.try_acquire(long), Err(OrgError::ReservationTooLong { most: 60_000 }));
    let hold = org.acquire(Acquire { reservation_ttl: 0, ..reserving(spend(1)) }).hold.unwrap();
    assert_eq!(hold.expires_at, T0 + 60_000, "the default fits");
    assert_eq!(org.extend(hold.id, 60_001, "x"), Err(OrgError::ReservationTooLong { most: 60_000 }));
}

/// R-BUD-1, R-BUD-8: whatever the table of periods says, also with one more line in it.
mod periods {
    use super::*;
    use crate::domain::window::{HOUR_RETENTION_MS, period};

    #[test]
    fn every_period_counts_to_its_last_slice_and_nothing_of_it_is_purged_before() {
        for (name, len) in PERIODS {
            let mut org = OrgBench::new();
            org.set("", &[(name, Some(5))]);
            org.record("", spend(5), "r").unwrap();
            let leaves = period(name).unwrap().slice_leaves_at(T0).unwrap();
            let steps = 7;
            for step in 1..=steps {
                org.at(T0 + (leaves - 1 - T0) * step / steps);
                org.sweep();
                org.restart();
                assert_eq!(org.run(), Code::BudgetExceeded, "{name}: {step} of {steps}, of {len} ms");
            }
            org.at(leaves);
            assert_eq!(org.run(), Code::Allowed, "{name}");
            org.at(T0 + HOUR_RETENTION_MS + DAY_MS).sweep();
            assert_eq!(org.snapshot().ledgers.iter().filter(|ledger| ledger.meter == Meter::spend()).count(), 0);
        }
    }

    #[test]
    fn every_period_is_shown_nested_and_enforced_by_its_name() {
        let mut org = OrgBench::new();
        org.record("", spend(3), "r").unwrap();
        let view = org.budget("");
        assert_eq!(
            view.periods.iter().map(|each| each.period).collect::<Vec<_>>(),
            PERIODS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        assert!(view.periods.iter().all(|each| each.used == 3));
        assert!(view.periods.is_sorted_by_key(|each| each.used), "R-BUD-3");
    }

    /// Slices are kept as long as the longest period needs them.
    #[test]
    fn a_period_that_is_added_is_there_and_its_slices_are_kept() {
        let added = cfg!(feature = "extra-period");
        let expected = if added { ("yearly", 369 * DAY_MS) } else { ("monthly", 35 * DAY_MS) };
        assert_eq!((PERIODS.last().unwrap().0, HOUR_RETENTION_MS), expected, "R-BUD-8");
    }
}
