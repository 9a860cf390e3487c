//! The disk fills up, or fails: nothing more is promised, what can go on goes on and says how, and the
//! process ends for its supervisor to start it again.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tollgate::wire::v1::{RecordRequest, ResumeRequest};
use tonic::Code;

use crate::{
    harness::{
        beside_another,
        chance::Chance,
        client::{Gate, assert_error, plain},
        disks::Mounted,
        fsck_is_clean,
        node::{Node, Setup},
        poll,
    },
    load::{Load, Plan},
    oracle::{Log, SPEND},
    replay::{Terms, compare},
};

const DISK_BYTES: u64 = 24 << 20;
/// Left free under the load: used up in well under a second.
const FREE_BYTES: u64 = 2 << 20;
const GRACE: Duration = Duration::from_millis(4_000);
const WRITE_BEHIND_MAX: u64 = 4096;
/// The backstop's amount of the orgs that are asked for during the fault.
const AMOUNT: u64 = 5;

fn setup(data: &Path, config: &Path) -> Setup {
    let orgs = ["cold", "warm"].map(|org| format!("[orgs.{org}]\nrate = {{ amount = {AMOUNT} }}\n"));
    fs::write(config, orgs.concat()).unwrap();
    Setup::at(data)
        .set("RATE__AMOUNT", 1_000_000_000)
        .set("DURABILITY__WRITE_BEHIND_MAX", WRITE_BEHIND_MAX)
        .set("BOUNDS__STORE_FAULT_GRACE_MS", GRACE.as_millis())
        .set("BOUNDS__DISK_HEADROOM_BYTES", 0)
        .with("--config")
        .with(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_flagged_and_survived() {
    let _beside = beside_another().await;
    let disk = match Mounted::memory(DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped, a disk that can be filled needs root: {reason}"),
    };
    let mut chance = Chance::new("disk full");
    let elsewhere = TempDir::new().unwrap();
    let setup = setup(&disk.path().join("data"), &elsewhere.path().join("config.toml"));
    let mut log = Log::of(24);
    let node = setup.start().await;
    let filler = disk.path().join("filler");
    fill(&filler, DISK_BYTES - FREE_BYTES - used(disk.path()));
    let load = Load::start(&node, &mut log, &mut chance, Plan::default()).await;
    let text = ["No space left", "os error 28", "StorageFull"];
    faulty(node, load, &mut log, &text).await;

    fs::remove_file(filler).unwrap();
    fsck_is_clean(setup.dir());
    let node = setup.start().await;
    let terms = Terms { forgets: WRITE_BEHIND_MAX, older: usize::MAX };
    println!("disk full: {:?}", compare(&node, &mut log, terms, &mut chance).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_said_flagged_and_survived() {
    let _beside = beside_another().await;
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped, a sync is made to fail with strace, which is not installed");
    }
    let mut chance = Chance::new("failing sync");
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let healthy = setup(&dir.path().join("data"), &elsewhere.path().join("config.toml"));
    let mut log = Log::of(24);
    for round in 1..=3 {
        // `when` counts per thread; only the committer calls it this often.
        let when = chance.between(20, 200);
        let failing = healthy.clone().under_strace(&format!("fdatasync:error=EIO:when={when}"));
        let node = failing.start().await;
        let load = Load::start(&node, &mut log, &mut chance, Plan::default()).await;
        faulty(node, load, &mut log, &["os error 5", "Input/output error"]).await;
        fsck_is_clean(healthy.dir());
        let node = healthy.start().await;
        let terms = Terms { forgets: WRITE_BEHIND_MAX, older: usize::MAX };
        println!("failing sync {round} at {when}: {:?}", compare(&node, &mut log, terms, &mut chance).await);
        node.terminate().await;
    }
}

fn fill(path: &Path, bytes: u64) {
    fs::write(path, vec![b'x'; bytes as usize]).unwrap();
}

fn used(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let size = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { used(&entry.path()) } else { std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 }
    };
    entries.map(size).sum()
}

/// A node whose store fails under the load, from the fault to its end.
async fn faulty(mut node: Node, load: Load, log: &mut Log, cause: &[&str]) {
    let mut gate = node.gate().await;
    // In memory before the fault, so that the fault finds it there.
    let _ = gate.acquire(plain("warm", "")).await.unwrap();
    poll("health turns NOT_SERVING", Duration::from_secs(60), || async { (!node.is_serving().await).then_some(()) })
        .await;
    let noticed = Instant::now();
    let summary = load.stop(log).await;
    println!("store fault: {summary:?}");
    assert!(summary.strange.is_empty(), "{:?}", summary.strange);

    let (code, body) = node.get("/readyz").await.unwrap();
    assert_eq!(code, 503);
    assert!(body.starts_with("store ") && cause.iter().any(|text| body.contains(text)), "{body}");
    let before = fail_open(&node).await;
    let flagged = flagged_by(&mut gate).await;
    assert_eq!(fail_open(&node).await - before, flagged, "the metric counts what the client saw");
    nothing_is_promised(&mut gate).await;

    let status = node.ended(GRACE + Duration::from_secs(15)).await;
    println!("store fault: ended {:?} after it was noticed, {status}", noticed.elapsed());
    assert!(!status.success() && status.code().is_some(), "{status}");
    let text = node.process.log().join("\n");
    let said = text.lines().any(|line| line.contains("ERROR") && cause.iter().any(|cause| line.contains(cause)));
    assert!(said, "the log names the cause: {text}");
}

async fn fail_open(node: &Node) -> u64 {
    node.metric("tollgate_fail_open_total{gate=\"rate\",cause=\"store_fault\"}").await
}

/// Plain Acquires are decided from memory, or under the emergency cap where the org is not there; all
/// are flagged. Answers how many were.
async fn flagged_by(gate: &mut Gate) -> u64 {
    let mut flagged = 0;
    for org in ["cold", "warm"] {
        let mut allowed = 0;
        for _ in 0..2 * AMOUNT {
            let answer = gate.acquire(plain(org, "")).await.unwrap().into_inner();
            if answer.allowed {
                let opens: Vec<_> =
                    answer.fail_open.iter().map(|open| (open.gate.as_str(), open.cause.as_str())).collect();
                // A freeze and budgets of an org that is not in memory may be stored.
                let gates: &[&str] = if org == "cold" { &["freeze", "rate", "budgets"] } else { &["rate"] };
                let expected: Vec<_> = gates.iter().map(|gate| (*gate, "store_fault")).collect();
                assert_eq!(opens, expected, "{org}: {answer:?}");
                flagged += 1;
                allowed += 1;
            } else {
                assert_eq!(answer.http_status_hint, 429, "{org}: {answer:?}");
            }
        }
        assert!(allowed > 0 && allowed <= AMOUNT, "{org}: {allowed} allowed, R-PIPE-2: an outage is no open door");
    }
    flagged
}

async fn nothing_is_promised(gate: &mut Gate) {
    let usage = vec![tollgate::wire::v1::Amount { meter: SPEND.into(), amount: 1 }];
    for org in ["cold", "warm"] {
        let id = format!("fault-{org}");
        let (org, usage) = (org.to_owned(), usage.clone());
        let request =
            RecordRequest { org: org.clone(), usage: usage.clone(), request_id: id.clone(), ..Default::default() };
        assert_error(gate.record(request).await, Code::Unavailable, "STORE_UNAVAILABLE");
        let hold = tollgate::wire::v1::AcquireRequest { reserve: usage, ..plain(&org, &id) };
        assert_error(gate.acquire(hold).await, Code::Unavailable, "STORE_UNAVAILABLE");
        let resume = ResumeRequest { org, execution_id: "e".into(), request_id: String::new() };
        let answer = gate.resume(resume).await.unwrap().into_inner();
        assert!(!answer.counted && answer.continuations == 0, "R-BAL-8: served, uncounted: {answer:?}");
    }
}
