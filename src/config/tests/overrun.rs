//! `overrun`: of which limits it is said, in which layer, and what else is refused.

use super::*;
use crate::domain::{limit::Limits, policy::Overrun};

fn carrying(policy: &OrgPolicy) -> Vec<(String, String)> {
    let of = |scope: &str, limits: &Limits| {
        let names = limits.iter().filter(|limit| limit.carries).map(|limit| limit.name().to_owned());
        names.map(|name| (scope.to_owned(), name)).collect::<Vec<_>>()
    };
    let scopes = policy.scopes.iter().map(|(scope, limits)| of(scope.as_str(), limits));
    let prefixes = policy.scope_prefixes.iter().map(|(prefix, limits)| of(prefix, limits));
    std::iter::once(of("", &policy.limits)).chain(scopes).chain(prefixes).flatten().collect()
}

const PLAN: &str = "[plans.p]\noverrun = \"carry\"\nspend = { hourly = \"5u\", aligned_1h = \"5u\" }\n\
    executions = { calendar_month = 9, anchored_24h = 5, calendar_day = { amount = 3, zone = \"Asia/Kolkata\" } }\n\
    scopes.\"agent/*\" = { executions = { calendar_week = 2 } }\nscopes.\"workspace/a\" = { spend = { daily = \"1u\" } }\n";

#[test]
fn limits_of_which_one_window_follows_the_other_carry_those_of_scopes_too() {
    let config = good(&format!("{PLAN}[orgs.a]\nplan = \"p\"\nbilling_anchor = 15\n"));
    let expected = [
        ("", "quota/executions"),
        ("", "quota/executions/calendar/day@Asia/Kolkata"),
        ("", "quota/spend/aligned/1h"),
        ("agent/", "quota/executions/calendar/week"),
    ];
    let expected = expected.map(|(scope, name)| (scope.to_owned(), name.to_owned()));
    let mut found = carrying(&policy(&config, "a"));
    found.sort();
    assert_eq!(found, expected);
    assert!(policy(&config, "a").limits.iter().any(|limit| limit.window().to_string() == "calendar/month/15"));
}

#[test]
fn an_org_has_the_last_word_and_nothing_carries_by_itself() {
    let config = good(&format!(
        "{PLAN}[plans.q]\nexecutions = {{ calendar_day = 5 }}\n[orgs.a]\nplan = \"p\"\noverrun = \"forget\"\n\
         [orgs.b]\nplan = \"q\"\n[orgs.c]\nplan = \"q\"\noverrun = \"carry\"\n"
    ));
    let overrun = |org: &str| policy(&config, org).overrun;
    assert_eq!([overrun("a"), overrun("b"), overrun("c")], [Overrun::Forget, Overrun::Forget, Overrun::Carry]);
    let carried = |org: &str| carrying(&policy(&config, org)).len();
    assert_eq!([carried("a"), carried("b"), carried("c")], [0, 0, 1]);
}

#[test]
fn another_word_is_refused_by_the_name_of_the_field() {
    for (value, shown) in [("\"keep\"", "keep"), ("true", "true"), ("\"Carry\"", "Carry"), ("1", "1")] {
        let shown =
            format!("t.toml:2:11: plans.p.overrun \"{shown}\" is not allowed: \"carry\" (it is the first usage of");
        let errors = errors(&format!("[plans.p]\noverrun = {value}\n"));
        assert!(errors.contains(&shown), "{errors}");
    }
    let misplaced = errors("[plans.p]\nscopes.\"agent/*\" = { overrun = \"carry\" }\n");
    assert!(misplaced.contains("overrun is not a known key"), "{misplaced}");
}
