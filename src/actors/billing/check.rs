//! The billing-check actor: every question to the provider begins and ends here, one message at a
//! time. It never waits for the provider itself: calls run beside it and report back.

use std::{collections::HashMap, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{sync::oneshot, task::AbortHandle, time::Instant};

use super::{
    Core,
    flights::{Balance, Desk, Flights, Pays, Question},
    poll,
};
use crate::{
    domain::{balance::BalanceVerdict, gate::Cause, ids::OrgId},
    ports::Freshness,
};

#[derive(Debug)]
pub(super) enum Msg {
    /// Somebody waits for a word, remembered or asked.
    Ask(OrgId, oneshot::Sender<BalanceVerdict>),
    /// What was remembered has been forgotten; somebody waits for a fresh word.
    Refresh(OrgId, oneshot::Sender<BalanceVerdict>),
    /// A poll wants a fresh word, and what is remembered holds meanwhile.
    Poll(OrgId, oneshot::Sender<BalanceVerdict>),
    /// Somebody waits to know whether the org pays.
    Pays(OrgId, oneshot::Sender<Result<bool, Cause>>),
    /// The word in memory should be checked; nobody waits.
    Revalidate(OrgId),
    /// What was under way when this was sent no longer counts.
    Forgotten(OrgId),
    BalanceEnded(Ended<Balance>),
    PaysEnded(Ended<Pays>),
}

/// A provider call that has ended.
#[derive(Debug)]
pub(super) struct Ended<Q: Question> {
    pub(super) org: OrgId,
    pub(super) number: u64,
    pub(super) began: Instant,
    pub(super) answer: Q::Answer,
}

#[derive(Debug)]
pub(super) struct CheckActor;

#[derive(Debug)]
pub(super) struct Checks {
    core: Arc<Core>,
    balances: Flights<Balance>,
    payers: Flights<Pays>,
    polls: HashMap<OrgId, AbortHandle>,
}

impl Actor for CheckActor {
    type Msg = Msg;
    type State = Checks;
    type Arguments = Arc<Core>;

    async fn pre_start(&self, _: ActorRef<Msg>, core: Arc<Core>) -> Result<Checks, ActorProcessingErr> {
        // What an earlier incarnation had under way reports to nobody.
        core.memory.under_way.forget_all();
        core.payers.under_way.forget_all();
        Ok(Checks { core, balances: Flights::new(), payers: Flights::new(), polls: HashMap::new() })
    }

    async fn handle(&self, me: ActorRef<Msg>, message: Msg, checks: &mut Checks) -> Result<(), ActorProcessingErr> {
        checks.take(message, &me);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Msg>, checks: &mut Checks) -> Result<(), ActorProcessingErr> {
        checks.polls.values().for_each(AbortHandle::abort);
        Ok(())
    }
}

impl Checks {
    fn take(&mut self, message: Msg, me: &ActorRef<Msg>) {
        let core = self.core.clone();
        let desk = Desk { core: &core, me };
        match message {
            // Nobody waits for it any more, and nothing has been asked yet.
            Msg::Ask(_, reply) if reply.is_closed() => {}
            Msg::Pays(_, reply) if reply.is_closed() => {}
            Msg::Ask(org, reply) => match core.memory.peek(&org) {
                Some(verdict) => drop(reply.send(verdict)),
                None => drop(self.balances.join(&desk, &org, Freshness::Cached, Some(reply))),
            },
            Msg::Refresh(org, reply) => {
                self.balances.join(&desk, &org, Freshness::Fresh, Some(reply));
                self.balances.poll(&org);
                self.payers.forgotten(&desk, &org);
            }
            Msg::Poll(org, reply) => {
                self.balances.join(&desk, &org, Freshness::Fresh, Some(reply));
            }
            Msg::Pays(org, reply) => match core.payers.fresh(&org) {
                Some(pays) => drop(reply.send(Ok(pays))),
                None => drop(self.payers.join(&desk, &org, Freshness::Cached, Some(reply))),
            },
            Msg::Revalidate(org) => {
                if self.balances.join(&desk, &org, Freshness::Cached, None) {
                    core.counters.revalidation();
                }
            }
            Msg::Forgotten(org) => {
                self.balances.forgotten(&desk, &org);
                self.payers.forgotten(&desk, &org);
            }
            Msg::BalanceEnded(ended) => {
                let settled = self.balances.ended(&desk, &ended);
                let denied = matches!(ended.answer, BalanceVerdict::Denied(..));
                if denied && settled.is_some_and(|settled| settled.poll) {
                    self.poll(me, ended.org);
                }
            }
            Msg::PaysEnded(ended) => drop(self.payers.ended(&desk, &ended)),
        }
    }

    /// One poll per org: the latest refresh has its full time.
    fn poll(&mut self, me: &ActorRef<Msg>, org: OrgId) {
        self.polls.retain(|_, poll| !poll.is_finished());
        if let Some(earlier) = self.polls.remove(&org) {
            earlier.abort();
        }
        let Ok(place) = self.core.polls.clone().try_acquire_owned() else {
            tracing::warn!(%org, "too many orgs are polled; this one is unblocked when it asks");
            return;
        };
        let (me, of) = (me.clone(), org.clone());
        let polling = tokio::spawn(async move {
            poll::run(me, of).await;
            drop(place);
        });
        self.polls.insert(org, polling.abort_handle());
    }
}

/// Starts the actor again when it crashes. Questions under way are lost with it, and whoever waits
/// for one gets that answer; what is remembered stays.
#[derive(Debug)]
pub(super) struct Watcher;

impl Actor for Watcher {
    type Msg = ();
    type State = Arc<Core>;
    type Arguments = Arc<Core>;

    async fn pre_start(&self, me: ActorRef<()>, core: Arc<Core>) -> Result<Arc<Core>, ActorProcessingErr> {
        start(&me, &core).await?;
        Ok(core)
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        core: &mut Arc<Core>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            core.counters.crash();
            tracing::error!(%error, "the billing check crashed and is started again");
            start(&me, core).await?;
        }
        Ok(())
    }
}

async fn start(watcher: &ActorRef<()>, core: &Arc<Core>) -> Result<(), ActorProcessingErr> {
    let (actor, _) = CheckActor::spawn_linked(None, CheckActor, core.clone(), watcher.get_cell()).await?;
    core.actor.store(Some(Arc::new(actor)));
    Ok(())
}
