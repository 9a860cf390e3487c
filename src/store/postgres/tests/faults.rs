//! Rivals, cut connections and a server that goes away.

use std::{sync::atomic::AtomicBool, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{
    super::*,
    proxy::Proxy,
    server::{self, Server},
    start,
};
use crate::{
    domain::rows::JournalRow,
    store::{
        conformance::{commit, head, head_with_journal, stored, write},
        samples::{T0, org},
    },
};

pub(super) fn numbered(seq: u64) -> Vec<Row> {
    vec![head_with_journal(seq), Row::Journal(JournalRow { seq, at: T0, entries: vec![] })]
}

/// Hands a commit over under an epoch, without waiting.
pub(super) fn handed(store: &PgStore, write: OrgWrite, fence: Epoch) -> oneshot::Receiver<Result<(), CommitError>> {
    let (answer, answered) = oneshot::channel();
    store.commit(write, fence, Box::new(move |result| drop(answer.send(result))));
    answered
}

pub(super) async fn ask(options: &PgOptions, sql: &str) -> Vec<tokio_postgres::Row> {
    Connection::open(options).await.unwrap().query(sql, &[]).await.unwrap()
}

async fn seq_of(options: &PgOptions, name: &str) -> i64 {
    let sql = format!("SELECT seq FROM {}.shard WHERE shard_id = {}", options.schema, Shard::of(&org(name)).number());
    ask(options, &sql).await[0].get(0)
}

#[tokio::test]
async fn who_owned_a_shard_before_is_fenced_and_writes_nothing_while_its_other_shards_are_written() {
    let options = server::shared().options();
    let (first, second) = (start(options.clone()).await, PgStore::open(options.clone()).await.unwrap());
    let before = first.epoch(&org("acme")).unwrap();
    commit(&*first, write("acme", numbered(1))).await.unwrap();
    assert_eq!(second.epoch(&org("acme")), None, "nothing is owned that was not claimed");
    assert_eq!(handed(&second, write("acme", numbered(9)), before).await, Ok(Err(CommitError::Fenced)));
    second.claim_alone(&[Shard::of(&org("acme"))].into_iter().collect()).await.unwrap();
    // One committer has both shards, so both are in one statement as long as none is known to be lost.
    let other = (0..).map(|n| format!("org{n}")).find(|name| Shard::of(&org(name)).number().is_multiple_of(4)).unwrap();
    assert_eq!(Shard::of(&org("acme")).number(), 160);
    let fenced = handed(&first, write("acme", numbered(2)), before);
    let written = handed(&first, write(&other, numbered(1)), before);
    assert_eq!((fenced.await, written.await), (Ok(Err(CommitError::Fenced)), Ok(Ok(()))));
    assert_eq!(stored(&second, "acme").await, numbered(1));
    assert_eq!((first.epoch(&org("acme")), first.epoch(&org(&other)).is_some()), (None, true));
    commit(&second, write("acme", numbered(2))).await.unwrap();
    assert_eq!(last(&second, "acme").await, 2);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_and_written_once() {
    let direct = server::shared().options();
    let proxy = Proxy::to(server::shared().port()).await;
    let store = start(server::shared().options_at(proxy.port, &direct.schema)).await;
    commit(&*store, write("acme", numbered(1))).await.unwrap();
    let before = seq_of(&direct, "acme").await;
    for seq in 2..12 {
        proxy.lose_answer();
        commit(&*store, write("acme", numbered(seq))).await.unwrap();
    }
    assert_eq!(seq_of(&direct, "acme").await, before + 10);
    assert_eq!(stored(&*store, "acme").await.len(), 12);
    assert!(store.state().borrow().is_up());
}

#[tokio::test]
async fn a_statement_that_still_runs_when_its_connection_is_lost_is_waited_for() {
    let direct = server::shared().options();
    let proxy = Proxy::to(server::shared().port()).await;
    let store = start(server::shared().options_at(proxy.port, &direct.schema)).await;
    commit(&*store, write("acme", numbered(1))).await.unwrap();
    let before = seq_of(&direct, "acme").await;
    let holder = Connection::open(&direct).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM {}.shard WHERE shard_id = 160 FOR UPDATE", direct.schema);
    holder.run(&lock).await.unwrap();
    let answered = handed(&store, write("acme", numbered(2)), store.epoch(&org("acme")).unwrap());
    waiting(&direct, 1).await;
    proxy.cut();
    // Both wait now: the statement, and who asks what became of it.
    waiting(&direct, 2).await;
    holder.run("COMMIT").await.unwrap();
    assert_eq!(answered.await, Ok(Ok(())));
    assert_eq!(seq_of(&direct, "acme").await, before + 1, "once");
}

#[tokio::test]
async fn past_its_time_a_commit_whose_answer_is_lost_is_in_doubt_and_its_org_is_loaded_as_it_is() {
    let direct = server::shared().options();
    let proxy = Proxy::to(server::shared().port()).await;
    let options = server::shared().options_at(proxy.port, &direct.schema);
    let store = start(PgOptions { retry_for: Duration::ZERO, ..options }).await;
    for seq in 1..10 {
        let is_lost = seq % 3 == 0;
        if is_lost {
            proxy.lose_answer();
        }
        let result = commit(&*store, write("acme", numbered(seq))).await;
        assert_eq!(matches!(result, Err(CommitError::InDoubt(_))), is_lost, "{result:?}");
        if is_lost {
            let behind = commit(&*store, write("acme", numbered(seq + 1))).await;
            assert_eq!(behind, result, "nothing is written behind it");
        }
        assert_eq!(last(&store, "acme").await, seq, "it was written");
    }
}

#[tokio::test]
async fn nothing_is_loaded_before_a_statement_that_was_given_up_is_settled() {
    let direct = server::shared().options();
    let proxy = Proxy::to(server::shared().port()).await;
    let options = server::shared().options_at(proxy.port, &direct.schema);
    let store = start(PgOptions { retry_for: Duration::ZERO, ..options }).await;
    commit(&*store, write("acme", numbered(1))).await.unwrap();
    let holder = Connection::open(&direct).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM {}.shard WHERE shard_id = 160 FOR UPDATE", direct.schema);
    holder.run(&lock).await.unwrap();
    let given_up = handed(&store, write("acme", numbered(2)), store.epoch(&org("acme")).unwrap());
    waiting(&direct, 1).await;
    proxy.cut();
    let given_up = given_up.await.unwrap();
    assert!(matches!(given_up, Err(CommitError::InDoubt(_))), "{given_up:?}");
    assert!(store.load(&org("acme")).await.is_err() && !store.state().borrow().is_up());
    waiting(&direct, 2).await;
    holder.run("COMMIT").await.unwrap();
    assert_eq!(last(&store, "acme").await, 2, "the statement was in line before what settled it");
    commit(&*store, write("acme", numbered(3))).await.unwrap();
    assert_eq!(last(&store, "acme").await, 3);
}

/// So many statements wait for a lock.
pub(super) async fn waiting(options: &PgOptions, count: i64) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{}.%'",
        options.schema
    );
    while ask(options, &sql).await[0].get::<_, i64>(0) < count {}
}

/// Writes numbered rows until `stop` is set, and compares what it was answered with what is stored: after each
/// error, and in the end. Answers how many were acknowledged, and how many errors there were.
fn writer(
    store: Arc<PgStore>,
    name: String,
    stop: Arc<AtomicBool>,
    answers: watch::Sender<u64>,
) -> JoinHandle<(u64, u64)> {
    tokio::spawn(async move {
        let (mut acknowledged, mut errors) = (0, 0);
        while !stop.load(Ordering::SeqCst) {
            let next = acknowledged + 1;
            let result = commit(&*store, write(&name, numbered(next))).await;
            answers.send_modify(|count| *count += 1);
            let Err(error) = result else {
                acknowledged = next;
                continue;
            };
            errors += 1;
            let found = last(&store, &name).await;
            match error {
                CommitError::InDoubt(_) => assert!([acknowledged, next].contains(&found), "{name}: {found}"),
                other => assert_eq!(found, acknowledged, "{name}: {other}"),
            }
            acknowledged = found;
        }
        assert_eq!(last(&store, &name).await, acknowledged, "{name}");
        (acknowledged, errors)
    })
}

/// The last number that is stored, with no gap before it.
pub(super) async fn last(store: &PgStore, name: &str) -> u64 {
    loop {
        let _ = store.state().wait_for(StoreState::is_up).await;
        if let Ok(rows) = store.load(&org(name)).await {
            let head = rows.rows.iter().find_map(|row| if let Row::Head(head) = row { Some(head.seq) } else { None });
            return head.unwrap_or(0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_under_load_lose_nothing_and_double_nothing() {
    for (retry_for, may_fail) in [(Duration::from_secs(10), false), (Duration::ZERO, true)] {
        let options = PgOptions { retry_for, ..server::shared().options() };
        let store = start(options.clone()).await;
        let stop = Arc::default();
        let (answers, mut answered) = watch::channel(0);
        let writers = (0..8).map(|n| writer(store.clone(), format!("org{n}"), Arc::clone(&stop), answers.clone()));
        let writers: Vec<_> = writers.collect();
        let killer = Connection::open(&options).await.unwrap();
        let kill = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND query LIKE '%{}.%' AND state = 'active'",
            options.schema
        );
        let mut killed = 0;
        while killed < 200 {
            // In between something is answered: whoever kills every attempt keeps each commit from ever being written.
            answered.changed().await.unwrap();
            killed += killer.query(&kill, &[]).await.unwrap()[0].get::<_, i64>(0);
        }
        stop.store(true, Ordering::SeqCst);
        let (mut acknowledged, mut errors) = (0, 0);
        for writer in writers {
            let (written, failed) = writer.await.unwrap();
            (acknowledged, errors) = (acknowledged + written, errors + failed);
        }
        assert!(acknowledged > 0 && (errors > 0) == may_fail, "{acknowledged} acknowledged, {errors} errors");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_under_load_is_an_outage_that_ends() {
    let server = Server::start();
    for retry_for in [Duration::from_secs(30), Duration::from_millis(100)] {
        let store = start(PgOptions { retry_for, ..server.options() }).await;
        let stop = Arc::default();
        let answers = watch::Sender::new(0);
        let writers = (0..8).map(|n| writer(store.clone(), format!("org{n}"), Arc::clone(&stop), answers.clone()));
        let writers: Vec<_> = writers.collect();
        let mut state = store.state();
        server.down();
        let retrying = state.wait_for(|state| !state.is_up()).await.unwrap().clone();
        assert!(matches!(retrying, StoreState::Retrying { .. }), "{retrying:?}");
        if retry_for < Duration::from_secs(1) {
            let refused = store.load(&org("org0")).await;
            assert!(refused.is_err(), "nothing is loaded while it is not known what is written");
        }
        server.up();
        state.wait_for(StoreState::is_up).await.unwrap();
        commit(&*store, write("after", vec![head(1, None)])).await.unwrap();
        stop.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.await.unwrap();
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_handed_over_while_the_server_is_away_is_written_when_it_is_back_in_time() {
    for (retry_for, in_time) in [(Duration::from_secs(30), true), (Duration::ZERO, false)] {
        let options = server::shared().options();
        let proxy = Proxy::to(server::shared().port()).await;
        let options =
            PgOptions { retry_for, committers: 1, ..server::shared().options_at(proxy.port, &options.schema) };
        let store = start(options).await;
        let epoch = store.epoch(&org("acme")).unwrap();
        proxy.close();
        // A read has lost the server, and nothing was on its way.
        let mut state = store.state();
        assert!(store.load(&org("acme")).await.is_err());
        state.wait_for(|state| !state.is_up()).await.unwrap();
        let commits: Vec<_> = (1..=3).map(|seq| handed(&store, write("acme", numbered(seq)), epoch)).collect();
        // Only where it is refused is there an answer before the server is back.
        if in_time {
            proxy.open();
        }
        for commit in commits {
            let answered = commit.await.unwrap();
            assert_eq!(answered.is_ok(), in_time, "{answered:?}");
        }
        proxy.open();
        state.wait_for(StoreState::is_up).await.unwrap();
        assert_eq!(last(&store, "acme").await, if in_time { 3 } else { 0 });
    }
}

#[test]
fn settings_that_make_less_durable_what_was_acknowledged_are_named() {
    assert!(judge("on", "on", "", 0).is_empty());
    assert!(judge("on", "on", "ANY 1 (a, b)", 2).is_empty());
    for (warnings, what) in [
        (judge("off", "on", "", 0), "fsync"),
        (judge("on", "off", "", 0), "synchronous_commit is off"),
        (judge("on", "local", "a", 1), "synchronous_commit is local"),
        (judge("on", "on", "", 1), "standbys are asynchronous"),
    ] {
        assert!(warnings.len() == 1 && warnings[0].contains(what), "{warnings:?}");
    }
}

#[tokio::test]
async fn rows_that_change_with_every_commit_are_updated_in_their_page() {
    const ROUNDS: u64 = 200;
    let options = server::shared().options();
    let store = start(options.clone()).await;
    for seq in 1..=ROUNDS {
        for name in ["a", "b", "c"] {
            commit(&*store, write(name, vec![head(seq, None)])).await.unwrap();
        }
    }
    store.close().await.unwrap();
    drop(store);
    // The server counts what its sessions did when they end.
    let sql = format!(
        "SELECT min(n_tup_upd), min(n_tup_hot_upd::float8 / nullif(n_tup_upd, 0)) FROM pg_stat_user_tables \
         WHERE schemaname = '{}' AND relname IN ('shard', 'head')",
        options.schema
    );
    let row = loop {
        let row = ask(&options, &sql).await.swap_remove(0);
        if row.get::<_, i64>(0) >= 3 * (i64::try_from(ROUNDS).unwrap() - 1) {
            break row;
        }
    };
    let hot: f64 = row.get(1);
    assert!(hot > 0.9, "{hot} of the updates");
}
