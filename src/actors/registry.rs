//! Which orgs are in memory, and the only way to them.
//!
//! At most one incarnation of an org's actor incarnations: a new one starts only after the old one has
//! flushed and ended. A message that reaches a draining actor comes back whole and goes to the
//! next one, so passivation loses nothing.

mod leaving;

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
    Shared, THIS_NODE,
    admission::{InFlight, Permit},
    org::{OrgActor, OrgMsg, Start, Work},
    room::{Place, Room},
    supervisor::Supervisor,
};
use crate::{
    bounds::Bound,
    cluster::table::Standing,
    domain::{
        commands::{Ask, Lane},
        ids::OrgId,
        rows::OrgWrite,
        shard::Epoch,
    },
    error::ServiceError,
    ports::Event,
};

/// Starts of different orgs share a lock only by chance.
const STRIPES: usize = 1024;
/// How long a start waits for the previous incarnation to flush and end.
const HANDOVER: Duration = Duration::from_secs(10);
/// How often, and how long apart, a start asks for a place that actors are about to leave.
const PLACE_ASKED: u32 = 100;
const PLACE_EVERY: Duration = Duration::from_millis(10);

/// The way of an actor out of memory.
#[derive(Debug, Clone)]
pub(super) struct Exit {
    actor: ActorRef<OrgMsg>,
    place: Arc<Place>,
}

#[derive(Debug, Clone)]
struct Entry {
    exit: Exit,
    gate: Arc<InFlight>,
    /// Something is stored of the org, or it was let in.
    is_known: Arc<AtomicBool>,
}

/// What a start is for.
#[derive(Debug, Clone, Copy)]
struct Reason<'a> {
    /// Whose places it takes.
    lane: Lane,
    /// Who begins something; `None` = nobody.
    beginner: Option<&'a str>,
    /// It wants nothing more of the org after this.
    is_visit: bool,
}

impl<'a> Reason<'a> {
    fn of(message: &OrgMsg, lane: Lane, caller: &'a str) -> Self {
        let is_visit = message.is_visit();
        let lane = if is_visit { Lane::Settle } else { lane };
        Self { lane, beginner: message.begins().then_some(caller), is_visit }
    }
}

impl Exit {
    /// Lets the actor go. It finishes what reaches it first. False where it is on its way out already.
    pub(super) fn leave(&self) -> bool {
        !self.place.is_leaving() && self.actor.drain().is_ok() && self.place.leaves()
    }
}

/// What became of a message.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a message that comes back goes on at once")]
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
    room: Arc<Room>,
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
    /// Free when the actor has ended.
    _place: Arc<Place>,
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
        live.actors.remove_if(&self.org, |_, entry| entry.exit.actor.get_id() == *id);
    }
}

impl Registry {
    pub(super) fn new(shared: Arc<Shared>, supervisor: Supervisor) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Self { shared, supervisor, live: Arc::default(), room: Arc::default(), stripes }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn len(&self) -> usize {
        self.live.actors.len()
    }

    /// Delivers a message of this node's own to the org's actor, starting it if need be. The permit is the call's
    /// place among those in flight.
    pub(super) async fn send(&self, org: &OrgId, lane: Lane, message: OrgMsg) -> Result<Permit, ServiceError> {
        let delivery = self.deliver(org, lane, &THIS_NODE, message)?;
        self.start_for(org, lane, &THIS_NODE, delivery).await
    }

    /// Delivers `message` where the org's actor runs, without waiting for anything.
    pub(super) fn deliver(
        &self,
        org: &OrgId,
        lane: Lane,
        caller: &str,
        message: OrgMsg,
    ) -> Result<Delivery, ServiceError> {
        match self.live.actors.get(org) {
            Some(entry) => {
                self.let_in(&entry, org, caller, &message)?;
                self.deliver_to(&entry, lane, message)
            }
            None => Ok(Delivery::NoActor { message, ended: None }),
        }
    }

    /// Starts the org's actor until one takes the message.
    pub(super) async fn start_for(
        &self,
        org: &OrgId,
        lane: Lane,
        caller: &str,
        mut delivery: Delivery,
    ) -> Result<Permit, ServiceError> {
        loop {
            match delivery {
                Delivery::Accepted(permit) => return Ok(permit),
                Delivery::NoActor { message, ended } => {
                    let reason = Reason::of(&message, lane, caller);
                    let entry = self.start(org, reason, ended).await?;
                    self.let_in(&entry, org, caller, &message)?;
                    delivery = self.deliver_to(&entry, lane, message)?;
                }
            }
        }
    }

    /// What is the first of an org needs more than an actor that runs: one may run because somebody asked about it.
    fn let_in(&self, entry: &Entry, org: &OrgId, caller: &str, message: &OrgMsg) -> Result<(), ServiceError> {
        if entry.is_known.load(Ordering::Acquire) || !message.begins() {
            return Ok(());
        }
        self.let_in_new(org, caller)?;
        entry.is_known.store(true, Ordering::Release);
        Ok(())
    }

    fn let_in_new(&self, org: &OrgId, caller: &str) -> Result<(), ServiceError> {
        self.shared.newcomers.let_in(org, caller, &self.shared.rules.load(), &self.shared.headroom)
    }

    fn deliver_to(&self, entry: &Entry, lane: Lane, message: OrgMsg) -> Result<Delivery, ServiceError> {
        let is_visit = matches!(&message, OrgMsg::Run(_)) && message.is_visit();
        let permit = self.enter(&entry.gate, lane, message.calls())?.visiting(is_visit);
        match entry.exit.actor.cast(message) {
            Ok(()) => Ok(Delivery::Accepted(permit)),
            Err(MessagingErr::SendErr(message)) => {
                Ok(Delivery::NoActor { message, ended: Some(entry.exit.actor.get_id()) })
            }
            Err(_) => Err(ServiceError::Interrupted),
        }
    }

    fn enter(&self, org: &Arc<InFlight>, lane: Lane, calls: u32) -> Result<Permit, ServiceError> {
        let Shared { turns, in_flight, rules, .. } = &*self.shared;
        if lane == Lane::Admit && !turns.fits(org.of_lane(lane), in_flight.of_lane(lane)) {
            return Err(ServiceError::OrgOverShare);
        }
        let most = rules.load().bounds.org_in_flight;
        org.enter(lane, calls, most).ok_or(ServiceError::OrgBusy { most })
    }

    /// One command from beside the actors, and what it was answered.
    pub(super) async fn ask<C: Ask>(&self, org: &OrgId, command: C) -> Option<C::Answer> {
        self.try_ask(org, command).await.ok()
    }

    /// The same, with why there is no answer.
    pub(super) async fn try_ask<C: Ask>(&self, org: &OrgId, command: C) -> Result<C::Answer, ServiceError> {
        let (reply, answers) = oneshot::channel();
        let (commands, caller) = (smallvec![command.into()], THIS_NODE.clone());
        let work = Work { commands, within: None, caller, reason: None, trace: None, dry_run: false, reply };
        let _permit = self.send(org, C::LANE, OrgMsg::Run(work)).await?;
        let answered = answers.await.map_err(|_| ServiceError::Interrupted)?.pop().unwrap_or(Err(ServiceError::Bug));
        C::answer(answered?).ok_or(ServiceError::Bug)
    }

    fn running(&self, org: &OrgId) -> Option<Entry> {
        self.live.actors.get(org).map(|entry| entry.value().clone())
    }

    /// The org's actor, started unless one runs that is not `ended`. Callers of one org share one start. One that is
    /// started only to be asked leaves when the last of them has its answer.
    async fn start(&self, org: &OrgId, reason: Reason<'_>, ended: Option<ActorId>) -> Result<Entry, ServiceError> {
        let _one_start = self.stripe(org).lock().await;
        if let Some(entry) = self.running(org) {
            if ended != Some(entry.exit.actor.get_id()) {
                return Ok(entry);
            }
            entry.exit.actor.wait(Some(HANDOVER)).await.map_err(|_| ServiceError::TimedOut)?;
            self.live.actors.remove_if(org, |_, current| current.exit.actor.get_id() == entry.exit.actor.get_id());
        }
        if let Some(fault) = self.shared.store.fault(org) {
            return Err(ServiceError::Store(fault));
        }
        self.may_load(org)?;
        let tenure = self.shared.store.tenure(org).ok_or(ServiceError::Moved)?;
        if ended.is_some() || self.live.unclean.contains(org) {
            self.await_earlier_commits(org, tenure.epoch).await?;
        }
        let rows = self.shared.store.load(org).await.map_err(ServiceError::Store)?;
        let is_stored = !rows.rows.is_empty();
        if let (false, Some(caller)) = (is_stored, reason.beginner) {
            self.let_in_new(org, caller)?;
        }
        let place = self.place(reason.lane).await?;
        let registration = Registration {
            live: Arc::downgrade(&self.live),
            org: org.clone(),
            clean: false.into(),
            id: Default::default(),
            _place: place.clone(),
        };
        let start = Start { org: org.clone(), tenure, rows, shared: self.shared.clone(), registration };
        let spawned = OrgActor::spawn_linked(None, OrgActor, start, self.supervisor.cell()).await;
        let (actor, _) = spawned.map_err(|_| ServiceError::Interrupted)?;
        let is_known = is_stored || reason.beginner.is_some();
        let exit = Exit { actor, place };
        let entry = Entry { exit, gate: Arc::default(), is_known: Arc::new(AtomicBool::new(is_known)) };
        if reason.is_visit || !is_known {
            entry.gate.leave_when_empty(entry.exit.clone());
        }
        self.live.actors.insert(org.clone(), entry.clone());
        // Where the shard is given up meanwhile, either this or who gives it up finds the actor.
        if let Err(error) = self.may_load(org) {
            entry.exit.leave();
            return Err(error);
        }
        Ok(entry)
    }

    /// Whether this node may decide for the org.
    fn may_load(&self, org: &OrgId) -> Result<(), ServiceError> {
        match self.shared.table.may_load(org) {
            Standing::Owned => Ok(()),
            Standing::Elsewhere => Err(ServiceError::Moved),
            Standing::Lapsed | Standing::Free => Err(ServiceError::NoOwner),
        }
    }

    /// A place for one more actor. Where there is hardly one left the idlest actors leave, and where there is none this
    /// waits for them.
    async fn place(&self, lane: Lane) -> Result<Arc<Place>, ServiceError> {
        let mut asked = 0;
        loop {
            let most = self.shared.rules.load().bounds.resident_orgs;
            let room = usize::try_from(most).unwrap_or(usize::MAX);
            let is_emptying = self.room.is_crowded(room) && self.make_room(room);
            if let Some(place) = self.room.take(lane, room) {
                return Ok(place);
            }
            asked += 1;
            if !is_emptying || asked > PLACE_ASKED {
                return Err(ServiceError::NodeBusy { bound: Bound::resident_orgs, most });
            }
            tokio::time::sleep(PLACE_EVERY).await;
        }
    }

    /// Lets the idlest actors go before their time. False where none goes, because each has a call in flight.
    fn make_room(&self, most: usize) -> bool {
        let Ok(_choosing) = self.room.choosing.try_lock() else { return true };
        if self.room.is_emptying() {
            return true;
        }
        let mut idle: Vec<(u64, Entry)> = Vec::new();
        for entry in &self.live.actors {
            idle.extend(entry.gate.last_used_if_idle().map(|tick| (tick, entry.clone())));
        }
        let count = Room::at_once(most).min(idle.len());
        if let Some(last) = count.checked_sub(1) {
            idle.select_nth_unstable_by_key(last, |(tick, _)| *tick);
        }
        let left = idle.iter().take(count).filter(|(_, entry)| entry.exit.leave()).count();
        if left > 0 {
            self.shared.events.happened(Event::LeftEarly(u64::try_from(left).unwrap_or(u64::MAX)));
            tracing::warn!(
                orgs = left,
                "orgs leave memory before they are idle for {}: {} = {most} are nearly reached",
                Bound::idle_ms,
                Bound::resident_orgs
            );
        }
        left > 0
    }

    /// An empty commit behind whatever the last actor had handed over: after a crash, nobody else
    /// waited for it. Whatever its answer is, everything before it was answered, and the store knows what is true.
    async fn await_earlier_commits(&self, org: &OrgId, epoch: Epoch) -> Result<(), ServiceError> {
        let (done, answered) = oneshot::channel();
        self.shared.store.commit(OrgWrite::empty(org), epoch, Box::new(move |result| drop(done.send(result))));
        let _ = answered.await.map_err(|_| ServiceError::Interrupted)?;
        self.live.unclean.remove(org);
        Ok(())
    }

    fn stripe(&self, org: &OrgId) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        org.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0);
        &self.stripes[index]
    }
}
