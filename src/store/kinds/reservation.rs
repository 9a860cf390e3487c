//! Amounts that are held until they are settled or expire.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::stored::{AmountV2, amounts};
use crate::domain::{
    ids::{DecisionId, Scope},
    input::InputError,
    rows::ReservationRow,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    amounts: Vec<AmountV2<'a>>,
    expires_at: Millis,
}

pub(super) fn write<S: Serializer>(row: &ReservationRow, out: S) -> Result<S::Ok, S::Error> {
    let stored = ReservationV2 {
        scope: row.scope.as_str().into(),
        amounts: row.amounts.iter().map(AmountV2::from).collect(),
        expires_at: row.expires_at,
    };
    stored.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(id: DecisionId, from: D) -> Result<ReservationRow, D::Error> {
    ReservationV2::deserialize(from)?.into_row(id).map_err(D::Error::custom)
}

impl ReservationV2<'_> {
    fn into_row(self, id: DecisionId) -> Result<ReservationRow, InputError> {
        Ok(ReservationRow {
            id,
            scope: Scope::parse("scope", &self.scope)?,
            amounts: amounts(&self.amounts)?,
            expires_at: self.expires_at,
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, ReservationRow)> {
    use smallvec::smallvec;

    use crate::{
        domain::ids::Meter,
        store::samples::{T0, scope},
    };

    let row = ReservationRow {
        id: DecisionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        scope: scope(),
        amounts: smallvec![(Meter::executions(), 1), (Meter::spend(), 50_000)],
        expires_at: T0 + 300_000,
    };
    vec![("reservation", row)]
}
