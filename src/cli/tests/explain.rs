//! `tollgate why`, `explain` and `denials`, and what a node with canned answers says.

use serde_json::json;
use tonic::Status;

use super::{Exit, NOW_MS, node::Node};
use crate::{
    domain::limit::LimitTexts,
    wire::{
        admin::v1::{
            AskedFor, Block, DecisionDay, Denial, ExplainDecisionRequest, ExplainDecisionResponse, FullLimit,
            GateCount, GateReport, ListDenialsRequest, ListDenialsResponse, PlaneCount, Way, WayKind, WhyRequest,
            WhyResponse,
        },
        v1::{Amount, DecisionCode, DeniedLately, Limit},
    },
};

const HOUR_MS: i64 = 3_600_000;

fn denial() -> Denial {
    Denial {
        number: 7,
        gate: "budgets".into(),
        code: DecisionCode::BudgetExceeded.into(),
        message: "Budget budget/daily of scope workspace/a has too little left.".into(),
        count: 10,
        first_at_ms: NOW_MS - 3 * HOUR_MS,
        last_at_ms: NOW_MS - 5_000,
        last_decision_id: "7".repeat(32),
        until_ms: NOW_MS + 13 * HOUR_MS,
        asked: Some(AskedFor {
            operation: "execute".into(),
            scopes: vec!["workspace/a".into()],
            plane: "executor".into(),
            cost: vec![Amount { meter: "executions".into(), amount: 1 }],
            reserve: vec![Amount { meter: "spend".into(), amount: 400_000 }],
            ..AskedFor::default()
        }),
        node: "n1".into(),
        limits: vec![FullLimit {
            name: "budget/daily".into(),
            scope: "workspace/a".into(),
            meter: "spend".into(),
            window: "rolling/1d".into(),
            amount: 2_000_000,
            used: 1_950_000,
            asked: 400_000,
            missing: 350_000,
            fits_at_ms: NOW_MS + 13 * HOUR_MS,
            ..FullLimit::default()
        }],
        gates: vec![
            GateReport { gate: "freeze".into(), verdict: "passed".into(), ..GateReport::default() },
            GateReport {
                gate: "budgets".into(),
                verdict: "denied".into(),
                code: DecisionCode::BudgetExceeded.into(),
                ..GateReport::default()
            },
        ],
        ..Denial::default()
    }
}

fn ways() -> Vec<Way> {
    vec![
        Way {
            kind: WayKind::Raise.into(),
            text: "Raise budget/daily of scope workspace/a from $2.00 to $2.35 at least.".into(),
            command: "tollgate org override set acme 'budget/daily=$2.35' --scope workspace/a --for 1d".into(),
            ..Way::default()
        },
        Way { kind: WayKind::Wait.into(), text: "Wait until then.".into(), ..Way::default() },
    ]
}

fn day() -> DecisionDay {
    let gates = vec![GateCount { gate: "budgets".into(), denied: 10, failed_open: 2 }];
    DecisionDay { start_ms: NOW_MS / (24 * HOUR_MS) * 24 * HOUR_MS, allowed: 90, gates }
}

pub(super) fn why(request: &WhyRequest) -> Result<WhyResponse, Status> {
    let org = request.org.clone();
    let block = Block {
        now: Some(denial()),
        count: 10,
        since_ms: NOW_MS - 3 * HOUR_MS,
        last_at_ms: NOW_MS - 5_000,
        planes: vec![PlaneCount { plane: "executor".into(), count: 8 }, PlaneCount { plane: String::new(), count: 2 }],
        scopes: vec!["workspace/a".into()],
        ways: ways(),
    };
    Ok(match org.as_str() {
        "acme" => WhyResponse {
            org,
            known: true,
            plan: "free".into(),
            blocked: true,
            blocks: vec![block],
            ..Default::default()
        },
        "everywhere" => {
            let mut now = denial();
            now.limits.iter_mut().for_each(|limit| limit.scope.clear());
            let ways = [ways()[..1].to_vec(), ways()].concat();
            let blocks = vec![Block { now: Some(now), ways, ..block }];
            WhyResponse { org, known: true, blocked: true, blocks, ..Default::default() }
        }
        "over" => WhyResponse { org, known: true, over: vec![denial()], ..Default::default() },
        _ => WhyResponse { org, ..Default::default() },
    })
}

pub(super) fn explained(request: &ExplainDecisionRequest) -> Result<ExplainDecisionResponse, Status> {
    if request.org != "acme" {
        return Err(Status::not_found("nothing is kept of this decision"));
    }
    Ok(ExplainDecisionResponse { decision: Some(denial()), exact: false, ways: ways(), limits: Vec::new() })
}

/// The limit that [`lately`] is about, with room for smaller calls.
pub(super) fn daily() -> Limit {
    Limit {
        texts: LimitTexts::new("budget/daily", "spend", "rolling/1d"),
        scope: "workspace/a".into(),
        amount: 2_000_000,
        used: 1_950_000,
        remaining: 50_000,
        ..Limit::default()
    }
}

pub(super) fn lately() -> DeniedLately {
    DeniedLately {
        gate: "budgets".into(),
        code: DecisionCode::BudgetExceeded.into(),
        limit: "budget/daily".into(),
        scope: "workspace/a".into(),
        count: 10,
        first_at_ms: NOW_MS - 3 * HOUR_MS,
        last_at_ms: NOW_MS - 5_000,
    }
}

pub(super) fn denials(request: &ListDenialsRequest) -> ListDenialsResponse {
    let denials = if request.page_token.is_empty() { vec![denial()] } else { Vec::new() };
    ListDenialsResponse { denials, next_page_token: String::new(), days: vec![day()] }
}

#[test]
fn why_names_limit_numbers_since_until_planes_and_the_command_and_exits_3() {
    let node = Node::start();
    let ran = node.ask(&["why", "acme", "--scope", "workspace/a"]);
    let expected = "\
acme is blocked in part (plan free): by budget/daily of workspace/a

limit     budget/daily of workspace/a: $1.95 of $2.00 used, $0.40 asked (rolling/1d)
code      BUDGET_EXCEEDED
since     2026-11-22T05:30:00Z (3h ago)
until     2026-11-22T21:30:00Z (in 13h)
denied    10 calls within 7 days, the last 5s ago
planes    executor (8), unnamed (2)
scopes    workspace/a
decision  77777777777777777777777777777777
to let it through
  Raise budget/daily of scope workspace/a from $2.00 to $2.35 at least.
    tollgate org override set acme 'budget/daily=$2.35' \\
      --scope workspace/a --for 1d
  Wait until then.
";
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Denied, expected, ""), "R-EXPL-2");
    assert_eq!(node.seen().asked, [json!({"org": "acme", "scope": "workspace/a", "atMs": "0"})]);
}

#[test]
fn where_several_limits_deny_all_of_them_are_raised() {
    let ran = Node::start().ask(&["why", "everywhere"]);
    assert!(ran.out.starts_with("everywhere is blocked: by budget/daily\n"), "{}", ran.out);
    let ways = ran.out.split_once("to let it through\n").unwrap().1;
    let lines: Vec<_> = ways.lines().filter(|line| !line.starts_with("    ")).collect();
    let raise = "  Raise budget/daily of scope workspace/a from $2.00 to $2.35 at least.";
    assert_eq!(lines, ["  All of these:", raise, raise, "  Or:", "  Wait until then."]);
}

#[test]
fn an_org_that_is_not_blocked_says_what_is_over_and_one_that_is_unknown_says_so() {
    let node = Node::start();
    let ran = node.ask(&["why", "over", "--at", "2h"]);
    let expected = "\
over is not blocked

was denied, and would be allowed now
  10 calls, budget/daily of workspace/a: the last 5s ago by executor
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    assert_eq!(node.seen().asked[0]["atMs"], json!((NOW_MS - 2 * HOUR_MS).to_string()));
    let ran = node.ask(&["why", "acmee"]);
    assert_eq!(ran.out, "acmee is not blocked: nothing is stored of it. Is the name right?\n", "R-EXPL-2");
}

#[test]
fn a_decision_is_explained_with_what_each_gate_said() {
    let node = Node::start();
    let ran = node.ask(&["explain", "acme", &"7".repeat(32)]);
    for line in [
        "verdict    denied BUDGET_EXCEEDED by budget/daily of workspace/a",
        "one of     10 alike since 2026-11-22T05:30:00Z",
        "numbers    of the last call that was like it",
        "reserve    spend=$0.40",
        "freeze   passed   -",
        "budgets  denied   BUDGET_EXCEEDED",
        "    tollgate org override set acme 'budget/daily=$2.35' \\",
        "      --scope workspace/a --for 1d",
    ] {
        assert!(ran.out.lines().any(|written| written == line), "{line:?} in {}", ran.out);
    }
    assert_eq!(ran.exit, Exit::Done);
    let unknown = node.ask(&["explain", "other", "--at", "2026-11-22T05:30:00Z"]);
    assert_eq!(
        (unknown.exit, unknown.err.as_str()),
        (Exit::Error, "error: nothing is kept of this decision (NOT_FOUND)\n")
    );
    let both = node.ask(&["explain", "acme", &"7".repeat(32), "--at", "2h"]);
    assert_eq!(both.exit, Exit::Usage);
}

#[test]
fn denials_are_a_list_and_the_days_another() {
    let node = Node::start();
    let ran = node.ask(&["denials", "acme"]);
    assert!(ran.out.contains("budget/daily of workspace/a"), "{}", ran.out);
    let days = node.ask(&["denials", "acme", "--by-day"]);
    let expected = "\
DAY         ALLOWED  DENIED  FAILED OPEN  BY GATE
2026-11-22       90      10            2  budgets 10
";
    assert_eq!((days.exit, days.out.as_str()), (Exit::Done, expected));
}

#[test]
fn status_never_says_allowed_alone_of_an_org_whose_calls_are_denied() {
    let ran = Node::start().ask(&["status", "over", "acmee"]);
    let expected = "\
ORG    NEXT ACQUIRE            PLAN  TRY AGAIN IN  MESSAGE
over   allowed, others denied  -     -             -
acmee  allowed                 -     -             -

over: 10 calls were denied lately (10 by budget/daily of workspace/a, the last 5s ago); see: tollgate why over
acmee: nothing is stored of this org

ORG   LIMIT         SCOPE        TAKEN        USED  RESERVED  REMAINING     OF  RESETS IN  RESETS AT             NOTE
over  rate          -            #.........     10         0        990   1000  42m 10s    2026-11-22T09:12:10Z  -
over  budget/daily  workspace/a  #########.  $1.95     $0.00      $0.05  $2.00  -          -                     10 denied
";
    assert_eq!(ran.out, expected, "R-EXPL-2: and the number stands at the limit that denied");
}
