//! What was used through which plane on one day.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use crate::{
    bounds::DAY_MS,
    domain::{
        ids::{Meter, Plane},
        input::InputError,
        rows::{PlaneDayRow, PlaneUse},
        window::Millis,
    },
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaneDayV2<'a> {
    #[serde(borrow)]
    used: Vec<PlaneUseV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaneUseV2<'a> {
    #[serde(borrow)]
    plane: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    amount: u64,
}

pub(super) fn write<S: Serializer>(row: &PlaneDayRow, out: S) -> Result<S::Ok, S::Error> {
    check(row.start).map_err(S::Error::custom)?;
    let used = row.used.iter().map(|used| PlaneUseV2 {
        plane: used.plane.as_str().into(),
        meter: used.meter.as_str().into(),
        amount: used.amount,
    });
    PlaneDayV2 { used: used.collect() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(start: Millis, from: D) -> Result<PlaneDayRow, D::Error> {
    let PlaneDayV2 { used } = PlaneDayV2::deserialize(from)?;
    check(start).map_err(D::Error::custom)?;
    let used = used.iter().map(|used| {
        let (plane, meter) = (Plane::parse("plane", &used.plane)?, Meter::parse("meter", &used.meter)?);
        Ok(PlaneUse { plane, meter, amount: used.amount })
    });
    let used: Result<_, InputError> = used.collect();
    Ok(PlaneDayRow { start, used: used.map_err(D::Error::custom)? })
}

fn check(start: Millis) -> Result<(), InputError> {
    let is_day = start.is_multiple_of(DAY_MS);
    if is_day { Ok(()) } else { Err(InputError::new("start", start, "the start of a day")) }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, PlaneDayRow)> {
    use crate::store::samples::T0;

    let of = |plane, meter, amount| PlaneUse { plane: Plane::parse("plane", plane).unwrap(), meter, amount };
    let used = vec![of("plane-eu 1", Meter::spend(), 7_500_000), of("other", Meter::executions(), u64::MAX)];
    vec![("plane_day", PlaneDayRow { start: T0 / DAY_MS * DAY_MS, used })]
}
