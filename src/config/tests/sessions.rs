//! Plan tiers, sessions, and trials that end.

use super::*;
use crate::domain::{
    ids::Meter,
    limit::{Limit, Origin},
    policy::SessionPolicy,
    window::{Calendar, Millis, Window},
};

/// Monthly compute in hours, and sessions at once.
fn tier(policy: &OrgPolicy) -> (Option<u64>, Option<u64>) {
    let monthly = policy.limits.iter().find(|limit| *limit.meter() == Meter::compute()).unwrap();
    let month = Window::Calendar(Calendar::Month);
    assert_eq!(monthly.window(), if policy.sessions.trial { Window::Once } else { month });
    (monthly.amount.map(|amount| amount / HOUR_MS), policy.sessions.max)
}

#[test]
fn six_plans_exist_by_default() {
    for (name, monthly, sessions) in [
        ("free", Some(4), 1),
        ("trial", Some(5), 1),
        ("standard", Some(40), 1),
        ("advanced", Some(80), 2),
        ("max", Some(160), 3),
        ("unlimited", None, 5),
    ] {
        let config = good(&format!("[defaults]\nplan = \"{name}\"\n"));
        let policy = policy(&config, "anyone");
        assert_eq!((policy.plan.as_str(), tier(&policy)), (name, (monthly, Some(sessions))), "R-SES-7");
        assert_eq!(policy.sessions.trial, name == "trial");
    }
}

#[test]
fn a_section_stands_in_place_of_the_plan_of_its_name() {
    let config = good(
        "[plans.free]\nmax_sessions = 2\n[orgs.a]\nplan = \"free\"\nmax_sessions = \"unlimited\"\n[defaults]\nplan = \"free\"\n",
    );
    let free = policy(&config, "anyone");
    assert_eq!((free.limits.len(), free.sessions.max), (0, Some(2)), "nothing limits that nobody wrote down");
    assert_eq!(policy(&config, "a").sessions.max, None);
}

#[test]
fn every_key_of_a_session_means_what_it_says() {
    let config = good(
        "[sessions]\nenforce = false\nfirst_slice = \"1m\"\nheartbeat = \"10s\"\nmissed = 2\ngrace = \"5s\"\nclamp = \"2m\"\n\
         [budgets]\non_indeterminate = \"deny\"\n",
    );
    let anyone = policy(&config, "anyone");
    let expected = SessionPolicy {
        max: None,
        shadow: false,
        origin: Origin::default(),
        enforce: false,
        trial: false,
        first_slice: 60_000,
        heartbeat: 10_000,
        missed: 2,
        grace: 5_000,
        clamp: 120_000,
    };
    assert_eq!((&anyone.sessions, anyone.sessions.lease()), (&expected, 25_000));
    assert_eq!(anyone.budgets_on_indeterminate, OnIndeterminate::Deny);
}

#[test]
fn an_org_has_the_plan_after_its_trial_from_the_day_on_with_what_it_says_itself() {
    let text = |ends: &str| {
        format!(
            "[orgs.a]\nplan = \"trial\"\ntrial_ends = {ends}\nrate = {{ amount = 7 }}\n[orgs.b]\nplan = \"trial\"\n"
        )
    };
    const MIDNIGHT: Millis = 1_797_292_800_000;
    for (ends, at) in [
        ("\"2026-12-15\"", MIDNIGHT),
        ("2026-12-15", MIDNIGHT),
        ("\"2026-12-15T08:30:00+01:00\"", MIDNIGHT + 27_000_000),
    ] {
        let config = good(&text(ends));
        let a = policy(&config, "a");
        let plan = |now| (a.at(now).plan.clone(), a.at(now).rate.amount, a.at(now).sessions.trial);
        assert_eq!(plan(at - 1), ("trial".into(), Some(7), true), "{ends}");
        assert_eq!(plan(at), ("free".into(), Some(7), false), "R-SES-7: computed at read");
        assert_eq!(policy(&config, "b").at(Millis::MAX).plan, "trial", "without an end it goes on");
    }
}

/// R-SES-7: what it includes does not come again with a month; what its scopes may use of it does.
#[test]
fn the_compute_of_a_trial_is_counted_once() {
    let config = good(
        "[plans.p]\ntrial = true\nthen = \"free\"\ncompute = { calendar_month = \"5h\", calendar_day = \"1h\" }\n\
         executions = { calendar_month = 5 }\nscopes.w = { compute = { calendar_month = \"2h\" } }\n\
         [orgs.a]\nplan = \"p\"\ntrial_ends = \"2026-12-15\"\n[orgs.b]\nplan = \"p\"\nbilling_anchor = 9\n\
         [orgs.c]\nplan = \"p\"\ntrial = false\n[orgs.d]\nplan = \"standard\"\ntrial = true\n",
    );
    let windows = |policy: &OrgPolicy, meter: Meter| -> Vec<Window> {
        policy.limits.iter().filter(|limit| *limit.meter() == meter).map(Limit::window).collect()
    };
    let [month, from, day] = [Calendar::Month, Calendar::MonthFrom(9), Calendar::Day].map(Window::Calendar);
    for (org, compute, executions) in [
        ("a", vec![day, Window::Once], Some(month)),
        ("b", vec![day, Window::Once], Some(from)),
        ("c", vec![day, month], Some(month)),
        ("d", vec![Window::Once], None),
    ] {
        let policy = policy(&config, org);
        assert_eq!(windows(&policy, Meter::compute()), compute, "{org}");
        assert_eq!(windows(&policy, Meter::executions()), Vec::from_iter(executions), "{org}");
    }
    let a = policy(&config, "a");
    assert_eq!(windows(a.at(Millis::MAX), Meter::compute()), [month], "the plan after it");
    assert_eq!(a.scopes.values().next().unwrap()[0].window(), month);
}
