//! `tollgate snapshot`, and a node whose second org breaks once.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use tempfile::tempdir;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Exit, Ran, node::Node, node::broken};
use crate::wire::admin::v1::SnapshotResponse;

const FIRST: &[u8] = b"{\"format\":\"tollgate-export\",\"version\":2,\"group\":0,\"mark\":null}\n";

fn page(orgs: &[&str], next_page_token: &str, org_continues: bool) -> SnapshotResponse {
    let line = |org: &&str| format!("{{\"kind\":\"timer\",\"org\":\"{org}\",\"wake_at\":7,\"value\":{{}}}}\n");
    let lines: Vec<u8> = orgs.iter().map(line).collect::<String>().into_bytes();
    let first_line = if next_page_token.is_empty() { FIRST.to_vec() } else { Vec::new() };
    let (line_count, sha256) = (i64::try_from(orgs.len()).unwrap(), Sha256::digest(&lines).to_vec());
    let next_page_token = next_page_token.to_owned();
    SnapshotResponse { lines, line_count, sha256, org_continues, next_page_token, first_line, ..Default::default() }
}

/// Two small orgs, then a large one that breaks before its end the first time that it is read.
pub(super) fn sent(page_token: &str, asked: usize) -> Result<SnapshotResponse, Status> {
    let gone = || {
        let details = ErrorDetails::with_error_info("SNAPSHOT_BROKEN", "tollgate", []);
        Status::with_error_details(Code::Aborted, "it was purged", details)
    };
    match (page_token, asked) {
        ("", _) => Ok(page(&["a", "b"], "behind-b", false)),
        ("behind-b", 1) => Ok(page(&["large-void"], "in-large", true)),
        ("behind-b", _) => Ok(page(&["large"], "in-large", true)),
        ("in-large", 1) => Err(gone()),
        ("in-large", _) => Ok(page(&["large"], "", false)),
        _ => Err(broken(page_token)),
    }
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_org_that_broke_is_begun_again_and_its_first_lines_are_not_in_the_file() {
    let (node, dir) = (Node::start(), tempdir().unwrap());
    let file = dir.path().join("orgs.jsonl");
    let Ran { exit, out, err } = node.ask(&["snapshot", file.to_str().unwrap()]);
    assert_eq!((exit, out.as_str()), (Exit::Done, ""), "{err}");
    assert!(err.contains("4 rows written to"), "{err}");
    let text = fs::read_to_string(&file).unwrap();
    let orgs = ["\"a\"", "\"b\"", "\"large\"", "\"large\""];
    assert_eq!(text.lines().count(), orgs.len() + 2);
    for (line, org) in text.lines().skip(1).zip(orgs) {
        assert!(line.contains(org), "{line}");
    }
    assert!(!text.contains("large-void"));
    assert_eq!(names(dir.path()), ["orgs.jsonl"]);
    let again = node.ask(&["snapshot", file.to_str().unwrap()]);
    assert_eq!((again.exit, again.err.contains("it exists, and is not overwritten")), (Exit::Error, true));
}
