//! What other policies in the place of these would take away.

use super::Policies;
use crate::domain::ids::OrgId;

impl Policies {
    /// Whether any plan is configured.
    pub fn has_plans(&self) -> bool {
        self.has_plans
    }

    /// Whether the org has limits here and none at all in `new`.
    pub fn loses_limits(&self, new: &Self, org: &OrgId) -> bool {
        self.policy(org).has_limits() && !new.policy(org).has_limits()
    }

    /// Whether that is so for any org, listed in either or in none.
    pub fn may_lose_limits(&self, new: &Self) -> bool {
        let others = self.default.has_limits() && !new.default.has_limits();
        others || self.orgs.keys().chain(new.orgs.keys()).any(|org| self.loses_limits(new, org))
    }
}
