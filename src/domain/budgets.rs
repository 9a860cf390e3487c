//! Limits on `spend` that were set at run time, one set for each scope, over those of the configuration.
//!
//! ```text
//! configured limits of a scope  <  limits set on it  <  overrides    the same limit is replaced, others are added
//! ```
//!
//! What is in force is computed once per change and kept; nothing outside asks which layer a limit came
//! from. A stored limit that cannot be understood is neither a limit nor none: its gate is
//! indeterminate.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    ids::{Meter, Scope},
    limit::{Limit, LimitSource, Origin},
    overrides::Overrides,
    policy::OrgPolicy,
    pools::Pools,
    rows::{BudgetRow, Keeper, Row, RowKey, RowsByKind},
    table::Table,
    window::{Millis, Window, period},
};
use crate::bounds::AMOUNT_MAX;

#[derive(Debug, Default)]
pub(super) struct Budgets {
    rows: Table<Scope, BudgetRow>,
    malformed: BTreeSet<Scope>,
    in_force: Option<InForce>,
}

/// The configured policy, and what it is with the limits set here.
#[derive(Debug)]
struct InForce {
    configured: Arc<OrgPolicy>,
    policy: Arc<OrgPolicy>,
    /// Scopes whose limits have changed since.
    stale: Vec<Scope>,
}

/// The window and amount of a stored limit; `None` where it means nothing.
fn understood(name: &str, amount: u64) -> Option<(Window, u64)> {
    period(name).filter(|_| amount <= AMOUNT_MAX).map(|window| (window, amount))
}

/// The limits of one scope with those that were set on it.
fn over(configured: &[Limit], row: &BudgetRow) -> Vec<Limit> {
    let set: Vec<_> = row.limits.iter().filter_map(|(name, amount)| understood(name, *amount)).collect();
    let replaced =
        |old: &Limit| *old.meter() == Meter::spend() && set.iter().any(|(window, _)| *window == old.window());
    let mut limits: Vec<_> = configured.iter().filter(|old| !replaced(old)).cloned().collect();
    let budget = |(window, amount): &(Window, u64)| {
        Limit::new(Meter::spend(), *window, Some(*amount)).with_origin(Origin::of(LimitSource::Budget))
    };
    limits.extend(set.iter().map(budget));
    limits.sort_by(|a, b| a.rank().cmp(&b.rank()));
    limits
}

impl Budgets {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let rows = std::mem::take(&mut rows.budgets);
        let mut budgets = Self::default();
        rows.iter().for_each(|row| budgets.judge(row));
        budgets.rows = Table::load(rows.into_iter().map(|row| (row.scope.clone(), row)));
        budgets
    }

    fn judge(&mut self, row: &BudgetRow) {
        if malformed(row).is_empty() {
            self.malformed.remove(&row.scope);
        } else {
            self.malformed.insert(row.scope.clone());
        }
    }

    /// The policy that `configured` is at `now`, with the limits set here, those of upstream accounts, and what is set
    /// over all of them.
    pub(super) fn in_force(
        &mut self,
        configured: &Arc<OrgPolicy>,
        pools: &Pools,
        overrides: &Overrides,
        now: Millis,
    ) -> Arc<OrgPolicy> {
        let configured = configured.at(now);
        if self.rows.is_empty() && pools.is_empty() && overrides.is_empty() {
            self.in_force = None;
            return configured.clone();
        }
        let known = self.in_force.take().filter(|known| Arc::ptr_eq(&known.configured, configured));
        let mut known = known.unwrap_or_else(|| {
            let budgets = self.rows.iter().map(|(scope, _)| scope.clone());
            let stale = budgets.chain(pools.scopes()).chain(overrides.scopes()).collect();
            let mut policy = configured.clone();
            if !overrides.is_empty() {
                overrides.apply(Arc::make_mut(&mut policy));
            }
            InForce { configured: configured.clone(), policy, stale }
        });
        for scope in std::mem::take(&mut known.stale) {
            let limits = pools.over(&scope, self.limits_of(&scope, configured, now), &configured.pools);
            let limits = overrides.over(&scope, limits);
            Arc::make_mut(&mut known.policy).set_limits(&scope, limits, configured);
        }
        self.in_force.insert(known).policy.clone()
    }

    /// The limits of one scope alone.
    pub(super) fn limits_of(&self, scope: &Scope, configured: &Arc<OrgPolicy>, now: Millis) -> Vec<Limit> {
        over(configured.at(now).limits_of(scope), &self.get(scope))
    }

    /// As stored; nothing set, of version 0, where nothing is.
    pub(super) fn get(&self, scope: &Scope) -> BudgetRow {
        let none = || BudgetRow { scope: scope.clone(), version: 0, limits: Default::default() };
        self.rows.get(scope).cloned().unwrap_or_else(none)
    }

    /// Whether one more scope can have a budget: where all are cleared, one of them gives way.
    pub(super) fn has_room(&self, max: usize) -> bool {
        self.rows.len() < max || self.rows().any(|row| row.limits.is_empty())
    }

    pub(super) fn put(&mut self, row: BudgetRow, max: usize) {
        if self.rows.len() >= max && self.rows.get(&row.scope).is_none() {
            let cleared = self.rows().find(|row| row.limits.is_empty()).map(|row| row.scope.clone());
            cleared.map(|cleared| self.rows.remove(&cleared));
        }
        self.judge(&row);
        self.limits_changed(row.scope.clone());
        self.rows.put(row.scope.clone(), row);
    }

    /// The policy in force is not what it was on this scope.
    pub(super) fn limits_changed(&mut self, scope: Scope) {
        if let Some(known) = &mut self.in_force {
            known.stale.push(scope);
        }
    }

    /// The policy in force may be another one everywhere.
    pub(super) fn all_limits_changed(&mut self) {
        self.in_force = None;
    }

    /// Whether a limit stored for one of the scopes or for the org cannot be understood.
    pub(super) fn is_malformed(&self, scopes: &[Scope]) -> bool {
        let stored = |scope| self.malformed.contains(scope);
        !self.malformed.is_empty() && (stored(Scope::of_org()) || scopes.iter().any(stored))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &BudgetRow> {
        self.rows.iter().map(|(_, row)| row)
    }
}

impl Keeper for Budgets {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.rows.take_rows(puts, dels, |_, row| Row::Budget(row), |scope| RowKey::Budget { scope });
    }

    /// No limit is set; versions of what was cleared may be remembered.
    fn is_spent(&self) -> bool {
        self.rows().all(|row| row.limits.is_empty())
    }
}

/// What a stored row holds that cannot be understood.
pub(super) fn malformed(row: &BudgetRow) -> Vec<(Arc<str>, u64)> {
    let bad = row.limits.iter().filter(|(name, amount)| understood(name, **amount).is_none());
    bad.map(|(name, amount)| (name.clone(), *amount)).collect()
}
