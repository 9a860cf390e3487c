//! What becomes of an org whose commit is not durable, by the kind of its answer.

use super::*;
use crate::{
    domain::gate::{Cause, FailOpen, Gate},
    ports::{CommitError, StoreFault},
};

fn fault() -> StoreFault {
    StoreFault { operation: "commit", cause: "connection lost".into() }
}

/// Answers whether the org decides without a flag.
async fn evaluated(node: &Node) -> bool {
    let decision = ask(&node.orgs, "acme", plain()).await.unwrap().unwrap();
    assert!(decision.allowed);
    decision.fail_open().is_empty()
}

#[tokio::test(start_paused = true)]
async fn what_a_commit_that_is_not_durable_had_promised_is_an_error_of_its_kind() {
    for (error, expected) in [
        (CommitError::Fenced, ServiceError::Moved),
        (CommitError::Unavailable(fault()), ServiceError::Store(fault())),
        (CommitError::InDoubt(fault()), ServiceError::InDoubt(fault())),
        (CommitError::Lost(fault()), ServiceError::Store(fault())),
    ] {
        let node = node(rate_of(100)).await;
        assert_eq!(ask(&node.orgs, "acme", record("r1", 5)).await, Ok(recorded(false)));
        node.store.answer_next(error.clone());
        assert_eq!(ask(&node.orgs, "acme", record("r2", 5)).await, Err(expected), "{error}");
        until(|| node.orgs.resident() == 0).await;
        let written = matches!(error, CommitError::InDoubt(_));
        assert_eq!(ask(&node.orgs, "acme", record("r2", 5)).await, Ok(recorded(written)), "{error}");
        assert_eq!(ask(&node.orgs, "acme", record("r1", 5)).await, Ok(recorded(true)), "{error}");
        assert!(evaluated(&node).await);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_behind_a_commit_that_is_not_durable() {
    let node = node(rate_of(100)).await;
    assert!(admitted(&node.orgs, "acme").await);
    node.store.hold();
    let waiting = ["r1", "r2", "r1"].map(|id| {
        let orgs = node.orgs.clone();
        tokio::spawn(async move { ask(&orgs, "acme", record(id, 5)).await })
    });
    until(|| node.store.pending() >= 3).await;
    node.store.answer_next(CommitError::InDoubt(fault()));
    node.store.release();
    for call in waiting {
        assert_eq!(call.await.unwrap(), Err(ServiceError::InDoubt(fault())), "a replay vouches for nothing either");
    }
    until(|| node.orgs.resident() == 0).await;
    node.store.resume_commits();
    assert_eq!(ask(&node.orgs, "acme", record("r1", 5)).await, Ok(recorded(true)), "the one in doubt was written");
    assert_eq!(ask(&node.orgs, "acme", record("r2", 5)).await, Ok(recorded(false)), "the one behind it was not");
}

#[tokio::test(start_paused = true)]
async fn an_org_that_has_moved_is_not_decided_here_and_comes_back_with_what_is_stored() {
    let node = node(rate_of(100)).await;
    assert_eq!(ask(&node.orgs, "acme", record("r1", 5)).await, Ok(recorded(false)));
    node.store.take_over();
    assert!(admitted(&node.orgs, "acme").await, "nobody has said so yet");
    assert_eq!(ask(&node.orgs, "acme", record("r2", 5)).await, Err(ServiceError::Moved));
    until(|| node.orgs.resident() == 0).await;
    assert_eq!(inspect(&node.orgs, "acme").await.unwrap().admitted_total, 0, "loaded under the new epoch");
    assert_eq!(ask(&node.orgs, "acme", record("r2", 5)).await, Ok(recorded(false)));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_orgs_in_memory_decide_and_everything_works_again_when_it_is_back() {
    let node = node(rate_of(3)).await;
    assert!(evaluated(&node).await);
    until(|| node.store.pending() == 0).await;
    node.store.go_away("restarting");
    impatient(&node);
    let flagged = [FailOpen { gate: Gate::Rate, cause: Cause::StoreFault }];
    let decision = ask(&node.orgs, "acme", plain()).await.unwrap().unwrap();
    assert!(decision.allowed && decision.fail_open().iter().any(|open| flagged.contains(open)), "{decision:?}");
    assert!(matches!(ask(&node.orgs, "acme", record("r1", 5)).await, Err(ServiceError::Store(_))));
    assert!(matches!(ask(&node.orgs, "other", record("r1", 5)).await, Err(ServiceError::Store(_))));
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(node.orgs.resident(), 1, "what only memory has does not leave it");
    assert!(!node.service.is_serving() && node.service.health().contains("restarting (retrying for 60 s)"));
    node.store.recover();
    assert_eq!(ask(&node.orgs, "acme", record("r1", 5)).await, Ok(recorded(false)));
    assert_eq!(ask(&node.orgs, "other", record("r1", 5)).await, Ok(recorded(false)));
    assert!(node.service.is_serving());
    assert_eq!(inspect(&node.orgs, "acme").await.unwrap().admitted_total, 2, "what was decided meanwhile counts");
    until(|| node.orgs.resident() == 0).await;
    assert!(evaluated(&node).await);
    assert_eq!(inspect(&node.orgs, "acme").await.unwrap().admitted_total, 3);
}

#[tokio::test(start_paused = true)]
async fn an_org_whose_commit_an_outage_took_decides_from_memory_until_it_ends_and_is_loaded_then() {
    let node = node(rate_of(100)).await;
    assert_eq!(ask(&node.orgs, "acme", record("r1", 5)).await, Ok(recorded(false)));
    node.store.hold();
    let orgs = node.orgs.clone();
    let waiting = tokio::spawn(async move { ask(&orgs, "acme", record("r2", 5)).await });
    until(|| node.store.pending() > 0).await;
    node.store.go_away("gone");
    node.store.release();
    assert!(matches!(waiting.await.unwrap(), Err(ServiceError::Store(_))), "nothing was recorded");
    assert!(!evaluated(&node).await, "from memory");
    assert_eq!(node.orgs.resident(), 1);
    node.store.recover();
    until(|| node.orgs.resident() == 0).await;
    node.store.resume_commits();
    assert_eq!(ask(&node.orgs, "acme", record("r2", 5)).await, Ok(recorded(false)), "charged once");
    assert_eq!(inspect(&node.orgs, "acme").await.unwrap().admitted_total, 0, "what was flagged is forgotten");
}

#[tokio::test(start_paused = true)]
async fn open_reservations_are_those_that_are_stored_also_after_a_doubt() {
    let node = node(rate_of(100)).await;
    node.store.answer_next(CommitError::InDoubt(fault()));
    assert!(matches!(ask(&node.orgs, "acme", durable()).await, Err(ServiceError::InDoubt(_))));
    assert_eq!(node.orgs.open_holds(), 0);
    until(|| node.orgs.resident() == 0).await;
    assert!(inspect(&node.orgs, "acme").await.is_some());
    assert_eq!(node.orgs.open_holds(), 1);
}
