//! Amounts, times and shares as people read them, exact to the last unit.

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat};

use crate::domain::{ids::Meter, window::Millis, words};

const MICROS_PER_DOLLAR: u64 = 1_000_000;
const MICROS_PER_CENT: u64 = 10_000;
const BAR_CELLS: usize = 10;

/// `amount` in the unit of `meter`: `$12.50`, `1h 2m 3s`, `1,048,576 B`, `17`.
pub(in crate::cli) fn amount(meter: &str, amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let size = amount.unsigned_abs();
    match meter {
        _ if meter == Meter::spend().as_str() => format!("{sign}{}", dollars(size)),
        "compute" => format!("{sign}{}", span(size)),
        "bytes" => format!("{sign}{} B", grouped(size)),
        _ => format!("{sign}{size}"),
    }
}

/// `$12.50`, and `$0.000050` where cents do not say it exactly.
fn dollars(micros: u64) -> String {
    let (whole, fraction) = (grouped(micros / MICROS_PER_DOLLAR), micros % MICROS_PER_DOLLAR);
    if fraction.is_multiple_of(MICROS_PER_CENT) {
        format!("${whole}.{:02}", fraction / MICROS_PER_CENT)
    } else {
        format!("${whole}.{fraction:06}")
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time, exactly: `1h 2m 3s`, `250ms`, `0s`.
pub(super) fn span(millis: u64) -> String {
    parts(millis, &[(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")])
}

/// A length of time to wait or that has passed: whole seconds, rounded up, and from one day on whole
/// hours, so that a wait is never shown too short by more than what an answer takes on its way.
fn rough_span(millis: u64) -> String {
    const DAY: u64 = 86_400_000;
    const ON_ITS_WAY: u64 = 1_000;
    if millis >= DAY {
        let hours = (millis - ON_ITS_WAY).div_ceil(3_600_000) * 3_600_000;
        parts(hours, &[(DAY, "d"), (3_600_000, "h")])
    } else {
        span(millis.div_ceil(1_000) * 1_000)
    }
}

fn parts(millis: u64, units: &[(u64, &str)]) -> String {
    let mut rest = millis;
    let mut words = Vec::new();
    for (size, name) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            words.push(format!("{count}{name}"));
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// `in 42m 10s`, `now`, `3m 5s ago`.
pub(in crate::cli) fn relative(now: Millis, at_ms: i64) -> String {
    let at = instant(at_ms);
    if at > now {
        format!("in {}", rough_span(at - now))
    } else if now - at < 1_000 {
        "now".to_owned()
    } else {
        format!("{} ago", rough_span((now - at) / 1_000 * 1_000))
    }
}

/// `42m 10s`, `now`; `never` for 0.
pub(super) fn until(now: Millis, at_ms: i64) -> String {
    match instant(at_ms) {
        0 => "never".to_owned(),
        at if at <= now => "now".to_owned(),
        at => rough_span(at - now),
    }
}

/// `1 call`, `12 calls`.
pub(super) fn counted(count: i64, what: &str) -> String {
    words::counted(count.unsigned_abs(), what)
}

/// A wait in milliseconds, rounded up to whole seconds.
pub(super) fn wait(millis: i64) -> String {
    rough_span(instant(millis))
}

/// `2026-11-22T08:30:00Z`; empty for 0, which on the wire means that there is no such time.
pub(in crate::cli) fn iso(at_ms: i64) -> String {
    if at_ms == 0 {
        return String::new();
    }
    DateTime::from_timestamp_millis(at_ms)
        .map_or_else(|| format!("{at_ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// `2026-11-22`: the day of UTC.
pub(super) fn day(at_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(at_ms);
    at.map_or_else(|| at_ms.to_string(), |at| at.format("%Y-%m-%d").to_string())
}

/// `2026-11-22T08:30:00Z (in 42m 10s)`; empty for 0.
pub(super) fn when(now: Millis, at_ms: i64) -> String {
    if at_ms == 0 { String::new() } else { format!("{} ({})", iso(at_ms), relative(now, at_ms)) }
}

/// The same for a time in the past: if this clock is behind the node's it is `now`, never ahead.
pub(super) fn since(now: Millis, at_ms: i64) -> String {
    when(now.max(instant(at_ms)), at_ms)
}

fn instant(at_ms: i64) -> Millis {
    u64::try_from(at_ms).unwrap_or(0)
}

/// The share of `usable` that is taken: `###.......`. It is full exactly when nothing is left, and
/// empty only when nothing is taken.
pub(super) fn bar(taken: i128, usable: i128) -> String {
    let filled = if taken >= usable {
        BAR_CELLS
    } else {
        let cells = i128::try_from(BAR_CELLS).unwrap_or_default();
        let share = usize::try_from((taken.max(0) * cells / usable).min(cells - 1)).unwrap_or_default();
        share.max(usize::from(taken > 0))
    };
    format!("{}{}", "#".repeat(filled), ".".repeat(BAR_CELLS - filled))
}

/// `ended  acme  vm-1  (replayed)`.
pub(super) fn outcome_line(outcome: &str, org: impl Display, name: impl Display, replayed: bool) -> String {
    let replayed = if replayed { "  (replayed)" } else { "" };
    format!("{outcome}  {org}  {name}{replayed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-22 08:30:00 UTC.
    const NOW: Millis = 1_795_336_200_000;
    const NOW_MS: i64 = 1_795_336_200_000;

    #[test]
    fn amounts_are_exact_in_the_unit_of_their_meter() {
        for (meter, value, shown) in [
            ("spend", 50, "$0.000050"),
            ("spend", 0, "$0.00"),
            ("spend", 12_500_000, "$12.50"),
            ("spend", 12_505_000, "$12.505000"),
            ("spend", 10_000_000_000_000_000, "$10,000,000,000.00"),
            ("spend", -1, "-$0.000001"),
            ("compute", 3_723_000, "1h 2m 3s"),
            ("compute", 3_600_250, "1h 250ms"),
            ("compute", 0, "0s"),
            ("compute", -90_000, "-1m 30s"),
            ("bytes", 1_048_576, "1,048,576 B"),
            ("bytes", 999, "999 B"),
            ("executions", 1000, "1000"),
            ("tokens", i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(amount(meter, value), shown, "{meter} {value}");
        }
    }

    #[test]
    fn a_time_is_relative_to_now_and_a_wait_is_never_shown_too_short() {
        for (distance, shown) in [
            (2_530_000, "in 42m 10s"),
            (1, "in 1s"),
            (2_529_001, "in 42m 10s"),
            (86_399_001, "in 24h"),
            (86_400_000, "in 1d"),
            (86_400_900, "in 1d"),
            (2 * 86_400_000 + 3_601_001, "in 2d 2h"),
            (0, "now"),
            (-999, "now"),
            (-1_000, "1s ago"),
            (-185_000, "3m 5s ago"),
        ] {
            assert_eq!(relative(NOW, NOW_MS + distance), shown, "{distance}");
        }
        assert_eq!((until(NOW, 0), until(NOW, 5), until(NOW, NOW_MS + 1)), ("never".into(), "now".into(), "1s".into()));
    }

    #[test]
    fn times_are_iso_8601_in_utc() {
        assert_eq!(iso(NOW_MS), "2026-11-22T08:30:00Z");
        assert_eq!(iso(NOW_MS + 7), "2026-11-22T08:30:00.007Z");
        assert_eq!(iso(i64::MAX), format!("{} ms", i64::MAX));
        assert_eq!(when(NOW, NOW_MS + 60_000), "2026-11-22T08:31:00Z (in 1m)");
        assert_eq!(when(NOW, 0), "");
        assert_eq!(since(NOW, NOW_MS - 60_000), "2026-11-22T08:29:00Z (1m ago)");
        assert_eq!(since(NOW, NOW_MS + 60_000), "2026-11-22T08:31:00Z (now)");
        assert_eq!(since(NOW, 0), "");
    }

    #[test]
    fn a_bar_is_full_only_when_nothing_is_left_and_empty_only_when_nothing_is_taken() {
        let most = i128::from(i64::MAX);
        for (shown, taken, usable) in [
            ("..........", 0, 1000),
            ("#.........", 1, 1000),
            ("#####.....", 500, 1000),
            ("#########.", 999, 1000),
            ("##########", 1000, 1000),
            ("##########", 0, 0),
            ("##########", most + most, 1),
            ("#########.", most + most - 1, most + most),
            ("..........", -5, 10),
        ] {
            assert_eq!(bar(taken, usable), shown, "{taken} of {usable}");
        }
    }
}
