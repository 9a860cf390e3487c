//! Too much of one org is that org's trouble, is said as overload, and never as a verdict.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;
use tollgate::wire::v1::{AcquireBatchRequest, AcquireRequest, Amount, ResumeRequest};
use tonic::{Code, Request};

use crate::{
    harness::{
        alone,
        client::{Gate, assert_error, plain, reason},
        node::{Node, Setup},
        poll,
    },
    oracle::COMPUTE,
    replay::see,
};

/// The default of `bounds.org_in_flight`.
const IN_FLIGHT: usize = 1024;
const OVER: usize = 500;

fn hold(org: &str, request_id: String) -> AcquireRequest {
    let reserve = vec![Amount { meter: COMPUTE.into(), amount: 1 }];
    AcquireRequest { reserve, ..plain(org, &request_id) }
}

async fn connections(node: &Node, number: usize) -> Vec<Gate> {
    join_all((0..number).map(|_| node.gate())).await
}

#[derive(Debug, Default)]
struct Flood {
    held: usize,
    shed: usize,
    other: Vec<tonic::Status>,
}

/// `calls` durable Acquires of one org at once.
async fn flood(gates: &[Gate], org: &str, calls: usize) -> Flood {
    let one = |number: usize| {
        let (mut gate, org) = (gates[number % gates.len()].clone(), org.to_owned());
        async move { gate.acquire(hold(&org, format!("flood-{number}"))).await }
    };
    let mut flood = Flood::default();
    for answer in join_all((0..calls).map(one)).await {
        match answer {
            Ok(answer) => {
                assert!(answer.into_inner().allowed, "overload is not a denial");
                flood.held += 1;
            }
            Err(status) if status.code() == Code::ResourceExhausted => {
                assert_eq!(reason(&status), "ORG_OVERLOADED", "{status:?}");
                flood.shed += 1;
            }
            Err(status) => flood.other.push(status),
        }
    }
    flood
}

/// With every commit held up for a while, what is in flight is exactly what was let in.
#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_org_in_flight_are_bounded_and_resume_is_still_served() {
    let _alone = alone().await;
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped, a slow disk is made with strace, which is not installed");
    }
    let dir = TempDir::new().unwrap();
    let setup = Setup::at(dir.path()).set("RATE__AMOUNT", 1_000_000).set("BOUNDS__DECISION_BUDGET_MS", 20_000);
    // Under strace calls wait for a processor as well, and would be left unread for that.
    let setup = setup.set("BOUNDS__TURN_WAIT_US", 10_000_000);
    let node = setup.under_strace("fdatasync:delay_enter=1500000").start().await;
    // More than `streams_per_connection` lets through on fewer.
    let gates = connections(&node, 20).await;
    let flooding = {
        let gates = gates.clone();
        tokio::spawn(async move { flood(&gates, "hot", IN_FLIGHT + OVER).await })
    };
    poll("the org is full", Duration::from_secs(20), || async {
        (node.view().await.in_flight >= IN_FLIGHT as i64).then_some(())
    })
    .await;
    let mut gate = node.gate().await;
    assert_error(gate.acquire(plain("hot", "")).await, Code::ResourceExhausted, "ORG_OVERLOADED");
    let began = Instant::now();
    let resume = ResumeRequest { org: "hot".into(), execution_id: "e".into(), request_id: String::new() };
    let answer = gate.resume(resume).await.unwrap().into_inner();
    assert!(answer.counted, "R-BAL-8, I7: {answer:?}");
    let resumed = began.elapsed();
    let began = Instant::now();
    let calm = gate.acquire(plain("calm", "")).await.unwrap().into_inner();
    assert!(calm.allowed && calm.fail_open.is_empty(), "I11: another org does not notice: {calm:?}");
    println!("overload: Resume answered in {resumed:?}, another org in {:?}", began.elapsed());

    let flood = flooding.await.unwrap();
    println!("overload: {} held, {} shed, {} otherwise", flood.held, flood.shed, flood.other.len());
    assert!(flood.other.is_empty(), "{:?}", flood.other[0]);
    assert!(flood.held >= IN_FLIGHT && flood.shed > 0, "{flood:?}");
    let seen = see(&mut node.admin().await, "hot").await.unwrap();
    assert_eq!(
        (seen.admitted, seen.facts.open.len()),
        (flood.held as u64, flood.held),
        "what was shed was not charged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_bound_sheds_at_once_and_charges_nothing_for_it() {
    let _alone = alone().await;
    let dir = TempDir::new().unwrap();
    let setup = Setup::at(dir.path()).set("RATE__AMOUNT", 1_000_000).set("BOUNDS__ORG_IN_FLIGHT", 4);
    let node = setup.start().await;
    let gates = connections(&node, 8).await;
    let (mut held, mut shed) = (0, 0);
    for round in 0..20 {
        let flood = flood(&gates, &format!("hot/{round}"), 400).await;
        assert!(flood.other.is_empty(), "{:?}", flood.other[0]);
        let seen = see(&mut node.admin().await, &format!("hot/{round}")).await.unwrap();
        assert_eq!(seen.admitted, flood.held as u64);
        (held, shed) = (held + flood.held, shed + flood.shed);
    }
    println!("overload, 4 in flight: {held} held, {shed} shed");
    assert!(held > 0 && shed > 0, "{held} held, {shed} shed");
}

/// A caller that hangs up is a cancellation: counted once or not at all, and nothing stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hang_up_leave_nothing_in_flight_and_harm_nobody() {
    const CALLS: usize = 2_000;
    let _alone = alone().await;
    let dir = TempDir::new().unwrap();
    let node = Setup::at(dir.path()).set("RATE__AMOUNT", 1_000_000).start().await;
    let gates = connections(&node, 8).await;
    let rude = {
        let gates = gates.clone();
        tokio::spawn(async move {
            let mut answered = 0_usize;
            for number in 0..CALLS {
                let mut gate = gates[number % gates.len()].clone();
                let request = hold("rude", format!("rude-{number}"));
                let patience = Duration::from_micros(number as u64 % 40 * 50);
                answered +=
                    usize::from(matches!(tokio::time::timeout(patience, gate.acquire(request)).await, Ok(Ok(_))));
            }
            answered
        })
    };
    let mut gate = node.gate().await;
    let (mut polite, mut slowest) = (0_u64, Duration::ZERO);
    while !rude.is_finished() {
        let began = Instant::now();
        let answer = gate.acquire(plain("polite", "")).await.unwrap().into_inner();
        assert!(answer.allowed && answer.fail_open.is_empty(), "I11: {answer:?}");
        (polite, slowest) = (polite + 1, slowest.max(began.elapsed()));
    }
    let answered = rude.await.unwrap();
    poll("nothing is in flight", Duration::from_secs(20), || async {
        (node.view().await.in_flight == 0).then_some(())
    })
    .await;
    let mut admin = node.admin().await;
    let seen = see(&mut admin, "rude").await.unwrap();
    println!(
        "hung up: {answered} of {CALLS} answered, {} charged; polite {polite}, slowest {slowest:?}",
        seen.admitted
    );
    assert!((answered as u64..=CALLS as u64).contains(&seen.admitted));
    assert!(answered < CALLS, "nobody hung up");
    for number in 0..CALLS {
        let answer = gate.acquire(hold("rude", format!("rude-{number}"))).await.unwrap().into_inner();
        assert!(answer.allowed, "{answer:?}");
    }
    assert_eq!(see(&mut admin, "rude").await.unwrap().admitted, CALLS as u64, "R-PIPE-6: charged once each");
    assert_eq!(see(&mut admin, "polite").await.unwrap().admitted, polite);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_over_is_an_error_and_not_a_verdict() {
    let _alone = alone().await;
    let dir = TempDir::new().unwrap();
    let node = Setup::at(dir.path()).start().await;
    let mut gate = node.gate().await;
    for text in ["0m", "1n", "1u"] {
        let mut request = Request::new(hold("late", format!("late-{text}")));
        request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
        match gate.acquire(request).await {
            Ok(answer) => assert!(answer.into_inner().allowed),
            Err(status) => {
                assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{text}: {status:?}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_and_batches_are_refused_and_the_connection_lives_on() {
    let _alone = alone().await;
    let dir = TempDir::new().unwrap();
    let node = Setup::at(dir.path()).set("RATE__AMOUNT", 1_000_000).start().await;
    let mut gate = node.gate().await;
    let huge = AcquireRequest { plane: "x".repeat((1 << 20) + 1), ..plain("big", "") };
    let status = gate.acquire(huge).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    let batch = |items: usize| AcquireBatchRequest { items: vec![plain("big", ""); items] };
    assert_error(gate.acquire_batch(batch(1001)).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(see(&mut node.admin().await, "big").await.unwrap().admitted, 0, "nothing of it was counted");
    assert_eq!(gate.acquire_batch(batch(1000)).await.unwrap().into_inner().results.len(), 1000);
    assert_eq!(see(&mut node.admin().await, "big").await.unwrap().admitted, 1000);
}
