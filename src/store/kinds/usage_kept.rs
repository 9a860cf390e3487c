//! How many rows of usage by day and by month an org has, and from when.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{rows::UsageKeptRow, window::Millis};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageKeptV2 {
    days: u64,
    days_from: Millis,
    months: u64,
    months_from: Millis,
}

pub(super) fn write<S: Serializer>(row: &UsageKeptRow, out: S) -> Result<S::Ok, S::Error> {
    let UsageKeptRow { days, days_from, months, months_from } = *row;
    UsageKeptV2 { days, days_from, months, months_from }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<UsageKeptRow, D::Error> {
    let UsageKeptV2 { days, days_from, months, months_from } = UsageKeptV2::deserialize(from)?;
    Ok(UsageKeptRow { days, days_from, months, months_from })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, UsageKeptRow)> {
    use crate::{domain::window::month, store::samples::T0};

    vec![("usage_kept", UsageKeptRow { days: 2, days_from: month(T0), months: 2, months_from: month(T0) })]
}
