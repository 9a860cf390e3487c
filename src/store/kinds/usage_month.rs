//! Usage of one scope and meter in one month.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use crate::domain::{
    ids::{Meter, Plane, Scope},
    input::InputError,
    rows::UsageMonthRow,
    window::{self, Millis},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageMonthV2 {
    amount: u64,
}

pub(super) fn write<S: Serializer>(row: &UsageMonthRow, out: S) -> Result<S::Ok, S::Error> {
    check(row.start).map_err(S::Error::custom)?;
    UsageMonthV2 { amount: row.amount }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    start: Millis,
    scope: Scope,
    meter: Meter,
    plane: Plane,
    from: D,
) -> Result<UsageMonthRow, D::Error> {
    let UsageMonthV2 { amount } = UsageMonthV2::deserialize(from)?;
    check(start).map_err(D::Error::custom)?;
    Ok(UsageMonthRow { start, scope, meter, plane, amount })
}

fn check(start: Millis) -> Result<(), InputError> {
    let is_month = window::month(start) == start;
    if is_month { Ok(()) } else { Err(InputError::new("start", start, "the start of a month")) }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, UsageMonthRow)> {
    use crate::store::samples::{T0, scope};

    let start = window::month(T0);
    let (meter, plane, amount) = (Meter::spend(), Plane::unnamed(), 312_000_000);
    let of_scope = UsageMonthRow { start, scope: scope(), meter, plane, amount };
    let plane = Plane::parse("plane", "plane-eu 1").unwrap();
    let of_plane = UsageMonthRow { scope: Scope::org(), plane, amount: 0, ..of_scope.clone() };
    vec![("usage_month", of_scope), ("usage_month_plane", of_plane)]
}
