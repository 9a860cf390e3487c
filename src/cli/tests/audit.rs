//! `tollgate audit`, and a node with canned drift.

use serde_json::json;
use tonic::{Code, Status};

use super::{Exit, node::Node, node::broken};
use crate::wire::{
    admin::v1::{AuditFailure, AuditRequest, AuditResponse, Drift},
    v1::ItemError,
};

/// All orgs are three pages: one that is well, one with drift, one with an org that cannot be read.
/// A node whose first page has the token `stuck` never comes to an end.
pub(super) fn found(request: &AuditRequest) -> Result<AuditResponse, Status> {
    let well = AuditResponse { orgs: 1, numbers: 12, ..AuditResponse::default() };
    let drift = |org: &str| Drift {
        org: org.into(),
        scope: "workspace/w1".into(),
        meter: "spend".into(),
        what: "hour 495016".into(),
        kept: 70,
        derived_least: 50,
        derived_most: 50,
    };
    let range = |most| Drift { meter: "executions".into(), what: "reserved".into(), derived_most: most, ..drift("b") };
    let failure = |error| AuditFailure { org: "c".into(), error };
    Ok(match (request.org.as_str(), request.page_token.as_str()) {
        ("broken", _) => return Err(broken("broken")),
        ("odd", _) => AuditResponse { drifted: 1, drift: vec![drift("odd")], ..well },
        ("stuck", _) => AuditResponse { next_page_token: "stuck".into(), ..AuditResponse::default() },
        ("half", _) => {
            let error = ItemError {
                grpc_code: Code::Unavailable.into(),
                reason: "STORE_FAULT".into(),
                message: "the record cannot be read".into(),
            };
            AuditResponse { failures: vec![failure(Some(error)), failure(None)], ..well }
        }
        ("", "") => AuditResponse { orgs: 100, numbers: 1200, next_page_token: "a".into(), ..well },
        ("", "a") => AuditResponse {
            orgs: 100,
            numbers: 800,
            drifted: 3,
            drift: vec![drift("b"), range(90), range(i64::MAX)],
            next_page_token: "b".into(),
            ..well
        },
        ("", "b") => AuditResponse { failures: vec![failure(None)], ..well },
        _ => well,
    })
}

#[test]
fn an_org_that_is_well_is_one_line_and_exits_0() {
    let node = Node::start();
    let ran = node.ask(&["audit", "acme"]);
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, "1 org, 12 numbers, no drift\n", ""));
    assert_eq!(node.seen().asked, [json!({"org": "acme", "pageSize": 100, "pageToken": ""})]);
}

#[test]
fn all_orgs_are_one_answer_of_all_pages_and_drift_is_data_that_exits_1() {
    let node = Node::start();
    let ran = node.ask(&["audit"]);
    let expected = "\
ORG  SCOPE         METER       WHAT              KEPT      DERIVED
b    workspace/w1  spend       hour 495016  $0.000070    $0.000050
b    workspace/w1  executions  reserved            70     50 to 90
b    workspace/w1  executions  reserved            70  at least 50

201 orgs, 2012 numbers, 3 drifted, 1 org failed
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, expected));
    assert_eq!(ran.err, "error: c: the node sent neither an answer nor an error\n");
    let tokens: Vec<_> = node.seen().asked.iter().map(|asked| asked["pageToken"].clone()).collect();
    assert_eq!(tokens, ["", "a", "b"]);

    let json = node.ask(&["audit", "--output", "json"]);
    let value = json.json();
    let failed = json!({"code": "internal", "message": "c: the node sent neither an answer nor an error"});
    assert_eq!((json.exit, json.errors()), (Exit::Error, vec![failed]));
    assert_eq!((&value["orgs"], &value["numbers"], &value["drifted"]), (&json!("201"), &json!("2012"), &json!("3")));
    assert_eq!((value["drift"].as_array().unwrap().len(), value["failures"].as_array().unwrap().len()), (3, 1));
    assert_eq!(value["nextPageToken"], "");
    let odd = node.ask(&["audit", "odd", "--output", "json"]);
    assert_eq!((odd.exit, odd.err.as_str()), (Exit::Error, ""), "drift is data, nothing failed");
    let drift = json!({
        "org": "odd", "scope": "workspace/w1", "meter": "spend", "what": "hour 495016", "kept": "70",
        "derivedLeast": "50", "derivedMost": "50"
    });
    assert_eq!(odd.json()["drift"], json!([drift]));
}

#[test]
fn orgs_that_could_not_be_audited_exit_1_although_nothing_drifted() {
    let ran = Node::start().ask(&["audit", "half"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, "1 org, 12 numbers, no drift, 2 orgs failed\n"));
    let expected = "error: c: the record cannot be read (UNAVAILABLE, STORE_FAULT)\n\
                    error: c: the node sent neither an answer nor an error\n";
    assert_eq!(ran.err, expected);
}

#[test]
fn half_an_audit_is_not_shown_as_a_whole() {
    let node = Node::start();
    for (org, why) in [
        ("broken", "error: the store cannot promise durability (UNAVAILABLE, STORE_FAULT)\n"),
        ("stuck", "error: the node's answer is incomplete: a page without orgs is not the last\n"),
    ] {
        let ran = node.ask(&["audit", org]);
        assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Error, "", why), "{org}");
    }
}
