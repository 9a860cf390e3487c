//! Limits that are set while the node runs: they take effect on the next command.

use std::sync::Arc;

use super::{Context, OrgState};
use crate::domain::{
    budgets::malformed,
    command::SetBudget,
    decision::LimitView,
    ids::{Meter, Scope},
    journal::Recall,
    limit::Limit,
    outcome::Outcome,
    refusal::OrgError,
    reply::{BudgetView, PeriodView, Reply},
    window::{PERIODS, Window},
};

impl OrgState {
    /// R-BUD-6: merges or replaces. The policy of `ctx` is the configured one.
    pub(super) fn set_budget(&mut self, set: &SetBudget, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        let replayed = self.journal.recall(set.rpc(), Some(&set.idempotency), self.now)? != Recall::Fresh;
        if !replayed {
            self.change_budget(set, ctx)?;
        }
        let limits = self.budgets.limits_of(&set.scope, ctx.policy, self.now);
        Ok(Reply::BudgetSet { budget: Box::new(self.budget_view(&set.scope, &limits)), replayed })
    }

    pub(super) fn change_budget(&mut self, set: &SetBudget, ctx: &Context<'_>) -> Result<(), OrgError> {
        let old = self.budgets.get(&set.scope);
        if set.expected_version.is_some_and(|expected| expected != old.version) {
            return Err(OrgError::BudgetVersion { current: old.version });
        }
        let mut new = old.clone();
        if set.replace {
            new.limits.clear();
        }
        for (period, limit) in &set.periods {
            match limit {
                Some(amount) => drop(new.limits.insert(Arc::from(*period), *amount)),
                None => drop(new.limits.remove(*period)),
            }
        }
        let (changed, max) = (new != old, ctx.bounds.budgets_per_org as usize);
        if changed && old.version == 0 && !self.budgets.has_room(max) {
            return Err(OrgError::TooManyBudgets { most: ctx.bounds.budgets_per_org });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        if changed {
            new.version += 1;
            self.budgets.put(new, max);
        }
        self.note(set.rpc(), Some(&set.idempotency), true, Outcome::BudgetSet);
        Ok(())
    }

    /// R-BUD-3: the numbers are those that are enforced.
    pub(super) fn budget_view(&mut self, scope: &Scope, limits: &[Limit]) -> BudgetView {
        let row = self.budgets.get(scope);
        let mut period_view = |(period, len): &(&'static str, u64)| {
            let (period, window) = (*period, Window::Rolling { len: *len });
            let named = |limit: &&Limit| limit.meter == Meter::spend() && limit.window == window;
            let unlimited = Limit::new(Meter::spend(), window, None);
            let limit = limits.iter().find(named).unwrap_or(&unlimited);
            let (used, reserved) = self.book.usage(scope, limit, self.now);
            let remaining = LimitView::of(limit, scope, used, reserved).remaining();
            PeriodView { period, limit: limit.amount, set: row.limits.contains_key(period), used, reserved, remaining }
        };
        let periods = PERIODS.iter().map(&mut period_view).collect();
        BudgetView { version: row.version, periods, malformed: malformed(&row) }
    }
}
