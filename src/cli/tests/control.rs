//! `tollgate org override`, `set-plan`, `exempt`, and a node with one canned limit.

use serde_json::json;
use tonic::{Code, Response, Status};

use super::{Exit, NOW_MS, node::Node, node::Reply};
use crate::{
    domain::limit::LimitTexts,
    wire::{
        admin::v1::*,
        v1::{Limit, LimitSource},
    },
};

pub(super) fn daily(amount: i64, source: LimitSource, until_ms: i64) -> Limit {
    Limit {
        texts: LimitTexts::new("budget/daily", "spend", "rolling/1d"),
        scope: "workspace/w1".into(),
        amount,
        used: 25_000_000,
        remaining: amount - 25_000_000,
        source: source.into(),
        source_until_ms: until_ms,
        ..Limit::default()
    }
}

pub(super) fn current(limit: &str, scope: &str) -> Override {
    Override {
        limit: limit.to_owned(),
        scope: scope.to_owned(),
        meter: "spend".to_owned(),
        version: 4,
        set_at_ms: NOW_MS,
        ..Override::default()
    }
}

pub(super) fn set_override(request: &SetOverrideRequest) -> Reply<SetOverrideResponse> {
    if request.org == "other" {
        return Err(Status::new(Code::Aborted, "the override has version 4"));
    }
    let until_ms = if request.for_ms == 0 { request.until_ms } else { NOW_MS + request.for_ms };
    let SetOverrideRequest { amount, setting, reason, .. } = request.clone();
    let (unlimited, shadow) =
        (request.setting() == OverrideSetting::Unlimited, request.setting() == OverrideSetting::Shadow);
    let current = Override { amount, setting, until_ms, reason, ..current(&request.limit, &request.scope) };
    let after = Limit { unlimited, shadow, ..daily(amount.unwrap_or(25_000_000), LimitSource::Override, until_ms) };
    let before = Some(daily(25_000_000, LimitSource::Plan, 0));
    let replayed = request.request_id == "again";
    Ok(Response::new(SetOverrideResponse {
        current: Some(current),
        before: before.filter(|_| !replayed),
        after: Some(after),
        replayed,
    }))
}

pub(super) fn clear_override(request: &ClearOverrideRequest) -> ClearOverrideResponse {
    if request.org == "quiet" {
        let limit = daily(25_000_000, LimitSource::Plan, 0);
        return ClearOverrideResponse { before: Some(limit.clone()), after: Some(limit), ..Default::default() };
    }
    let ended = Override { ended_at_ms: NOW_MS, ..current(&request.limit, &request.scope) };
    ClearOverrideResponse {
        current: Some(ended),
        before: Some(daily(50_000_000, LimitSource::Override, 0)),
        after: None,
        replayed: false,
    }
}

pub(super) fn list_overrides(request: &ListOverridesRequest) -> ListOverridesResponse {
    let ended = Override {
        setting: OverrideSetting::Unlimited.into(),
        ended_at_ms: NOW_MS - 60_000,
        meter: "calls".to_owned(),
        set_at_ms: NOW_MS - 3_600_000,
        ..current("rate", "")
    };
    let overrides = vec![
        Override { amount: Some(50_000_000), until_ms: NOW_MS + 3_600_000, ..current("budget/daily", "workspace/w1") },
        Override { plan: "gone".to_owned(), ignored: true, meter: String::new(), ..current("plan", "") },
        ended,
    ];
    let shown = overrides.into_iter().filter(|each| request.ended || each.ended_at_ms == 0);
    ListOverridesResponse { overrides: shown.collect() }
}

pub(super) fn set_plan(request: &SetPlanRequest) -> SetPlanResponse {
    let plan = request.plan.clone();
    let current = Override { plan: plan.clone(), meter: String::new(), ..current("plan", "") };
    SetPlanResponse { current: Some(current), plan_before: "free".to_owned(), plan, replayed: false }
}

pub(super) fn set_exemption(request: &SetExemptionRequest) -> SetExemptionResponse {
    let exempt = request.change() == ExemptionChange::Exempt;
    let current = Override { exempt, meter: String::new(), ..current("exemption", "") };
    SetExemptionResponse {
        current: Some(current),
        before: Exempt::IfPaying.into(),
        after: if exempt { Exempt::Always } else { Exempt::Never }.into(),
        replayed: false,
    }
}

pub(super) fn refund(request: &RefundRequest) -> RefundResponse {
    let replayed = request.request_id == "again";
    let asked = request.amounts.iter().map(|amount| amount.amount).next().unwrap_or(5_000_000);
    let spend = |used| Limit { used, ..daily(25_000_000, LimitSource::Plan, 0) };
    RefundResponse {
        amounts: vec![RefundedAmount { meter: "spend".to_owned(), asked, given: 5_000_000 }],
        scopes: vec!["workspace/w1".to_owned()],
        before: if replayed { vec![] } else { vec![spend(12_000_000)] },
        after: vec![spend(7_000_000)],
        replayed,
    }
}

#[test]
fn an_override_shows_what_the_limit_was_and_what_it_is_and_until_when() {
    let node = Node::start();
    let args =
        "org override set acme daily=50usd --scope workspace/w1 --for 1h --expect-version 3 --request-id r --reason";
    let ran = node.ask(&[args.split_whitespace().collect::<Vec<_>>(), vec!["ticket 4711"]].concat());
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
org        acme
limit      budget/daily
scope      workspace/w1
amount     $25.00 (plan) → $50.00 (override)
used       $25.00
remaining  $25.00
ends       2026-11-22T09:30:00Z (in 1h)
version    4
reason     ticket 4711
";
    assert_eq!(ran.out, expected, "R-CTRL-1");
    let asked = json!({
        "org": "acme", "scope": "workspace/w1", "requestId": "r", "limit": "budget/daily",
        "setting": "OVERRIDE_SETTING_AMOUNT", "amount": "50000000", "forMs": "3600000", "untilMs": "0", "expectedVersion": "3",
        "reason": "ticket 4711", "dryRun": false,
    });
    assert_eq!(node.seen().asked, [asked]);
    let replay = node.ask(&["org", "override", "set", "acme", "daily=shadow", "--request-id", "again"]).out;
    assert!(replay.contains("amount     $25.00 (override, only watched)\n"), "{replay}");
    assert!(replay.contains("ends       when it is cleared\nversion    4 (replayed)\n"), "{replay}");
    let refused = node.ask(&["org", "override", "set", "other", "rate=unlimited", "--expect-version", "9"]);
    assert_eq!((refused.exit, refused.err.as_str()), (Exit::Error, "error: the override has version 4 (ABORTED)\n"));
}

#[test]
fn an_override_is_cleared_and_listed() {
    let node = Node::start();
    let cleared = node.ask(&["org", "override", "clear", "acme", "daily"]);
    assert_eq!((cleared.exit, cleared.err.as_str()), (Exit::Done, ""));
    assert!(cleared.out.contains("amount   $50.00 (override) → no limit\n"), "{}", cleared.out);
    assert!(cleared.out.contains("ends     ended 2026-11-22T08:30:00Z (now)\n"), "{}", cleared.out);
    let never = node.ask(&["org", "override", "clear", "quiet", "daily"]).out;
    assert!(
        never.contains("amount     $25.00 (plan)\n") && never.contains("version    0, it was never set\n"),
        "{never}"
    );
    let listed = node.ask(&["org", "override", "list", "acme", "--ended"]).out;
    let expected = "\
LIMIT         SCOPE         SET TO                                     VERSION  SET                             ENDS                                     REASON
budget/daily  workspace/w1  $50.00                                           4  2026-11-22T08:30:00Z (now)      2026-11-22T09:30:00Z (in 1h)             -
plan          -             gone (IGNORED: it is not there any more)         4  2026-11-22T08:30:00Z (now)      when it is cleared                       -
rate          -             unlimited                                        4  2026-11-22T07:30:00Z (1h ago)   ended 2026-11-22T08:29:00Z (1m ago)      -
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&listed), squeezed(expected));
    assert_eq!(node.ask(&["org", "override", "list", "acme"]).lines().len(), 3, "what has ended is left out");
}

#[test]
fn a_plan_an_exemption_and_a_freeze_show_what_was_in_force_before() {
    let node = Node::start();
    let plan = node.ask(&["org", "set-plan", "acme", "pro", "--until", "2026-11-23"]);
    assert_eq!((plan.exit, plan.err.as_str()), (Exit::Done, ""));
    assert!(plan.out.starts_with("org      acme\nplan     free → pro\n"), "{}", plan.out);
    assert_eq!(node.seen().asked[0]["untilMs"], "1795392000000");
    let exempt = node.ask(&["org", "exempt", "acme"]).out;
    assert!(exempt.contains("exempt   while the org pays → always\n"), "{exempt}");
    let never = node.ask(&["org", "exempt", "acme", "--never"]).out;
    assert!(never.contains("exempt   while the org pays → never\n"), "{never}");
    let frozen = node.ask(&["org", "freeze", "acme", "--for", "1d"]).out;
    assert_eq!(frozen, "frozen  acme  active → frozen  until 2026-11-23T08:30:00Z (in 1d)\n");
}

#[test]
fn a_refund_shows_what_was_given_back_and_what_is_used_now() {
    let node = Node::start();
    let args = "refund acme --amount spend=8usd --scope workspace/w1 --at 2h --request-id r --reason oops";
    let ran = node.ask(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
refunded  acme  spend $5.00 of $8.00
scope  workspace/w1
used   spend $12.00 → $7.00 (budget/daily of workspace/w1)
";
    assert_eq!(ran.out, expected, "R-REF-1");
    let asked = json!({
        "org": "acme", "requestId": "r", "decisionId": "", "amounts": [{"meter": "spend", "amount": "8000000"}],
        "scope": "workspace/w1", "scopes": [], "atMs": (NOW_MS - 7_200_000).to_string(), "reason": "oops", "dryRun": false,
    });
    assert_eq!(node.seen().asked, [asked]);
    let id = "0123456789abcdef0123456789abcdef";
    let again = node.ask(&["refund", "acme", "--decision", id, "--request-id", "again", "--reason", "r"]).out;
    assert!(again.starts_with("refunded  acme  spend $5.00  (replayed)\n"), "{again}");
    assert!(again.contains("used   spend $7.00 (budget/daily of workspace/w1)\n"), "{again}");
    assert_eq!(node.seen().asked[1]["decisionId"], id);
}

#[test]
fn what_cannot_be_is_a_usage_error() {
    let node = Node::start();
    for args in [
        "refund acme --reason r",
        "refund acme --amount spend=5usd",
        "refund acme --amount spend=0usd --reason r",
        "refund acme --amount spend=5 --reason r",
        "refund acme --amount executions=1 --amount executions=2 --reason r",
        "refund acme --decision 0123456789abcdef0123456789abcdef --amount executions=1 --reason r",
        "refund acme --decision 0123456789abcdef0123456789abcdef --at 2h --reason r",
        "org override set acme daily",
        "org override set acme daily=5",
        "org override set acme rate=5 --for 1h --until 2027-01-01",
        "org override set acme rate=5 --for 1y",
        "org set-plan acme",
        "org set-plan acme pro --clear",
        "org set-plan acme --clear --for 1h",
        "org exempt acme --never --clear",
    ] {
        let ran = node.ask(&args.split_whitespace().collect::<Vec<_>>());
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args}: {}", ran.err);
    }
}
