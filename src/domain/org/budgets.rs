//! Limits that are set while the node runs: they take effect on the next command.

use std::{collections::BTreeSet, sync::Arc};

use super::{Context, OrgState};
use crate::domain::{
    book::Standing,
    budgets::malformed,
    command::SetBudget,
    decision::LimitView,
    events::Change,
    ids::{Meter, Scope},
    limit::Limit,
    outcome::{BudgetSet, Done, Shown},
    refusal::OrgError,
    reply::{BudgetView, PeriodView},
    rows::BudgetRow,
    window::{PERIODS, Window},
    words::dollars,
};

impl OrgState {
    /// R-BUD-6: merges or replaces. The policy of `ctx` is the configured one.
    pub(in crate::domain) fn set_budget(
        &mut self,
        set: &SetBudget,
        ctx: &Context<'_>,
    ) -> Result<Shown<BudgetSet, BudgetView>, OrgError> {
        let before = self.budget_in_force(&set.scope, ctx);
        let done = self.change_budget(set, ctx)?;
        let mut view = self.budget_in_force(&set.scope, ctx);
        if !done.replayed {
            for (period, before) in view.periods.iter_mut().zip(before.periods) {
                period.previous = before.limit;
            }
        }
        Ok(done.show(view))
    }

    /// What is set over what is configured.
    fn budget_in_force(&mut self, scope: &Scope, configured: &Context<'_>) -> BudgetView {
        let base = self.base(configured);
        let limits = self.overrides.over(scope, self.budgets.limits_of(scope, &base, self.now));
        self.budget_view(scope, &limits)
    }

    pub(super) fn change_budget(&mut self, set: &SetBudget, ctx: &Context<'_>) -> Result<Done<BudgetSet>, OrgError> {
        self.once(set.rpc(), Some(&set.idempotency), ctx, |org| {
            let old = org.budgets.get(&set.scope);
            if set.expected_version.is_some_and(|expected| expected != old.version) {
                return Err(OrgError::BudgetVersion { current: old.version });
            }
            let mut new = patched(&old, set);
            let max = ctx.bounds.budgets_per_org as usize;
            if new != old {
                if old.version == 0 && !org.budgets.has_room(max) {
                    return Err(OrgError::TooManyBudgets { most: ctx.bounds.budgets_per_org });
                }
                new.version += 1;
                org.budgets.put(new.clone(), max);
                org.limits_changed = true;
            }
            org.operated(set.rpc().name(), changes(&old, &new), ctx);
            Ok(BudgetSet)
        })
    }

    pub(in crate::domain) fn budget(&mut self, scope: &Scope, ctx: &Context<'_>) -> Box<BudgetView> {
        Box::new(self.budget_view(scope, ctx.policy.limits_of(scope)))
    }

    /// R-BUD-3: the numbers are those that are enforced.
    pub(super) fn budget_view(&mut self, scope: &Scope, limits: &[Limit]) -> BudgetView {
        let row = self.budgets.get(scope);
        let mut period_view = |(period, len): &(&'static str, u64)| {
            let (period, window) = (*period, Window::Rolling { len: *len });
            let named = |limit: &&Limit| *limit.meter() == Meter::spend() && limit.window() == window;
            let unlimited = Limit::new(Meter::spend(), window, None);
            let limit = limits.iter().find(named).unwrap_or(&unlimited);
            let Standing { used, reserved, spending, .. } = self.book.standing(scope, limit, self.now);
            let view = LimitView::of(limit, scope, used, reserved).with(spending);
            let remaining = view.remaining();
            let set = row.limits.contains_key(period);
            let origin = limit.label.origin;
            PeriodView { period, previous: None, limit: view.amount, set, origin, used, reserved, remaining }
        };
        let periods = PERIODS.iter().map(&mut period_view).collect();
        BudgetView { version: row.version, periods, malformed: malformed(&row) }
    }
}

/// What is set by period; a period that is not set follows the configuration.
fn changes(old: &BudgetRow, new: &BudgetRow) -> Vec<Change> {
    let names: BTreeSet<&Arc<str>> = old.limits.keys().chain(new.limits.keys()).collect();
    let shown =
        |row: &BudgetRow, name| row.limits.get(name).map_or("as configured".to_owned(), |limit| dollars(*limit));
    let field = |name: &str| {
        if new.scope.is_org() { format!("{name} spend") } else { format!("{} {name} spend", new.scope.shown()) }
    };
    let names = names.into_iter();
    names.filter_map(|name| Change::between(&field(name), &shown(old, name), &shown(new, name))).collect()
}

fn patched(old: &BudgetRow, set: &SetBudget) -> BudgetRow {
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
    new
}
