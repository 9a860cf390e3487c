//! Grants that last until they are spent: what a command has spent of them is in the commit of the command.
//!
//! ```text
//! the policy changes    which limits have such grants, and what they may have without them
//! a command begins      what is taken of each of these limits is marked
//! the command is over   what is spent since then goes into the rows of the grants; those of which nothing is left end
//! ```
//!
//! An org without such grants asks one flag and does none of it.

use std::sync::Arc;

use super::{Context, OrgState};
use crate::domain::{
    book::Spent,
    ids::Scope,
    limit::Limit,
    policy::OrgPolicy,
    rate::RateRecord,
    rows::RATE,
    spending::{Grants, Marked, Spending},
    window::Millis,
};

/// Which limits have such grants.
#[derive(Debug)]
pub(super) struct SpendingBy {
    policy: Arc<OrgPolicy>,
    /// Of the backstop, which has no ledger.
    rate: Option<Marked>,
}

impl OrgState {
    /// What is spent from now on is spent over the limits of this policy.
    pub(super) fn spend_by(&mut self, policy: &Arc<OrgPolicy>, at: Millis) {
        if !self.overrides.last_until_spent() {
            if self.spending.take().is_some() {
                self.book.spend_of(Vec::new(), policy, at);
            }
            return;
        }
        if self.spending.as_ref().is_some_and(|known| Arc::ptr_eq(&known.policy, policy)) {
            return;
        }
        let limits = self.limits_until_spent(policy);
        self.book.spend_of(limits, policy, at);
        let known = self.spending.take().and_then(|known| known.rate);
        let rate = policy.rate.amount.filter(|_| policy.rate.until_spent).map(|amount| {
            let grants = self.overrides.grants_until_spent(Scope::of_org(), RATE);
            Marked::new(amount, grants, self.counted(policy, at)).since(known.as_ref())
        });
        self.spending = Some(SpendingBy { policy: policy.clone(), rate });
    }

    /// Every limit of the book with such grants, with what is granted and what is spent of that.
    fn limits_until_spent(&self, policy: &OrgPolicy) -> Vec<(Scope, Limit, Grants)> {
        let mut limits = Vec::new();
        for (scope, name) in self.overrides.limits_until_spent() {
            if let Some(limit) = policy.limit_named(&scope, &name).filter(|limit| limit.until_spent) {
                let grants = self.overrides.grants_until_spent(&scope, &name);
                limits.push((scope, limit.clone(), grants));
            }
        }
        limits
    }

    /// What the backstop has counted in the window of that time.
    fn counted(&self, policy: &OrgPolicy, at: Millis) -> u64 {
        RateRecord::at(self.rate, &policy.rate, at).count
    }

    /// Usage changes from here on, at this time.
    pub(super) fn mark_spending(&mut self, at: Millis) {
        let Some(SpendingBy { policy, rate }) = self.spending.take() else { return };
        self.book.mark_spending(&policy, at);
        let rate = rate.map(|mut marked| {
            marked.mark(self.counted(&policy, at));
            marked
        });
        self.spending = Some(SpendingBy { policy, rate });
    }

    /// The same, of something that has happened since the last command, by the policy at its time.
    pub(super) fn mark_spending_at(&mut self, at: Millis, configured: &Context<'_>) {
        if self.overrides.last_until_spent() {
            self.policy_at(at, configured);
            self.mark_spending(at);
        }
    }

    /// What usage has spent since the mark. This is the one place where a grant of which nothing is left ends.
    pub(super) fn spend(&mut self, at: Millis, configured: &Context<'_>) {
        let Some(SpendingBy { policy, rate }) = self.spending.take() else { return };
        let mut spent = self.book.spent(&policy, at);
        let rate = rate.map(|mut marked| {
            let (now, is_changed) = marked.settle(self.counted(&policy, at));
            let limit = is_changed.then(|| RATE.to_owned());
            spent.extend(limit.map(|limit| Spent { scope: Scope::org(), limit, spent: now.spent, held: 0 }));
            marked
        });
        self.spending = Some(SpendingBy { policy, rate });
        let mut over = Vec::new();
        for Spent { scope, limit, spent, held } in spent {
            over.extend(self.overrides.spend(&scope, &limit, spent, held));
            self.changed = true;
        }
        if over.is_empty() {
            return;
        }
        for row in over {
            self.overrides.end(&row.scope, &row.subject, at);
            self.override_ended(row);
        }
        self.overrides_changed(at, configured);
    }

    /// How the grants of the backstop stand.
    pub(super) fn rate_spending(&self, ctx: &Context<'_>) -> Spending {
        let marked = self.spending.as_ref().and_then(|known| known.rate).filter(|_| ctx.policy.rate.until_spent);
        marked.map_or_else(Spending::default, |marked| marked.at(self.rate_now(ctx).count))
    }
}
