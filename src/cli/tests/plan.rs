//! `tollgate plan`, and a node with canned answers to it.

use serde_json::json;
use tonic::Status;

use super::{Exit, node::Node, node::broken};
use crate::wire::admin::v1::{WhatIfRequest, WhatIfResponse, WhatIfRow};

const FIRST: i64 = 1_790_812_800_000;
const HOUR: i64 = 3_600_000;

/// All orgs are two pages.
pub(super) fn tried(request: &WhatIfRequest) -> Result<WhatIfResponse, Status> {
    let page = WhatIfResponse { orgs: 7, from_ms: FIRST, to_ms: FIRST + HOUR, ..WhatIfResponse::default() };
    let row = |org: &str, hours, denied| WhatIfRow {
        org: org.into(),
        period: "daily".into(),
        amount: 25_000_000,
        first_ms: FIRST,
        last_ms: FIRST + hours * HOUR,
        hours,
        denied,
    };
    Ok(match (request.org.as_str(), request.page_token.as_str()) {
        ("broken", _) => return Err(broken("broken")),
        ("", "") => WhatIfResponse { rows: vec![row("acme", 30, 12_500_000)], next_page_token: "acme".into(), ..page },
        ("", _) => WhatIfResponse { rows: vec![row("bob", 1, 1)], ..page },
        _ => page,
    })
}

#[test]
fn a_limit_that_is_tried_says_whom_it_would_have_denied_when_and_how_much() {
    let node = Node::start();
    let ran = node.ask(&["plan", "--limit", "daily=$25", "--plan", "pro"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
ORG   LIMIT         FIRST                 LAST                  FOR     DENIED
acme  daily $25.00  2026-10-01T00:00:00Z  2026-10-02T06:00:00Z  30h     $12.50
bob   daily $25.00  2026-10-01T00:00:00Z  2026-10-01T01:00:00Z   1h  $0.000001

2 of 14 orgs would have been denied since 2026-10-01T00:00:00Z
";
    assert_eq!(ran.out, expected);
    let limits = json!([{"period": "daily", "amount": "25000000"}]);
    let first = json!({"org": "", "scope": "", "meter": "spend", "limits": limits, "plan": "pro", "pageSize": 100,
        "pageToken": ""});
    let mut second = first.clone();
    second["pageToken"] = "acme".into();
    assert_eq!(node.seen().asked, [first, second]);
}

#[test]
fn amounts_to_try_are_in_the_unit_of_their_meter() {
    let node = Node::start();
    for (meter, given, amount) in [("compute", "4h", 4 * HOUR), ("executions", "1000", 1000), ("bytes", "5", 5)] {
        let limit = format!("calendar/month={given}");
        let ran = node.ask(&["plan", "--org", "acme", "--scope", "a", "--meter", meter, "--limit", &limit]);
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        let asked = node.seen().asked.pop().unwrap();
        assert_eq!(asked["limits"], json!([{"period": "calendar/month", "amount": amount.to_string()}]));
        assert_eq!((&asked["org"], &asked["scope"], &asked["meter"]), (&json!("acme"), &json!("a"), &json!(meter)));
    }
    for args in [
        ["plan", "--limit", "daily"].as_slice(),
        &["plan"],
        &["plan", "--limit", "daily=25"],
        &["plan", "--limit", "daily=$25", "--meter", "executions"],
    ] {
        assert_eq!(super::tollgate(args).exit, Exit::Usage, "{args:?}");
    }
    assert_eq!(node.ask(&["plan", "--org", "broken", "--limit", "daily=1usd"]).exit, Exit::Error);
}
