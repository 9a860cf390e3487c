//! The counter of a window that is no sum of slices, and what of it goes on into the next window.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::window;
use crate::domain::{
    ids::{Meter, Scope},
    input::InputError,
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

/// Says what was carried into the window, and above what its usage goes on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CounterV3 {
    start: Millis,
    used: u64,
    carried: u64,
    over: Option<u64>,
}

pub(super) fn version(row: &CounterRow) -> u8 {
    if row.counter.carried == 0 && row.counter.over.is_none() { 2 } else { 3 }
}

pub(super) fn write<S: Serializer>(row: &CounterRow, out: S) -> Result<S::Ok, S::Error> {
    check(row.window, row.counter).map_err(S::Error::custom)?;
    let Counter { start, used, carried, over } = row.counter;
    if version(row) == 2 {
        return CounterV2 { start, used }.serialize(out);
    }
    CounterV3 { start, used, carried, over }.serialize(out)
}

/// Only windows that follow one another have a next one that usage can go on into.
fn check(window: Window, counter: Counter) -> Result<(), InputError> {
    window::check(window)?;
    if (counter.carried > 0 || counter.over.is_some()) && !window.follows_itself() {
        return Err(InputError::new("carried", counter.carried, "only in an aligned or calendar window"));
    }
    Ok(())
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    version: u8,
    scope: Scope,
    meter: Meter,
    window: Window,
    from: D,
) -> Result<CounterRow, D::Error> {
    let counter = if version == 2 {
        let CounterV2 { start, used } = CounterV2::deserialize(from)?;
        Counter { start, used, ..Counter::default() }
    } else {
        let CounterV3 { start, used, carried, over } = CounterV3::deserialize(from)?;
        Counter { start, used, carried, over }
    };
    check(window, counter).map_err(D::Error::custom)?;
    Ok(CounterRow { scope, meter, window, counter })
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
    let counter = Counter { start: T0, used: 7, ..Counter::default() };
    let row = |window, counter| CounterRow { scope: scope(), meter: Meter::spend(), window, counter };
    let mut rows = windows.map(|(name, window)| (name, row(window, counter))).to_vec();
    let carries = Counter { carried: 400, over: Some(100), ..counter };
    rows.push(("counter_carried", row(Window::Aligned { len: DAY_MS }, carries)));
    rows
}
