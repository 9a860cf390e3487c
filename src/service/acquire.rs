//! May this org execute now? The use case behind Acquire, AcquireBatch and AcquireStream.
//!
//! Commands of one org travel as one message. Where the actor answers that the billing provider
//! has to be asked, it has changed nothing: the provider is asked here, and the command goes again
//! with its verdict. Where the counter can not be reached, the backstop's policy decides, the
//! answer says so, and the emergency cap bounds it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    actors::admission::Lane,
    domain::{
        balance::BalanceVerdict,
        command::{Acquire, Command, Durability, Mode, Need},
        decision::{Cause, Code, Decision, Denial, FailOpen, Gate},
        ids::{DecisionId, OrgId},
        pipeline::{balance_alone, indeterminate},
        policy::{BalanceSource, Exemption},
        reply::Reply,
    },
    error::ServiceError,
};

use super::{Call, Service};

type Decided = Result<Decision, ServiceError>;

/// One Acquire on its way.
#[derive(Debug, Clone)]
pub struct Ask {
    pub org: OrgId,
    pub acquire: Arc<Acquire>,
}

/// Acquires that share a message, and where each stood among those asked.
#[derive(Debug, Default)]
pub struct Group {
    pub positions: Vec<usize>,
    pub asks: Vec<Arc<Acquire>>,
}

impl Service {
    pub async fn acquire(&self, ask: Ask, call: &Call) -> Decided {
        let mut decided = self.decide(&ask.org, vec![ask.acquire], call).await;
        decided.pop().unwrap_or(Err(ServiceError::Interrupted))
    }

    /// Splits what may share a message: one org, and one durability, so that a reply never waits
    /// for a neighbour's commit.
    pub fn grouped(asks: impl IntoIterator<Item = Ask>) -> Vec<(OrgId, Group)> {
        let mut groups: BTreeMap<(OrgId, bool), Group> = BTreeMap::new();
        for (position, ask) in asks.into_iter().enumerate() {
            let group = groups.entry((ask.org, ask.acquire.reserve.is_empty())).or_default();
            group.positions.push(position);
            group.asks.push(ask.acquire);
        }
        groups.into_iter().map(|((org, _), group)| (org, group)).collect()
    }

    /// Decides Acquires of one org, in order.
    pub async fn decide(&self, org: &OrgId, mut asks: Vec<Arc<Acquire>>, call: &Call) -> Vec<Decided> {
        if let Err(error) = self.refuse_while_draining() {
            return asks.iter().map(|_| Err(error.clone())).collect();
        }
        self.attach_remembered(org, &mut asks);
        let mut replies = self.ask_actor(org, &asks, call).await;
        // The balance and the exemption: each is asked for at most once.
        for _ in 0..2 {
            let open: Vec<usize> = (0..replies.len()).filter(|at| need(&replies[*at]).is_some()).collect();
            if open.is_empty() {
                break;
            }
            self.answer_needs(org, &mut asks, &replies, call).await;
            let again: Vec<_> = open.iter().map(|at| asks[*at].clone()).collect();
            for (at, reply) in open.into_iter().zip(self.ask_actor(org, &again, call).await) {
                replies[at] = reply;
            }
        }
        let mut decided = Vec::with_capacity(asks.len());
        for (ask, reply) in asks.iter().zip(replies) {
            decided.push(self.conclude(org, ask, reply, call).await);
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
        replies: &[Result<Reply, ServiceError>],
        call: &Call,
    ) {
        let needs = |wanted| replies.iter().any(|reply| need(reply) == Some(wanted));
        let until = call.deadline.leaving(self.orgs.rules().bounds.rate_budget_ms);
        let balance = if needs(Need::Balance) { Some(self.balances.ask(org, until).await) } else { None };
        let exempt = if needs(Need::Exemption) { Some(self.balances.pays(org, until).await) } else { None };
        for (ask, reply) in asks.iter_mut().zip(replies) {
            match need(reply) {
                Some(Need::Balance) => Arc::make_mut(ask).balance = balance,
                Some(Need::Exemption) => Arc::make_mut(ask).exempt = exempt,
                None => {}
            }
        }
    }

    async fn ask_actor(&self, org: &OrgId, asks: &[Arc<Acquire>], call: &Call) -> Vec<Result<Reply, ServiceError>> {
        let commands: Vec<_> = asks.iter().cloned().map(Command::Acquire).collect();
        let fails_open = asks.iter().all(|ask| can_fail_open(ask));
        let budget = self.orgs.rules().bounds.rate_budget_ms;
        let until = if fails_open { call.deadline.within(budget) } else { call.deadline.at };
        match self.orgs.call(org, commands, Lane::Admit, until).await {
            Ok(answers) => answers,
            Err(error) => asks.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn conclude(&self, org: &OrgId, ask: &Acquire, reply: Result<Reply, ServiceError>, call: &Call) -> Decided {
        let decision = match reply {
            Ok(Reply::Decision(decision)) => self.capped(org, *decision),
            Ok(_) => return Err(ServiceError::Interrupted),
            Err(error) => self.without_counter(org, ask, error, call).await?,
        };
        if decision.code == Code::Allowed && decision.id.is_some() && !decision.replayed {
            self.balances.admitted(org, &ask.cost);
            self.balances.admitted(org, &ask.reserve);
        }
        if decision.code == Code::BalanceExhausted {
            self.balances.denied(org);
        }
        self.metrics.decided(&decision);
        log(org, ask, &decision);
        Ok(decision)
    }

    /// Two fail-opens never stack: with rate and balance both blind, the emergency cap counts.
    fn capped(&self, org: &OrgId, decision: Decision) -> Decision {
        let blind = |gate| decision.fail_open.iter().any(|open| open.gate == gate);
        if decision.allowed && !decision.replayed && blind(Gate::Rate) && blind(Gate::Balance) {
            return self.emergency(org, decision, "the store and the billing provider");
        }
        decision
    }

    /// The counter could not be asked. What promised durability is an error; the rest follows the
    /// backstop's policy, and what the provider says still counts.
    async fn without_counter(&self, org: &OrgId, ask: &Acquire, error: ServiceError, call: &Call) -> Decided {
        let cause = match &error {
            ServiceError::TimedOut | ServiceError::Interrupted => Cause::Timeout,
            ServiceError::Store(_) => Cause::StoreFault,
            ServiceError::Input(_)
            | ServiceError::Org(_)
            | ServiceError::OrgBusy { .. }
            | ServiceError::NodeBusy { .. }
            | ServiceError::Draining
            | ServiceError::UnknownOrg(_) => return Err(error),
        };
        let policy = self.policy(org);
        if !can_fail_open(ask) {
            return Err(error);
        }
        let id = (ask.mode != Mode::CheckOnly).then(|| self.orgs.next_decision().admitted());
        let mut decision = Decision::allowed(id);
        if ask.pool.is_some() {
            decision.fail_open.push(FailOpen { gate: Gate::Accounts, cause });
        }
        if policy.rate.amount.is_some() && policy.rate.exempt != Exemption::Always {
            let denial = indeterminate(Gate::Rate, cause, policy.rate.on_indeterminate, &mut decision.fail_open);
            if let Some(denial) = denial {
                return Ok(denied(decision, denial));
            }
        }
        let verdict = match &policy.balance.source {
            BalanceSource::None => None,
            BalanceSource::NotIncluded => Some(BalanceVerdict::not_included()),
            // Its ledger can not be read either.
            BalanceSource::Included { .. } => Some(BalanceVerdict::Unknown(cause)),
            BalanceSource::Provider => match ask.balance {
                None => Some(self.balances.ask(org, call.deadline.at).await),
                known => known,
            },
        };
        if let Some(verdict) = verdict {
            let (denial, open) = balance_alone(ask, verdict, &policy, self.clock.now());
            if let Some(denial) = denial {
                return Ok(denied(decision, denial));
            }
            decision.fail_open.extend(open);
        }
        let blind = |gate| decision.fail_open.iter().any(|open| open.gate == gate);
        if blind(Gate::Rate) && (blind(Gate::Balance) || cause == Cause::StoreFault) {
            return Ok(self.emergency(org, decision, "the store"));
        }
        Ok(decision)
    }

    fn emergency(&self, org: &OrgId, decision: Decision, outage: &str) -> Decision {
        let rules = self.orgs.rules();
        let policy = self.policy(org);
        let now = self.clock.now();
        match self.emergency.count(org, &policy.rate, rules.bounds.emergency_orgs, now) {
            Ok(()) => decision,
            Err(window_end) => {
                self.metrics.emergency_denial();
                let message = format!(
                    "Emergency cap reached: {outage} can not be asked, and this node has let through as many calls of this \
                     org as its rate backstop allows per window."
                );
                let retry_after = window_end.saturating_sub(now);
                denied(decision, Denial { gate: Gate::Rate, code: Code::RateLimited, retry_after, message })
            }
        }
    }
}

fn need(reply: &Result<Reply, ServiceError>) -> Option<Need> {
    match reply {
        Ok(Reply::Needs(need)) => Some(*need),
        _ => None,
    }
}

/// Whether an answer without a counter is possible at all: nothing durable was promised.
fn can_fail_open(ask: &Acquire) -> bool {
    ask.durability() != Durability::Durable
}

/// Denied without the counter, whatever was let pass before.
fn denied(decision: Decision, denial: Denial) -> Decision {
    let id = decision.id.map(DecisionId::denied);
    Decision { id, fail_open: Vec::new(), ..decision }.denied_by(denial)
}

/// Who asked, for the decisions somebody will ask about. A denied org may ask a thousand times a second,
/// so a denial is for `debug` alone.
fn log(org: &OrgId, ask: &Acquire, decision: &Decision) {
    let (scope, plane) = (ask.scope.shown(), ask.plane.as_str());
    for open in &decision.fail_open {
        let (gate, cause) = (open.gate.name(), open.cause.name());
        tracing::warn!(%org, %scope, plane, gate, cause, "allowed without an evaluated gate");
    }
    if let Some(gate) = decision.gate {
        let (gate, code, allowed) = (gate.name(), decision.code.name(), decision.allowed);
        tracing::debug!(%org, %scope, plane, gate, code, allowed, "denied");
    }
}
