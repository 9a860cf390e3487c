//! `tollgate commit`, `release`, `extend`, `record`, `complete` and `resume`.

use serde_json::json;

use super::{Exit, node::Node, tollgate};

const ID: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_commit_says_what_was_used_and_what_was_given_back() {
    let node = Node::start();
    let ran = node.ask(&["commit", "acme", ID, "--actual", "spend=$0.05", "--actual", "bytes=9"]);
    let expected = format!(
        "committed  acme  {ID}\n\
         used        spend $0.05, bytes 9 B in workspace/a\n\
         given back  spend $0.02\n\
         late        it had expired; what was used counts all the same\n"
    );
    assert_eq!((ran.exit, ran.out), (Exit::Done, expected));
    let asked = node.seen().asked.last().cloned().unwrap();
    let amounts = json!([{"meter": "spend", "amount": "50000"}, {"meter": "bytes", "amount": "9"}]);
    assert_eq!((&asked["reservationId"], &asked["actual"]), (&json!(ID), &amounts));
    assert!(asked["requestId"].as_str().is_some_and(|id| id.starts_with("cli-")), "a retry of the network is safe");
}

#[test]
fn a_release_names_what_it_released_and_says_a_repetition() {
    let node = Node::start();
    assert_eq!(node.ask(&["release", "acme", ID]).out, format!("released  acme  {ID}\n"));
    let again = node.ask(&["release", "acme", ID, "--request-id", "again"]);
    assert_eq!(again.out, format!("released  acme  {ID}  (replayed)\n"));
}

#[test]
fn an_extension_says_until_when_it_lasts() {
    let node = Node::start();
    let ran = node.ask(&["extend", "acme", ID, "--ttl", "10m"]);
    assert_eq!(ran.out, format!("extended  acme  {ID}\nexpires  2026-11-22T08:40:00Z (in 10m)\n"));
    assert_eq!(node.seen().asked.last().unwrap()["ttlMs"], "600000");
}

#[test]
fn usage_is_recorded_and_an_execution_is_completed_by_its_decision_alone() {
    let node = Node::start();
    let usage = ["record", "acme", "--usage", "spend=$1.50", "--scope", "workspace/a", "--decision", ID];
    assert_eq!(node.ask(&usage).out, "recorded  acme  spend $1.50\n");
    assert_eq!(node.seen().asked.last().unwrap()["decisionId"], ID);
    assert_eq!(node.ask(&["complete", "acme", ID]).out, format!("completed  acme  {ID}\n"));
    let asked = node.seen().asked.last().cloned().unwrap();
    assert_eq!((&asked["decisionId"], &asked["usage"]), (&json!(ID), &json!([])));
}

#[test]
fn an_execution_goes_on_and_is_counted() {
    let node = Node::start();
    assert_eq!(node.ask(&["resume", "acme", "job-7"]).out, "resumed  acme  job-7  3 times so far\n");
}

#[test]
fn an_acquire_says_how_long_it_reserves_who_asks_and_what_becomes_of_the_verdict() {
    let node = Node::start();
    let acquire =
        ["acquire", "acme", "--reserve", "spend=1usd", "--ttl", "90s", "--plane", "batch", "--mode", "shadow"];
    assert_eq!(node.ask(&acquire).exit, Exit::Done);
    let asked = node.seen().acquire.clone().unwrap();
    assert_eq!((asked.reservation_ttl_ms, asked.plane.as_str(), asked.mode), (90_000, "batch", 3));
    assert_eq!(node.ask(&["acquire", "acme", "--check-only"]).exit, Exit::Done);
    assert_eq!(node.seen().acquire.clone().unwrap().mode, 2);
}

#[test]
fn a_mistake_names_what_is_allowed() {
    for (args, named) in [
        (vec!["commit", "acme", "r1"], "reservation"),
        (vec!["extend", "acme", ID, "--ttl", "0s"], "1s to 24h"),
        (vec!["extend", "acme", ID], "--ttl"),
        (vec!["record", "acme"], "--usage"),
        (vec!["record", "acme", "--usage", "spend=7"], "an amount of spend with its unit"),
        (vec!["complete", "acme", "x"], "decision"),
        (vec!["acquire", "acme", "--mode", "loud"], "normal, check-only, shadow"),
        (vec!["acquire", "acme", "--ttl", "90s"], "--reserve"),
    ] {
        let ran = tollgate(&args);
        assert_eq!(ran.exit, Exit::Usage, "{args:?}");
        assert!(ran.err.contains(named), "{args:?}: {}", ran.err);
    }
}
