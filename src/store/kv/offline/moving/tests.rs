use super::*;
use crate::{
    domain::{
        lease::LeaseTime,
        rows::{JournalRow, Row},
        service_time::ClockMark,
    },
    store::{
        conformance::{commit, head_with_journal, stored, write},
        kv::{
            changes::Changes,
            keys::HEAD,
            memory::MemoryStore,
            sled::{OpenError, SledOptions, open, tests::start_at},
        },
        samples::{T0, entries, rows},
    },
};

/// The rows of these tests stand for every kind and do not all fit together.
const ACCEPTING: ImportOptions = ImportOptions { accept_unclosed: false, accept_damage: true };

async fn taken(dir: &Path, text: &str) -> Result<u64, OfflineError> {
    Ok(import(dir, &mut text.as_bytes(), ACCEPTING).await?.rows)
}

/// What a build wrote before dumps were sorted by org.
const BY_KIND: &str = include_str!("../../../../../tests/golden/dump/kind-by-kind.jsonl");

async fn exported() -> String {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", rows())).await.unwrap();
    let entries = (0..40).flat_map(|_| entries()).collect();
    let large = Row::Journal(JournalRow { seq: 1, at: T0, entries });
    commit(&*store, write("large", vec![head_with_journal(1), large])).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    export_of(dir.path()).await
}

async fn export_of(dir: &Path) -> String {
    let mut out = Vec::new();
    let exported = export(dir, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(exported.rows, text.lines().count() as u64 - 2);
    text
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.retain(|line| line.starts_with("{\"kind\":"));
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn an_import_gives_the_same_store_byte_for_byte() {
    let first = exported().await;
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("restored");
    taken(&copy, &first).await.unwrap();
    assert_eq!(export_of(&copy).await, first);
    let store = start_at(&copy);
    assert_eq!(stored(&*store, "acme").await.len(), rows().len());
    assert_eq!(stored(&*store, "large").await.len(), 2);
}

#[tokio::test]
async fn an_export_of_an_older_build_is_imported_whole() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("restored");
    let unclosed = ImportOptions { accept_unclosed: true, ..ACCEPTING };
    let imported = import(&copy, &mut BY_KIND.as_bytes(), unclosed).await.unwrap();
    assert_eq!(imported.rows, BY_KIND.lines().count() as u64 - 1);
    let text = export_of(&copy).await;
    assert_eq!(sorted(&text), sorted(BY_KIND), "the same lines, in another order");
    let store = start_at(&copy);
    for name in ["a:b", "acme", "b", "large"] {
        assert!(!stored(&*store, name).await.is_empty(), "{name} loads, so its rows add up");
    }
    drop(store);
    let again = dir.path().join("again");
    taken(&again, &text).await.unwrap();
    assert_eq!(export_of(&again).await, text);
}

#[tokio::test]
async fn what_a_store_in_memory_holds_goes_through_a_directory_and_back_unchanged() {
    let memory = MemoryStore::new();
    for name in ["acme", "a:b", "b"] {
        commit(&*memory, write(name, rows())).await.unwrap();
    }
    let mark = ClockMark { service: T0, lease: LeaseTime(T0), absent: 0, boot_id: "boot".into(), uptime: 7 };
    let header = Header { group: 3, mark: Some(mark) };
    let mut text = Vec::new();
    dump::write(&*memory, &header, &mut text).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("restored");
    let text = String::from_utf8(text).unwrap();
    taken(&copy, &text).await.unwrap();
    assert_eq!(export_of(&copy).await, text);
    assert_eq!(stored(&*start_at(&copy), "a:b").await, stored(&*memory, "a:b").await);
}

#[tokio::test]
async fn a_directory_that_holds_anything_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("committed"), b"x").unwrap();
    let error = taken(dir.path(), &exported().await).await.unwrap_err();
    assert!(error.0.contains("it holds committed"), "{error}");
    assert!(dir.path().join("committed").exists(), "and left as it was");
}

#[tokio::test]
async fn a_failed_import_leaves_an_empty_directory_as_it_was() {
    let good = exported().await;
    let cut = good.trim_end();
    let bad_row = good.replacen("\"seq\":7", "\"seq\":7,\"sqe\":7", 1);
    let unclosed = cut.rsplit_once('\n').unwrap().0.to_owned() + "\n";
    let causes = [
        (cut, "the export is cut short"),
        (&bad_row, "line 2: "),
        (&unclosed, "no closing line"),
        ("not an export\n", "line 1: "),
    ];
    for (text, named) in causes {
        let dir = tempfile::tempdir().unwrap();
        let error = taken(dir.path(), text).await.unwrap_err();
        assert!(error.0.contains(named), "{error} should say {named}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{named}");
        let made = dir.path().join("made");
        assert!(taken(&made, text).await.is_err() && !made.exists(), "{named}");
        taken(dir.path(), &good).await.unwrap();
        assert_eq!(export_of(dir.path()).await, good, "and can be imported into");
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_together_are_imported_only_knowingly() {
    let dir = tempfile::tempdir().unwrap();
    let text = exported().await;
    let error = import(dir.path(), &mut text.as_bytes(), ImportOptions::default()).await.unwrap_err();
    assert!(error.0.contains("problems were found") && error.0.contains("--accept-damage"), "R-OPS-6: {error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let imported = import(dir.path(), &mut text.as_bytes(), ACCEPTING).await.unwrap();
    assert!(!imported.report.is_clean());
}

/// As the process leaves it that is killed in the middle.
#[tokio::test]
async fn no_node_starts_on_an_import_that_was_broken_off_and_the_next_import_begins_anew() {
    let (dir, good) = (tempfile::tempdir().unwrap(), exported().await);
    let clock = Arc::new(SystemClock::resume(None).unwrap());
    let store = open_for_import(dir.path()).unwrap().start(clock, Arc::new(|_| {})).unwrap();
    commit(&store, write("half", vec![head_with_journal(1)])).await.unwrap();
    let error = taken(dir.path(), &good).await.unwrap_err();
    assert!(error.0.contains("used by another process"), "one that is under way is not removed: {error}");
    drop(store);
    let refused = open(dir.path(), &SledOptions::default()).unwrap_err();
    assert!(matches!(&refused, OpenError::Quarantined { note } if note.contains("Import again")), "{refused}");
    taken(dir.path(), &good).await.unwrap();
    assert_eq!(export_of(dir.path()).await, good);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", rows())).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let opened = open_as_it_is(dir.path()).unwrap();
    let mut changes = Changes::default();
    changes.put(vec![HEAD.byte(), 1, b'x'], vec![1, 2, 3]);
    opened.engine.apply(changes).unwrap();
    drop(opened);
    let error = export(dir.path(), &mut Vec::new()).await.unwrap_err();
    assert!(error.0.contains("\"x: Head\" is not readable"), "{error}");
}

#[tokio::test]
async fn an_org_without_a_head_and_one_with_a_gap_are_exported_as_they_are_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    let journal = |seq| Row::Journal(JournalRow { seq, at: T0, entries: vec![] });
    commit(&*store, write("gap", vec![head_with_journal(3), journal(1), journal(3)])).await.unwrap();
    commit(&*store, write("headless", vec![journal(1), journal(2)])).await.unwrap();
    commit(&*store, write("whole", vec![head_with_journal(1), journal(1)])).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let mut out = Vec::new();
    let exported = export(dir.path(), &mut out).await.unwrap();
    assert_eq!(exported.rows, 7);
    assert!(exported.report.to_string().contains("rows without a head"), "{}", exported.report);
    assert!(exported.report.to_string().contains("journal rows 2 to 2 are missing"), "{}", exported.report);

    let copy = dir.path().with_extension("restored");
    import(&copy, &mut out.as_slice(), ACCEPTING).await.unwrap();
    let store = start_at(&copy);
    assert_eq!(stored(&*store, "whole").await.len(), 2);
    for damaged in ["gap", "headless"] {
        assert!(
            store.load(&crate::store::samples::org(damaged)).await.is_err(),
            "R-OPS-6: {damaged} is not taken for whole"
        );
    }
    drop(store);
    fs::remove_dir_all(copy).unwrap();
}
