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

/// Says also that its scope may have used something in a shared ledger before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceV3 {
    total: u64,
    minutes: Vec<(u8, u64)>,
    late: bool,
}

pub(super) fn version(row: &SliceRow) -> u8 {
    if row.slice.late { 3 } else { 2 }
}

pub(super) fn write<S: Serializer>(row: &SliceRow, out: S) -> Result<S::Ok, S::Error> {
    check(&row.slice).map_err(S::Error::custom)?;
    let HourSlice { total, ref minutes, late, .. } = row.slice;
    let minutes = minutes.clone();
    if version(row) == 2 {
        return SliceV2 { total, minutes }.serialize(out);
    }
    SliceV3 { total, minutes, late }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    version: u8,
    scope: Scope,
    meter: Meter,
    start: Millis,
    from: D,
) -> Result<SliceRow, D::Error> {
    let stored = if version == 2 { SliceV2::deserialize(from)?.into() } else { SliceV3::deserialize(from)? };
    let SliceV3 { total, minutes, late } = stored;
    let slice = HourSlice { start, total, minutes, late };
    check(&slice).map_err(D::Error::custom)?;
    Ok(SliceRow { scope, meter, slice })
}

impl From<SliceV2> for SliceV3 {
    fn from(SliceV2 { total, minutes }: SliceV2) -> Self {
        Self { total, minutes, late: false }
    }
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

    let whole = HourSlice { start: T0, total: 300, minutes: vec![(0, 100), (59, 200)], late: false };
    let rolled_up = HourSlice { start: T0 - DAY_MS, total: u64::MAX, minutes: vec![], late: false };
    let late = HourSlice { start: T0, total: 7, minutes: vec![(3, 7)], late: true };
    let row = |scope, slice| SliceRow { scope, meter: Meter::spend(), slice };
    vec![
        ("slice", row(Scope::org(), whole)),
        ("slice_rolled_up", row(scope(), rolled_up)),
        ("slice_late", row(scope(), late)),
        (
            "slice_shared",
            row(Scope::others_of("workspace/"), HourSlice { start: T0, total: 9, ..HourSlice::default() }),
        ),
    ]
}
