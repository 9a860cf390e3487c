//! Which orgs are in memory, and the only way to them.
//!
//! At most one incarnation of an org's actor incarnations: a new one starts only after the old one has
//! flushed and ended. A message that reaches a draining actor comes back whole and goes to the
//! next one, so passivation loses nothing.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, DashSet};
use ractor::{Actor, ActorId, ActorRef, MessagingErr};
use smallvec::smallvec;
use tokio::sync::{Mutex, oneshot};

use super::{
    Shared,
    admission::{InFlight, Permit},
    org::{OrgActor, OrgMsg, Start, Work},
    supervisor::Supervisor,
};
use crate::{
    domain::{
        commands::{Ask, Lane},
        ids::OrgId,
        rows::OrgWrite,
    },
    error::ServiceError,
};

/// Starts of different orgs share a lock only by chance.
const STRIPES: usize = 1024;
/// How long a start waits for the previous incarnation to flush and end.
const HANDOVER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Entry {
    actor: ActorRef<OrgMsg>,
    gate: Arc<InFlight>,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The org's actor has it. The permit is the call's place among those in flight.
    Accepted(Permit),
    /// It comes back whole: no actor runs, or only one that has `ended`.
    NoActor { message: OrgMsg, ended: Option<ActorId> },
}

#[derive(Debug)]
pub(super) struct Registry {
    shared: Arc<Shared>,
    supervisor: Supervisor,
    live: Arc<Live>,
    stripes: Vec<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Live {
    actors: DashMap<OrgId, Entry>,
    /// Orgs whose last incarnation did not end by a completed drain: commits of theirs may still
    /// be on their way to the store.
    unclean: DashSet<OrgId>,
}

/// Held by an actor; takes its entry out however it ends.
#[derive(Debug)]
pub(super) struct Registration {
    live: Weak<Live>,
    org: OrgId,
    clean: AtomicBool,
    id: std::sync::OnceLock<ActorId>,
}

impl Registration {
    pub(super) fn stopped_cleanly(&self) {
        self.clean.store(true, Ordering::Release);
    }

    pub(super) fn is_of(&self, id: ActorId) {
        let _ = self.id.set(id);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let (Some(live), Some(id)) = (self.live.upgrade(), self.id.get()) else { return };
        if !self.clean.load(Ordering::Acquire) {
            live.unclean.insert(self.org.clone());
        }
        live.actors.remove_if(&self.org, |_, entry| entry.actor.get_id() == *id);
    }
}

impl Registry {
    pub(super) fn new(shared: Arc<Shared>, supervisor: Supervisor) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Self { shared, supervisor, live: Arc::default(), stripes }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn len(&self) -> usize {
        self.live.actors.len()
    }

    /// Delivers `message` to the org's actor, starting it if need be. The permit is the call's
    /// place among those in flight.
    pub(super) async fn send(&self, org: &OrgId, lane: Lane, message: OrgMsg) -> Result<Permit, ServiceError> {
        let delivery = self.deliver(org, lane, message)?;
        self.start_for(org, lane, delivery).await
    }

    /// Delivers `message` where the org's actor runs, without waiting for anything.
    pub(super) fn deliver(&self, org: &OrgId, lane: Lane, message: OrgMsg) -> Result<Delivery, ServiceError> {
        match self.live.actors.get(org) {
            Some(entry) => self.deliver_to(&entry, lane, message),
            None => Ok(Delivery::NoActor { message, ended: None }),
        }
    }

    /// Starts the org's actor until one takes the message.
    pub(super) async fn start_for(
        &self,
        org: &OrgId,
        lane: Lane,
        mut delivery: Delivery,
    ) -> Result<Permit, ServiceError> {
        loop {
            match delivery {
                Delivery::Accepted(permit) => return Ok(permit),
                Delivery::NoActor { message, ended } => {
                    let entry = self.start(org, ended).await?;
                    delivery = self.deliver_to(&entry, lane, message)?;
                }
            }
        }
    }

    fn deliver_to(&self, entry: &Entry, lane: Lane, message: OrgMsg) -> Result<Delivery, ServiceError> {
        let most = self.shared.rules.load().bounds.org_in_flight;
        let permit = entry.gate.enter(lane, most).ok_or(ServiceError::OrgBusy { most })?;
        match entry.actor.cast(message) {
            Ok(()) => Ok(Delivery::Accepted(permit)),
            Err(MessagingErr::SendErr(message)) => Ok(Delivery::NoActor { message, ended: Some(entry.actor.get_id()) }),
            Err(_) => Err(ServiceError::Interrupted),
        }
    }

    /// One command from beside the actors, and what it was answered.
    pub(super) async fn ask<C: Ask>(&self, org: &OrgId, command: C) -> Option<C::Answer> {
        let (reply, answers) = oneshot::channel();
        let work = Work { commands: smallvec![command.into()], reply };
        let _permit = self.send(org, C::LANE, OrgMsg::Run(work)).await.ok()?;
        C::answer(answers.await.ok()?.pop()?.ok()?)
    }

    fn running(&self, org: &OrgId) -> Option<Entry> {
        self.live.actors.get(org).map(|entry| entry.value().clone())
    }

    /// The org's actor, started unless one runs that is not `ended`. Callers of one org share one
    /// start.
    async fn start(&self, org: &OrgId, ended: Option<ActorId>) -> Result<Entry, ServiceError> {
        let _one_start = self.stripe(org).lock().await;
        if let Some(entry) = self.running(org) {
            if ended != Some(entry.actor.get_id()) {
                return Ok(entry);
            }
            entry.actor.wait(Some(HANDOVER)).await.map_err(|_| ServiceError::TimedOut)?;
            self.live.actors.remove_if(org, |_, current| current.actor.get_id() == entry.actor.get_id());
        }
        if ended.is_some() || self.live.unclean.contains(org) {
            self.await_earlier_commits(org).await?;
        }
        let rows = self.shared.store.load(org).await.map_err(ServiceError::Store)?;
        let registration = Registration {
            live: Arc::downgrade(&self.live),
            org: org.clone(),
            clean: false.into(),
            id: Default::default(),
        };
        let start = Start { org: org.clone(), rows, shared: self.shared.clone(), registration };
        let spawned = OrgActor::spawn_linked(None, OrgActor, start, self.supervisor.cell()).await;
        let (actor, _) = spawned.map_err(|_| ServiceError::Interrupted)?;
        let entry = Entry { actor, gate: Arc::default() };
        self.live.actors.insert(org.clone(), entry.clone());
        Ok(entry)
    }

    /// An empty commit behind whatever the last actor had handed over: after a crash, nobody else
    /// waited for it.
    async fn await_earlier_commits(&self, org: &OrgId) -> Result<(), ServiceError> {
        let (done, committed) = oneshot::channel();
        self.shared.store.commit(OrgWrite::empty(org), Box::new(move |result| drop(done.send(result))));
        committed.await.map_err(|_| ServiceError::Interrupted)?.map_err(ServiceError::Store)?;
        self.live.unclean.remove(org);
        Ok(())
    }

    fn stripe(&self, org: &OrgId) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        org.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0);
        &self.stripes[index]
    }

    /// Lets actors go that were idle since `tick`. They finish what reaches them first.
    pub(super) fn passivate(&self, tick: u64, now_tick: u64) -> usize {
        let idle = |gate: &InFlight| gate.idle_since(tick, now_tick);
        let leaving = self.live.actors.iter().filter(|entry| idle(&entry.gate)).map(|entry| entry.actor.clone());
        leaving.filter(|actor| actor.drain().is_ok()).count()
    }

    /// Passivates whatever lives, idle or not.
    #[cfg(test)]
    pub(super) fn drain_all(&self) -> usize {
        self.live.actors.iter().filter(|entry| entry.actor.drain().is_ok()).count()
    }

    pub(super) async fn shutdown(&self, within: Duration) -> Result<(), String> {
        let actors: Vec<_> = self.live.actors.iter().map(|entry| entry.actor.clone()).collect();
        for actor in &actors {
            let _ = actor.drain();
        }
        let all_ended = async {
            for actor in &actors {
                let _ = actor.wait(None).await;
            }
        };
        let outcome = tokio::time::timeout(within, all_ended).await;
        self.supervisor.stop();
        outcome.map_err(|_| format!("{} of {} orgs were still flushing after {within:?}", self.len(), actors.len()))
    }
}
