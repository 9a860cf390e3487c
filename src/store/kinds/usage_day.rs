//! Usage of one scope and meter on one day.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use crate::{
    bounds::DAY_MS,
    domain::{
        ids::{Meter, Plane, Scope},
        input::InputError,
        rows::UsageDayRow,
        window::{self, Millis},
    },
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageDayV2 {
    amount: u64,
}

pub(super) fn write<S: Serializer>(row: &UsageDayRow, out: S) -> Result<S::Ok, S::Error> {
    check(row.month, row.start).map_err(S::Error::custom)?;
    UsageDayV2 { amount: row.amount }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    month: Millis,
    scope: Scope,
    meter: Meter,
    start: Millis,
    plane: Plane,
    from: D,
) -> Result<UsageDayRow, D::Error> {
    let UsageDayV2 { amount } = UsageDayV2::deserialize(from)?;
    check(month, start).map_err(D::Error::custom)?;
    Ok(UsageDayRow { month, scope, meter, start, plane, amount })
}

/// A day in a month that it is not in would be missed.
fn check(month: Millis, start: Millis) -> Result<(), InputError> {
    if !start.is_multiple_of(DAY_MS) {
        return Err(InputError::new("start", start, "the start of a day"));
    }
    if window::month(start) != month {
        return Err(InputError::new("month", month, "the start of the month of its day"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, UsageDayRow)> {
    use crate::store::samples::{T0, scope};

    let of_scope = UsageDayRow::new(scope(), Meter::spend(), T0 / DAY_MS * DAY_MS, 7_500_000);
    let plane = Plane::parse("plane", "plane-eu 1").unwrap();
    let of_plane = UsageDayRow { scope: Scope::org(), plane, amount: u64::MAX, ..of_scope.clone() };
    vec![("usage_day", of_scope), ("usage_day_plane", of_plane)]
}
