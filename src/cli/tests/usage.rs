//! `tollgate usage`, and a node with canned usage.

use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{Exit, node::Node, node::broken};
use crate::wire::{
    admin::v1::{UsageFailure, UsagePeriod, UsageRequest, UsageResponse, UsageRow},
    v1::ItemError,
};

const OCTOBER: i64 = 1_790_812_800_000;
const NOVEMBER: i64 = 1_793_491_200_000;
const DAY: i64 = 86_400_000;

fn row(org: &str, scope: &str, meter: &str, amount: i64) -> UsageRow {
    let (start_ms, end_ms) = (OCTOBER, OCTOBER + DAY);
    UsageRow {
        org: org.into(),
        scope: scope.into(),
        meter: meter.into(),
        start_ms,
        end_ms,
        amount,
        ..UsageRow::default()
    }
}

/// All orgs are two pages, the second with an org that cannot be read.
pub(super) fn used(request: &UsageRequest) -> Result<UsageResponse, Status> {
    let page = UsageResponse { from_ms: OCTOBER, to_ms: NOVEMBER, ..UsageResponse::default() };
    Ok(match (request.org.as_str(), request.page_token.as_str()) {
        ("broken", _) => return Err(broken("broken")),
        ("stuck", _) => UsageResponse { next_page_token: "stuck".into(), ..page },
        ("none", _) => page,
        ("planes", _) => {
            let of = |plane: &str, amount| UsageRow { plane: plane.into(), ..row("planes", "", "spend", amount) };
            UsageResponse { rows: vec![of("", 1_000_000), of("eu-1", 2_000_000)], ..page }
        }
        ("", "") => {
            let rows = vec![row("acme", "", "spend", 12_500_000), row("acme", "workspace/w1", "compute", 5_400_000)];
            UsageResponse { rows, next_page_token: "acme".into(), ..page }
        }
        ("", _) => {
            let month = UsageRow { end_ms: NOVEMBER, ..row("bob", "", "executions", 3) };
            let error = ItemError {
                grpc_code: Code::Unavailable.into(),
                reason: "STORE_FAULT".into(),
                message: "the record cannot be read".into(),
            };
            let failures = vec![UsageFailure { org: "c".into(), error: Some(error) }];
            UsageResponse { rows: vec![month], failures, ..page }
        }
        _ => UsageResponse { rows: vec![row("acme", "", "spend", 50)], ..page },
    })
}

#[test]
fn usage_of_all_orgs_is_printed_page_by_page_in_units_of_people() {
    let node = Node::start();
    let ran = node.ask(&["usage", "--all", "--from", "2026-10", "--to", "2026-10-31"]);
    assert_eq!(ran.exit, Exit::Error, "an org could not be read");
    let expected = [
        ["ORG", "SCOPE", "METER", "PERIOD", "USED"].as_slice(),
        &["acme", "-", "spend", "2026-10-01", "$12.50"],
        &["acme", "workspace/w1", "compute", "2026-10-01", "1h", "30m"],
        &["bob", "-", "executions", "2026-10", "3"],
    ];
    let lines: Vec<Vec<&str>> = ran.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, expected);
    assert!(ran.err.contains("c: the record cannot be read"), "{}", ran.err);
    let first = json!({"org": "", "by": "USAGE_PERIOD_DAY", "fromMs": OCTOBER.to_string(), "toMs": NOVEMBER.to_string(),
        "meter": "", "pageSize": 5000, "pageToken": "", "byPlane": false});
    let mut second = first.clone();
    second["pageToken"] = "acme".into();
    assert_eq!(node.seen().asked, [first, second]);
}

#[test]
fn csv_has_raw_amounts_and_dollars_or_hours() {
    let ran = Node::start().ask(&["usage", "--all", "-o", "csv"]);
    let expected = "\
org,scope,plane,meter,from,to,amount,unit,value,value_unit
acme,,,spend,2026-10-01,2026-10-01,12500000,micro_usd,12.500000,usd
acme,workspace/w1,,compute,2026-10-01,2026-10-01,5400000,ms,1.500000,hours
bob,,,executions,2026-10-01,2026-10-31,3,count,3,count
";
    assert_eq!(ran.out, expected);
}

#[test]
fn json_of_all_pages_is_one_response() {
    let ran = Node::start().ask(&["usage", "--all", "-o", "json"]);
    let value: Value = ran.json();
    assert_eq!(value["rows"].as_array().map(Vec::len), Some(3));
    assert_eq!((&value["rows"][2]["org"], &value["rows"][2]["amount"]), (&json!("bob"), &json!("3")));
    assert_eq!((&value["failures"][0]["org"], &value["nextPageToken"]), (&json!("c"), &json!("")));
    let none = Node::start().ask(&["usage", "none", "-o", "json"]).json();
    assert_eq!((&none["rows"], &none["fromMs"]), (&json!([]), &json!(OCTOBER.to_string())));
}

#[test]
fn what_is_asked_of_one_org_reaches_the_node() {
    let node = Node::start();
    let ran = node.ask(&["usage", "acme", "--by", "month", "--from", "2026-10", "--scope", "", "--meter", "spend"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let asked = json!({"org": "acme", "by": "USAGE_PERIOD_MONTH", "fromMs": OCTOBER.to_string(), "toMs": "0",
        "scope": "", "meter": "spend", "pageSize": 5000, "pageToken": "", "byPlane": false});
    assert_eq!(node.seen().asked, [asked]);
    assert_eq!(UsagePeriod::Month.as_str_name(), "USAGE_PERIOD_MONTH");
}

#[test]
fn usage_by_plane_has_a_column_for_it() {
    let node = Node::start();
    let ran = node.ask(&["usage", "planes", "--by-plane"]);
    let lines: Vec<Vec<&str>> = ran.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ORG", "PLANE", "METER", "PERIOD", "USED"]);
    assert_eq!((lines[1][1], lines[2][1], lines[2][4]), ("-", "eu-1", "$2.00"));
    assert_eq!(node.seen().asked[0]["byPlane"], json!(true));
    assert_eq!(super::tollgate(&["usage", "planes", "--by-plane", "--scope", "a"]).exit, Exit::Usage);
}

#[test]
fn a_usage_list_that_does_not_end_is_an_error_and_an_empty_one_says_so() {
    let node = Node::start();
    assert_eq!(node.ask(&["usage", "stuck"]).exit, Exit::Error);
    assert_eq!(node.ask(&["usage", "broken"]).exit, Exit::Error);
    let none = node.ask(&["usage", "none"]);
    assert_eq!((none.exit, none.out.as_str(), none.err.as_str()), (Exit::Done, "", "nothing was used\n"));
}

#[test]
fn mistakes_in_what_is_asked_about_usage_exit_2() {
    for (args, hint) in [
        (["usage"].as_slice(), "ORG"),
        (&["usage", "acme", "--all"], "--all"),
        (&["usage", "acme", "--from", "October"], "a day such as 2026-10-01, or a month such as 2026-10"),
        (&["usage", "acme", "--by", "month", "--from", "2026-10-01"], "a month such as 2026-10"),
        (&["status", "acme", "-o", "csv"], "csv is for `usage`"),
    ] {
        let ran = super::tollgate(args);
        assert_eq!(ran.exit, Exit::Usage, "{args:?}");
        assert!(ran.err.contains(hint), "{args:?}: {}", ran.err);
    }
}
