//! Delivery of events over the memory store, to a receiver that answers as each test sets it.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    actors::{ReceiverView, Rules},
    bounds::{Bounds, WEBHOOK_FOR_MS},
    domain::{
        command::{Freeze, Unfreeze},
        events::{EventKind, EventKinds, Part},
        ids::Reason,
        policy::OrgPolicy,
    },
    ports::DeliveryFault,
    testing::{Node, idempotency, node, org, rules, until},
};

/// A node that delivers everything.
async fn delivering() -> Node {
    let node = node(OrgPolicy::default()).await;
    deliver(&node, EventKinds::all());
    node
}

fn deliver(node: &Node, webhook_kinds: EventKinds) {
    let generation = node.orgs.rules().generation + 1;
    node.orgs.reload(Rules { webhook_kinds, ..rules(node.policies.clone(), Bounds::default(), generation) });
}

async fn freeze(node: &Node, name: &str, id: &str) {
    let reason = Reason::parse("reason", id).unwrap();
    let freeze = Freeze { reason, end: None, idempotency: idempotency(id) };
    node.orgs.ask(&org(name), freeze, soon()).await.unwrap();
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(5)
}

/// Lets timers run on for so many seconds.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// What was taken, in order.
fn taken(node: &Node) -> Vec<(String, u64)> {
    let got = node.webhook.got.lock().unwrap();
    got.iter().filter(|(_, _, taken)| *taken).map(|(org, number, _)| (org.clone(), *number)).collect()
}

fn tried(node: &Node) -> usize {
    node.webhook.got.lock().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_out_with_its_commit_once() {
    let node = delivering().await;
    freeze(&node, "acme", "a").await;
    freeze(&node, "acme", "b").await;
    freeze(&node, "bond", "a").await;
    until(|| taken(&node).len() == 3).await;
    let mut all = taken(&node);
    all.sort();
    assert_eq!(all, [("acme".into(), 1), ("acme".into(), 2), ("bond".into(), 1)]);
    node.clock.advance(3_600_000);
    tokio::time::advance(Duration::from_secs(60)).await;
    freeze(&node, "acme", "c").await;
    until(|| taken(&node).len() == 4).await;
    assert_eq!(tried(&node), 4, "none came twice");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_comes_again_and_nothing_overtakes_it() {
    let node = delivering().await;
    node.webhook.refuse.store(5, Ordering::SeqCst);
    for id in ["a", "b", "c"] {
        freeze(&node, "acme", id).await;
    }
    until(|| taken(&node).len() == 3).await;
    assert_eq!(taken(&node), [("acme".into(), 1), ("acme".into(), 2), ("acme".into(), 3)]);
    assert_eq!(tried(&node), 8);
    assert_eq!(node.orgs.receiver().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_is_left_alone_and_found_again() {
    let node = delivering().await;
    node.webhook.refuse.store(u64::MAX, Ordering::SeqCst);
    for number in 0..20 {
        freeze(&node, &format!("org-{number}"), "a").await;
    }
    pass(600).await;
    let tried = tried(&node);
    assert!((8..=60).contains(&tried), "ten minutes, {tried} attempts for 20 orgs");
    let ReceiverView { failures, fault, delivered_at } = node.orgs.receiver();
    assert_eq!((failures as usize, fault, delivered_at), (tried, Some(DeliveryFault::Refused(500)), None));
    node.webhook.refuse.store(0, Ordering::SeqCst);
    pass(120).await;
    assert_eq!(taken(&node).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_old_event_that_alone_is_refused_does_not_keep_the_others() {
    let node = delivering().await;
    *node.webhook.refused_org.lock().unwrap() = "acme".into();
    freeze(&node, "acme", "a").await;
    until(|| tried(&node) > 0).await;
    node.clock.advance(WEBHOOK_FOR_MS + 1);
    let given_up = || node.metrics.render(node.service.readings()).contains("webhook_given_up_total 1");
    for id in 0..100 {
        assert!(!given_up() || tried(&node) > 10, "it is tried for a while");
        freeze(&node, "bond", &format!("b{id}")).await;
        node.orgs.ask(&org("bond"), Unfreeze { idempotency: idempotency(&format!("u{id}")) }, soon()).await.unwrap();
        for _ in 0..10 {
            tokio::time::advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
    }
    until(given_up).await;
    *node.webhook.refused_org.lock().unwrap() = String::new();
    freeze(&node, "acme", "c").await;
    until(|| taken(&node).iter().any(|(org, _)| org == "acme")).await;
    assert!(taken(&node).contains(&("acme".into(), 2)) && !taken(&node).contains(&("acme".into(), 1)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_because_the_receiver_is_away_for_days() {
    let node = delivering().await;
    node.webhook.refuse.store(u64::MAX, Ordering::SeqCst);
    for name in ["acme", "bond", "corp"] {
        freeze(&node, name, "a").await;
    }
    until(|| tried(&node) > 0).await;
    node.clock.advance(WEBHOOK_FOR_MS + 1);
    pass(3600).await;
    assert!(tried(&node) > 50, "{} attempts", tried(&node));
    node.webhook.refuse.store(0, Ordering::SeqCst);
    pass(120).await;
    assert_eq!(taken(&node).len(), 3, "all of it came");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_delivered_and_nothing_without_a_webhook() {
    let node = node(OrgPolicy::default()).await;
    freeze(&node, "acme", "a").await;
    deliver(&node, [EventKind::Exhausted].into_iter().collect());
    freeze(&node, "acme", "b").await;
    deliver(&node, EventKinds::all());
    freeze(&node, "acme", "c").await;
    until(|| !taken(&node).is_empty()).await;
    assert_eq!(taken(&node), [("acme".into(), 3)]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_the_node_is_delivered_too() {
    let node = delivering().await;
    tokio::spawn(node.service.clone().deliver_node_events(node.webhook.clone()));
    node.webhook.refuse.store(2, Ordering::SeqCst);
    node.service.node_is(Part::Clock, Some("ahead"));
    node.service.node_is(Part::Clock, None);
    until(|| taken(&node).len() == 2).await;
    assert_eq!(taken(&node), [("test".into(), 1), ("test".into(), 2)]);
    assert_eq!(tried(&node), 4);
}
