//! The org actor: owns one [`OrgState`], applies commands one message at a time, and lets replies
//! go when what they promise is true.
//!
//! Between reading and changing its state it never awaits. Every commit is handed to the store in
//! order; replies that promise durability travel with it.
//!
//! Behind a commit that is not durable the actor does not know what is stored. It commits nothing any more and leaves
//! memory when the store is up (`stale`); until then it decides from memory, as with a store that does not answer.

mod commits;
mod dry_run;
mod load;
mod work;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{sync::oneshot, time::timeout};

use commits::Progress;

pub(super) use self::work::Work;
use super::{Answers, Commands, Rules, Shared, news, registry::Registration};
use crate::{
    cluster::table::Standing,
    domain::{
        commands::{Command, Reply},
        ids::OrgId,
        kept_ids::{PagesBehind, Wanted},
        lease::Now,
        org::{Context, OrgState},
        outcome::{Done, Resumed},
        policy::OrgPolicy,
        promise::Promise,
        rows::{OrgRows, Row, RowKey, RowKind},
        shard::Shard,
        tenure::Tenure,
        usage::ROWS_READ,
        window::Millis,
    },
    error::ServiceError,
    ports::{CommitError, Event, StoreFault},
};

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is Run, so a box would only cost an allocation each"
)]
pub(super) enum OrgMsg {
    Run(Work),
    /// Commit what was written behind.
    Flush,
    /// The org's timer is due; answered when the purge is durable.
    Sweep(oneshot::Sender<()>),
    /// Commit what was written behind; answered with what is stored then.
    Load(oneshot::Sender<Result<OrgRows, ServiceError>>),
}

impl OrgMsg {
    /// Whether an org of which nothing is stored has something stored after it.
    pub(super) fn begins(&self) -> bool {
        match self {
            Self::Run(work) => !work.dry_run && work.commands.iter().any(Command::begins),
            Self::Flush | Self::Sweep(_) | Self::Load(_) => false,
        }
    }

    /// Whether an org that was not in memory leaves it again with the answer.
    pub(super) fn is_visit(&self) -> bool {
        match self {
            Self::Run(work) => work.dry_run || work.commands.iter().all(Command::is_visit),
            Self::Flush => false,
            Self::Sweep(_) | Self::Load(_) => true,
        }
    }
}

#[derive(Debug)]
pub(super) struct OrgActor;

#[derive(Debug)]
pub(super) struct Start {
    pub(super) org: OrgId,
    /// Under which the rows were loaded.
    pub(super) tenure: Tenure,
    pub(super) rows: OrgRows,
    pub(super) shared: Arc<Shared>,
    pub(super) registration: Registration,
}

#[derive(Debug)]
pub(super) struct OrgTask {
    me: ActorRef<OrgMsg>,
    org: OrgId,
    shard: Shard,
    tenure: Tenure,
    state: OrgState,
    shared: Arc<Shared>,
    policy: Arc<OrgPolicy>,
    generation: u64,
    /// Written-behind admissions so far.
    admissions: u64,
    /// Commits handed over so far.
    handed_over: u64,
    durable: Arc<Progress>,
    /// Asked for a flush already; cleared when it comes.
    flush_asked: bool,
    registration: Registration,
    /// Open reservations as of the last commit that was handed over.
    holds: u64,
}

impl Actor for OrgActor {
    type Msg = OrgMsg;
    type State = OrgTask;
    type Arguments = Start;

    async fn pre_start(&self, me: ActorRef<OrgMsg>, start: Start) -> Result<OrgTask, ActorProcessingErr> {
        start.registration.is_of(me.get_id());
        let rules = start.shared.rules.load_full();
        let state = OrgState::load(start.rows, start.tenure.clock.read(start.shared.clock.read()));
        let mut state = state.on(start.shared.node.clone());
        let audit = state.audit_rows();
        if audit.drifted > 0 {
            start.shared.events.happened(Event::Drifted(audit.drifted));
            tracing::error!(org = %start.org, numbers = audit.drifted, drift = ?audit.drift, "rows do not fit together");
        }
        state.found_drift(audit.drifted);
        let holds = state.open_holds();
        // What was in doubt is known now.
        start.shared.holds.committed(&start.org, holds);
        Ok(OrgTask {
            me,
            holds,
            state,
            policy: rules.policies.policy(&start.org),
            generation: rules.generation,
            shard: Shard::of(&start.org),
            org: start.org,
            tenure: start.tenure,
            admissions: 0,
            handed_over: 0,
            durable: Arc::default(),
            flush_asked: false,
            registration: start.registration,
            shared: start.shared,
        })
    }

    async fn handle(&self, _: ActorRef<OrgMsg>, message: OrgMsg, task: &mut OrgTask) -> Result<(), ActorProcessingErr> {
        match message {
            // Nobody waits for it any more, and nothing has happened yet.
            OrgMsg::Run(work) if work.reply.is_closed() => {}
            OrgMsg::Run(work) if work.dry_run => match task.dry_run(&work).await {
                Ok(answers) => drop(work.reply.send(answers)),
                Err(error) => work.refuse(&error),
            },
            OrgMsg::Run(work) => {
                let now = task.now();
                let wanted = task.wanted(&work.commands, now.service);
                let reads_all = wanted.all;
                if wanted.is_empty() {
                    task.run(work, now);
                } else if let Some(error) = task.refused(&work) {
                    // Before anything is read for nothing.
                    work.refuse(&error);
                } else {
                    match task.look_up(wanted).await {
                        // To read everything may take longer than the call: still nothing has happened.
                        Ok(()) if reads_all && work.reply.is_closed() => {}
                        // Time has passed meanwhile.
                        Ok(()) => task.run(work, task.now()),
                        Err(error) => work.refuse(&error),
                    }
                }
            }
            OrgMsg::Flush => {
                task.flush_asked = false;
                task.flush(Box::new(|_| {}));
            }
            // Nothing that it did would be kept.
            OrgMsg::Sweep(_) if task.durable.broken.get().is_some() || task.standing() != Standing::Owned => {}
            OrgMsg::Sweep(done) => {
                task.state.stored_to(task.durable.writes.load(Ordering::Acquire));
                let wanted = task.state.wanted_by_sweep(task.now().service);
                // What is not read now is removed by another sweep.
                let _ = task.look_up(wanted).await;
                task.sweep(done);
            }
            OrgMsg::Load(reply) if reply.is_closed() => {}
            OrgMsg::Load(reply) => drop(reply.send(task.load().await)),
        }
        Ok(())
    }

    /// Runs after the last message of a drain: what was written behind reaches the disk before
    /// another incarnation may load.
    async fn post_stop(&self, _: ActorRef<OrgMsg>, task: &mut OrgTask) -> Result<(), ActorProcessingErr> {
        if task.durable.broken.get().is_some() {
            task.shared.keep_unstored(&task.org, task.unflushed());
        }
        task.state.leave();
        let (done, committed) = oneshot::channel();
        task.commit(Box::new(move |result| drop(done.send(result))));
        match committed.await {
            Ok(Ok(())) => task.registration.stopped_cleanly(),
            Ok(Err(error)) => tracing::error!(org = %task.org, %error, "an org left memory with unsaved changes"),
            Err(_) => {}
        }
        Ok(())
    }
}

impl OrgTask {
    /// What has to be read before these commands are carried out. With a failed store they are refused, or need
    /// nothing of it.
    fn wanted(&mut self, commands: &Commands, now: Millis) -> Wanted {
        self.state.stored_to(self.durable.writes.load(Ordering::Acquire));
        if self.fault().is_some() { Wanted::default() } else { self.state.wanted(commands, now) }
    }

    /// Reads it, within the time that a decision has. The org's state is read after this: what is not on disk by
    /// now is still in memory.
    async fn look_up(&mut self, wanted: Wanted) -> Result<(), ServiceError> {
        if wanted.all {
            let stored = self.load().await?;
            self.state.take_stored(&stored.rows);
        }
        let found = self.found(wanted).await?;
        self.state.take_found(found);
        Ok(())
    }

    async fn found(&self, wanted: Wanted) -> Result<Vec<Row>, ServiceError> {
        let Wanted { names, pages, usage, all: _ } = wanted;
        let store = &self.shared.store;
        let read = async {
            let mut found = if names.is_empty() { Vec::new() } else { store.latest(&self.org, names).await? };
            if let Some(PagesBehind { behind, max }) = pages {
                let behind = behind.map(|number| RowKey::IdPage { number });
                found.extend(store.beside(&self.org, RowKind::IdPage, behind, max).await?);
            }
            if let Some(kind) = usage {
                found.extend(store.beside(&self.org, kind, None, ROWS_READ).await?);
            }
            Ok(found)
        };
        let within = Duration::from_millis(self.shared.rules.load().bounds.decision_budget_ms.into());
        timeout(within, read).await.map_err(|_| ServiceError::TimedOut)?.map_err(ServiceError::Store)
    }

    /// Why nothing is committed now; `None` where it is.
    fn fault(&self) -> Option<StoreFault> {
        let broken = self.durable.broken.get().and_then(CommitError::fault).cloned();
        broken.or_else(|| self.shared.store.fault(&self.org))
    }

    /// What the clocks of the org's shard say.
    fn now(&self) -> Now {
        self.tenure.clock.read(self.shared.clock.read())
    }

    /// Whether this node may decide for the org at this instant.
    fn standing(&self) -> Standing {
        match self.durable.broken.get() {
            Some(CommitError::Fenced) => Standing::Elsewhere,
            _ => self.shared.table.standing(self.shard, self.tenure.epoch),
        }
    }

    /// Why nothing is answered from memory; `None` where it is.
    fn refused(&self, work: &Work) -> Option<ServiceError> {
        match self.standing() {
            Standing::Owned => {}
            // Another node may own the org by now, so what is in memory is no ground for an answer.
            Standing::Lapsed => return Some(ServiceError::NoOwner),
            Standing::Elsewhere | Standing::Free => return Some(ServiceError::Moved),
        }
        let leads_to = self.state.leads_to()?;
        (!work.commands.iter().all(Command::is_about_name)).then(|| ServiceError::LeadsTo(leads_to.clone()))
    }

    fn run(&mut self, work: Work, now: Now) {
        if let Some(error) = self.refused(&work) {
            return work.refuse(&error);
        }
        let shared = self.shared.clone();
        let rules = shared.rules.load();
        self.refresh(&rules);
        let fault = self.fault();
        let mut answers = Answers::with_capacity(work.commands.len());
        let mut promised = Promise::Nothing;
        for command in &work.commands {
            let of_org = (&self.org, &self.policy);
            let ctx = work.context(rules.context(of_org, (now, shared.next_decision()), fault.is_some()));
            let answer = apply(&mut self.state, command, &ctx, fault.as_ref());
            let promise = answer.as_ref().map_or(Promise::Nothing, |reply| command.promised(reply));
            promised = promised.max(promise);
            let admission = matches!(command, Command::Acquire(_));
            self.admissions += u64::from(admission && promise == Promise::WrittenBehind);
            answers.push(answer);
        }
        drop(rules);
        self.tell_news();
        if fault.is_some() {
            self.ask_for_flush();
            drop(work.reply.send(answers));
        } else if promised == Promise::Durable || self.must_wait() {
            self.reply_when_durable(work, answers);
        } else {
            self.ask_for_flush();
            drop(work.reply.send(answers));
        }
    }

    /// The policy in force; an operator may have changed it since the last message.
    fn refresh(&mut self, rules: &Rules) {
        self.state.deliver(rules.webhook_kinds);
        if self.generation != rules.generation {
            self.policy = rules.policies.policy(&self.org);
            self.generation = rules.generation;
        }
    }

    fn tell_news(&mut self) {
        news::tell(&self.shared, &self.org, self.state.take_news());
    }

    fn sweep(&mut self, done: oneshot::Sender<()>) {
        let shared = self.shared.clone();
        let rules = shared.rules.load_full();
        self.refresh(&rules);
        let uncompleted = self.state.uncompleted();
        let at = (self.now(), shared.next_decision());
        let ctx = rules.context((&self.org, &self.policy), at, self.fault().is_some());
        self.state.hold(shared.holding.has(&self.org));
        self.state.sweep(&ctx, shared.clock.may_purge());
        let uncompleted = self.state.uncompleted().saturating_sub(uncompleted);
        if uncompleted > 0 {
            self.shared.events.happened(Event::Uncompleted(uncompleted));
            tracing::warn!(org = %self.org, executions = uncompleted, "executions were admitted and never completed");
        }
        self.tell_news();
        self.flush(Box::new(move |_| _ = done.send(())));
    }
}

/// With a failed store only what is not promised durable is carried out, from memory; Resume is served
/// uncounted.
fn apply(
    state: &mut OrgState,
    command: &Command,
    ctx: &Context<'_>,
    fault: Option<&StoreFault>,
) -> Result<Reply, ServiceError> {
    match (fault, command) {
        (Some(_), Command::Resume(_)) => {
            Ok(Reply::Resume(Done { outcome: Resumed { continuations: 0 }, replayed: false }))
        }
        (Some(fault), _) if command.promise() == Promise::Durable => Err(ServiceError::Store(fault.clone())),
        _ => state.apply(command, ctx).map_err(ServiceError::Org),
    }
}
