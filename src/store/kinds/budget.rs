//! Budgets that were set at run time, one row for each scope.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{ids::Scope, rows::BudgetRow};

/// Names of periods and amounts are kept as they are: the domain judges whether they mean something.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetV2<'a> {
    version: u64,
    #[serde(borrow)]
    limits: Vec<(Cow<'a, str>, u64)>,
}

pub(super) fn write<S: Serializer>(row: &BudgetRow, out: S) -> Result<S::Ok, S::Error> {
    let limits = row.limits.iter().map(|(name, amount)| (Cow::from(&**name), *amount)).collect();
    BudgetV2 { version: row.version, limits }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(scope: Scope, from: D) -> Result<BudgetRow, D::Error> {
    let BudgetV2 { version, limits } = BudgetV2::deserialize(from)?;
    let limits = limits.into_iter().map(|(name, amount)| (Arc::from(&*name), amount)).collect();
    Ok(BudgetRow { scope, version, limits })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, BudgetRow)> {
    use crate::store::samples::scope;

    let limits = [("hourly", 5_000_000), ("fortnightly", 7)];
    let limits = limits.map(|(period, amount)| (Arc::from(period), amount)).into();
    vec![("budget", BudgetRow { scope: scope(), version: 3, limits })]
}
