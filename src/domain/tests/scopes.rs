//! Which scopes a call has to name, and which it may not.

use super::*;
use crate::domain::{
    gate::{Cause, Gate, Verdict},
    pipeline,
    policy::Family,
};

fn agents() -> Family {
    Family::Prefix("agent/".into())
}

fn naming(names: &[&str]) -> Acquire {
    Acquire { scopes: names.iter().map(|name| scope(name)).collect(), ..ask() }
}

fn requiring(families: &[Family]) -> OrgBench {
    let mut org = OrgBench::new();
    org.policy.require_scopes = families.to_vec();
    org
}

/// New names of agents are denied, one is listed, and one is denied by itself.
fn listing() -> OrgBench {
    let mut org = OrgBench::new().and_scope("agent/known", []).and_scope("agent/bad", []);
    org.policy.scope_prefixes.insert("agent/".into(), Limits::default());
    org.policy.denied_scopes = [agents(), Family::Only(scope("agent/bad"))].into();
    org
}

#[test]
fn a_call_that_names_none_of_a_required_family_is_denied_before_anything_is_charged() {
    let team = Family::Only(scope("team/core"));
    let mut org = requiring(&[agents(), team]);
    for (names, missing) in [
        (vec![], "agent/*, team/core"),
        (vec!["workspace/w"], "agent/*, team/core"),
        (vec!["agents/7", "team/core"], "agent/*"),
        (vec!["agent/7", "team/core2"], "team/core"),
    ] {
        let denied = org.acquire(naming(&names));
        assert_eq!((denied.allowed, denied.code(), denied.gate()), (false, Code::ScopeRequired, Some(Gate::Scopes)));
        assert_eq!((denied.code().http_status(), denied.retry_after()), (403, 0), "R-PIPE-5");
        assert!(denied.message().contains(&format!("a scope of {missing} in")), "{}", denied.message());
        let rate = &denied.limits[0];
        assert_eq!((rate.used, rate.blocked), (0, 0), "R-PIPE-4");
    }
    let admitted = org.acquire(naming(&["agent/7", "team/core", "workspace/w"]));
    assert_eq!((admitted.code(), admitted.limits[0].used), (Code::Allowed, 1));
}

#[test]
fn every_mode_evaluates_it_and_a_freeze_stands_before_it() {
    let mut org = requiring(&[agents()]);
    let peeked = org.peek(ask());
    assert_eq!((peeked.allowed, peeked.code()), (false, Code::ScopeRequired), "R-PIPE-7");
    let shadow = org.acquire(Acquire { mode: Mode::Shadow, ..ask() });
    assert_eq!((shadow.allowed, shadow.code(), shadow.limits[0].used), (true, Code::ScopeRequired, 0), "R-PIPE-7");
    org.policy.rate.amount = Some(0);
    let explained = org.acquire(Acquire { explain: true, ..ask() });
    assert_eq!(explained.code(), Code::ScopeRequired, "the first denial decides");
    assert!(matches!(explained.reports.of(Gate::Rate), Verdict::Denied(_)), "R-PIPE-1: explain runs every gate");
    org.ask(Freeze { reason: Reason::parse("reason", "x").unwrap(), end: None, idempotency: key("f") }).unwrap();
    assert_eq!(org.acquire(ask()).code(), Code::Frozen);
}

#[test]
fn what_happened_is_recorded_under_whatever_it_names() {
    let mut org = OrgBench { policy: OrgPolicy { require_scopes: vec![agents()], ..listing().policy }, ..listing() };
    assert_eq!(org.record("agent/new", executions(3), "r"), Ok(false), "R-PIPE-3");
    assert_eq!(org.record("", executions(2), "r2"), Ok(false), "R-PIPE-3");
    let ledger = |name: &str, org: &mut OrgBench| {
        let views = org.ask(Inspect).unwrap().unwrap().ledgers;
        views.iter().filter(|view| view.scope == scope(name)).map(|view| view.hours[0].total).sum::<u64>()
    };
    assert_eq!((ledger("", &mut org), ledger("agent/new", &mut org)), (5, 3));
    let hold = Acquire { reserve: executions(1), ..naming(&["agent/known"]) };
    let held = org.acquire(hold).hold.unwrap().id;
    org.policy.denied_scopes.insert(Family::Only(scope("agent/known")));
    assert_eq!(org.commit(held, executions(4), "c"), Ok(false), "what was admitted settles");
}

#[test]
fn only_listed_names_of_a_denied_family_may_be_used() {
    let mut org = listing();
    for (names, code) in [
        (vec!["agent/known"], Code::Allowed),
        (vec!["workspace/w"], Code::Allowed),
        (vec![], Code::Allowed),
        (vec!["agent/new"], Code::ScopeRequired),
        (vec!["agent/known", "agent/new"], Code::ScopeRequired),
        (vec!["agent/known/x"], Code::ScopeRequired),
        (vec!["agent/bad", "agent/known"], Code::ScopeRequired),
    ] {
        let decision = org.acquire(naming(&names));
        assert_eq!(decision.code(), code, "{names:?}: {}", decision.message());
    }
    let denied = org.acquire(naming(&["agent/new"]));
    assert!(denied.message().contains("scopes.\"agent/*\""), "{}", denied.message());
}

#[test]
fn a_longer_prefix_with_limits_knows_its_names() {
    let mut org = listing();
    org.policy
        .scope_prefixes
        .insert("agent/team-".into(), [Limit::new(Meter::spend(), DAILY, Some(5))].into_iter().collect());
    assert_eq!(org.acquire(naming(&["agent/team-1"])).code(), Code::Allowed);
    assert_eq!(org.acquire(naming(&["agent/tea"])).code(), Code::ScopeRequired);
}

#[test]
fn a_budget_lists_a_name_as_long_as_it_is_set() {
    let mut org = listing();
    let set = |limit: Option<u64>, name: &str, id: &str, org: &mut OrgBench| {
        let (scope, periods, idempotency) = (scope(name), vec![("daily", limit)], key(id));
        let set = SetBudget { scope, replace: false, periods, expected_version: None, idempotency };
        org.ask(Box::new(set)).unwrap();
        org.acquire(naming(&[name])).code()
    };
    assert_eq!(set(Some(5), "agent/new", "1", &mut org), Code::Allowed);
    assert_eq!(set(None, "agent/new", "2", &mut org), Code::ScopeRequired, "R-PIPE-11: derived each time");
    assert_eq!(set(Some(5), "agent/bad", "3", &mut org), Code::ScopeRequired, "denied by its name");
}

#[test]
fn without_the_state_what_is_required_is_known_and_what_is_listed_is_not() {
    let judged = |policy: &OrgPolicy, names: &[&str]| {
        let reports = pipeline::without_state(&naming(names), policy, Cause::StoreFault, Now::at(T0)).unwrap();
        reports.of(Gate::Scopes).clone()
    };
    assert!(matches!(judged(&requiring(&[agents()]).policy, &[]), Verdict::Denied(_)));
    let listing = listing().policy;
    assert_eq!(judged(&listing, &["agent/new"]), Verdict::Unevaluated(Cause::StoreFault), "a budget may list it");
    assert!(matches!(judged(&listing, &["agent/bad"]), Verdict::Denied(_)));
    assert_eq!(judged(&listing, &["agent/known"]), Verdict::Passed);
    assert_eq!(judged(&OrgPolicy::default(), &[]), Verdict::Skipped);
}
