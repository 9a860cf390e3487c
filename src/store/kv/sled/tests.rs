use std::{
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    domain::rows::{JournalRow, Row},
    store::{
        conformance::{Harness, commit, conformance_suite, head, head_with_journal, stored, write},
        kinds::{ItemKey, Memory},
        kv::{
            changes::Changes,
            keys::Key,
            prepare::{Change, Prepared},
        },
        samples::{org, rows},
    },
};

fn quick() -> SledOptions {
    SledOptions::default()
}

pub(in crate::store::kv) fn start_at(dir: &Path) -> Arc<SledStore> {
    let opened = open(dir, &quick()).unwrap();
    let clock = Arc::new(SystemClock::resume(opened.mark()).unwrap());
    Arc::new(opened.start(clock, Arc::new(|_| {})).unwrap())
}

struct OnDisk(TempDir);

impl Default for OnDisk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Harness for OnDisk {
    type Store = SledStore;

    async fn start(&self) -> Arc<SledStore> {
        start_at(self.0.path())
    }

    async fn restart(&self, closed: Arc<SledStore>) -> Arc<SledStore> {
        drop(closed);
        start_at(self.0.path())
    }
}

conformance_suite!(OnDisk);

/// A directory with `groups` commits of one org, closed.
async fn filled(groups: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    for seq in 1..=groups {
        commit(&*store, write("acme", vec![head(seq, None)])).await.unwrap();
    }
    store.close().await.unwrap();
    dir
}

/// Whether a file below the directory has the text.
pub(in crate::store::kv) fn holds(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, text);
        }
        fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

pub(in crate::store::kv) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

pub(in crate::store::kv) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_drop_without_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", rows())).await.unwrap();
    drop(store);
    assert_eq!(stored(&*start_at(dir.path()), "acme").await.len(), rows().len());
}

/// What is on disk at the moment of an acknowledgement is what a `kill -9` right then leaves.
#[tokio::test]
async fn everything_acknowledged_is_in_the_files_already() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    for seq in 1..=5 {
        commit(&*store, write("acme", vec![head(seq, None)])).await.unwrap();
        let image = tempfile::tempdir().unwrap();
        copy(dir.path(), image.path());
        assert_eq!(stored(&*start_at(image.path()), "acme").await, vec![head(seq, None)]);
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_nothing_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", vec![head(1, None)])).await.unwrap();
    let eager = SledOptions { lock_wait: Duration::ZERO, ..quick() };
    assert!(matches!(open(dir.path(), &eager), Err(OpenError::Locked { .. })));
    commit(&*store, write("acme", vec![head(2, None)])).await.unwrap();
}

#[tokio::test]
async fn an_unfinished_snapshot_is_removed_before_the_engine_sees_it() {
    let dir = filled(3).await;
    let unfinished = dir.path().join("sled/snap.00000000000003AB.generating");
    fs::write(&unfinished, b"").unwrap();
    assert_eq!(stored(&*start_at(dir.path()), "acme").await, vec![head(3, None)]);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_damaged_engine_is_moved_aside_and_nothing_starts_empty_by_itself() {
    let dir = filled(200).await;
    drop(open(dir.path(), &quick()).unwrap());
    flip_a_bit_of_every_snapshot(&dir.path().join("sled"));
    let error = open(dir.path(), &quick()).unwrap_err();
    let OpenError::Corrupted { moved_to, .. } = &error else { panic!("{error}") };
    assert!(moved_to.join("db").exists() && moved_to.join("committed").exists());
    assert!(!dir.path().join("sled").exists());

    let error = open(dir.path(), &quick()).unwrap_err();
    let OpenError::Quarantined { note } = &error else { panic!("{error}") };
    assert!(note.contains("tollgate import") && note.contains(&*moved_to.to_string_lossy()), "{note}");

    fs::remove_file(dir.path().join("QUARANTINED")).unwrap();
    assert_eq!(open(dir.path(), &quick()).unwrap().group(), 0, "an operator decided to start empty");
}

fn flip_a_bit_of_every_snapshot(engine: &Path) {
    let snapshots = fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path());
    let snapshots: Vec<_> = snapshots.filter(|path| path.to_string_lossy().contains("/snap.")).collect();
    assert!(!snapshots.is_empty());
    for path in snapshots {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// Wherever a page of the engine's file is wiped out: the start is refused, or the load is, or
/// nothing is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_zeroed_page_never_loses_rows_in_silence() {
    const COMMITS: u64 = 600;
    const SPOTS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    for seq in 1..=COMMITS {
        let entries = (0..8).flat_map(|_| crate::store::samples::entries()).collect();
        let journal = JournalRow { seq, at: crate::store::samples::T0, entries };
        store.commit(write("acme", vec![head_with_journal(seq), Row::Journal(journal)]), Epoch::ONLY, Box::new(|_| {}));
    }
    store.close().await.unwrap();
    drop(store);
    let whole = fs::read(dir.path().join("sled/db")).unwrap();
    let written = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut noticed = 0;
    for spot in 0..SPOTS {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let mut bytes = whole.clone();
        bytes[written / SPOTS * spot..][..4096].fill(0);
        fs::write(copied.path().join("sled/db"), bytes).unwrap();
        let found = match open(copied.path(), &quick()) {
            Err(OpenError::Corrupted { .. } | OpenError::TailLost { .. } | OpenError::OutOfDate { .. }) => None,
            Err(error) => panic!("spot {spot}: {error}"),
            Ok(opened) => {
                let clock = Arc::new(SystemClock::resume(opened.mark()).unwrap());
                let store = opened.start(clock, Arc::new(|_| {})).unwrap();
                store.load(&org("acme")).await.ok().map(|found| found.rows.len() as u64)
            }
        };
        noticed += usize::from(found.is_none());
        assert!(found.is_none_or(|rows| rows == COMMITS + 1), "spot {spot}: {found:?} rows are left");
    }
    assert!(noticed > 0, "some of the damage hit what is alive");
}

#[tokio::test]
async fn a_lost_tail_is_refused_with_both_numbers_and_nothing_is_moved() {
    let dir = filled(3).await;
    let older = tempfile::tempdir().unwrap();
    copy(&dir.path().join("sled"), older.path());
    let store = start_at(dir.path());
    for seq in 4..=9 {
        commit(&*store, write("acme", vec![head(seq, None)])).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    drop(open(dir.path(), &quick()).unwrap());
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    copy(older.path(), &dir.path().join("sled"));

    let error = open(dir.path(), &quick()).unwrap_err();
    assert!(matches!(error, OpenError::TailLost { sidecar: 9, stored: 3 }), "{error}");
    assert!(dir.path().join("sled/db").exists() && !dir.path().join("QUARANTINED").exists());
}

/// The lost tail would be refused as well, but only after an empty engine had been made in its place,
/// which an operator could take for the one to restore into.
#[tokio::test]
async fn an_engine_that_is_gone_or_empty_is_refused_and_none_is_made() {
    let dir = filled(2).await;
    let file = dir.path().join("sled/db");
    fs::write(&file, b"").unwrap();
    for is_there in [true, false] {
        let error = open(dir.path(), &quick()).unwrap_err();
        assert!(matches!(error, OpenError::Vanished { sidecar: Some(2), .. }), "R-OPS-6: {error}");
        assert_eq!(fs::metadata(&file).ok().map(|file| file.len()), is_there.then_some(0), "nothing was made");
        let _ = fs::remove_dir_all(dir.path().join("sled"));
    }
    fs::write(dir.path().join("committed"), b"torn").unwrap();
    let error = open(dir.path(), &quick()).unwrap_err();
    assert!(matches!(error, OpenError::Vanished { sidecar: None, .. }), "R-OPS-6: {error}");
    assert!(!file.exists());
}

/// The meta row of version 1, as its golden file had it.
#[tokio::test]
async fn a_directory_of_an_older_version_is_refused_and_nothing_is_moved() {
    const META_V1: &str = "014ebb57412a01fd091c7ae79e01000009336231632d626f6f74fb3930fd67452301efbeedfe";
    let dir = filled(1).await;
    let bytes = |hex: &str| (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap()).collect();
    let mut changes = Changes::default();
    changes.put(Key::Meta.encode(), bytes(META_V1));
    open(dir.path(), &quick()).unwrap().engine.apply(changes).unwrap();
    let error = open(dir.path(), &quick()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownVersion { version: 1 }), "{error}");
    assert!(
        error.to_string().contains("an older tollgate") && error.to_string().contains("tollgate import"),
        "{error}"
    );
    assert!(dir.path().join("sled/db").exists() && !dir.path().join("QUARANTINED").exists());
}

#[tokio::test]
async fn a_tail_of_which_nothing_is_known_is_refused_and_only_a_missing_number_can_be_accepted() {
    let dir = filled(2).await;
    let accepting = SledOptions { accept_lost_tail: true, ..quick() };
    fs::write(dir.path().join("committed"), b"torn").unwrap();
    for options in [quick(), accepting.clone()] {
        let error = open(dir.path(), &options).unwrap_err();
        assert!(matches!(error, OpenError::TailUnknown { stored: 2, damaged: true }), "R-OPS-6: {error}");
        assert!(error.to_string().contains("remove the file") && error.to_string().contains("--accept-lost-tail"));
    }
    assert!(dir.path().join("sled/db").exists() && !dir.path().join("QUARANTINED").exists());

    fs::remove_file(dir.path().join("committed")).unwrap();
    let error = open(dir.path(), &quick()).unwrap_err();
    assert!(matches!(error, OpenError::TailUnknown { stored: 2, damaged: false }), "R-OPS-6: {error}");
    let opened = open(dir.path(), &accepting).unwrap();
    assert_eq!(opened.group(), 2);
    drop(opened.start(Arc::new(SystemClock::resume(None).unwrap()), Arc::new(|_| {})).unwrap());
    assert_eq!(open(dir.path(), &quick()).unwrap().group(), 2, "it is accepted once");
}

#[tokio::test]
async fn groups_and_the_clock_mark_go_on_after_a_restart() {
    let dir = filled(4).await;
    let opened = open(dir.path(), &quick()).unwrap();
    assert_eq!(opened.group(), 4);
    assert!(opened.mark().is_some_and(|mark| mark.service > 0));
}

#[tokio::test]
async fn the_data_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deep/data");
    drop(open(&dir, &quick()).unwrap());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_panicking_callback_does_not_stop_the_committer() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    store.commit(write("acme", vec![head(1, None)]), Epoch::ONLY, Box::new(|_| panic!("a caller's mistake")));
    commit(&*store, write("acme", vec![head(2, None)])).await.unwrap();
    assert_eq!(stored(&*store, "acme").await, vec![head(2, None)]);
}

#[tokio::test]
async fn what_can_not_be_encoded_is_a_fault_and_nothing_is_acknowledged_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    let impossible = Row::Head(crate::domain::rows::Head {
        rate: Some(crate::domain::rate::RateRecord::default()),
        ..crate::domain::rows::Head::default()
    });
    let lost = commit(&*store, write("acme", vec![impossible])).await.unwrap_err();
    assert_eq!(commit(&*store, write("b", vec![head(1, None)])).await, Err(lost.clone()));
    let fault = lost.fault().unwrap().clone();
    assert_eq!(lost, CommitError::Lost(fault.clone()));
    assert_eq!(*store.state().borrow(), StoreState::Lost(fault.clone()));
    assert_eq!(store.close().await, Err(fault));
}

#[tokio::test]
async fn the_first_engine_error_fails_its_group_and_all_after_it_with_the_same_fault() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path(), &quick()).unwrap();
    let clock = Arc::new(SystemClock::resume(None).unwrap());
    let broken = layout::Sidecar::broken(&Layout::new(dir.path()));
    let store = opened.start_with(broken, clock, Arc::new(|_| panic!("no group became durable"))).unwrap();
    let mut state = store.state();
    let in_doubt = commit(&store, write("acme", vec![head(1, None)])).await.unwrap_err();
    let fault = in_doubt.fault().unwrap().clone();
    assert_eq!(in_doubt, CommitError::InDoubt(fault.clone()));
    assert!(fault.cause.contains("\"committed\""), "{fault}");
    assert_eq!(*state.borrow_and_update(), StoreState::Lost(fault.clone()));
    assert_eq!(commit(&store, write("b", vec![head(1, None)])).await, Err(CommitError::Lost(fault.clone())));
    assert_eq!(store.load(&org("b")).await, Err(fault.clone()));
    assert_eq!(store.due(0, &ShardSet::all(), 1).await, Err(fault.clone()));
    assert_eq!((store.groups(), store.close().await), (0, Err(fault)));
    assert!(!state.has_changed().unwrap(), "the first fault stays");
}

#[tokio::test]
async fn a_lost_part_of_a_journal_row_fails_the_load() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    let entries = (0..40).flat_map(|_| crate::store::samples::entries()).collect();
    let journal = JournalRow { seq: 1, at: crate::store::samples::T0, entries };
    commit(&*store, write("acme", vec![head_with_journal(1), Row::Journal(journal)])).await.unwrap();
    let part = Key::Of { org: org("acme"), item: ItemKey::Part { of: Memory::Short, seq: 1, part: 2 } };
    let mut changes = Changes::default();
    let lose = Prepared { changes: vec![Change::Delete(part.encode())], ..Prepared::default() };
    changes.merge(&**store.shared.engine.load(), lose).unwrap();
    store.shared.engine.load().apply(changes).unwrap();
    let fault = store.load(&org("acme")).await.unwrap_err();
    assert!(fault.cause.contains("parts are expected"), "R-OPS-6: {fault}");
}

#[tokio::test]
async fn groups_are_merged_and_observed() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path(), &quick()).unwrap();
    let clock = Arc::new(SystemClock::resume(opened.mark()).unwrap());
    let groups = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&groups);
    let observer: GroupObserver = Arc::new(move |stats| observed.lock().unwrap().push(stats));
    let store = opened.start(clock, observer).unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    for seq in 1..=300 {
        let answered = Arc::clone(&answered);
        let done = move |result: Result<(), CommitError>| {
            result.unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
        };
        store.commit(write("acme", vec![head(seq, None)]), Epoch::ONLY, Box::new(done));
    }
    store.close().await.unwrap();
    assert_eq!(answered.load(Ordering::Relaxed), 300);
    let groups = groups.lock().unwrap();
    assert_eq!(groups.iter().map(|group| group.writes).sum::<usize>(), 300);
    assert!(groups.len() < 300, "what waits during a sync shares the next: {}", groups.len());
    assert!(groups.iter().all(|group| group.bytes > 0 && group.rows > 0));
    assert_eq!(store.groups(), groups.len() as u64);
}

#[tokio::test]
async fn a_corrupt_row_fails_its_org_by_name_and_latches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", vec![head(1, None)])).await.unwrap();
    commit(&*store, write("other", vec![head(1, None)])).await.unwrap();
    let key = Key::row(&org("acme"), &crate::domain::rows::RowKey::Head).encode();
    let mut changes = Changes::default();
    changes.put(key, vec![1, 0, 0, 0, 0, 9]);
    store.shared.engine.load().apply(changes).unwrap();
    let fault = store.load(&org("acme")).await.unwrap_err();
    assert!(fault.cause.contains("acme: Head"), "R-OPS-6: {fault}");
    assert_eq!(stored(&*store, "other").await, vec![head(1, None)]);
    assert!(store.state().borrow().is_up());
}
pub(in crate::store::kv) fn sidecar_says(dir: &Path, group: u64) {
    drop(layout::Sidecar::create(&Layout::new(dir), group).unwrap());
}
