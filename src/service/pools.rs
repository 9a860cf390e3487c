//! Pools of upstream accounts. A pick that passes the gates of its org is an Acquire like any other; what
//! an upstream said is read here, by the rules of the org, and is settlement.

use crate::{
    actors::admission::Lane,
    domain::{
        command::{Command, ReportOutcome},
        decision::Decision,
        ids::{OrgId, PoolId},
        reply::{PoolView, Reply},
        upstream::Upstream,
    },
    error::ServiceError,
};

use super::{Ask, Call, Service};

impl Service {
    /// The pool as it is after the change, and whether the change was made before.
    pub async fn configure_pool(
        &self,
        org: &OrgId,
        command: Command,
        call: &Call,
    ) -> Result<(PoolView, bool), ServiceError> {
        match self.orgs.call_one(org, command, Lane::Admit, call.deadline.at).await? {
            Reply::PoolConfigured { pool, replayed } => {
                let (id, version, accounts) = (&pool.id, pool.version, pool.accounts.len());
                tracing::info!(
                    target: "tollgate::audit", %org, command = "ConfigurePool", pool = %id, version, accounts, replayed, "operator"
                );
                Ok((*pool, replayed))
            }
            _ => Err(ServiceError::Interrupted),
        }
    }

    pub async fn pool(&self, org: &OrgId, id: PoolId, call: &Call) -> Result<PoolView, ServiceError> {
        match self.orgs.call_one(org, Command::Pool { id }, Lane::Admit, call.deadline.at).await? {
            Reply::Pool(pool) => Ok(*pool),
            _ => Err(ServiceError::Interrupted),
        }
    }

    /// One account, past the gates of the org: for the calls of what runs already, so it is served while the
    /// node drains.
    pub async fn pick(&self, org: &OrgId, command: Command, call: &Call) -> Result<Decision, ServiceError> {
        match self.orgs.call_one(org, command, Lane::Admit, call.deadline.at).await? {
            Reply::Decision(decision) => Ok(self.counted(*decision)),
            _ => Err(ServiceError::Interrupted),
        }
    }

    /// One account, and the gates of the org with it.
    pub async fn pick_gated(&self, ask: Ask, call: &Call) -> Result<Decision, ServiceError> {
        self.acquire(ask, call).await.map(|decision| self.counted(decision))
    }

    fn counted(&self, decision: Decision) -> Decision {
        if !decision.replayed {
            self.metrics.picked(decision.code());
        }
        decision
    }

    /// What the answer of an upstream says, by the texts and statuses that are configured for the org.
    pub fn classify(&self, org: &OrgId, status: u16, text: &str) -> Upstream {
        self.policy(org).pools.classify(status, text)
    }

    /// Whether the account is in the pool, and whether this was reported before.
    pub async fn report_outcome(
        &self,
        org: &OrgId,
        report: ReportOutcome,
        call: &Call,
    ) -> Result<(Upstream, bool, bool), ServiceError> {
        let command = Command::ReportOutcome(Box::new(report));
        match self.orgs.call_one(org, command, Lane::Settle, call.deadline.at).await? {
            Reply::OutcomeReported { outcome, known, replayed } => {
                if !replayed {
                    self.metrics.upstream(outcome);
                }
                Ok((outcome, known, replayed))
            }
            _ => Err(ServiceError::Interrupted),
        }
    }
}
