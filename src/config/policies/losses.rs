//! What other policies in the place of these would take away.

use super::{Admit, Policies};
use crate::domain::{ids::OrgId, policy::Limited};

impl Policies {
    /// Whether any plan is configured.
    pub fn has_plans(&self) -> bool {
        self.has_plans
    }

    /// Whether only some orgs may execute, and `new` says nothing of that.
    pub fn loses_admission(&self, new: &Self) -> bool {
        !matches!(self.admit, None | Some(Admit::Any)) && new.admit.is_none()
    }

    /// The kinds of limits that the org has here and in `new` no longer.
    pub fn lost_limits(&self, new: &Self, org: &OrgId) -> Vec<String> {
        Limited::by(&self.policy(org)).lost_in(&Limited::by(&new.policy(org)))
    }

    /// Whether that is so for any org, listed in either or in none.
    pub fn may_lose_limits(&self, new: &Self) -> bool {
        let others = Limited::by(&self.default).lost_in(&Limited::by(&new.default));
        let mut listed = self.orgs.keys().chain(new.orgs.keys());
        !others.is_empty() || listed.any(|org| !self.lost_limits(new, org).is_empty())
    }
}
