//! What the billing provider said, remembered, and every question to it.
//!
//! ```text
//! remembered ─ memory (no turn of any actor) ─ a denial, or little left: check in the background
//! ask        ─ memory, else a place among those who wait ─▶ check actor ─ flights: one question per
//! pays       ─ payers, likewise                                             org, shared by all,
//!                                                                           spaced where it keeps failing
//! refresh    ─ forget ─▶ check actor ─ a fresh question, then a poll while the org is denied
//! invalidate ─ forget ─▶ check actor ─ whoever waits is handed to a new question
//! ```
//!
//! Forgetting ends, in one step with it, the question under way (`under_way`), so that no answer
//! to a question from before is ever found or given after. A failure is never remembered, and no
//! denial is ever made up here: one that was known stands a while longer where an operator says so.

mod cache;
mod check;
mod flights;
mod memory;
mod payers;
mod poll;
mod readings;
#[cfg(test)]
mod tests;
mod under_way;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorRef};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    domain::{
        balance::BalanceVerdict,
        gate::Cause,
        ids::{Amounts, Meter, OrgId},
        shard::ShardSet,
    },
    ports::{BillingProvider, Clock},
};

use check::{Msg, Watcher};
use memory::Memory;
use payers::Payers;
use readings::Counters;

pub use readings::Readings;

/// Orgs polled at once after a refresh.
const POLLS_MAX: usize = 1024;

/// How long answers are remembered, and where they are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingRules {
    /// Names the installation and the feature in the keys of what is remembered.
    pub environment: Arc<str>,
    /// The provider's name for an execution.
    pub feature: Arc<str>,
    /// The meter the feature stands for.
    pub meter: Meter,
    /// How long an answer that allows is remembered.
    pub allow_ttl: Duration,
    /// How long an answer that denies is remembered.
    pub deny_ttl: Duration,
    /// A denial that is being asked for is checked again this often.
    pub deny_revalidate: Duration,
    /// How long it is remembered that an org pays.
    pub exempt_ttl: Duration,
    /// Orgs remembered; questions at once; callers that wait for one.
    pub orgs_max: u32,
    /// Questions to the provider at once.
    pub in_flight_max: u32,
    /// Callers that wait for one.
    pub waiting_max: u32,
}

/// Without any configuration.
impl Default for BillingRules {
    fn default() -> Self {
        Self {
            environment: "live".into(),
            feature: "executions".into(),
            meter: Meter::executions(),
            allow_ttl: Duration::from_secs(60),
            deny_ttl: Duration::from_secs(60),
            deny_revalidate: Duration::from_secs(2),
            exempt_ttl: Duration::from_secs(60),
            orgs_max: 10_000,
            in_flight_max: 256,
            waiting_max: 65_536,
        }
    }
}

/// What handle and actor share.
#[derive(Debug)]
struct Core {
    provider: Arc<dyn BillingProvider>,
    memory: Memory,
    payers: Payers,
    counters: Counters,
    /// Places for provider calls, for callers that wait, and for polls.
    questions: Arc<Semaphore>,
    waiting: Semaphore,
    polls: Arc<Semaphore>,
    in_flight_max: usize,
    waiting_max: usize,
    actor: ArcSwapOption<ActorRef<Msg>>,
}

impl Core {
    /// False where the actor does not run.
    fn tell(&self, message: Msg) -> bool {
        self.actor.load().as_ref().is_some_and(|actor| actor.cast(message).is_ok())
    }
}

/// Handle to the billing-check actor and to what it remembers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Balances {
    core: Arc<Core>,
    /// The actor ends with the last handle.
    _running: Arc<Running>,
}

#[derive(Debug)]
struct Running(ActorRef<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

impl Balances {
    /// Starts the actor and what watches over it.
    pub async fn start(
        provider: Arc<dyn BillingProvider>,
        clock: Arc<dyn Clock>,
        rules: BillingRules,
    ) -> Result<Self, String> {
        let places = |max: u32| usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let (in_flight_max, waiting_max) = (places(rules.in_flight_max), places(rules.waiting_max));
        let core = Arc::new(Core {
            provider,
            memory: Memory::new(&rules, clock),
            payers: Payers::new(&rules),
            counters: Counters::default(),
            questions: Arc::new(Semaphore::new(in_flight_max)),
            waiting: Semaphore::new(waiting_max),
            polls: Arc::new(Semaphore::new(POLLS_MAX)),
            in_flight_max,
            waiting_max,
            actor: ArcSwapOption::empty(),
        });
        let watcher = Watcher::spawn(None, Watcher, core.clone()).await;
        let (watcher, _) = watcher.map_err(|error| format!("billing check: {error}"))?;
        Ok(Self { core, _running: Arc::new(Running(watcher)) })
    }

    /// The last answer on an org, where one is remembered that may still be used. Takes no turn of any
    /// actor; where the answer should be checked again, that begins in the background.
    pub fn remembered(&self, org: &OrgId) -> Option<BalanceVerdict> {
        let recalled = self.core.memory.recall(org)?;
        self.core.counters.remembered();
        if recalled.check {
            self.core.tell(Msg::Revalidate(org.clone()));
        }
        Some(recalled.verdict)
    }

    /// The remembered word, or the provider's: asked together with everybody else who wants to know
    /// the same, and waited for until `until`. Where it cannot answer, a denial that was known stands for
    /// `deny_stale` beyond its time, and says so.
    pub async fn ask(&self, org: &OrgId, deny_stale: Duration, until: Instant) -> BalanceVerdict {
        if let Some(verdict) = self.remembered(org) {
            return verdict;
        }
        let verdict = self.question(org, until).await;
        let BalanceVerdict::Unknown(cause) = verdict else { return verdict };
        let Some(stale) = self.core.memory.stale(org, cause, deny_stale) else { return verdict };
        self.core.counters.stale();
        stale
    }

    async fn question(&self, org: &OrgId, until: Instant) -> BalanceVerdict {
        if let Some(held) = self.core.memory.spacing.held(org) {
            self.core.counters.spaced();
            return BalanceVerdict::Unknown(held.cause);
        }
        self.answer(until, |reply| Msg::Ask(org.clone(), reply)).await.unwrap_or_else(BalanceVerdict::Unknown)
    }

    /// Takes what was admitted off what is remembered as left.
    pub fn admitted(&self, org: &OrgId, cost: &Amounts) {
        if self.core.memory.admitted(org, cost) {
            self.core.tell(Msg::Revalidate(org.clone()));
        }
    }

    /// Checks the answer that denied a call again, in the background: also an answer that allows denies what
    /// asks for more than is left, and more may have been bought.
    pub fn denied(&self, org: &OrgId) {
        if self.core.memory.denied(org) {
            self.core.tell(Msg::Revalidate(org.clone()));
        }
    }

    /// Whether the org pays. Where that cannot be found out, what was known last holds, and an org
    /// of which nothing is known does not.
    pub async fn pays(&self, org: &OrgId, until: Instant) -> bool {
        if let Some(pays) = self.core.payers.fresh(org) {
            return pays;
        }
        if self.core.payers.spacing.held(org).is_some() {
            self.core.counters.spaced();
            return self.core.payers.last_known(org);
        }
        match self.answer(until, |reply| Msg::Pays(org.clone(), reply)).await {
            Ok(Ok(pays)) => pays,
            Ok(Err(_)) | Err(_) => self.core.payers.last_known(org),
        }
    }

    /// Forgets, asks past the provider's own caches, and goes on asking in the background while the
    /// answer is a denial.
    pub async fn refresh(&self, org: &OrgId, until: Instant) -> BalanceVerdict {
        self.forget(org);
        self.answer(until, |reply| Msg::Refresh(org.clone(), reply)).await.unwrap_or_else(BalanceVerdict::Unknown)
    }

    /// Forgets; an answer that is under way does not count.
    pub fn invalidate(&self, org: &OrgId) {
        self.forget(org);
        self.core.tell(Msg::Forgotten(org.clone()));
    }

    /// Forgets the orgs of these shards: another node asks about them.
    pub fn leave(&self, shards: &ShardSet) {
        self.core.memory.leave(shards);
        self.core.payers.leave(shards);
    }

    /// How the billing check stands now.
    pub fn readings(&self) -> Readings {
        let Core { memory, counters, questions, waiting, polls, in_flight_max, waiting_max, .. } = &*self.core;
        let taken = |max: usize, free: usize| u64::try_from(max.saturating_sub(free)).unwrap_or(u64::MAX);
        Readings {
            remembered: memory.len(),
            spaced_orgs: memory.spacing.orgs(),
            in_flight: taken(*in_flight_max, questions.available_permits()),
            waiting: taken(*waiting_max, waiting.available_permits()),
            polls: taken(POLLS_MAX, polls.available_permits()),
            ..counters.read()
        }
    }

    fn forget(&self, org: &OrgId) {
        self.core.memory.forget(org);
        self.core.payers.doubt(org);
    }

    /// Sends a question and waits for its answer, with a place among those who wait.
    async fn answer<A>(&self, until: Instant, message: impl FnOnce(oneshot::Sender<A>) -> Msg) -> Result<A, Cause> {
        let Ok(_place) = self.core.waiting.try_acquire() else {
            self.core.counters.shed();
            return Err(Cause::Overloaded);
        };
        let (reply, answer) = oneshot::channel();
        let heard = if self.core.tell(message(reply)) { timeout_at(until, answer).await } else { Ok(answer.await) };
        match heard {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                tracing::error!("the billing check ended before it answered");
                Err(Cause::ProviderError)
            }
            Err(_) => Err(Cause::Timeout),
        }
    }
}
