//! Delivery over the memory store, to a provider that answers as each test sets it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    actors::{Orgs, in_turn::AT_ONCE},
    bounds::{EXPORT_BATCH, HOUR_MS},
    domain::{
        command::{Inspect, ReplayOutbox},
        gate::Cause,
        ids::Meter,
        outbox::Delivery,
        policy::{BalancePolicy, ExportWhen, OrgPolicy},
        reply::OutboxReplayed,
    },
    store::memory::MemoryStore,
    testing::{Node, Scripted, node, node_on, org, rate_of, record, until},
};

fn exporting() -> OrgPolicy {
    let features = BTreeMap::from([(Meter::spend(), "spend".into()), (Meter::executions(), "executions".into())]);
    let balance = BalancePolicy {
        export: ExportWhen::Completed,
        environment: "live".into(),
        features: Arc::new(features),
        ..BalancePolicy::default()
    };
    OrgPolicy { balance, ..rate_of(1000) }
}

async fn book(orgs: &Orgs, name: &str, id: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    orgs.ask(&org(name), record(id, 7), deadline).await.unwrap();
}

async fn pending(orgs: &Orgs, name: &str) -> usize {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    orgs.ask(&org(name), Inspect, deadline).await.unwrap().map_or(0, |snapshot| snapshot.exports.len())
}

fn reported(billing: &Scripted) -> usize {
    billing.reported.lock().unwrap().len()
}

fn will_answer(node: &Node, delivery: Delivery) {
    *node.billing.delivery.lock().unwrap() = delivery;
}

/// Lets timers of the node and the clock of its orgs run on together.
async fn pass(node: &Node, time: Duration) {
    for _ in 0..time.as_millis() / 100 {
        node.clock.advance(100);
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn usage_goes_out_with_its_commit_and_leaves_nothing_behind() {
    let node = node(exporting()).await;
    book(&node.orgs, "acme", "a").await;
    until(|| reported(&node.billing) == 1).await;
    let usage = node.billing.reported.lock().unwrap()[0].clone();
    assert_eq!((&*usage.feature, usage.units, usage.org), ("spend", 7, org("acme")));
    pass(&node, Duration::from_secs(1)).await;
    assert_eq!(pending(&node.orgs, "acme").await, 0);
    pass(&node, Duration::from_secs(120)).await;
    assert_eq!(reported(&node.billing), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_is_asked_again_under_the_same_key_until_it_takes_it() {
    let node = node(exporting()).await;
    will_answer(&node, Delivery::Retry { cause: Cause::ProviderError, after: None });
    book(&node.orgs, "acme", "a").await;
    pass(&node, Duration::from_secs(20)).await;
    let tried = reported(&node.billing);
    assert!((3..=8).contains(&tried), "spaced, not hammered: {tried}");
    will_answer(&node, Delivery::Duplicate);
    pass(&node, Duration::from_secs(60)).await;
    assert_eq!(pending(&node.orgs, "acme").await, 0);
    let keys: std::collections::BTreeSet<_> =
        node.billing.reported.lock().unwrap().iter().map(|usage| usage.key).collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_asked_again() {
    let node = node(exporting()).await;
    node.billing.broken.store(true, Ordering::SeqCst);
    book(&node.orgs, "acme", "a").await;
    pass(&node, Duration::from_secs(1)).await;
    node.billing.broken.store(false, Ordering::SeqCst);
    pass(&node, Duration::from_secs(30)).await;
    assert_eq!(pending(&node.orgs, "acme").await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_refuses_is_set_aside_and_sent_when_an_operator_says_so() {
    let node = node(exporting()).await;
    will_answer(&node, Delivery::Rejected(Cause::ProviderRefused));
    book(&node.orgs, "acme", "a").await;
    pass(&node, Duration::from_secs(600)).await;
    assert_eq!((reported(&node.billing), pending(&node.orgs, "acme").await), (1, 1));
    will_answer(&node, Delivery::Delivered);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let replay = ReplayOutbox { key: None };
    let replayed = node.orgs.ask(&org("acme"), replay, deadline).await;
    assert_eq!(replayed, Ok(OutboxReplayed { count: 1 }));
    pass(&node, Duration::from_secs(1)).await;
    assert_eq!((reported(&node.billing), pending(&node.orgs, "acme").await), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_delays_no_caller_and_one_org_does_not_hold_up_another() {
    let node = node(exporting()).await;
    *node.billing.takes.lock().unwrap() = Duration::from_secs(3600);
    for index in 0..100 {
        let began = tokio::time::Instant::now();
        book(&node.orgs, &format!("org-{}", index % 10), &format!("r{index}")).await;
        assert!(began.elapsed() < Duration::from_secs(1), "booked at once");
    }
    *node.billing.takes.lock().unwrap() = Duration::ZERO;
    book(&node.orgs, "other", "a").await;
    pass(&node, Duration::from_secs(600)).await;
    for name in ["org-0", "org-9", "other"] {
        assert_eq!(pending(&node.orgs, name).await, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_what_was_left_without_being_asked() {
    let store = MemoryStore::new();
    let write_behind = crate::actors::WriteBehind { interval: Duration::from_millis(10), max: 4096 };
    let first = node_on(store.clone(), exporting(), write_behind).await;
    will_answer(&first, Delivery::Retry { cause: Cause::ProviderUnreachable, after: None });
    book(&first.orgs, "acme", "a").await;
    pass(&first, Duration::from_secs(2)).await;
    first.orgs.shutdown(Duration::from_secs(5)).await.unwrap();
    let second = node_on(store, exporting(), write_behind).await;
    second.clock.advance(HOUR_MS);
    pass(&second, Duration::from_secs(60)).await;
    assert_eq!(reported(&second.billing), 1);
    let keys = [&first, &second].map(|node| node.billing.reported.lock().unwrap()[0].key);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn usage_of_another_configuration_waits_for_its_feature() {
    let node = node(exporting()).await;
    will_answer(&node, Delivery::Retry { cause: Cause::ProviderError, after: None });
    book(&node.orgs, "acme", "a").await;
    pass(&node, Duration::from_secs(1)).await;
    let tried = reported(&node.billing);
    let mut rules = (*node.orgs.rules()).clone();
    rules.policies = Arc::new(crate::testing::Uniform { policy: Arc::new(rate_of(1000)), poisoned: false.into() });
    rules.generation += 1;
    node.orgs.reload(rules);
    pass(&node, Duration::from_secs(60)).await;
    assert_eq!((reported(&node.billing), pending(&node.orgs, "acme").await), (tried, 1), "kept, not sent");
}

#[tokio::test(start_paused = true)]
async fn orgs_take_turns_so_that_busy_ones_hold_up_no_other() {
    let node = node(exporting()).await;
    *node.billing.takes.lock().unwrap() = Duration::from_secs(1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
    for name in 0..AT_ONCE {
        let rows = (0..3 * EXPORT_BATCH).map(|row| record(&format!("r{row}"), 1)).collect::<Vec<_>>();
        for recorded in node.orgs.ask_all(&org(&format!("busy-{name}")), rows, deadline).await {
            recorded.unwrap();
        }
    }
    pass(&node, Duration::from_secs(2)).await;
    book(&node.orgs, "quiet", "a").await;
    pass(&node, Duration::from_secs(150)).await;
    let reported = node.billing.reported.lock().unwrap();
    let turn = reported.iter().position(|usage| usage.org == org("quiet")).expect("delivered");
    assert_eq!(reported.len(), AT_ONCE * 3 * EXPORT_BATCH + 1);
    assert!(turn < reported.len() / 2, "after one batch of the others, not after all of them: {turn}");
}

/// R-BAL-10: reports of one customer that fail are spaced, delay nobody else's, and lose nothing.
#[tokio::test(start_paused = true)]
async fn an_org_whose_reports_fail_is_tried_less_and_holds_up_no_other() {
    let node = node(exporting()).await;
    let fails = Delivery::Retry { cause: Cause::ProviderError, after: None };
    node.billing.delivery_of.lock().unwrap().insert(org("bad"), fails);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
    let rows = (0..3 * EXPORT_BATCH).map(|row| record(&format!("r{row}"), 1)).collect::<Vec<_>>();
    for recorded in node.orgs.ask_all(&org("bad"), rows, deadline).await {
        recorded.unwrap();
    }
    pass(&node, Duration::from_secs(60)).await;
    let of_bad = || node.billing.reported.lock().unwrap().iter().filter(|usage| usage.org == org("bad")).count();
    let tried = of_bad();
    assert!((8..40).contains(&tried), "{tried} reports in a minute");
    assert_eq!((pending(&node.orgs, "bad").await, node.orgs.spaced_reports()), (3 * EXPORT_BATCH, 1));
    for name in 0..20 {
        book(&node.orgs, &format!("good-{name}"), "a").await;
    }
    pass(&node, Duration::from_secs(1)).await;
    for name in 0..20 {
        assert_eq!(pending(&node.orgs, &format!("good-{name}")).await, 0);
    }
    node.billing.delivery_of.lock().unwrap().clear();
    pass(&node, Duration::from_secs(120)).await;
    assert_eq!((pending(&node.orgs, "bad").await, node.orgs.spaced_reports()), (0, 0), "and then all of it arrives");
    let keys: HashSet<_> = node.billing.reported.lock().unwrap().iter().map(|usage| usage.key.0).collect();
    assert_eq!(keys.len(), 3 * EXPORT_BATCH + 20);
}

/// What is refused for good is an answer: the next row is tried at once, and each is set aside by itself.
#[tokio::test(start_paused = true)]
async fn rows_that_are_refused_are_set_aside_and_space_nothing() {
    let node = node(exporting()).await;
    will_answer(&node, Delivery::Rejected(Cause::ProviderRefused));
    for row in 0..10 {
        book(&node.orgs, "acme", &format!("r{row}")).await;
    }
    pass(&node, Duration::from_secs(2)).await;
    assert_eq!((reported(&node.billing), node.orgs.spaced_reports()), (10, 0));
}
