//! Amounts, durations and windows as people read them: dollars, hours, names.

use std::borrow::Cow;

use super::{
    ids::Meter,
    window::{Calendar, Millis, Window},
};
use crate::bounds::{DAY_MS, HOUR_MS, MICROS_PER_DOLLAR, MINUTE_MS, SECOND_MS};

/// `$30.00` of spend, `1 h 30 min` of compute, `5.2 MB` of bytes, `7 executions` of anything else.
pub fn amount(meter: &Meter, amount: u64) -> String {
    match meter.as_str() {
        Meter::SPEND => dollars(amount),
        Meter::COMPUTE => duration(amount),
        Meter::BYTES => bytes(amount),
        // What it counts itself has a name in the plural.
        Meter::EXECUTIONS | "calls" | "sessions" if amount == 1 => {
            format!("1 {}", meter.as_str().trim_end_matches('s'))
        }
        other => format!("{amount} {other}"),
    }
}

/// `1 call`, `12 calls`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Two decimals, and as many more as a fraction of a cent has, up to the micro-dollar.
pub fn dollars(micros: u64) -> String {
    let (whole, fraction) = (micros / MICROS_PER_DOLLAR, micros % MICROS_PER_DOLLAR);
    let digits = format!("{fraction:06}");
    let kept = digits.trim_end_matches('0').len().max(2);
    format!("${whole}.{}", &digits[..kept])
}

const UNITS: [(Millis, &str); 4] = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s")];

/// The two largest units that say something, rounded up to the smaller: `2 d 22 h`, `5 min`, `250 ms`.
pub fn duration(millis: Millis) -> String {
    if millis < SECOND_MS {
        return format!("{millis} ms");
    }
    for (at, (unit, name)) in UNITS.iter().enumerate() {
        let Some((smaller, smaller_name)) = UNITS.get(at + 1) else {
            return format!("{} {name}", millis.div_ceil(*unit));
        };
        let rounded = millis.div_ceil(*smaller).saturating_mul(*smaller);
        let (whole, rest) = (rounded / unit, rounded % unit / smaller);
        match (whole, rest) {
            (0, _) => {}
            (_, 0) => return format!("{whole} {name}"),
            _ => return format!("{whole} {name} {rest} {smaller_name}"),
        }
    }
    format!("{millis} ms")
}

/// Decimal units, one decimal: `5.2 MB`.
fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10)),
        None => format!("{bytes} bytes"),
    }
}

/// What stands behind "per": `rolling day`, `clock hour`, `calendar month`.
pub fn window(window: Window) -> String {
    match window {
        Window::Rolling { len } => format!("rolling {}", length(len)),
        Window::Aligned { len: HOUR_MS } => "clock hour".to_owned(),
        Window::Aligned { len } => format!("aligned {}", length(len)),
        Window::Anchored { len } => format!("{} from first use", length(len)),
        Window::Calendar(unit) => period(unit),
        Window::Zoned { unit, zone } => format!("{} in {zone}", period(unit)),
        Window::Once => "trial".to_owned(),
        Window::Provider => "billing period".to_owned(),
        Window::Concurrent => "moment".to_owned(),
    }
}

fn period(unit: Calendar) -> String {
    match unit {
        Calendar::Day => "calendar day".to_owned(),
        Calendar::Week => "calendar week".to_owned(),
        Calendar::Month => "calendar month".to_owned(),
        Calendar::MonthFrom(day) => format!("month from day {day}"),
        Calendar::Year => "calendar year".to_owned(),
    }
}

fn length(len: Millis) -> String {
    const WEEK_MS: Millis = 7 * DAY_MS;
    match len {
        MINUTE_MS => "minute".to_owned(),
        HOUR_MS => "hour".to_owned(),
        DAY_MS => "day".to_owned(),
        WEEK_MS => "week".to_owned(),
        len if len.is_multiple_of(DAY_MS) => format!("{} days", len / DAY_MS),
        len => duration(len),
    }
}

/// `text` as a shell reads it back: commands in answers are pasted, and ids may have `|`, `&`, `;` and `$`.
pub fn for_shell(text: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@%+=-".contains(&b);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_in_the_units_of_people() {
        for (meter, value, text) in [
            (Meter::spend(), 0, "$0.00"),
            (Meter::spend(), 25, "$0.000025"),
            (Meter::spend(), 30_000_000, "$30.00"),
            (Meter::spend(), 1_234_500, "$1.2345"),
            (Meter::compute(), 5_400_000, "1 h 30 min"),
            (Meter::bytes(), 5_260_000, "5.2 MB"),
            (Meter::bytes(), 999, "999 bytes"),
            (Meter::executions(), 7, "7 executions"),
        ] {
            assert_eq!(amount(&meter, value), text);
        }
    }

    #[test]
    fn a_duration_has_its_two_largest_units_and_is_never_too_short() {
        for (millis, text) in [
            (0, "0 ms"),
            (250, "250 ms"),
            (1_001, "2 s"),
            (59_001, "1 min"),
            (90_000, "1 min 30 s"),
            (HOUR_MS - 1, "1 h"),
            (HOUR_MS + 1, "1 h 1 min"),
            (252_649_000, "2 d 23 h"),
            (2 * DAY_MS, "2 d"),
        ] {
            assert_eq!(duration(millis), text, "{millis}");
        }
    }

    #[test]
    fn windows_have_names() {
        for (given, text) in [
            (Window::Rolling { len: DAY_MS }, "rolling day"),
            (Window::Rolling { len: 30 * DAY_MS }, "rolling 30 days"),
            (Window::Rolling { len: 12 * HOUR_MS }, "rolling 12 h"),
            (Window::Aligned { len: HOUR_MS }, "clock hour"),
            (Window::Aligned { len: 15 * MINUTE_MS }, "aligned 15 min"),
            (Window::Anchored { len: DAY_MS }, "day from first use"),
            (Window::Calendar(Calendar::Month), "calendar month"),
            (Window::parse("calendar/day@America/Los_Angeles").unwrap(), "calendar day in America/Los_Angeles"),
        ] {
            assert_eq!(window(given), text);
        }
    }
}
