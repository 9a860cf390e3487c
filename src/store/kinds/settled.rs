//! How reservations ended, by their ids.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::outcomes::SettlementV2;
use crate::domain::{ids::DecisionId, rows::SettledRow, window::Millis};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettledV2 {
    how: SettlementV2,
}

pub(super) fn write<S: Serializer>(row: &SettledRow, out: S) -> Result<S::Ok, S::Error> {
    SettledV2 { how: row.how.into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(id: DecisionId, at: Millis, from: D) -> Result<SettledRow, D::Error> {
    let SettledV2 { how } = SettledV2::deserialize(from)?;
    Ok(SettledRow { id, at, how: how.into() })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, SettledRow)> {
    use crate::{domain::outcome::Settlement, store::samples::T0};

    vec![("settled", SettledRow { id: DecisionId(3), at: T0 + 5, how: Settlement::Committed })]
}
