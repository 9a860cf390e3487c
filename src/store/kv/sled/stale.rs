//! Damage that turns rows back: what the engine shows was written once, and is not the newest.

use std::path::Path;

use tempfile::TempDir;

use super::{tests::start_at, *};
use crate::{
    domain::{
        ids::{Incarnation, Meter, Source},
        rows::{BaselineRow, Row, RowKey},
        scopes::Scopes,
    },
    store::{
        conformance::{commit, head, stored, timer, write},
        kv::{
            changes::Changes,
            keys::{HEAD, Key},
            keyspace::Keyspace,
            offline::{FsckOptions, ImportOptions, export, fsck, import},
            prepare::Change,
        },
        samples::org,
    },
};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn baseline(total: u64) -> Row {
    Row::Baseline(BaselineRow {
        scopes: Scopes::org(),
        source: Source::parse("source", "node-1").unwrap(),
        meter: Meter::spend(),
        incarnation: Incarnation::parse("incarnation", "boot").unwrap(),
        total,
    })
}

async fn commit_and_close(dir: &Path, writes: Vec<OrgWrite>) {
    let store = start_at(dir);
    for write in writes {
        commit(&*store, write).await.unwrap();
    }
    store.close().await.unwrap();
}

/// Two commits of two orgs, and all rows as they were between them.
async fn written_twice() -> (TempDir, Rows) {
    let dir = tempfile::tempdir().unwrap();
    let both =
        |seq: u64, total| ["acme", "other"].map(|name| write(name, vec![head(seq, None), baseline(total)])).to_vec();
    commit_and_close(dir.path(), both(1, 100)).await;
    let older = rows_of(dir.path());
    commit_and_close(dir.path(), both(2, 200)).await;
    (dir, older)
}

fn rows_of(dir: &Path) -> Rows {
    let opened = open(dir, &SledOptions::default()).unwrap();
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    };
    opened.engine.scan(&[], &[u8::MAX], visit).unwrap();
    rows
}

/// Turns those rows back that `which` picks, behind the store's back.
fn turn_back(dir: &Path, older: &Rows, which: impl Fn(&Key) -> bool) {
    let opened = open(dir, &SledOptions::default()).unwrap();
    let mut changes = Changes::default();
    for (key, value) in older.iter().filter(|(key, _)| which(&Key::decode(key).unwrap())) {
        changes.put(key.clone(), value.clone());
    }
    assert!(changes.len() > 0);
    opened.engine.apply(changes).unwrap();
}

/// A data directory with the orgs `acme`, one row of which is an older one, and `other`.
pub(crate) async fn with_a_stale_org() -> TempDir {
    let (dir, older) = written_twice().await;
    let stale = Key::row(&org("acme"), &baseline(0).key());
    turn_back(dir.path(), &older, |key| *key == stale);
    dir
}

#[tokio::test]
async fn an_older_row_fails_the_load_of_its_org_and_no_other() {
    let (dir, acme) = (with_a_stale_org().await, org("acme"));
    let store = start_at(dir.path());
    let fault = store.load(&acme).await.unwrap_err();
    assert!(fault.cause.contains("\"acme: Head\"") && fault.cause.contains("out of date"), "R-OPS-6: {fault}");
    assert_eq!(stored(&*store, "other").await.len(), 2);
    assert!(store.state().borrow().is_up(), "one org's rows are not the store's end");
    store.close().await.unwrap();
    drop(store);

    let report = fsck(dir.path(), FsckOptions::default()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].org, Some(acme));
}

/// Its newer rows give it away.
#[tokio::test]
async fn an_older_head_fails_the_load_of_its_org() {
    let (dir, older) = written_twice().await;
    let stale = Key::row(&org("acme"), &RowKey::Head);
    turn_back(dir.path(), &older, |key| *key == stale);
    let opened = open_for_repair(dir.path(), &SledOptions::default()).unwrap();
    assert!(matches!(read::load(&opened.engine, &org("acme")), Err(ReadError::Row(_))), "R-OPS-6");
    assert!(read::load(&opened.engine, &org("other")).is_ok());
    assert!(opened.out_of_date().is_some(), "nor does a node start: R-OPS-6");
}

#[tokio::test]
async fn a_row_that_is_gone_fails_the_load_of_its_org() {
    let (dir, _) = written_twice().await;
    let opened = open(dir.path(), &SledOptions::default()).unwrap();
    let mut changes = Changes::default();
    let lost = Key::row(&org("acme"), &baseline(0).key()).encode();
    changes.merge(&opened.engine, Prepared { changes: vec![Change::Delete(lost)], ..Prepared::default() }).unwrap();
    opened.engine.apply(changes).unwrap();
    drop(opened);
    let fault = start_at(dir.path()).load(&org("acme")).await.unwrap_err();
    assert!(fault.cause.contains("0 are stored, 1 were written"), "R-OPS-6: {fault}");
}

#[tokio::test]
async fn an_older_org_that_fits_by_itself_stops_the_open_and_can_be_taken_on_knowingly() {
    let (dir, older) = written_twice().await;
    turn_back(dir.path(), &older, |key| key.org() == Some(&org("acme")));
    let error = open(dir.path(), &SledOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::OutOfDate { .. }), "R-OPS-6: {error}");
    assert!(error.to_string().contains("tollgate import"), "{error}");
    assert!(dir.path().join("sled/db").exists() && !dir.path().join("QUARANTINED").exists());
    assert!(open(dir.path(), &SledOptions::default()).is_err(), "nor at the next start");

    let report = fsck(dir.path(), FsckOptions { set_clock: true, ..FsckOptions::default() }).unwrap();
    assert!(report.findings.len() == 1 && report.to_string().contains("out of date as a whole"), "{report}");
    assert!(open(dir.path(), &SledOptions::default()).is_err(), "setting the clock settles nothing else");

    let mut lines = Vec::new();
    let exported = export(dir.path(), &mut lines).await.unwrap();
    assert_eq!(exported.rows, 4);
    assert!(exported.report.findings[0].what.contains("out of date as a whole"), "{}", exported.report);
    let fresh = tempfile::tempdir().unwrap();
    import(fresh.path(), &mut lines.as_slice(), ImportOptions::default()).await.unwrap();
    let store = start_at(fresh.path());
    assert!(stored(&*store, "acme").await.contains(&baseline(100)));
    assert!(stored(&*store, "other").await.contains(&baseline(200)));
    drop(store);
    assert!(fsck(fresh.path(), FsckOptions::default()).unwrap().is_clean());
}

/// The timer of an org that nobody asks for is found by the sweep alone.
#[tokio::test]
async fn a_lost_timer_stops_the_open() {
    let dir = tempfile::tempdir().unwrap();
    commit_and_close(dir.path(), vec![write("acme", vec![head(1, Some(5)), timer(5)])]).await;
    let opened = open(dir.path(), &SledOptions::default()).unwrap();
    let mut changes = Changes::default();
    let lost = Key::row(&org("acme"), &RowKey::Timer { wake_at: 5 }).encode();
    changes.merge(&opened.engine, Prepared { changes: vec![Change::Delete(lost)], ..Prepared::default() }).unwrap();
    opened.engine.apply(changes).unwrap();
    drop(opened);
    assert!(matches!(open(dir.path(), &SledOptions::default()), Err(OpenError::OutOfDate { .. })), "R-OPS-6");
}

#[tokio::test]
async fn wiped_and_started_again_an_org_loads_and_the_store_opens() {
    let (dir, _) = written_twice().await;
    let wiped = OrgWrite { wipe: true, ..write("acme", vec![]) };
    commit_and_close(dir.path(), vec![wiped, write("acme", vec![head(1, None)])]).await;
    assert_eq!(stored(&*start_at(dir.path()), "acme").await, vec![head(1, None)]);
    commit_and_close(dir.path(), vec![OrgWrite { wipe: true, ..write("acme", vec![]) }]).await;
    assert_eq!(rows_of(dir.path()).iter().filter(|(key, _)| key[0] == HEAD.byte()).count(), 1);
}
