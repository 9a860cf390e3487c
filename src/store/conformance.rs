//! What every [`OrgStore`] must do, whatever engine is behind it. An engine passes by giving a
//! [`Harness`] to [`conformance_suite!`].

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::samples::{T0, entry, named_rows, org, rows};
use crate::{
    domain::{
        gate::FailOpen,
        ids::{DecisionId, OrgId, PoolId},
        outcome::Outcome,
        rows::{Head, JournalRow, OrgWrite, PoolRow, Row, RowKey},
        window::Millis,
    },
    ports::{OrgStore, StoreFault},
};

/// Starts an engine on something empty, and again on what it left.
pub(super) trait Harness: Default {
    type Store: OrgStore + 'static;

    fn start(&self) -> Arc<Self::Store>;

    /// After a clean close.
    fn restart(&self, closed: Arc<Self::Store>) -> Arc<Self::Store>;
}

/// Runs every test of this module on an engine.
macro_rules! conformance_suite {
    ($harness:ty) => {
        $crate::store::conformance::conformance_suite!($harness:
            every_kind_of_row_reads_back,
            a_row_is_replaced_and_removed,
            a_wipe_leaves_only_what_the_same_commit_puts,
            a_wipe_covers_what_is_not_yet_durable,
            orgs_do_not_see_each_other,
            due_timers_come_earliest_first_and_bounded,
            a_list_goes_on_behind_its_last_org,
            orgs_with_pools_are_found_each_once,
            a_large_journal_row_is_whole_again_and_goes_whole,
            a_lost_journal_row_or_head_fails_the_load,
            commits_of_one_org_become_durable_in_their_order,
            concurrent_commits_are_all_kept,
            a_restart_keeps_everything,
            a_commit_after_the_close_is_refused,
        );
    };
    ($harness:ty: $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::store::conformance::$name(&<$harness>::default()).await;
            }
        )+
    };
}
pub(super) use conformance_suite;

pub(super) fn write(name: &str, seq: u64, puts: Vec<Row>) -> OrgWrite {
    OrgWrite { org: org(name), seq, wipe: false, puts, dels: vec![] }
}

/// Of an org whose journal was purged.
pub(super) fn head(seq: u64, wake_at: Option<Millis>) -> Row {
    Row::Head(Head { seq, journal_from: seq + 1, wake_at, ..Head::default() })
}

/// Of an org with journal rows from 1 on.
pub(super) fn head_with_journal(seq: u64) -> Row {
    Row::Head(Head { seq, journal_from: 1, ..Head::default() })
}

/// Waits until the commit is durable.
pub(super) async fn commit(store: &impl OrgStore, write: OrgWrite) -> Result<(), StoreFault> {
    let (tell, told) = oneshot::channel();
    store.commit(write, Box::new(move |result| tell.send(result).unwrap()));
    told.await.expect("every commit is answered")
}

pub(super) async fn stored(store: &impl OrgStore, name: &str) -> Vec<Row> {
    sorted(store.load(&org(name)).await.unwrap().rows)
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| format!("{:?}", row.key()));
    rows
}

pub(super) async fn every_kind_of_row_reads_back(harness: &impl Harness) {
    let store = harness.start();
    assert_eq!(stored(&*store, "acme").await, vec![]);
    commit(&*store, write("acme", 7, rows())).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows()));
    assert!(store.groups() >= 1);
}

pub(super) async fn a_row_is_replaced_and_removed(harness: &impl Harness) {
    let store = harness.start();
    for (name, row) in named_rows().into_iter().filter(|(_, row)| !matches!(row, Row::Head(_) | Row::Timer { .. })) {
        let name = name.replace('_', "-");
        commit(&*store, write(&name, 1, vec![head(10, None), row.clone()])).await.unwrap();
        assert_eq!(stored(&*store, &name).await, sorted(vec![head(10, None), row.clone()]));
        commit(&*store, OrgWrite { dels: vec![row.key()], ..write(&name, 2, vec![]) }).await.unwrap();
        assert_eq!(stored(&*store, &name).await, vec![head(10, None)], "{name} is gone");
    }
    commit(&*store, write("acme", 3, vec![head(3, None)])).await.unwrap();
    commit(&*store, write("acme", 4, vec![head(4, None)])).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(4, None)]);
}

pub(super) async fn a_wipe_leaves_only_what_the_same_commit_puts(harness: &impl Harness) {
    let store = harness.start();
    commit(&*store, write("acme", 7, rows())).await.unwrap();
    commit(&*store, write("acme:b", 7, rows())).await.unwrap();
    let kept = head(8, None);
    let wipe = OrgWrite { wipe: true, ..write("acme", 8, vec![kept.clone()]) };
    commit(&*store, wipe).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![kept]);
    assert_eq!(stored(&*store, "acme:b").await, sorted(rows()));
    let due = store.due(Millis::MAX, 10).await.unwrap();
    assert_eq!(due.len(), 1, "the timer of the wiped org is gone, the other stays: {due:?}");
}

pub(super) async fn a_wipe_covers_what_is_not_yet_durable(harness: &impl Harness) {
    let store = harness.start();
    let (tell, told) = oneshot::channel();
    store.commit(write("acme", 7, rows()), Box::new(|_| {}));
    store.commit(OrgWrite { wipe: true, ..write("acme", 8, vec![]) }, Box::new(|_| {}));
    store.commit(write("acme", 9, vec![head(9, Some(5))]), Box::new(move |result| tell.send(result).unwrap()));
    told.await.unwrap().unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(9, Some(5))]);
    assert_eq!(store.due(Millis::MAX, 10).await.unwrap(), vec![]);
}

pub(super) async fn orgs_do_not_see_each_other(harness: &impl Harness) {
    let names = ["a", "a:b", "a/b", "a.b", "ab", "A", "a1"];
    let store = harness.start();
    for (seq, name) in (1..).zip(names) {
        commit(&*store, write(name, seq, vec![head(seq, None)])).await.unwrap();
    }
    for (seq, name) in (1..).zip(names) {
        assert_eq!(stored(&*store, name).await, vec![head(seq, None)], "{name}");
    }
    commit(&*store, OrgWrite { wipe: true, ..write("a", 99, vec![]) }).await.unwrap();
    for (seq, name) in (1..).zip(names).skip(1) {
        assert_eq!(stored(&*store, name).await, vec![head(seq, None)], "{name} after another's wipe");
    }
}

pub(super) async fn due_timers_come_earliest_first_and_bounded(harness: &impl Harness) {
    let store = harness.start();
    for (name, at) in [("zz", 100), ("b", 300), ("a", 200), ("later", 301), ("m", 300)] {
        commit(&*store, write(name, 1, vec![head(1, Some(at)), Row::Timer { wake_at: at }])).await.unwrap();
    }
    let expected: Vec<(Millis, OrgId)> = vec![(100, org("zz")), (200, org("a")), (300, org("b")), (300, org("m"))];
    assert_eq!(store.due(300, 10).await.unwrap(), expected);
    assert_eq!(store.due(300, 2).await.unwrap(), expected[..2]);
    assert_eq!(store.due(99, 10).await.unwrap(), vec![]);
    let moved = OrgWrite {
        dels: vec![RowKey::Timer { wake_at: 100 }],
        ..write("zz", 2, vec![head(2, Some(900)), Row::Timer { wake_at: 900 }])
    };
    commit(&*store, moved).await.unwrap();
    assert_eq!(store.due(300, 10).await.unwrap(), expected[1..]);
}

pub(super) async fn a_list_goes_on_behind_its_last_org(harness: &impl Harness) {
    let store = harness.start();
    for seq in 0..25 {
        commit(&*store, write(&format!("org{seq:02}"), seq, vec![head(seq, None)])).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    for expected in [10, 10, 5, 0] {
        let page = store.list(after.as_ref(), 10).await.unwrap();
        assert_eq!(page.len(), expected);
        after = page.last().map(|(org, _)| org.clone()).or(after);
        seen.extend(page.into_iter().map(|(org, head)| (org.to_string(), head.seq)));
    }
    let all: Vec<_> = (0..25).map(|seq| (format!("org{seq:02}"), seq)).collect();
    assert_eq!(seen, all);
}

pub(super) async fn orgs_with_pools_are_found_each_once(harness: &impl Harness) {
    let store = harness.start();
    let pool =
        |name: &str| Row::Pool(PoolRow { id: PoolId::parse("pool", name).unwrap(), version: 1, announced: false });
    for name in ["a", "a:b", "b", "plain", "z"] {
        let pools = if name == "plain" { vec![] } else { vec![pool("p"), pool("q"), pool("r")] };
        commit(&*store, write(name, 1, [vec![head(1, None)], pools].concat())).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    for expected in [2, 2, 0] {
        let page = store.with_pools(after.as_ref(), 2).await.unwrap();
        assert_eq!(page.len(), expected);
        after = page.last().cloned().or(after);
        seen.extend(page.iter().map(ToString::to_string));
    }
    seen.sort_unstable();
    assert_eq!(seen, ["a", "a:b", "b", "z"]);
    commit(&*store, OrgWrite { dels: ["p", "q", "r"].map(|name| pool(name).key()).to_vec(), ..write("a", 2, vec![]) })
        .await
        .unwrap();
    assert_eq!(store.with_pools(None, 10).await.unwrap().len(), 3);
}

pub(super) async fn a_large_journal_row_is_whole_again_and_goes_whole(harness: &impl Harness) {
    let store = harness.start();
    let journal = |seq, count: u64| {
        let outcome =
            |id| Outcome::Admitted { decision: DecisionId(id), hold: None, fail_open: Vec::<FailOpen>::new() };
        let entries = (0..count).map(|n| entry(&format!("{n}-{}", "x".repeat(100)), T0, false, outcome(n.into())));
        JournalRow { seq, at: T0, entries: entries.collect() }
    };
    let rows = |of_memory: Vec<Row>| [vec![head_with_journal(1)], of_memory].concat();
    let (large, long) = (Row::Journal(journal(1, 2000)), Row::LongJournal(journal(1, 500)));
    commit(&*store, write("acme", 1, rows(vec![large.clone(), long.clone()]))).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows(vec![large, long.clone()])));

    let small = Row::Journal(journal(1, 3));
    commit(&*store, write("acme", 2, vec![small.clone()])).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows(vec![small, long])), "replaced by a smaller one");

    let dels = vec![RowKey::Journal { seq: 1 }, RowKey::LongJournal { seq: 1 }];
    commit(&*store, OrgWrite { dels, ..write("acme", 3, vec![head(1, None)]) }).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(1, None)]);
    let again = Row::Journal(journal(1, 40));
    commit(&*store, write("acme", 4, rows(vec![again.clone()]))).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows(vec![again])), "no part of the removed row is left");
}

pub(super) async fn a_lost_journal_row_or_head_fails_the_load(harness: &impl Harness) {
    let store = harness.start();
    let journal = |seq| Row::Journal(JournalRow { seq, at: T0, entries: vec![] });
    let puts = vec![head_with_journal(4), journal(1), journal(2), journal(3), journal(4)];
    for (lost, what) in [
        (RowKey::Journal { seq: 1 }, "journal rows 1 to 1 are missing"),
        (RowKey::Journal { seq: 3 }, "journal rows 3 to 3 are missing"),
        (RowKey::Journal { seq: 4 }, "journal rows 4 to 4 are missing"),
        (RowKey::Head, "4 rows are stored but no head"),
    ] {
        commit(&*store, write("acme", 4, puts.clone())).await.unwrap();
        assert!(store.load(&org("acme")).await.is_ok());
        commit(&*store, OrgWrite { dels: vec![lost], ..write("acme", 4, vec![]) }).await.unwrap();
        let fault = store.load(&org("acme")).await.unwrap_err();
        assert!(fault.cause.ends_with(what), "R-OPS-6: {fault}");
    }
    let older = OrgWrite { wipe: true, ..write("acme", 4, vec![head_with_journal(1), journal(1), journal(2)]) };
    commit(&*store, older).await.unwrap();
    assert!(store.load(&org("acme")).await.is_err(), "an older head came back");
}

pub(super) async fn commits_of_one_org_become_durable_in_their_order(harness: &impl Harness) {
    let store = harness.start();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for seq in 1..=500 {
        let seen = Arc::clone(&seen);
        store.commit(
            write("acme", seq, vec![head(seq, None)]),
            Box::new(move |result| {
                result.unwrap();
                seen.lock().unwrap().push(seq);
            }),
        );
    }
    commit(&*store, write("other", 1, vec![head(1, None)])).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (1..=500).collect::<Vec<u64>>());
    assert_eq!(stored(&*store, "acme").await, vec![head(500, None)]);
}

pub(super) async fn concurrent_commits_are_all_kept(harness: &impl Harness) {
    const ORGS: u64 = 16;
    const COMMITS: u64 = 50;
    let store = harness.start();
    let tasks = (0..ORGS).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for seq in 1..=COMMITS {
                let journal = Row::Journal(JournalRow { seq, at: T0, entries: vec![] });
                commit(&*store, write(&format!("org{number}"), seq, vec![head_with_journal(seq), journal]))
                    .await
                    .unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let store = restart(harness, store).await;
    for number in 0..ORGS {
        let rows = stored(&*store, &format!("org{number}")).await;
        assert_eq!(rows.len() as u64, COMMITS + 1);
        assert!(rows.contains(&head_with_journal(COMMITS)));
    }
}

pub(super) async fn a_restart_keeps_everything(harness: &impl Harness) {
    let store = harness.start();
    commit(&*store, write("acme", 7, rows())).await.unwrap();
    let store = restart(harness, store).await;
    assert_eq!(stored(&*store, "acme").await, sorted(rows()));
    assert_eq!(store.due(Millis::MAX, 10).await.unwrap().len(), 1);
    commit(&*store, write("acme", 8, vec![head(8, None)])).await.unwrap();
    let store = restart(harness, store).await;
    assert!(stored(&*store, "acme").await.contains(&head(8, None)));
}

pub(super) async fn a_commit_after_the_close_is_refused(harness: &impl Harness) {
    let store = harness.start();
    store.commit(write("acme", 1, vec![head(1, None)]), Box::new(|_| {}));
    store.close().await.unwrap();
    assert!(commit(&*store, write("acme", 2, vec![head(2, None)])).await.is_err());
    assert_eq!(*store.fault().borrow(), None, "closing is not a fault");
    let store = harness.restart(store);
    assert_eq!(stored(&*store, "acme").await, vec![head(1, None)], "what was handed over before is kept");
}

async fn restart<H: Harness>(harness: &H, store: Arc<H::Store>) -> Arc<H::Store> {
    store.close().await.unwrap();
    harness.restart(store)
}
