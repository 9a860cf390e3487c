//! Amounts that were reported and not believed.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    ids::{Meter, Source},
    input::InputError,
    rows::DisputedRow,
    scopes::Scopes,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DisputedV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    amount: u64,
    at: Millis,
}

pub(super) fn write<S: Serializer>(row: &DisputedRow, out: S) -> Result<S::Ok, S::Error> {
    let stored = DisputedV2 {
        scope: row.scopes.text(),
        source: row.source.as_str().into(),
        meter: row.meter.as_str().into(),
        amount: row.amount,
        at: row.at,
    };
    stored.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(seq: u64, from: D) -> Result<DisputedRow, D::Error> {
    DisputedV2::deserialize(from)?.into_row(seq).map_err(D::Error::custom)
}

impl DisputedV2<'_> {
    fn into_row(self, seq: u64) -> Result<DisputedRow, InputError> {
        Ok(DisputedRow {
            seq,
            scopes: Scopes::parse("scope", &self.scope)?,
            source: Source::parse("source", &self.source)?,
            meter: Meter::parse("meter", &self.meter)?,
            amount: self.amount,
            at: self.at,
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, DisputedRow)> {
    use crate::store::samples::{T0, scope, scopes, source};

    let row =
        DisputedRow { seq: 6, scopes: scope().into(), source: source(), meter: Meter::spend(), amount: 5, at: T0 };
    let of_several = DisputedRow { seq: 7, scopes: scopes(), ..row.clone() };
    vec![("disputed", row), ("disputed_scopes", of_several)]
}
