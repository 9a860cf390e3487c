//! Keepers of several nodes over rows in memory that follow the statements of ADR 15, in paused time.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures_util::FutureExt;
use tokio::time::{Instant, advance};

use super::*;
use crate::{
    bounds::{NODE_LEASE_MS, NODE_LEASE_VALID_MS},
    cluster::{
        membership::{self, Membership},
        table::{Owner, Standing, Table},
    },
    domain::{
        ids::OrgId,
        lease::Now,
        members::{Holding, Member},
        service_time::{ClockMark, ClockState},
        shard::{SHARDS, Shard, ShardSet},
        tenure::Tenure,
        window::Millis,
    },
    testing::org,
};

#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn read(&self) -> Now {
        Now::at(self.uptime())
    }

    fn may_purge(&self) -> bool {
        true
    }

    fn state(&self) -> ClockState {
        ClockState::Steady
    }

    fn mark(&self) -> ClockMark {
        ClockMark { uptime: self.uptime(), ..ClockMark::default() }
    }

    fn uptime(&self) -> Millis {
        1 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

#[derive(Debug, Default)]
struct Rows {
    members: BTreeMap<NodeId, Member>,
    shards: Vec<Holding>,
}

/// What all nodes share.
#[derive(Debug)]
struct Database {
    rows: Mutex<Rows>,
    clock: Arc<Paused>,
    told: watch::Sender<u64>,
}

/// The same as one node reaches it.
#[derive(Debug)]
struct Line {
    database: Arc<Database>,
    is_cut: AtomicBool,
    /// Releases are carried out, and not answered.
    loses_releases: AtomicBool,
    disowned: AtomicU64,
}

impl Database {
    fn now(&self) -> i64 {
        i64::try_from(self.clock.uptime()).unwrap()
    }
}

fn lease() -> i64 {
    i64::try_from(NODE_LEASE_MS).unwrap()
}

impl Line {
    fn change<T>(&self, change: impl FnOnce(&mut Rows, i64) -> T) -> BoxFuture<'_, Result<T, StoreFault>>
    where
        T: Send + 'static,
    {
        if self.is_cut.load(Ordering::SeqCst) {
            return std::future::ready(Err(StoreFault { operation: "cell", cause: "cut off".into() })).boxed();
        }
        let now = self.database.now();
        let changed = change(&mut self.database.rows.lock().unwrap(), now);
        self.database.told.send_modify(|count| *count += 1);
        std::future::ready(Ok(changed)).boxed()
    }
}

impl Cell for Line {
    fn register<'a>(&'a self, id: &'a NodeId, about: &'a About) -> BoxFuture<'a, Result<(), StoreFault>> {
        let member =
            |now| Member { id: id.clone(), about: about.clone(), is_draining: false, expires_at: Some(now + lease()) };
        self.change(|rows, now| assert!(rows.members.insert(id.clone(), member(now)).is_none()))
    }

    fn renew<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<bool, StoreFault>> {
        self.change(|rows, now| match rows.members.get_mut(id) {
            Some(Member { expires_at: Some(at), .. }) if *at > now => {
                *at = now + lease();
                true
            }
            _ => false,
        })
    }

    fn drain<'a>(&'a self, id: &'a NodeId, is_draining: bool) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.change(|rows, _| rows.members.get_mut(id).unwrap().is_draining = is_draining)
    }

    fn configured<'a>(&'a self, id: &'a NodeId, config: &'a str) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.change(|rows, _| rows.members.get_mut(id).unwrap().about.config = config.to_owned())
    }

    fn look(&self) -> BoxFuture<'_, Result<CellView, StoreFault>> {
        if self.is_cut.load(Ordering::SeqCst) {
            return std::future::ready(Err(StoreFault { operation: "cell", cause: "cut off".into() })).boxed();
        }
        let rows = self.database.rows.lock().unwrap();
        let at = self.database.now();
        let view = CellView { at, members: rows.members.values().cloned().collect(), shards: rows.shards.clone() };
        std::future::ready(Ok(view)).boxed()
    }

    fn mark<'a>(&'a self, id: &'a NodeId, expires_at: i64) -> BoxFuture<'a, Result<bool, StoreFault>> {
        self.change(|rows, now| {
            let member = rows.members.get_mut(id).filter(|member| member.expires_at == Some(expires_at));
            let is_over = expires_at <= now;
            member.filter(|_| is_over).map(|member| member.expires_at = None).is_some()
        })
    }

    fn tenure(&self, shard: Shard) -> Option<Tenure> {
        let epoch = self.database.rows.lock().unwrap().shards[usize::from(shard.number())].as_epoch();
        Some(Tenure { epoch, ..Tenure::ONLY })
    }

    fn claim<'a>(&'a self, id: &'a NodeId, shards: &'a ShardSet) -> BoxFuture<'a, Result<ShardSet, StoreFault>> {
        self.change(|rows, now| {
            let dead: BTreeSet<_> =
                rows.members.values().filter(|member| member.expires_at.is_none()).map(|member| &member.id).collect();
            if rows.members.get(id).is_none_or(|member| member.expires_at.is_none_or(|at| at <= now)) {
                return [].into_iter().collect();
            }
            let mut claimed = Vec::new();
            for shard in shards.iter() {
                let row = &mut rows.shards[usize::from(shard.number())];
                if row.owner.as_ref().is_none_or(|owner| owner == id || dead.contains(owner)) {
                    *row = Holding { owner: Some(id.clone()), epoch: row.epoch + 1 };
                    claimed.push(shard);
                }
            }
            claimed.into_iter().collect()
        })
    }

    fn release<'a>(&'a self, id: &'a NodeId, shards: &'a ShardSet) -> BoxFuture<'a, Result<(), StoreFault>> {
        let released = self.change(|rows, _| {
            for shard in shards.iter() {
                let row = &mut rows.shards[usize::from(shard.number())];
                if row.owner.as_ref() == Some(id) {
                    *row = Holding { owner: None, epoch: row.epoch + 1 };
                }
            }
        });
        let fault = Err(StoreFault { operation: "cell", cause: "no answer".into() });
        if self.loses_releases.load(Ordering::SeqCst) { std::future::ready(fault).boxed() } else { released }
    }

    fn leave<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.change(|rows, _| rows.members.get_mut(id).map(|member| member.expires_at = None).unwrap())
    }

    fn forget(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.change(|_, _| ())
    }

    fn disown(&self) {
        self.disowned.fetch_add(1, Ordering::SeqCst);
    }

    fn told(&self) -> watch::Receiver<u64> {
        self.database.told.subscribe()
    }
}

/// What is in memory: everything that came and has not left.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeSet<Shard>>);

impl Residents for Memory {
    fn came(&self, shards: &ShardSet) {
        self.0.lock().unwrap().extend(shards.iter());
    }

    fn leave<'a>(&'a self, shards: &'a ShardSet) -> BoxFuture<'a, ()> {
        async move {
            // Flushing takes a moment.
            let _ = timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
            self.0.lock().unwrap().retain(|shard| !shards.contains(*shard));
        }
        .boxed()
    }
}

struct Node {
    line: Arc<Line>,
    table: Arc<Table>,
    memory: Arc<Memory>,
    keeper: Keeper,
}

impl Node {
    fn owned(&self) -> usize {
        self.table.owned().len()
    }

    fn may_answer(&self, org: &OrgId) -> bool {
        self.table.may_load(org) == Standing::Owned
    }
}

fn about(name: &str) -> About {
    About {
        peer: format!("{name}:7072"),
        grpc: format!("{name}:7070"),
        weight: NonZeroU16::MIN,
        version: "1".into(),
        config: "c".into(),
    }
}

fn draw() -> Incarnation {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    Incarnation(DRAWN.fetch_add(1, Ordering::SeqCst))
}

struct Cluster(Arc<Database>);

impl Cluster {
    fn new() -> Self {
        let rows = Rows { shards: vec![Holding::default(); SHARDS.into()], ..Rows::default() };
        let clock = Arc::new(Paused(Instant::now()));
        Self(Arc::new(Database { rows: Mutex::new(rows), clock, told: watch::Sender::new(0) }))
    }

    fn line(&self) -> Arc<Line> {
        Arc::new(Line {
            database: self.0.clone(),
            is_cut: false.into(),
            loses_releases: false.into(),
            disowned: 0.into(),
        })
    }

    fn node(&self, name: &str) -> Node {
        let line = self.line();
        let (table, memory) = (Table::shared(self.0.clock.clone(), 1), Arc::<Memory>::default());
        let about = about(name);
        let keeper = Keeper::start(Deps {
            cell: line.clone(),
            table: table.parts().remove(0),
            residents: memory.clone(),
            clock: self.0.clock.clone(),
            name: name.into(),
            about,
            draw,
        });
        Node { line, table, memory, keeper }
    }

    /// Lets time pass in steps; at each of them no org may be answered for by two nodes.
    async fn pass(&self, millis: u64, nodes: &[&Node]) {
        let orgs: Vec<OrgId> = (0..40).map(|number| org(&format!("org-{number}"))).collect();
        for _ in 0..millis / 10 {
            advance(Duration::from_millis(10)).await;
            for org in &orgs {
                let owners = nodes.iter().filter(|node| node.may_answer(org)).count();
                assert!(owners <= 1, "{org} has {owners} owners");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_first_owns_everything_and_goes_on_owning_it() {
    let cluster = Cluster::new();
    let first = cluster.node("first");
    cluster.pass(200, &[&first]).await;
    assert_eq!(first.owned(), 1024);
    assert_eq!(first.memory.0.lock().unwrap().len(), 1024);
    cluster.pass(10_000, &[&first]).await;
    assert!(first.may_answer(&org("acme")));
    assert_eq!(first.keeper.place().claimed, 1024, "once");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_join_get_their_share_and_calls_are_sent_where_it_is() {
    let cluster = Cluster::new();
    let first = cluster.node("first");
    cluster.pass(1_000, &[&first]).await;
    let (second, third) = (cluster.node("second"), cluster.node("third"));
    cluster.pass(20_000, &[&first, &second, &third]).await;
    for node in [&first, &second, &third] {
        assert!((307..=376).contains(&node.owned()), "{} of 1024", node.owned());
        assert_eq!(node.memory.0.lock().unwrap().len(), node.owned(), "what has left is not in memory");
    }
    for number in 0..40 {
        let org = org(&format!("org-{number}"));
        let seen: BTreeSet<_> = [(&first, "first"), (&second, "second"), (&third, "third")]
            .into_iter()
            .map(|(node, name)| match node.table.owner(&org) {
                Owner::Here => name.to_owned(),
                Owner::There(other, _) => other.id.name.to_string(),
                Owner::Nobody => "nobody".to_owned(),
            })
            .collect();
        assert_eq!(seen.len(), 1, "all know the same owner: {seen:?}");
    }
    let before = first.owned();
    cluster.pass(10_000, &[&first, &second, &third]).await;
    assert_eq!(first.owned(), before, "what is balanced stays");
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_node_that_is_cut_off_are_another_ones_within_two_seconds_and_a_half() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.node("first"), cluster.node("second"));
    cluster.pass(10_000, &[&first, &second]).await;
    first.line.is_cut.store(true, Ordering::SeqCst);
    cluster.pass(NODE_LEASE_VALID_MS - 400, &[&first, &second]).await;
    assert!(first.owned() > 0 && first.table.owned().iter().any(|shard| first.standing(shard) == Standing::Owned));
    cluster.pass(500, &[&first, &second]).await;
    assert!(first.table.owned().iter().all(|shard| first.standing(shard) == Standing::Lapsed), "it answers nothing");
    cluster.pass(1_600, &[&first, &second]).await;
    assert_eq!(second.owned(), 1024);
    first.line.is_cut.store(false, Ordering::SeqCst);
    cluster.pass(10_000, &[&first, &second]).await;
    assert!(first.line.disowned.load(Ordering::SeqCst) > 0, "what it had is dropped");
    assert_eq!(first.keeper.place().lives_lost, 1);
    assert!((460..=564).contains(&first.owned()), "{} of 1024, in another life", first.owned());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_marked_is_good_again_when_the_database_is_back() {
    let cluster = Cluster::new();
    let first = cluster.node("first");
    cluster.pass(1_000, &[&first]).await;
    first.line.is_cut.store(true, Ordering::SeqCst);
    cluster.pass(1_400, &[&first]).await;
    assert!(!first.may_answer(&org("acme")));
    first.line.is_cut.store(false, Ordering::SeqCst);
    cluster.pass(2_000, &[&first]).await;
    assert!(first.may_answer(&org("acme")), "at once, or in another life where the lease had expired");
    assert_eq!(first.owned(), 1024);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_hands_everything_over_and_is_gone() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.node("first"), cluster.node("second"));
    cluster.pass(10_000, &[&first, &second]).await;
    let nodes = [&first, &second];
    let leaving = first.keeper.leave(Duration::from_secs(10));
    tokio::join!(leaving, cluster.pass(3_000, &nodes));
    assert_eq!((first.owned(), second.owned()), (0, 1024));
    assert!(first.memory.0.lock().unwrap().is_empty());
    assert_eq!(first.keeper.place().lives_lost, 0);
    let rows = cluster.0.rows.lock().unwrap();
    assert!(rows.members.values().any(|member| &*member.id.name == "first" && member.expires_at.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_is_lost_is_settled_and_nothing_is_owned_twice() {
    let cluster = Cluster::new();
    let first = cluster.node("first");
    cluster.pass(1_000, &[&first]).await;
    first.line.loses_releases.store(true, Ordering::SeqCst);
    let second = cluster.node("second");
    cluster.pass(8_000, &[&first, &second]).await;
    first.line.loses_releases.store(false, Ordering::SeqCst);
    cluster.pass(8_000, &[&first, &second]).await;
    assert_eq!(first.owned() + second.owned(), 1024);
    assert!((460..=564).contains(&second.owned()), "{} of 1024", second.owned());
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_owns_nothing_until_it_serves_again() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.node("first"), cluster.node("second"));
    cluster.pass(10_000, &[&first, &second]).await;
    assert_eq!(first.keeper.drain("first", true).await, Ok(true));
    cluster.pass(5_000, &[&first, &second]).await;
    assert_eq!((first.owned(), second.owned()), (0, 1024));
    assert_eq!(second.keeper.drain("first", false).await, Ok(true), "told through another node");
    assert_eq!(second.keeper.drain("nobody", true).await, Ok(false));
    cluster.pass(10_000, &[&first, &second]).await;
    assert!((460..=564).contains(&first.owned()), "{} of 1024", first.owned());
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_join_beside_one_of_its_name_and_takes_over_from_one_that_was_killed() {
    let cluster = Cluster::new();
    let first = cluster.node("same");
    cluster.pass(1_000, &[&first]).await;
    let second = cluster.node("same");
    cluster.pass(10_000, &[&first, &second]).await;
    assert_eq!((first.owned(), second.owned()), (1024, 0));
    assert_eq!(second.keeper.place().id, None, "it has not registered");
    assert_eq!(second.keeper.place().rival.as_deref(), Some("same:7070"));
    first.line.is_cut.store(true, Ordering::SeqCst);
    cluster.pass(4_000, &[&first, &second]).await;
    assert_eq!((second.owned(), second.keeper.place().rival.clone()), (1024, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_is_told_to_the_others_in_every_life() {
    let cluster = Cluster::new();
    let first = cluster.node("first");
    cluster.pass(1_000, &[&first]).await;
    first.keeper.configured("another".into());
    cluster.pass(1_000, &[&first]).await;
    let told = || cluster.0.rows.lock().unwrap().members.values().next_back().unwrap().about.config.clone();
    assert_eq!(told(), "another");
    first.line.is_cut.store(true, Ordering::SeqCst);
    cluster.pass(3_000, &[&first]).await;
    first.line.is_cut.store(false, Ordering::SeqCst);
    cluster.pass(4_000, &[&first]).await;
    assert_eq!((first.owned(), told()), (1024, "another".to_owned()));
    assert_eq!(first.keeper.place().lives_lost, 1);
}

impl Node {
    fn standing(&self, shard: Shard) -> Standing {
        self.table.parts()[0].held_still(shard).map_or(Standing::Elsewhere, |epoch| self.table.standing(shard, epoch))
    }
}

/// A node of two cells.
struct Both {
    lines: [Arc<Line>; 2],
    table: Arc<Table>,
    memory: Arc<Memory>,
    membership: Membership,
}

impl Both {
    fn new(cells: &[Cluster; 2], name: &str) -> Self {
        let clock = cells[0].0.clock.clone();
        let (table, memory) = (Table::shared(clock.clone(), 2), Arc::<Memory>::default());
        let lines = [cells[0].line(), cells[1].line()];
        let membership = Membership::start(membership::Deps {
            cells: lines.iter().map(|line| line.clone() as Arc<dyn Cell>).collect(),
            table: table.clone(),
            residents: memory.clone(),
            clock,
            name: name.into(),
            about: about(name),
            draw,
        });
        Self { lines, table, memory, membership }
    }

    fn owned(&self) -> [usize; 2] {
        [0, 1].map(|cell| self.table.owned().within(&ShardSet::of_cell(cell, 2)).len())
    }

    /// Of orgs of each cell: for how many it would answer now.
    fn answers(&self) -> [usize; 2] {
        let orgs = (0..40).map(|number| org(&format!("org-{number}")));
        let answered: Vec<_> = orgs.filter(|org| self.table.may_load(org) == Standing::Owned).collect();
        [0, 1].map(|cell| answered.iter().filter(|org| Shard::of(org).cell(2) == cell).count())
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_one_cell_does_not_reach_the_others() {
    let cells = [Cluster::new(), Cluster::new()];
    let (first, second) = (Both::new(&cells, "first"), Both::new(&cells, "second"));
    cells[0].pass(20_000, &[]).await;
    for node in [&first, &second] {
        assert!(node.owned().iter().all(|owned| (230..=282).contains(owned)), "{:?}", node.owned());
        assert_eq!(node.memory.0.lock().unwrap().len(), node.table.owned().len());
    }
    let (owned, before) = (first.owned(), first.answers());
    for node in [&first, &second] {
        node.lines[1].is_cut.store(true, Ordering::SeqCst);
    }
    cells[0].pass(60_000, &[]).await;
    assert_eq!((first.owned()[0], first.answers()), (owned[0], [before[0], 0]), "its lease is over in that cell alone");
    let places = first.membership.places();
    assert_eq!(places[0].lives_lost, 0);
    assert!(places[0].fault.is_none() && places[1].fault.is_some());
    for node in [&first, &second] {
        node.lines[1].is_cut.store(false, Ordering::SeqCst);
    }
    cells[0].pass(20_000, &[]).await;
    assert_eq!(first.owned()[0], owned[0], "nothing has moved there");
    assert_eq!(first.owned()[1] + second.owned()[1], 512);
    assert_eq!(first.membership.drain("second", true).await, Ok(true));
    cells[0].pass(10_000, &[]).await;
    assert_eq!((first.owned(), second.owned()), ([512, 512], [0, 0]), "it drains in every cell");
    let leaving = first.membership.leave(Duration::from_secs(20));
    tokio::join!(leaving, cells[0].pass(10_000, &[]));
    assert_eq!(first.owned(), [0, 0]);
}
