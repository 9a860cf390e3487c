use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::{
    conformance::{Harness, commit, conformance_suite, head, stored, write},
    samples::{org, rows},
};

#[derive(Default)]
struct InMemory;

impl Harness for InMemory {
    type Store = MemoryStore;

    async fn start(&self) -> Arc<MemoryStore> {
        MemoryStore::new()
    }

    async fn restart(&self, closed: Arc<MemoryStore>) -> Arc<MemoryStore> {
        closed.crash()
    }
}

conformance_suite!(InMemory);

fn counted(counter: &Arc<AtomicUsize>) -> CommitDone {
    let counter = Arc::clone(counter);
    Box::new(move |result| {
        if result.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[tokio::test]
async fn a_held_commit_is_durable_when_released_and_gone_after_a_crash() {
    let store = MemoryStore::new();
    store.hold();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    for seq in 1..=3 {
        store.commit(write("a", vec![head(seq, None)]), Epoch::ONLY, counted(&acknowledged));
    }
    assert_eq!((store.pending(), acknowledged.load(Ordering::Relaxed)), (3, 0));
    assert!(stored(&*store, "a").await.is_empty());
    assert!(store.release_one());
    assert_eq!(acknowledged.load(Ordering::Relaxed), 1);
    let after = store.crash();
    assert_eq!(acknowledged.load(Ordering::Relaxed), 1, "dropped commits are never acknowledged");
    assert_eq!(stored(&*after, "a").await, vec![head(1, None)]);
    assert!(store.load(&org("a")).await.is_err(), "the crashed store answers nothing more");
}

#[tokio::test]
async fn an_injected_fault_is_latched() {
    let store = MemoryStore::new();
    commit(&*store, write("a", vec![head(1, None)])).await.unwrap();
    store.fail_next("no space left");
    let failed = commit(&*store, write("a", vec![head(2, None)])).await.unwrap_err();
    let fault = failed.fault().unwrap().clone();
    assert_eq!((fault.cause.as_str(), &failed), ("no space left", &CommitError::InDoubt(fault.clone())));
    assert_eq!(commit(&*store, write("b", vec![head(1, None)])).await, Err(CommitError::Lost(fault.clone())));
    assert_eq!(store.load(&org("a")).await, Err(fault.clone()));
    assert_eq!(*store.state().borrow(), StoreState::Lost(fault));
    assert_eq!(stored(&*store.crash(), "a").await, vec![head(1, None)], "a failed commit is absent as a whole");
}

#[tokio::test]
async fn a_stalled_load_goes_on_when_it_may() {
    let store = MemoryStore::new();
    store.stall_loads();
    let name = org("a");
    let mut load = store.load(&name);
    assert!(futures_util::poll!(&mut load).is_pending());
    store.resume_loads();
    assert!(load.await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_corrupt_row_fails_its_org_by_name_and_no_other() {
    let store = MemoryStore::new();
    commit(&*store, write("a", rows())).await.unwrap();
    commit(&*store, write("b", rows())).await.unwrap();
    assert!(store.corrupt(&org("a")) > 0);
    let fault = store.load(&org("a")).await.unwrap_err();
    assert!(fault.cause.contains("\"a: Head\"") && fault.cause.contains("checksum"), "R-OPS-6: {fault}");
    assert!(store.load(&org("b")).await.is_ok());
    assert!(store.state().borrow().is_up(), "one org's row is not the store's end");
}

#[tokio::test]
async fn behind_a_commit_that_is_not_durable_nothing_of_its_org_is_written_until_it_is_loaded() {
    let fault = StoreFault { operation: "commit", cause: "away".into() };
    for error in [CommitError::Fenced, CommitError::Unavailable(fault.clone()), CommitError::InDoubt(fault)] {
        let store = MemoryStore::new();
        store.answer_next(error.clone());
        for seq in [1, 2] {
            assert_eq!(commit(&*store, write("a", vec![head(seq, None)])).await, Err(error.clone()));
        }
        commit(&*store, write("b", vec![head(1, None)])).await.unwrap();
        let written = if matches!(error, CommitError::InDoubt(_)) { vec![head(1, None)] } else { vec![] };
        assert_eq!(stored(&*store, "a").await, written, "{error}");
        commit(&*store, write("a", vec![head(3, None)])).await.unwrap();
    }
}

#[tokio::test]
async fn who_loaded_an_org_before_another_took_it_over_is_fenced() {
    let store = MemoryStore::new();
    let before = store.epoch(&org("a")).unwrap();
    store.take_over();
    let (answer, answered) = tokio::sync::oneshot::channel();
    store.commit(write("a", vec![head(1, None)]), before, Box::new(move |result| answer.send(result).unwrap()));
    assert_eq!(answered.await.unwrap(), Err(CommitError::Fenced));
    assert_eq!(stored(&*store, "a").await, vec![]);
    commit(&*store, write("a", vec![head(1, None)])).await.unwrap();
}

#[tokio::test]
async fn an_outage_ends() {
    let store = MemoryStore::new();
    store.go_away("restarting");
    let refused = commit(&*store, write("a", vec![head(1, None)])).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert!(store.load(&org("a")).await.is_err() && !store.state().borrow().is_up());
    store.recover();
    assert_eq!(stored(&*store, "a").await, vec![]);
    commit(&*store, write("a", vec![head(1, None)])).await.unwrap();
}
