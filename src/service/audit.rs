//! The audit of what orgs have counted, of one or of a page of them.

use futures_util::{StreamExt, stream};

use crate::{
    domain::{command::RunAudit, ids::OrgId, reply::Audit},
    error::ServiceError,
};

use super::{Call, Service};

/// Orgs of one page that are audited at once.
const AUDITS_AT_ONCE: usize = 16;

impl Service {
    /// Derives what is kept of an org again. Drift is an alarm.
    pub async fn audit(&self, org: &OrgId, call: &Call) -> Result<Audit, ServiceError> {
        let audit = self.ask(org, RunAudit, call).await?;
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
