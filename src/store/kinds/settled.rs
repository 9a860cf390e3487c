//! How reservations ended, by their ids, and what their decisions have charged. Version 4 says that the execution had completed before.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    outcomes::SettlementV2,
    stored::{AmountV2, amounts},
};
use crate::domain::{
    ids::{DecisionId, Plane},
    input::InputError,
    outcome::Settlement,
    refund::Charge,
    rows::SettledRow,
    scopes::Scopes,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettledV2 {
    how: SettlementV2,
}

/// Says also what its decision has charged: with its admission, and with this.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettledV3<'a> {
    how: SettlementV2,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    /// Empty = it did not say.
    #[serde(borrow)]
    plane: Cow<'a, str>,
    admitted_at: Millis,
    #[serde(borrow)]
    cost: Vec<AmountV2<'a>>,
    #[serde(borrow)]
    booked: Vec<AmountV2<'a>>,
}

/// Says also whether the execution had completed before this.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettledV4<'a> {
    #[serde(borrow)]
    settled: SettledV3<'a>,
    completed: bool,
}

pub(super) fn version(row: &SettledRow) -> u8 {
    row.charge.as_ref().map_or(2, |charge| if charge.completed { 4 } else { 3 })
}

pub(super) fn write<S: Serializer>(row: &SettledRow, out: S) -> Result<S::Ok, S::Error> {
    let how = SettlementV2::from(row.how);
    let Some(charge) = &row.charge else { return SettledV2 { how }.serialize(out) };
    let stored = SettledV3 {
        how,
        scope: charge.scopes.text(),
        plane: charge.plane.as_str().into(),
        admitted_at: charge.admitted_at,
        cost: charge.cost.iter().map(AmountV2::from).collect(),
        booked: charge.booked.iter().map(AmountV2::from).collect(),
    };
    if charge.completed { SettledV4 { settled: stored, completed: true }.serialize(out) } else { stored.serialize(out) }
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    version: u8,
    id: DecisionId,
    at: Millis,
    from: D,
) -> Result<SettledRow, D::Error> {
    if version == 2 {
        let SettledV2 { how } = SettledV2::deserialize(from)?;
        return Ok(SettledRow { id, at, how: how.into(), charge: None });
    }
    let SettledV4 { settled, completed } = match version {
        3 => SettledV4 { settled: SettledV3::deserialize(from)?, completed: false },
        _ => SettledV4::deserialize(from)?,
    };
    let charge = settled.charge(at, completed).map_err(D::Error::custom)?;
    Ok(SettledRow { id, at, how: Settlement::from(settled.how), charge: Some(Box::new(charge)) })
}

impl SettledV3<'_> {
    fn charge(&self, settled_at: Millis, completed: bool) -> Result<Charge, InputError> {
        let plane = if self.plane.is_empty() { Plane::unnamed() } else { Plane::parse("plane", &self.plane)? };
        Ok(Charge {
            scopes: Scopes::parse("scope", &self.scope)?,
            plane,
            admitted_at: self.admitted_at,
            cost: amounts(&self.cost)?,
            settled_at,
            booked: amounts(&self.booked)?,
            completed,
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, SettledRow)> {
    use smallvec::smallvec;

    use crate::{
        domain::ids::Meter,
        store::samples::{T0, scopes},
    };

    let settled = SettledRow { id: DecisionId(3), at: T0 + 5, how: Settlement::Committed, charge: None };
    let charge = Charge {
        scopes: scopes(),
        plane: Plane::parse("plane", "api").unwrap(),
        admitted_at: T0,
        cost: smallvec![(Meter::executions(), 1)],
        settled_at: T0 + 5,
        booked: smallvec![(Meter::spend(), 50_000)],
        completed: false,
    };
    // Of one reservation, the one that a page names.
    let charged = SettledRow { charge: Some(Box::new(charge.clone())), ..settled.clone() };
    let completed = Charge { completed: true, booked: smallvec![], ..charge.clone() };
    let completed = SettledRow { how: Settlement::Released, charge: Some(Box::new(completed)), ..settled.clone() };
    let refunded = SettledRow { how: Settlement::Refunded, ..settled.clone() };
    vec![
        ("settled", settled),
        ("settled_refunded", refunded),
        ("settled_charged", charged),
        ("settled_completed", completed),
    ]
}
