//! Use cases, shared by every front. Nothing here knows a protocol. A call that only hands a command to its org
//! has no use case of its own: [`Service::ask`] serves it.

mod acquire;
mod admin;
mod audit;
mod call;
mod control;
mod emergency;
mod events;
mod explain;
mod names;
mod pools;
mod purged;
mod recent;
mod reload;
mod sessions;
mod settle;
mod snapshot;
#[cfg(test)]
mod tests;
mod usage;
mod what_if;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{Disk, Orgs, billing::Balances},
    auth::Principal,
    bounds::Bounds,
    cluster::{membership::Membership, table::Table},
    domain::{commands, events::NodeLog, ids::OrgId, policy::OrgPolicy, window::Millis},
    error::ServiceError,
    peer::Peers,
    ports::{Clock, DumpText, OrgStore, StoreEngine},
    telemetry::{Metrics, Spans},
    turns::Turns,
};

use emergency::EmergencyCap;

pub use crate::actors::ReceiverView;
pub use crate::telemetry::Span;
pub use acquire::{Ask, Asks, Group};
pub use admin::NodeView;
pub use call::{Call, Deadline, System};
pub use explain::Explanation;
pub use names::{ListedOrg, OrgPage, without_names};
pub use purged::PurgedView;
pub use reload::{Asked, CHANGES_MAX, ConfigChange, RELOAD_WITHIN, Reloaded, Reloads};
pub use snapshot::{SnapshotAt, SnapshotPiece};
pub use usage::{UsageAt, UsageLine, UsagePage, UsagePeriod, UsageQuery};

/// What the service needs.
#[derive(Debug)]
pub struct Deps {
    /// The running actors of orgs.
    pub orgs: Orgs,
    /// Service time.
    pub clock: Arc<dyn Clock>,
    /// Where orgs are listed from; commands go through the actors.
    pub store: Arc<dyn OrgStore>,
    /// What runs behind the store.
    pub engine: Arc<dyn StoreEngine>,
    /// Writes what is stored as text.
    pub dump: Arc<dyn DumpText>,
    /// What the billing provider says, and what is remembered of it.
    pub balances: Balances,
    /// Counts what the service does.
    pub metrics: Arc<Metrics>,
    /// Records calls.
    pub spans: Spans,
    /// How calls ask for a reload of the configuration.
    pub reloads: Reloads,
    /// Which node owns which org.
    pub table: Arc<Table>,
    /// The other nodes; `None` = this one is alone.
    pub others: Option<Others>,
    /// Name of this node in answers.
    pub node: String,
}

/// The other nodes that share the store.
#[derive(Debug)]
pub struct Others {
    /// What keeps this node's place among them.
    pub membership: Arc<Membership>,
    /// The way to them.
    pub peers: Peers,
}

/// Every use case.
#[derive(Debug)]
pub struct Service {
    orgs: Orgs,
    clock: Arc<dyn Clock>,
    store: Arc<dyn OrgStore>,
    engine: Arc<dyn StoreEngine>,
    dump: Arc<dyn DumpText>,
    snapshots: Arc<snapshot::Snapshots>,
    balances: Balances,
    metrics: Arc<Metrics>,
    spans: Spans,
    emergency: EmergencyCap,
    recent: recent::Recent,
    reloads: Reloads,
    table: Arc<Table>,
    others: Option<Others>,
    node: String,
    started_at: Millis,
    /// Load balancers are asked to go elsewhere.
    leaving: AtomicBool,
    draining: AtomicBool,
    /// Milliseconds that the oldest unanswered commit group has waited; 0 where there is none.
    oldest_group_ms: AtomicU64,
    /// Why callers may be known by less than the configuration says.
    identity_troubles: Mutex<BTreeMap<&'static str, String>>,
    /// What happened to this node.
    node_log: Mutex<NodeLog>,
    /// It has something new.
    node_news: Notify,
    /// Streams of answers that are open.
    watches: Arc<events::Watches>,
    closing: CancellationToken,
}

impl Service {
    /// Every use case, over what it needs; the node counts as started now.
    pub fn new(deps: Deps) -> Self {
        Self {
            started_at: deps.clock.now(),
            orgs: deps.orgs,
            clock: deps.clock,
            store: deps.store,
            engine: deps.engine,
            dump: deps.dump,
            snapshots: Arc::default(),
            balances: deps.balances,
            metrics: deps.metrics,
            spans: deps.spans,
            emergency: EmergencyCap::default(),
            recent: recent::Recent::default(),
            reloads: deps.reloads,
            table: deps.table,
            others: deps.others,
            node: deps.node,
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            oldest_group_ms: AtomicU64::new(0),
            identity_troubles: Mutex::default(),
            node_log: Mutex::default(),
            node_news: Notify::new(),
            watches: Arc::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Name of this node in answers.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What this service counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Records calls.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// The running actors of orgs.
    pub fn orgs(&self) -> &Orgs {
        &self.orgs
    }

    /// The bounds that are in force now.
    pub fn bounds(&self) -> Bounds {
        self.orgs.rules().bounds.clone()
    }

    /// What is configured for the org, as it is now.
    fn policy(&self, org: &OrgId) -> Arc<OrgPolicy> {
        self.orgs.rules().policies.policy(org).at(self.clock.now()).clone()
    }

    /// A call of `rpc` that arrives now, with the deadline of its caller.
    pub fn call(&self, rpc: &'static str, caller: Arc<Principal>, callers: Option<Duration>) -> Call {
        Call::new(rpc, caller, Deadline::new(callers, self.orgs.rules().bounds.decision_budget_ms))
    }

    /// Hands a command to the org, and its answer back.
    pub async fn ask<C: commands::Ask>(&self, org: &OrgId, command: C, call: &Call) -> Result<C::Answer, ServiceError> {
        let _recorded = call.part("org", org);
        self.orgs.ask(org, command, call.until(call.deadline.at)).await
    }

    /// How long calls wait for their turn.
    pub fn turns(&self) -> &Arc<Turns> {
        self.orgs.turns()
    }

    /// Which node owns which org.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What keeps this node's place among others; `None` = it is alone.
    pub fn membership(&self) -> Option<&Membership> {
        self.others.as_ref().map(|others| &*others.membership)
    }

    /// The way to the other nodes; `None` = this one is alone.
    pub fn peers(&self) -> Option<&Peers> {
        self.others.as_ref().map(|others| &others.peers)
    }

    /// From now on health says that callers are better served by another node.
    pub fn start_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// From now on only running executions are served.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether only running executions are served.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why callers may be known by less than the configuration says, if something is wrong with this key of it.
    pub fn identity_trouble(&self, key: &'static str, why: Option<String>) {
        let mut troubles = self.identity_troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(troubles.insert(key, why)),
            None => drop(troubles.remove(key)),
        }
    }

    /// The oldest unanswered commit group has waited for this many milliseconds; 0 where there is none.
    pub fn group_waits(&self, millis: u64) {
        self.oldest_group_ms.store(millis, Ordering::Release);
    }

    fn oldest_group_ms(&self) -> u64 {
        self.oldest_group_ms.load(Ordering::Acquire)
    }

    /// For how many milliseconds the store has not answered, where that is longer than it may take.
    pub fn stalled_ms(&self) -> Option<u64> {
        let most = u64::from(self.orgs.rules().bounds.store_stall_ms);
        Some(self.oldest_group_ms()).filter(|waited| *waited >= most)
    }

    /// Cancelled when the node stops taking calls; open streams end with it.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Whether executions of the org may begin here, whatever its limits say; where that `writes`, the disk has a say.
    async fn may_begin(&self, org: &OrgId, writes: bool, call: &Call) -> Result<(), ServiceError> {
        if self.is_draining() {
            return Err(ServiceError::Draining);
        }
        self.is_admitted(org, call).await?;
        if writes { self.orgs.headroom().check() } else { Ok(()) }
    }

    /// What is stored of an org that the configuration no longer admits settles on; nothing of it begins.
    /// Another name of one that is admitted is no org.
    async fn is_admitted(&self, org: &OrgId, call: &Call) -> Result<(), ServiceError> {
        if self.orgs.rules().policies.admits(org) {
            return Ok(());
        }
        Box::pin(self.is_no_name(org, call)).await?;
        Err(ServiceError::NotAdmitted(org.clone()))
    }

    /// The disk as it is now. Answers whether that changes if anything new is admitted.
    pub fn disk_is(&self, disk: Disk) -> bool {
        self.orgs.headroom().seen(disk, &self.orgs.rules().bounds)
    }

    /// Why nothing new is admitted, where that is for the disk.
    pub fn low_disk(&self) -> Option<ServiceError> {
        self.orgs.headroom().check().err()
    }
}
