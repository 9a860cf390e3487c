//! How many orgs there may be in memory, which of them leave, and which are let in at all.

use super::*;
use crate::{
    actors::Disk,
    bounds::Bound,
    domain::command::{GetStatus, Known, RunAudit},
};

const MOST: u32 = 16;

fn small() -> Bounds {
    Bounds { resident_orgs: MOST, idle_ms: 86_400_000, ..Bounds::default() }
}

async fn crowded() -> Node {
    let node = node(rate_of(100)).await;
    node.orgs.reload(rules(node.policies.clone(), small(), 1));
    node
}

fn has_no_room(of: Bound) -> impl Fn(&ServiceError) -> bool {
    move |error| matches!(error, ServiceError::NodeBusy { bound, .. } | ServiceError::NewOrgs { bound, .. } if *bound == of)
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_idle_orgs_leave_early_and_lose_nothing() {
    let node = crowded().await;
    for round in 1..=3 {
        for number in 0..100 {
            assert!(admitted(&node.orgs, &format!("org-{number}")).await, "round {round}");
            assert!(node.orgs.resident() <= MOST as usize);
        }
    }
    for number in 0..100 {
        let kept = inspect(&node.orgs, &format!("org-{number}")).await.unwrap();
        assert_eq!(kept.rate.map(|rate| rate.count), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn with_every_org_in_flight_only_settlement_of_what_is_stored_gets_a_place() {
    let node = crowded().await;
    assert!(admitted(&node.orgs, "at_rest").await);
    until(|| node.store.pending() == 0).await;
    node.orgs.registry.drain_all();
    until(|| node.orgs.resident() == 0).await;
    node.store.hold();
    let held: Vec<_> = (0..14)
        .map(|number| {
            let orgs = node.orgs.clone();
            tokio::spawn(async move { ask(&orgs, &format!("org-{number}"), record("r", 1)).await })
        })
        .collect();
    until(|| node.store.pending() == 14).await;
    let refused = ask(&node.orgs, "late", plain()).await.unwrap_err();
    assert!(has_no_room(Bound::resident_orgs)(&refused), "{refused:?}");
    assert!(ask(&node.orgs, "org-3", plain()).await.is_ok(), "an org in memory goes on");
    let resumed = ask(&node.orgs, "at_rest", resume()).await;
    assert_eq!(resumed, Ok(Done { outcome: Resumed { continuations: 1 }, replayed: false }), "I7");
    node.store.release();
    for call in held {
        assert!(call.await.unwrap().is_ok());
    }
    let orgs = node.orgs.clone();
    let late = tokio::spawn(async move { admitted(&orgs, "late").await });
    // Who makes room writes what it has before.
    until(|| {
        node.store.release();
        late.is_finished()
    })
    .await;
    assert!(late.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_audit_leaves_nothing_in_memory_that_was_not_there() {
    let node = node(rate_of(100)).await;
    assert!(admitted(&node.orgs, "acme").await && admitted(&node.orgs, "beta").await);
    node.orgs.registry.drain_all();
    until(|| node.orgs.resident() == 0).await;
    assert!(admitted(&node.orgs, "beta").await);
    for name in ["acme", "beta"] {
        assert!(ask(&node.orgs, name, RunAudit).await.unwrap().is_some());
    }
    until(|| node.orgs.resident() == 1).await;
    assert!(admitted(&node.orgs, "acme").await, "it comes back");
}

#[tokio::test(start_paused = true)]
async fn too_many_new_orgs_are_refused_and_what_is_known_goes_on() {
    let node = node(rate_of(100)).await;
    let bounds = Bounds { new_orgs_per_minute: 3, new_orgs_per_caller: 3, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    let status = || GetStatus { scopes: Scopes::org(), known: Known::default() };
    assert!(ask(&node.orgs, "asked_about", status()).await.is_ok());
    until(|| node.orgs.resident() == 0).await;
    for name in ["a", "b", "c"] {
        assert!(admitted(&node.orgs, name).await);
    }
    for refused in [
        ask(&node.orgs, "d", plain()).await.unwrap_err(),
        ask(&node.orgs, "d", record("r", 1)).await.unwrap_err(),
        ask(&node.orgs, "d", resume()).await.unwrap_err(),
    ] {
        assert!(has_no_room(Bound::new_orgs_per_caller)(&refused), "{refused:?}");
    }
    assert!(ask(&node.orgs, "d", status()).await.is_ok(), "asking stores nothing");
    assert_eq!(inspect(&node.orgs, "d").await, None);
    assert!(admitted(&node.orgs, "a").await);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(admitted(&node.orgs, "d").await);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_lets_no_new_org_in() {
    let node = node(rate_of(100)).await;
    assert!(admitted(&node.orgs, "acme").await);
    let full = Disk { free: 1, size: 1 << 30 };
    assert!(node.orgs.headroom().seen(full, &Bounds::default()));
    let refused = ask(&node.orgs, "new", record("r", 1)).await.unwrap_err();
    assert!(matches!(refused, ServiceError::DiskLow { free: 1, .. }), "{refused:?}");
    assert!(ask(&node.orgs, "acme", record("r", 1)).await.is_ok(), "settlement goes on");
    assert!(node.orgs.headroom().seen(Disk { free: 1 << 30, ..full }, &Bounds::default()));
    assert!(ask(&node.orgs, "new", record("r", 1)).await.is_ok());
}
