//! One actor per org, and everything around it. The only module that names ractor; the rest of the
//! program holds an [`Orgs`] handle.
//!
//! ```text
//! Orgs::call ─ admission (permit, deadline) ─ registry (running actor, or one shared start)
//!                                                └▶ org actor: apply commands, then
//!                                                     reply now            (written behind)
//!                                                     reply when committed (durable)
//! write_behind: one ticker for all orgs asks changed ones to commit
//! outbox:       delivers usage that orgs have committed to the billing provider
//! webhook:      delivers events that orgs have committed to the webhook
//! in_turn:      orgs have their turns of both, so that none takes the place of the others
//! holds:        counts open reservations of the whole node
//! pools:        sums up pools of upstream accounts at the start and where something has changed
//! newcomers:    which orgs of which nothing is stored are let in, and how many
//! headroom:     whether the disk has room for anything new
//! room:         how many actors there may be; past it the idlest leave early
//! sweeper:      passivates idle actors; wakes orgs whose stored timer is due
//! stale:        orgs of which a commit is not durable leave memory when the store is up
//! snapshots:    orgs whose rows are read as of one commit, and from which nothing is removed meanwhile
//! residents:    shards come and go: what is counted of their orgs, and what is in memory
//! unnoted:      decisions without the state of their org wait until it can be asked
//! supervisor:   logs crashes; the next call starts the org again from the store
//! ```
//!
//! A mailbox is unbounded, so the bound stands before it: [`admission`]. While calls wait too long for a processor, an
//! org has no more than its share of it: [`crate::turns`].

pub mod admission;
pub mod billing;
mod headroom;
mod holds;
mod in_turn;
mod newcomers;
mod news;
mod org;
mod outbox;
mod pools;
mod registry;
mod residents;
mod room;
mod rules;
mod snapshots;
mod spacing;
mod stale;
mod supervisor;
mod sweeper;
#[cfg(test)]
mod tests;
mod unnoted;
mod watched;
mod webhook;
mod write_behind;

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::poll_immediate;
use smallvec::{SmallVec, smallvec};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bounds::Bound,
    cluster::table::Table,
    domain::{
        commands::{Ask, Command, Lane, Reply},
        ids::{DecisionId, OrgId, Reason},
        reach::ScopeRules,
        shard::ShardSet,
        trace::TraceId,
        window::Millis,
    },
    error::ServiceError,
    ports::{BillingProvider, Clock, EventSink, OrgStore, Residents, Webhook},
    turns::Turns,
};

use admission::InFlight;
use registry::{Delivery, Registry};

pub use headroom::{Disk, Headroom};
pub use pools::PoolTotals;
pub use rules::{Policies, Rules, WriteBehind};
pub use snapshots::Held;
pub use webhook::ReceiverView;

/// How a message is asked.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// Until when the answer may take.
    pub deadline: Instant,
    /// What the caller may reach of what others have begun; `None` = all.
    pub within: Option<Arc<ScopeRules>>,
    /// The name of the caller, for its share of new orgs, and for the log of the org.
    pub caller: &'a Arc<str>,
    /// Why an operator asks; `None` where nothing is said.
    pub reason: Option<&'a Reason>,
    /// The trace that the call is a part of, for the log of the node.
    pub trace: Option<TraceId>,
    /// The answer is what would be done, and nothing is.
    pub dry_run: bool,
}

impl From<Instant> for Terms<'_> {
    /// Of this node itself, which may reach all.
    fn from(deadline: Instant) -> Self {
        Self { deadline, within: None, caller: &THIS_NODE, reason: None, trace: None, dry_run: false }
    }
}

/// Who asks where nobody from outside does.
static THIS_NODE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("this node"));

/// What one message asks of an org; nearly always one command.
pub type Commands = SmallVec<[Command; 1]>;

/// The answer to each command of one message, in order.
pub type Answers = OfEach<Reply>;

/// What each command of one message came to, in order.
pub type OfEach<T> = SmallVec<[Result<T, ServiceError>; 1]>;

/// What every actor shares.
#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    store: Arc<dyn OrgStore>,
    table: Arc<Table>,
    rules: ArcSwap<Rules>,
    write_behind: WriteBehind,
    /// Random per process, so that decision ids never repeat across restarts.
    incarnation: u64,
    decisions: AtomicU64,
    /// Name of this node.
    node: Arc<str>,
    crashes: AtomicU64,
    changed: write_behind::Changed,
    stale: stale::Stale,
    newcomers: newcomers::Newcomers,
    unnoted: unnoted::Unnoted,
    watched: watched::Watched,
    headroom: Headroom,
    exports: in_turn::Waiting,
    undelivered: in_turn::Waiting,
    receiver: webhook::Receiver,
    /// Of reports of usage to the billing provider.
    report_spacing: Arc<spacing::Spacing>,
    holds: holds::Holds,
    holding: snapshots::Holding,
    pools: pools::Board,
    events: Arc<dyn EventSink>,
    stopping: CancellationToken,
    /// Of all orgs.
    in_flight: Arc<InFlight>,
    turns: Arc<Turns>,
}

impl Shared {
    fn next_decision(&self) -> DecisionId {
        let number = self.decisions.fetch_add(1, Ordering::Relaxed);
        DecisionId(u128::from(self.incarnation) << 64 | u128::from(number) << 1)
    }
}

/// What [`Orgs::start`] needs.
#[derive(Debug)]
pub struct Deps {
    /// Service time.
    pub clock: Arc<dyn Clock>,
    /// Where orgs are kept.
    pub store: Arc<dyn OrgStore>,
    /// Which of them are this node's.
    pub table: Arc<Table>,
    /// Policies and bounds at the start.
    pub rules: Rules,
    /// When plain Acquires reach the disk.
    pub write_behind: WriteBehind,
    /// Random per process, so that decision ids never repeat across restarts.
    pub incarnation: u64,
    /// Name of this node.
    pub node: Arc<str>,
    /// Where usage is reported, and who is notified of what became of it.
    pub provider: Arc<dyn BillingProvider>,
    /// Receives events of the logs of orgs.
    pub webhook: Arc<dyn Webhook>,
    /// Is notified of what happens outside any call.
    pub events: Arc<dyn EventSink>,
}

/// Handle to every org on this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Orgs {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
}

impl Orgs {
    /// Starts the supervisor, the write-behind ticker and the sweeper.
    pub async fn start(deps: Deps) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            clock: deps.clock,
            store: deps.store,
            table: deps.table,
            rules: ArcSwap::from_pointee(deps.rules),
            write_behind: deps.write_behind,
            incarnation: deps.incarnation,
            decisions: AtomicU64::new(0),
            node: deps.node,
            crashes: AtomicU64::new(0),
            changed: write_behind::Changed::default(),
            stale: stale::Stale::default(),
            newcomers: newcomers::Newcomers::default(),
            unnoted: unnoted::Unnoted::default(),
            watched: watched::Watched::default(),
            headroom: Headroom::default(),
            exports: in_turn::Waiting::default(),
            undelivered: in_turn::Waiting::default(),
            receiver: webhook::Receiver::default(),
            report_spacing: Arc::default(),
            holds: holds::Holds::default(),
            holding: snapshots::Holding::default(),
            pools: pools::Board::default(),
            events: deps.events,
            stopping: CancellationToken::new(),
            in_flight: Arc::default(),
            turns: Turns::new(Handle::current().metrics().num_workers()),
        });
        let supervisor = supervisor::start(shared.clone()).await?;
        let registry = Arc::new(Registry::new(shared.clone(), supervisor));
        tokio::spawn(write_behind::run(Arc::downgrade(&shared)));
        tokio::spawn(stale::run(Arc::downgrade(&shared)));
        tokio::spawn(sweeper::run(Arc::downgrade(&registry)));
        tokio::spawn(pools::run(Arc::downgrade(&registry)));
        tokio::spawn(holds::run(Arc::downgrade(&registry)));
        tokio::spawn(unnoted::run(Arc::downgrade(&registry)));
        let weak = Arc::downgrade(&registry);
        tokio::spawn(in_turn::run(weak.clone(), outbox::delivering(weak.clone(), deps.provider)));
        tokio::spawn(in_turn::run(weak.clone(), webhook::Delivering::new(weak, deps.webhook)));
        let orgs = Self { shared, registry };
        if orgs.shared.table.is_alone() {
            orgs.came(&ShardSet::all());
        }
        Ok(orgs)
    }

    /// Hands `commands` to the org's actor as one message and waits for all answers, until
    /// its deadline. An error stands for the whole message.
    pub async fn call(
        &self,
        org: &OrgId,
        commands: Commands,
        lane: Lane,
        terms: impl Into<Terms<'_>>,
    ) -> Result<Answers, ServiceError> {
        let Terms { deadline, within, caller, reason, trace, dry_run } = terms.into();
        let most = self.shared.rules.load().bounds.node_in_flight;
        let (reply, mut answer) = oneshot::channel();
        let (caller_name, reason) = (caller.clone(), reason.cloned());
        let message =
            org::OrgMsg::Run(org::Work { commands, within, caller: caller_name, reason, trace, dry_run, reply });
        let entered = self.shared.in_flight.enter(lane, message.calls(), most);
        let _node_permit = entered.ok_or(ServiceError::NodeBusy { bound: Bound::node_in_flight, most })?;
        // What only a few calls need is on the heap, so that the others carry no room for it.
        let _org_permit = match self.registry.deliver(org, lane, caller, message)? {
            Delivery::Accepted(permit) => permit,
            delivery @ Delivery::NoActor { .. } => {
                let started = Box::pin(self.registry.start_for(org, lane, caller, delivery));
                timeout_at(deadline, started).await.map_err(|_| ServiceError::TimedOut)??
            }
        };
        // Asked for before the actor has its turn, so that the answer wakes this call at once. Nearly every answer
        // is there after that turn; only the others need a timer.
        let mut answered = poll_immediate(&mut answer).await;
        if answered.is_none() {
            tokio::task::yield_now().await;
            answered = poll_immediate(&mut answer).await;
        }
        let answered = match answered {
            Some(answered) => answered,
            None => Box::pin(timeout_at(deadline, answer)).await.map_err(|_| ServiceError::TimedOut)?,
        };
        answered.map_err(|_| ServiceError::Interrupted)
    }

    /// Hands one command to the org's actor and waits for its answer.
    pub async fn ask<C: Ask>(
        &self,
        org: &OrgId,
        command: C,
        terms: impl Into<Terms<'_>>,
    ) -> Result<C::Answer, ServiceError> {
        let mut answers = self.call(org, smallvec![command.into()], C::LANE, terms).await?;
        let reply = answers.pop().unwrap_or(Err(ServiceError::Bug))?;
        C::answer(reply).ok_or(ServiceError::Bug)
    }

    /// The same for many commands of one kind, as one message; an error of the message stands for each.
    pub async fn ask_all<C: Ask>(
        &self,
        org: &OrgId,
        commands: impl IntoIterator<Item = C>,
        terms: impl Into<Terms<'_>>,
    ) -> OfEach<C::Answer> {
        let commands: Commands = commands.into_iter().map(C::into).collect();
        let count = commands.len();
        match self.call(org, commands, C::LANE, terms).await {
            Ok(answers) => answers.into_iter().map(|reply| C::answer(reply?).ok_or(ServiceError::Bug)).collect(),
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    /// Replaces policies and bounds; the next command of every org is judged by them.
    pub fn reload(&self, rules: Rules) {
        self.shared.rules.store(Arc::new(rules));
    }

    /// Service time.
    pub fn now(&self) -> Millis {
        self.shared.clock.now()
    }

    /// Policies and bounds in force, as last reloaded.
    pub fn rules(&self) -> Arc<Rules> {
        self.shared.rules.load_full()
    }

    /// A name for a decision made without an actor.
    pub fn next_decision(&self) -> DecisionId {
        self.shared.next_decision()
    }

    /// Interval in milliseconds, and unflushed admissions per org.
    pub fn write_behind(&self) -> (u64, u64) {
        let WriteBehind { interval, max } = self.shared.write_behind;
        (u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), max)
    }

    /// Actors in memory.
    pub fn resident(&self) -> usize {
        self.registry.len()
    }

    /// What is known of the disk.
    pub fn headroom(&self) -> &Headroom {
        &self.shared.headroom
    }

    /// Resolves when every pool was summed up once since the start, and every open reservation counted.
    pub async fn counted(&self) {
        self.shared.pools.called().await;
        self.shared.holds.counted().await;
    }

    /// Orgs whose usage is reported less often just now, because the last reports failed.
    pub fn spaced_reports(&self) -> u64 {
        self.shared.report_spacing.orgs()
    }

    /// Actors that ended by a panic or an error since start.
    pub fn crashes(&self) -> u64 {
        self.shared.crashes.load(Ordering::Relaxed)
    }

    /// Drains every actor and waits until all they changed is durable, at most `within`.
    pub async fn shutdown(&self, within: Duration) -> Result<(), String> {
        self.shared.stopping.cancel();
        self.registry.shutdown(within).await
    }
}
