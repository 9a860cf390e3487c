//! Each statement about nodes and shards by its rule in ADR 15, with rivals on other connections.

use std::{num::NonZeroU16, ops::Range, time::Duration};

use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};

use super::{
    super::*,
    cells::SOON,
    faults::{ask, handed, last, numbered, waiting},
    proxy::Proxy,
    server, start,
};
use crate::{
    bounds::NODE_LEASE_MS,
    domain::{
        lease::{LeaseTime, Now},
        members::{About, CellView, Incarnation, NodeId},
        window::Millis,
    },
    ports::{Cell, Clock},
    store::{
        conformance::{commit, write},
        samples::org,
    },
    testing::{T0, TestClock},
};

pub(super) fn about() -> About {
    About {
        peer: "10.0.0.1:7443".into(),
        grpc: "10.0.0.1:443".into(),
        weight: NonZeroU16::new(3).unwrap(),
        version: "1.2.3".into(),
        config: "c0ffee".into(),
    }
}

/// A life that was not lived yet.
pub(super) fn another(name: &str) -> NodeId {
    NodeId { name: name.into(), incarnation: Incarnation(getrandom::u64().unwrap() >> 1) }
}

async fn change(options: &PgOptions, id: &NodeId, set: &str) {
    let (schema, incarnation) = (&options.schema, id.incarnation.0);
    let sql = format!(
        "UPDATE {schema}.lease SET {set} WHERE node = '{}' AND incarnation = {incarnation} RETURNING 1",
        id.name
    );
    assert_eq!(ask(options, &sql).await.len(), 1, "{sql}");
}

pub(super) async fn expire(options: &PgOptions, id: &NodeId) {
    change(options, id, "expires_at = clock_timestamp() - interval '1 ms'").await;
}

/// A node whose lease lasts as long as any test.
pub(super) async fn node(options: &PgOptions, name: &str) -> (PgStore, NodeId) {
    let (store, id) = (PgStore::open(options.clone()).await.unwrap(), another(name));
    live(&store, options, &id).await;
    (store, id)
}

pub(super) async fn live(store: &PgStore, options: &PgOptions, id: &NodeId) {
    store.register(id, &about()).await.unwrap();
    change(options, id, "expires_at = clock_timestamp() + interval '1 hour'").await;
}

async fn seen(store: &PgStore, id: &NodeId) -> Option<i64> {
    let view = store.look().await.unwrap();
    view.members.iter().find(|member| member.id == *id).unwrap().expires_at
}

/// Whoever it was, it is dead.
async fn bury(by: &PgStore, options: &PgOptions, id: &NodeId) {
    expire(options, id).await;
    let expires_at = seen(by, id).await.unwrap();
    assert!(by.mark(id, expires_at).await.unwrap());
}

fn set(numbers: Range<u16>) -> ShardSet {
    numbers.map(|number| Shard::numbered(number).unwrap()).collect()
}

fn owned(view: &CellView, id: &NodeId) -> ShardSet {
    let is_mine = |shard: &Shard| view.holding(*shard).unwrap().owner.as_ref() == Some(id);
    ShardSet::all().iter().filter(is_mine).collect()
}

/// An org of a shard.
fn name_in(shard: u16) -> String {
    (0..).map(|n| format!("o{n}")).find(|name| Shard::of(&org(name)).number() == shard).unwrap()
}

async fn holder(options: &PgOptions, sql: &str) -> Connection {
    let holder = Connection::open(options).await.unwrap();
    holder.run(&format!("BEGIN; {}", sql.replace("s.", &format!("{}.", options.schema)))).await.unwrap();
    holder
}

#[tokio::test]
async fn what_a_node_says_of_itself_is_seen_and_a_life_is_registered_once() {
    let options = server::shared().options();
    let (store, id) = (PgStore::open(options.clone()).await.unwrap(), another("a"));
    assert_eq!(store.look().await.unwrap().members, []);
    store.register(&id, &about()).await.unwrap();
    let view = store.look().await.unwrap();
    let [member] = &view.members[..] else { panic!("{view:?}") };
    assert_eq!((&member.id, &member.about, member.is_draining), (&id, &about(), false));
    assert!(member.expires_at.is_some() && view.living(&id).is_some());
    assert_eq!((view.shards.len(), view.shards[7].clone()), (1024, Default::default()));
    store.drain(&id, true).await.unwrap();
    assert!(store.look().await.unwrap().members[0].is_draining);
    assert!(store.register(&id, &about()).await.unwrap_err().cause.contains("lease_pkey"));
    let unknown = store.drain(&another("b"), true).await.unwrap_err();
    assert!(unknown.cause.contains("is not known"), "{unknown}");
    let wide = NodeId { incarnation: Incarnation(u64::MAX), ..id };
    assert!(store.register(&wide, &about()).await.unwrap_err().cause.contains("63 bits are allowed"));
}

/// A renewal has little time; one that is not answered within it on a busy machine is asked for again, as a node does.
async fn renewed(store: &PgStore, id: &NodeId) -> bool {
    let answered = async {
        loop {
            if let Ok(renewed) = store.renew(id).await {
                return renewed;
            }
        }
    };
    timeout(SOON, answered).await.unwrap()
}

#[tokio::test]
async fn a_lease_is_renewed_until_it_has_expired_and_never_again() {
    let options = server::shared().options();
    let (store, id) = (PgStore::open(options.clone()).await.unwrap(), another("a"));
    assert!(!renewed(&store, &id).await, "not registered");
    live(&store, &options, &id).await;
    let before = seen(&store, &id).await;
    assert!(renewed(&store, &id).await);
    assert!(seen(&store, &id).await < before, "a lease of its length, from now on");
    expire(&options, &id).await;
    assert!(!renewed(&store, &id).await);
    assert!(!renewed(&store, &id).await, "although nobody has marked it");
    let next = another("a");
    live(&store, &options, &next).await;
    assert!(renewed(&store, &next).await);
}

#[tokio::test]
async fn a_node_is_marked_only_with_the_expiry_that_was_seen_and_only_once_it_has_passed() {
    let options = server::shared().options();
    let (store, id) = node(&options, "a").await;
    let living = seen(&store, &id).await.unwrap();
    assert!(!store.mark(&id, living).await.unwrap(), "it has not passed");
    expire(&options, &id).await;
    let expired = seen(&store, &id).await.unwrap();
    for other in [living, expired + 1, expired - 1] {
        assert!(!store.mark(&id, other).await.unwrap(), "{other} is not what it is");
    }
    assert!(store.mark(&id, expired).await.unwrap());
    assert_eq!(seen(&store, &id).await, None);
    assert!(!store.mark(&id, expired).await.unwrap() && !renewed(&store, &id).await, "dead for ever");
    assert!(store.look().await.unwrap().living(&id).is_none());
}

#[tokio::test]
async fn of_a_mark_and_a_renewal_the_first_to_be_written_wins() {
    let options = server::shared().options();
    let (store, id) = node(&options, "a").await;
    // The renewal finds the lease alive, waits for the row, and the row is marked meanwhile.
    let first = holder(&options, "SELECT FROM s.lease FOR UPDATE").await;
    let waits = Connection::open(&options).await.unwrap();
    let incarnation = i64::try_from(id.incarnation.0).unwrap();
    let params: &[(&(dyn ToSql + Sync), Type)] =
        &[(&&*id.name, Type::TEXT), (&incarnation, Type::INT8), (&0_i64, Type::INT8), (&0_i64, Type::INT8)];
    let sql = statements::renew(&options.schema);
    let marked = async {
        waiting(&options, 1).await;
        first.run(&format!("UPDATE {}.lease SET expires_at = '-infinity'; COMMIT", options.schema)).await.unwrap();
    };
    let (renewed, ()) = tokio::join!(waits.query(&sql, params), marked);
    assert_eq!(renewed.unwrap().len(), 0, "the mark wins");
    assert_eq!(seen(&store, &id).await, None);
    // The mark finds the lease expired, waits for the row, and the row is renewed meanwhile.
    let id = another("b");
    store.register(&id, &about()).await.unwrap();
    expire(&options, &id).await;
    let expired = seen(&store, &id).await.unwrap();
    let first = holder(&options, "SELECT FROM s.lease FOR UPDATE").await;
    let renewed = async {
        waiting(&options, 1).await;
        let later = "expires_at = clock_timestamp() - interval '0.1 ms' WHERE node = 'b'";
        first.run(&format!("UPDATE {}.lease SET {later}; COMMIT", options.schema)).await.unwrap();
    };
    let (marked, ()) = tokio::join!(store.mark(&id, expired), renewed);
    assert!(!marked.unwrap(), "it has passed as well, but it is another one");
    assert!(seen(&store, &id).await > Some(expired));
}

#[tokio::test]
async fn a_claim_takes_what_is_free_or_its_own_or_of_the_dead_and_nothing_of_the_living() {
    let options = server::shared().options();
    let ((first, a), (second, b)) = (node(&options, "a").await, node(&options, "b").await);
    assert_eq!(first.claim(&a, &set(0..10)).await.unwrap(), set(0..10));
    assert_eq!(second.claim(&b, &set(0..20)).await.unwrap(), set(10..20));
    let org_of_0 = org(&name_in(0));
    let before = first.epoch(&org_of_0).unwrap();
    assert_eq!(
        first.claim(&a, &set(0..30)).await.unwrap(),
        [set(0..10).iter(), set(20..30).iter()].into_iter().flatten().collect()
    );
    assert_eq!(first.epoch(&org_of_0), Some(Epoch(before.0 + 1)), "its own, with another epoch");
    assert_eq!(second.epoch(&org_of_0), None);
    expire(&options, &a).await;
    assert_eq!(second.claim(&b, &set(0..30)).await.unwrap(), set(10..20), "an expired lease that nobody has marked");
    assert_eq!(first.claim(&a, &ShardSet::all()).await.unwrap(), set(0..0), "nor does its node claim anything");
    bury(&second, &options, &a).await;
    assert_eq!(second.claim(&b, &set(0..30)).await.unwrap(), set(0..30));
    let view = second.look().await.unwrap();
    assert_eq!((owned(&view, &a), owned(&view, &b)), (set(0..0), set(0..30)));
    assert_eq!(second.epoch(&org_of_0), Some(view.shards[0].as_epoch()));
}

/// Such as an import that runs, or was stopped half way.
#[tokio::test]
async fn what_belongs_to_an_owner_without_a_lease_is_claimed_once_it_was_released() {
    let options = server::shared().options();
    let alone = start(options.clone()).await;
    let (store, id) = node(&options, "a").await;
    assert_eq!(store.claim(&id, &ShardSet::all()).await.unwrap(), set(0..0));
    let refused = alone.claim_alone(&ShardSet::all()).await.unwrap_err().to_string();
    assert!(refused.contains("is served by a: stop every node"), "{refused}");
    alone.release_alone().await.unwrap();
    assert_eq!(store.claim(&id, &ShardSet::all()).await.unwrap(), ShardSet::all());
    expire(&options, &id).await;
    assert_eq!(alone.claim_alone(&ShardSet::all()).await.unwrap(), 1024, "nodes that were killed are in nobody's way");
}

/// The claim has its snapshot from before; what it compares is on the row that it locks, and it rests on what never
/// changes back.
#[tokio::test]
async fn a_claim_takes_nothing_from_a_node_that_registers_while_it_runs() {
    let options = server::shared().options();
    let held_back = |sql: String| {
        let from = format!("FROM {}.shard AS s WHERE", options.schema);
        assert!(sql.contains(&from));
        sql.replacen(&from, &format!("FROM pg_advisory_lock($6) AS held, {}.shard AS s WHERE", options.schema), 1)
    };
    let rests_on_a_mark = statements::claim(&options.schema);
    let rests_on_no_living_lease = rests_on_a_mark.replace("OR EXISTS", "OR NOT EXISTS").replacen(
        "l.expires_at = '-infinity'",
        "l.expires_at > clock_timestamp()",
        1,
    );
    for (sql, taken) in [(rests_on_a_mark, 0), (rests_on_no_living_lease, 1)] {
        let (_, a) = node(&options, "a").await;
        let key = i64::try_from(a.incarnation.0).unwrap();
        let gate = Connection::open(&options).await.unwrap();
        gate.run(&format!("SELECT pg_advisory_lock({key})")).await.unwrap();
        let claims = Connection::open(&options).await.unwrap();
        let numbers = vec![5_i16];
        let params: &[(&(dyn ToSql + Sync), Type)] = &[
            (&&*a.name, Type::TEXT),
            (&key, Type::INT8),
            (&numbers, Type::INT2_ARRAY),
            (&"nobody", Type::TEXT),
            (&"a", Type::TEXT),
            (&key, Type::INT8),
        ];
        let sql = held_back(sql);
        let meanwhile = async {
            waiting(&options, 1).await;
            let (second, b) = node(&options, "b").await;
            assert_eq!(second.claim(&b, &set(5..6)).await.unwrap(), set(5..6));
            gate.run(&format!("SELECT pg_advisory_unlock({key})")).await.unwrap();
            (second, b)
        };
        let (claimed, (second, b)) = tokio::join!(claims.query(&sql, params), meanwhile);
        assert_eq!(claimed.unwrap().len(), taken, "{sql}");
        drop(claims);
        let free = format!("UPDATE {}.shard SET owner = NULL RETURNING 1", options.schema);
        ask(&options, &free).await;
        second.leave(&b).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_released_is_another_ones_and_the_old_owner_is_fenced() {
    let options = server::shared().options();
    let ((first, a), (second, b)) = (node(&options, "a").await, node(&options, "b").await);
    let name = name_in(0);
    first.claim(&a, &set(0..10)).await.unwrap();
    commit(&first, write(&name, numbered(1))).await.unwrap();
    let before = first.epoch(&org(&name)).unwrap();
    first.release(&a, &set(0..5)).await.unwrap();
    assert_eq!(first.epoch(&org(&name)), None);
    assert_eq!(handed(&first, write(&name, numbered(2)), before).await, Ok(Err(CommitError::Fenced)));
    assert_eq!(owned(&first.look().await.unwrap(), &a), set(5..10));
    assert_eq!(second.claim(&b, &set(0..10)).await.unwrap(), set(0..5));
    first.release(&a, &set(0..5)).await.unwrap();
    assert_eq!(owned(&second.look().await.unwrap(), &b), set(0..5), "what is not its own is not released");
    assert_eq!(last(&second, &name).await, 1);
    commit(&second, write(&name, numbered(2))).await.unwrap();
    // And back, at once.
    second.release(&b, &set(0..5)).await.unwrap();
    assert_eq!(first.claim(&a, &set(0..5)).await.unwrap(), set(0..5));
    assert!(first.epoch(&org(&name)) > Some(before));
    assert_eq!(last(&first, &name).await, 2);
    commit(&first, write(&name, numbered(3))).await.unwrap();
}

#[tokio::test]
async fn after_a_takeover_a_commit_of_the_old_owner_is_fenced() {
    let options = server::shared().options();
    let ((first, a), (second, b)) = (node(&options, "a").await, node(&options, "b").await);
    let name = name_in(0);
    first.claim(&a, &set(0..1)).await.unwrap();
    commit(&first, write(&name, numbered(1))).await.unwrap();
    let before = first.epoch(&org(&name)).unwrap();
    bury(&second, &options, &a).await;
    commit(&first, write(&name, numbered(2))).await.unwrap();
    second.claim(&b, &set(0..1)).await.unwrap();
    assert_eq!(last(&second, &name).await, 2, "what was acknowledged before the claim is there");
    assert_eq!(handed(&first, write(&name, numbered(3)), before).await, Ok(Err(CommitError::Fenced)));
    assert_eq!(last(&second, &name).await, 2);
    assert_eq!(first.epoch(&org(&name)), None);
}

#[tokio::test]
async fn who_leaves_is_taken_over_from_and_forgotten_a_day_after_it_owns_nothing() {
    let options = server::shared().options();
    let ((first, a), (second, b)) = (node(&options, "a").await, node(&options, "b").await);
    first.claim(&a, &set(0..10)).await.unwrap();
    first.leave(&a).await.unwrap();
    first.leave(&a).await.unwrap();
    assert!(!renewed(&first, &a).await);
    let lives = || async { second.look().await.unwrap().members.len() };
    change(&options, &a, "died_at = died_at - interval '25 hours'").await;
    second.forget().await.unwrap();
    assert_eq!(lives().await, 2, "it owns something");
    assert_eq!(second.claim(&b, &set(0..10)).await.unwrap(), set(0..10));
    change(&options, &a, "died_at = died_at + interval '2 hours'").await;
    second.forget().await.unwrap();
    assert_eq!(lives().await, 2, "not for a day");
    change(&options, &a, "died_at = died_at - interval '2 hours'").await;
    change(&options, &b, "started_at = started_at - interval '25 hours'").await;
    second.forget().await.unwrap();
    assert_eq!(lives().await, 1);
    assert!(second.look().await.unwrap().living(&b).is_some());
}

#[tokio::test]
async fn what_others_do_is_counted_and_what_one_does_oneself_is_not() {
    let options = server::shared().options();
    let ((first, a), (second, b)) = (node(&options, "a").await, node(&options, "b").await);
    let mut told = first.told();
    told.wait_for(|count| *count == 1).await.unwrap();
    for number in 0..3 {
        first.claim(&a, &set(0..10)).await.unwrap();
        first.release(&a, &set(0..10)).await.unwrap();
        second.claim(&b, &set(20..30)).await.unwrap();
        told.wait_for(|count| *count > 1 + number).await.unwrap();
        assert_eq!(*told.borrow(), 2 + number);
    }
    second.release(&b, &set(20..30)).await.unwrap();
    second.leave(&b).await.unwrap();
    let c = another("c");
    live(&second, &options, &c).await;
    bury(&second, &options, &c).await;
    told.wait_for(|count| *count == 7).await.unwrap();
    // The session that listens is another one afterwards.
    let listening = format!("pid <> pg_backend_pid() AND query = 'LISTEN {}'", options.schema);
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}");
    assert_eq!(ask(&options, &kill).await.len(), 2);
    told.wait_for(|count| *count > 7).await.unwrap();
    first.close().await.unwrap();
}

#[tokio::test]
async fn a_renewal_does_not_wait_for_what_is_slow() {
    let options = server::shared().options();
    let (store, id) = node(&options, "a").await;
    let slow = holder(&options, "LOCK TABLE s.shard IN ACCESS EXCLUSIVE MODE").await;
    let free = set(0..10);
    let renewed = async {
        waiting(&options, 2).await;
        let renewed = store.renew(&id).await;
        slow.run("COMMIT").await.unwrap();
        renewed
    };
    let (looked, claimed, renewed) = tokio::join!(store.look(), store.claim(&id, &free), renewed);
    assert_eq!((looked.is_ok(), claimed, renewed), (true, Ok(set(0..10)), Ok(true)));
}

#[tokio::test]
async fn a_question_without_an_answer_ends_in_time_and_the_next_one_has_another_connection() {
    let options = server::shared().options();
    let (store, id) = node(&options, "a").await;
    assert!(renewed(&store, &id).await);
    let slow = holder(&options, "SELECT FROM s.lease FOR UPDATE").await;
    let unanswered = timeout(SOON, store.renew(&id)).await.unwrap().unwrap_err();
    assert!(unanswered.cause.contains("no answer within 400ms"), "{unanswered}");
    slow.run("COMMIT").await.unwrap();
    change(&options, &id, "expires_at = clock_timestamp() + interval '1 hour'").await;
    assert!(renewed(&store, &id).await);
}

#[tokio::test]
async fn a_claim_or_a_release_whose_answer_is_lost_is_asked_for_again() {
    let direct = server::shared().options();
    let proxy = Proxy::to(server::shared().port()).await;
    let (second, b) = node(&direct, "b").await;
    let (first, a) =
        (PgStore::open(server::shared().options_at(proxy.port, &direct.schema)).await.unwrap(), another("a"));
    live(&first, &direct, &a).await;
    let name = org(&name_in(0));
    // What is lost is no notification.
    first.shared.cell.hints.stop();
    // The connection is there, so that it is the claim's answer that is lost.
    assert_eq!(first.claim(&a, &set(0..1)).await.unwrap(), set(0..1));
    first.release(&a, &set(0..1)).await.unwrap();
    proxy.lose_answer();
    assert!(first.claim(&a, &set(0..1)).await.is_err());
    assert_eq!(first.epoch(&name), None);
    let found = first.look().await.unwrap().shards[0].clone();
    assert_eq!((found.owner, found.epoch), (Some(a.clone()), 3), "it was carried out");
    assert_eq!(first.claim(&a, &set(0..1)).await.unwrap(), set(0..1));
    assert_eq!(first.epoch(&name), Some(Epoch(4)));
    proxy.lose_answer();
    assert!(first.release(&a, &set(0..1)).await.is_err());
    assert_eq!(first.epoch(&name), None);
    first.release(&a, &set(0..1)).await.unwrap();
    assert_eq!(second.claim(&b, &set(0..1)).await.unwrap(), set(0..1));
    // One that was not carried out at all.
    first.claim(&a, &set(1..2)).await.unwrap();
    proxy.close();
    assert!(first.release(&a, &set(1..2)).await.is_err());
    assert_eq!(owned(&second.look().await.unwrap(), &a), set(1..2));
    proxy.open();
    first.release(&a, &set(1..2)).await.unwrap();
    assert_eq!(second.claim(&b, &set(1..2)).await.unwrap(), set(1..2));
}

#[tokio::test]
async fn after_everything_was_given_up_no_claim_that_was_sent_before_has_an_effect() {
    let options = server::shared().options();
    let (store, id) = node(&options, "a").await;
    let name = name_in(0);
    store.claim(&id, &set(0..1)).await.unwrap();
    let before = store.epoch(&org(&name)).unwrap();
    let slow = holder(&options, "LOCK TABLE s.shard IN ACCESS EXCLUSIVE MODE").await;
    let disowned = async {
        waiting(&options, 1).await;
        store.disown();
        slow.run("COMMIT").await.unwrap();
    };
    let some = set(0..10);
    let (claimed, ()) = tokio::join!(store.claim(&id, &some), disowned);
    assert!(claimed.unwrap_err().cause.contains("given up before it was answered"));
    assert_eq!(store.epoch(&org(&name)), None);
    assert_eq!(handed(&store, write(&name, numbered(1)), before).await, Ok(Err(CommitError::Fenced)));
    assert_eq!(store.claim(&id, &some).await.unwrap(), some, "and its successor owns it");
    assert_eq!(last(&store, &name).await, 0);
    commit(&store, write(&name, numbered(1))).await.unwrap();
}

#[tokio::test]
async fn after_everything_was_given_up_nothing_is_sent_that_was_handed_over() {
    let direct = server::shared().options();
    let proxy = Proxy::to(server::shared().port()).await;
    let options = server::shared().options_at(proxy.port, &direct.schema);
    let store = PgStore::open(PgOptions { retry_for: Duration::from_secs(3_600), ..options }).await.unwrap();
    let (id, name) = (another("a"), name_in(0));
    live(&store, &direct, &id).await;
    store.claim(&id, &set(0..1)).await.unwrap();
    commit(&store, write(&name, numbered(1))).await.unwrap();
    let before = store.epoch(&org(&name)).unwrap();
    let mut state = store.state();
    proxy.close();
    let waits = handed(&store, write(&name, numbered(2)), before);
    state.wait_for(|state| !state.is_up()).await.unwrap();
    store.disown();
    let ended = waits.await.unwrap().unwrap_err();
    assert!(matches!(ended, CommitError::Fenced | CommitError::InDoubt(_)), "{ended}");
    proxy.open();
    state.wait_for(StoreState::is_up).await.unwrap();
    assert_eq!(last(&store, &name).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_killed_in_the_middle_of_claims_and_releases_leave_one_owner() {
    let options = server::shared().options();
    let ((first, a), (second, b)) = (node(&options, "a").await, node(&options, "b").await);
    let killing = Connection::open(&options).await.unwrap();
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE pid <> pg_backend_pid() AND query LIKE '%{}.shard%SET owner%' AND state = 'active'",
        options.schema
    );
    let (killed, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let killer = async {
        while killed.load(Ordering::SeqCst) < 40 {
            // Some are let live.
            for _ in 0..20 {
                killing.query("SELECT 1", &[]).await.unwrap();
            }
            let count: i64 = killing.query(&kill, &[]).await.unwrap()[0].get(0);
            killed.fetch_add(u64::try_from(count).unwrap(), Ordering::SeqCst);
        }
    };
    let (name, some) = (name_in(0), set(0..200));
    let owners = async {
        let mut written = 0;
        while killed.load(Ordering::SeqCst) < 40 {
            for (store, id) in [(&first, &a), (&second, &b)] {
                // What is its own already and what is free: all of it, as soon as there is an answer.
                let claims = async {
                    // A session that was killed may hold rows a little longer than its client.
                    while store.claim(id, &some).await != Ok(some.clone()) {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                };
                timeout(Duration::from_secs(20), claims).await.expect("nobody else owns any of it");
                assert_eq!(last(store, &name).await, written);
                written += 1;
                commit(store, write(&name, numbered(written))).await.unwrap();
                let before = store.epoch(&org(&name)).unwrap();
                while store.release(id, &some).await.is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
                let late = handed(store, write(&name, numbered(written + 1)), before).await;
                assert_eq!(late, Ok(Err(CommitError::Fenced)));
            }
        }
        written
    };
    let (written, ()) = tokio::join!(owners, killer);
    let failed = failed.load(Ordering::SeqCst);
    assert!(written > 0 && failed > 0);
    println!("{written} turns, {failed} claims and releases without an answer");
}

#[tokio::test]
async fn statements_are_bounded_by_the_server_also_where_a_pooler_does_not_let_a_connection_say_so() {
    let options = server::shared().options();
    let shown = ask(&options, "SHOW statement_timeout").await[0].get::<_, String>(0);
    assert_eq!(shown, "5s");
    let given = PgOptions::parse("postgres://x/y?sslmode=disable&options=-c%20statement_timeout%3D9s").unwrap();
    assert_eq!(given.bounded().get_options(), Some("-c statement_timeout=5000 -c statement_timeout=9s"));
    let proxy = Proxy::to(server::shared().port()).await;
    proxy.refuse_options();
    let options = server::shared().options_at(proxy.port, &options.schema);
    assert_eq!(ask(&options, "SHOW statement_timeout").await[0].get::<_, String>(0), "0");
    let store = start(options).await;
    commit(&*store, write("acme", numbered(1))).await.unwrap();
    assert!(unbounded(0).unwrap().contains("ALTER ROLE") && unbounded(5_000).is_none());
}

#[tokio::test]
async fn the_view_of_nodes_says_who_lives_and_what_it_owns() {
    let options = server::shared().options();
    let (store, a) = node(&options, "a").await;
    store.claim(&a, &set(0..10)).await.unwrap();
    for name in ["b", "c", "d"] {
        node(&options, name).await;
    }
    let view = store.look().await.unwrap();
    let [_, b, c, d] = &view.members[..] else { panic!("{view:?}") };
    store.drain(&b.id, true).await.unwrap();
    expire(&options, &c.id).await;
    bury(&store, &options, &d.id).await;
    let sql = format!(
        "SELECT node, state, shards, incarnation, expires_at IS NULL FROM {}.nodes ORDER BY node",
        options.schema
    );
    let rows = ask(&options, &sql).await;
    let row = |row: &tokio_postgres::Row| {
        (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, i64>(2), row.get::<_, bool>(4))
    };
    let expected = [("a", "alive", 10), ("b", "draining", 0), ("c", "expired", 0), ("d", "dead", 0)];
    let expected = expected.map(|(name, state, shards)| (name.to_owned(), state.to_owned(), shards, state == "dead"));
    assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), expected);
    assert_eq!(rows[0].get::<_, String>(3), a.incarnation.to_string());
}

/// A store of a node whose clocks a test moves.
async fn clocked(options: &PgOptions, name: &str, at: Millis) -> (PgStore, NodeId, Arc<TestClock>) {
    let clock = Arc::new(TestClock::at(at));
    let options = PgOptions { clock: clock.clone(), ..options.clone() };
    let (store, id) = node(&options, name).await;
    (store, id, clock)
}

fn read(store: &PgStore, clock: &TestClock) -> Now {
    Cell::tenure(store, Shard::numbered(0).unwrap()).unwrap().clock.read(clock.read())
}

#[tokio::test]
async fn lease_time_goes_on_with_the_owners_and_service_time_never_goes_back() {
    let options = server::shared().options();
    let (shards, minute) = (set(0..1), 60_000);
    let (first, a, clock) = clocked(&options, "a", T0).await;
    first.claim(&a, &shards).await.unwrap();
    let begin = read(&first, &clock);
    assert_eq!((begin.service, begin.lease, begin.absent), (T0, LeaseTime(T0), 0), "of a shard that nobody ever owned");
    clock.advance(10 * minute);
    assert!(renewed(&first, &a).await);
    clock.advance(minute);
    bury(&first, &options, &a).await;

    // Another machine, started later, whose wall clock is behind.
    let (second, b, behind) = clocked(&options, "b", T0 + 5 * minute).await;
    let sql = format!("UPDATE {}.lease SET renewed_at = renewed_at - interval '3 minutes' RETURNING 1", options.schema);
    ask(&options, &sql).await;
    assert_eq!(second.claim(&b, &shards).await.unwrap(), shards);
    let taken = read(&second, &behind);
    assert_eq!(taken.lease, LeaseTime(T0 + 10 * minute), "as it was when its owner was last up for certain");
    assert_eq!(taken.service, T0 + 10 * minute + NODE_LEASE_MS, "and the wall clock is said to be behind");
    assert_eq!(taken.wall, T0 + 5 * minute);
    assert!((3 * minute..4 * minute).contains(&taken.absent), "{}", taken.absent);
    behind.advance(7 * minute);
    let later = read(&second, &behind);
    assert_eq!(later.lease, LeaseTime(T0 + 17 * minute));
    assert_eq!(later.service, T0 + 12 * minute, "the wall clock has caught up");

    second.release(&b, &shards).await.unwrap();
    let sql = format!("UPDATE {}.shard SET left_at = left_at - interval '2 minutes' RETURNING 1", options.schema);
    ask(&options, &sql).await;
    let (third, c, ahead) = clocked(&options, "c", T0 + 60 * minute).await;
    assert_eq!(third.claim(&c, &shards).await.unwrap(), shards);
    let taken = read(&third, &ahead);
    assert_eq!((taken.lease, taken.service), (LeaseTime(T0 + 17 * minute), T0 + 60 * minute));
    assert!((5 * minute..6 * minute).contains(&taken.absent), "{}", taken.absent);
    // What is in doubt is claimed once more, and nothing was away.
    ahead.advance(minute);
    assert!(renewed(&third, &c).await);
    assert_eq!(third.claim(&c, &shards).await.unwrap(), shards);
    let again = read(&third, &ahead);
    assert_eq!((again.lease, again.absent), (LeaseTime(T0 + 18 * minute), taken.absent));
}
