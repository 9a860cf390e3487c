//! Amounts that are held until they are settled or expire, and what was held and has expired.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::stored::{AmountV2, amounts};
use crate::domain::{
    folded::Fold,
    ids::{DecisionId, Meter, Scope},
    input::InputError,
    lease::LeaseTime,
    rows::ReservationRow,
    scopes::Scopes,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    amounts: Vec<AmountV2<'a>>,
    /// Lease time.
    expires_at: Millis,
}

/// Says also when it was made, whether its time is over, and what of it is held in a shared ledger.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationV3<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    amounts: Vec<AmountV2<'a>>,
    #[serde(borrow)]
    folded: Vec<FoldV3<'a>>,
    reserved_at: Option<Millis>,
    expires_at: Millis,
    expired_at: Option<Millis>,
}

/// Says also what was charged when it was made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationV4<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    amounts: Vec<AmountV2<'a>>,
    #[serde(borrow)]
    folded: Vec<FoldV3<'a>>,
    reserved_at: Option<Millis>,
    expires_at: Millis,
    expired_at: Option<Millis>,
    #[serde(borrow)]
    cost: Vec<AmountV2<'a>>,
}

/// A scope that is held in another one for a meter.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FoldV3<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    #[serde(borrow)]
    into: Cow<'a, str>,
}

pub(super) fn version(row: &ReservationRow) -> u8 {
    let is_plain = row.folded.pairs().is_empty() && row.reserved_at.is_none() && row.expired_at.is_none();
    match (is_plain, row.cost.is_empty()) {
        (true, true) => 2,
        (false, true) => 3,
        (_, false) => 4,
    }
}

pub(super) fn write<S: Serializer>(row: &ReservationRow, out: S) -> Result<S::Ok, S::Error> {
    let ReservationRow { reserved_at, expires_at, expired_at, .. } = *row;
    let expires_at = expires_at.0;
    let scope = row.scopes.text();
    let amounts = row.amounts.iter().map(AmountV2::from).collect();
    if version(row) == 2 {
        return ReservationV2 { scope, amounts, expires_at }.serialize(out);
    }
    let folded = row.folded.pairs().iter().map(FoldV3::from).collect();
    if version(row) == 3 {
        return ReservationV3 { scope, amounts, folded, reserved_at, expires_at, expired_at }.serialize(out);
    }
    let cost = row.cost.iter().map(AmountV2::from).collect();
    ReservationV4 { scope, amounts, folded, reserved_at, expires_at, expired_at, cost }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    version: u8,
    id: DecisionId,
    from: D,
) -> Result<ReservationRow, D::Error> {
    let stored: ReservationV4<'_> = match version {
        2 => ReservationV3::from(ReservationV2::deserialize(from)?).into(),
        3 => ReservationV3::deserialize(from)?.into(),
        _ => ReservationV4::deserialize(from)?,
    };
    stored.into_row(id).map_err(D::Error::custom)
}

impl<'a> From<ReservationV2<'a>> for ReservationV3<'a> {
    fn from(ReservationV2 { scope, amounts, expires_at }: ReservationV2<'a>) -> Self {
        Self { scope, amounts, folded: Vec::new(), reserved_at: None, expires_at, expired_at: None }
    }
}

impl<'a> From<ReservationV3<'a>> for ReservationV4<'a> {
    fn from(stored: ReservationV3<'a>) -> Self {
        let ReservationV3 { scope, amounts, folded, reserved_at, expires_at, expired_at } = stored;
        Self { scope, amounts, folded, reserved_at, expires_at, expired_at, cost: Vec::new() }
    }
}

impl<'a> From<&'a Fold> for FoldV3<'a> {
    fn from(fold: &'a Fold) -> Self {
        let Fold { scope, meter, into } = fold;
        Self { scope: scope.as_str().into(), meter: meter.as_str().into(), into: into.as_str().into() }
    }
}

impl FoldV3<'_> {
    fn to_fold(&self) -> Result<Fold, InputError> {
        Ok(Fold {
            scope: Scope::parse("scope", &self.scope)?,
            meter: Meter::parse("meter", &self.meter)?,
            into: Scope::parse("scope", &self.into)?,
        })
    }
}

impl ReservationV4<'_> {
    fn into_row(self, id: DecisionId) -> Result<ReservationRow, InputError> {
        Ok(ReservationRow {
            id,
            scopes: Scopes::parse("scope", &self.scope)?,
            amounts: amounts(&self.amounts)?,
            folded: self.folded.iter().map(FoldV3::to_fold).collect::<Result<_, _>>()?,
            reserved_at: self.reserved_at,
            expires_at: LeaseTime(self.expires_at),
            expired_at: self.expired_at,
            cost: amounts(&self.cost)?,
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, ReservationRow)> {
    use smallvec::smallvec;

    use crate::{
        domain::{folded::Folded, ids::Amounts},
        store::samples::{T0, scope, scopes},
    };

    // As an older tollgate wrote it.
    let first = ReservationRow {
        id: DecisionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        scopes: scope().into(),
        amounts: smallvec![(Meter::executions(), 1), (Meter::spend(), 50_000)],
        folded: Folded::default(),
        reserved_at: None,
        expires_at: LeaseTime(T0 + 300_000),
        expired_at: None,
        cost: Amounts::new(),
    };
    let id = DecisionId(3);
    let open = ReservationRow { id, reserved_at: Some(T0), ..first.clone() };
    let id = DecisionId(5);
    let expired = ReservationRow { id, reserved_at: Some(T0), expired_at: Some(T0 + 300_000), ..first.clone() };
    let id = DecisionId(7);
    let of_several = ReservationRow { id, scopes: scopes(), ..open.clone() };
    let fold = |meter, into| Fold { scope: scope(), meter, into };
    let folds = [fold(Meter::executions(), Scope::other()), fold(Meter::spend(), Scope::others_of("workspace/"))];
    let id = DecisionId(9);
    let folded = ReservationRow { id, folded: folds.into_iter().collect(), ..open.clone() };
    let id = DecisionId(11);
    let charged = ReservationRow { id, cost: smallvec![(Meter::executions(), 1)], ..open.clone() };
    vec![
        ("reservation_charged", charged),
        ("reservation", first),
        ("reservation_open", open),
        ("reservation_expired", expired),
        ("reservation_scopes", of_several),
        ("reservation_folded", folded),
    ]
}
