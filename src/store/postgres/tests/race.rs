//! Owners that change all the time while every one of them commits.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    super::*,
    faults::{ask, handed, last, numbered},
    server,
};
use crate::store::{conformance::write, samples::org};

const NODES: usize = 3;
const ORGS: usize = 48;
/// In flight of one org.
const PIPELINED: u64 = 3;

/// How often a shard changes owners, in all. scripts/torture has more.
fn takeovers() -> usize {
    std::env::var("TOLLGATE_TAKEOVERS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000)
}

/// By the number of the org: what was acknowledged, by whomever.
type Acknowledged = Arc<Vec<Mutex<Vec<u64>>>>;

/// Writes numbered rows of an org while this node owns it; otherwise it waits for another claim.
fn writer(
    store: Arc<PgStore>,
    number: usize,
    acknowledged: Acknowledged,
    mut claims: watch::Receiver<()>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let name = format!("org{number}");
        while !stop.load(Ordering::SeqCst) {
            let Some(epoch) = store.epoch(&org(&name)) else {
                let _ = claims.changed().await;
                continue;
            };
            let found = last(&store, &name).await;
            let next = found + 1..=found + PIPELINED;
            let sent: Vec<_> = next.map(|seq| (seq, handed(&store, write(&name, numbered(seq)), epoch))).collect();
            for (seq, answered) in sent {
                match answered.await.unwrap() {
                    Ok(()) => acknowledged[number].lock().unwrap().push(seq),
                    Err(error) => assert_eq!(error, CommitError::Fenced, "{name}"),
                }
            }
        }
    })
}

/// Claims some of the shards again and again, its own among them, and reads a little in between.
fn claimer(
    store: Arc<PgStore>,
    shards: Vec<Shard>,
    claimed: Arc<AtomicUsize>,
    claims: watch::Sender<()>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while claimed.load(Ordering::SeqCst) < takeovers() {
            let mut chance = [0; 16];
            getrandom::fill(&mut chance).unwrap();
            let some = |at: usize| chance[at % chance.len()].wrapping_add(u8::try_from(at).unwrap()) % 4 == 0;
            let some = shards.iter().enumerate().filter(|(at, _)| some(*at)).map(|(_, shard)| *shard).collect();
            claimed.fetch_add(store.claim(&some).await.unwrap(), Ordering::SeqCst);
            claims.send_replace(());
            for _ in 0..chance[0] / 64 {
                last(&store, "org0").await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_shards_change_owners_all_that_is_acknowledged_is_there_once_and_nobody_waits_crosswise() {
    let options = server::shared().options();
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let before: i64 = ask(&options, deadlocks).await[0].get(0);
    let mut stores = Vec::new();
    for number in 0..NODES {
        let options = PgOptions { owner: format!("node{number}"), ..options.clone() };
        stores.push(Arc::new(PgStore::open(options).await.unwrap()));
    }
    let shards: BTreeSet<Shard> = (0..ORGS).map(|number| Shard::of(&org(&format!("org{number}")))).collect();
    let acknowledged: Acknowledged = Arc::new((0..ORGS).map(|_| Mutex::default()).collect());
    let claims = watch::Sender::new(());
    let (stop, claimed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let writers: Vec<_> = stores
        .iter()
        .flat_map(|store| (0..ORGS).map(move |number| (store, number)))
        .map(|(store, number)| writer(store.clone(), number, acknowledged.clone(), claims.subscribe(), stop.clone()))
        .collect();
    let claimers = stores
        .iter()
        .map(|store| claimer(store.clone(), shards.iter().copied().collect(), claimed.clone(), claims.clone()));
    for claimer in claimers.collect::<Vec<_>>() {
        claimer.await.unwrap();
    }
    // Who was the last to claim a shard owns it, and goes on.
    let so_far: Vec<_> = acknowledged.iter().map(|of_org| of_org.lock().unwrap().len()).collect();
    for (number, so_far) in so_far.into_iter().enumerate() {
        let goes_on = async {
            while acknowledged[number].lock().unwrap().len() == so_far {
                last(&stores[0], "org0").await;
            }
        };
        assert!(timeout(Duration::from_secs(20), goes_on).await.is_ok(), "nobody owns the shard of org{number}");
    }
    stop.store(true, Ordering::SeqCst);
    claims.send_replace(());
    for writer in writers {
        writer.await.unwrap();
    }
    let mut total = 0;
    for (number, of_org) in acknowledged.iter().enumerate() {
        let mut of_org = of_org.lock().unwrap().clone();
        of_org.sort_unstable();
        let stored = last(&stores[0], &format!("org{number}")).await;
        assert_eq!(of_org, (1..=stored).collect::<Vec<_>>(), "org{number}");
        total += of_org.len();
    }
    let after: i64 = ask(&options, deadlocks).await[0].get(0);
    assert_eq!(after, before, "deadlocks");
    println!("{} takeovers, {total} commits acknowledged", claimed.load(Ordering::SeqCst));
}
