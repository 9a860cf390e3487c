//! Which scopes a call has to name, and which it may not.

use super::*;
use crate::domain::policy::Family;

fn family(pattern: &str) -> Family {
    match pattern.strip_suffix('*') {
        Some(prefix) => Family::Prefix(prefix.to_owned()),
        None => Family::Only(Scope::parse("scope", pattern).unwrap()),
    }
}

#[test]
fn an_org_requires_what_its_plan_does_unless_it_says_otherwise() {
    let config = good(
        "[plans.p]\nrequire_scopes = [\"agent/*\", \"team/core\"]\n[orgs.a]\nplan = \"p\"\n\
         [orgs.b]\nplan = \"p\"\nrequire_scopes = []\n[orgs.c]\nplan = \"p\"\nrequire_scopes = [\"*\"]\n",
    );
    let required = |org: &str| policy(&config, org).require_scopes.clone();
    assert_eq!(required("a"), [family("agent/*"), family("team/core")]);
    assert_eq!((required("b"), required("c"), required("d")), (vec![], vec![family("*")], vec![]));
}

#[test]
fn a_family_is_denied_or_has_limits_and_the_org_has_the_last_word() {
    let config = good(
        "[plans.p.scopes]\n\"agent/*\" = \"deny\"\n\"agent/7\" = { spend = { daily = \"5u\" } }\n\
         \"team/*\" = { spend = { daily = \"9u\" } }\n\
         [orgs.a]\nplan = \"p\"\nscopes.\"team/*\" = \"deny\"\nscopes.\"team/x\" = \"deny\"\n\
         [orgs.b]\nplan = \"p\"\nscopes.\"agent/*\" = { spend = { daily = \"7u\" } }\n",
    );
    let (a, b) = (policy(&config, "a"), policy(&config, "b"));
    assert_eq!(a.denied_scopes, ["agent/*", "team/*", "team/x"].map(family).into());
    assert_eq!((amounts(&a, "team/y"), amounts(&a, "agent/7")), (vec![], vec![("budget/daily".into(), Some(5))]));
    assert_eq!((b.denied_scopes.len(), amounts(&b, "agent/new")), (0, vec![("budget/daily".into(), Some(7))]));
}

#[test]
fn mistakes_say_what_is_allowed() {
    for (text, expected) in [
        (
            "[orgs.a]\nscopes.\"agent/*\" = \"denied\"",
            "orgs.a.scopes.\"agent/*\" \"denied\" is not allowed: a table of limits",
        ),
        ("[orgs.a]\nscopes.\"pool/*\" = \"deny\"", "\"deny\" is not allowed: a table of limits { … }: no call names"),
        ("[orgs.a]\nscopes.\"\" = \"deny\"", "orgs.a.scopes \"\" is not allowed: a scope such as"),
        (
            "[plans.p]\nrequire_scopes = \"agent/*\"",
            "plans.p.require_scopes \"agent/*\" is not allowed: a list of at most 8",
        ),
        ("[plans.p]\nrequire_scopes = [\"account/*\"]", "is not allowed: a list of at most 8 scopes"),
        ("[plans.p]\nrequire_scopes = [\"\"]", "is not allowed: a list of at most 8 scopes"),
        ("[plans.p.scopes.w]\nrequire_scopes = [\"a\"]", "require_scopes is not a known key"),
    ] {
        let shown = errors(text);
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}
