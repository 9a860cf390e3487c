//! What usage spends of grants that last until they are spent: for each limit that has such grants, how it stood before
//! the command that runs.
//!
//! Nothing is written down where usage changes. Before a command the grants are marked with what is taken of their limit;
//! from then on what is spent follows from the mark and from what is taken now, so the answer to the command shows it, and
//! what a command takes and gives back in one step is spent as one number.

use super::{Book, Standing};
use crate::domain::{
    ids::Scope,
    limit::Limit,
    policy::OrgPolicy,
    spending::{Grants, Marked, Spending},
    window::Millis,
};

/// A limit with such grants.
#[derive(Debug)]
pub(super) struct Granted {
    scope: Scope,
    limit: Limit,
    marked: Marked,
}

/// What has been spent of the grants of one limit.
#[derive(Debug)]
pub(in crate::domain) struct Spent {
    pub(in crate::domain) scope: Scope,
    pub(in crate::domain) limit: String,
    /// In all.
    pub(in crate::domain) spent: u64,
    /// Of that, at most so much may come back when reservations end.
    pub(in crate::domain) held: u64,
}

impl Book {
    /// From now on these limits have such grants, with what these have granted and what is spent of them. What is marked
    /// of a limit stays marked while the limit is the same.
    pub(in crate::domain) fn spend_of(&mut self, limits: Vec<(Scope, Limit, Grants)>, policy: &OrgPolicy, now: Millis) {
        let known = std::mem::take(&mut self.spending);
        let granted = limits.into_iter().map(|(scope, limit, grants)| {
            let limit = Limit { until_spent: false, ..limit };
            let marked = Marked::new(limit.usable(), grants, self.taken(policy, &scope, &limit, now));
            let same = known.iter().find(|of| of.scope == scope && of.limit.label == limit.label);
            let marked = marked.since(same.map(|of| &of.marked));
            Granted { scope, limit, marked }
        });
        self.spending = granted.collect();
    }

    /// Usage changes from here on.
    pub(in crate::domain) fn mark_spending(&mut self, policy: &OrgPolicy, now: Millis) {
        let mut all = std::mem::take(&mut self.spending);
        for of in &mut all {
            of.marked.mark(self.taken(policy, &of.scope, &of.limit, now));
        }
        self.spending = all;
    }

    /// What has been spent since the mark, and where a grant may be over.
    pub(in crate::domain) fn spent(&mut self, policy: &OrgPolicy, now: Millis) -> Vec<Spent> {
        let mut all = std::mem::take(&mut self.spending);
        let mut changed = Vec::new();
        for of in &mut all {
            let Standing { used, reserved, .. } = self.standing_in(policy, &of.scope, &of.limit, now);
            let (now, is_changed) = of.marked.settle(used.saturating_add(reserved));
            if is_changed {
                let (scope, limit) = (of.scope.clone(), of.limit.name().to_owned());
                changed.push(Spent { scope, limit, spent: now.spent, held: now.over.min(reserved) });
            }
        }
        self.spending = all;
        changed
    }

    /// How the grants of a limit stand once so much is taken of it.
    pub(in crate::domain) fn spending(&self, scope: &Scope, limit: &Limit, taken: u64) -> Spending {
        if !limit.until_spent {
            return Spending::default();
        }
        let known = self.spending.iter().find(|of| of.scope == *scope && of.limit.label == limit.label);
        known.map_or_else(Spending::default, |of| of.marked.at(taken))
    }

    /// A standing of a limit of this scope, with its grants.
    pub(super) fn with_spending(&self, scope: &Scope, limit: &Limit, standing: Standing) -> Standing {
        let taken = standing.used.saturating_add(standing.reserved);
        Standing { spending: self.spending(scope, limit, taken), ..standing }
    }

    fn taken(&mut self, policy: &OrgPolicy, scope: &Scope, limit: &Limit, now: Millis) -> u64 {
        let Standing { used, reserved, .. } = self.standing_in(policy, scope, limit, now);
        used.saturating_add(reserved)
    }

    fn standing_in(&mut self, policy: &OrgPolicy, scope: &Scope, limit: &Limit, now: Millis) -> Standing {
        let others = self.others_of(policy, scope);
        self.standing_among(scope, others.as_ref(), limit, now)
    }
}
