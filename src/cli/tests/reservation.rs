//! `tollgate reservation`.

use super::{Exit, node::Node, tollgate};

#[test]
fn reservations_are_a_table_that_says_since_when_and_until_when() {
    let node = Node::start();
    let ran = node.ask(&["reservation", "list", "acme", "--state", "open", "--older-than", "2h"]);
    assert_eq!(
        (ran.exit, ran.lines()),
        (
            Exit::Done,
            vec![
                "RESERVATION  SCOPE  AMOUNTS      STATE  RESERVED                       EXPIRES",
                "r1           -      spend $0.05  open   2026-11-22T08:29:00Z (1m ago)  2026-11-22T08:35:00Z (in 5m)",
            ]
        )
    );
    let json = node.ask(&["reservation", "list", "acme", "--output", "json"]).json();
    assert_eq!(json["reservations"][0]["state"], "RESERVATION_STATE_OPEN");
}

#[test]
fn a_mistake_names_what_is_allowed() {
    for (args, named) in [
        (vec!["reservation", "list", "acme", "--older-than", "2 hours"], "a time such as 90s, 2h"),
        (vec!["reservation", "list", "acme", "--state", "settled"], "open, expired"),
    ] {
        let ran = tollgate(&args);
        assert_eq!(ran.exit, Exit::Usage);
        assert!(ran.err.contains(named), "{}", ran.err);
    }
}
