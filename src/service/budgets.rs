//! Budgets that are set while the node runs, and the audit of what is counted against them.

use futures_util::{StreamExt, stream};

use crate::{
    actors::admission::Lane,
    domain::{
        command::Command,
        ids::{OrgId, Scope},
        reply::{Audit, BudgetView, Reply},
    },
    error::ServiceError,
};

use super::{Call, Service};

/// Orgs of one page that are audited at once.
const AUDITS_AT_ONCE: usize = 16;

impl Service {
    pub async fn budget(&self, org: &OrgId, scope: Scope, call: &Call) -> Result<BudgetView, ServiceError> {
        match self.orgs.call_one(org, Command::Budget { scope }, Lane::Admit, call.deadline.at).await? {
            Reply::Budget(budget) => Ok(*budget),
            _ => Err(ServiceError::Interrupted),
        }
    }

    /// The budget as it is after the change, and whether the change was made before.
    pub async fn set_budget(
        &self,
        org: &OrgId,
        command: Command,
        call: &Call,
    ) -> Result<(BudgetView, bool), ServiceError> {
        match self.operate(org, command, call).await? {
            Reply::BudgetSet { budget, replayed } => Ok((*budget, replayed)),
            _ => Err(ServiceError::Interrupted),
        }
    }

    /// Derives what is kept of an org again. Drift is an alarm.
    pub async fn audit(&self, org: &OrgId, call: &Call) -> Result<Audit, ServiceError> {
        let audit = match self.orgs.call_one(org, Command::Audit, Lane::Admit, call.deadline.at).await? {
            Reply::Audited(Some(audit)) => audit,
            Reply::Audited(None) => return Err(ServiceError::UnknownOrg(org.clone())),
            _ => return Err(ServiceError::Interrupted),
        };
        if audit.drifted > 0 {
            self.metrics.drifted(audit.drifted);
            tracing::error!(%org, numbers = audit.drifted, drift = ?audit.drift, "numbers are not what the ledger says");
        }
        Ok(audit)
    }

    /// The same for a page of orgs, each alone; behind which org the next page begins.
    pub async fn audit_page(
        &self,
        after: Option<&OrgId>,
        size: usize,
        call: &Call,
    ) -> Result<(Vec<(OrgId, Result<Audit, ServiceError>)>, Option<OrgId>), ServiceError> {
        let orgs = self.list(after, size, call).await?;
        let next = orgs.last().filter(|_| orgs.len() == size).map(|(org, _)| org.clone());
        let audits = stream::iter(orgs).map(|(org, _)| async move {
            let audit = self.audit(&org, call).await;
            (org, audit)
        });
        Ok((audits.buffered(AUDITS_AT_ONCE).collect().await, next))
    }
}
