//! Keeps this node's place in a cell: its lease, and the shards that are its own.
//!
//! ```text
//! register ─┬─ renew every 0.4 s ─────────────────────────────────────▶ refused: this life is over
//!           └─ look ─▶ mark who is dead ─▶ plan ─┬─▶ claim what is free
//!               ▲                                └─▶ hand over: stop, flush, release
//!               └── told of a change, or 0.5 s later
//! ```
//!
//! Every node does this by itself; `placement` brings all of them to the same result. What is lost is told to those who
//! have it in memory, and the node goes on as another incarnation.
//! Why it is as it is: [ADR 15](../../docs/adr/0015-nodes-share-postgresql.md).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    lease::{NodeLease, Renewal, Uptime, WatchedLease},
    placement::{self, Owners, Placement},
    table::Table,
};
use crate::{
    bounds::NODE_LEASE_RENEWAL_MS,
    domain::{
        members::{About, CellView, Incarnation, Member, NodeId},
        shard::{SHARDS, ShardSet},
    },
    ports::{Cell, Clock, Itself, Residents, StoreFault},
};

const RENEWAL: Duration = Duration::from_millis(NODE_LEASE_RENEWAL_MS);
/// The cell is looked at as often as this, whatever is told.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two looks where something was just done.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What a statement may take before it is asked again.
const ASK_WITHIN: Duration = Duration::from_secs(6);
/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Shards that are handed over in one round, so that a node that joins does not stop a whole cell.
const AT_ONCE: usize = 32;
/// The same where the node goes away: its callers wait for it.
const AT_ONCE_LEAVING: usize = 128;
/// What finishing and flushing the orgs of one round may take. What is not flushed then is refused by the fence.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Looks between two removals of the rows of nodes that died long ago.
const LOOKS_PER_FORGETTING: u32 = 1200;

/// What a keeper needs.
#[derive(Debug)]
pub struct Deps {
    /// The rows that nodes share.
    pub cell: Arc<dyn Cell>,
    /// Which node answers for which shard, as it is found here.
    pub table: Arc<Table>,
    /// What this node has in memory.
    pub residents: Arc<dyn Residents>,
    /// How long a lease is good for.
    pub clock: Arc<dyn Clock>,
    /// Of this node, in each of its lives.
    pub name: Arc<str>,
    /// What it says of itself.
    pub about: About,
    /// Draws an incarnation.
    pub draw: fn() -> Incarnation,
}

/// How this node stands in its cell.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Its life; `None` before it has registered.
    pub id: Option<NodeId>,
    /// What was last seen of the cell.
    pub view: CellView,
    /// When, by the machine's uptime in milliseconds.
    pub seen_at: u64,
    /// It gives up what it owns and takes nothing.
    pub is_draining: bool,
    /// Shards that were claimed since the start.
    pub claimed: u64,
    /// Shards that were handed over since the start.
    pub handed_over: u64,
    /// Shards that were lost since the start, because the lease was.
    pub lost: u64,
    /// Lives that ended because the lease was lost.
    pub lives_lost: u64,
    /// Why the cell could not be asked, the last time.
    pub fault: Option<StoreFault>,
}

/// The handle of a keeper that runs.
#[derive(Debug)]
pub struct Keeper {
    name: Arc<str>,
    cell: Arc<dyn Cell>,
    leaving: watch::Sender<bool>,
    config: watch::Sender<String>,
    over: watch::Receiver<bool>,
    place: Arc<ArcSwap<Place>>,
}

impl Itself for Keeper {
    fn id(&self) -> NodeId {
        let before = || NodeId { name: self.name.clone(), incarnation: Incarnation(0) };
        self.place.load().id.clone().unwrap_or_else(before)
    }
}

impl Keeper {
    /// Runs from now on, until [`Keeper::leave`].
    pub fn start(deps: Deps) -> Self {
        let (leaving, is_leaving) = watch::channel(false);
        let (config, configured) = watch::channel(deps.about.config.clone());
        let (ended, over) = watch::channel(false);
        let (place, name): (Arc<ArcSwap<Place>>, _) = (Arc::default(), deps.name.clone());
        let cell = deps.cell.clone();
        let running = Running { deps, is_leaving, configured, place: place.clone(), changing: Mutex::default() };
        tokio::spawn(async move {
            running.run().await;
            ended.send_replace(true);
            running.look_on().await;
        });
        Self { name, cell, leaving, config, over, place }
    }

    /// How this node stands.
    pub fn place(&self) -> Arc<Place> {
        self.place.load_full()
    }

    /// The node of this name gives everything up and takes nothing, or takes its share again. False where no such node
    /// lives, as far as this one has seen.
    ///
    /// # Errors
    /// Where it is not known whether it was told.
    pub async fn drain(&self, node: &str, is_draining: bool) -> Result<bool, StoreFault> {
        let place = self.place();
        let living = place.view.members.iter().filter(|member| member.expires_at.is_some() && *member.id.name == *node);
        let mut is_told = false;
        for member in living {
            self.cell.drain(&member.id, is_draining).await?;
            is_told = true;
        }
        Ok(is_told)
    }

    /// The digest of what is configured is another one from now on.
    pub fn configured(&self, config: String) {
        self.config.send_if_modified(|before| std::mem::replace(before, config.clone()) != config);
    }

    /// Gives everything up and leaves the cell; what takes longer than `within` is left to the lease.
    pub async fn leave(&self, within: Duration) {
        self.leaving.send_replace(true);
        let mut over = self.over.clone();
        if timeout(within, over.wait_for(|over| *over)).await.is_err() {
            tracing::warn!(?within, "shards were not handed over in time; they are free when the lease is over");
        }
    }
}

/// Why a life of the node is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Its lease was refused: another node may own what it had.
    Lost,
    /// It has given up everything.
    Left,
}

#[derive(Debug)]
struct Running {
    deps: Deps,
    is_leaving: watch::Receiver<bool>,
    configured: watch::Receiver<String>,
    place: Arc<ArcSwap<Place>>,
    changing: Mutex<()>,
}

impl Running {
    async fn run(&self) {
        loop {
            if !self.has_name().await {
                return;
            }
            let Some((id, lease)) = self.register().await else { return };
            self.note(|place| place.id = Some(id.clone()));
            tracing::info!(incarnation = %id.incarnation, "this node lives in its cell");
            let ended = tokio::select! {
                ended = self.renew(&id, lease) => ended,
                ended = self.work(&id) => ended,
            };
            let had = self.deps.table.lost();
            self.deps.cell.disown();
            let _ = timeout(ASK_WITHIN, self.deps.cell.leave(&id)).await;
            if ended == Ended::Left {
                tracing::info!("every shard is handed over, and this node has left its cell");
                return;
            }
            self.note(|place| {
                place.lives_lost += 1;
                place.lost += had.len() as u64;
            });
            tracing::error!(shards = had.len(), "the lease is lost: what this node had in memory is dropped");
            let _ = timeout(LEAVE_WITHIN, self.deps.residents.leave(&had)).await;
        }
    }

    /// Calls still come while the node stops: they go to the owners, wherever those are by then.
    async fn look_on(&self) {
        let mut told = self.deps.cell.told();
        let nobody = NodeId { name: self.deps.name.clone(), incarnation: Incarnation(0) };
        loop {
            told.borrow_and_update();
            if let Some(view) = self.ask(self.deps.cell.look()).await {
                self.deps.table.seen(&view, &nobody);
            }
            let _ = timeout(LOOK_EVERY, told.changed()).await;
        }
    }

    /// Waits until no other node of this name lives: one that was killed is marked like any other, and one that goes on
    /// renewing its lease is another node that was given the same name. False where this node is to leave before.
    async fn has_name(&self) -> bool {
        let (mut watched, mut is_told, mut renewed) = (Watched::default(), false, HashMap::new());
        while !*self.is_leaving.borrow() {
            let Some(mut view) = self.ask(self.deps.cell.look()).await else {
                sleep(PAUSE).await;
                continue;
            };
            view.members.retain(|member| member.id.name == self.deps.name && member.expires_at.is_some());
            if view.members.is_empty() {
                return true;
            }
            let nobody = NodeId { name: self.deps.name.clone(), incarnation: Incarnation(0) };
            self.mark(watched.see(&view, &nobody, self.uptime())).await;
            for member in view.members {
                let before = renewed.insert(member.id, member.expires_at);
                if before.is_some_and(|before| before != member.expires_at) && !is_told {
                    is_told = true;
                    tracing::error!(
                        node = %self.deps.name, address = member.about.grpc,
                        "another node of this cluster has the same node.name: this one does not join it"
                    );
                }
            }
            sleep(PAUSE).await;
        }
        false
    }

    /// Another life; `None` where the node is to leave before it has one.
    async fn register(&self) -> Option<(NodeId, NodeLease)> {
        let deps = &self.deps;
        loop {
            if *self.is_leaving.borrow() {
                return None;
            }
            let id = NodeId { name: deps.name.clone(), incarnation: (deps.draw)() };
            let about = About { config: self.configured.borrow().clone(), ..deps.about.clone() };
            let sent_at = self.uptime();
            if self.ask(deps.cell.register(&id, &about)).await.is_some() {
                let lease = NodeLease::registered(sent_at);
                deps.table.valid_until(lease.stops_at());
                // What was asked of the life before is asked of this one.
                if self.place.load().is_draining {
                    self.ask(deps.cell.drain(&id, true)).await;
                }
                return Some((id, lease));
            }
            // It may have been carried out; nobody will renew it.
            let mut is_leaving = self.is_leaving.clone();
            let _ = timeout(PAUSE, is_leaving.wait_for(|is_leaving| *is_leaving)).await;
        }
    }

    /// Resolves when the lease is lost.
    async fn renew(&self, id: &NodeId, mut lease: NodeLease) -> Ended {
        let mut under_way: FuturesUnordered<BoxFuture<'_, (Renewal, Option<bool>)>> = FuturesUnordered::new();
        while let Some(next) = lease.next_renewal() {
            let due = Duration::from_millis(next.since(self.uptime()));
            tokio::select! {
                () = sleep(due) => {
                    let Some(renewal) = lease.renew(self.uptime()) else { continue };
                    let renewed = self.within(RENEWAL, self.deps.cell.renew(id));
                    under_way.push(Box::pin(async move { (renewal, renewed.await) }));
                }
                Some((renewal, answer)) = under_way.next(), if !under_way.is_empty() => match answer {
                    Some(true) => {
                        lease.renewed(renewal);
                        self.deps.table.valid_until(lease.stops_at());
                    }
                    Some(false) => lease.refused(),
                    None => {}
                },
            }
        }
        Ended::Lost
    }

    /// Resolves when everything is given up, where that is wished.
    async fn work(&self, id: &NodeId) -> Ended {
        let (mut watched, mut told) = (Watched::default(), self.deps.cell.told());
        let (mut leaving, mut looks) = (self.is_leaving.clone(), 0_u32);
        let mut configured = self.configured.clone();
        loop {
            told.borrow_and_update();
            let is_leaving = *leaving.borrow_and_update();
            // The others are not to count with it any more.
            if is_leaving && !self.place.load().is_draining {
                self.ask(self.deps.cell.drain(id, true)).await;
            }
            if configured.has_changed().unwrap_or(false) {
                let config = configured.borrow_and_update().clone();
                if self.ask(self.deps.cell.configured(id, &config)).await.is_none() {
                    configured.mark_changed();
                }
            }
            let is_busy = match self.ask(self.deps.cell.look()).await {
                Some(view) => {
                    let is_busy = self.act(id, &view, &mut watched, is_leaving).await;
                    if is_leaving && self.deps.table.owned_here().is_empty() {
                        return Ended::Left;
                    }
                    is_busy
                }
                None => false,
            };
            looks += 1;
            if looks % LOOKS_PER_FORGETTING == 0 {
                self.ask(self.deps.cell.forget()).await;
            }
            tokio::select! {
                () = sleep(if is_busy { LOOK_AGAIN } else { LOOK_EVERY }) => {}
                _ = told.changed() => {}
                _ = leaving.changed() => {}
            }
        }
    }

    /// One round. Answers whether something was done, so that more may follow.
    async fn act(&self, id: &NodeId, view: &CellView, watched: &mut Watched, is_leaving: bool) -> bool {
        let now = self.uptime();
        let lost = self.deps.table.seen(view, id);
        let is_draining = is_leaving || view.living(id).is_some_and(|own| own.is_draining);
        self.note(|place| {
            place.view = view.clone();
            place.is_draining = is_draining;
            place.seen_at = now.0;
            place.lost += lost.len() as u64;
        });
        if !lost.is_empty() {
            let _ = timeout(LEAVE_WITHIN, self.deps.residents.leave(&lost)).await;
        }
        let mut is_busy = self.mark(watched.see(view, id, now)).await;
        let members = view.members.iter().filter(|member| member.id != *id && watched.is_good(&member.id, now));
        let mut members: Vec<_> = members.filter(|member| !member.is_draining).map(as_member).collect();
        if !is_draining {
            members.push(placement::Member { node: id.name.to_string(), weight: self.deps.about.weight });
        }
        let owners = self.owners(view, id);
        let at_once = if is_draining { AT_ONCE_LEAVING } else { AT_ONCE };
        let plan = Placement::new(members).plan(&id.name, &owners, at_once);
        is_busy |= self.claim(id, plan.claim.into_iter().collect()).await;
        // What was not answered is released once more.
        let leaving = self.deps.table.leaving_here();
        is_busy |= self.hand_over(id, leaving.iter().chain(plan.give_up).collect()).await;
        is_busy
    }

    /// By the number of the shard: who owns it and lives. What this node owns by its row but not in its memory is free: it is claimed
    /// once more, which settles what is in doubt.
    fn owners<'a>(&self, view: &'a CellView, id: &'a NodeId) -> Owners<'a> {
        let mut owners: Owners<'a> = [None; SHARDS as usize];
        let here = self.deps.table.owned_here();
        for (shard, slot) in ShardSet::all().iter().zip(owners.iter_mut()) {
            *slot = match view.holding(shard).and_then(|row| row.owner.as_ref()) {
                _ if here.contains(shard) => Some(&*id.name),
                Some(owner) if owner.name != id.name && view.living(owner).is_some() => Some(&*owner.name),
                _ => None,
            };
        }
        owners
    }

    async fn mark(&self, dead: Vec<(NodeId, i64)>) -> bool {
        let mut is_one_dead = false;
        for (node, expires_at) in dead {
            if self.ask(self.deps.cell.mark(&node, expires_at)).await == Some(true) {
                tracing::warn!(node = %node.name, incarnation = %node.incarnation, "a node is dead: its lease is over");
                is_one_dead = true;
            }
        }
        is_one_dead
    }

    async fn claim(&self, id: &NodeId, free: ShardSet) -> bool {
        if free.is_empty() {
            return false;
        }
        let Some(claimed) = self.ask(self.deps.cell.claim(id, &free)).await else { return false };
        if claimed.is_empty() {
            return false;
        }
        self.deps.table.claimed(&claimed, |shard| Some(self.deps.cell.tenure(shard)?.epoch));
        self.note(|place| place.claimed += claimed.len() as u64);
        tracing::info!(shards = claimed.len(), "claimed");
        self.deps.residents.came(&claimed);
        true
    }

    /// Stops what begins in these shards, waits until what has begun is stored, and lets them go.
    async fn hand_over(&self, id: &NodeId, shards: ShardSet) -> bool {
        if shards.is_empty() {
            return false;
        }
        self.deps.table.leaving(&shards);
        if timeout(LEAVE_WITHIN, self.deps.residents.leave(&shards)).await.is_err() {
            tracing::warn!(within = ?LEAVE_WITHIN, "orgs were still flushing when their shards were handed over");
        }
        if self.ask(self.deps.cell.release(id, &shards)).await.is_some() {
            self.deps.table.released(&shards);
            self.note(|place| place.handed_over += shards.len() as u64);
            tracing::info!(shards = shards.len(), "handed over");
        }
        true
    }

    fn uptime(&self) -> Uptime {
        Uptime(self.deps.clock.uptime())
    }

    async fn ask<T>(&self, asked: impl Future<Output = Result<T, StoreFault>>) -> Option<T> {
        self.within(ASK_WITHIN, asked).await
    }

    /// The answer; where there is none it is said once, until there is one again.
    async fn within<T>(&self, within: Duration, asked: impl Future<Output = Result<T, StoreFault>>) -> Option<T> {
        let answered = timeout(within, asked).await;
        let fault = match answered {
            Ok(Ok(answer)) => {
                if self.place.load().fault.is_some() {
                    self.note(|place| place.fault = None);
                    tracing::info!("the cell answers again");
                }
                return Some(answer);
            }
            Ok(Err(fault)) => fault,
            Err(_) => StoreFault { operation: "cell", cause: format!("no answer within {within:?}") },
        };
        if self.place.load().fault.is_none() {
            tracing::warn!(%fault, "the cell cannot be asked");
        }
        self.note(|place| place.fault = Some(fault));
        None
    }

    fn note(&self, change: impl FnOnce(&mut Place)) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = self.place.load().as_ref().clone();
        change(&mut place);
        self.place.store(Arc::new(place));
    }
}

fn as_member(member: &Member) -> placement::Member {
    placement::Member { node: member.id.name.to_string(), weight: member.about.weight }
}

/// The leases of the other nodes, as this one has seen them itself.
#[derive(Debug, Default)]
struct Watched(HashMap<NodeId, WatchedLease>);

impl Watched {
    /// Answers which of them may be marked, with what the mark has to find.
    fn see(&mut self, view: &CellView, id: &NodeId, now: Uptime) -> Vec<(NodeId, i64)> {
        self.0.retain(|node, _| view.living(node).is_some());
        let mut dead = Vec::new();
        for Member { id: node, expires_at, .. } in view.members.iter().filter(|member| member.id != *id) {
            let Some(expires_at) = *expires_at else { continue };
            let lease = self.0.entry(node.clone()).or_insert_with(|| WatchedLease::seen(expires_at, now));
            lease.seen_again(expires_at, now);
            dead.extend(lease.to_mark(now).map(|expires_at| (node.clone(), expires_at)));
        }
        dead
    }

    /// Whether it was renewed within the length of a lease.
    fn is_good(&self, id: &NodeId, now: Uptime) -> bool {
        self.0.get(id).is_some_and(|lease| lease.to_mark(now).is_none())
    }
}

#[cfg(test)]
mod tests;
