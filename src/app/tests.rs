//! What a node leaves of its clock.

use std::{path::Path, sync::atomic::Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::{
    bounds::HOUR_MS,
    store::sled::{self, SledOptions},
    testing::{T0, TestClock},
};

async fn turn() {
    tokio::time::advance(CLOCK_LOOK).await;
    tokio::task::yield_now().await;
}

fn mark_in(dir: &Path) -> Option<crate::domain::service_time::ClockMark> {
    sled::open(dir, &SledOptions::default()).unwrap().mark().cloned()
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_is_believed_is_kept_without_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    clock.doubted.store(true, Ordering::SeqCst);
    let store = Arc::new(
        sled::open(dir.path(), &SledOptions::default()).unwrap().start(clock.clone(), Arc::new(|_| {})).unwrap(),
    );
    let watching = tokio::spawn(watch_clock(clock.clone(), store.clone(), |_| {}));
    tokio::task::yield_now().await;
    turn().await;
    assert_eq!(store.groups(), 0, "a doubted clock is nothing to keep");
    clock.advance(HOUR_MS);
    clock.doubted.store(false, Ordering::SeqCst);
    turn().await;
    watching.abort();
    let _ = watching.await;
    store.close().await.unwrap();
    drop(store);
    assert_eq!(mark_in(dir.path()).unwrap().service, T0 + HOUR_MS);
}

#[tokio::test]
async fn a_node_that_stops_keeps_its_clock_without_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0".parse().ok();
    let overrides = config::Overrides { data_dir: Some(dir.path().into()), grpc: free, http: free };
    let quick = [("TOLLGATE__BOUNDS__DRAIN_NOTICE_MS".to_owned(), "0".to_owned())];
    let config = config::load(None, quick.into_iter(), overrides).unwrap();
    let listeners = Listeners::bind(&config).await.unwrap();
    let (_hangup, hangups) = mpsc::channel(1);
    let source = Source { load: Arc::new(|| Ok(Config::default())), hangups };
    let started = SystemClock::resume(None).unwrap().now();
    run(config, Start::default(), listeners, source, std::future::ready(())).await.unwrap();
    assert!(mark_in(dir.path()).unwrap().service >= started);
}
