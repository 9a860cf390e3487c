//! What a shell may offer, against a node.

use std::net::TcpListener;

use super::{Exit, Surroundings, in_surroundings, node::Node};

/// The values and their order, as fish would list them behind the words.
fn offered(words: &[&str]) -> Vec<String> {
    let around = Surroundings { completes: Some("/usr/bin/fish".into()), ..Surroundings::default() };
    let ran = in_surroundings(&around, &[&["--", "tollgate"], words].concat());
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""), "{words:?}");
    ran.out.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn values_come_from_the_node_that_the_words_name() {
    let node = Node::start();
    let address = node.address.to_string();
    let ask = |words: &[&str]| offered(&[&["--addr", &address], words].concat());
    assert_eq!(ask(&["org", "set-plan", "acme", ""]), ["free", "pro"]);
    assert_eq!(ask(&["org", "set-plan", "acme", "p"]), ["pro"]);
    assert_eq!(ask(&["acquire", "acme", "--scope", "work"]), ["workspace/w1"]);
    assert!(ask(&["status", ""]).iter().all(|org| !org.starts_with('-')), "options come when they are begun");
    assert_eq!(ask(&["budget", "set", "acme", "dai"]), ["daily="]);
    assert!(ask(&["session", "start", "acme", ""]).iter().all(|word| word.starts_with('-')), "a new name");
}

#[test]
fn without_a_node_there_are_commands_options_and_no_error() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    assert_eq!(offered(&["bud"]), ["budget"]);
    assert_eq!(offered(&["budget", "set", "acme", "--sc"]), ["--scope"]);
    assert_eq!(offered(&["--addr", &address, "status", "a"]), [""; 0]);
    assert_eq!(offered(&["--addr", "nowhere", "status", "a"]), [""; 0]);
    let around = Surroundings { completes: Some("tcsh".into()), ..Surroundings::default() };
    assert_eq!(in_surroundings(&around, &["--", "tollgate", ""]).exit, Exit::Error);
}
