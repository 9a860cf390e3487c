//! The actors over the memory store, in the runtime's paused time.

mod pools;
mod room;
mod store;
mod webhook;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use smallvec::smallvec;
use tokio::{task::JoinHandle, time::Instant};

use super::{Orgs, WriteBehind};
use crate::{
    bounds::{Bounds, HOUR_MS},
    domain::{
        command::{Acquire, Inspect},
        commands::{Ask, Command, Lane, Reply},
        gate::Code,
        ids::Meter,
        outcome::{Done, Recorded, Resumed, Shown},
        reply::Snapshot,
        scopes::Scopes,
    },
    error::ServiceError,
    store::memory::MemoryStore,
    testing::{Node, acquire, node, node_on, org, plain, rate_of, record, resume, rules, until},
    turns::Share,
};

/// Idle orgs leave after a second.
fn impatient(node: &Node) {
    let bounds = Bounds { idle_ms: 1_000, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

async fn ask<C: Ask>(orgs: &Orgs, name: &str, command: C) -> Result<C::Answer, ServiceError> {
    orgs.ask(&org(name), command, soon()).await
}

fn recorded(replayed: bool) -> Shown<Recorded, Scopes> {
    Shown { outcome: Recorded, replayed, view: Scopes::org() }
}

async fn admitted(orgs: &Orgs, name: &str) -> bool {
    matches!(ask(orgs, name, plain()).await, Ok(Ok(decision)) if decision.code() == Code::Allowed)
}

/// A call that is answered when it is on disk.
fn durable() -> Arc<Acquire> {
    Arc::new(Acquire { reserve: smallvec![(Meter::spend(), 1)], ..acquire() })
}

/// The same, on its way.
fn holding(node: &Node, name: &'static str) -> JoinHandle<Result<<Arc<Acquire> as Ask>::Answer, ServiceError>> {
    let orgs = node.orgs.clone();
    tokio::spawn(async move { ask(&orgs, name, durable()).await })
}

async fn inspect(orgs: &Orgs, name: &str) -> Option<Snapshot> {
    ask(orgs, name, Inspect).await.unwrap().map(|snapshot| *snapshot)
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_of_one_org_admit_exactly_the_limit() {
    let node = node(rate_of(100)).await;
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let orgs = node.orgs.clone();
            tokio::spawn(async move {
                let mut count = 0;
                for _ in 0..10 {
                    count += u32::from(admitted(&orgs, "acme").await);
                }
                count
            })
        })
        .collect();
    let mut total = 0;
    for caller in callers {
        total += caller.await.unwrap();
    }
    assert_eq!(total, 100, "R-PIPE-4");
    assert_eq!(inspect(&node.orgs, "acme").await.unwrap().rate.unwrap().blocked, 540);
}

#[tokio::test(start_paused = true)]
async fn a_durable_reply_waits_for_its_commit_and_a_plain_one_does_not() {
    let node = node(rate_of(100)).await;
    node.store.hold();
    assert!(admitted(&node.orgs, "acme").await);
    let orgs = node.orgs.clone();
    let waiting = tokio::spawn(async move { ask(&orgs, "acme", record("r1", 5)).await });
    until(|| node.store.pending() > 0).await;
    assert!(!waiting.is_finished(), "an acknowledgement before the commit would be a lie");
    node.store.release();
    assert_eq!(waiting.await.unwrap(), Ok(recorded(false)));
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_vouch_for_what_is_still_on_its_way() {
    let node = node(rate_of(100)).await;
    node.store.hold();
    let asking = |_| {
        let orgs = node.orgs.clone();
        tokio::spawn(async move { ask(&orgs, "acme", record("r1", 5)).await })
    };
    let both: Vec<_> = (0..2).map(asking).collect();
    until(|| node.store.pending() >= 2).await;
    assert!(both.iter().all(|call| !call.is_finished()));
    node.store.release();
    for (call, replayed) in both.into_iter().zip([false, true]) {
        assert_eq!(call.await.unwrap(), Ok(recorded(replayed)));
    }
}

#[tokio::test(start_paused = true)]
async fn past_its_bound_of_unflushed_admissions_an_acquire_waits() {
    let write_behind = WriteBehind { interval: Duration::from_millis(10), max: 3 };
    let node = node_on(MemoryStore::new(), rate_of(100), write_behind).await;
    node.store.hold();
    for _ in 0..3 {
        assert!(admitted(&node.orgs, "acme").await);
    }
    let orgs = node.orgs.clone();
    let fourth = tokio::spawn(async move { admitted(&orgs, "acme").await });
    until(|| node.store.pending() > 1).await;
    assert!(!fourth.is_finished());
    node.store.release();
    assert!(fourth.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_crash_forgets_at_most_the_bound_charge_and_id_together() {
    let write_behind = WriteBehind { interval: Duration::from_millis(10), max: 3 };
    let before = node_on(MemoryStore::new(), rate_of(100), write_behind).await;
    assert_eq!(ask(&before.orgs, "acme", record("kept", 5)).await, Ok(recorded(false)));
    before.store.hold();
    for _ in 0..3 {
        assert!(admitted(&before.orgs, "acme").await);
    }
    let after = node_on(before.store.crash(), rate_of(100), write_behind).await;
    assert_eq!(inspect(&after.orgs, "acme").await.unwrap().admitted_total, 0, "I5: three of three, and no more");
    assert_eq!(ask(&after.orgs, "acme", record("kept", 5)).await, Ok(recorded(true)));
}

#[tokio::test(start_paused = true)]
async fn passivation_under_load_loses_nothing() {
    let node = node(rate_of(u64::MAX)).await;
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let orgs = node.orgs.clone();
            tokio::spawn(async move {
                for round in 0..200 {
                    let name = format!("org-{}", (caller + round) % 5);
                    assert!(admitted(&orgs, &name).await);
                    let id = format!("{caller}-{round}");
                    assert_eq!(ask(&orgs, &name, record(&id, 1)).await, Ok(recorded(false)));
                }
            })
        })
        .collect();
    let mut passivated = 0;
    until(|| {
        passivated += node.orgs.registry.drain_all();
        callers.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(passivated > 100, "{passivated}: the test has to passivate while calls arrive");
    let mut total = (0, 0);
    for number in 0..5 {
        let snapshot = inspect(&node.orgs, &format!("org-{number}")).await.unwrap();
        let spent: u64 = snapshot
            .ledgers
            .iter()
            .filter(|l| l.meter.as_str() == "spend")
            .flat_map(|l| &l.hours)
            .map(|h| h.total)
            .sum();
        total = (total.0 + snapshot.admitted_total, total.1 + spent);
    }
    assert_eq!(total, (3200, 3200));
}

#[tokio::test(start_paused = true)]
async fn idle_orgs_leave_memory_and_come_back_with_their_counts() {
    let node = node(rate_of(100)).await;
    for number in 0..50 {
        assert!(admitted(&node.orgs, &format!("org-{number}")).await);
    }
    assert_eq!(node.orgs.resident(), 50);
    impatient(&node);
    until(|| node.orgs.resident() == 0).await;
    assert_eq!(inspect(&node.orgs, "org-7").await.unwrap().rate.unwrap().count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_crashing_actor_is_reloaded_and_disturbs_nobody() {
    let node = node(rate_of(100)).await;
    assert_eq!(ask(&node.orgs, "poison", record("r1", 5)).await, Ok(recorded(false)));
    assert!(admitted(&node.orgs, "calm").await);
    node.policies.poisoned.store(true, Ordering::SeqCst);
    node.orgs.reload(rules(node.policies.clone(), Bounds::default(), 1));
    assert_eq!(ask(&node.orgs, "poison", plain()).await, Err(ServiceError::Interrupted));
    assert!(admitted(&node.orgs, "calm").await, "I11");
    node.policies.poisoned.store(false, Ordering::SeqCst);
    assert_eq!(ask(&node.orgs, "poison", record("r1", 5)).await, Ok(recorded(true)));
    until(|| node.orgs.crashes() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_store_acknowledges_nothing_and_decides_from_memory_with_a_flag() {
    let node = node(rate_of(2)).await;
    assert!(admitted(&node.orgs, "acme").await);
    node.store.break_now("EIO");
    let refused = ask(&node.orgs, "acme", record("r1", 5)).await;
    assert!(matches!(refused, Err(ServiceError::Store(_))), "{refused:?}");
    match ask(&node.orgs, "acme", plain()).await {
        Ok(Ok(decision)) => assert!(decision.allowed && decision.fail_open().len() == 1, "{decision:?}"),
        other => panic!("{other:?}"),
    }
    match ask(&node.orgs, "acme", plain()).await {
        Ok(Ok(decision)) => {
            assert_eq!(decision.code(), Code::RateLimited, "known exhaustion still denies")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        ask(&node.orgs, "acme", resume()).await,
        Ok(Done { outcome: Resumed { continuations: 0 }, replayed: false })
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_commit_that_fails_had_promised_is_an_error() {
    let node = node(rate_of(100)).await;
    assert!(admitted(&node.orgs, "acme").await);
    node.store.fail_next("ENOSPC");
    let refused = ask(&node.orgs, "acme", record("r1", 5)).await;
    assert!(matches!(refused, Err(ServiceError::InDoubt(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_org_has_so_many_calls_in_flight_and_settlement_has_its_own() {
    let node = node(rate_of(100)).await;
    let bounds = Bounds { org_in_flight: 2, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    node.store.hold();
    let held = [holding(&node, "acme"), holding(&node, "acme")];
    until(|| node.store.pending() == 2).await;
    assert_eq!(ask(&node.orgs, "acme", plain()).await, Err(ServiceError::OrgBusy { most: 2 }));
    let resumed = ask(&node.orgs, "acme", resume()).await;
    assert_eq!(resumed, Ok(Done { outcome: Resumed { continuations: 1 }, replayed: false }), "I7");
    node.store.release();
    for call in held {
        assert!(call.await.unwrap().is_ok());
    }
    assert!(admitted(&node.orgs, "acme").await);
}

/// Calls wait too long for their turn, for long enough.
async fn late(orgs: &Orgs) {
    while orgs.turns().room().is_none() {
        let arrived = orgs.turns().arrive([None, None]);
        tokio::time::advance(Duration::from_millis(25)).await;
        orgs.turn(Lane::Settle, &arrived).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn while_calls_wait_a_hot_org_has_its_share_and_others_are_served() {
    let node = node(rate_of(100)).await;
    let bounds = Bounds { busy_calls_per_core: 1, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    node.store.hold();
    let held = [(); 16].map(|()| holding(&node, "hot"));
    until(|| node.store.pending() == held.len()).await;
    assert!(admitted(&node.orgs, "hot").await, "nothing waits");
    late(&node.orgs).await;
    assert_eq!(node.orgs.turns().room(), Some(1));
    assert_eq!(ask(&node.orgs, "hot", plain()).await, Err(ServiceError::OrgOverShare), "I11");
    let resumed = ask(&node.orgs, "hot", resume()).await;
    assert_eq!(resumed, Ok(Done { outcome: Resumed { continuations: 1 }, replayed: false }), "I7");
    assert!(admitted(&node.orgs, "calm").await, "I11");
    let share = Share::default();
    let arrive = || node.orgs.turns().arrive([Some(share.clone()), None]);
    let many: Vec<_> = (0..64).map(|_| arrive()).collect();
    assert!(many.iter().all(|call| node.orgs.turn(Lane::Settle, call).is_ok()), "I7");
    let another = arrive();
    assert_eq!(
        node.orgs.turn(Lane::Admit, &another),
        Err(ServiceError::CallerOverShare),
        "nor one caller of many orgs"
    );
    drop(many);
    assert!(node.orgs.turn(Lane::Admit, &another).is_ok());
    node.store.release();
    for call in held {
        assert!(call.await.unwrap().is_ok());
    }
    assert!(admitted(&node.orgs, "hot").await);
}

#[tokio::test(start_paused = true)]
async fn items_of_a_batch_are_calls_in_flight() {
    let node = node(rate_of(100)).await;
    let bounds = Bounds { org_in_flight: 3, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    node.store.hold();
    let (orgs, items) = (node.orgs.clone(), vec![durable(); 5]);
    let batch = tokio::spawn(async move { orgs.ask_all(&org("acme"), items, soon()).await });
    until(|| node.store.pending() == 1).await;
    assert_eq!(node.orgs.in_flight(), 5, "one batch may go past the bound");
    assert_eq!(ask(&node.orgs, "acme", plain()).await, Err(ServiceError::OrgBusy { most: 3 }));
    node.store.release();
    assert!(batch.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(node.orgs.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_is_gone_is_not_charged() {
    let node = node(rate_of(100)).await;
    node.store.stall_loads();
    let gone = node.orgs.ask(&org("acme"), plain(), Instant::now() + Duration::from_millis(5)).await;
    assert_eq!(gone, Err(ServiceError::TimedOut));
    node.store.resume_loads();
    assert_eq!(inspect(&node.orgs, "acme").await, None);
}

#[tokio::test(start_paused = true)]
async fn idle_records_are_purged_by_a_timer_that_survives_a_restart() {
    let before = node(rate_of(100)).await;
    assert!(admitted(&before.orgs, "acme").await);
    assert_eq!(ask(&before.orgs, "acme", record("r1", 1)).await, Ok(recorded(false)));
    let after =
        node_on(before.store.crash(), rate_of(100), WriteBehind { interval: Duration::from_millis(10), max: 1 }).await;
    impatient(&after);
    assert_eq!(after.orgs.resident(), 0, "a restart loads no org before its time");
    after.clock.advance(3 * HOUR_MS - 1);
    assert!(inspect(&after.orgs, "acme").await.unwrap().rate.is_some(), "R-RATE-2: not before two whole windows");
    after.clock.advance(1);
    let orgs = after.orgs.clone();
    let mut purged = false;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(1)).await;
        purged = inspect(&orgs, "acme").await.unwrap().rate.is_none();
        if purged {
            break;
        }
    }
    assert!(purged, "R-RATE-2");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_purged_while_the_clock_is_not_believed() {
    let node = node(rate_of(100)).await;
    assert!(admitted(&node.orgs, "acme").await);
    node.clock.doubted.store(true, Ordering::SeqCst);
    node.clock.advance(365 * 24 * HOUR_MS);
    for _ in 0..30 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert!(inspect(&node.orgs, "acme").await.unwrap().rate.is_some(), "I12");
}

#[tokio::test(start_paused = true)]
async fn many_commands_of_one_org_share_a_message_and_are_answered_in_order() {
    let node = node(rate_of(3)).await;
    let commands = (0..5).map(|_| Command::Acquire(Arc::new(acquire()))).collect();
    let answers = node.orgs.call(&org("acme"), commands, Lane::Admit, soon()).await.unwrap();
    let allowed: Vec<_> =
        answers.iter().map(|answer| matches!(answer, Ok(Reply::Acquire(Ok(decision))) if decision.allowed)).collect();
    assert_eq!(allowed, [true, true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_flushes_what_was_written_behind() {
    let before =
        node_on(MemoryStore::new(), rate_of(100), WriteBehind { interval: Duration::from_secs(3600), max: 4096 }).await;
    assert!(admitted(&before.orgs, "acme").await);
    before.orgs.shutdown(Duration::from_secs(5)).await.unwrap();
    let store: Arc<MemoryStore> = before.store.crash();
    let after = node_on(store, rate_of(100), WriteBehind { interval: Duration::from_millis(10), max: 1 }).await;
    assert_eq!(inspect(&after.orgs, "acme").await.unwrap().admitted_total, 1);
}
