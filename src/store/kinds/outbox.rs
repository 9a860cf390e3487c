//! Usage on its way to the billing provider.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{outcomes::CauseV2, stored::mirror};
use crate::domain::{
    gate::Cause,
    ids::Meter,
    input::InputError,
    outbox::{DeadCause, OutboxKey, OutboxRow},
    scopes::Scopes,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboxV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    units: u64,
    at: Millis,
    tried_since: Millis,
    attempts: u32,
    due_at: Millis,
    last_error: Option<CauseV2>,
    dead: Option<DeadCauseV2>,
}

/// What is given back of usage that was reported before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundV3<'a> {
    #[serde(borrow)]
    refund: OutboxV2<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeadCauseV2 {
    Rejected,
    Expired,
    Full,
}

mirror!(DeadCause <=> DeadCauseV2 { Rejected, Expired, Full });

pub(super) fn write<S: Serializer>(row: &OutboxRow, out: S) -> Result<S::Ok, S::Error> {
    let stored = OutboxV2::from(row);
    if row.is_refund { RefundV3 { refund: stored }.serialize(out) } else { stored.serialize(out) }
}

pub(super) fn version(row: &OutboxRow) -> u8 {
    if row.is_refund { 3 } else { 2 }
}

pub(super) fn read<'de, D: Deserializer<'de>>(version: u8, key: OutboxKey, from: D) -> Result<OutboxRow, D::Error> {
    let (stored, is_refund) = match version {
        2 => (OutboxV2::deserialize(from)?, false),
        _ => (RefundV3::deserialize(from)?.refund, true),
    };
    let row = stored.into_row(key).map_err(D::Error::custom)?;
    Ok(OutboxRow { is_refund, ..row })
}

impl<'a> From<&'a OutboxRow> for OutboxV2<'a> {
    fn from(row: &'a OutboxRow) -> Self {
        Self {
            scope: row.scopes.text(),
            meter: row.meter.as_str().into(),
            units: row.units,
            at: row.at,
            tried_since: row.tried_since,
            attempts: row.attempts,
            due_at: row.due_at,
            last_error: row.last_error.map(CauseV2::from),
            dead: row.dead.map(DeadCauseV2::from),
        }
    }
}

impl OutboxV2<'_> {
    fn into_row(self, key: OutboxKey) -> Result<OutboxRow, InputError> {
        Ok(OutboxRow {
            key,
            scopes: Scopes::parse("scope", &self.scope)?,
            meter: Meter::parse("meter", &self.meter)?,
            units: self.units,
            at: self.at,
            tried_since: self.tried_since,
            attempts: self.attempts,
            due_at: self.due_at,
            last_error: self.last_error.map(Cause::from),
            dead: self.dead.map(DeadCause::from),
            is_refund: false,
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, OutboxRow)> {
    use crate::store::samples::{T0, scope, scopes};

    let waiting = OutboxRow::new(OutboxKey(u128::MAX - 1), scope().into(), Meter::spend(), 50_000, T0);
    let dead = OutboxRow {
        attempts: 9,
        last_error: Some(Cause::ProviderRefused),
        dead: Some(DeadCause::Rejected),
        ..OutboxRow::new(OutboxKey(7), Scopes::org(), Meter::executions(), 1, T0)
    };
    let of_several = OutboxRow::new(OutboxKey(8), scopes(), Meter::spend(), 50_000, T0);
    let refund = OutboxRow { key: OutboxKey(9), is_refund: true, ..of_several.clone() };
    vec![("export", waiting), ("export_dead", dead), ("export_scopes", of_several), ("export_refund", refund)]
}
