//! Every stored form of a window, and no other file knows one.
//!
//! ```text
//! in values        aligned | anchored | rolling | day | week | month | month_from | once | year | zoned   WindowV2
//! in keys          tag, number: 1 len, 2 len, 3 len, 4 1, 4 2, 4 3, 4 4, 5 day, 7 0                       code, of_code
//!                  of a zone 8, the number of the period, and the name of the zone
//! in keys of dumps as in values, calendars inside {"calendar": …}                                         Named
//! ```
//!
//! Only windows that can be counted are stored.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    input::InputError,
    window::{Calendar, Millis, Window},
    zone::Zone,
};

/// A window inside a value. Variants are added at the end: what was written before still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum WindowV2 {
    Aligned(Millis),
    Anchored(Millis),
    Rolling(Millis),
    Day,
    Week,
    Month,
    MonthFrom(u8),
    Once,
    Year,
    Zoned { unit: UnitV2, zone: ZoneV2 },
}

/// A period of the calendar in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum UnitV2 {
    Day,
    Week,
    Month,
    MonthFrom(u8),
    Year,
}

/// A zone by its name. One that this build does not know makes its row unreadable, and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct ZoneV2(Zone);

impl ZoneV2 {
    fn named(name: &str) -> Result<Self, InputError> {
        let zone = Zone::parse(name).flatten().map(Self);
        zone.ok_or_else(|| InputError::new("zone", name, "a zone of the IANA database other than UTC"))
    }
}

impl Serialize for ZoneV2 {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.name().serialize(out)
    }
}

impl<'de> Deserialize<'de> for ZoneV2 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::named(&Cow::<str>::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// One line for each period of the calendar, both ways.
macro_rules! units {
    ($($unit:ident $(($day:ident))?),+) => {
        impl From<Calendar> for UnitV2 {
            fn from(unit: Calendar) -> Self {
                match unit { $(Calendar::$unit $(($day))? => Self::$unit $(($day))?,)+ }
            }
        }

        impl From<UnitV2> for Calendar {
            fn from(stored: UnitV2) -> Self {
                match stored { $(UnitV2::$unit $(($day))? => Self::$unit $(($day))?,)+ }
            }
        }
    };
}

units!(Day, Week, Month, MonthFrom(day), Year);

/// One line for each kind of window, both ways.
macro_rules! forms {
    ($([$($window:tt)+] <=> [$($stored:tt)+];)+) => {
        impl TryFrom<Window> for WindowV2 {
            type Error = InputError;

            fn try_from(window: Window) -> Result<Self, InputError> {
                check(window)?;
                match window {
                    $($($window)+ => Ok($($stored)+),)+
                    Window::Zoned { unit, zone } => Ok(WindowV2::Zoned { unit: unit.into(), zone: ZoneV2(zone) }),
                    Window::Provider | Window::Concurrent => Err(uncounted(window)),
                }
            }
        }

        impl TryFrom<WindowV2> for Window {
            type Error = InputError;

            fn try_from(stored: WindowV2) -> Result<Self, InputError> {
                let window = match stored {
                    $($($stored)+ => $($window)+,)+
                    WindowV2::Zoned { unit, zone: ZoneV2(zone) } => Window::Zoned { unit: unit.into(), zone },
                };
                check(window).map(|()| window)
            }
        }
    };
}

forms! {
    [Window::Aligned { len }] <=> [WindowV2::Aligned(len)];
    [Window::Anchored { len }] <=> [WindowV2::Anchored(len)];
    [Window::Rolling { len }] <=> [WindowV2::Rolling(len)];
    [Window::Calendar(Calendar::Day)] <=> [WindowV2::Day];
    [Window::Calendar(Calendar::Week)] <=> [WindowV2::Week];
    [Window::Calendar(Calendar::Month)] <=> [WindowV2::Month];
    [Window::Calendar(Calendar::MonthFrom(day))] <=> [WindowV2::MonthFrom(day)];
    [Window::Once] <=> [WindowV2::Once];
    [Window::Calendar(Calendar::Year)] <=> [WindowV2::Year];
}

/// Refuses what nothing here counts, and lengths that cannot be counted exactly.
pub(super) fn check(window: Window) -> Result<(), InputError> {
    if window.is_valid() { Ok(()) } else { Err(uncounted(window)) }
}

fn uncounted(shown: impl std::fmt::Display) -> InputError {
    InputError::new("window", shown, "a window that can be counted")
}

/// What stands in a key for a window that is never stored: no key with it reads back.
const UNCOUNTED: (u8, u64) = (6, 0);

/// The tag of a window in a zone: the name of the zone follows the number.
pub(in crate::store) const ZONED: u8 = 8;

/// Numbers from this one on are months that begin on a day.
const MONTH_FROM: u64 = 256;

/// The tag and the number of a window in a key.
pub(in crate::store) fn code(window: Window) -> (u8, u64) {
    match WindowV2::try_from(window) {
        Ok(WindowV2::Aligned(len)) => (1, len),
        Ok(WindowV2::Anchored(len)) => (2, len),
        Ok(WindowV2::Rolling(len)) => (3, len),
        Ok(WindowV2::Day) => (4, 1),
        Ok(WindowV2::Week) => (4, 2),
        Ok(WindowV2::Month) => (4, 3),
        Ok(WindowV2::MonthFrom(day)) => (5, u64::from(day)),
        Ok(WindowV2::Once) => (7, 0),
        Ok(WindowV2::Year) => (4, 4),
        Ok(WindowV2::Zoned { unit, .. }) => (ZONED, number_of(unit)),
        Err(_) => UNCOUNTED,
    }
}

fn number_of(unit: UnitV2) -> u64 {
    match unit {
        UnitV2::Day => 1,
        UnitV2::Week => 2,
        UnitV2::Month => 3,
        UnitV2::Year => 4,
        UnitV2::MonthFrom(day) => MONTH_FROM + u64::from(day),
    }
}

/// The name of the zone of a window that has one: it stands in a key behind the number.
pub(in crate::store) fn zone_of(window: Window) -> Option<&'static str> {
    if let Window::Zoned { zone, .. } = window { Some(zone.name()) } else { None }
}

/// The window in a zone that a number and a name stand for.
pub(in crate::store) fn of_zone(number: u64, zone: &str) -> Result<Window, InputError> {
    let unknown = || uncounted(format!("{ZONED}/{number}"));
    let unit = match number {
        1 => UnitV2::Day,
        2 => UnitV2::Week,
        3 => UnitV2::Month,
        4 => UnitV2::Year,
        from => {
            UnitV2::MonthFrom(from.checked_sub(MONTH_FROM).and_then(|day| day.try_into().ok()).ok_or_else(unknown)?)
        }
    };
    Window::try_from(WindowV2::Zoned { unit, zone: ZoneV2::named(zone)? })
}

/// The window that a tag and a number stand for.
pub(in crate::store) fn of_code(tag: u8, number: u64) -> Result<Window, InputError> {
    let unknown = || uncounted(format!("{tag}/{number}"));
    let stored = match (tag, number) {
        (1, len) => WindowV2::Aligned(len),
        (2, len) => WindowV2::Anchored(len),
        (3, len) => WindowV2::Rolling(len),
        (4, 1) => WindowV2::Day,
        (4, 2) => WindowV2::Week,
        (4, 3) => WindowV2::Month,
        (4, 4) => WindowV2::Year,
        (5, day) => WindowV2::MonthFrom(u8::try_from(day).map_err(|_| unknown())?),
        (7, 0) => WindowV2::Once,
        _ => return Err(unknown()),
    };
    Window::try_from(stored)
}

/// A window in the key of a dump's line: `{"rolling":3600000}`, `{"calendar":"month"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::store) enum Named {
    Calendar { calendar: WindowV2 },
    OfLength(WindowV2),
}

fn is_of_calendar(window: Window) -> bool {
    matches!(window, Window::Calendar(_) | Window::Zoned { .. })
}

impl TryFrom<Window> for Named {
    type Error = InputError;

    fn try_from(window: Window) -> Result<Self, InputError> {
        let stored = WindowV2::try_from(window)?;
        let calendar = is_of_calendar(window);
        Ok(if calendar { Self::Calendar { calendar: stored } } else { Self::OfLength(stored) })
    }
}

impl TryFrom<Named> for Window {
    type Error = InputError;

    fn try_from(named: Named) -> Result<Self, InputError> {
        let (stored, nested) = match named {
            Named::Calendar { calendar } => (calendar, true),
            Named::OfLength(stored) => (stored, false),
        };
        let window = Self::try_from(stored)?;
        if is_of_calendar(window) == nested { Ok(window) } else { Err(uncounted(window)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{DAY_MS, HOUR_MS};

    const WINDOWS: [(Window, (u8, u64), &str, &str); 9] = [
        (Window::Aligned { len: HOUR_MS }, (1, HOUR_MS), r#"{"aligned":3600000}"#, r#"{"aligned":3600000}"#),
        (Window::Anchored { len: DAY_MS }, (2, DAY_MS), r#"{"anchored":86400000}"#, r#"{"anchored":86400000}"#),
        (Window::Rolling { len: HOUR_MS }, (3, HOUR_MS), r#"{"rolling":3600000}"#, r#"{"rolling":3600000}"#),
        (Window::Calendar(Calendar::Day), (4, 1), r#""day""#, r#"{"calendar":"day"}"#),
        (Window::Calendar(Calendar::Week), (4, 2), r#""week""#, r#"{"calendar":"week"}"#),
        (Window::Calendar(Calendar::Month), (4, 3), r#""month""#, r#"{"calendar":"month"}"#),
        (Window::Calendar(Calendar::Year), (4, 4), r#""year""#, r#"{"calendar":"year"}"#),
        (
            Window::Calendar(Calendar::MonthFrom(31)),
            (5, 31),
            r#"{"month_from":31}"#,
            r#"{"calendar":{"month_from":31}}"#,
        ),
        (Window::Once, (7, 0), r#""once""#, r#""once""#),
    ];

    #[test]
    fn every_kind_of_window_reads_back_from_each_of_its_forms() {
        for (window, key, value, named) in WINDOWS {
            assert_eq!(code(window), key);
            assert_eq!(of_code(key.0, key.1), Ok(window));
            assert_eq!(serde_json::to_string(&WindowV2::try_from(window).unwrap()).unwrap(), value);
            let stored: WindowV2 = serde_json::from_str(value).unwrap();
            assert_eq!(Window::try_from(stored), Ok(window));
            assert_eq!(serde_json::to_string(&Named::try_from(window).unwrap()).unwrap(), named);
            let in_dump: Named = serde_json::from_str(named).unwrap();
            assert_eq!(Window::try_from(in_dump), Ok(window));
        }
    }

    #[test]
    fn a_window_in_a_zone_has_the_name_of_the_zone_in_each_of_its_forms() {
        let zone = Zone::parse("Asia/Kolkata").unwrap().unwrap();
        for (unit, number, stored) in [
            (Calendar::Day, 1, r#"{"zoned":{"unit":"day","zone":"Asia/Kolkata"}}"#),
            (Calendar::Week, 2, r#"{"zoned":{"unit":"week","zone":"Asia/Kolkata"}}"#),
            (Calendar::Month, 3, r#"{"zoned":{"unit":"month","zone":"Asia/Kolkata"}}"#),
            (Calendar::Year, 4, r#"{"zoned":{"unit":"year","zone":"Asia/Kolkata"}}"#),
            (Calendar::MonthFrom(31), 287, r#"{"zoned":{"unit":{"month_from":31},"zone":"Asia/Kolkata"}}"#),
        ] {
            let window = Window::Zoned { unit, zone };
            assert_eq!((code(window), zone_of(window)), ((ZONED, number), Some("Asia/Kolkata")));
            assert_eq!(of_zone(number, "Asia/Kolkata"), Ok(window));
            assert_eq!(serde_json::to_string(&WindowV2::try_from(window).unwrap()).unwrap(), stored);
            assert_eq!(Window::try_from(serde_json::from_str::<WindowV2>(stored).unwrap()), Ok(window));
            let named = serde_json::to_string(&Named::try_from(window).unwrap()).unwrap();
            assert_eq!(named, format!(r#"{{"calendar":{stored}}}"#));
            assert_eq!(Window::try_from(serde_json::from_str::<Named>(&named).unwrap()), Ok(window));
        }
        assert!(of_zone(1, "UTC").is_err() && of_zone(1, "Mars").is_err() && of_zone(5, "Asia/Kolkata").is_err());
        assert!(of_zone(MONTH_FROM + 32, "Asia/Kolkata").is_err() && of_code(ZONED, 1).is_err());
    }

    #[test]
    fn windows_that_cannot_be_counted_have_no_form() {
        for window in [Window::Provider, Window::Concurrent, Window::Aligned { len: 0 }] {
            assert!(WindowV2::try_from(window).is_err() && Named::try_from(window).is_err(), "{window}");
            let (tag, number) = code(window);
            assert!(of_code(tag, number).is_err(), "{window}");
        }
        assert!(
            of_code(1, 0).is_err() && of_code(5, 32).is_err() && of_code(5, 287).is_err() && of_code(4, 5).is_err()
        );
        for named in [r#""day""#, r#"{"calendar":{"rolling":3600000}}"#, r#"{"rolling":1}"#] {
            let named: Named = serde_json::from_str(named).unwrap();
            assert!(Window::try_from(named).is_err());
        }
        assert!(serde_json::from_str::<Named>(r#""provider""#).is_err());
    }
}
