//! SIGTERM under load: the node says that it goes, settles what runs, and forgets nothing.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate::wire::v1::{AcquireRequest, Amount, CommitRequest, RecordRequest, ResumeRequest};
use tonic::Code;

use crate::{
    harness::{
        alone,
        chance::Chance,
        client::{assert_error, plain},
        fsck_is_clean,
        node::{Node, Setup},
        poll, size,
    },
    load::{Load, Plan},
    oracle::{COMPUTE, Log, SPEND},
    replay::{Terms, compare},
};

const NOTICE: Duration = Duration::from_millis(5_000);

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_settles_what_runs_and_forgets_nothing() {
    let _alone = alone().await;
    let mut chance = Chance::new("SIGTERM");
    let dir = TempDir::new().unwrap();
    let setup = Setup::at(dir.path())
        .set("RATE__AMOUNT", 1_000_000_000)
        // Long enough that an admission is only on disk because the node flushed before it ended.
        .set("DURABILITY__WRITE_BEHIND_MS", 10_000)
        .set("BOUNDS__DRAIN_NOTICE_MS", NOTICE.as_millis());
    let mut log = Log::of(24);
    for round in 1..=size("TOLLGATE_TERM_CYCLES", 3) {
        let mut node = setup.start().await;
        let terms = Terms { forgets: 0, older: usize::MAX };
        let found = compare(&node, &mut log, terms, &mut chance).await;
        let load = Load::start(&node, &mut log, &mut chance, Plan::default()).await;
        tokio::time::sleep(chance.millis(200, 800)).await;
        let began = Instant::now();
        draining_serves_what_runs(&node).await;
        let status = node.ended(Duration::from_secs(40)).await;
        let took = began.elapsed();
        let summary = load.finish(&mut log).await;
        println!("SIGTERM {round}: ended after {took:?}; {summary:?}; before: {found:?}");
        assert!(status.success(), "{status}: {}", node.process.log().join("\n"));
        assert!(took >= NOTICE && took < NOTICE + Duration::from_secs(15), "{took:?}");
        assert!(summary.strange.is_empty() && summary.draining > 0, "{summary:?}");
        fsck_is_clean(dir.path());
    }
    let node = setup.start().await;
    println!("SIGTERM: {:?}", compare(&node, &mut log, Terms { forgets: 0, older: usize::MAX }, &mut chance).await);
}

/// The order of events after SIGTERM, seen from a client that was connected before.
async fn draining_serves_what_runs(node: &Node) {
    let mut gate = node.gate().await;
    let reserve = vec![Amount { meter: COMPUTE.into(), amount: 5 }];
    let id = |name: &str| format!("{name}-{}", node.process.pid());
    let held = AcquireRequest { reserve, ..plain("draining", &id("hold")) };
    let reservation_id = gate.acquire(held).await.unwrap().into_inner().reservation_id;
    assert!(node.is_serving().await);

    node.process.signal("TERM");
    poll("health turns NOT_SERVING", NOTICE, || async { (!node.is_serving().await).then_some(()) }).await;
    assert_eq!(node.get("/readyz").await.unwrap(), (503, "draining\n".into()));
    assert_error(gate.acquire(plain("draining", "")).await, Code::Unavailable, "DRAINING");
    let request = ResumeRequest { org: "draining".into(), execution_id: "e".into(), request_id: id("resume") };
    assert!(gate.resume(request).await.unwrap().into_inner().counted, "R-BAL-8");
    let (org, request_id) = ("draining".to_owned(), id("record"));
    let usage = vec![Amount { meter: SPEND.into(), amount: 7 }];
    let record = RecordRequest { org: org.clone(), usage, request_id, ..RecordRequest::default() };
    assert!(!gate.record(record).await.unwrap().into_inner().replayed);
    let actual = vec![Amount { meter: COMPUTE.into(), amount: 4 }];
    let commit = CommitRequest { org, reservation_id, request_id: id("commit"), actual };
    assert!(!gate.commit(commit).await.unwrap().into_inner().replayed);
}
