//! The counter of a window that is no sum of slices.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::window;
use crate::domain::{
    ids::{Meter, Scope},
    rate::Counter,
    rows::CounterRow,
    window::{Millis, Window},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CounterV2 {
    start: Millis,
    used: u64,
}

pub(super) fn write<S: Serializer>(row: &CounterRow, out: S) -> Result<S::Ok, S::Error> {
    window::check(row.window).map_err(S::Error::custom)?;
    CounterV2 { start: row.counter.start, used: row.counter.used }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    scope: Scope,
    meter: Meter,
    window: Window,
    from: D,
) -> Result<CounterRow, D::Error> {
    let CounterV2 { start, used } = CounterV2::deserialize(from)?;
    window::check(window).map_err(D::Error::custom)?;
    Ok(CounterRow { scope, meter, window, counter: Counter { start, used } })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, CounterRow)> {
    use crate::{
        bounds::{DAY_MS, HOUR_MS},
        domain::window::Calendar,
        store::samples::{T0, scope, zone},
    };

    let windows = [
        ("counter_aligned", Window::Aligned { len: HOUR_MS }),
        ("counter_anchored", Window::Anchored { len: DAY_MS }),
        ("counter_rolling", Window::Rolling { len: 30 * DAY_MS }),
        ("counter_day", Window::Calendar(Calendar::Day)),
        ("counter_week", Window::Calendar(Calendar::Week)),
        ("counter_month", Window::Calendar(Calendar::Month)),
        ("counter_once", Window::Once),
        ("counter_year", Window::Calendar(Calendar::Year)),
        ("counter_zoned", Window::Zoned { unit: Calendar::Day, zone: zone() }),
    ];
    let counter = Counter { start: T0, used: 7 };
    windows.map(|(name, window)| (name, CounterRow { scope: scope(), meter: Meter::spend(), window, counter })).to_vec()
}
