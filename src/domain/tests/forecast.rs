//! R-EXPL-4: which limits run out, and when, at the pace of the org.

use super::*;
use crate::domain::{
    command::{End, GetStatus, Grant, Lasts, SetOverride},
    decision::LimitView,
    request::Rpc,
    rows::{OverrideSubject, Setting},
};

impl OrgBench {
    fn forecast_of(&mut self, scope_name: &str, name: &str) -> LimitView {
        let scopes = if scope_name.is_empty() { Scopes::org() } else { scope(scope_name).into() };
        let status = self.ask(GetStatus { scopes, known: Known::default() }).unwrap();
        let named = |view: &&LimitView| view.name() == name && view.scope == scope(scope_name);
        status.decision.limits.iter().find(named).unwrap_or_else(|| panic!("no limit {name}")).clone()
    }

    /// From now until a limit runs out.
    fn runs_out_in(&mut self, name: &str) -> Option<Millis> {
        let at = self.forecast_of("", name).runs_out_at?;
        Some(at - self.clocks().service)
    }

    /// As much in each of so many minutes, the last one now.
    fn steadily(&mut self, scope_name: &str, amounts: &Amounts, minutes: u64) {
        for minute in 0..minutes {
            if minute > 0 {
                self.after(MINUTE_MS);
            }
            let id = format!("steady-{}", self.clocks().service);
            self.record(scope_name, amounts.clone(), &id).unwrap();
        }
    }
}

#[test]
fn a_limit_runs_out_when_the_pace_has_used_what_is_left() {
    let mut org =
        OrgBench::with([spend_limit(DAILY, 1_000), spend_limit(HOURLY, 5_000), executions_limit(CLOCK_HOUR, 9)]);
    assert_eq!(org.runs_out_in("budget/daily"), None, "nothing is used");
    // 60 minutes from the one that begins an hour ago: 61 slices, over an hour.
    org.steadily("", &spend(10), 61);
    assert_eq!(org.runs_out_in("budget/daily"), Some((390 * HOUR_MS).div_ceil(610)));
    assert_eq!(org.runs_out_in("budget/hourly"), None, "as much leaves the window as comes");
    assert_eq!(org.runs_out_in("quota/executions/aligned/1h"), None, "another meter");
    let as_told = org.forecast_of("", "budget/daily").runs_out_at.unwrap();
    org.restart();
    assert_eq!(org.forecast_of("", "budget/daily").runs_out_at, Some(as_told), "out of what is stored");
    while !org.forecast_of("", "budget/daily").exhausted() {
        org.after(MINUTE_MS).steadily("", &spend(10), 1);
    }
    let late = org.clocks().service.abs_diff(as_told);
    assert!(late <= 2 * MINUTE_MS, "it came {late} ms beside the forecast");
    assert_eq!(org.runs_out_in("budget/daily"), None, "nothing is left now");
}

#[test]
fn a_grant_and_an_override_end_before_what_they_add_runs_out() {
    let limit = || OverrideSubject::limit("limit", "budget/daily").unwrap();
    let reason = || Reason::parse("reason", "").unwrap();
    for is_grant in [true, false] {
        let mut org = OrgBench::with([spend_limit(DAILY, 1_000)]);
        org.steadily("", &spend(10), 61);
        let end = End::After(2 * HOUR_MS);
        if is_grant {
            let (lasts, idempotency) = (Lasts::To(end), key("g"));
            let (scope, limit, reason) = (Scope::org(), limit(), reason());
            org.ask(Box::new(Grant { scope, limit, amount: 1_000, lasts, reason, idempotency })).unwrap();
        } else {
            org.ask(Box::new(SetOverride {
                rpc: Rpc::SetOverride,
                scope: Scope::org(),
                subject: limit(),
                setting: Some(Setting::Amount(2_000)),
                end: Some(end),
                expected_version: None,
                reason: reason(),
                idempotency: key("o"),
            }))
            .unwrap();
        }
        // 610 an hour: 1 830 of 2 000 are used when it ends, and of 1 000 then.
        assert_eq!(org.runs_out_in("budget/daily"), Some(2 * HOUR_MS), "R-EXPL-4: {is_grant}");
    }
}

#[test]
fn what_leaves_a_rolling_window_meanwhile_is_taken_off() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100)]);
    org.record("", spend(60), "early").unwrap();
    org.after(50 * MINUTE_MS).steadily("", &spend(2), 10);
    // At minute 59: 80 used, 20 of them in the last ten minutes. The 60 leave at minute 61, before 20 more are there.
    let (since, until) = (49, 59);
    let pace = (20, (until - since) * MINUTE_MS);
    let left = 100 - 20;
    assert_eq!(org.runs_out_in("budget/hourly"), Some((left * pace.1).div_ceil(pace.0)));
}

#[test]
fn a_window_that_ends_before_is_no_run_out() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 100), executions_limit(DAY_FROM_FIRST_USE, 100)]);
    org.at(T0 + 20 * MINUTE_MS).steadily("", &executions(2), 11);
    // 22 in ten minutes; 78 are left, which takes 36 minutes and not 30.
    assert_eq!(org.runs_out_in("quota/executions/aligned/1h"), None);
    let last_hour = (78 * (HOUR_MS)).div_ceil(22);
    assert_eq!(org.runs_out_in("quota/executions/anchored/1d"), Some(last_hour));
    org.record("", executions(10), "more").unwrap();
    assert!(org.runs_out_in("quota/executions/aligned/1h").is_some_and(|wait| wait < 30 * MINUTE_MS));
}

#[test]
fn what_is_reserved_counts_as_used_and_what_is_held_back_is_not_left() {
    let buffered = Limit { buffer: 100, ..spend_limit(DAILY, 1_000) };
    let mut org = OrgBench::with([buffered]);
    org.record("", spend(100), "a").unwrap();
    assert_eq!(org.runs_out_in("budget/daily"), Some(8 * HOUR_MS));
    org.reserve(spend(300));
    assert_eq!(org.runs_out_in("budget/daily"), Some(5 * HOUR_MS));
}

#[test]
fn each_scope_has_a_forecast_of_its_own_and_the_backstop_that_of_its_window() {
    let mut org = OrgBench::with([spend_limit(DAILY, 1_000)]).and_scope("workspace/a", [spend_limit(DAILY, 200)]);
    org.record("workspace/a", spend(100), "a").unwrap();
    assert_eq!(org.forecast_of("workspace/a", "budget/daily").runs_out_at, Some(org.clocks().service + HOUR_MS));
    assert_eq!(org.runs_out_in("budget/daily"), Some(9 * HOUR_MS));
    assert_eq!(org.runs_out_in("rate"), None);
    let amount = org.forecast_of("", "rate").amount.unwrap();
    org.at(T0 + 10 * MINUTE_MS);
    for _ in 0..amount / 2 {
        org.run();
    }
    assert_eq!(org.runs_out_in("rate"), Some(10 * MINUTE_MS), "as long as it took until now");
    assert_eq!(org.limit("rate").runs_out_at, None, "an answer to an Acquire forecasts nothing");
}

#[test]
fn operators_see_the_forecast_of_every_limit() {
    let mut org = OrgBench::with([spend_limit(DAILY, 1_000)]).and_scope("workspace/a", [spend_limit(DAILY, 200)]);
    org.record("workspace/a", spend(100), "a").unwrap();
    let limits = org.snapshot().limits;
    let daily = limits.iter().filter(|view| view.name() == "budget/daily");
    let ends: Vec<_> = daily.map(|view| view.runs_out_at.unwrap() - org.clocks().service).collect();
    assert_eq!(ends, [9 * HOUR_MS, HOUR_MS]);
}
