//! Every stored form of a window, and no other file knows one.
//!
//! ```text
//! in values        aligned | anchored | rolling | day | week | month | month_from | once    WindowV2
//! in keys          tag, number: 1 len, 2 len, 3 len, 4 1, 4 2, 4 3, 5 day, 7 0              code, of_code
//! in keys of dumps as in values, calendars inside {"calendar": …}                     Named
//! ```
//!
//! Only windows that can be counted are stored.

use serde::{Deserialize, Serialize};

use crate::domain::{
    input::InputError,
    window::{Calendar, Millis, Window},
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
}

/// One line for each kind of window, both ways.
macro_rules! forms {
    ($([$($window:tt)+] <=> [$($stored:tt)+];)+) => {
        impl TryFrom<Window> for WindowV2 {
            type Error = InputError;

            fn try_from(window: Window) -> Result<Self, InputError> {
                check(window)?;
                match window {
                    $($($window)+ => Ok($($stored)+),)+
                    Window::Provider | Window::Concurrent => Err(uncounted(window)),
                }
            }
        }

        impl TryFrom<WindowV2> for Window {
            type Error = InputError;

            fn try_from(stored: WindowV2) -> Result<Self, InputError> {
                let window = match stored { $($($stored)+ => $($window)+,)+ };
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
        Err(_) => UNCOUNTED,
    }
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

impl TryFrom<Window> for Named {
    type Error = InputError;

    fn try_from(window: Window) -> Result<Self, InputError> {
        let stored = WindowV2::try_from(window)?;
        let calendar = matches!(window, Window::Calendar(_));
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
        if matches!(window, Self::Calendar(_)) == nested { Ok(window) } else { Err(uncounted(window)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{DAY_MS, HOUR_MS};

    const WINDOWS: [(Window, (u8, u64), &str, &str); 8] = [
        (Window::Aligned { len: HOUR_MS }, (1, HOUR_MS), r#"{"aligned":3600000}"#, r#"{"aligned":3600000}"#),
        (Window::Anchored { len: DAY_MS }, (2, DAY_MS), r#"{"anchored":86400000}"#, r#"{"anchored":86400000}"#),
        (Window::Rolling { len: HOUR_MS }, (3, HOUR_MS), r#"{"rolling":3600000}"#, r#"{"rolling":3600000}"#),
        (Window::Calendar(Calendar::Day), (4, 1), r#""day""#, r#"{"calendar":"day"}"#),
        (Window::Calendar(Calendar::Week), (4, 2), r#""week""#, r#"{"calendar":"week"}"#),
        (Window::Calendar(Calendar::Month), (4, 3), r#""month""#, r#"{"calendar":"month"}"#),
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
    fn windows_that_cannot_be_counted_have_no_form() {
        for window in [Window::Provider, Window::Concurrent, Window::Aligned { len: 0 }] {
            assert!(WindowV2::try_from(window).is_err() && Named::try_from(window).is_err(), "{window}");
            let (tag, number) = code(window);
            assert!(of_code(tag, number).is_err(), "{window}");
        }
        assert!(
            of_code(1, 0).is_err() && of_code(5, 32).is_err() && of_code(5, 287).is_err() && of_code(4, 4).is_err()
        );
        for named in [r#""day""#, r#"{"calendar":{"rolling":3600000}}"#, r#"{"rolling":1}"#] {
            let named: Named = serde_json::from_str(named).unwrap();
            assert!(Window::try_from(named).is_err());
        }
        assert!(serde_json::from_str::<Named>(r#""provider""#).is_err());
    }
}
