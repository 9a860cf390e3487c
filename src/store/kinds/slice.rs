//! One hour of a ledger.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{Meter, Scope},
        input::InputError,
        ledger::HourSlice,
        rows::SliceRow,
        window::Millis,
    },
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceV2 {
    total: u64,
    minutes: Vec<(u8, u64)>,
}

pub(super) fn write<S: Serializer>(row: &SliceRow, out: S) -> Result<S::Ok, S::Error> {
    check(&row.slice).map_err(S::Error::custom)?;
    SliceV2 { total: row.slice.total, minutes: row.slice.minutes.clone() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    scope: Scope,
    meter: Meter,
    start: Millis,
    from: D,
) -> Result<SliceRow, D::Error> {
    let SliceV2 { total, minutes } = SliceV2::deserialize(from)?;
    let slice = HourSlice { start, total, minutes };
    check(&slice).map_err(D::Error::custom)?;
    Ok(SliceRow { scope, meter, slice })
}

/// No ledger holds minutes outside of their hour: such a row is corrupt.
fn check(slice: &HourSlice) -> Result<(), InputError> {
    if !slice.start.is_multiple_of(HOUR_MS) {
        return Err(InputError::new("slice.start", slice.start, "the start of an hour"));
    }
    if let Some((minute, _)) = slice.minutes.iter().find(|(minute, _)| *minute >= 60) {
        return Err(InputError::new("slice.minute", minute, "0 to 59"));
    }
    if !slice.minutes.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(InputError::new("slice.minutes", format!("{:?}", slice.minutes), "ascending minutes"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, SliceRow)> {
    use crate::{
        bounds::DAY_MS,
        store::samples::{T0, scope},
    };

    let whole = HourSlice { start: T0, total: 300, minutes: vec![(0, 100), (59, 200)] };
    let rolled_up = HourSlice { start: T0 - DAY_MS, total: u64::MAX, minutes: vec![] };
    let row = |scope, slice| SliceRow { scope, meter: Meter::spend(), slice };
    vec![("slice", row(Scope::org(), whole)), ("slice_rolled_up", row(scope(), rolled_up))]
}
