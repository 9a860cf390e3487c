use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64},
};

use tempfile::TempDir;

use super::{super::SledStore, *};
use crate::{
    domain::rows::{JournalRow, OrgWrite, Row},
    ports::{MayGoOn, OrgStore, StoreEngine},
    store::{
        conformance::{commit, head, head_with_journal, stored, write},
        kv::{
            offline::{FsckOptions, fsck},
            sled::tests::{holds, names, start_at},
        },
        samples::{T0, entries},
    },
};

fn always() -> MayGoOn {
    Arc::new(|| true)
}

fn full(name: &str) -> OrgWrite {
    let entries: Vec<_> = (0..40).flat_map(|_| entries()).collect();
    write(name, vec![head_with_journal(1), Row::Journal(JournalRow { seq: 1, at: T0, entries })])
}

fn purge(name: &str) -> OrgWrite {
    OrgWrite { wipe: true, purged: true, ..write(name, vec![]) }
}

/// Some orgs that stay, and some that were purged, in use.
async fn purged() -> (TempDir, Arc<SledStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    for number in 0..100 {
        commit(&*store, write(&format!("stays-{number}"), vec![head(1, None)])).await.unwrap();
        commit(&*store, full(&format!("purged-{number}"))).await.unwrap();
    }
    assert_eq!(store.purged_since(), None);
    for number in 0..100 {
        commit(&*store, purge(&format!("purged-{number}"))).await.unwrap();
    }
    (dir, store)
}

#[tokio::test]
async fn what_was_purged_leaves_the_files_of_a_store_in_use() {
    let (dir, store) = purged().await;
    assert!(holds(dir.path(), "purged-17"), "the engine keeps what was removed");
    assert!(store.purged_since().is_some() && dir.path().join("purged").exists());
    let done = store.compact(always()).await.unwrap();
    assert!(done.rows == 101 && done.after < done.before, "{done:?}");
    assert!(!holds(dir.path(), "purged-"));
    assert_eq!(
        (store.purged_since(), names(dir.path())),
        (None, vec!["committed".into(), "lock".into(), "sled".into()])
    );
    // It serves on, also the next compaction, and the next process.
    for round in 2..5 {
        commit(&*store, write("stays-1", vec![head(round, None)])).await.unwrap();
        assert_eq!(stored(&*store, "stays-2").await.len(), 1);
        assert_eq!(store.compact(always()).await.unwrap().rows, 101);
    }
    drop(store);
    let store = start_at(dir.path());
    assert!(stored(&*store, "stays-1").await.contains(&head(4, None)));
    close(store).await;
    assert_eq!(fsck(dir.path(), FsckOptions::default()).unwrap().findings, []);
}

async fn close(store: Arc<SledStore>) {
    store.close().await.unwrap();
    drop(store);
}

#[tokio::test]
async fn what_is_to_leave_the_files_is_known_after_a_kill() {
    let (dir, store) = purged().await;
    let since = store.purged_since();
    drop(store);
    let store = start_at(dir.path());
    assert_eq!(store.purged_since(), since);
    drop(store);
    fs::write(dir.path().join("purged"), "torn").unwrap();
    assert_eq!(start_at(dir.path()).purged_since(), Some(1), "at once");
    assert_eq!(fsck(dir.path(), FsckOptions { set_clock: false, compact: true }).unwrap().findings, []);
    assert_eq!(start_at(dir.path()).purged_since(), None);
}

/// Every write that was answered is there after each of many compactions under load, and after the process ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_written_meanwhile_is_in_the_other_engine() {
    let (dir, store) = purged().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writers = (0..4_u64).map(|writer| {
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut last = BTreeMap::new();
            let mut seq = 0;
            while !is_over.load(Ordering::Relaxed) {
                seq += 1;
                // Old ones change, new ones come, and some go.
                let name = format!("stays-{}", (seq * 7 + writer * 25) % 25 + writer * 25);
                let gone = seq % 5 == 0;
                let write = if gone {
                    OrgWrite { wipe: true, ..write(&name, vec![]) }
                } else {
                    write(&name, vec![head(seq, None)])
                };
                commit(&*store, OrgWrite { wipe: true, ..write }).await.unwrap();
                last.insert(name, (!gone).then(|| head(seq, None)));
            }
            last
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..20 {
        store.compact(always()).await.unwrap();
    }
    commit(&*store, full("late")).await.unwrap();
    is_over.store(true, Ordering::Relaxed);
    let mut last = BTreeMap::new();
    for writer in writers {
        last.extend(writer.await.unwrap());
    }
    drop(store);
    let store = start_at(dir.path());
    for (name, row) in last {
        assert_eq!(stored(&*store, &name).await, Vec::from_iter(row), "{name}");
    }
    assert_eq!(stored(&*store, "late").await.len(), 2);
    commit(&*store, purge("late")).await.unwrap();
    close(store).await;
    assert_eq!(fsck(dir.path(), FsckOptions::default()).unwrap().findings, []);
}

#[tokio::test]
async fn a_purge_while_it_is_under_way_is_left_for_the_next_one() {
    let (dir, store) = purged().await;
    let (asked, writer) = (AtomicU32::new(0), Arc::clone(&store));
    let purging: MayGoOn = Arc::new(move || {
        // Once a part of it is copied.
        if asked.fetch_add(1, Ordering::Relaxed) == 2 {
            elsewhere(commit(&*writer, purge("stays-99"))).unwrap();
        }
        true
    });
    store.compact(purging).await.unwrap();
    assert!(store.purged_since().is_some() && holds(dir.path(), "stays-99"));
    store.compact(always()).await.unwrap();
    assert!(store.purged_since().is_none() && !holds(dir.path(), "stays-99"));
}

fn elsewhere<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
        scope.spawn(run).join().unwrap()
    })
}

#[tokio::test]
async fn it_ends_where_it_may_not_go_on_and_leaves_nothing_behind() {
    let (dir, store) = purged().await;
    let asked = AtomicU64::new(0);
    for most in [0, 1, 2] {
        asked.store(0, Ordering::Relaxed);
        let seen = Arc::new(AtomicU64::new(0));
        let so_long: MayGoOn = {
            let seen = Arc::clone(&seen);
            Arc::new(move || seen.fetch_add(1, Ordering::Relaxed) < most)
        };
        let fault = store.compact(so_long).await.unwrap_err();
        assert!(fault.cause.contains("no room"), "{fault}");
        assert_eq!(names(dir.path()), ["committed", "lock", "purged", "sled"]);
        commit(&*store, write("stays-1", vec![head(most + 2, None)])).await.unwrap();
    }
    store.compact(always()).await.unwrap();
    assert!(stored(&*store, "stays-1").await.contains(&head(4, None)));
}

#[tokio::test]
async fn a_copy_that_is_not_whole_does_not_take_the_place() {
    let (dir, store) = purged().await;
    commit(&*store, full("stays-0")).await.unwrap();
    for kind in ["journal", "head"] {
        let engine = store.shared.engine.load_full();
        let _following = Following::begin(&store.shared).unwrap();
        let mut twin = Twin::create(&store.shared.layout).unwrap();
        twin.copy(&engine, &mut |_| Ok(())).unwrap();
        twin.forget_last(kind == "head");
        let (done, replaced) = sync_channel(1);
        store.committer.send(Message::Replace(Replacing { twin: Box::new(twin), done })).unwrap();
        let fault = replaced.recv().unwrap().err().unwrap();
        assert!(fault.cause.contains("heads"), "{fault}");
    }
    assert!(store.purged_since().is_some(), "it is still to be done");
    commit(&*store, write("stays-1", vec![head(2, None)])).await.unwrap();
    drop(store);
    assert!(stored(&*start_at(dir.path()), "stays-1").await.contains(&head(2, None)));
}

#[tokio::test]
async fn a_close_ends_it_and_one_runs_at_a_time() {
    let (dir, store) = purged().await;
    let _following = Following::begin(&store.shared).unwrap();
    let second = store.compact(always()).await.unwrap_err();
    assert!(second.cause.contains("another compaction"), "{second}");
    drop(_following);
    let closer = Arc::clone(&store);
    let closing: MayGoOn = Arc::new(move || {
        elsewhere(closer.close()).unwrap();
        true
    });
    let fault = store.compact(closing).await.unwrap_err();
    assert!(fault.cause.contains("closed"), "{fault}");
    drop(store);
    assert_eq!(stored(&*start_at(dir.path()), "stays-7").await.len(), 1);
}

#[test]
fn no_more_is_followed_than_there_is_room_for() {
    let mut changed = Changed::default();
    for key in 0..=u32::try_from(FOLLOWED).unwrap() {
        changed.follow(vec![key.to_be_bytes().to_vec()], None);
    }
    assert!(changed.keys.is_empty());
    assert!(changed.rest().unwrap_err().cause.contains("begun again"));
}
