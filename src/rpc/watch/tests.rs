//! R-EXPL-3: what a reader of events gets, in which order, and once.

use std::{future::pending, pin::Pin, time::Duration};

use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    actors::WriteBehind,
    auth::{Grant, Role},
    bounds::Bounds,
    domain::command::{Freeze, Unfreeze},
    domain::{ids::Reason, rows::RowKey},
    rpc::{Asking, serve_watch, table},
    testing::{Node, T0, idempotency, node, node_on, org, rate_of, rules},
};

type Watch = Pin<Box<dyn Stream<Item = Answer<admin::WatchEventsResponse>> + Send>>;

fn watch_by(node: &Node, caller: Arc<Principal>, request: admin::WatchEventsRequest) -> Watch {
    let service = node.service.clone();
    let asking = Asking::default();
    Box::pin(serve_watch::<table::WatchEvents, ServiceError>(service, caller, asking, request, pending()))
}

fn watch(node: &Node, request: admin::WatchEventsRequest) -> Watch {
    watch_by(node, Arc::new(Principal::anybody()), request)
}

fn of(name: &str) -> admin::WatchEventsRequest {
    admin::WatchEventsRequest { org: name.into(), ..Default::default() }
}

/// Freezes an org and lifts it again: two events.
async fn operate(node: &Node, name: &str, id: &str) {
    let call = node.service.call("test", Arc::new(Principal::anybody()), None);
    let freeze = Freeze { reason: Reason::none().clone(), end: None, idempotency: idempotency(&format!("f{id}")) };
    node.service.operate(&org(name), freeze, Reason::none(), &call).await.unwrap();
    let unfreeze = Unfreeze { idempotency: idempotency(&format!("u{id}")) };
    node.service.operate(&org(name), unfreeze, Reason::none(), &call).await.unwrap();
}

/// Freezes `acme` while its store takes nothing, until that is released.
fn freeze_held(node: &Node) -> JoinHandle<()> {
    node.store.hold();
    let slow = node.service.clone();
    tokio::spawn(async move {
        let call = slow.call("test", Arc::new(Principal::anybody()), None);
        let freeze = Freeze { reason: Reason::none().clone(), end: None, idempotency: idempotency("held") };
        let _ = slow.operate(&org("acme"), freeze, Reason::none(), &call).await;
    })
}

async fn next(watch: &mut Watch) -> What {
    watch.next().await.expect("it goes on").expect("no error").what.expect("something")
}

/// The numbers of so many events; heartbeats between them are passed over.
async fn numbers(watch: &mut Watch, count: usize) -> Vec<i64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        match next(watch).await {
            What::Event(event) => numbers.push(event.number),
            What::Heartbeat(beat) => assert_eq!(beat.trouble, ""),
            What::Gap(gap) => panic!("{gap:?}"),
        }
    }
    numbers
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_once_from_any_number_on() {
    let node = node(rate_of(100)).await;
    for id in ["1", "2"] {
        operate(&node, "acme", id).await;
    }
    for after in 0..=4 {
        let mut watch = watch(&node, admin::WatchEventsRequest { after_number: Some(after), ..of("acme") });
        let What::Heartbeat(beat) = next(&mut watch).await else { panic!("first a heartbeat") };
        assert_eq!(beat.after_number, Some(after));
        let expected: Vec<i64> = (after + 1..=4).collect();
        assert_eq!(numbers(&mut watch, expected.len()).await, expected);
        operate(&node, "acme", &format!("more {after}")).await;
        let newest = 4 + 2 * (after + 1);
        let behind: Vec<i64> = (5..=newest).collect();
        assert_eq!(numbers(&mut watch, behind.len()).await, behind);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_number_it_begins_now_and_an_org_of_which_nothing_is_kept_is_waited_for() {
    let node = node(rate_of(100)).await;
    operate(&node, "acme", "before").await;
    let (mut known, mut novel) = (watch(&node, of("acme")), watch(&node, of("novel")));
    for (watch, after) in [(&mut known, 2), (&mut novel, 0)] {
        let What::Heartbeat(beat) = next(watch).await else { panic!("first a heartbeat") };
        assert_eq!(beat.after_number, Some(after));
    }
    for name in ["acme", "novel"] {
        operate(&node, name, "after").await;
    }
    assert_eq!((numbers(&mut known, 2).await, numbers(&mut novel, 2).await), (vec![3, 4], vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_any_more_is_a_gap_and_a_purge_is_one_too() {
    let node = node(rate_of(100)).await;
    let bounds = Bounds { operator_events_per_org: 2, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    for id in ["1", "2", "3"] {
        operate(&node, "acme", id).await;
    }
    let mut watch = watch(&node, admin::WatchEventsRequest { after_number: Some(1), ..of("acme") });
    let What::Heartbeat(beat) = next(&mut watch).await else { panic!("first a heartbeat") };
    assert_eq!(beat.after_number, Some(1));
    let What::Gap(gap) = next(&mut watch).await else { panic!("a gap") };
    assert_eq!((gap.from_number, gap.to_number, gap.restarted), (2, 4, false));
    assert_eq!(numbers(&mut watch, 2).await, [5, 6]);
    let call = node.service.call("test", Arc::new(Principal::anybody()), None);
    node.service.operate(&org("acme"), crate::domain::command::Purge, Reason::none(), &call).await.unwrap();
    operate(&node, "acme", "again").await;
    let What::Gap(gap) = next(&mut watch).await else { panic!("a gap") };
    assert!(gap.restarted);
    assert_eq!(numbers(&mut watch, 2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_on_disk_is_sent_and_trouble_is_said() {
    let node = node(rate_of(100)).await;
    operate(&node, "acme", "1").await;
    let mut watch = watch(&node, admin::WatchEventsRequest { after_number: Some(0), ..of("acme") });
    next(&mut watch).await;
    assert_eq!(numbers(&mut watch, 2).await, [1, 2]);
    let held = freeze_held(&node);
    let What::Heartbeat(beat) = next(&mut watch).await else { panic!("nothing is sent that is not on disk") };
    assert!(!beat.trouble.is_empty(), "it cannot be read: {beat:?}");
    node.store.release();
    held.await.unwrap();
    loop {
        match next(&mut watch).await {
            What::Event(event) => break assert_eq!(event.number, 3),
            What::Heartbeat(_) => {}
            What::Gap(gap) => panic!("{gap:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_beats_and_ends_with_the_node_and_with_its_caller() {
    let node = node(rate_of(100)).await;
    let viewer = || {
        let grant = Grant { role: Role::Viewer, orgs: vec!["acme*".into()], scopes: vec![], bind: vec![] };
        Arc::new(grant.to("test", None).unwrap())
    };
    let caller = viewer();
    let mut watch = watch_by(&node, caller.clone(), of("acme"));
    for _ in 0..3 {
        let What::Heartbeat(_) = next(&mut watch).await else { panic!("a heartbeat") };
    }
    assert_eq!(node.service.open_watches(), 1);
    caller.revoke();
    let ended: Vec<_> = watch.collect().await;
    assert!(matches!(&ended[..], [Err(ServiceError::Unauthenticated(_))]), "{ended:?}");
    assert_eq!(node.service.open_watches(), 0);
    let refused: Vec<_> = watch_by(&node, viewer(), of("other")).collect().await;
    assert_eq!(refused, [Err(ServiceError::OtherOrg)]);
    let mut open = watch_by(&node, viewer(), of(""));
    next(&mut open).await;
    node.service.closing().cancel();
    assert_eq!(open.count().await, 0, "with the node");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_longer_than_its_caller_waits_says_so_at_its_end() {
    let node = node(rate_of(100)).await;
    let asking = Asking { callers: Some(Duration::from_secs(7)), ..Asking::default() };
    let service = node.service.clone();
    let watch = serve_watch::<table::WatchEvents, ServiceError>(
        service,
        Arc::new(Principal::anybody()),
        asking,
        of("acme"),
        pending(),
    );
    let answers: Vec<_> = watch.collect().await;
    assert!(answers[..answers.len() - 1].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(answers.last(), Some(&Err(ServiceError::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_streams_than_the_bound_allows() {
    let node = node(rate_of(100)).await;
    node.orgs.reload(rules(node.policies.clone(), Bounds { watches: 1, ..Bounds::default() }, 1));
    let mut first = watch(&node, of("acme"));
    next(&mut first).await;
    let refused: Vec<_> = watch(&node, of("acme")).collect().await;
    assert!(matches!(&refused[..], [Err(ServiceError::NodeBusy { most: 1, .. })]), "{refused:?}");
    drop(first);
    next(&mut watch(&node, of("acme"))).await;
}

#[tokio::test(start_paused = true)]
async fn one_caller_takes_no_more_than_its_part_of_them() {
    let node = node(rate_of(100)).await;
    node.orgs.reload(rules(node.policies.clone(), Bounds { watches_per_caller: 1, ..Bounds::default() }, 1));
    let caller = |name: &str| {
        let grant = Grant { role: Role::Viewer, orgs: vec!["*".into()], scopes: vec![], bind: vec![] };
        Arc::new(grant.to(name, None).unwrap())
    };
    let mut first = watch_by(&node, caller("one"), of("acme"));
    next(&mut first).await;
    let refused: Vec<_> = watch_by(&node, caller("one"), of("acme")).collect().await;
    let bound = crate::bounds::Bound::watches_per_caller;
    assert_eq!(refused, [Err(ServiceError::NodeBusy { bound, most: 1 })]);
    let mut other = watch_by(&node, caller("two"), of("acme"));
    next(&mut other).await;
    drop(first);
    next(&mut watch_by(&node, caller("one"), of("acme"))).await;
}

/// A log that begins again may have come as far as a reader before it is read again.
#[tokio::test(start_paused = true)]
async fn a_log_that_begins_again_is_noticed_however_far_it_has_come() {
    let node = node(rate_of(100)).await;
    operate(&node, "acme", "1").await;
    let mut open = watch(&node, admin::WatchEventsRequest { after_number: Some(0), ..of("acme") });
    next(&mut open).await;
    let What::Event(_) = next(&mut open).await else { panic!("the first") };
    let What::Event(last) = next(&mut open).await else { panic!("the second") };
    let call = node.service.call("test", Arc::new(Principal::anybody()), None);
    node.service.operate(&org("acme"), crate::domain::command::Purge, Reason::none(), &call).await.unwrap();
    node.clock.advance(1000);
    for id in ["2", "3"] {
        operate(&node, "acme", id).await;
    }
    let known = admin::WatchEventsRequest { after_number: Some(last.number), after_at_ms: last.at_ms, ..of("acme") };
    for (name, watch) in [("the stream", &mut open), ("another one", &mut watch(&node, known))] {
        let gap = loop {
            match next(watch).await {
                What::Gap(gap) => break gap,
                What::Heartbeat(_) => {}
                What::Event(event) => panic!("{name}: {event:?} before the gap"),
            }
        };
        assert!(gap.restarted, "{name}");
        assert_eq!(numbers(watch, 4).await, [1, 2, 3, 4], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_org_that_cannot_be_read_holds_up_no_other_and_is_said_once() {
    let before = node(rate_of(100)).await;
    for name in ["a-bad", "b-good"] {
        operate(&before, name, "1").await;
    }
    let store = before.store.crash();
    assert!(store.lose(&org("a-bad"), &RowKey::Event { number: 1 }));
    let write_behind = WriteBehind { interval: Duration::from_millis(10), max: 4096 };
    let node = node_on(store, rate_of(100), write_behind).await;
    let mut watch = watch(&node, admin::WatchEventsRequest { since_ms: answers::int(T0), ..of("") });
    let (mut seen, mut troubles, mut at) = (Vec::new(), Vec::new(), 0);
    for _ in 0..40 {
        match next(&mut watch).await {
            What::Event(event) => seen.push((event.org, event.number)),
            What::Heartbeat(beat) => {
                at = beat.at_ms;
                troubles.push(beat.trouble);
            }
            What::Gap(gap) => panic!("{gap:?}"),
        }
    }
    assert_eq!(seen, [("b-good".to_owned(), 1), ("b-good".to_owned(), 2)]);
    assert_eq!(troubles[0], "");
    assert!(
        troubles[1..].iter().all(|trouble| trouble.starts_with("a-bad: ")),
        "it does not come and go: {troubles:?}"
    );
    assert_eq!(at, answers::int(T0), "what could not be read was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_in_trouble_says_no_number() {
    let node = node(rate_of(100)).await;
    operate(&node, "acme", "1").await;
    let held = freeze_held(&node);
    tokio::task::yield_now().await;
    let mut watch = watch(&node, of("acme"));
    let What::Heartbeat(beat) = next(&mut watch).await else { panic!("a heartbeat") };
    assert!(beat.after_number.is_none() && !beat.trouble.is_empty(), "{beat:?}");
    node.store.release();
    held.await.unwrap();
    let number = loop {
        let What::Heartbeat(beat) = next(&mut watch).await else { panic!("it begins behind the newest") };
        if let Some(number) = beat.after_number {
            break number;
        }
    };
    assert_eq!(number, 3);
}

#[tokio::test(start_paused = true)]
async fn every_org_that_the_caller_may_reach_is_watched_from_a_time_on() {
    let node = node(rate_of(100)).await;
    for name in ["acme-1", "acme-2", "other"] {
        operate(&node, name, "1").await;
    }
    let grant = Grant { role: Role::Viewer, orgs: vec!["acme-*".into()], scopes: vec![], bind: vec![] };
    let caller = Arc::new(grant.to("test", None).unwrap());
    let since_ms = answers::int(T0);
    let mut watch = watch_by(&node, caller, admin::WatchEventsRequest { since_ms, ..of("") });
    let mut seen = Vec::new();
    while seen.len() < 4 {
        if let What::Event(event) = next(&mut watch).await {
            seen.push((event.org, event.number));
        }
    }
    let expected = ["acme-1", "acme-2"].map(|name| [(name.to_owned(), 1), (name.to_owned(), 2)]);
    assert_eq!(seen, expected.concat());
    operate(&node, "other", "2").await;
    operate(&node, "acme-3", "1").await;
    operate(&node, "acme-1", "2").await;
    let mut more = Vec::new();
    while more.len() < 4 {
        match next(&mut watch).await {
            What::Event(event) => more.push((event.org, event.number)),
            What::Heartbeat(beat) => assert_eq!((beat.after_number, beat.trouble.as_str()), (None, "")),
            What::Gap(gap) => panic!("{gap:?}"),
        }
    }
    more.sort();
    assert_eq!(more, [("acme-1".into(), 3), ("acme-1".into(), 4), ("acme-3".into(), 1), ("acme-3".into(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn kinds_are_chosen_and_numbers_of_others_are_no_gap() {
    let node = node(rate_of(2)).await;
    let call = || node.service.call("test", Arc::new(Principal::anybody()), None);
    for _ in 0..4 {
        let acquire = crate::testing::acquire().into();
        node.service.acquire(crate::service::Ask { org: org("acme"), acquire }, &call()).await.unwrap();
    }
    operate(&node, "acme", "1").await;
    let kinds = vec!["operator".to_owned()];
    let mut watch = watch(&node, admin::WatchEventsRequest { kinds, after_number: Some(0), ..of("acme") });
    next(&mut watch).await;
    let What::Event(event) = next(&mut watch).await else { panic!("an event") };
    assert_eq!(event.kind, "operator");
    assert!(event.number > 1, "behind those of the limit");
}
