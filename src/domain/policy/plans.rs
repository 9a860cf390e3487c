//! Plans by their names, for an org that was given another one at run time.

use std::{fmt, sync::Arc};

use super::OrgPolicy;
use crate::domain::ids::OrgId;

/// The plans that are configured.
pub trait Plans: fmt::Debug {
    /// What the org would have with this plan, with what its own section says over it; empty = without any plan. `None`
    /// where no such plan is configured.
    fn with_plan(&self, org: &OrgId, plan: &str) -> Option<Arc<OrgPolicy>>;

    /// Their names.
    fn plan_names(&self) -> Vec<String>;
}

/// No plan is configured.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPlans;

impl Plans for NoPlans {
    fn with_plan(&self, _: &OrgId, _: &str) -> Option<Arc<OrgPolicy>> {
        None
    }

    fn plan_names(&self) -> Vec<String> {
        Vec::new()
    }
}
