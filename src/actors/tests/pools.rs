//! What the node says its pools add up to, at its start and while it runs.

use super::*;
use crate::{
    bounds::DAY_MS,
    domain::{
        command::{ConfigurePool, NewAccount, Pick, Purge},
        ids::{AccountId, PoolId},
        policy::{OrgPolicy, PoolPolicy, PoolRules},
    },
    testing::{Uniform, idempotency},
};

fn pool() -> PoolId {
    PoolId::parse("pool", "relay").unwrap()
}

/// A pool of so many accounts, each with ten calls a day.
async fn configure(node: &Node, name: &str, accounts: u32) {
    let account = |number| NewAccount {
        id: AccountId::parse("account", &format!("account-{number}")).unwrap(),
        daily_limit: Some(10),
        safety_buffer: None,
        window: None,
        per_minute: None,
    };
    let accounts = (0..accounts).map(account).collect();
    let id = idempotency(&format!("{name}-{}", node.orgs.next_decision()));
    let set = ConfigurePool { pool: pool(), accounts, settings: None, expected_version: None, idempotency: id };
    let configured = ask(&node.orgs, name, Box::new(set)).await;
    assert!(configured.is_ok(), "{configured:?}");
}

async fn pick(node: &Node, name: &str) -> Code {
    ask(&node.orgs, name, Pick { pool: pool(), idempotency: None }).await.unwrap().code()
}

fn without_buffer() -> OrgPolicy {
    let rules = PoolRules { safety_buffer: 0, ..PoolRules::default() };
    let pools = PoolPolicy { rules, ..PoolPolicy::default() };
    OrgPolicy { pools: Arc::new(pools), ..rate_of(100) }
}

/// Pools, those exhausted, active accounts and calls that are left.
fn totals(node: &Node) -> (u64, u64, u64, u64) {
    let totals = node.orgs.pool_totals();
    (totals.pools, totals.exhausted, totals.sum.active, totals.sum.remaining)
}

async fn restarted(node: &Node, policy: OrgPolicy) -> Node {
    let write_behind = WriteBehind { interval: Duration::from_millis(10), max: 1 };
    node_on(node.store.crash(), policy, write_behind).await
}

#[tokio::test(start_paused = true)]
async fn every_pool_is_looked_at_before_anything_else_after_a_start() {
    let before = node(without_buffer()).await;
    configure(&before, "acme", 2).await;
    configure(&before, "other", 1).await;
    assert!(admitted(&before.orgs, "plain").await);
    assert_eq!(pick(&before, "acme").await, Code::Allowed);
    let after = restarted(&before, without_buffer()).await;
    after.orgs.counted().await;
    assert_eq!(totals(&after), (2, 0, 3, 29), "R-POOL-5");
    until(|| after.orgs.resident() == 0).await;
    let rules = PoolRules { safety_buffer: 10, ..PoolRules::default() };
    let raised = PoolPolicy { rules, ..PoolPolicy::default() };
    let policy = OrgPolicy { pools: Arc::new(raised), ..rate_of(100) };
    let stopped = restarted(&after, policy).await;
    stopped.orgs.counted().await;
    assert_eq!(totals(&stopped), (2, 2, 0, 0), "stopped before the first request");
    assert_eq!(pick(&stopped, "acme").await, Code::AccountsExhausted);
}

#[tokio::test(start_paused = true)]
async fn what_changes_shows_after_a_while_and_a_pool_that_is_gone_does_not() {
    let node = node(without_buffer()).await;
    configure(&node, "acme", 1).await;
    until(|| totals(&node) == (1, 0, 1, 10)).await;
    assert_eq!(pick(&node, "acme").await, Code::Allowed);
    until(|| totals(&node) == (1, 0, 1, 9)).await;
    configure(&node, "acme", 0).await;
    until(|| totals(&node) == (0, 0, 0, 0)).await;
    configure(&node, "acme", 1).await;
    until(|| totals(&node) == (1, 0, 1, 9)).await;
    assert!(ask(&node.orgs, "acme", Purge).await.is_ok());
    until(|| totals(&node) == (0, 0, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_in_an_org_nobody_asks_shows_by_itself() {
    let node = node(without_buffer()).await;
    impatient(&node);
    configure(&node, "acme", 1).await;
    for _ in 0..10 {
        assert_eq!(pick(&node, "acme").await, Code::Allowed);
    }
    until(|| totals(&node) == (1, 1, 0, 0) && node.orgs.resident() == 0).await;
    node.clock.advance(DAY_MS);
    until(|| totals(&node) == (1, 0, 1, 10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_seen_of_pools_that_are_not_in_memory() {
    let node = node(without_buffer()).await;
    impatient(&node);
    configure(&node, "acme", 1).await;
    until(|| totals(&node) == (1, 0, 1, 10) && node.orgs.resident() == 0).await;
    let policies = Uniform { policy: Arc::new(rate_of(100)), poisoned: false.into() };
    node.orgs.reload(rules(Arc::new(policies), Bounds::default(), 2));
    until(|| totals(&node) == (1, 1, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pick_waits_for_the_disk_and_a_refused_one_does_not() {
    let node = node(without_buffer()).await;
    configure(&node, "acme", 1).await;
    for _ in 0..9 {
        assert_eq!(pick(&node, "acme").await, Code::Allowed);
    }
    node.store.hold();
    let orgs = node.orgs.clone();
    let picking =
        tokio::spawn(async move { ask(&orgs, "acme", Pick { pool: pool(), idempotency: None }).await.is_ok() });
    until(|| node.store.pending() == 1).await;
    assert!(!picking.is_finished(), "R-POOL-2: on disk before the reply");
    assert_eq!(pick(&node, "acme").await, Code::AccountsExhausted, "R-POOL-3: at once");
    node.store.release();
    assert!(picking.await.unwrap());
}
