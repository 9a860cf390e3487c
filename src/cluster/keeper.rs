//! Keeps this node's place in one cell: its lease there, and the shards of the cell that are its own.
//!
//! ```text
//! register ─┬─ renew every 0.4 s ─────────────────────────────────────▶ refused: this life is over
//!           └─ look ─▶ mark who is dead ─▶ plan ─┬─▶ claim what is free
//!               ▲                                └─▶ hand over: stop, flush, release
//!               └── notified of a change, or 0.5 s later
//! ```
//!
//! Every node does this by itself; `placement` brings all of them to the same result. Who has in memory what is lost is
//! notified, and the node goes on as another incarnation. `round` is one look and what follows from it.
//! Why it is as it is: [ADR 15](../../docs/adr/0015-nodes-share-postgresql.md).

mod round;

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
use tracing::Instrument;

use self::round::Watched;
use super::{
    lease::{NodeLease, Renewal, Uptime},
    table::Part,
};
use crate::{
    bounds::NODE_LEASE_RENEWAL_MS,
    domain::members::{About, CellView, Incarnation, NodeId},
    ports::{Cell, Clock, Itself, Residents, StoreFault},
};

const RENEWAL: Duration = Duration::from_millis(NODE_LEASE_RENEWAL_MS);
/// The cell is read as often as this, whoever notifies.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What a statement may take before it is asked again.
const ASK_WITHIN: Duration = Duration::from_secs(6);
/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// What finishing and flushing the orgs of one round may take. What is not flushed then is refused by the fence.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What a keeper needs.
#[derive(Debug)]
pub struct Deps {
    /// The rows that nodes share.
    pub cell: Arc<dyn Cell>,
    /// Which node answers for which shard of the cell, as it is found here.
    pub table: Part,
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
    /// Where another node of the same name answers callers: this one does not join it.
    pub rival: Option<String>,
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
        self.place.load().id.clone().unwrap_or_else(|| unregistered(&self.name))
    }
}

/// A node that has no row, and so no life: 0 is never drawn but by chance.
pub(super) fn unregistered(name: &Arc<str>) -> NodeId {
    NodeId { name: name.clone(), incarnation: Incarnation(0) }
}

impl Keeper {
    /// Runs from now on, until [`Keeper::leave`].
    pub fn start(deps: Deps) -> Self {
        let (leaving, is_leaving) = watch::channel(false);
        let (config, configured) = watch::channel(deps.about.config.clone());
        let (ended, over) = watch::channel(false);
        let (place, name): (Arc<ArcSwap<Place>>, _) = (Arc::default(), deps.name.clone());
        let cell = deps.cell.clone();
        let span = deps.table.span();
        let running = Running { deps, is_leaving, configured, place: place.clone(), changing: Mutex::default() };
        let keeping = async move {
            running.run().await;
            ended.send_replace(true);
            running.look_on().await;
        };
        tokio::spawn(keeping.instrument(span));
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
    /// Where it is not known whether it was carried out.
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
        let own = unregistered(&self.deps.name);
        loop {
            told.borrow_and_update();
            if let Some(view) = self.ask(self.deps.cell.look()).await {
                self.deps.table.seen(&view, &own);
            }
            let _ = timeout(LOOK_EVERY, told.changed()).await;
        }
    }

    /// Waits until no other node of this name lives: one that was killed is marked like any other, and one that goes on
    /// renewing its lease is another node that was given the same name. False where this node is to leave before.
    async fn has_name(&self) -> bool {
        let (mut watched, mut renewed) = (Watched::default(), HashMap::new());
        while !*self.is_leaving.borrow() {
            let Some(mut view) = self.ask(self.deps.cell.look()).await else {
                sleep(PAUSE).await;
                continue;
            };
            view.members.retain(|member| member.id.name == self.deps.name && member.expires_at.is_some());
            if view.members.is_empty() {
                self.note(|place| place.rival = None);
                return true;
            }
            self.mark(watched.see(&view, &unregistered(&self.deps.name), self.uptime())).await;
            for member in view.members {
                let before = renewed.insert(member.id, member.expires_at);
                if before.is_some_and(|before| before != member.expires_at) && self.place.load().rival.is_none() {
                    let address = member.about.grpc;
                    tracing::error!(
                        node = %self.deps.name, address,
                        "another node of this cluster has the same node.name: this one does not join it"
                    );
                    self.note(|place| place.rival = Some(address));
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

#[cfg(test)]
mod tests;
