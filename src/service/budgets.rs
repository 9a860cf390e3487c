//! Budgets that are set while the node runs, and the audit of what is counted against them.

use futures_util::{StreamExt, stream};

use crate::{
    domain::{
        command::{GetBudget, RunAudit, SetBudget},
        ids::{OrgId, Scope},
        outcome::Done,
        reply::{Audit, BudgetView},
    },
    error::ServiceError,
};

use super::{Call, Service};

/// Orgs of one page that are audited at once.
const AUDITS_AT_ONCE: usize = 16;

impl Service {
    pub async fn budget(&self, org: &OrgId, scope: Scope, call: &Call) -> Result<BudgetView, ServiceError> {
        Ok(*self.orgs.ask(org, GetBudget { scope }, call.deadline.at).await?)
    }

    /// The budget as it is after the change.
    pub async fn set_budget(&self, org: &OrgId, set: SetBudget, call: &Call) -> Result<Done<BudgetView>, ServiceError> {
        self.operate(org, Box::new(set), call).await
    }

    /// Derives what is kept of an org again. Drift is an alarm.
    pub async fn audit(&self, org: &OrgId, call: &Call) -> Result<Audit, ServiceError> {
        let audit = self.orgs.ask(org, RunAudit, call.deadline.at).await?;
        let audit = audit.ok_or_else(|| ServiceError::UnknownOrg(org.clone()))?;
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
