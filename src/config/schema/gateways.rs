//! What the questions of proxies mean.

use serde_json::{Value, json};

use super::{Keys, amount, key, keys, name, named, or, table, truth};
use crate::config::gateways::TOKEN;

pub(super) fn sections() -> Keys {
    let entry = || json!({"type": "string", "minLength": 1, "maxLength": 128});
    let place = || json!({"type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": {"enum": ["header", "path"]}});
    let envoy = rule("The key of a descriptor's entry that has the org.", entry(), entry());
    let org = json!({"anyOf": [place(), {"const": TOKEN}]});
    let doc = "Where a request names its org: { header = \"x-org-id\" }, { path = \"/orgs/{}\" }, or \"token\".";
    let forward_auth = rule(doc, org, place());
    keys([
        ("envoy", named("What a domain of Envoy's rate-limit filter means.", name(), envoy)),
        (
            "forward_auth",
            named("What a rule of /v1/forward-auth means; without ?rule it is `default`.", name(), forward_auth),
        ),
    ])
}

fn rule(doc: &str, org: Value, place: Value) -> Value {
    let doc_of_cost = "What one request is charged; by default one execution.";
    let mut rule = table(
        "Where a request names its org, and what is charged.",
        keys([
            ("org", key(doc, org)),
            ("scopes", named("Scopes by what they begin with, each with its place.", json!({}), place.clone())),
            ("request_id", key("The place of an id that the proxy makes, for a retry that is charged once.", place)),
            (
                "cost",
                named(
                    doc_of_cost,
                    json!({"pattern": "^[a-z][a-z0-9_]{0,63}$"}),
                    key("In the unit of the meter.", amount(0)),
                ),
            ),
            (
                "limit",
                key(
                    "The name of the limit that headers show.",
                    json!({"type": "string", "minLength": 1, "maxLength": 64}),
                ),
            ),
            ("shadow", or("Charges and reports, and never denies.", truth(), false)),
        ]),
    );
    if let Value::Object(keywords) = &mut rule {
        keywords.insert("required".into(), json!(["org"]));
    }
    rule
}
