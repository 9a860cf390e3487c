//! The audit of what an org has counted.

use crate::{
    domain::{command::RunAudit, ids::OrgId, reply::Audit},
    error::ServiceError,
};

use super::{Call, Service};

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
}
