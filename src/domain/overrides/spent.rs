//! Grants that last until they are spent: which there are of a limit, and what is spent of each.

use std::collections::BTreeSet;

use super::Overrides;
use crate::domain::{
    ids::Scope,
    rows::{OverrideRow, Setting},
    spending::Grants,
};

impl Overrides {
    /// Whether one holds.
    pub(in crate::domain) fn last_until_spent(&self) -> bool {
        self.until_spent
    }

    /// The limits that have one which holds, each once.
    pub(in crate::domain) fn limits_until_spent(&self) -> BTreeSet<(Scope, String)> {
        let rows = self.in_force().filter(|row| row.setting.is_until_spent());
        rows.filter_map(|row| Some((row.scope.clone(), row.subject.limit_name()?.to_owned()))).collect()
    }

    /// Those of one limit that hold, in the order of their numbers.
    fn until_spent<'a>(&'a self, scope: &'a Scope, limit: &'a str) -> impl Iterator<Item = &'a OverrideRow> {
        let rows = self.in_force().filter(|row| row.setting.is_until_spent());
        rows.filter(move |row| row.scope == *scope && row.subject.limit_name() == Some(limit))
    }

    /// Whether there is one of a limit with this amount and shadow.
    pub(super) fn adds_until_spent(&self, scope: &Scope, limit: &str, (amount, shadow): (Option<u64>, bool)) -> bool {
        self.until_spent && amount.is_some() && !shadow && self.until_spent(scope, limit).next().is_some()
    }

    /// What they have granted on top of a limit together, and what is spent of that.
    pub(in crate::domain) fn grants_until_spent(&self, scope: &Scope, limit: &str) -> Grants {
        let mut all = Grants::default();
        for (granted, spent) in self.until_spent(scope, limit).map(|row| row.setting.granted_and_spent()) {
            all.first = if all.granted == 0 { granted } else { all.first };
            all.granted = all.granted.saturating_add(granted);
            all.spent = all.spent.saturating_add(spent);
        }
        all
    }

    /// So much is spent of them by now, the first of them first. Answers those of which nothing is left: what is `held`
    /// over the limit may still come back, to the last of them first.
    pub(in crate::domain) fn spend(&mut self, scope: &Scope, limit: &str, spent: u64, held: u64) -> Vec<OverrideRow> {
        let rows: Vec<_> = self.until_spent(scope, limit).cloned().collect();
        let (mut left, mut until_here, mut over) = (spent, 0_u64, Vec::new());
        for row in rows {
            let (granted, before) = row.setting.granted_and_spent();
            let now = left.min(granted);
            left -= now;
            until_here = until_here.saturating_add(granted);
            let row = OverrideRow { setting: Setting::UntilSpent { granted, spent: now }, ..row };
            if until_here <= spent.saturating_sub(held) {
                over.push(row.clone());
            }
            if now != before {
                self.rows.put((row.scope.clone(), row.subject.clone()), row);
            }
        }
        over
    }
}

impl Setting {
    /// Whether it is a grant that lasts until it is spent.
    pub(in crate::domain) fn is_until_spent(&self) -> bool {
        matches!(self, Self::UntilSpent { .. })
    }

    fn granted_and_spent(&self) -> (u64, u64) {
        if let Self::UntilSpent { granted, spent } = self { (*granted, *spent) } else { (0, 0) }
    }
}
