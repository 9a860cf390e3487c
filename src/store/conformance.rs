//! What every [`OrgStore`] must do, whatever engine is behind it. An engine passes by giving a
//! [`Harness`] to [`conformance_suite!`].

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::{
    dump::{self, Header, Reader},
    kinds::named_rows,
    samples::{T0, entry, org, rows},
};
use crate::{
    domain::{
        gate::FailOpen,
        ids::{DecisionId, OrgId, RequestId},
        kept_ids::{KeptName, PAGE_BYTES},
        outcome::{Admitted, Outcome, Recorded, Settlement},
        request::Rpc,
        rows::{
            Head, IdPageRow, JournalRow, KeptId, OrgWrite, RequestIdRow, Row, RowKey, RowKind, SettledRow, TimerRow,
        },
        shard::{Shard, ShardSet},
        window::Millis,
    },
    ports::{CommitError, OrgStore},
};

/// Starts an engine on something empty, and again on what it left.
pub(super) trait Harness: Default {
    type Store: OrgStore + 'static;

    async fn start(&self) -> Arc<Self::Store>;

    /// After a clean close.
    async fn restart(&self, closed: Arc<Self::Store>) -> Arc<Self::Store>;
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
            orgs_that_have_a_kind_of_row_are_found_each_once,
            rows_of_some_kinds_are_read_of_one_org,
            questions_about_many_orgs_are_limited_to_shards,
            the_youngest_row_of_a_name_is_found,
            rows_beside_an_org_come_in_pages,
            the_largest_page_of_ids_is_one_value,
            a_large_journal_row_is_whole_again_and_goes_whole,
            a_lost_journal_row_or_head_fails_the_load,
            commits_of_one_org_become_durable_in_their_order,
            concurrent_commits_are_all_kept,
            a_restart_keeps_everything,
            a_commit_after_the_close_is_refused,
            a_dump_restored_into_another_store_gives_the_same_dump,
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

pub(super) fn write(name: &str, puts: Vec<Row>) -> OrgWrite {
    OrgWrite { puts, ..OrgWrite::empty(&org(name)) }
}

/// Of an org whose journal was purged.
pub(super) fn head(seq: u64, wake_at: Option<Millis>) -> Row {
    Row::Head(Head { seq, journal_from: seq + 1, wake_at, ..Head::default() })
}

pub(super) fn timer(wake_at: Millis) -> Row {
    Row::Timer(TimerRow { wake_at })
}

/// Of an org with journal rows from 1 on.
pub(super) fn head_with_journal(seq: u64) -> Row {
    Row::Head(Head { seq, journal_from: 1, ..Head::default() })
}

/// Waits until the commit is durable.
pub(super) async fn commit(store: &impl OrgStore, write: OrgWrite) -> Result<(), CommitError> {
    let (answer, answered) = oneshot::channel();
    let fence = store.epoch(&write.org).expect("this node owns every shard");
    store.commit(write, fence, Box::new(move |result| answer.send(result).unwrap()));
    answered.await.expect("every commit is answered")
}

/// What is loaded with the org, and what is read by name.
pub(super) async fn stored(store: &impl OrgStore, name: &str) -> Vec<Row> {
    let mut rows = store.load(&org(name)).await.unwrap().rows;
    assert!(rows.iter().all(|row| !row.kind().is_read_by_name()));
    for kind in RowKind::READ_BY_NAME {
        rows.extend(store.beside(&org(name), *kind, None, usize::MAX).await.unwrap());
    }
    sorted(rows)
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(Row::key);
    rows
}

pub(super) async fn every_kind_of_row_reads_back(harness: &impl Harness) {
    let store = harness.start().await;
    assert_eq!(stored(&*store, "acme").await, vec![]);
    commit(&*store, write("acme", rows())).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows()));
}

pub(super) async fn a_row_is_replaced_and_removed(harness: &impl Harness) {
    let store = harness.start().await;
    for (name, row) in named_rows().into_iter().filter(|(_, row)| !matches!(row, Row::Head(_) | Row::Timer(_))) {
        let name = name.replace('_', "-");
        commit(&*store, write(&name, vec![head(10, None), row.clone()])).await.unwrap();
        assert_eq!(stored(&*store, &name).await, sorted(vec![head(10, None), row.clone()]));
        commit(&*store, OrgWrite { dels: vec![row.key()], ..write(&name, vec![]) }).await.unwrap();
        assert_eq!(stored(&*store, &name).await, vec![head(10, None)], "{name} is gone");
    }
    commit(&*store, write("acme", vec![head(3, None)])).await.unwrap();
    commit(&*store, write("acme", vec![head(4, None)])).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(4, None)]);
}

pub(super) async fn a_wipe_leaves_only_what_the_same_commit_puts(harness: &impl Harness) {
    let store = harness.start().await;
    commit(&*store, write("acme", rows())).await.unwrap();
    commit(&*store, write("acme:b", rows())).await.unwrap();
    let kept = head(8, None);
    let wipe = OrgWrite { wipe: true, ..write("acme", vec![kept.clone()]) };
    commit(&*store, wipe).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![kept]);
    assert_eq!(stored(&*store, "acme:b").await, sorted(rows()));
    let due = store.due(Millis::MAX, &ShardSet::all(), 10).await.unwrap();
    assert_eq!(due.len(), 1, "the timer of the wiped org is gone, the other stays: {due:?}");
}

pub(super) async fn a_wipe_covers_what_is_not_yet_durable(harness: &impl Harness) {
    let store = harness.start().await;
    let (answer, answered) = oneshot::channel();
    let fence = store.epoch(&org("acme")).unwrap();
    store.commit(write("acme", rows()), fence, Box::new(|_| {}));
    store.commit(OrgWrite { wipe: true, ..write("acme", vec![]) }, fence, Box::new(|_| {}));
    store.commit(write("acme", vec![head(9, Some(5))]), fence, Box::new(move |result| answer.send(result).unwrap()));
    answered.await.unwrap().unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(9, Some(5))]);
    assert_eq!(store.due(Millis::MAX, &ShardSet::all(), 10).await.unwrap(), vec![]);
}

pub(super) async fn orgs_do_not_see_each_other(harness: &impl Harness) {
    let names = ["a", "a:b", "a/b", "a.b", "ab", "A", "a1"];
    let store = harness.start().await;
    for (seq, name) in (1..).zip(names) {
        commit(&*store, write(name, vec![head(seq, None)])).await.unwrap();
    }
    for (seq, name) in (1..).zip(names) {
        assert_eq!(stored(&*store, name).await, vec![head(seq, None)], "{name}");
    }
    commit(&*store, OrgWrite { wipe: true, ..write("a", vec![]) }).await.unwrap();
    for (seq, name) in (1..).zip(names).skip(1) {
        assert_eq!(stored(&*store, name).await, vec![head(seq, None)], "{name} after another's wipe");
    }
}

pub(super) async fn due_timers_come_earliest_first_and_bounded(harness: &impl Harness) {
    let store = harness.start().await;
    for (name, at) in [("zz", 100), ("b", 300), ("a", 200), ("later", 301), ("m", 300)] {
        commit(&*store, write(name, vec![head(1, Some(at)), timer(at)])).await.unwrap();
    }
    let expected: Vec<(Millis, OrgId)> = vec![(100, org("zz")), (200, org("a")), (300, org("b")), (300, org("m"))];
    assert_eq!(store.due(300, &ShardSet::all(), 10).await.unwrap(), expected);
    assert_eq!(store.due(300, &ShardSet::all(), 2).await.unwrap(), expected[..2]);
    assert_eq!(store.due(99, &ShardSet::all(), 10).await.unwrap(), vec![]);
    let moved =
        OrgWrite { dels: vec![RowKey::Timer { wake_at: 100 }], ..write("zz", vec![head(2, Some(900)), timer(900)]) };
    commit(&*store, moved).await.unwrap();
    assert_eq!(store.due(300, &ShardSet::all(), 10).await.unwrap(), expected[1..]);
}

pub(super) async fn a_list_goes_on_behind_its_last_org(harness: &impl Harness) {
    let store = harness.start().await;
    for seq in 0..25 {
        commit(&*store, write(&format!("org{seq:02}"), vec![head(seq, None)])).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    for expected in [10, 10, 5, 0] {
        let page = store.list(&ShardSet::all(), after.as_ref(), 10).await.unwrap();
        assert_eq!(page.len(), expected);
        after = page.last().map(|(org, _)| org.clone()).or(after);
        seen.extend(page.into_iter().map(|(org, head)| (org.to_string(), head.seq)));
    }
    let all: Vec<_> = (0..25).map(|seq| (format!("org{seq:02}"), seq)).collect();
    assert_eq!(seen, all);
}

/// All pages of a question, each of `max`.
async fn having(store: &impl OrgStore, kind: RowKind, shards: &ShardSet, max: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after: Option<OrgId> = None;
    loop {
        let page = store.having(kind, shards, after.as_ref(), max).await.unwrap();
        assert!(page.len() <= max);
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page.iter().map(ToString::to_string));
    }
    seen.sort_unstable();
    seen
}

pub(super) async fn orgs_that_have_a_kind_of_row_are_found_each_once(harness: &impl Harness) {
    let store = harness.start().await;
    let names = ["a", "a:b", "b", "z"];
    for name in names {
        commit(&*store, write(name, rows())).await.unwrap();
    }
    commit(&*store, write("plain", vec![head(1, None)])).await.unwrap();
    for kind in RowKind::ALL.iter().filter(|kind| **kind != RowKind::Head) {
        for max in [1, 3, 10] {
            assert_eq!(having(&*store, *kind, &ShardSet::all(), max).await, names, "{kind:?} by {max}");
        }
    }
    assert_eq!(having(&*store, RowKind::Head, &ShardSet::all(), 2).await, ["a", "a:b", "b", "plain", "z"]);
    let pools = rows().iter().map(Row::key).filter(|key| key.kind() == RowKind::Pool).collect();
    commit(&*store, OrgWrite { dels: pools, ..write("a", vec![]) }).await.unwrap();
    assert_eq!(having(&*store, RowKind::Pool, &ShardSet::all(), 10).await, ["a:b", "b", "z"]);
}

pub(super) async fn rows_of_some_kinds_are_read_of_one_org(harness: &impl Harness) {
    const KINDS: &[RowKind] = &[RowKind::Reservation, RowKind::Session];
    let store = harness.start().await;
    for name in ["a", "a:b", "b"] {
        commit(&*store, write(name, rows())).await.unwrap();
    }
    let mut wanted: Vec<_> = rows().into_iter().filter(|row| KINDS.contains(&row.kind())).collect();
    let mut found = store.some(&org("a"), KINDS).await.unwrap().rows;
    wanted.sort_by_key(Row::key);
    found.sort_by_key(Row::key);
    assert_eq!(found, wanted);
    assert_eq!(store.some(&org("c"), KINDS).await.unwrap().rows, []);
}

pub(super) async fn questions_about_many_orgs_are_limited_to_shards(harness: &impl Harness) {
    let store = harness.start().await;
    let names: Vec<String> = (0..40).map(|number| format!("org{number:02}")).collect();
    for name in &names {
        commit(&*store, write(name, vec![head(1, Some(5)), timer(5)])).await.unwrap();
    }
    let wanted = ["org03", "org17", "org39"];
    let shards: ShardSet = wanted.iter().map(|name| Shard::of(&org(name))).collect();
    assert!(names.iter().filter(|name| shards.holds(&org(name))).eq(wanted), "their shards differ");
    for max in [1, 2, 10] {
        let listed = store.list(&shards, None, max).await.unwrap();
        assert!(listed.iter().map(|(org, _)| org.as_str()).eq(wanted.into_iter().take(max)));
        let due = store.due(5, &shards, max).await.unwrap();
        assert!(due.iter().map(|(_, org)| org.as_str()).eq(wanted.into_iter().take(max)));
        for kind in [RowKind::Head, RowKind::Timer] {
            assert_eq!(having(&*store, kind, &shards, max).await, wanted);
        }
    }
    let behind = store.list(&shards, Some(&org("org03")), 10).await.unwrap();
    assert!(behind.iter().map(|(org, _)| org.as_str()).eq(["org17", "org39"]));
}

fn recorded(id: &str, at: Millis) -> Row {
    let outcome = Outcome::Recorded(Recorded);
    let id = RequestId::parse("request_id", id).unwrap();
    Row::RequestId(RequestIdRow { rpc: Rpc::Record, id, at, fingerprint: 7, outcome })
}

pub(super) async fn the_youngest_row_of_a_name_is_found(harness: &impl Harness) {
    let store = harness.start().await;
    let other = SettledRow { id: DecisionId(5), at: 9, how: Settlement::Released, charge: None };
    let settled = |at, how| Row::Settled(SettledRow { id: DecisionId(3), at, how, charge: None });
    let ended = settled(8, Settlement::Committed);
    let puts = vec![
        head(1, None),
        recorded("a", 1),
        recorded("a", 256),
        recorded("ab", 300),
        recorded("b", u64::MAX),
        settled(7, Settlement::Expired),
        ended.clone(),
        Row::Settled(other),
    ];
    commit(&*store, write("acme", puts)).await.unwrap();
    commit(&*store, write("acme:b", vec![head(1, None), recorded("c", 5), recorded("a", 999)])).await.unwrap();
    let named = |id: &str| KeptName::Request(Rpc::Record, RequestId::parse("request_id", id).unwrap());
    let of_another = KeptName::Request(Rpc::Commit, RequestId::parse("request_id", "a").unwrap());
    let names = vec![named("c"), named("a"), of_another, named("b"), KeptName::Reservation(DecisionId(3))];
    let found = store.latest(&org("acme"), names).await.unwrap();
    assert_eq!(found, [recorded("a", 256), recorded("b", u64::MAX), ended]);
    assert_eq!(store.latest(&org("nobody"), vec![named("a")]).await.unwrap(), []);
    let dels = vec![recorded("a", 256).key()];
    commit(&*store, OrgWrite { dels, ..write("acme", vec![]) }).await.unwrap();
    assert_eq!(store.latest(&org("acme"), vec![named("a")]).await.unwrap(), [recorded("a", 1)]);
}

pub(super) async fn the_largest_page_of_ids_is_one_value(harness: &impl Harness) {
    let store = harness.start().await;
    for (len, reservation) in [(1, None), (26, None), (128, None), (1, Some(DecisionId(u128::MAX)))] {
        let id = RequestId::parse("request_id", &"i".repeat(len)).unwrap();
        let id = KeptId { rpc: Rpc::ClearAccount, id, at: 0, reservation };
        // It is long from each to the next.
        let at = |number: usize| if number.is_multiple_of(2) { 0 } else { u64::MAX / 2 };
        let ids = (0..PAGE_BYTES / id.page_bytes()).map(|number| KeptId { at: at(number), ..id.clone() });
        let page = Row::IdPage(IdPageRow { number: 0, bytes: u64::MAX, ids: ids.collect() });
        commit(&*store, write("acme", vec![head(1, None), page.clone()])).await.unwrap();
        assert_eq!(stored(&*store, "acme").await, [head(1, None), page], "{len}");
    }
}

pub(super) async fn rows_beside_an_org_come_in_pages(harness: &impl Harness) {
    let store = harness.start().await;
    let page = |number| Row::IdPage(IdPageRow { number, bytes: number, ids: vec![] });
    let puts = [vec![head(1, None), recorded("a", 1)], (250..260).map(page).collect()].concat();
    commit(&*store, write("acme", puts)).await.unwrap();
    commit(&*store, write("acme2", vec![head(1, None), page(1)])).await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let rows = store.beside(&org("acme"), RowKind::IdPage, after.clone(), 4).await.unwrap();
        assert!(rows.len() <= 4);
        let Some(last) = rows.last() else { break };
        after = Some(last.key());
        seen.extend(rows);
    }
    assert_eq!(seen, (250..260).map(page).collect::<Vec<_>>());
}

pub(super) async fn a_large_journal_row_is_whole_again_and_goes_whole(harness: &impl Harness) {
    let store = harness.start().await;
    let journal = |seq, count: u64| {
        let outcome = |id| {
            Outcome::Admitted(Admitted { decision: DecisionId(id), hold: None, fail_open: Vec::<FailOpen>::new() })
        };
        let entries = (0..count).map(|n| entry(&format!("{n}-{}", "x".repeat(100)), T0, false, outcome(n.into())));
        JournalRow { seq, at: T0, entries: entries.collect() }
    };
    let rows = |of_memory: Vec<Row>| [vec![head_with_journal(1)], of_memory].concat();
    let (large, long) = (Row::Journal(journal(1, 2000)), Row::LongJournal(journal(1, 500)));
    commit(&*store, write("acme", rows(vec![large.clone(), long.clone()]))).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows(vec![large, long.clone()])));

    let small = Row::Journal(journal(1, 3));
    commit(&*store, write("acme", vec![small.clone()])).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows(vec![small, long])), "replaced by a smaller one");

    let dels = vec![RowKey::Journal { seq: 1 }, RowKey::LongJournal { seq: 1 }];
    commit(&*store, OrgWrite { dels, ..write("acme", vec![head(1, None)]) }).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(1, None)]);
    let again = Row::Journal(journal(1, 40));
    commit(&*store, write("acme", rows(vec![again.clone()]))).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, sorted(rows(vec![again])), "no part of the removed row is left");
}

pub(super) async fn a_lost_journal_row_or_head_fails_the_load(harness: &impl Harness) {
    let store = harness.start().await;
    let journal = |seq| Row::Journal(JournalRow { seq, at: T0, entries: vec![] });
    let puts = vec![head_with_journal(4), journal(1), journal(2), journal(3), journal(4)];
    for (lost, what) in [
        (RowKey::Journal { seq: 1 }, "journal rows 1 to 1 are missing"),
        (RowKey::Journal { seq: 3 }, "journal rows 3 to 3 are missing"),
        (RowKey::Journal { seq: 4 }, "journal rows 4 to 4 are missing"),
        (RowKey::Head, "4 rows are stored but no head"),
    ] {
        commit(&*store, write("acme", puts.clone())).await.unwrap();
        assert!(store.load(&org("acme")).await.is_ok());
        commit(&*store, OrgWrite { dels: vec![lost], ..write("acme", vec![]) }).await.unwrap();
        let fault = store.load(&org("acme")).await.unwrap_err();
        assert!(fault.cause.ends_with(what), "R-OPS-6: {fault}");
    }
    let older = OrgWrite { wipe: true, ..write("acme", vec![head_with_journal(1), journal(1), journal(2)]) };
    commit(&*store, older).await.unwrap();
    assert!(store.load(&org("acme")).await.is_err(), "an older head came back");
}

pub(super) async fn commits_of_one_org_become_durable_in_their_order(harness: &impl Harness) {
    let store = harness.start().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    for seq in 1..=500 {
        let seen = Arc::clone(&seen);
        store.commit(
            write("acme", vec![head(seq, None)]),
            store.epoch(&org("acme")).unwrap(),
            Box::new(move |result| {
                result.unwrap();
                seen.lock().unwrap().push(seq);
            }),
        );
    }
    commit(&*store, write("acme", vec![head(501, None)])).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (1..=500).collect::<Vec<u64>>());
    assert_eq!(stored(&*store, "acme").await, vec![head(501, None)]);
}

pub(super) async fn concurrent_commits_are_all_kept(harness: &impl Harness) {
    const ORGS: u64 = 16;
    const COMMITS: u64 = 50;
    let store = harness.start().await;
    let tasks = (0..ORGS).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for seq in 1..=COMMITS {
                let journal = Row::Journal(JournalRow { seq, at: T0, entries: vec![] });
                commit(&*store, write(&format!("org{number}"), vec![head_with_journal(seq), journal])).await.unwrap();
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
    let store = harness.start().await;
    commit(&*store, write("acme", rows())).await.unwrap();
    let store = restart(harness, store).await;
    assert_eq!(stored(&*store, "acme").await, sorted(rows()));
    assert_eq!(store.due(Millis::MAX, &ShardSet::all(), 10).await.unwrap().len(), 1);
    commit(&*store, write("acme", vec![head(8, None)])).await.unwrap();
    let store = restart(harness, store).await;
    assert!(stored(&*store, "acme").await.contains(&head(8, None)));
}

pub(super) async fn a_commit_after_the_close_is_refused(harness: &impl Harness) {
    let store = harness.start().await;
    store.commit(write("acme", vec![head(1, None)]), store.epoch(&org("acme")).unwrap(), Box::new(|_| {}));
    store.close().await.unwrap();
    let refused = commit(&*store, write("acme", vec![head(2, None)])).await;
    assert!(matches!(refused, Err(CommitError::Lost(_))), "{refused:?}");
    assert!(store.state().borrow().is_up(), "closing is not a fault");
    let store = harness.restart(store).await;
    assert_eq!(stored(&*store, "acme").await, vec![head(1, None)], "what was handed over before is kept");
}

async fn dumped(store: &impl OrgStore, header: &Header) -> String {
    let mut text = Vec::new();
    let lines = dump::write(store, header, &mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(lines, text.lines().count() as u64 - 2);
    text
}

pub(super) async fn a_dump_restored_into_another_store_gives_the_same_dump<H: Harness>(harness: &H) {
    let store = harness.start().await;
    let entries = |count: usize| crate::store::samples::entries().into_iter().cycle().take(count).collect();
    let journal = |seq, count| JournalRow { seq, at: T0, entries: entries(count) };
    let large = vec![head_with_journal(1), Row::Journal(journal(1, 400)), Row::LongJournal(journal(1, 300))];
    commit(&*store, write("large", large)).await.unwrap();
    for name in ["a", "a:b", "b", "acme"] {
        commit(&*store, write(name, rows())).await.unwrap();
    }
    let header = Header { group: 42, mark: None };
    let text = dumped(&*store, &header).await;
    let other = H::default();
    let copy = other.start().await;
    let mut from = text.as_bytes();
    let reader = Reader::open(&mut from, false).unwrap();
    assert_eq!(reader.header(), &header);
    let restored = reader.restore(&*copy).await.unwrap();
    assert_eq!(restored.lines, text.lines().count() as u64 - 2);
    restored.verify(&*copy).await.unwrap();
    assert_eq!(dumped(&*copy, &header).await, text);
    for name in ["a", "a:b", "b", "acme", "large"] {
        assert_eq!(stored(&*copy, name).await, stored(&*store, name).await, "{name}");
    }
}

async fn restart<H: Harness>(harness: &H, store: Arc<H::Store>) -> Arc<H::Store> {
    store.close().await.unwrap();
    harness.restart(store).await
}
