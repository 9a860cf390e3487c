//! What operators set at run time over what is configured.

use crate::{
    domain::{
        command::{Refund, RefundOf, SetOverride},
        ids::{OrgId, Reason},
        input::InputError,
        outcome::{OverrideSet, Refunded, Shown},
        reply::{OverrideChange, RefundView},
        rows::Setting,
    },
    error::ServiceError,
};

use super::{Call, Service};

impl Service {
    /// Sets or ends an override. Only a plan that is configured is set.
    ///
    /// # Errors
    /// [`ServiceError::Input`] with the plans there are, and whatever the org refuses.
    pub async fn set_override(
        &self,
        org: &OrgId,
        set: Box<SetOverride>,
        call: &Call,
    ) -> Result<Shown<OverrideSet, Box<OverrideChange>>, ServiceError> {
        if let Some(Setting::Plan(plan)) = &set.setting {
            self.is_plan(org, plan)?;
        }
        let reason = set.reason.clone();
        self.operate(org, set, &reason, call).await
    }

    /// Gives usage back. Of a decision of which the org has no record it says what this node remembers.
    ///
    /// # Errors
    /// Whatever the org refuses.
    pub async fn refund(
        &self,
        org: &OrgId,
        mut refund: Box<Refund>,
        reason: &Reason,
        call: &Call,
    ) -> Result<Shown<Refunded, Box<RefundView>>, ServiceError> {
        if let RefundOf::Decision { id, recent } = &mut refund.of {
            *recent = self.recent.get(org, *id).map(|admission| Box::new(admission.charge()));
        }
        self.operate(org, refund, reason, call).await
    }

    fn is_plan(&self, org: &OrgId, plan: &str) -> Result<(), ServiceError> {
        let policies = &self.orgs.rules().policies;
        if policies.with_plan(org, plan).is_some() {
            return Ok(());
        }
        let allowed = format!("one of the plans {}", policies.plan_names().join(", "));
        Err(ServiceError::Input(InputError::new("plan", plan, allowed)))
    }
}
