//! A session over its life: started, kept alive, warned, stopped, ended.

use std::sync::{Arc, Mutex};

use tollgate::client::{Client, DecisionCode, SessionAsk, Signal, Start};

use crate::{PATIENCE, eventually, node, patient, url};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_its_slot_until_it_is_ended() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let start = async |id: &str| client.start_session("acme", SessionAsk::new(id, "user 7"), |_| {}).await.unwrap();
    let Start::Running(first) = start("vm-1").await else { panic!("denied") };
    assert_eq!(first.first_slice().as_secs(), 1);
    let Start::Denied(denial) = start("vm-2").await else { panic!("two at once") };
    assert_eq!(denial.code(), DecisionCode::SessionLimitReached);
    let ended = first.end().await.unwrap();
    assert_eq!(ended.session_id, "vm-1");
    let Start::Running(second) = start("vm-2").await else { panic!("the slot is free") };
    drop(second);
    eventually("a dropped session is ended", async || matches!(start("vm-3").await, Start::Running(_))).await;
    assert!(client.close(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_taken_over_by_another_process_which_goes_on_with_its_total() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let ask = || SessionAsk::new("vm-1", "user 7").incarnation("boot-1");
    let Start::Running(first) = client.start_session("acme", ask(), |_| {}).await.unwrap() else { panic!("denied") };
    assert_eq!(first.incarnation(), "boot-1");
    // As a process that is killed.
    std::mem::forget(first);
    let other = Client::connect(patient(url(&running))).unwrap();
    let session = other.attach_session("acme", ask().has_run(std::time::Duration::from_secs(30)), |_| {});
    let ended = session.end().await.unwrap();
    assert!((30_000..60_000).contains(&ended.booked_ms), "{ended:?}");

    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let unknown = SessionAsk::new("vm-2", "user 7").incarnation("boot-1");
    let session = other.attach_session("acme", unknown, move |signal| tell.lock().unwrap().push(signal));
    eventually("the node knows no such session", async || *told.lock().unwrap() == [Signal::Gone]).await;
    assert!(!session.is_known());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_told_to_stop_when_its_quota_is_used_up() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let told = told.clone();
        move |signal| told.lock().unwrap().push(signal)
    };
    let started = client.start_session("short", SessionAsk::new("vm-1", "user 7"), tell).await.unwrap();
    let Start::Running(session) = started else { panic!("denied") };
    let is_stopped = async || told.lock().unwrap().iter().any(|signal| matches!(signal, Signal::Stop { .. }));
    eventually("the node says stop", is_stopped).await;
    assert!(session.is_known());
    let ended = session.end().await.unwrap();
    assert!(ended.booked_ms >= 2_000, "{ended:?}");
    let denied = client.start_session("short", SessionAsk::new("vm-2", "user 7"), |_| {}).await.unwrap();
    assert!(matches!(denied, Start::Denied(denial) if denial.code() == DecisionCode::QuotaExceeded));
}
