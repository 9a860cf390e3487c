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
    cell::{about, another, expire, live},
    faults::{ask, handed, last, numbered},
    server,
};
use crate::{
    domain::members::{CellView, NodeId},
    ports::Cell,
    store::{conformance::write, samples::org},
};

/// Beside the one that owns everything in the end.
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

/// What happens in a race, to be sure that it does.
#[derive(Default)]
struct Counts {
    claimed: AtomicUsize,
    released: AtomicUsize,
    left: AtomicUsize,
    marked: AtomicUsize,
}

/// One of the nodes: in each of its lives it renews its lease, claims and releases what the chance says, and leaves, or
/// stops renewing while it commits on, until another one has marked it.
struct Node {
    store: Arc<PgStore>,
    name: String,
    shards: Vec<Shard>,
    claims: watch::Sender<()>,
    counts: Arc<Counts>,
}

fn chance() -> [u8; 16] {
    let mut chance = [0; 16];
    getrandom::fill(&mut chance).unwrap();
    chance
}

impl Node {
    fn some(&self) -> ShardSet {
        let chance = chance();
        let is_one = |at: usize| chance[at % chance.len()].wrapping_add(u8::try_from(at).unwrap()).is_multiple_of(2);
        self.shards.iter().enumerate().filter(|(at, _)| is_one(*at)).map(|(_, shard)| *shard).collect()
    }

    /// Marks every other node of which it has seen when it expires: the store knows whether it has.
    async fn mark_others(&self, id: &NodeId) -> CellView {
        let view = self.store.look().await.unwrap();
        for other in view.members.iter().filter(|other| other.id != *id) {
            if let Some(expires_at) = other.expires_at {
                let is_dead = self.store.mark(&other.id, expires_at).await.unwrap();
                self.counts.marked.fetch_add(usize::from(is_dead), Ordering::SeqCst);
            }
        }
        view
    }

    async fn claim(&self, id: &NodeId, shards: &ShardSet) -> usize {
        let claimed = self.store.claim(id, shards).await.unwrap().iter().count();
        self.claims.send_replace(());
        self.counts.claimed.fetch_add(claimed, Ordering::SeqCst);
        claimed
    }

    async fn live(&self, id: &NodeId) {
        self.store.register(id, &about()).await.unwrap();
        for _ in 0..=chance()[0] % 8 {
            // On a machine that is busy enough it has expired, and another node may have taken over.
            if self.store.renew(id).await != Ok(true) {
                return;
            }
            self.mark_others(id).await;
            self.claim(id, &self.some()).await;
            if chance()[0].is_multiple_of(2) {
                let shards = self.some();
                self.store.release(id, &shards).await.unwrap();
                self.counts.released.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    async fn run(self, options: PgOptions) {
        // The first time it waits for as long as a lease is, later that is over at once.
        let mut is_first = true;
        while self.counts.claimed.load(Ordering::SeqCst) < takeovers() || is_first {
            let id = another(&self.name);
            self.live(&id).await;
            if chance()[0].is_multiple_of(4) && !is_first {
                self.store.leave(&id).await.unwrap();
                self.counts.left.fetch_add(1, Ordering::SeqCst);
            } else {
                if !is_first {
                    expire(&options, &id).await;
                }
                while self.mark_others(&id).await.living(&id).is_some() {}
                is_first = false;
            }
            self.store.disown();
        }
    }
}

/// One node is left, and owns everything.
async fn inherit(node: &Node, options: &PgOptions) {
    let id = another("heir");
    live(&node.store, options, &id).await;
    let missing = || (0..ORGS).any(|number| node.store.epoch(&org(&format!("org{number}"))).is_none());
    while missing() {
        node.mark_others(&id).await;
        node.claim(&id, &node.shards.iter().copied().collect()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_shards_change_owners_all_that_is_acknowledged_is_there_once_and_nobody_waits_crosswise() {
    let options = server::shared().options();
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let before: i64 = ask(&options, deadlocks).await[0].get(0);
    let shards: BTreeSet<Shard> = (0..ORGS).map(|number| Shard::of(&org(&format!("org{number}")))).collect();
    let acknowledged: Acknowledged = Arc::new((0..ORGS).map(|_| Mutex::default()).collect());
    let (claims, stop, counts) = (watch::Sender::new(()), Arc::<AtomicBool>::default(), Arc::<Counts>::default());
    let (mut writers, mut nodes) = (Vec::new(), Vec::new());
    let mut node = async |name: String| {
        let store = Arc::new(PgStore::open(options.clone()).await.unwrap());
        for number in 0..ORGS {
            writers.push(writer(store.clone(), number, acknowledged.clone(), claims.subscribe(), stop.clone()));
        }
        let shards = shards.iter().copied().collect();
        Node { store, name, shards, claims: claims.clone(), counts: counts.clone() }
    };
    let heir = node("heir".to_owned()).await;
    for number in 0..NODES {
        nodes.push(node(format!("node{number}")).await);
    }
    let running: Vec<_> = nodes.into_iter().map(|node| tokio::spawn(node.run(options.clone()))).collect();
    // Who is left last is marked by somebody.
    let mut running = futures_util::future::join_all(running);
    let id = another("onlooker");
    let ended = loop {
        match timeout(Duration::from_millis(100), &mut running).await {
            Ok(ended) => break ended,
            Err(_) => drop(heir.mark_others(&id).await),
        }
    };
    ended.into_iter().for_each(Result::unwrap);
    inherit(&heir, &options).await;
    let so_far: Vec<_> = acknowledged.iter().map(|of_org| of_org.lock().unwrap().len()).collect();
    for (number, so_far) in so_far.into_iter().enumerate() {
        let goes_on = async {
            while acknowledged[number].lock().unwrap().len() == so_far {
                last(&heir.store, "org0").await;
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
        let stored = last(&heir.store, &format!("org{number}")).await;
        assert_eq!(of_org, (1..=stored).collect::<Vec<_>>(), "org{number}");
        total += of_org.len();
    }
    let after: i64 = ask(&options, deadlocks).await[0].get(0);
    assert_eq!(after, before, "deadlocks");
    let [claimed, released, left, marked] =
        [&counts.claimed, &counts.released, &counts.left, &counts.marked].map(|count| count.load(Ordering::SeqCst));
    println!("{claimed} takeovers, {released} releases, {left} left, {marked} marked, {total} commits acknowledged");
    assert!(released > 0 && marked >= NODES, "{released} releases, {marked} marked");
}
