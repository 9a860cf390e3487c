use tempfile::TempDir;

use super::*;
use crate::{
    bounds::DAY_MS,
    domain::{
        ids::{Meter, Scope},
        lease::LeaseTime,
        ledger::HourSlice,
        outcome::{Entry, Outcome, Recorded},
        rows::{Head, JournalRow, LeadsToRow, NamesRow, OrgWrite, RequestIdRow, RowKind, SliceRow, UsageKeptRow},
    },
    ports::OrgStore,
    store::{
        conformance::{commit, timer, write},
        kv::sled::tests::{sidecar_says, start_at},
        samples::{T0, entry, org, rows},
    },
};

/// Rows that fit together: ids of the long journal are others than those of the short one.
fn sound() -> Vec<Row> {
    let long = JournalRow { seq: 6, at: T0, entries: vec![entry("long", T0, true, Outcome::Recorded(Recorded))] };
    let mut rows = rows();
    // What leads to an org is none itself.
    rows.retain(|row| !matches!(row, Row::LongJournal(_) | Row::LeadsTo(_)));
    rows.push(Row::LongJournal(long));
    // What a scope has used, the org has.
    let slice = HourSlice { start: T0 - DAY_MS, total: u64::MAX, minutes: vec![], late: false };
    rows.push(Row::Slice(SliceRow { scope: Scope::org(), meter: Meter::spend(), slice }));
    rows
}

async fn stored(writes: Vec<OrgWrite>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    for write in writes {
        commit(&*store, write).await.unwrap();
    }
    store.close().await.unwrap();
    dir
}

fn check(dir: &TempDir) -> Report {
    fsck(dir.path(), FsckOptions::default()).unwrap()
}

fn whats(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.what.as_str()).collect()
}

/// The findings after `damage` was committed on top of sound rows.
async fn findings_after(damage: OrgWrite) -> Vec<String> {
    let dir = stored(vec![write("acme", sound()), write("other", sound()), damage]).await;
    let report = check(&dir);
    assert!(report.findings.iter().all(|finding| finding.org == Some(org("acme"))), "{report}");
    whats(&report).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_sound_store_is_clean_and_counted() {
    let report = check(&stored(vec![write("acme", sound()), write("b", sound())]).await);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.orgs, report.group), (2, 2));
    assert_eq!(report.rows["journal"], 4);
    assert_eq!(report.rows["meta"], 1);
    assert!(report.to_string().ends_with("clean\n"), "{report}");
}

#[tokio::test]
async fn an_unfinished_renaming_is_told_as_what_it_is_and_is_no_damage() {
    let head = || Row::Head(Head { journal_from: 1, ..Head::default() });
    let leads = |to: &str| vec![head(), Row::LeadsTo(LeadsToRow { org: org(to), since: T0 })];
    let names = NamesRow { name: org("corp"), former: vec![], purged_at: None };
    let purged = NamesRow { purged_at: Some(T0), ..names.clone() };
    let report = check(
        &stored(vec![
            write("acme", vec![head(), Row::Names(names)]),
            write("corp", leads("acme")),
            write("left", leads("acme")),
            write("gone", vec![head(), Row::Names(purged)]),
        ])
        .await,
    );
    assert!(report.is_clean(), "{report}");
    let unfinished: Vec<_> = report.unfinished.iter().map(ToString::to_string).collect();
    let [purge, renaming] = &unfinished[..] else { panic!("{unfinished:?}") };
    assert!(renaming.starts_with("left: it leads to org acme, which does not know of this name"), "{renaming}");
    assert!(purge.starts_with("gone: it was purged"), "{purge}");
    assert!(report.to_string().contains("RenameOrg of acme to left completes it"), "{report}");
}

#[tokio::test]
async fn a_name_with_rows_of_its_own_is_damage() {
    let leads = LeadsToRow { org: org("other"), since: T0 };
    let damage = write("acme", vec![Row::LeadsTo(leads)]);
    let found = findings_after(damage).await;
    assert_eq!(found, ["it is a name of org other, and has rows of its own"]);
}

#[tokio::test]
async fn a_gap_in_the_journal_is_named() {
    let damage = OrgWrite { dels: vec![RowKey::Journal { seq: 6 }], ..write("acme", vec![]) };
    let found = findings_after(damage).await;
    assert!(found.len() == 1 && found[0].ends_with("journal rows 6 to 6 are missing"), "{found:?}");
}

#[tokio::test]
async fn a_lost_id_of_a_durable_call_is_named_although_its_org_loads_without_it() {
    let lost = |kind| {
        let key = rows().iter().map(Row::key).find(|key| key.kind() == kind).unwrap();
        OrgWrite { dels: vec![key], ..write("acme", vec![]) }
    };
    for (kind, what) in [
        (RowKind::RequestId, "request ids: 1 are stored, 2 were written"),
        (RowKind::Settled, "ends of reservations: 0 are stored, 1 were written"),
        (RowKind::IdPage, "names of request ids: 0 are stored, 2 were written"),
    ] {
        let found = findings_after(lost(kind)).await;
        assert!(found.iter().any(|found| found == what), "{found:?}");
    }
    let again = rows().into_iter().find_map(|row| match row {
        Row::RequestId(row) => Some(RequestIdRow { at: row.at + 1, ..row }),
        _ => None,
    });
    let found = findings_after(write("acme", vec![Row::RequestId(again.unwrap())])).await;
    assert!(found[0].ends_with("was admitted twice, 1 ms apart"), "{found:?}");
}

#[tokio::test]
async fn lost_usage_of_the_past_is_named_although_its_org_loads_without_it() {
    for (kind, what) in [
        (RowKind::UsageDay, "usage of days: 1 rows are stored, 2 were written"),
        (RowKind::UsageMonth, "usage of months: 1 rows are stored, 2 were written"),
    ] {
        let key = rows().iter().map(Row::key).find(|key| key.kind() == kind).unwrap();
        assert_eq!(findings_after(OrgWrite { dels: vec![key], ..write("acme", vec![]) }).await, [what]);
    }
    let kept = |kept: UsageKeptRow| Row::UsageKept(UsageKeptRow { days_from: kept.days_from + 1, ..kept });
    let later = rows().into_iter().find_map(|row| if let Row::UsageKept(row) = row { Some(kept(row)) } else { None });
    let found = findings_after(write("acme", vec![later.unwrap()])).await;
    assert!(found.len() == 1 && found[0].starts_with("usage of days begins with 2026-06-01"), "{found:?}");
}

#[tokio::test]
async fn timers_and_heads_must_agree() {
    let wake_at = T0 + crate::bounds::HOUR_MS;
    let lost = OrgWrite { dels: vec![RowKey::Timer { wake_at }], ..write("acme", vec![]) };
    assert!(findings_after(lost).await[0].contains("is not there"));
    let stray = findings_after(write("acme", vec![timer(5)])).await;
    assert!(stray.len() == 1 && stray[0].starts_with("a stray timer at 5"), "{stray:?}");
}

#[tokio::test]
async fn rows_without_a_head_are_named() {
    let found = findings_after(OrgWrite { dels: vec![RowKey::Head], ..write("acme", vec![]) }).await;
    assert!(found.iter().any(|what| what.contains("rows without a head")), "{found:?}");
    assert!(found.iter().any(|what| what.contains("a timer at")), "{found:?}");
}

#[tokio::test]
async fn a_slice_that_does_not_add_up_is_named() {
    let slice = HourSlice { start: T0, total: 301, minutes: vec![(0, 100), (59, 200)], late: false };
    let (scope, meter) = (Scope::org(), Meter::spend());
    let found = findings_after(write("acme", vec![Row::Slice(SliceRow { scope, meter, slice })])).await;
    assert!(found.len() == 1 && found[0].contains("is kept as 301, and is 300"), "{found:?}");
}

#[tokio::test]
async fn an_absurd_reservation_is_named() {
    let mut reservation = rows().into_iter().find_map(|row| match row {
        Row::Reservation(row) => Some(row),
        _ => None,
    });
    let row = reservation.as_mut().unwrap();
    row.expires_at = LeaseTime(wall() + 2 * crate::bounds::DAY_MS);
    let found = findings_after(write("acme", vec![Row::Reservation(row.clone())])).await;
    assert!(found.len() == 1 && found[0].contains("the latest possible"), "{found:?}");
}

fn with_entries(evicted: u64, entries: Vec<Entry>) -> Vec<OrgWrite> {
    let journal = JournalRow { seq: 1, at: T0, entries };
    let head = Head { seq: 1, journal_from: 1, last_at: T0, evicted, ..Head::default() };
    vec![write("acme", vec![Row::Head(head), Row::Journal(journal)])]
}

#[tokio::test]
async fn an_id_admitted_twice_while_it_was_remembered_is_a_duplicate() {
    let admitted = |at| entry("same", at, false, Outcome::Recorded(Recorded));
    for (age, evicted, duplicate) in
        [(1, 0, true), (599_999, 0, true), (600_000, 0, false), (59_999, 3, true), (60_000, 3, false)]
    {
        let report = check(&stored(with_entries(evicted, vec![admitted(T0), admitted(T0 + age)])).await);
        assert_eq!(!report.is_clean(), duplicate, "R-PIPE-6, {age} ms apart: {report}");
        assert!(whats(&report).iter().all(|what| what.contains("admitted twice")));
    }
}

#[tokio::test]
async fn an_unreadable_row_is_named_once_with_its_key() {
    let dir = stored(vec![write("acme", sound())]).await;
    let opened = open_as_it_is(dir.path()).unwrap();
    let key = Key::row(&org("acme"), &RowKey::Head).encode();
    let mut changes = Changes::default();
    changes.put(key.clone(), vec![1, 0, 0, 0, 0, 0]);
    opened.engine.apply(changes).unwrap();
    drop(opened);
    let report = check(&dir);
    let named = whats(&report).iter().filter(|what| what.contains("checksum")).count();
    assert_eq!(named, 1, "{report}");
    assert!(report.findings[0].what.contains(&hex(&key)));
}

#[tokio::test]
async fn a_lost_tail_is_a_finding_and_not_the_end() {
    let dir = stored(vec![write("acme", sound())]).await;
    sidecar_says(dir.path(), 99);
    let report = check(&dir);
    assert!(whats(&report)[0].contains("group 99 was committed, the newest stored is 1"), "{report}");
}

#[tokio::test]
async fn a_damaged_and_a_missing_number_of_the_last_group_are_findings() {
    let dir = stored(vec![write("acme", sound())]).await;
    let number = dir.path().join("committed");
    std::fs::write(&number, b"torn").unwrap();
    assert!(whats(&check(&dir))[0].contains("\"committed\" is damaged"));
    std::fs::remove_file(number).unwrap();
    assert!(whats(&check(&dir))[0].contains("\"committed\" is missing"));
}

#[tokio::test]
async fn the_clock_mark_is_set_on_request_only() {
    let dir = stored(vec![write("acme", sound())]).await;
    let future = wall() + 10 * crate::bounds::DAY_MS;
    let opened = open_as_it_is(dir.path()).unwrap();
    let mut changes = Changes::default();
    let mark = ClockMark { service: future, lease: LeaseTime(wall()), ..ClockMark::default() };
    put_meta(&mut changes, Meta { group: 1, mark: Some(mark), digests: opened.digests() }).unwrap();
    opened.engine.apply(changes).unwrap();
    drop(opened);

    let report = check(&dir);
    assert!(whats(&report)[0].contains("--set-clock"), "{report}");
    let report = fsck(dir.path(), FsckOptions { set_clock: true, ..FsckOptions::default() }).unwrap();
    assert_eq!(report.clock_set_from, Some(future));
    let report = check(&dir);
    assert!(report.is_clean() && report.mark.unwrap().service <= wall());
}

#[test]
fn a_directory_without_a_store_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(fsck(dir.path(), FsckOptions::default()).unwrap_err().0.contains("no sled/db"));
    assert!(!dir.path().join("sled").exists(), "and nothing was made");
}
