//! How a limit's period runs, and the one table of named periods.
//!
//! ```text
//! aligned{len}    [floor(now/len)*len, +len)              clock hours, from the Unix epoch
//! anchored{len}   [first use, +len)                       starts when something is charged
//! rolling{len}    [floor((now-len)/g)*g, now]             trailing sum of slices of length g
//! calendar{unit}  day, week (from Monday), month, year    UTC, or as the clocks of a zone show them
//! once            from the month of its first use on      never ends
//! provider        as the billing provider says
//! ```
//!
//! A rolling window errs to the safe side: an amount leaves it at most one slice late, never early. Windows of
//! equal length, of a zone, and of a year keep counters of their own: slices end on hours of UTC, which are no borders
//! in every zone, and do not live for a year.

use std::fmt;

use chrono::DateTime;

use super::{
    calendar::{date, millis},
    zone::Zone,
};
use crate::bounds::{DAY_MS, HOUR_MS, MINUTE_MS, MINUTE_RETENTION_MS, RETENTION_SLACK_MS, SECOND_MS};

pub use super::calendar::Calendar;

/// Milliseconds since the Unix epoch, or a length in milliseconds.
pub type Millis = u64;

/// The period of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// Periods of equal length, from the Unix epoch on.
    Aligned {
        /// Milliseconds.
        len: Millis,
    },
    /// One length from the first charge; nothing runs until the next one.
    Anchored {
        /// Milliseconds.
        len: Millis,
    },
    /// The last so many milliseconds, at any instant.
    Rolling {
        /// Milliseconds.
        len: Millis,
    },
    /// A period of the calendar in UTC.
    Calendar(Calendar),
    /// The same as the clocks of a zone show it.
    Zoned {
        /// The period.
        unit: Calendar,
        /// Whose clocks.
        zone: Zone,
    },
    /// From the month of its first use on: it never ends, so nothing of it is given a second time.
    Once,
    /// The billing provider's own period. Nothing here counts it.
    Provider,
    /// What is open at the moment: it has no period.
    Concurrent,
}

/// The named rolling periods, the shortest first. This table is their only definition: adding one is
/// one line, and what is kept follows the longest.
#[rustfmt::skip]
pub const PERIODS: &[(&str, Millis)] = &[
    ("hourly", HOUR_MS),
    ("daily", DAY_MS),
    ("weekly", 7 * DAY_MS),
    ("monthly", 30 * DAY_MS),
    #[cfg(feature = "extra-period")]
    ("yearly", 365 * DAY_MS),
];

/// The period that a single, older `budget_limit` stands for.
pub const LEGACY_PERIOD: &str = "monthly";

/// Longest month, and so the longest calendar window that is a sum of slices.
const MONTH_MAX_MS: Millis = 31 * DAY_MS;

/// No window of the calendar is longer: a leap year, and what clocks are put forward and back in it.
pub const CALENDAR_MAX_MS: Millis = 367 * DAY_MS;

/// Longest window with a length: a month, or the longest named period.
pub const WINDOW_MAX_MS: Millis = longest(PERIODS, MONTH_MAX_MS);
/// Hour slices are kept this long: the longest window plus slack.
pub const HOUR_RETENTION_MS: Millis = WINDOW_MAX_MS + RETENTION_SLACK_MS;

const _: () = assert!(RETENTION_SLACK_MS > DAY_MS && MINUTE_RETENTION_MS > HOUR_MS + MINUTE_MS);
const _: () = {
    let mut index = 0;
    while index < PERIODS.len() {
        assert!(Window::Rolling { len: PERIODS[index].1 }.is_valid());
        assert!(index == 0 || PERIODS[index - 1].1 < PERIODS[index].1, "the shortest first");
        index += 1;
    }
};

const fn longest(periods: &[(&str, Millis)], least: Millis) -> Millis {
    let (mut longest, mut index) = (least, 0);
    while index < periods.len() {
        if periods[index].1 > longest {
            longest = periods[index].1;
        }
        index += 1;
    }
    longest
}

/// The line of the table that has this name.
pub fn named_period(name: &str) -> Option<(&'static str, Millis)> {
    PERIODS.iter().find(|(known, _)| *known == name).copied()
}

/// The window of a named period.
pub fn period(name: &str) -> Option<Window> {
    named_period(name).map(|(_, len)| Window::Rolling { len })
}

/// How [`Window::parse`] wants it.
pub const WINDOW_RULE: &str = "anchored/24h, aligned/1h or rolling/24h with whole s, m, h or d, of at most the longest window, \
                               calendar/day, calendar/week, calendar/month or calendar/year, these also in a zone of the \
                               IANA database as in calendar/day@America/Los_Angeles";

/// `hourly, daily, weekly, monthly`: what an error says is allowed.
pub fn period_names() -> String {
    PERIODS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Window {
    /// Lengths that can be counted exactly: whole seconds for counters, whole slices for rolling.
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Aligned { len } | Self::Anchored { len } => {
                len >= SECOND_MS && len.is_multiple_of(SECOND_MS) && len <= WINDOW_MAX_MS
            }
            Self::Rolling { len } => {
                let slice = if len <= HOUR_MS { MINUTE_MS } else { HOUR_MS };
                len >= slice && len.is_multiple_of(slice) && len <= WINDOW_MAX_MS
            }
            Self::Calendar(unit) | Self::Zoned { unit, .. } => unit.is_valid(),
            Self::Once => true,
            Self::Provider | Self::Concurrent => false,
        }
    }

    /// Length of the ledger slices this window is summed from.
    pub const fn slice(self) -> Millis {
        match self {
            Self::Rolling { len } if len <= HOUR_MS => MINUTE_MS,
            Self::Rolling { .. }
            | Self::Aligned { .. }
            | Self::Anchored { .. }
            | Self::Calendar(_)
            | Self::Zoned { .. }
            | Self::Once
            | Self::Provider
            | Self::Concurrent => HOUR_MS,
        }
    }

    /// Whether the window keeps a counter of its own instead of being a sum of slices.
    pub const fn is_counted(self) -> bool {
        matches!(
            self,
            Self::Aligned { .. }
                | Self::Anchored { .. }
                | Self::Zoned { .. }
                | Self::Calendar(Calendar::Year)
                | Self::Once
        )
    }

    /// What a plan includes in a period of its own.
    pub const fn is_of_plan(self) -> bool {
        matches!(
            self,
            Self::Calendar(Calendar::Month | Calendar::MonthFrom(_))
                | Self::Zoned { unit: Calendar::Month | Calendar::MonthFrom(_), .. }
                | Self::Once
        )
    }

    /// Whether it begins with its first use, and counts nothing from before it.
    pub const fn begins_with_use(self) -> bool {
        matches!(self, Self::Anchored { .. })
    }

    /// Length of a window that only trails behind; `None` for one that ends.
    pub const fn trailing(self) -> Option<Millis> {
        match self {
            Self::Rolling { len } => Some(len),
            Self::Aligned { .. }
            | Self::Anchored { .. }
            | Self::Calendar(_)
            | Self::Zoned { .. }
            | Self::Once
            | Self::Provider
            | Self::Concurrent => None,
        }
    }

    /// Whether it has a length, of an hour at most.
    pub const fn is_short(self) -> bool {
        matches!(self, Self::Aligned { len } | Self::Anchored { len } | Self::Rolling { len } if len <= HOUR_MS)
    }

    /// First instant that counts at `now`, inclusive. An anchored window that has not begun starts
    /// at `now`.
    pub fn start(self, now: Millis) -> Millis {
        match self {
            Self::Aligned { len } => now / len * len,
            Self::Anchored { .. } => now,
            Self::Rolling { len } => now.saturating_sub(len) / self.slice() * self.slice(),
            Self::Calendar(unit) => millis(unit.first(date(now))),
            Self::Zoned { unit, zone } => zone.begins(unit.first_in(zone, now)),
            Self::Once => millis(Calendar::Month.first(date(now))),
            Self::Provider | Self::Concurrent => now,
        }
    }

    /// First instant after the window that began at `start`; `None` = it never ends.
    pub fn end(self, start: Millis) -> Option<Millis> {
        match self {
            Self::Aligned { len } | Self::Anchored { len } => Some(start.saturating_add(len)),
            Self::Rolling { .. } | Self::Once | Self::Provider | Self::Concurrent => None,
            Self::Calendar(_) | Self::Zoned { .. } => Some(self.end_after(start, 1).unwrap_or(Millis::MAX)),
        }
    }

    /// Whether one window follows the other, used or not, without a gap.
    pub const fn follows_itself(self) -> bool {
        matches!(self, Self::Aligned { .. } | Self::Calendar(_) | Self::Zoned { .. })
    }

    /// Numbers windows that follow one another; 0 for any other.
    pub fn number(self, at: Millis) -> u64 {
        match self {
            Self::Aligned { len } => at / len,
            Self::Calendar(unit) => unit.number(unit.first(date(at))),
            Self::Zoned { unit, zone } => unit.number(unit.first_in(zone, at)),
            Self::Anchored { .. } | Self::Rolling { .. } | Self::Once | Self::Provider | Self::Concurrent => 0,
        }
    }

    /// When so many windows have ended, with the one that `at` lies in, of windows that follow one another; `None` =
    /// after all time.
    pub fn end_after(self, at: Millis, windows: u64) -> Option<Millis> {
        match self {
            Self::Aligned { len } => (at / len).checked_add(windows)?.checked_mul(len),
            Self::Calendar(unit) => unit.skip(unit.first(date(at)), windows).map(millis),
            Self::Zoned { unit, zone } => unit.skip(unit.first_in(zone, at), windows).map(|day| zone.begins(day)),
            Self::Anchored { .. } | Self::Rolling { .. } | Self::Once | Self::Provider | Self::Concurrent => None,
        }
    }

    /// Where it starts at `now`, and for how long that stays so. Not for one that begins with its use.
    pub fn span(self, now: Millis) -> Span {
        let (start, ends_at) = (self.start(now), self.end(self.start(now)));
        let (since, until) = match self.trailing() {
            // The first slice of all is there from the beginning.
            Some(_) if start == 0 => (0, self.slice_leaves_at(start)),
            Some(len) => (start.saturating_add(len), self.slice_leaves_at(start)),
            None => (start, ends_at),
        };
        Span { start, ends_at, since, until: until.unwrap_or(since) }
    }

    /// When the slice that begins at `slice_start` stops counting in a rolling window: the first
    /// `now` whose window starts after it.
    pub fn slice_leaves_at(self, slice_start: Millis) -> Option<Millis> {
        self.trailing().map(|len| slice_start.saturating_add(self.slice()).saturating_add(len))
    }

    /// The same window as the clocks of a zone show it; `None` is UTC. Only windows of the calendar have one.
    pub fn in_zone(self, zone: Option<Zone>) -> Option<Self> {
        let Self::Calendar(unit) = self else { return None };
        Some(zone.map_or(self, |zone| Self::Zoned { unit, zone }))
    }

    /// Reads what [`fmt::Display`] writes of a window that can be counted, in any units: `anchored/24h`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((window, zone)) = text.split_once('@') {
            return Self::parse(window)?.in_zone(Zone::parse(zone)?);
        }
        let (kind, period) = text.split_once('/')?;
        let window = match (kind, period) {
            ("aligned", len) => Self::Aligned { len: Length::parse(len)?.0 },
            ("anchored", len) => Self::Anchored { len: Length::parse(len)?.0 },
            ("rolling", len) => Self::Rolling { len: Length::parse(len)?.0 },
            ("calendar", "day") => Self::Calendar(Calendar::Day),
            ("calendar", "week") => Self::Calendar(Calendar::Week),
            ("calendar", "year") => Self::Calendar(Calendar::Year),
            ("calendar", month) => Self::Calendar(match month.strip_prefix("month")? {
                "" => Calendar::Month,
                day => Calendar::MonthFrom(day.strip_prefix('/')?.parse().ok()?),
            }),
            _ => return None,
        };
        window.is_valid().then_some(window)
    }

    /// `hourly` … where the window is a named period.
    pub fn period(self) -> Option<&'static str> {
        let Self::Rolling { len } = self else { return None };
        PERIODS.iter().find(|(_, period)| *period == len).map(|(name, _)| *name)
    }
}

/// Start of the month of UTC that `at` is in.
pub fn month(at: Millis) -> Millis {
    Window::Calendar(Calendar::Month).start(at)
}

/// First instant after that month.
pub fn month_end(at: Millis) -> Millis {
    let window = Window::Calendar(Calendar::Month);
    window.end(window.start(at)).unwrap_or(Millis::MAX)
}

/// Where a window starts, and for how long that stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First instant that counts.
    pub start: Millis,
    /// First instant after the window; a rolling one never ends.
    pub ends_at: Option<Millis>,
    since: Millis,
    until: Millis,
}

impl Span {
    /// Whether the window starts there at `now` as well.
    pub fn is_at(self, now: Millis) -> bool {
        self.since <= now && now < self.until
    }
}

/// `2026-11-22T09:00:00Z`: the first whole second that is not before.
pub fn iso(at: Millis) -> String {
    let time = i64::try_from(at.div_ceil(SECOND_MS)).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| at.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Decimal digits and nothing else: `parse` alone would take a sign.
pub fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

const UNITS: [(Millis, &str); 4] = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")];

/// `1h`, `30d`, `90s`: the largest unit that fits exactly.
#[derive(Debug, Clone, Copy)]
pub struct Length(pub Millis);

impl Length {
    /// A whole number of one unit; [`fmt::Display`] writes the largest that fits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let (len, _) = UNITS.iter().find(|(_, name)| *name == unit)?;
        number.parse::<Millis>().ok()?.checked_mul(*len).map(Self)
    }

    /// The same, or milliseconds: `250ms`.
    pub fn parse_millis(text: &str) -> Option<Self> {
        text.strip_suffix("ms").map_or_else(|| Self::parse(text), |number| digits(number).map(Self))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in UNITS {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aligned { len } => write!(f, "aligned/{}", Length(*len)),
            Self::Anchored { len } => write!(f, "anchored/{}", Length(*len)),
            Self::Rolling { len } => write!(f, "rolling/{}", Length(*len)),
            Self::Calendar(unit) => write!(f, "calendar/{unit}"),
            Self::Zoned { unit, zone } => write!(f, "calendar/{unit}@{zone}"),
            Self::Once => f.write_str("once"),
            Self::Provider => f.write_str("provider"),
            Self::Concurrent => f.write_str("concurrent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // 2026-11-22 08:30:00 UTC, a Sunday.
    const NOW: Millis = 1_795_336_200_000;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap().unwrap()
    }

    /// The periods of a day in a zone, one after the other, from that of `at` on.
    fn days(name: &str, at: &str, count: usize) -> Vec<(String, Millis)> {
        let window = Window::Zoned { unit: Calendar::Day, zone: zone(name) };
        let at = DateTime::parse_from_rfc3339(at).unwrap().timestamp_millis().try_into().unwrap();
        let next = |start: &Millis| window.end(*start);
        let starts: Vec<_> = std::iter::successors(Some(window.start(at)), next).take(count + 1).collect();
        starts.windows(2).map(|pair| (iso(pair[0]), (pair[1] - pair[0]) / MINUTE_MS)).collect()
    }

    #[test]
    fn a_day_in_a_zone_has_as_many_hours_as_its_clocks_show() {
        for (name, at, expected) in [
            ("America/Los_Angeles", "2026-03-08T12:00:00Z", [("2026-03-08 08:00:00", 23), ("2026-03-09 07:00:00", 24)]),
            ("America/Los_Angeles", "2026-11-01T12:00:00Z", [("2026-11-01 07:00:00", 25), ("2026-11-02 08:00:00", 24)]),
            ("Asia/Kolkata", "2026-03-08T12:00:00Z", [("2026-03-07 18:30:00", 24), ("2026-03-08 18:30:00", 24)]),
            ("America/Sao_Paulo", "2018-11-04T12:00:00Z", [("2018-11-04 03:00:00", 23), ("2018-11-05 02:00:00", 24)]),
            ("America/Sao_Paulo", "2018-02-17T12:00:00Z", [("2018-02-17 02:00:00", 25), ("2018-02-18 03:00:00", 24)]),
            // 00:01 was followed by 23:01 of the day before.
            ("America/St_Johns", "2006-10-29T03:00:00Z", [("2006-10-29 02:30:00", 25), ("2006-10-30 03:30:00", 24)]),
        ] {
            let expected = expected.map(|(start, hours)| (start.to_owned(), hours * 60));
            assert_eq!(days(name, at, 2), expected, "R-BUD-4: {name}");
        }
        let day_left_out = days("Pacific/Apia", "2011-12-29T20:00:00Z", 2);
        assert_eq!(day_left_out[1], ("2011-12-30 10:00:00".to_owned(), 24 * 60), "30 December was left out");
    }

    #[test]
    fn weeks_months_and_years_in_a_zone_begin_with_their_first_day() {
        // 2026-11-22 00:30 in Los Angeles, a Sunday; Monday in Auckland since 11:00 UTC.
        for (unit, name, start, end) in [
            (Calendar::Week, "America/Los_Angeles", "2026-11-16 08:00:00", "2026-11-23 08:00:00"),
            (Calendar::Month, "America/Los_Angeles", "2026-11-01 07:00:00", "2026-12-01 08:00:00"),
            (Calendar::Year, "America/Los_Angeles", "2026-01-01 08:00:00", "2027-01-01 08:00:00"),
            (Calendar::MonthFrom(22), "America/Los_Angeles", "2026-11-22 08:00:00", "2026-12-22 08:00:00"),
            (Calendar::MonthFrom(22), "America/Anchorage", "2026-10-22 08:00:00", "2026-11-22 09:00:00"),
            (Calendar::Day, "Pacific/Auckland", "2026-11-21 11:00:00", "2026-11-22 11:00:00"),
        ] {
            let window = Window::Zoned { unit, zone: zone(name) };
            let began = window.start(NOW);
            assert_eq!((iso(began), iso(window.end(began).unwrap())), (start.into(), end.into()), "{window}");
        }
    }

    proptest! {
        /// Against a list of days, made by asking every half minute what the clocks show.
        #[test]
        fn days_in_any_zone_are_those_that_its_clocks_show(
            name in prop::sample::select(vec![
                "America/Los_Angeles", "America/Sao_Paulo", "America/St_Johns", "America/Havana", "Africa/Cairo",
                "Africa/Monrovia", "Asia/Beirut", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Amman",
                "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kwajalein", "Atlantic/Azores",
            ]),
            hours in 48..550_000_u64,
            within in 0..HOUR_MS,
        ) {
            const STEP: u32 = 30_000;
            let (zone, now) = (zone(name), hours * HOUR_MS + within);
            let window = Window::Zoned { unit: Calendar::Day, zone };
            // Every instant at which a date is shown that was not shown before.
            let from = (now - 50 * HOUR_MS) / Millis::from(STEP) * Millis::from(STEP);
            let mut latest = zone.date(from);
            let mut begun = Vec::new();
            for at in (from..now + 50 * HOUR_MS).step_by(STEP as usize) {
                if zone.date(at) > latest {
                    latest = zone.date(at);
                    begun.push(at);
                }
            }
            let next = begun.iter().position(|at| *at > now).unwrap();
            let start = window.start(now);
            prop_assert_eq!(iso(start), iso(begun[next - 1]), "R-BUD-4: {} {}", name, iso(now));
            prop_assert_eq!(window.end(start).map(iso), Some(iso(begun[next])));
            let span = window.span(now);
            prop_assert!(span.is_at(start) && span.is_at(begun[next] - 1) && !span.is_at(begun[next]));
        }
    }

    fn iso(at: Millis) -> String {
        DateTime::from_timestamp_millis(at.try_into().unwrap()).unwrap().format("%F %T").to_string()
    }

    #[test]
    fn calendar_windows_follow_utc_and_weeks_start_on_monday() {
        for (unit, start, end) in [
            (Calendar::Day, "2026-11-22 00:00:00", "2026-11-23 00:00:00"),
            (Calendar::Week, "2026-11-16 00:00:00", "2026-11-23 00:00:00"),
            (Calendar::Month, "2026-11-01 00:00:00", "2026-12-01 00:00:00"),
            (Calendar::Year, "2026-01-01 00:00:00", "2027-01-01 00:00:00"),
        ] {
            let window = Window::Calendar(unit);
            let began = window.start(NOW);
            assert_eq!((iso(began), iso(window.end(began).unwrap())), (start.into(), end.into()));
            assert_eq!(window.start(window.end(began).unwrap() - 1), began);
        }
    }

    #[test]
    fn a_span_holds_exactly_as_long_as_the_window_starts_there() {
        let windows = [
            Window::Rolling { len: HOUR_MS },
            Window::Rolling { len: 7 * DAY_MS },
            Window::Aligned { len: HOUR_MS },
            Window::Calendar(Calendar::Day),
            Window::Calendar(Calendar::MonthFrom(31)),
        ];
        let early = [(Window::Rolling { len: HOUR_MS }, 90_000)];
        let now = [NOW, NOW + 59 * MINUTE_MS, NOW + 40 * DAY_MS];
        let cases = windows.into_iter().flat_map(|window| now.map(|now| (window, now)));
        for (window, now) in cases.chain(early) {
            let span = window.span(now);
            assert_eq!(span.start, window.start(now));
            let borders = [span.since, span.until - 1, span.until, span.since.saturating_sub(1), now];
            for at in borders {
                assert_eq!(span.is_at(at), window.start(at) == span.start, "{window} {now} {at}");
            }
        }
    }

    #[test]
    fn a_billing_month_begins_on_its_day_or_the_last_of_a_shorter_month() {
        for (from, start, end) in [
            (1, "2026-11-01 00:00:00", "2026-12-01 00:00:00"),
            (22, "2026-11-22 00:00:00", "2026-12-22 00:00:00"),
            (23, "2026-10-23 00:00:00", "2026-11-23 00:00:00"),
            (31, "2026-10-31 00:00:00", "2026-11-30 00:00:00"),
        ] {
            let window = Window::Calendar(Calendar::MonthFrom(from));
            let began = window.start(NOW);
            assert_eq!((iso(began), iso(window.end(began).unwrap())), (start.into(), end.into()), "{from}");
            let next = window.end(began).unwrap();
            assert_eq!((window.start(next), window.start(next - 1)), (next, began), "periods meet");
        }
    }

    #[test]
    fn an_amount_leaves_a_rolling_window_at_most_one_slice_late_and_never_early() {
        for len in [MINUTE_MS, HOUR_MS, DAY_MS, 30 * DAY_MS] {
            let window = Window::Rolling { len };
            let slice_start = NOW / window.slice() * window.slice();
            let gone = window.slice_leaves_at(slice_start).unwrap();
            assert!(window.start(gone - 1) <= slice_start, "counted until then");
            assert!(window.start(gone) > slice_start, "and not from then on");
            assert!(gone - NOW >= len && gone - NOW <= len + window.slice());
        }
    }

    #[test]
    fn a_window_is_read_as_it_is_written_in_any_unit() {
        let of_length =
            [Window::Aligned { len: HOUR_MS }, Window::Anchored { len: DAY_MS }, Window::Rolling { len: HOUR_MS }];
        let units = [Calendar::Day, Calendar::Week, Calendar::Month, Calendar::MonthFrom(31), Calendar::Year];
        let in_zone = units.map(|unit| Window::Zoned { unit, zone: zone("America/Los_Angeles") });
        for window in of_length.into_iter().chain(units.map(Window::Calendar)).chain(in_zone) {
            assert_eq!(Window::parse(&window.to_string()), Some(window));
        }
        assert_eq!(Window::parse("anchored/24h"), Some(Window::Anchored { len: DAY_MS }));
        assert_eq!(Window::parse("calendar/day@UTC"), Some(Window::Calendar(Calendar::Day)), "the same window");
        assert_eq!(Window::parse("aligned/90s"), Some(Window::Aligned { len: 90_000 }));
        for bad in [
            "",
            "anchored",
            "anchored/",
            "anchored/24",
            "anchored/1.5h",
            "anchored/-1h",
            "anchored/h",
            "daily",
            "anchored/1000d",
            "anchored/99999999999999999999d",
            "rolling/90m",
            "calendar/month/32",
            "calendar/month/",
            "calendar/decade",
            "calendar/day@",
            "calendar/day@Mars",
            "calendar/day@UTC@UTC",
            "anchored/24h@Europe/Berlin",
            "@Europe/Berlin",
            "once",
            "provider",
            "concurrent",
            "aligned/0s",
            "anchored/1d ",
        ] {
            assert_eq!(Window::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn periods_nest() {
        let starts: Vec<_> = PERIODS.iter().map(|(_, len)| Window::Rolling { len: *len }.start(NOW)).collect();
        assert!(starts.is_sorted_by(|a, b| a >= b), "R-BUD-3: {starts:?}");
    }

    #[test]
    fn windows_before_the_epoch_of_their_length_start_at_zero() {
        assert_eq!(Window::Rolling { len: DAY_MS }.start(5), 0);
        assert_eq!(Window::Calendar(Calendar::Week).start(5), 0);
    }
}
