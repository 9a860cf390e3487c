//! Nodes that share a PostgreSQL, over loopback: what a node more costs, what a forwarded call costs next to one that
//! reaches its owner, and how many durable replies a second there are. All of it on one machine, so what more
//! machines would serve is not measured: the ratios of one run are the figures.
//!
//! ```sh
//! cargo bench --bench cluster                          # about eight minutes
//! cargo bench --bench cluster -- --only durable        # or nodes, forwarded
//! cargo bench --bench cluster -- --against <binary>    # durable replies, in turns with other builds (a,b,…)
//! cargo bench --bench cluster -- --rounds 3            # of each part; 8 unless given
//! ```
//!
//! Nothing is pinned: nodes, PostgreSQL and the client share the cores. `cpu/call` is CPU time, user and system,
//! per answered call, of all nodes, of PostgreSQL, and of the client.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, reads the clock, and rounds"
)]

mod cell;
mod server;

use std::{
    collections::BTreeMap,
    env, fs,
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cell::Postgres;
use server::{Process, Res};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tollgate::wire::{
    admin::v1::{GetClusterRequest, admin_service_client::AdminServiceClient},
    v1::{AcquireRequest, AcquireStreamRequest, Amount, RecordRequest, gate_service_client::GateServiceClient},
};
use tonic::{Status, transport::Channel};

const OURS: &str = env!("CARGO_BIN_EXE_tollgate");
/// Connections to each node: a node takes so many streams of one, and the client has to write on all of them.
const CHANNELS: usize = 4;
const ORGS: usize = 256;
const CALLERS: usize = 64;
/// In flight where durable replies are counted.
const DURABLE: usize = 256;
const ROUNDS: usize = 8;
const TURN: Duration = Duration::from_millis(1500);
/// Before a turn: what the last one has left is written behind.
const PAUSE: Duration = Duration::from_millis(200);
const WARM: Duration = Duration::from_millis(300);
const STARTED_WITHIN: Duration = Duration::from_secs(30);

struct Node {
    process: Process,
    channels: Vec<Channel>,
}

impl Node {
    async fn connected(process: Process, grpc: SocketAddr) -> Res<Self> {
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            channels.push(Channel::from_shared(format!("http://{grpc}"))?.connect().await?);
        }
        Ok(Self { process, channels })
    }

    async fn start(program: &str, config: &str, write_behind_ms: &str) -> Res<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("tollgate.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config"])
            .arg(file)
            .env("TOLLGATE__DURABILITY__WRITE_BEHIND_MS", write_behind_ms)
            // On a machine that others use, a call that waits is to be counted, not to be let through.
            .env("TOLLGATE__BOUNDS__RATE_BUDGET_MS", "2000")
            .env("TOLLGATE__BOUNDS__DECISION_BUDGET_MS", "4250");
        let (process, up) = Process::node(command, dir)?;
        Self::connected(process, up["grpc"].as_str().ok_or("no address")?.parse()?).await
    }

    fn gate(&self, caller: usize) -> GateServiceClient<Channel> {
        GateServiceClient::new(self.channels[caller % CHANNELS].clone())
    }
}

/// Nodes that are one tollgate.
struct Cluster {
    name: String,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Without PostgreSQL.
    async fn single(name: &str, program: &str, write_behind_ms: &str) -> Res<Self> {
        let (process, up) = Process::tollgate(Command::new(program), write_behind_ms, tempfile::tempdir()?, &[])?;
        let node = Node::connected(process, up["grpc"].as_str().ok_or("no address")?.parse()?).await?;
        Ok(Self { name: name.to_owned(), nodes: vec![node] })
    }

    /// So many nodes on a schema of their own, once every shard has an owner.
    async fn of(nodes: usize, program: &str, postgres: &Postgres, write_behind_ms: &str) -> Res<Self> {
        Self::with(nodes, program, postgres, write_behind_ms, "").await
    }

    /// The same with more in the URL.
    async fn with(nodes: usize, program: &str, postgres: &Postgres, write_behind_ms: &str, options: &str) -> Res<Self> {
        static SCHEMAS: AtomicU64 = AtomicU64::new(1);
        let url = postgres.url(&format!("bench_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))) + options;
        let mut cluster =
            Self { name: format!("{nodes} node{}", if nodes == 1 { "" } else { "s" }), nodes: Vec::new() };
        for number in 1..=nodes {
            let peer = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let config = format!(
                "[listen]\npeer = \"{peer}\"\n[cluster]\npostgres_urls = [\"{url}\"]\n[node]\nname = \"n{number}\"\n"
            );
            cluster.nodes.push(Node::start(program, &config, write_behind_ms).await?);
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// Until each node says the same: every shard is owned, and each of them owns some.
    async fn settled(&self) -> Res<()> {
        let until = Instant::now() + STARTED_WITHIN;
        let mut well = 0;
        // Several times in a row: a node that has just come in takes its part a moment later.
        while well < 10 {
            let mut owners = 0;
            for node in &self.nodes {
                let mut admin = AdminServiceClient::new(node.channels[0].clone());
                let seen = admin.get_cluster(GetClusterRequest::default()).await?.into_inner();
                let is_whole = seen.shards_owned == seen.shards_total && seen.shards_total > 0;
                let is_spread = seen.nodes.iter().filter(|node| node.shards > 0).count() == self.nodes.len();
                owners += usize::from(is_whole && is_spread);
            }
            well = if owners == self.nodes.len() { well + 1 } else { 0 };
            if Instant::now() > until {
                return Err(format!("{}: not every shard has an owner within {STARTED_WITHIN:?}", self.name).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn cpu(&self) -> Res<u64> {
        self.nodes.iter().map(|node| node.process.cpu()).sum()
    }

    /// The orgs of each node, by what answers say of who decided.
    async fn owned(&self) -> Res<Vec<Vec<String>>> {
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut gate = self.nodes[0].gate(0);
        for number in 0..ORGS {
            let org = org(number);
            let answer = gate.acquire(AcquireRequest { org: org.clone(), ..Default::default() }).await?;
            by_name.entry(answer.into_inner().node).or_default().push(org);
        }
        if by_name.len() != self.nodes.len() {
            return Err(format!("{} nodes decide for {ORGS} orgs", by_name.len()).into());
        }
        Ok(by_name.into_values().collect())
    }
}

fn org(number: usize) -> String {
    format!("org-{number}")
}

/// A UUID of version 7: what says when it was made is not looked up on disk.
fn request_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{now:012x}7000a{:03x}{:012x}", std::process::id() & 0xfff, count)
}

/// What callers ask for, one call at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Written behind, unless the node writes nothing behind.
    Acquire,
    /// Answered when it is on disk.
    Record,
}

impl Ask {
    async fn once(self, org: String, gate: &mut GateServiceClient<Channel>) -> Result<(), Status> {
        match self {
            Self::Acquire => {
                let answer = gate.acquire(AcquireRequest { org, ..Default::default() }).await?.into_inner();
                let is_plain = answer.allowed && answer.fail_open.is_empty();
                if is_plain { Ok(()) } else { Err(Status::internal(format!("no plain admission: {answer:?}"))) }
            }
            Self::Record => {
                let usage = vec![Amount { meter: "spend".into(), amount: 1 }];
                gate.record(RecordRequest { org, usage, request_id: request_id(), ..Default::default() }).await?;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Figure {
    per_second: f64,
    /// CPU per call in microseconds: of the nodes, of PostgreSQL, of the client.
    nodes: f64,
    postgres: f64,
    client: f64,
    p50_us: f64,
    p99_us: f64,
}

fn own_cpu() -> Res<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * 10_000)
}

/// CPU times of everybody at one instant.
struct Spent {
    at: Instant,
    nodes: u64,
    postgres: u64,
    client: u64,
}

impl Spent {
    fn now(cluster: &Cluster, postgres: &Postgres) -> Res<Self> {
        Ok(Self { at: Instant::now(), nodes: cluster.cpu()?, postgres: postgres.cpu()?, client: own_cpu()? })
    }

    fn until(&self, end: &Self, calls: u64, mut took: Vec<u64>) -> Figure {
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or(0) as f64;
        let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / calls.max(1) as f64;
        Figure {
            per_second: calls as f64 / (end.at - self.at).as_secs_f64(),
            nodes: each(self.nodes, end.nodes),
            postgres: each(self.postgres, end.postgres),
            client: each(self.client, end.client),
            p50_us: at(50),
            p99_us: at(99),
        }
    }
}

/// A caller's connection, and the orgs that it asks of, one after the other.
type Caller = (GateServiceClient<Channel>, Vec<String>);

/// What a turn is of.
struct Load<'a> {
    cluster: &'a Cluster,
    postgres: &'a Postgres,
    ask: Ask,
}

const BEFORE: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

impl Load<'_> {
    /// Closed loops for one turn. Calls count that end within it.
    async fn turn(&self, callers: Vec<Caller>) -> Res<Figure> {
        tokio::time::sleep(PAUSE).await;
        let (phase, ask) = (Arc::new(std::sync::atomic::AtomicU8::new(BEFORE)), self.ask);
        let callers: Vec<_> = callers
            .into_iter()
            .map(|(mut gate, orgs)| {
                let phase = phase.clone();
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    for org in orgs.iter().cycle() {
                        let sent = Instant::now();
                        ask.once(org.clone(), &mut gate).await?;
                        match phase.load(Ordering::Relaxed) {
                            BEFORE => {}
                            MEASURED => took.push(sent.elapsed().as_micros() as u64),
                            _ => break,
                        }
                    }
                    Ok::<_, Status>(took)
                })
            })
            .collect();
        tokio::time::sleep(WARM).await;
        let begin = Spent::now(self.cluster, self.postgres)?;
        phase.store(MEASURED, Ordering::Relaxed);
        tokio::time::sleep(TURN).await;
        phase.store(OVER, Ordering::Relaxed);
        let end = Spent::now(self.cluster, self.postgres)?;
        let mut took = Vec::new();
        for caller in callers {
            took.extend(caller.await??);
        }
        Ok(begin.until(&end, took.len() as u64, took))
    }

    /// So many callers, over all nodes and orgs.
    async fn spread(&self, count: usize) -> Res<Figure> {
        let nodes = &self.cluster.nodes;
        let caller = |number: usize| {
            let orgs = (0..ORGS).map(|at| org((at * 7 + number * 5) % ORGS)).collect();
            (nodes[number % nodes.len()].gate(number / nodes.len()), orgs)
        };
        self.turn((0..count).map(caller).collect()).await
    }

    /// Each caller asks a node of orgs of one node: of that one, or of the other of two.
    async fn placed(&self, owned: &[Vec<String>], count: usize, forwarded: bool) -> Res<Figure> {
        let nodes = &self.cluster.nodes;
        let caller = |number: usize| {
            let owner = number % nodes.len();
            let asked = if forwarded { (owner + 1) % nodes.len() } else { owner };
            let mut orgs = owned[owner].clone();
            let places = orgs.len();
            orgs.rotate_left(number * 5 % places);
            (nodes[asked].gate(number / nodes.len()), orgs)
        };
        self.turn((0..count).map(caller).collect()).await
    }

    /// One stream for each connection, `DURABLE` items in flight on all of them together.
    async fn streamed(&self) -> Res<Figure> {
        const WINDOW: usize = DURABLE / CHANNELS;
        tokio::time::sleep(PAUSE).await;
        let (answered, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let streams: Vec<_> = (0..CHANNELS)
            .map(|channel| {
                let (mut gate, answered, over) = (self.cluster.nodes[0].gate(channel), answered.clone(), over.clone());
                let item = move |tag: u64| AcquireStreamRequest {
                    tag,
                    acquire: Some(AcquireRequest { org: org(channel * WINDOW + tag as usize), ..Default::default() }),
                };
                tokio::spawn(async move {
                    let (send, receive) = mpsc::channel(WINDOW);
                    for tag in 0..WINDOW as u64 {
                        let _ = send.try_send(item(tag));
                    }
                    let mut answers = gate.acquire_stream(ReceiverStream::new(receive)).await?.into_inner();
                    while !over.load(Ordering::Relaxed) {
                        let Some(answer) = answers.next().await else { break };
                        answered.fetch_add(1, Ordering::Relaxed);
                        let _ = send.send(item(answer?.tag)).await;
                    }
                    Ok::<_, Status>(())
                })
            })
            .collect();
        tokio::time::sleep(WARM).await;
        let (begin, before) = (Spent::now(self.cluster, self.postgres)?, answered.load(Ordering::Relaxed));
        tokio::time::sleep(TURN).await;
        let (end, calls) = (Spent::now(self.cluster, self.postgres)?, answered.load(Ordering::Relaxed) - before);
        over.store(true, Ordering::Relaxed);
        for stream in streams {
            stream.await??;
        }
        Ok(begin.until(&end, calls, Vec::new()))
    }
}

/// Each number for itself.
fn median(figures: &[Figure]) -> Figure {
    let of = |number: fn(&Figure) -> f64| middle(figures.iter().map(number).collect());
    Figure {
        per_second: of(|figure| figure.per_second),
        nodes: of(|figure| figure.nodes),
        postgres: of(|figure| figure.postgres),
        client: of(|figure| figure.client),
        p50_us: of(|figure| figure.p50_us),
        p99_us: of(|figure| figure.p99_us),
    }
}

fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// What was measured in turns, and what each is compared with, turn by turn.
#[derive(Default)]
struct Rows(Vec<(String, Vec<Figure>)>);

impl Rows {
    fn add(&mut self, name: &str, figure: Figure) {
        match self.0.iter_mut().find(|(of, _)| of == name) {
            Some((_, figures)) => figures.push(figure),
            None => self.0.push((name.to_owned(), vec![figure])),
        }
    }

    fn show(&self, title: &str, base: impl Fn(&str) -> Option<String>) {
        println!("\n{title}");
        for (name, figures) in &self.0 {
            let shown = median(figures);
            println!(
                "{name:<34} {:>7.0}/s   cpu/call: nodes {:>6.1} us, postgres {:>6.1} us, client {:>5.1} us   \
                 p50 {:>6.2} ms   p99 {:>6.2} ms",
                shown.per_second,
                shown.nodes,
                shown.postgres,
                shown.client,
                shown.p50_us / 1000.0,
                shown.p99_us / 1000.0
            );
            let Some(base) = base(name).filter(|base| base != name) else { continue };
            let Some((_, others)) = self.0.iter().find(|(of, _)| *of == base) else { continue };
            let ratios = |number: fn(&Figure) -> f64| {
                spread(figures.iter().zip(others).map(|(figure, other)| number(figure) / number(other)).collect())
            };
            println!(
                "    of {base}: {} by throughput, {} by cpu of the nodes",
                ratios(|figure| figure.per_second),
                ratios(|figure| figure.nodes)
            );
            if shown.p50_us > 0.0 {
                println!(
                    "        {} by p50, {} by p99",
                    ratios(|figure| figure.p50_us),
                    ratios(|figure| figure.p99_us)
                );
            }
        }
    }
}

/// The median, and the least and the greatest.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |index: usize| ratios.get(index).copied().unwrap_or_default();
    format!("{:.2} ({:.2} to {:.2})", at(ratios.len() / 2), at(0), at(ratios.len().saturating_sub(1)))
}

/// The load average of the machine, which others use as well.
fn machine_load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// One, two and three nodes, and a single one with a data directory.
async fn nodes(postgres: &Postgres, rounds: usize) -> Res<()> {
    let mut clusters = vec![Cluster::single("single, data directory", OURS, "10").await?];
    for count in 1..=3 {
        clusters.push(Cluster::of(count, OURS, postgres, "10").await?);
    }
    let mut rows = Rows::default();
    for round in 0..rounds {
        for (ask, what) in [(Ask::Acquire, "Acquire"), (Ask::Record, "Record")] {
            for cluster in &clusters {
                let figure = Load { cluster, postgres, ask }.spread(CALLERS).await?;
                rows.add(&format!("{what}: {}", cluster.name), figure);
            }
        }
        println!("nodes: round {} of {rounds}, load {}", round + 1, machine_load());
    }
    let title = format!("medians of {rounds} turns, {CALLERS} callers over all nodes, {ORGS} orgs, unary");
    rows.show(&title, |name| Some(format!("{}: 1 node", name.split(':').next()?)));
    Ok(())
}

/// The owner is asked, or the other one of two nodes.
async fn forwarded(postgres: &Postgres, rounds: usize) -> Res<()> {
    let cluster = Cluster::of(2, OURS, postgres, "10").await?;
    let owned = cluster.owned().await?;
    let mut rows = Rows::default();
    for round in 0..2 * rounds {
        for (ask, what) in [(Ask::Acquire, "Acquire"), (Ask::Record, "Record")] {
            for callers in [CALLERS, 2] {
                for (is_forwarded, how) in [(false, "local"), (true, "forwarded")] {
                    let load = Load { cluster: &cluster, postgres, ask };
                    let figure = load.placed(&owned, callers, is_forwarded).await?;
                    rows.add(&format!("{what}, {callers} callers: {how}"), figure);
                }
            }
        }
        println!("forwarded: round {} of {}, load {}", round + 1, 2 * rounds, machine_load());
    }
    let title = format!("medians of {} turns, 2 nodes, {ORGS} orgs, unary", 2 * rounds);
    rows.show(&title, |name| Some(format!("{}: local", name.split(':').next()?)));
    Ok(())
}

/// Durable replies of one node, 256 in flight.
async fn durable(postgres: &Postgres, rounds: usize, against: Option<&str>) -> Res<()> {
    let others = against.map(|paths| paths.split(',')).into_iter().flatten();
    // Who records, and who writes nothing behind.
    let mut clusters = Vec::new();
    for program in others.chain([OURS]) {
        for write_behind_ms in ["10", "0"] {
            let mut cluster = Cluster::of(1, program, postgres, write_behind_ms).await?;
            cluster.name = if program == OURS { "postgres".to_owned() } else { format!("postgres, {program}") };
            clusters.push((write_behind_ms, cluster));
        }
    }
    for write_behind_ms in ["10", "0"] {
        let mut cluster = Cluster::with(1, OURS, postgres, write_behind_ms, "&prepared_statements=on").await?;
        cluster.name = "postgres, prepared statements".to_owned();
        clusters.push((write_behind_ms, cluster));
    }
    if against.is_none() {
        for write_behind_ms in ["10", "0"] {
            clusters.push((write_behind_ms, Cluster::single("data directory", OURS, write_behind_ms).await?));
        }
    }
    let mut rows = Rows::default();
    for round in 0..rounds {
        for (write_behind_ms, cluster) in &clusters {
            if *write_behind_ms == "0" {
                let load = Load { cluster, postgres, ask: Ask::Acquire };
                rows.add(&format!("Acquire, unary: {}", cluster.name), load.spread(DURABLE).await?);
                rows.add(&format!("Acquire, streams: {}", cluster.name), load.streamed().await?);
            } else {
                let load = Load { cluster, postgres, ask: Ask::Record };
                rows.add(&format!("Record, unary: {}", cluster.name), load.spread(DURABLE).await?);
            }
        }
        println!("durable: round {} of {rounds}, load {}", round + 1, machine_load());
    }
    let title = format!("medians of {rounds} turns, {DURABLE} in flight on one node, {ORGS} orgs, every reply durable");
    let base = clusters.iter().find(|(_, cluster)| against.is_some() || !cluster.name.starts_with("postgres"));
    let base = base.map(|(_, cluster)| cluster.name.clone()).unwrap_or_default();
    rows.show(&title, |name| Some(format!("{}: {base}", name.split(':').next()?)));
    Ok(())
}

fn main() -> Res<()> {
    let arguments: Vec<String> = env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let rounds = value("--rounds").map_or(Ok(ROUNDS), str::parse)?;
    let against = value("--against");
    let only = value("--only").or(against.map(|_| "durable"));
    let is_wanted = |part: &str| only.is_none_or(|only| only == part);
    tokio::runtime::Runtime::new()?.block_on(async {
        let postgres = Postgres::start()?;
        println!("{} processors, load {}", std::thread::available_parallelism()?, machine_load());
        if is_wanted("nodes") {
            nodes(&postgres, rounds).await?;
        }
        if is_wanted("forwarded") {
            forwarded(&postgres, rounds).await?;
        }
        if is_wanted("durable") {
            durable(&postgres, rounds, against).await?;
        }
        Ok(())
    })
}
