//! `tollgate org grant` and `revoke-grant`, and a node with one canned limit.

use serde_json::json;

use super::{
    Exit, NOW_MS,
    control::{current, daily},
    node::Node,
};
use crate::wire::{
    admin::v1::*,
    v1::{Limit, LimitSource},
};

fn given(amount: i64) -> Override {
    let mut given = Override { amount: Some(amount), grant: 3, ..current("budget/daily", "workspace/w1") };
    given.set_setting(OverrideSetting::Grant);
    given
}

fn raised() -> Limit {
    let until = NOW_MS + 3_600_000;
    Limit { granted: 5_000_000, granted_until_ms: until, ..daily(30_000_000, LimitSource::Plan, 0) }
}

pub(super) fn grant(request: &GrantRequest) -> GrantResponse {
    let until_ms = if request.for_ms == 0 { 0 } else { NOW_MS + request.for_ms };
    if request.until_spent {
        let spent = Override { spent: Some(1_500_000), until_ms, ..given(request.amount) };
        let (granted_until_spent, granted_spent, granted_left) = (5_000_000, 1_500_000, 3_500_000);
        let limit = daily(30_000_000, LimitSource::Plan, 0);
        let after = Limit { granted_until_spent, granted_spent, granted_left, ..limit };
        let before = Some(daily(25_000_000, LimitSource::Plan, 0));
        return GrantResponse { current: Some(spent), before, after: Some(after), replayed: false };
    }
    GrantResponse {
        current: Some(Override { until_ms, reason: request.reason.clone(), ..given(request.amount) }),
        before: Some(daily(25_000_000, LimitSource::Plan, 0)),
        after: Some(raised()),
        replayed: false,
    }
}

pub(super) fn revoke_grant(request: &RevokeGrantRequest) -> RevokeGrantResponse {
    let replayed = request.request_id == "again";
    RevokeGrantResponse {
        current: Some(Override { ended_at_ms: NOW_MS, ..given(5_000_000) }),
        before: (!replayed).then(raised),
        after: Some(daily(25_000_000, LimitSource::Plan, 0)),
        replayed,
    }
}

pub(super) fn reset_window(request: &ResetWindowRequest) -> ResetWindowResponse {
    let replayed = request.request_id == "again";
    let limit = daily(25_000_000, LimitSource::Plan, 0);
    let after = Limit { used: 0, remaining: 25_000_000, counts_from_ms: NOW_MS, ..limit.clone() };
    ResetWindowResponse { before: (!replayed).then_some(limit), after: Some(after), replayed }
}

#[test]
fn a_reset_shows_what_was_used() {
    let node = Node::start();
    let ran = node.ask(&["org", "reset", "acme", "daily", "--scope", "workspace/w1", "--reason", "why"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
org        acme
limit      budget/daily
scope      workspace/w1
used       $25.00 → $0.00
remaining  $25.00
";
    assert_eq!(ran.out, expected, "R-CTRL-6");
    assert_eq!(node.seen().asked[0]["reason"], "why");
    let again = node.ask(&["org", "reset", "acme", "daily", "--request-id", "again"]).out;
    assert!(again.contains("used       $0.00 (replayed)\n"), "{again}");
}

#[test]
fn a_grant_shows_what_the_limit_was_and_how_much_of_it_is_granted() {
    let node = Node::start();
    let line = "org grant acme daily 5usd --scope workspace/w1 --for 1h --request-id r --reason ticket";
    let ran = node.ask(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
org        acme
limit      budget/daily
granted    +$5.00 (grant 3)
scope      workspace/w1
amount     $25.00 (plan) → $30.00 (plan, $5.00 of it granted)
used       $25.00
remaining  $5.00
ends       2026-11-22T09:30:00Z (in 1h)
version    4
reason     ticket
";
    assert_eq!(ran.out, expected, "R-CTRL-5");
    let asked = json!({
        "org": "acme", "scope": "workspace/w1", "requestId": "r", "limit": "budget/daily", "amount": "5000000",
        "forMs": "3600000", "untilMs": "0", "reason": "ticket", "untilSpent": false, "dryRun": false,
    });
    assert_eq!(node.seen().asked, [asked]);
}

#[test]
fn a_grant_that_lasts_until_it_is_spent_shows_what_is_spent_and_left() {
    let node = Node::start();
    let ran = node.ask(&["org", "grant", "acme", "daily", "5usd", "--until-spent", "--scope", "workspace/w1"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
org        acme
limit      budget/daily
granted    +$5.00 (grant 3, $1.50 spent, $3.50 left)
scope      workspace/w1
amount     $25.00 (plan) → $30.00 (plan, $3.50 left of $5.00 granted until spent)
used       $25.00
remaining  $5.00
ends       once it is spent
version    4
";
    assert_eq!(ran.out, expected, "R-CTRL-7");
    assert_eq!(node.seen().asked[0]["untilSpent"], true);
    let bounded = node.ask(&["org", "grant", "acme", "daily", "5usd", "--until-spent", "--for", "1h"]);
    assert!(bounded.out.contains("ends       2026-11-22T09:30:00Z (in 1h), or once it is spent\n"), "{}", bounded.out);
}

#[test]
fn a_grant_is_revoked_by_its_number() {
    let node = Node::start();
    let ran = node.ask(&["org", "revoke-grant", "acme", "3"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert!(ran.out.contains("amount     $30.00 (plan, $5.00 of it granted) → $25.00 (plan)\n"), "{}", ran.out);
    assert!(ran.out.contains("ends       ended 2026-11-22T08:30:00Z (now)\n"), "{}", ran.out);
    assert_eq!(node.seen().asked[0]["grant"], "3");
    let again = node.ask(&["org", "revoke-grant", "acme", "3", "--request-id", "again"]).out;
    assert!(again.contains("amount     $25.00 (plan)\n") && again.contains("(replayed)"), "{again}");
}

#[test]
fn what_cannot_be_granted_is_a_usage_error() {
    let node = Node::start();
    for args in [
        "org grant acme daily 5usd",
        "org grant acme daily 5 --for 1h",
        "org grant acme daily 0usd --for 1h",
        "org grant acme fortnightly 5usd --for 1h",
        "org grant acme daily 5usd --for 1h --this-window",
        "org grant acme daily 5usd --until-spent --this-window",
        "org revoke-grant acme 0",
        "org revoke-grant acme daily",
    ] {
        let ran = node.ask(&args.split_whitespace().collect::<Vec<_>>());
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args}: {}", ran.err);
    }
    assert!(node.seen().asked.is_empty(), "nothing was sent");
}
