//! `tollgate budget`, and a node with one canned budget that each write starts from.

use std::collections::HashMap;

use serde_json::json;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{
    Exit,
    node::{Canned, Node, Reply, broken},
};
use crate::wire::v1::{budget_service_server::BudgetService, *};

/// A request id that the node has seen before.
const SEEN_BEFORE: &str = "again";

#[tonic::async_trait]
impl BudgetService for Canned {
    async fn get_budget(&self, request: Request<GetBudgetRequest>) -> Reply<GetBudgetResponse> {
        let GetBudgetRequest { org, scope } = self.keep(request);
        let budget = if org == "empty" { None } else { Some(budget(&org, &scope)) };
        Ok(Response::new(GetBudgetResponse { budget }))
    }

    async fn update_budget(&self, request: Request<UpdateBudgetRequest>) -> Reply<UpdateBudgetResponse> {
        let request = self.keep(request);
        let mut budget = budget(&request.org, &request.scope);
        refusal(&request.org, request.expected_version)?;
        for period in budget.periods.values_mut() {
            period.previous_limit = period.limit;
        }
        for (name, patch) in &request.periods {
            limit(budget.periods.get_mut(name).unwrap(), if patch.clear { None } else { patch.limit });
        }
        budget.version += 1;
        let replayed = request.request_id == SEEN_BEFORE;
        Ok(Response::new(UpdateBudgetResponse { budget: Some(budget), replayed }))
    }

    async fn replace_budget(&self, request: Request<ReplaceBudgetRequest>) -> Reply<ReplaceBudgetResponse> {
        let request = self.keep(request);
        let mut budget = budget(&request.org, &request.scope);
        refusal(&request.org, request.expected_version)?;
        for (name, period) in &mut budget.periods {
            limit(period, request.limits.get(name).copied());
        }
        budget.version += 1;
        budget.malformed.clear();
        let replayed = request.request_id == SEEN_BEFORE;
        Ok(Response::new(ReplaceBudgetResponse { budget: Some(budget), replayed }))
    }
}

fn budget(org: &str, scope: &str) -> Budget {
    let period = |limit, spend, reserved, set| BudgetPeriod {
        limit,
        spend,
        remaining: limit.map(|limit: i64| limit - spend - reserved),
        reserved,
        set,
        previous_limit: None,
        ..BudgetPeriod::default()
    };
    let periods = [
        ("monthly", period(None, 3_000_000, 0, false)),
        ("weekly", period(Some(0), 2_000_000, 0, true)),
        ("hourly", period(Some(1_000_000), 50, 0, true)),
        ("daily", period(Some(2_000_000), 750_000, 500_000, false)),
    ];
    let malformed = if org == "odd" { vec!["daily=-5".to_owned(), "yearly=1".to_owned()] } else { Vec::new() };
    Budget {
        org: org.to_owned(),
        scope: scope.to_owned(),
        periods: periods.map(|(name, period)| (name.to_owned(), period)).into(),
        version: 3,
        monthly_spend: 3_000_000,
        malformed,
        ..Budget::default()
    }
}

fn limit(period: &mut BudgetPeriod, limit: Option<i64>) {
    period.previous_limit = period.limit;
    period.limit = limit;
    period.remaining = limit.map(|limit| limit - period.spend - period.reserved);
    period.set = limit.is_some();
}

fn refusal(org: &str, expected_version: Option<i64>) -> Result<(), Status> {
    if org == "broken" {
        return Err(broken(org));
    }
    match expected_version {
        None | Some(3) => Ok(()),
        Some(_) => {
            let reason = ErrorDetails::with_error_info("BUDGET_VERSION", "tollgate", HashMap::new());
            Err(Status::with_error_details(Code::Aborted, "the budget has version 3", reason))
        }
    }
}

#[test]
fn a_budget_shows_its_periods_in_order_how_much_is_taken_and_where_limits_come_from() {
    let node = Node::start();
    let ran = node.ask(&["budget", "get", "acme", "--scope", "workspace/w1"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
PERIOD   TAKEN          LIMIT      SPEND  RESERVED  REMAINING  LIMIT IS
hourly   #.........     $1.00  $0.000050     $0.00  $0.999950  set
daily    ######....     $2.00      $0.75     $0.50      $0.75  configured
weekly   ##########     $0.00      $2.00     $0.00     -$2.00  set, blocks all
monthly  -           no limit      $3.00     $0.00          -  -

version  3
";
    assert_eq!(ran.out, expected);
    assert_eq!(node.seen().asked, [json!({"org": "acme", "scope": "workspace/w1"})]);
    let value = node.ask(&["budget", "get", "acme", "--output", "json"]).json();
    assert_eq!(
        value["budget"]["periods"]["weekly"],
        json!({
            "limit": "0", "spend": "2000000", "remaining": "-2000000", "reserved": "0", "set": true,
            "source": "LIMIT_SOURCE_UNSPECIFIED", "sourceUntilMs": "0",
        })
    );
    assert_eq!(value["budget"]["periods"]["monthly"].get("limit"), None, "R-BUD-2: absent is no limit");
}

#[test]
fn invalid_stored_limits_are_shown_and_reported() {
    let node = Node::start();
    let warned = "warning: odd has stored limits that are invalid: daily=-5, yearly=1\n\
                  hint: the gate `budgets` cannot be evaluated until `tollgate budget set odd --scope ws/1 \
                  --replace` removes them\n";
    let ran = node.ask(&["budget", "get", "odd", "--scope", "ws/1"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, warned));
    assert!(ran.out.ends_with("\nversion    3\nMALFORMED  daily=-5, yearly=1\n"), "{}", ran.out);
    let json = node.ask(&["budget", "get", "odd", "--scope", "ws/1", "--output", "json"]);
    assert_eq!((json.exit, json.err.as_str()), (Exit::Done, ""), "the answer has them as a field");
    assert_eq!(json.json()["budget"]["malformed"], json!(["daily=-5", "yearly=1"]));

    let merged = node.ask(&["budget", "set", "odd", "hourly=1u"]);
    assert!(merged.err.contains("`tollgate budget set odd --replace`"), "a merge leaves them: {}", merged.err);
    let replaced = node.ask(&["budget", "set", "odd", "--replace"]);
    assert_eq!((replaced.exit, replaced.err.as_str()), (Exit::Done, ""));
    assert!(replaced.out.ends_with("\n\nversion  4\n"), "{}", replaced.out);
}

#[test]
fn a_set_merges_and_shows_what_each_limit_was_and_is() {
    let node = Node::start();
    let args = "budget set acme --scope workspace/w1 monthly=$12.50 weekly=none daily=7u hourly=block \
                --expect-version 3 --request-id b-1 --reason paid";
    let ran = node.ask(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
PERIOD   TAKEN                   LIMIT      SPEND  RESERVED   REMAINING  LIMIT IS
hourly   ##########      $1.00 → $0.00  $0.000050     $0.00  -$0.000050  set, blocks all
daily    ##########  $2.00 → $0.000007      $0.75     $0.50  -$1.249993  set
weekly   -            $0.00 → no limit      $2.00     $0.00           -  -
monthly  ##........  no limit → $12.50      $3.00     $0.00       $9.50  set

version  4
";
    assert_eq!(ran.out, expected);
    let asked = json!({
        "org": "acme", "scope": "workspace/w1", "requestId": "b-1",
        "periods": {
            "hourly": {"limit": "0", "clear": false}, "daily": {"limit": "7", "clear": false},
            "weekly": {"clear": true}, "monthly": {"limit": "12500000", "clear": false}
        },
        "expectedVersion": "3", "clearBudgetLimit": false, "reason": "paid", "dryRun": false
    });
    assert_eq!(node.seen().asked, [asked]);
}

#[test]
fn a_replace_names_what_stays_and_may_name_nothing() {
    let node = Node::start();
    let ran = node.ask(&["budget", "set", "acme", "daily=$2", "--replace", "--request-id", "b-2"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.lines()[2], "daily    ######....             $2.00      $0.75     $0.50      $0.75  set");
    assert!(ran.lines()[1].contains("no limit") && ran.lines()[3].contains("no limit"), "{}", ran.out);

    let cleared = node.ask(&["budget", "set", "acme", "--replace", "--output", "json"]);
    let value = cleared.json();
    assert_eq!((cleared.exit, &value["replayed"]), (Exit::Done, &json!(false)));
    assert_eq!(value["budget"]["periods"]["hourly"].get("limit"), None);
    assert_eq!(value["budget"]["version"], "4");

    let seen = node.seen();
    let asked = json!({"org": "acme", "scope": "", "requestId": "b-2", "reason": "", "dryRun": false, "limits": {"daily": "2000000"}});
    assert_eq!(seen.asked[0], asked);
    assert_eq!(seen.asked[1]["limits"], json!({}));
    let id = seen.asked[1]["requestId"].as_str().unwrap();
    assert!(id.starts_with("cli-") && id.len() == 36, "{id}");
}

#[test]
fn a_set_that_is_repeated_says_so() {
    let node = Node::start();
    for replace in [[].as_slice(), &["--replace"]] {
        let args = [["budget", "set", "acme", "daily=1u", "--request-id", SEEN_BEFORE].as_slice(), replace].concat();
        let ran = node.ask(&args);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
        assert!(ran.out.ends_with("\nversion  4 (replayed)\n"), "R-PIPE-6: {}", ran.out);
    }
}

#[test]
fn a_set_that_lost_a_race_or_is_in_doubt_is_an_error() {
    let node = Node::start();
    for replace in [[].as_slice(), &["--replace"]] {
        let raced =
            node.ask(&[["budget", "set", "acme", "daily=1u", "--expect-version", "2"].as_slice(), replace].concat());
        assert_eq!((raced.exit, raced.out.as_str()), (Exit::Error, ""));
        assert_eq!(raced.err, "error: the budget has version 3 (ABORTED, BUDGET_VERSION)\n", "nothing is in doubt");

        let doubt = node.ask(&[["budget", "set", "broken", "daily=1u"].as_slice(), replace].concat());
        assert_eq!((doubt.exit, doubt.out.as_str()), (Exit::Error, ""));
        let id = node.seen().asked.last().unwrap()["requestId"].as_str().unwrap().to_owned();
        assert!(doubt.err.contains(&format!("--request-id {id} repeats this call safely")), "R-PIPE-6: {}", doubt.err);
    }
}

#[test]
fn a_node_that_sends_no_budget_is_an_error() {
    let ran = Node::start().ask(&["budget", "get", "empty"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""));
    assert_eq!(ran.err, "error: the node's answer is incomplete: it has no budget\n");
}

#[test]
fn a_dry_run_is_asked_of_the_node_and_said_below_its_answer() {
    let node = Node::start();
    for replace in [false, true] {
        let mut args = vec!["budget", "set", "acme", "daily=$1", "--dry-run"];
        args.extend(replace.then_some("--replace"));
        let ran = node.ask(&args);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
        assert!(ran.out.ends_with("\n\nnothing was changed: --dry-run\n"), "{}", ran.out);
        assert_eq!(node.seen().asked.last().unwrap()["dryRun"], true);
        let json = node.ask(&[args.as_slice(), &["-o", "json"]].concat()).json();
        assert!(json["budget"].is_object(), "{json}");
    }
}
