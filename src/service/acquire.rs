//! May this org execute now? The use case behind Acquire, AcquireBatch and AcquireStream.
//!
//! Commands of one org travel as one message. Where the actor answers that the billing provider
//! has to be asked, it has changed nothing: the provider is asked here, and the command goes again
//! with its verdict. Where the org's state cannot be read, the same gates judge what is known without it,
//! the answer says so, and the emergency cap bounds it.

use std::{collections::BTreeMap, sync::Arc};

use smallvec::{SmallVec, smallvec};

use crate::{
    actors::OfEach,
    domain::{
        command::{Acquire, Mode, Need},
        decision::Decision,
        gate::{Cause, Code, Gate},
        ids::OrgId,
        pipeline,
        promise::Promise,
    },
    error::ServiceError,
    telemetry::Span,
};

use super::{Call, Service};

type Decided = Result<Box<Decision>, ServiceError>;
/// What the org's actor answers to one Acquire.
type Answered = Result<Result<Box<Decision>, Need>, ServiceError>;
/// Acquires of one org; nearly always one.
pub type Asks = SmallVec<[Arc<Acquire>; 1]>;

/// One Acquire on its way.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whom it is about.
    pub org: OrgId,
    /// Shared, because it may be sent a second time.
    pub acquire: Arc<Acquire>,
}

/// Acquires that share a message, and where each stood among those asked.
#[derive(Debug, Default)]
pub struct Group {
    /// Where each stood, in the order of `asks`.
    pub positions: Vec<usize>,
    /// What they ask.
    pub asks: Asks,
}

impl Service {
    /// Decides one Acquire; a denial is an answer, an error means that nothing was decided.
    pub async fn acquire(&self, ask: Ask, call: &Call) -> Decided {
        let mut decided = self.decide(&ask.org, &mut smallvec![ask.acquire], call).await;
        decided.pop().unwrap_or(Err(ServiceError::Bug))
    }

    /// Splits what may share a message: one org, and one promise, so that a reply never waits for a
    /// neighbour's commit.
    pub fn grouped(asks: impl IntoIterator<Item = Ask>) -> Vec<(OrgId, Group)> {
        let mut groups: BTreeMap<(OrgId, Promise), Group> = BTreeMap::new();
        for (position, ask) in asks.into_iter().enumerate() {
            let group = groups.entry((ask.org, ask.acquire.promise())).or_default();
            group.positions.push(position);
            group.asks.push(ask.acquire);
        }
        groups.into_iter().map(|((org, _), group)| (org, group)).collect()
    }

    /// Decides Acquires of one org, in order; what is known of the org is added to them.
    pub async fn decide(&self, org: &OrgId, asks: &mut Asks, call: &Call) -> OfEach<Box<Decision>> {
        if let Err(error) = self.may_begin(org, asks.iter().any(|ask| ask.counts()), call).await {
            return asks.iter().map(|_| Err(error.clone())).collect();
        }
        if let Some(of) = call.trace {
            asks.iter_mut().for_each(|ask| Arc::make_mut(ask).trace = Some(of.trace));
        }
        let recorded = call.part("decide", org);
        self.attach_remembered(org, asks);
        let mut replies = self.ask_actor(org, asks, call).await;
        // The balance and the exemption: each is asked for at most once.
        for _ in 0..2 {
            let open: Vec<usize> = (0..replies.len()).filter(|at| need(&replies[*at]).is_some()).collect();
            if open.is_empty() {
                break;
            }
            Box::pin(self.answer_needs(org, asks, &replies, call, recorded.as_ref())).await;
            let again: Asks = open.iter().map(|at| asks[*at].clone()).collect();
            for (at, reply) in open.into_iter().zip(self.ask_actor(org, &again, call).await) {
                replies[at] = reply;
            }
        }
        let mut decided = OfEach::with_capacity(asks.len());
        for (ask, reply) in asks.iter().zip(replies) {
            decided.push(self.conclude(org, ask, reply, call).await);
        }
        if let Some(span) = recorded {
            decided.iter().flatten().for_each(|decision| span.decided(org, decision));
        }
        decided
    }

    /// What is remembered of the org's balance travels with the command: no second pass.
    fn attach_remembered(&self, org: &OrgId, asks: &mut [Arc<Acquire>]) {
        if let Some(verdict) = self.balances.remembered(org) {
            for ask in asks {
                Arc::make_mut(ask).balance = Some(verdict);
            }
        }
    }

    async fn answer_needs(
        &self,
        org: &OrgId,
        asks: &mut [Arc<Acquire>],
        replies: &[Answered],
        call: &Call,
        recorded: Option<&Span>,
    ) {
        let _question = recorded.map(|span| span.question("ask the billing provider"));
        let needs = |wanted| replies.iter().any(|reply| need(reply) == Some(wanted));
        let until = call.deadline.leaving(self.orgs.rules().bounds.rate_budget_ms);
        let balance = if needs(Need::Balance) {
            let deny_stale = self.policy(org).balance.deny_stale;
            Some(self.balances.ask(org, deny_stale, until).await)
        } else {
            None
        };
        let exempt = if needs(Need::Exemption) { Some(self.balances.pays(org, until).await) } else { None };
        for (ask, reply) in asks.iter_mut().zip(replies) {
            match need(reply) {
                Some(Need::Balance) => Arc::make_mut(ask).balance = balance,
                Some(Need::Exemption) => Arc::make_mut(ask).exempt = exempt,
                None => {}
            }
        }
    }

    async fn ask_actor(&self, org: &OrgId, asks: &[Arc<Acquire>], call: &Call) -> OfEach<Result<Box<Decision>, Need>> {
        let fails_open = asks.iter().all(|ask| can_fail_open(ask));
        let budget = self.orgs.rules().bounds.rate_budget_ms;
        let until = if fails_open { call.deadline.within(budget) } else { call.deadline.at };
        self.orgs.ask_all(org, asks.iter().cloned(), call.until(until)).await
    }

    async fn conclude(&self, org: &OrgId, ask: &Acquire, reply: Answered, call: &Call) -> Decided {
        let by_org = reply.as_ref().ok().and_then(|answer| Some(answer.as_ref().ok()?.code()));
        let decision = match reply {
            Ok(Ok(decision)) => self.capped(org, ask, decision),
            // It was given both answers, each once.
            Ok(Err(_)) => return Err(ServiceError::Bug),
            Err(error) => Box::pin(self.without_counter(org, ask, error, call)).await?,
        };
        if decision.code() == Code::Allowed && decision.id.is_some() && !decision.replayed {
            self.balances.admitted(org, &ask.cost);
            self.balances.admitted(org, &ask.reserve);
        }
        if decision.code() == Code::BalanceExhausted {
            self.balances.denied(org);
        }
        self.remember(org, ask, &decision, by_org == Some(decision.code()));
        self.metrics.decided(&decision, || self.policy(org).plan.clone());
        log(org, ask, &decision);
        Ok(decision)
    }

    /// The counter could not be asked. What promises durability is an error; the rest passes the same
    /// gates, over what is known without the org's state.
    async fn without_counter(&self, org: &OrgId, ask: &Acquire, error: ServiceError, call: &Call) -> Decided {
        let cause = match &error {
            ServiceError::TimedOut | ServiceError::Interrupted => Cause::Timeout,
            ServiceError::Store(_) | ServiceError::InDoubt(_) => Cause::StoreFault,
            ServiceError::NoOwner if call.is_ownerless => Cause::StoreFault,
            ServiceError::Input(_)
            | ServiceError::Org(_)
            | ServiceError::Moved
            | ServiceError::NoOwner
            | ServiceError::OrgBusy { .. }
            | ServiceError::NodeBusy { .. }
            | ServiceError::NewOrgs { .. }
            | ServiceError::NotAdmitted(_)
            | ServiceError::DiskLow { .. }
            | ServiceError::OrgOverShare
            | ServiceError::CallerOverShare
            | ServiceError::Bug
            | ServiceError::Draining
            | ServiceError::UnknownOrg(_)
            | ServiceError::LeadsTo(_)
            | ServiceError::NameTaken { .. }
            | ServiceError::UnknownDecision
            | ServiceError::UnknownNode(_)
            | ServiceError::Unauthenticated(_)
            | ServiceError::OtherRole { .. }
            | ServiceError::OtherOrg
            | ServiceError::OtherScope(_)
            | ServiceError::Relayed(_)
            | ServiceError::OwnerUnreachable { .. }
            | ServiceError::SnapshotBroken(_)
            | ServiceError::SnapshotsOpen { .. }
            | ServiceError::OwnerBusy { .. } => return Err(error),
        };
        if !can_fail_open(ask) {
            return Err(error);
        }
        let policy = self.policy(org);
        let mut ask = ask.clone();
        let reports = loop {
            match pipeline::without_state(&ask, &policy, cause, self.clock.read()) {
                Ok(reports) => break reports,
                Err(Need::Balance) => {
                    ask.balance = Some(self.balances.ask(org, policy.balance.deny_stale, call.deadline.at).await);
                }
                // Nobody is exempt from a backstop that cannot be evaluated.
                Err(Need::Exemption) => ask.exempt = Some(false),
            }
        };
        let allowed = reports.denial().is_none();
        let id = ask.counts().then(|| self.orgs.next_decision());
        let id = id.map(|id| if allowed { id.admitted() } else { id });
        let decision = Box::new(Decision::judged(id, reports, ask.mode == Mode::Shadow));
        Ok(match cause {
            // It lasts, so it is bounded whatever the provider says.
            Cause::StoreFault => self.emergency(org, &ask, decision),
            _ => self.capped(org, &ask, decision),
        })
    }

    /// Fail-opens never stack: where nothing holds the org to an amount any more, the emergency cap does.
    fn capped(&self, org: &OrgId, ask: &Acquire, decision: Box<Decision>) -> Box<Decision> {
        if decision.reports.is_unbounded() { self.emergency(org, ask, decision) } else { decision }
    }

    fn emergency(&self, org: &OrgId, ask: &Acquire, decision: Box<Decision>) -> Box<Decision> {
        if decision.code() != Code::Allowed || decision.replayed {
            return decision;
        }
        let (rules, now) = (self.orgs.rules(), self.clock.read());
        let limit = self.policy(org).emergency();
        match self.emergency.count(org, &limit, ask.counts(), rules.bounds.emergency_orgs, now.service) {
            Ok(()) => decision,
            Err(over) => {
                self.metrics.emergency_denial();
                let denial = pipeline::emergency(&decision.reports, over, &now);
                Box::new(decision.denied_by(Gate::Rate, denial, ask.mode == Mode::Shadow))
            }
        }
    }
}

fn need(reply: &Answered) -> Option<Need> {
    reply.as_ref().ok().and_then(|answer| answer.as_ref().err().copied())
}

/// Whether an answer without a counter is possible at all: nothing durable was promised.
fn can_fail_open(ask: &Acquire) -> bool {
    ask.promise() != Promise::Durable
}

/// Who asked, for the decisions somebody will ask about. A denied org may ask a thousand times a second,
/// so a denial is for `debug` alone.
fn log(org: &OrgId, ask: &Acquire, decision: &Decision) {
    let (scope, plane) = (ask.scopes.shown(), ask.plane.as_str());
    let trace_id = ask.trace.map(tracing::field::display);
    for open in decision.let_through() {
        let (gate, cause) = (open.gate.name(), open.cause.name());
        tracing::warn!(%org, %scope, plane, gate, cause, trace_id, "allowed without an evaluated gate");
    }
    if let Some(gate) = decision.gate() {
        let (gate, code, allowed) = (gate.name(), decision.code().name(), decision.allowed);
        tracing::debug!(%org, %scope, plane, gate, code, allowed, trace_id, "denied");
    }
}
