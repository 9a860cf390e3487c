//! What the core needs from outside, in domain terms. Adapters implement these; only `app` sees
//! both sides.

mod dump;
mod engine;
mod events;
mod tokens;
mod webhook;

pub use dump::DumpText;
pub use engine::{Compacted, MayGoOn, StoreEngine};
pub use events::{Event, EventSink};
pub use tokens::{TokenRow, TokenRows, TokenStore};
pub use webhook::{DeliveryFault, NotDelivered, Notice, Webhook};

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::{sync::watch, time::Instant};

use crate::domain::{
    balance::BalanceVerdict,
    gate::Cause,
    ids::OrgId,
    kept_ids::KeptName,
    lease::Now,
    members::{About, CellView, NodeId},
    outbox::{Delivery, OutboxKey},
    rows::{Head, OrgRows, OrgWrite, Row, RowKey, RowKind},
    service_time::{ClockMark, ClockState},
    shard::{Epoch, Shard, ShardSet},
    tenure::Tenure,
    window::Millis,
};

/// The clocks of the node. None of them goes backwards.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Service time and lease time, of one instant.
    fn read(&self) -> Now;
    /// Milliseconds since the epoch, in service time.
    fn now(&self) -> Millis {
        self.read().service
    }
    /// False while the wall clock is not believed.
    fn may_purge(&self) -> bool;
    /// How the wall clock stands to service time.
    fn state(&self) -> ClockState;
    /// What to keep on disk, so that a restart goes on from here.
    fn mark(&self) -> ClockMark;
    /// Milliseconds since this machine was started, including those for which it was suspended.
    fn uptime(&self) -> Millis {
        self.mark().uptime
    }
}

/// The store failed. Never an acknowledgement and never a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFault {
    /// `load`, `commit`, `open`, …
    pub operation: &'static str,
    /// What the engine said; for operators.
    pub cause: String,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {}: {}", self.operation, self.cause)
    }
}

impl std::error::Error for StoreFault {}

/// Why a commit is not known to be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitError {
    /// Somebody else owns the shard of the org. Nothing is written, nor ever will be.
    Fenced,
    /// It may or may not be written.
    InDoubt(StoreFault),
    /// Nothing is written; the store may come back.
    Unavailable(StoreFault),
    /// Nothing is written, and only a restart helps.
    Lost(StoreFault),
}

impl CommitError {
    /// What happened to the store; `None` where nothing did.
    pub fn fault(&self) -> Option<&StoreFault> {
        match self {
            Self::Fenced => None,
            Self::InDoubt(fault) | Self::Unavailable(fault) | Self::Lost(fault) => Some(fault),
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced => f.write_str("another node owns the shard; nothing is written"),
            Self::InDoubt(fault) => write!(f, "{fault}; it is not known whether it is written"),
            Self::Unavailable(fault) => write!(f, "{fault}; nothing is written, the store may come back"),
            Self::Lost(fault) => write!(f, "{fault}; nothing is written any more"),
        }
    }
}

impl std::error::Error for CommitError {}

/// Called once, when it is known what became of the commit.
pub type CommitDone = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It does not, and is asked again until it does.
    Retrying {
        /// Since when.
        since: Instant,
        /// Why.
        fault: StoreFault,
    },
    /// It will not answer any more in the life of this process: the first fault.
    Lost(StoreFault),
}

impl StoreState {
    /// What is wrong with it; `None` where it is up.
    pub fn fault(&self) -> Option<&StoreFault> {
        match self {
            Self::Up => None,
            Self::Retrying { fault, .. } | Self::Lost(fault) => Some(fault),
        }
    }

    /// Whether it answers.
    pub fn is_up(&self) -> bool {
        *self == Self::Up
    }

    /// What only a restart helps against.
    pub fn lost(&self) -> Option<&StoreFault> {
        match self {
            Self::Up | Self::Retrying { .. } => None,
            Self::Lost(fault) => Some(fault),
        }
    }
}

impl fmt::Display for StoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Retrying { since, fault } => write!(f, "{fault} (retrying for {} s)", since.elapsed().as_secs()),
            Self::Lost(fault) => fault.fmt(f),
        }
    }
}

/// Keeps orgs. Commits of one org become durable in the order they were handed over, each whole or
/// not at all, and are answered in that order. Behind one that is not durable nothing of the org is written
/// until it is loaded again: what is handed over meanwhile has the same answer.
pub trait OrgStore: Send + Sync + fmt::Debug {
    /// Under which this node owns the shard of the org; `None` = another one owns it. Asked for before
    /// the org is loaded.
    fn tenure(&self, _org: &OrgId) -> Option<Tenure> {
        Some(Tenure::ONLY)
    }

    /// The epoch of that.
    fn epoch(&self, org: &OrgId) -> Option<Epoch> {
        self.tenure(org).map(|tenure| tenure.epoch)
    }

    /// Everything kept of an org but the kinds that are read by name; no rows where it is not known. Every commit
    /// of the org was answered before.
    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>>;

    /// Hands over one commit of an org that was loaded under the epoch `fence`. Returns at once; `done` runs on a
    /// thread of the store's, is brief and does not block.
    fn commit(&self, write: OrgWrite, fence: Epoch, done: CommitDone);

    /// Orgs of the shards whose timer is due at `now`, the earliest first, at most `max`.
    fn due(
        &self,
        now: Millis,
        shards: &ShardSet,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(Millis, OrgId)>, StoreFault>>;

    /// Orgs of the shards with their heads, in an order of the store's own that does not change, from
    /// behind `after`.
    fn list(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>>;

    /// Orgs of the shards that have rows of `kind`, each once, in the order of [`list`](Self::list), from
    /// behind `after`.
    fn having(
        &self,
        kind: RowKind,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<OrgId>, StoreFault>>;

    /// Rows of these kinds of an org, none of a journal's; whether the org is whole shows only when it is loaded.
    fn some(&self, org: &OrgId, kinds: &'static [RowKind]) -> BoxFuture<'_, Result<OrgRows, StoreFault>>;

    /// The youngest row of each name, where there is one, out of those that are not loaded with the org.
    fn latest(&self, org: &OrgId, names: Vec<KeptName>) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;

    /// Rows of a kind that is not loaded with its org, in the order of their keys, from behind `after`.
    fn beside(
        &self,
        org: &OrgId,
        kind: RowKind,
        after: Option<RowKey>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;

    /// Why what is committed of the org now is not durable; `None` where it is. Asked for each call.
    fn fault(&self, _org: &OrgId) -> Option<StoreFault> {
        self.state().borrow().fault().cloned()
    }

    /// The shards for which it answers now.
    fn answers_for(&self) -> ShardSet {
        if self.state().borrow().is_up() { ShardSet::all() } else { ShardSet::none() }
    }

    /// How the store is, as a whole: what is wrong with it may be of some orgs only. [`StoreState::Lost`] stays.
    fn state(&self) -> watch::Receiver<StoreState>;

    /// Waits until everything handed over is durable, and stops.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>>;
}

/// Which node this is.
pub trait Itself: Send + Sync + fmt::Debug {
    /// In the life that it has now.
    fn id(&self) -> NodeId;
}

/// A node that has one life.
impl Itself for NodeId {
    fn id(&self) -> NodeId {
        self.clone()
    }
}

/// What this node has in memory of the orgs of shards.
pub trait Residents: Send + Sync + fmt::Debug {
    /// It owns these from now on.
    fn came(&self, shards: &ShardSet);

    /// It has given these up, or lost them. Resolves when what it had in memory of them is handed over and answered, and
    /// gone.
    fn leave<'a>(&'a self, shards: &'a ShardSet) -> BoxFuture<'a, ()>;
}

/// What nodes that share a store know of each other, which the store keeps. Each question is one statement. An error
/// says that it is not known whether it was carried out, and each may be asked again: a claim of what is owned already is
/// carried out once more, and a release of what is not owned does nothing.
pub trait Cell: Send + Sync + fmt::Debug {
    /// This node lives from now on, for the length of a lease.
    fn register<'a>(&'a self, id: &'a NodeId, about: &'a About) -> BoxFuture<'a, Result<(), StoreFault>>;

    /// Its lease begins anew. False where it has expired: that life of the node is over.
    fn renew<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<bool, StoreFault>>;

    /// Says whether it takes shards.
    fn drain<'a>(&'a self, id: &'a NodeId, is_draining: bool) -> BoxFuture<'a, Result<(), StoreFault>>;

    /// The digest of its configuration is another one.
    fn configured<'a>(&'a self, id: &'a NodeId, config: &'a str) -> BoxFuture<'a, Result<(), StoreFault>>;

    /// Every node and every shard.
    fn look(&self) -> BoxFuture<'_, Result<CellView, StoreFault>>;

    /// A node is dead whose lease has expired, and still has the `expires_at` that was seen. False where it has not.
    fn mark<'a>(&'a self, id: &'a NodeId, expires_at: i64) -> BoxFuture<'a, Result<bool, StoreFault>>;

    /// Of these shards, those that are free, or whose owner is dead, or that are its own, belong to the node from now on,
    /// each with another [tenure](Self::tenure). Answers which they are.
    fn claim<'a>(&'a self, id: &'a NodeId, shards: &'a ShardSet) -> BoxFuture<'a, Result<ShardSet, StoreFault>>;

    /// Under which this node owns a shard; `None` = it does not.
    fn tenure(&self, shard: Shard) -> Option<Tenure>;

    /// Of these shards nothing is committed by this node any more, and anybody may claim them. Everything that was handed over
    /// has been answered before.
    fn release<'a>(&'a self, id: &'a NodeId, shards: &'a ShardSet) -> BoxFuture<'a, Result<(), StoreFault>>;

    /// That life of the node is over; whatever it owned may be claimed.
    fn leave<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<(), StoreFault>>;

    /// Removes the rows of nodes that have died a day ago and own nothing.
    fn forget(&self) -> BoxFuture<'_, Result<(), StoreFault>>;

    /// Without asking anybody: this node owns nothing any more, and what was handed over is not sent.
    fn disown(&self);

    /// Counts what other nodes have told of: something may be free. It may miss some, so it is no reason not to look.
    fn told(&self) -> watch::Receiver<u64>;
}

/// How a question to the provider may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// From its own caches, if it has any.
    Cached,
    /// From its books: the org has just paid.
    Fresh,
}

/// Usage on its way to the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The same for every attempt, so that the provider counts it once.
    pub key: OutboxKey,
    /// Whose usage it is.
    pub org: OrgId,
    /// The provider's name for the meter.
    pub feature: Arc<str>,
    /// In the meter's unit.
    pub units: u64,
    /// The units are given back.
    pub is_refund: bool,
    /// When it was booked.
    pub at: Millis,
}

/// A billing provider: what an org may still use, whether it pays, and where usage is reported. Asked
/// outside the org's actor. Every call ends within the provider's own budget, and no failure is an
/// answer: it is a [`Cause`].
pub trait BillingProvider: Send + Sync + fmt::Debug {
    /// Whether the org's balance lets it execute.
    fn check<'a>(&'a self, org: &'a OrgId, freshness: Freshness) -> BoxFuture<'a, BalanceVerdict>;

    /// Whether the org pays, and is therefore spared by the rate backstop.
    fn pays<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<bool, Cause>>;

    /// Reports usage, at least once; the provider recognises repeats by their key.
    fn report(&self, usage: Usage) -> BoxFuture<'_, Delivery>;
}
