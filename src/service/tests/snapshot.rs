//! R-OPS-13: each org as of one commit, however slowly it is read.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::*;
use crate::{
    actors::WriteBehind,
    bounds::{DAY_MS, HOUR_MS},
    domain::{command::Purge, rows::RowKind},
    ports::OrgStore,
    service::{SnapshotAt, SnapshotPiece},
    testing::{node_on, until},
};

const WRITTEN_AT_ONCE: WriteBehind = WriteBehind { interval: Duration::ZERO, max: 1 };
/// Above what one piece has of it.
const IDS: usize = 4_000;

async fn filled(node: &Node) {
    for from in (0..IDS).step_by(200) {
        let records = (from..from + 200).map(|number| record(&format!("{number:06}{}", "x".repeat(90)), 1));
        let answers = node.orgs.ask_all(&org("acme"), records, call().deadline.at).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    }
}

async fn piece(node: &Node, at: Option<SnapshotAt>) -> Result<SnapshotPiece, ServiceError> {
    node.service.snapshot(&org("acme"), at, false, &call()).await
}

fn rows(piece: &SnapshotPiece) -> Vec<Value> {
    let rows: Vec<Value> =
        piece.text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(u64::try_from(rows.len()), Ok(piece.lines));
    rows
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().filter(|row| row["kind"] == "request_id").map(|row| row["id"].to_string()).collect()
}

async fn stored_ids(node: &Node) -> usize {
    node.store.beside(&org("acme"), RowKind::RequestId, None, usize::MAX).await.unwrap().len()
}

/// Makes the oldest ids a day old, and decides on.
async fn a_day_later(node: &Node) {
    node.clock.advance(DAY_MS + HOUR_MS);
    for number in 0..40 {
        node.service.ask(&org("acme"), record(&format!("later-{number}"), 1), &call()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_there_is_read_although_its_time_is_over_and_nothing_that_came_later() {
    let node = node(rate_of(10)).await;
    filled(&node).await;
    let mut next = piece(&node, None).await.unwrap();
    let mut all = rows(&next);
    a_day_later(&node).await;
    while let Some(at) = next.next {
        next = piece(&node, Some(at)).await.unwrap();
        all.extend(rows(&next));
    }
    let ids = ids(&all);
    assert_eq!(ids.len(), IDS);
    assert!(ids.iter().all(|id| !id.contains("later")));
    let heads: Vec<_> = all.iter().filter(|row| row["kind"] == "head").collect();
    assert_eq!(heads.len(), 1);
    assert!(stored_ids(&node).await >= IDS, "none was removed meanwhile");
    a_day_later(&node).await;
    assert!(stored_ids(&node).await < IDS, "and now they go");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_behind_is_there_and_an_org_that_was_not_in_memory_leaves_it_again() {
    let node = node(rate_of(10)).await;
    assert!(ask(&node, "acme").await.unwrap().allowed);
    let whole = piece(&node, None).await.unwrap();
    assert_eq!(whole.next, None);
    let head = rows(&whole).into_iter().find(|row| row["kind"] == "head").unwrap();
    assert_eq!(head["value"]["admitted_total"], 1, "{head}");
    let later = node_on(node.store.clone(), rate_of(10), WRITTEN_AT_ONCE).await;
    assert_eq!(piece(&later, None).await.unwrap().text, whole.text, "nothing has changed");
    until(|| later.orgs.resident() == 0).await;
    assert_eq!(later.service.snapshot(&org("nobody"), None, false, &call()).await.unwrap().lines, 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_not_whole_any_more_says_so() {
    let node = node(rate_of(10)).await;
    filled(&node).await;
    let broken = Err(ServiceError::SnapshotBroken(org("acme")));
    // Held for ten minutes at most, also where it is read on.
    let mut next = piece(&node, None).await.unwrap().next;
    let again = next;
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::task::yield_now().await;
    assert_eq!(piece(&node, again).await.map(|_| ()), broken, "it was not read on within a minute");
    next = piece(&node, None).await.unwrap().next;
    for _ in 0..11 {
        tokio::time::advance(Duration::from_secs(55)).await;
        tokio::task::yield_now().await;
        let same = SnapshotAt { piece: 0, ..next.unwrap() };
        assert!(piece(&node, Some(same)).await.is_ok(), "the piece that was sent last is sent again");
    }
    assert_eq!(piece(&node, next).await.map(|_| ()), broken, "it was held for ten minutes");
    let next = piece(&node, None).await.unwrap().next;
    node.service.ask(&org("acme"), Purge, &call()).await.unwrap();
    assert_eq!(piece(&node, next).await.map(|_| ()), broken, "it was purged");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_open_and_what_is_given_up_makes_room() {
    let node = node(rate_of(10)).await;
    filled(&node).await;
    for _ in 0..8 {
        assert!(piece(&node, None).await.unwrap().next.is_some());
    }
    assert_eq!(piece(&node, None).await.map(|_| ()), Err(ServiceError::SnapshotsOpen { most: 8 }));
    let begun = node.service.snapshot(&org("acme"), None, true, &call()).await.unwrap();
    assert_eq!((begun.lines, begun.next.is_some()), (0, true), "nothing is begun of what does not fit");
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::task::yield_now().await;
    assert!(piece(&node, None).await.is_ok());
}
