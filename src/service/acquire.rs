//! May this org execute now? The use case behind Acquire, AcquireBatch and AcquireStream.
//!
//! Commands of one org travel as one message. Where the actor answers that the billing provider
//! has to be asked, it has changed nothing: the provider is asked here, and the command goes again
//! with its verdict. Where the counter can not be reached, the backstop's policy decides, the
//! answer says so, and the emergency cap bounds it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::timeout_at;

use crate::{
    actors::admission::Lane,
    domain::{
        command::{Acquire, BalanceVerdict, Command, Durability, Mode, Reply},
        decision::{Cause, Code, Decision, FailOpen, Gate},
        ids::OrgId,
        limit::OnIndeterminate,
    },
    error::ServiceError,
};

use super::{Deadline, Service};

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
    pub async fn acquire(&self, ask: Ask, deadline: Deadline) -> Decided {
        let mut decided = self.decide(&ask.org, vec![ask.acquire], deadline).await;
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
    pub async fn decide(&self, org: &OrgId, asks: Vec<Arc<Acquire>>, deadline: Deadline) -> Vec<Decided> {
        if let Err(error) = self.refuse_while_draining() {
            return asks.iter().map(|_| Err(error.clone())).collect();
        }
        let mut decided = self.ask_actor(org, &asks, deadline).await;
        let unpaid = decided.iter().any(|reply| matches!(reply, Ok(Reply::NeedBalance)));
        if unpaid {
            let verdict = timeout_at(deadline.at, self.billing.check(org)).await;
            let verdict = verdict.unwrap_or(BalanceVerdict::Unknown(Cause::Timeout));
            for (ask, reply) in asks.iter().zip(&mut decided) {
                if matches!(reply, Ok(Reply::NeedBalance)) {
                    let again = Arc::new(Acquire { balance: Some(verdict), ..(**ask).clone() });
                    *reply =
                        self.ask_actor(org, &[again], deadline).await.pop().unwrap_or(Err(ServiceError::Interrupted));
                }
            }
        }
        asks.iter().zip(decided).map(|(ask, reply)| self.conclude(org, ask, reply)).collect()
    }

    async fn ask_actor(
        &self,
        org: &OrgId,
        asks: &[Arc<Acquire>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, ServiceError>> {
        let commands: Vec<_> = asks.iter().cloned().map(Command::Acquire).collect();
        let fails_open = asks.iter().all(|ask| can_fail_open(ask));
        let budget = self.orgs.rules().bounds.rate_budget_ms;
        let until = if fails_open { deadline.within(budget) } else { deadline.at };
        match self.orgs.call(org, commands, Lane::Admit, until).await {
            Ok(answers) => answers,
            Err(error) => asks.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn conclude(&self, org: &OrgId, ask: &Acquire, reply: Result<Reply, ServiceError>) -> Decided {
        let decision = match reply {
            Ok(Reply::Decision(decision)) => self.capped(org, *decision),
            Ok(_) => return Err(ServiceError::Interrupted),
            Err(error) => self.without_counter(org, ask, error)?,
        };
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
    /// backstop's policy.
    fn without_counter(&self, org: &OrgId, ask: &Acquire, error: ServiceError) -> Decided {
        let cause = match &error {
            ServiceError::TimedOut | ServiceError::Interrupted => Cause::Timeout,
            ServiceError::Store(_) => Cause::StoreFault,
            ServiceError::Input(_)
            | ServiceError::Org(_)
            | ServiceError::OrgBusy
            | ServiceError::NodeBusy
            | ServiceError::Draining
            | ServiceError::UnknownOrg(_) => return Err(error),
        };
        let policy = self.orgs.rules().policies.policy(org);
        if !can_fail_open(ask) {
            return Err(error);
        }
        let mut decision = blank(ask, self.orgs.next_decision());
        if policy.rate.amount.is_none() {
            return Ok(decision);
        }
        if policy.rate.on_indeterminate == OnIndeterminate::Deny {
            decision.gate = Some(Gate::Rate);
            return Ok(denied(
                decision,
                Code::Indeterminate,
                format!("Gate rate could not be evaluated ({}), and its policy is to deny.", cause.name()),
                crate::bounds::SECOND_MS,
            ));
        }
        decision.fail_open.push(FailOpen { gate: Gate::Rate, cause });
        let unpaid = policy.balance_required && !matches!(ask.balance, Some(BalanceVerdict::Allowed));
        if unpaid {
            decision.fail_open.push(FailOpen { gate: Gate::Balance, cause });
        }
        if unpaid || cause == Cause::StoreFault {
            return Ok(self.emergency(org, decision, "the store"));
        }
        Ok(decision)
    }

    fn emergency(&self, org: &OrgId, decision: Decision, outage: &str) -> Decision {
        let rules = self.orgs.rules();
        let policy = rules.policies.policy(org);
        let now = self.clock.now();
        match self.emergency.count(org, &policy.rate, rules.bounds.emergency_orgs, now) {
            Ok(()) => decision,
            Err(window_end) => {
                self.metrics.emergency_denial();
                let message = format!(
                    "Emergency cap reached: {outage} can not be asked, and this node has let through as many calls of this \
                     org as its rate backstop allows per window."
                );
                let decision = Decision { gate: Some(Gate::Rate), ..decision };
                denied(decision, Code::RateLimited, message, window_end.saturating_sub(now))
            }
        }
    }
}

/// Whether an answer without a counter is possible at all: nothing durable was promised.
fn can_fail_open(ask: &Acquire) -> bool {
    ask.durability() != Durability::Durable
}

fn blank(ask: &Acquire, id: crate::domain::ids::DecisionId) -> Decision {
    Decision {
        id: (ask.mode != Mode::CheckOnly).then_some(id),
        code: Code::Allowed,
        allowed: true,
        gate: None,
        message: String::new(),
        limits: Vec::new(),
        retry_after: 0,
        fail_open: Vec::new(),
        hold: None,
        replayed: false,
    }
}

fn denied(decision: Decision, code: Code, message: String, retry_after: u64) -> Decision {
    Decision { code, allowed: false, message, retry_after, fail_open: Vec::new(), ..decision }
}

/// Who asked, for the decisions somebody will ask about. A denied org may ask a thousand times a second,
/// so a denial is for `debug` alone.
fn log(org: &OrgId, ask: &Acquire, decision: &Decision) {
    let (scope, plane) = (&ask.scope, ask.plane.as_str());
    for open in &decision.fail_open {
        let (gate, cause) = (open.gate.name(), open.cause.name());
        tracing::warn!(%org, %scope, plane, gate, cause, "allowed without an evaluated gate");
    }
    if let Some(gate) = decision.gate {
        let (gate, code, allowed) = (gate.name(), decision.code.name(), decision.allowed);
        tracing::debug!(%org, %scope, plane, gate, code, allowed, "denied");
    }
}
