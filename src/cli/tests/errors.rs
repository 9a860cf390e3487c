//! Errors under `--output json`: each is one JSON object on a line of stderr, in Connect's form.

use std::fs;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::{Exit, Ran, node::Node, tollgate};

/// The only error of a command that printed nothing else.
fn only_error(ran: &Ran) -> Value {
    assert_eq!(ran.out, "");
    let errors = ran.errors();
    assert_eq!(errors.len(), 1, "{}", ran.err);
    errors[0].clone()
}

#[test]
fn an_error_of_the_node_has_its_code_its_message_and_its_details() {
    let ran = Node::start().ask(&["acquire", "broken", "--output", "json"]);
    assert_eq!(ran.exit, Exit::Error);
    let expected = json!({
        "code": "unavailable",
        "message": "the store cannot promise durability",
        "details": [{
            "type": "google.rpc.ErrorInfo",
            "value": "CgtTVE9SRV9GQVVMVBIIdG9sbGdhdGUaDQoDb3JnEgZicm9rZW4",
            "debug": {"reason": "STORE_FAULT", "domain": "tollgate", "metadata": {"org": "broken"}},
        }]
    });
    assert_eq!(only_error(&ran), expected);
}

#[test]
fn an_error_after_which_a_change_may_have_been_made_has_its_request_id() {
    let node = Node::start();
    let error = only_error(&node.ask(&["org", "purge", "broken", "--yes", "--output", "json"]));
    let id = node.seen().writes[0].1.clone();
    let details = error["details"].as_array().unwrap();
    let named = details.iter().find(|detail| detail["type"] == "google.rpc.RequestInfo").unwrap();
    assert_eq!(named["debug"], json!({"requestId": id, "servingData": ""}), "R-PIPE-6");
    assert!(details.iter().any(|detail| detail["debug"]["reason"] == "STORE_FAULT"), "{error}");
}

#[test]
fn an_item_that_failed_is_an_error_of_its_own_beside_the_answer() {
    let ran = Node::start().ask(&["status", "acme", "broken", "--output", "json"]);
    let [error] = ran.errors().try_into().unwrap();
    assert_eq!((ran.exit, &error["code"]), (Exit::Error, &json!("unavailable")));
    assert_eq!(error["message"], "broken: the record cannot be read");
    let info = json!({"reason": "STORE_FAULT", "domain": "tollgate", "metadata": {"org": "broken"}});
    assert_eq!(error["details"][0]["debug"], info);
    assert_eq!(ran.json()["results"][0]["status"]["org"], "acme");
}

#[test]
fn a_usage_error_is_an_object_wherever_the_format_stands() {
    for (args, message) in [
        ("acquire acme --cost executions --output json", "METER=AMOUNT"),
        ("-o json acquire a//b", "first a letter, a digit or one of +/_@"),
        ("--output=json status acme --timeout 5", "1ms to 10m"),
        ("status -ojson", "<ORG>"),
        ("org list --limit 0 -o json", "1..=1000000"),
        ("budget set acme daily=1u --expect-version=-1 -o json", "-1 is not in 0.."),
        ("dance -o json", "unrecognized subcommand"),
        ("billing -o json", "requires a subcommand"),
        ("-o json", "requires a subcommand"),
    ] {
        let ran = tollgate(&args.split_whitespace().collect::<Vec<_>>());
        assert!(ran.err.starts_with('{'), "{args}: {}", ran.err);
        let error = only_error(&ran);
        assert_eq!((ran.exit, &error["code"]), (Exit::Usage, &json!("invalid_argument")), "{args}");
        let text = error["message"].as_str().unwrap();
        assert!(text.contains(message), "{args}: {text}");
        assert!(!text.starts_with("error") && !text.contains("Usage:") && !text.contains("--help'"), "{args}: {text}");
    }
}

#[test]
fn a_mistake_that_shows_only_in_the_whole_command_line_names_its_field() {
    let ran = tollgate(&["acquire", "acme", "--cost", "spend=1u", "--cost", "spend=2u", "-o", "json"]);
    let error = only_error(&ran);
    assert_eq!((ran.exit, &error["code"]), (Exit::Usage, &json!("invalid_argument")));
    assert_eq!(error["details"][0]["type"], "google.rpc.BadRequest");
    assert_eq!(error["details"][0]["debug"]["fieldViolations"][0]["field"], "cost");
}

#[test]
fn a_node_that_is_not_there_is_unavailable_and_one_that_is_late_is_a_deadline() {
    // Bound and not listening: nobody else gets the port, and a connection to it is refused.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = silent.local_addr().unwrap();
    let ran = tollgate(&["status", "acme", "--addr", &free.to_string(), "-o", "json"]);
    let error = only_error(&ran);
    assert_eq!((ran.exit, &error["code"]), (Exit::Error, &json!("unavailable")));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("no connection to http://{free}: ")), "{message}");
    assert!(!message.contains("hint"), "{message}");

    let late = Node::start().ask(&["acquire", "silent", "--timeout", "50ms", "-o", "json"]);
    assert_eq!((late.exit, &only_error(&late)["code"]), (Exit::Error, &json!("deadline_exceeded")));
}

#[test]
fn files_that_cannot_be_used_are_errors_of_their_kind() {
    let (node, directory) = (Node::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("file");
    fs::write(&file, "two words").unwrap();
    let file = file.to_str().unwrap();
    for (args, code) in [
        (["acquire", "acme", "--token-file", file].as_slice(), "failed_precondition"),
        (&["pool", "configure", "acme", "relay", "--accounts-file", file], "invalid_argument"),
        (&["export", "--data-dir", "/nowhere"], "unknown"),
    ] {
        let ran = node.ask(&[args, &["-o", "json"]].concat());
        assert_eq!((ran.exit, &only_error(&ran)["code"]), (Exit::Error, &json!(code)), "{args:?}");
    }
}

#[test]
fn every_mistake_of_a_configuration_is_a_violation_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.toml");
    fs::write(&file, "[rate]\namount = 0\n\n[nope]\n").unwrap();
    let ran = tollgate(&["check-config", file.to_str().unwrap(), "-o", "json"]);
    let error = only_error(&ran);
    assert_eq!((ran.exit, &error["code"]), (Exit::Error, &json!("invalid_argument")));
    assert_eq!(error["message"], "2 mistakes in the configuration");
    let violations = error["details"][0]["debug"]["fieldViolations"].as_array().unwrap();
    let places: Vec<_> = violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect();
    assert!(places[0].starts_with("2:") && places[1].starts_with("4:"), "{places:?}");
    assert!(violations[0]["description"].as_str().unwrap().contains("amount"), "{error}");
}

#[test]
fn nothing_but_errors_stands_on_stderr() {
    let node = Node::start();
    let listed = node.ask(&["org", "list", "--limit", "1200", "-o", "json"]);
    assert_eq!((listed.exit, listed.err.as_str()), (Exit::Done, ""));
    assert_eq!(listed.json()["nextPageToken"], "1200", "how to continue stands in the answer");
}
