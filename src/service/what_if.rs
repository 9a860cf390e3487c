//! What limits that are not in force would have denied.

use crate::{
    domain::{command::TryLimits, ids::OrgId, what_if::Denied},
    error::ServiceError,
};

use super::{Call, Service};

impl Service {
    /// Tries limits on one org: what each would have denied, in their order. `None` where it has another plan than
    /// the one that is named; [`ServiceError::UnknownOrg`] where nothing is kept of it.
    pub async fn what_if(
        &self,
        org: &OrgId,
        plan: &str,
        ask: TryLimits,
        call: &Call,
    ) -> Result<Option<Vec<Option<Denied>>>, ServiceError> {
        if !plan.is_empty() && self.policy(org).plan != plan {
            return Ok(None);
        }
        let tried = self.ask(org, ask, call).await?;
        tried.map(Some).ok_or_else(|| ServiceError::UnknownOrg(org.clone()))
    }
}
