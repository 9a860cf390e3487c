//! When an org is to be woken. The key says it all.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{rows::TimerRow, window::Millis};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimerV2 {}

pub(super) fn write<S: Serializer>(_row: &TimerRow, out: S) -> Result<S::Ok, S::Error> {
    TimerV2 {}.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(wake_at: Millis, from: D) -> Result<TimerRow, D::Error> {
    TimerV2::deserialize(from).map(|TimerV2 {}| TimerRow { wake_at })
}

/// The one that the sample of a head names.
#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, TimerRow)> {
    use crate::{bounds::HOUR_MS, store::samples::T0};

    vec![("timer", TimerRow { wake_at: T0 + HOUR_MS })]
}
