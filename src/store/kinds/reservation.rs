//! Amounts that are held until they are settled or expire, and what was held and has expired.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::stored::{AmountV2, amounts};
use crate::domain::{
    ids::DecisionId, input::InputError, lease::LeaseTime, rows::ReservationRow, scopes::Scopes, window::Millis,
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

/// Says when it was made, and whether its time is over.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationV3<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    amounts: Vec<AmountV2<'a>>,
    reserved_at: Option<Millis>,
    expires_at: Millis,
    expired_at: Option<Millis>,
}

pub(super) fn version(row: &ReservationRow) -> u8 {
    if row.reserved_at.is_none() && row.expired_at.is_none() { 2 } else { 3 }
}

pub(super) fn write<S: Serializer>(row: &ReservationRow, out: S) -> Result<S::Ok, S::Error> {
    let ReservationRow { reserved_at, expires_at, expired_at, .. } = *row;
    let expires_at = expires_at.0;
    let scope = row.scopes.text();
    let amounts = row.amounts.iter().map(AmountV2::from).collect();
    if version(row) == 2 {
        return ReservationV2 { scope, amounts, expires_at }.serialize(out);
    }
    ReservationV3 { scope, amounts, reserved_at, expires_at, expired_at }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    version: u8,
    id: DecisionId,
    from: D,
) -> Result<ReservationRow, D::Error> {
    let stored =
        if version == 2 { ReservationV2::deserialize(from)?.into() } else { ReservationV3::deserialize(from)? };
    stored.into_row(id).map_err(D::Error::custom)
}

impl<'a> From<ReservationV2<'a>> for ReservationV3<'a> {
    fn from(ReservationV2 { scope, amounts, expires_at }: ReservationV2<'a>) -> Self {
        Self { scope, amounts, reserved_at: None, expires_at, expired_at: None }
    }
}

impl ReservationV3<'_> {
    fn into_row(self, id: DecisionId) -> Result<ReservationRow, InputError> {
        Ok(ReservationRow {
            id,
            scopes: Scopes::parse("scope", &self.scope)?,
            amounts: amounts(&self.amounts)?,
            reserved_at: self.reserved_at,
            expires_at: LeaseTime(self.expires_at),
            expired_at: self.expired_at,
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, ReservationRow)> {
    use smallvec::smallvec;

    use crate::{
        domain::ids::Meter,
        store::samples::{T0, scope, scopes},
    };

    // As an older tollgate wrote it.
    let first = ReservationRow {
        id: DecisionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        scopes: scope().into(),
        amounts: smallvec![(Meter::executions(), 1), (Meter::spend(), 50_000)],
        reserved_at: None,
        expires_at: LeaseTime(T0 + 300_000),
        expired_at: None,
    };
    let id = DecisionId(3);
    let open = ReservationRow { id, reserved_at: Some(T0), ..first.clone() };
    let id = DecisionId(5);
    let expired = ReservationRow { id, reserved_at: Some(T0), expired_at: Some(T0 + 300_000), ..first.clone() };
    let id = DecisionId(7);
    let of_several = ReservationRow { id, scopes: scopes(), ..open.clone() };
    vec![
        ("reservation", first),
        ("reservation_open", open),
        ("reservation_expired", expired),
        ("reservation_scopes", of_several),
    ]
}
