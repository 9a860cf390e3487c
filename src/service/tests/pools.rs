//! Upstream accounts through the use cases: with the balance of the org, many at once, and where the org cannot
//! be asked.

use futures_util::future::join_all;

use super::*;
use crate::domain::{
    command::{ConfigurePool, GetPool, NewAccount, Pick, PoolAsk},
    ids::{AccountId, PoolId},
    reply::PoolView,
};

fn pool() -> PoolId {
    PoolId::parse("pool", "relay").unwrap()
}

async fn configure(node: &Node, accounts: u32, daily_limit: u64) {
    let account = |number| NewAccount {
        id: AccountId::parse("account", &format!("account-{number}")).unwrap(),
        daily_limit: Some(daily_limit),
        safety_buffer: Some(0),
        window: None,
        per_minute: None,
    };
    let accounts = (0..accounts).map(account).collect();
    let (settings, idempotency) = (None, idempotency("configure"));
    let set = ConfigurePool { pool: pool(), accounts, settings, expected_version: None, idempotency };
    node.service.operate(&org("acme"), Box::new(set), Reason::none(), &call()).await.unwrap();
}

fn asking(pick: bool) -> Ask {
    let pool = Some(PoolAsk { pool: pool(), pick });
    Ask { org: org("acme"), acquire: Arc::new(Acquire { pool, ..acquire() }) }
}

async fn view(node: &Node) -> PoolView {
    *node.service.ask(&org("acme"), GetPool { id: pool() }, &call()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn of_64_pickers_at_once_each_gets_what_an_account_has_and_no_account_gives_more() {
    let node = node(rate_of(1_000)).await;
    configure(&node, 5, 7).await;
    let picker = |_| {
        let node = &node;
        async move {
            let pick = Pick { pool: pool(), idempotency: None };
            node.service.pick(&org("acme"), pick, &call()).await.unwrap().account.map(|account| account.id)
        }
    };
    let mut given: Vec<_> = join_all((0..64).map(picker)).await.into_iter().flatten().collect();
    assert_eq!(given.len(), 35, "R-POOL-2");
    given.sort_unstable();
    assert!(given.chunk_by(|a, b| a == b).all(|of_one| of_one.len() == 7), "R-POOL-2: {given:?}");
    assert_eq!(view(&node).await.summary.total_calls, 64);
}

#[tokio::test(start_paused = true)]
async fn a_gated_pick_asks_the_provider_last_and_is_one_call() {
    let node = node(metered(10)).await;
    configure(&node, 1, 2).await;
    let first = node.service.pick_gated(asking(true), &call()).await.unwrap();
    assert!(first.allowed && first.account.is_some());
    assert_eq!(node.billing.asked.load(Ordering::SeqCst), 1);
    assert_eq!(view(&node).await.summary.total_calls, 1, "two passes, one call");
    *node.billing.verdict.lock().unwrap() = exhausted();
    node.service.balance_changed(&org("acme"));
    let denied = node.service.pick_gated(asking(true), &call()).await.unwrap();
    assert_eq!((denied.code(), denied.account), (Code::BalanceExhausted, None));
    let sum = view(&node).await.summary;
    assert_eq!((sum.used, sum.total_calls), (1, 2), "no account is charged for a balance that is used up");
}

#[tokio::test(start_paused = true)]
async fn exhausted_accounts_deny_before_the_provider_is_asked() {
    let node = node(metered(10)).await;
    configure(&node, 1, 0).await;
    for pick in [false, true] {
        let denied = node.service.acquire(asking(pick), &call()).await.unwrap();
        assert_eq!((denied.code(), denied.gate()), (Code::AccountsExhausted, Some(Gate::Accounts)), "R-POOL-3");
    }
    assert_eq!(node.billing.asked.load(Ordering::SeqCst), 0, "R-PIPE-1");
}

#[tokio::test(start_paused = true)]
async fn where_the_org_can_not_be_asked_a_look_is_flagged_and_a_pick_is_an_error() {
    let node = node(rate_of(10)).await;
    node.store.stall_loads();
    let open = node.service.acquire(asking(false), &call()).await.unwrap();
    assert!(open.allowed);
    let timeout = |gate| FailOpen { gate, cause: Cause::Timeout };
    assert_eq!(open.fail_open(), [Gate::Freeze, Gate::Accounts, Gate::Rate, Gate::Budgets].map(timeout), "R-PIPE-2");
    assert_eq!(node.service.pick_gated(asking(true), &call()).await, Err(ServiceError::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_still_picks_for_what_runs() {
    let node = node(rate_of(10)).await;
    configure(&node, 1, 2).await;
    node.service.start_draining();
    let pick = Pick { pool: pool(), idempotency: None };
    assert!(node.service.pick(&org("acme"), pick, &call()).await.unwrap().allowed);
    assert_eq!(node.service.pick_gated(asking(true), &call()).await, Err(ServiceError::Draining));
}
