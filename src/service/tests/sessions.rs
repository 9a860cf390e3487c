//! Money and machine time through the use cases: many at once, on a node that drains, and on a store that
//! has lost something.

use futures_util::future::join_all;

use super::*;
use crate::{
    actors::WriteBehind,
    domain::{
        command::{Commit, GetBudget, Heartbeat, NewSession, ReportCumulative, Run},
        ids::{Identity, Incarnation, Scope, SessionId, Source},
        limit::Limit,
        rows::RowKey,
        scopes::Scopes,
        window::{Calendar, Window},
    },
    store::memory::MemoryStore,
    testing::node_on,
};

const WRITE_BEHIND: WriteBehind = WriteBehind { interval: std::time::Duration::from_millis(10), max: 4096 };

fn sessions(max: u64, quota: u64) -> OrgPolicy {
    let mut policy = rate_of(1_000_000);
    policy.limits = vec![Limit::new(Meter::compute(), Window::Calendar(Calendar::Month), Some(quota))].into();
    policy.sessions.max = Some(max);
    policy
}

async fn start(node: &Node, name: &str, id: &str) -> Result<Box<Decision>, ServiceError> {
    let new =
        NewSession { id: SessionId::parse("id", id).unwrap(), identity: Identity::parse("identity", "vm").unwrap() };
    let acquire = Acquire {
        run: Run::Session(new),
        cost: smallvec![],
        idempotency: Some(idempotency(&format!("start {id}"))),
        ..acquire()
    };
    node.service.start_session(Ask { org: org(name), acquire: Arc::new(acquire) }, &call()).await
}

fn beat(id: &str, total: u64) -> Heartbeat {
    Heartbeat {
        session: SessionId::parse("id", id).unwrap(),
        identity: Identity::parse("identity", "vm").unwrap(),
        incarnation: Incarnation::parse("incarnation", "boot").unwrap(),
        total,
        idempotency: None,
    }
}

fn report(total: u64) -> Box<ReportCumulative> {
    Box::new(ReportCumulative {
        scopes: Scopes::org(),
        source: Source::parse("source", "meter").unwrap(),
        incarnation: Incarnation::parse("incarnation", "boot").unwrap(),
        meter: Meter::spend(),
        total,
        idempotency: idempotency(&format!("report {total}")),
    })
}

#[tokio::test(start_paused = true)]
async fn of_many_starts_at_once_one_gets_the_slot() {
    let node = node(sessions(1, 3_600_000)).await;
    let ids: Vec<_> = (0..32).map(|number| format!("s{number}")).collect();
    let started = join_all(ids.iter().map(|id| start(&node, "acme", id))).await;
    let codes: Vec<_> = started.into_iter().map(|decision| decision.unwrap().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Code::Allowed).count(), 1, "R-SES-1: {codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Code::SessionLimitReached).count(), 31);
}

#[tokio::test(start_paused = true)]
async fn of_500_reservations_at_once_as_many_pass_as_the_budget_fits_and_spend_is_what_was_committed() {
    let mut policy = rate_of(1_000_000);
    policy.limits =
        vec![Limit::new(Meter::spend(), Window::Rolling { len: crate::bounds::DAY_MS }, Some(200 * 7))].into();
    let node = node(policy).await;
    let pair = |number: u64| {
        let node = &node;
        async move {
            let reserve = smallvec![(Meter::spend(), 7)];
            let acquire = Arc::new(Acquire { reserve, ..acquire() });
            let decision = node.service.acquire(Ask { org: org("acme"), acquire }, &call()).await.unwrap();
            let reservation = decision.hold?.id;
            let idempotency = idempotency(&format!("commit {number}"));
            let actual = smallvec![(Meter::spend(), 7)];
            let commit = Commit { reservation, actual, idempotency };
            node.service.ask(&org("acme"), commit, &call()).await.unwrap();
            Some(7)
        }
    };
    let committed: Vec<u64> = join_all((0..500).map(pair)).await.into_iter().flatten().collect();
    assert_eq!(committed.len(), 200, "R-PIPE-3");
    let budget = node.service.ask(&org("acme"), GetBudget { scope: Scope::org() }, &call()).await.unwrap();
    let daily = budget.periods.iter().find(|period| period.period == "daily").unwrap();
    assert_eq!((daily.used, daily.reserved), (committed.iter().sum(), 0));
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_asked_before_a_session_starts_and_not_while_it_runs() {
    let node = node(billed(sessions(5, 3_600_000))).await;
    node.billing.says(exhausted());
    assert_eq!(start(&node, "acme", "a").await.unwrap().code(), Code::BalanceExhausted);
    node.billing.says_of("rich", crate::testing::allowed(), std::time::Duration::ZERO);
    assert!(start(&node, "rich", "a").await.unwrap().allowed);
    let asked = node.billing.asked();
    node.service.heartbeat(&org("rich"), beat("a", 30_000), &call()).await.unwrap();
    assert_eq!(node.billing.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn while_a_node_drains_sessions_go_on_and_none_starts() {
    let node = node(sessions(5, 3_600_000)).await;
    start(&node, "acme", "a").await.unwrap();
    node.service.start_draining();
    assert_eq!(start(&node, "acme", "b").await.unwrap_err(), ServiceError::Draining);
    assert_eq!(node.service.heartbeat(&org("acme"), beat("a", 30_000), &call()).await.unwrap().outcome.booked, 30_000);
}

#[tokio::test(start_paused = true)]
async fn a_lost_store_is_no_word_to_stop_and_starts_nothing() {
    let node = node(sessions(5, 3_600_000)).await;
    start(&node, "acme", "a").await.unwrap();
    node.store.break_now("gone");
    let beaten = node.service.heartbeat(&org("acme"), beat("a", 30_000), &call()).await;
    assert!(matches!(beaten, Err(ServiceError::Store(_))), "{beaten:?}");
    let started = start(&node, "acme", "b").await;
    assert!(matches!(started, Err(ServiceError::Store(_))), "a session never fails open: {started:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_baseline_is_an_error_and_not_a_booking() {
    let first = node(rate_of(1000)).await;
    first.service.ask(&org("acme"), report(100), &call()).await.unwrap();
    let store: Arc<MemoryStore> = first.store.crash();
    let source = Source::parse("source", "meter").unwrap();
    assert!(store.lose(&org("acme"), &RowKey::Baseline { scopes: Scopes::org(), source, meter: Meter::spend() }));
    let second = node_on(store, rate_of(1000), WRITE_BEHIND).await;
    let reported = second.service.ask(&org("acme"), report(120), &call()).await;
    assert!(matches!(reported, Err(ServiceError::Store(_))), "R-BUD-5: never \"previous was 0\": {reported:?}");
}

#[tokio::test(start_paused = true)]
async fn an_audit_says_which_org_can_not_be_read() {
    let first = node(rate_of(1000)).await;
    for name in ["a", "b", "c"] {
        first.service.ask(&org(name), record("r", 5), &call()).await.unwrap();
    }
    let store = first.store.crash();
    store.corrupt(&org("b"));
    let second = node_on(store, rate_of(1000), WRITE_BEHIND).await;
    assert!(second.service.list(None, 10, &call()).await.is_err(), "its head is damaged too");
    let audited = second.service.audit(&org("b"), &call()).await;
    assert!(matches!(audited, Err(ServiceError::Store(_))), "{audited:?}");
    assert!(second.service.audit(&org("a"), &call()).await.unwrap().checked > 0);
    assert_eq!(second.service.audit(&org("nobody"), &call()).await, Err(ServiceError::UnknownOrg(org("nobody"))));
}
