//! What the questions of proxies mean, as it is configured.

use super::*;
use crate::domain::{
    gateways::{PathPattern, Place},
    ids::Meter,
};

#[test]
fn a_rule_says_where_the_org_and_its_scopes_are_and_what_is_charged() {
    let config = good(
        r#"
        [envoy.edge]
        org = "org"
        scopes = { workspace = "ws", agent = "agent" }
        cost = { executions = 2, bytes = 10 }
        limit = "rate"
        [forward_auth.default]
        org = { header = "X-Org-Id" }
        [forward_auth.by-path]
        org = { path = "/orgs/{}" }
        scopes = { workspace = { path = "/orgs/*/ws/{}" } }
        request_id = { header = "x-request-id" }
        shadow = true
        "#,
    );
    let edge = &config.gateways.envoy["edge"];
    assert_eq!((edge.org.as_str(), edge.limit.as_deref(), edge.is_shadow), ("org", Some("rate"), false));
    assert_eq!(
        edge.scopes.iter().map(|(name, key)| (&**name, &**key)).collect::<Vec<_>>(),
        [("agent", "agent"), ("workspace", "ws")]
    );
    assert_eq!(edge.cost.to_vec(), [(Meter::bytes(), 10), (Meter::executions(), 2)]);
    let default = &config.gateways.forward_auth["default"];
    assert_eq!(default.org, Place::Header("x-org-id".into()), "headers have no case");
    assert_eq!((default.cost.to_vec(), default.scopes.len()), (vec![(Meter::executions(), 1)], 0));
    let by_path = &config.gateways.forward_auth["by-path"];
    assert_eq!(by_path.org, Place::Path(PathPattern::parse("/orgs/{}").unwrap()));
    assert_eq!((by_path.request_id.clone(), by_path.is_shadow), (Some(Place::Header("x-request-id".into())), true));
}

#[test]
fn what_is_no_rule_is_refused_with_what_is_allowed() {
    let most: String = (0..65).map(|name| format!("[envoy.d{name}]\norg = \"org\"\n")).collect();
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| format!("{name} = \"k\"")).into();
    let many = format!("envoy.a = {{ org = \"org\", scopes = {{ {} }} }}", many.join(", "));
    for (text, expected) in [
        ("[envoy.edge]\nlimit = \"rate\"", "t.toml:1:8: envoy.edge.org is missing: where a request names its org"),
        (
            "[envoy.edge]\norg = 5",
            "t.toml:2:7: envoy.edge.org \"5\" is not allowed: the key of an entry of Envoy's descriptors",
        ),
        ("[envoy.edge]\norg = { header = \"x\" }", "the key of an entry of Envoy's descriptors"),
        ("[envoy.\"a b\"]\norg = \"org\"", "envoy \"a b\" is not allowed: 1 to 64 characters of"),
        ("envoy.edge = 5", "envoy.edge \"5\" is not allowed: a section [envoy.edge]"),
        ("envoy.edge = { org = \"org\", costs = 1 }", "envoy.edge.costs is not a known key: use one of org,"),
        (
            "envoy.edge = { org = \"org\", cost = { executions = -1 } }",
            "envoy.edge.cost.executions \"-1\" is not allowed: a whole number from 0 to ",
        ),
        ("envoy.edge = { org = \"org\", cost = 5 }", "envoy.edge.cost \"5\" is not allowed: a section"),
        ("envoy.edge = { org = \"org\", cost = { Bad = 1 } }", "envoy.edge.cost \"Bad\" is not allowed"),
        ("envoy.edge = { org = \"org\", shadow = 1 }", "envoy.edge.shadow \"1\" is not allowed: true or false"),
        ("envoy.edge = { org = \"org\", limit = \"\" }", "the name of a limit, such as"),
        (
            "envoy.edge = { org = \"org\", scopes = { account = \"a\" } }",
            "envoy.edge.scopes \"account\" is not allowed: what scopes begin with",
        ),
        ("envoy.edge = { org = \"org\", scopes = { \"a/b\" = \"a\" } }", "what scopes begin with"),
        (&many, "at most 8, as many as a call may be in"),
        (&most, "is not allowed: at most 64 sections"),
        (
            "forward_auth.default = { org = \"x-org\" }",
            "forward_auth.default.org \"x-org\" is not allowed: { header = \"x-name\" } or",
        ),
        ("forward_auth.default = { org = { header = \"x org\" } }", "{ header = \"x-name\" }"),
        ("forward_auth.default = { org = { path = \"/orgs\" } }", "one {} is the value"),
        ("forward_auth.default = { org = { header = \"a\", path = \"/{}\" } }", "forward_auth.default.org"),
        (
            "forward_auth.default = { org = { header = \"a\" }, scopes = { w = \"token\" } }",
            "forward_auth.default.scopes.w \"token\" is not allowed",
        ),
        (
            "forward_auth.default = { org = \"token\" }",
            "forward_auth.default.org = \"token\" needs a source of identity",
        ),
    ] {
        let found = errors(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
    good("auth.tokens = \"/tokens\"\nforward_auth.default = { org = \"token\" }");
}
