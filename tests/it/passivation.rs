//! Many orgs, touched once: they leave memory, stay on disk, and a start loads none of them.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tollgate::wire::v1::{AcquireBatchRequest, AcquireRequest, acquire_batch_result::Result as Outcome};

use crate::{
    harness::{
        alone,
        chance::Chance,
        client::{Gate, plain},
        fsck_is_clean,
        node::{Node, Setup},
        poll, size,
    },
    replay::see,
};

const BATCH: usize = 200;
const BATCHES_AT_ONCE: usize = 4;
const SAMPLED: usize = 500;
const LEAVE_WITHIN: Duration = Duration::from_secs(120);

fn write_config(path: &Path, idle_ms: u64) {
    let room = "resident_orgs = 1000000\nnew_orgs_per_minute = 10000000\nnew_orgs_per_caller = 10000000";
    fs::write(path, format!("[bounds]\nidle_ms = {idle_ms}\n{room}\n")).unwrap();
}

fn asks(from: usize, to: usize) -> Vec<AcquireRequest> {
    (from..to).map(|number| plain(&format!("tenant/{number}"), "first")).collect()
}

/// Asks until every one was counted: an answer that was let through unevaluated may not have been.
/// The id keeps a repetition from counting twice. Answers how many had to be repeated.
async fn touch(mut gate: Gate, mut items: Vec<AcquireRequest>) -> Result<usize, tonic::Status> {
    let mut repeated = 0;
    while !items.is_empty() {
        let answer = gate.acquire_batch(AcquireBatchRequest { items: items.clone() }).await?.into_inner();
        let open = |outcome: Option<Outcome>| match outcome.unwrap() {
            Outcome::Decision(decision) => {
                assert!(decision.allowed, "{decision:?}");
                !decision.fail_open.is_empty()
            }
            Outcome::Error(error) => panic!("{error:?}"),
        };
        let pairs = items.into_iter().zip(answer.results);
        items = pairs.filter_map(|(item, result)| open(result.result).then_some(item)).collect();
        repeated += items.len();
    }
    Ok(repeated)
}

async fn resident(node: &Node) -> i64 {
    node.view().await.resident_orgs
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_orgs_leave_memory_and_keep_their_counts() {
    let _alone = alone().await;
    let mut chance = Chance::new("passivation");
    let orgs = size("TOLLGATE_IDLE_ORGS", 10_000);
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let config = elsewhere.path().join("config.toml");
    write_config(&config, 3_600_000);
    let setup = Setup::at(dir.path()).with("--config").with(&config);
    let node = setup.start().await;
    let empty = node.resident_bytes();
    touch_all(&node, orgs).await;
    assert_eq!(resident(&node).await, orgs as i64);
    let full = node.resident_bytes();
    let each = full.saturating_sub(empty) / orgs as u64;
    println!("passivation: {orgs} orgs resident: {full} bytes, {each} per org over {empty} of an empty node");

    let began = Instant::now();
    write_config(&config, 200);
    node.process.signal("HUP");
    poll("idle orgs leave memory", LEAVE_WITHIN, || async { (resident(&node).await == 0).then_some(()) }).await;
    println!("passivation: all left after {:?}, {} bytes", began.elapsed(), node.resident_bytes());
    counts_are_right(&node, orgs, &mut chance).await;
    poll("and leave again", LEAVE_WITHIN, || async { (resident(&node).await == 0).then_some(()) }).await;
    node.terminate().await;

    fsck_is_clean(dir.path());
    write_config(&config, 3_600_000);
    let began = Instant::now();
    let node = setup.start().await;
    println!("passivation: restart in {:?}, {} bytes", began.elapsed(), node.resident_bytes());
    assert_eq!(resident(&node).await, 0, "a start loads no org");
    counts_are_right(&node, orgs, &mut chance).await;
    assert!(resident(&node).await <= SAMPLED as i64);
    node.terminate().await;
}

async fn touch_all(node: &Node, orgs: usize) {
    let began = Instant::now();
    let gate = node.gate().await;
    let batches = (0..orgs).step_by(BATCH).map(|from| touch(gate.clone(), asks(from, orgs.min(from + BATCH))));
    let repeated: Vec<_> = stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE).try_collect().await.unwrap();
    let repeated: usize = repeated.iter().sum();
    println!("passivation: touched {orgs} orgs in {:?}, {repeated} repeated", began.elapsed());
}

async fn counts_are_right(node: &Node, orgs: usize, chance: &mut Chance) {
    let mut admin = node.admin().await;
    for _ in 0..SAMPLED {
        let org = format!("tenant/{}", chance.below(orgs));
        let seen = see(&mut admin, &org).await.unwrap();
        assert_eq!((seen.admitted, seen.executions), (1, 1), "{org}");
    }
}
