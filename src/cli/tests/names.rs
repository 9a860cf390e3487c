//! `tollgate org rename`, and orgs that have another name than their id.

use serde_json::json;

use super::{Exit, NOW_MS, node::Node};
use crate::wire::admin::v1::*;

pub(super) fn former(name: &str) -> FormerName {
    FormerName { name: name.into(), until_ms: NOW_MS - 60_000 }
}

pub(super) fn renamed(request: &RenameOrgRequest) -> RenameOrgResponse {
    RenameOrgResponse {
        org: "acme".into(),
        before: if request.to == "acme-inc" { "acme-inc" } else { "acme" }.into(),
        name: request.to.clone(),
        former_names: vec![former("acme")],
        replayed: request.request_id == "again",
        claimed: false,
    }
}

#[test]
fn a_renaming_shows_the_old_name_and_the_new_one() {
    let node = Node::start();
    let ran = node.ask(&["org", "rename", "acme", "acme-corp", "--reason", "ticket 4711"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, "renamed  acme → acme-corp  id acme  as well as acme\n");
    for (args, expected) in [
        (["acme", "acme-inc", "--request-id", "r"], "renamed  acme-inc (it was called so already)"),
        (["acme", "acme-corp", "--request-id", "again"], "renamed  acme-corp (replayed)"),
    ] {
        let ran = node.ask(&[&["org", "rename"], args.as_slice()].concat());
        assert!(ran.out.starts_with(expected), "{}", ran.out);
    }
    let answer = node.ask(&["org", "rename", "acme", "acme-corp", "-o", "json"]).json();
    assert_eq!(answer["org"], json!("acme"), "the id stays");
    assert_eq!(answer["name"], json!("acme-corp"));
    assert_eq!(answer["formerNames"][0]["name"], json!("acme"));
    let ran = node.ask(&["org", "rename", "acme", "a b"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("a b"), "{}", ran.err);
}

#[test]
fn an_org_is_shown_by_its_name_with_its_id() {
    let node = Node::start();
    let ran = node.ask(&["org", "show", "acme"]);
    assert!(ran.out.starts_with("org           acme-corp (id acme)\nformer names  acme, acme-inc\n"), "{}", ran.out);
}
