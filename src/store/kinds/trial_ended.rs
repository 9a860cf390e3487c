//! The end of an org's trial, once it was announced: as an older tollgate kept it. It is read, and moved to an alert.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{rows::TrialEndedRow, window::Millis};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialEndedV2 {
    at: Millis,
}

pub(super) fn write<S: Serializer>(row: &TrialEndedRow, out: S) -> Result<S::Ok, S::Error> {
    TrialEndedV2 { at: row.at }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<TrialEndedRow, D::Error> {
    TrialEndedV2::deserialize(from).map(|stored| TrialEndedRow { at: stored.at })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, TrialEndedRow)> {
    vec![("trial_ended", TrialEndedRow { at: crate::store::samples::T0 })]
}
