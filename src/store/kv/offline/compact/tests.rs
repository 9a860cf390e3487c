use std::{fs, path::Path};

use tempfile::TempDir;

use super::super::{FsckOptions, fsck};
use crate::{
    domain::rows::{JournalRow, OrgWrite, Row},
    ports::OrgStore,
    store::{
        conformance::{commit, head, head_with_journal, stored, write},
        kv::sled::tests::{copy, holds, names, start_at},
        samples::{T0, entries},
    },
};

const COMPACT: FsckOptions = FsckOptions { set_clock: false, compact: true };

/// Many orgs that were purged, one that is left, closed.
async fn purged() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("stays", vec![head(1, None)])).await.unwrap();
    let entries: Vec<_> = (0..40).flat_map(|_| entries()).collect();
    for number in 0..200 {
        let journal = Row::Journal(JournalRow { seq: 1, at: T0, entries: entries.clone() });
        commit(&*store, write(&format!("purged-{number}"), vec![head_with_journal(1), journal])).await.unwrap();
    }
    for number in 0..200 {
        let name = format!("purged-{number}");
        commit(&*store, OrgWrite { wipe: true, ..write(&name, vec![]) }).await.unwrap();
    }
    commit(&*store, write("stays", vec![head(2, None)])).await.unwrap();
    store.close().await.unwrap();
    dir
}

async fn is_as_it_was(dir: &Path) {
    assert_eq!(stored(&*start_at(dir), "stays").await, vec![head(2, None)]);
    assert_eq!(names(dir), ["committed", "lock", "sled"]);
    assert!(fsck(dir, FsckOptions::default()).unwrap().is_clean());
}

#[tokio::test]
async fn what_was_removed_is_gone_from_the_bytes_and_everything_else_is_as_it_was() {
    let dir = purged().await;
    assert!(holds(dir.path(), "purged-17"), "the engine keeps what was removed");
    let report = fsck(dir.path(), COMPACT).unwrap();
    let done = report.compacted.unwrap();
    assert!(report.is_clean() && done.rows == 2 && done.after < done.before, "{done:?}");
    assert!(!holds(dir.path(), "purged-"));
    is_as_it_was(dir.path()).await;
    assert_eq!(fsck(dir.path(), COMPACT).unwrap().compacted.unwrap().rows, 2, "as often as somebody likes");
}

#[tokio::test]
async fn a_directory_that_is_not_clean_is_not_compacted() {
    let dir = purged().await;
    fs::write(dir.path().join("committed"), b"torn").unwrap();
    let report = fsck(dir.path(), COMPACT).unwrap();
    assert!(!report.is_clean() && report.compacted.is_none());
    assert!(holds(dir.path(), "purged-17"));
}

/// Every place at which a compaction can be cut short, and what the next open makes of it.
#[tokio::test]
async fn a_compaction_that_is_cut_short_anywhere_loses_nothing() {
    let (old, new) = (purged().await, purged().await);
    fsck(new.path(), COMPACT).unwrap();
    let engine = |dir: &TempDir| dir.path().join("sled");
    // What lies in the directory beside lock and number, and whether the old engine or the new one counts.
    let cuts: [(&[(&str, bool)], bool); 4] = [
        (&[("sled", false), ("compacting/sled", true)], false),
        (&[("sled", false), ("sled.compacted", true)], false),
        (&[("sled.replaced", false), ("sled.compacted", true)], true),
        (&[("sled", true), ("sled.replaced", false)], true),
    ];
    for (found, is_new) in cuts {
        let dir = tempfile::tempdir().unwrap();
        for file in ["committed", "lock"] {
            fs::copy(old.path().join(file), dir.path().join(file)).unwrap();
        }
        for (name, of_new) in found {
            copy(&engine(if *of_new { &new } else { &old }), &dir.path().join(name));
        }
        is_as_it_was(dir.path()).await;
        assert_eq!(holds(dir.path(), "purged-17"), !is_new, "{found:?}");
    }
    // The same, found by fsck first.
    let dir = tempfile::tempdir().unwrap();
    fs::copy(old.path().join("committed"), dir.path().join("committed")).unwrap();
    copy(&engine(&new), &dir.path().join("sled.compacted"));
    assert!(fsck(dir.path(), FsckOptions::default()).unwrap().is_clean());
    is_as_it_was(dir.path()).await;
}
