//! `tollgate billing`, and the canned words of a billing provider behind the node.

use serde_json::json;

use super::{Exit, NOW_MS, node::Node, tollgate};
use crate::wire::admin::v1::{BalanceVerdict, Export, ListExportsRequest, ListExportsResponse, RefreshBalanceResponse};

/// Rows of the org `acme`.
const ROWS: i32 = 1500;

pub(super) fn balance(org: &str) -> RefreshBalanceResponse {
    let counted = |verdict: BalanceVerdict, reason: &str, remaining| RefreshBalanceResponse {
        verdict: verdict.into(),
        reason: reason.into(),
        granted: 100,
        granted_known: true,
        remaining,
        remaining_known: true,
        resets_at_ms: NOW_MS + 2_530_000,
        ..RefreshBalanceResponse::default()
    };
    let bare = |verdict: BalanceVerdict| RefreshBalanceResponse { verdict: verdict.into(), ..Default::default() };
    match org {
        "acme" => counted(BalanceVerdict::Allowed, "", 72),
        "full" => counted(BalanceVerdict::Denied, "exhausted", 0),
        "overage" => RefreshBalanceResponse { overage_allowed: true, ..counted(BalanceVerdict::Allowed, "", 0) },
        "endless" => RefreshBalanceResponse { unlimited: true, ..bare(BalanceVerdict::Allowed) },
        "lean" => RefreshBalanceResponse { remaining: 7, remaining_known: true, ..bare(BalanceVerdict::Allowed) },
        "unplanned" => RefreshBalanceResponse {
            reason: "no_entitlement".into(),
            allowed: true,
            decided_by: "billing.on_no_entitlement".into(),
            ..bare(BalanceVerdict::Denied)
        },
        "strict" => RefreshBalanceResponse { allowed: false, ..balance("unplanned") },
        // As a node answers that does not know the policy.
        "older" => RefreshBalanceResponse { reason: "no_entitlement".into(), ..bare(BalanceVerdict::Denied) },
        "slow" => RefreshBalanceResponse {
            cause: "timeout".into(),
            allowed: true,
            decided_by: "billing.on_indeterminate".into(),
            ..bare(BalanceVerdict::Unspecified)
        },
        // A value that only a newer node has.
        "newer" => RefreshBalanceResponse { verdict: 9, ..Default::default() },
        _ => bare(BalanceVerdict::Allowed),
    }
}

/// The first row was set aside, the second failed once, the others were not tried yet.
pub(super) fn exports(request: &ListExportsRequest) -> ListExportsResponse {
    let rows = match (request.org.as_str(), request.set_aside) {
        ("quiet", _) => 0,
        (_, true) => 1,
        _ => ROWS,
    };
    let from: i32 = if request.page_token.is_empty() { 0 } else { request.page_token.parse().unwrap() };
    let to = (from + request.page_size).min(rows);
    let next_page_token = if to < rows { to.to_string() } else { String::new() };
    ListExportsResponse { exports: (from..to).map(row).collect(), next_page_token }
}

fn row(index: i32) -> Export {
    let row = Export {
        key: format!("{index:032x}"),
        meter: "executions".into(),
        amount: 1,
        at_ms: NOW_MS - 185_000,
        due_at_ms: NOW_MS + 60_000,
        ..Export::default()
    };
    let failed = |attempts, error: &str| Export { attempts, last_error: error.into(), ..row.clone() };
    match index {
        0 => Export { due_at_ms: 0, set_aside: "rejected".into(), ..failed(1, "unknown_feature") },
        1 => Export { scope: "workspace/w1".into(), meter: "bytes".into(), amount: 2048, ..failed(4, "timeout") },
        _ => row,
    }
}

#[test]
fn a_refreshed_balance_says_what_the_provider_says() {
    let node = Node::start();
    for (org, exit, said) in [
        ("acme", Exit::Done, "allowed  acme  72 left of 100 (resets in 42m 10s)\n"),
        ("overage", Exit::Done, "allowed  overage  0 left of 100 (overage allowed, resets in 42m 10s)\n"),
        ("endless", Exit::Done, "allowed  endless  unlimited\n"),
        ("lean", Exit::Done, "allowed  lean  7 left\n"),
        ("other", Exit::Done, "allowed  other\n"),
        ("full", Exit::Denied, "denied   full  exhausted  0 left of 100 (resets in 42m 10s)\n"),
        (
            "unplanned",
            Exit::Done,
            "allowed  unplanned  no_entitlement  calls are let through: billing.on_no_entitlement = \"allow\"\n",
        ),
        (
            "strict",
            Exit::Denied,
            "denied   strict  no_entitlement  calls are denied: billing.on_no_entitlement = \"deny\"\n",
        ),
        ("older", Exit::Denied, "denied   older  no_entitlement\n"),
    ] {
        let ran = node.ask(&["billing", "refresh", org]);
        assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (exit, said, ""), "{org}");
    }
}

#[test]
fn a_missing_verdict_is_an_error_and_not_a_denial() {
    let node = Node::start();
    let policy = "  calls are let through: billing.on_indeterminate = \"allow\"";
    for (org, cause, policy) in [("slow", "timeout", policy), ("newer", "no cause given", "")] {
        let ran = node.ask(&["billing", "refresh", org]);
        assert_eq!((ran.exit, ran.out), (Exit::Error, format!("unknown  {org}  {cause}{policy}\n")), "R-PIPE-5");
        assert_eq!(ran.err, format!("error: the billing provider gave no verdict: {cause}\n"));
    }
    let json = node.ask(&["billing", "refresh", "slow", "--output", "json"]);
    let error = json!({"code": "unknown", "message": "the billing provider gave no verdict: timeout"});
    assert_eq!((json.exit, json.errors()), (Exit::Error, vec![error]));
    assert_eq!(json.json()["cause"], "timeout");

    let broken = node.ask(&["billing", "refresh", "broken"]);
    assert_eq!((broken.exit, broken.out.as_str()), (Exit::Error, ""));
    assert_eq!(broken.err, "error: the store cannot promise durability (UNAVAILABLE, STORE_FAULT)\n");
}

#[test]
fn a_refreshed_balance_as_json_is_the_response_message() {
    let denied = Node::start().ask(&["billing", "refresh", "full", "--output", "json"]);
    assert_eq!((denied.exit, denied.err.as_str()), (Exit::Denied, ""));
    let expected = json!({
        "verdict": "BALANCE_VERDICT_DENIED", "reason": "exhausted", "cause": "", "granted": "100",
        "grantedKnown": true, "remaining": "0", "remainingKnown": true, "unlimited": false,
        "overageAllowed": false, "allowed": false, "decidedBy": "", "resetsInMs": "0",
        "resetsAtMs": (NOW_MS + 2_530_000).to_string()
    });
    assert_eq!(denied.json(), expected);
}

#[test]
fn exports_show_when_a_row_is_tried_next_or_why_it_is_not() {
    let node = Node::start();
    let ran = node.ask(&["billing", "exports", "acme", "--limit", "3"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, "there are more: --after 3 continues\n"));
    let expected = "\
KEY                               SCOPE         METER        AMOUNT  RECORDED                          ATTEMPTS  NEXT TRY                      LAST ERROR
00000000000000000000000000000000  -             executions        1  2026-11-22T08:26:55Z (3m 5s ago)         1  set aside: rejected           unknown_feature
00000000000000000000000000000001  workspace/w1  bytes       2,048 B  2026-11-22T08:26:55Z (3m 5s ago)         4  2026-11-22T08:31:00Z (in 1m)  timeout
00000000000000000000000000000002  -             executions        1  2026-11-22T08:26:55Z (3m 5s ago)         0  2026-11-22T08:31:00Z (in 1m)  -
";
    assert_eq!(ran.out, expected);

    let aside = node.ask(&["billing", "exports", "acme", "--set-aside", "--output", "json"]);
    let expected = json!({
        "exports": [{
            "key": "00000000000000000000000000000000", "scope": "", "meter": "executions", "amount": "1",
            "atMs": (NOW_MS - 185_000).to_string(), "attempts": "1", "dueAtMs": "0", "lastError": "unknown_feature",
            "setAside": "rejected", "scopes": []
        }],
        "nextPageToken": ""
    });
    assert_eq!((aside.exit, aside.err.as_str(), aside.json()), (Exit::Done, "", expected));
}

#[test]
fn exports_page_up_to_their_limit_and_say_how_to_go_on() {
    let node = Node::start();
    let ran = node.ask(&["billing", "exports", "acme", "--limit", "1200"]);
    assert_eq!((ran.exit, ran.lines().len()), (Exit::Done, 1201));
    assert_eq!(ran.err, "there are more: --after 1200 continues\n");
    assert_eq!(node.seen().page_sizes, [1000, 200]);

    let rest = node.ask(&["billing", "exports", "acme", "--after", "1200", "--output", "json"]);
    assert_eq!((rest.err.as_str(), rest.json()["exports"].as_array().unwrap().len()), ("", 300));
    let quiet = node.ask(&["billing", "exports", "quiet"]);
    assert_eq!((quiet.exit, quiet.lines().len(), quiet.err.as_str()), (Exit::Done, 1, ""));
}

#[test]
fn a_replay_says_how_many_rows_are_tried_again() {
    let node = Node::start();
    let key = "0123456789abcdef0123456789abcdef";
    for (args, said) in [
        (["acme", "--request-id", "r-1"].as_slice(), "replayed  acme  3 rows\n"),
        (&["acme", "--key", key], "replayed  acme  1 row\n"),
        (&["quiet"], "nothing of quiet is set aside\n"),
        (&["quiet", "--key", key], "no such row of quiet is set aside\n"),
    ] {
        let ran = node.ask(&[["billing", "replay"].as_slice(), args].concat());
        assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, said, ""), "{args:?}");
    }
    let json = node.ask(&["billing", "replay", "acme", "--output", "json"]).json();
    assert_eq!(json, json!({"replayedRows": "3"}));

    let seen = node.seen();
    assert_eq!(seen.writes[0], ("acme ".to_owned(), "r-1".to_owned()));
    assert_eq!(seen.writes[1].0, format!("acme {key}"));
    assert!(seen.writes[1].1.starts_with("cli-"), "{}", seen.writes[1].1);
}

#[test]
fn a_replay_in_doubt_says_how_to_repeat_it_safely() {
    let node = Node::start();
    let ran = node.ask(&["billing", "replay", "broken"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""));
    let id = node.seen().writes[0].1.clone();
    assert!(ran.err.contains(&format!("--request-id {id} repeats this call safely")), "R-PIPE-6: {}", ran.err);
}

#[test]
fn the_help_of_replay_says_what_may_be_counted_twice() {
    let ran = tollgate(&["billing", "replay", "--help"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let text = ran.out.replace('\n', " ");
    assert!(text.contains("`expired`") && text.contains("counted twice"), "{}", ran.out);
}
