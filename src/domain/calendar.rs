//! Periods of the calendar: on which day each begins, and where that is in time.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime};

use super::{window::Millis, zone::Zone};

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Calendar {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first day.
    Month,
    /// A month that begins on this day, 1 to 31; on the last day of a month that is shorter.
    MonthFrom(u8),
    /// From the first of January.
    Year,
}

impl Calendar {
    pub(super) const fn is_valid(self) -> bool {
        match self {
            Self::MonthFrom(day) => 1 <= day && day <= 31,
            Self::Day | Self::Week | Self::Month | Self::Year => true,
        }
    }

    /// First day of the period that `day` is in.
    pub(super) fn first(self, day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => day,
            Self::Week => {
                day.checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday()))).unwrap_or(day)
            }
            Self::Month => day.with_day(1).unwrap_or(day),
            Self::MonthFrom(from) => {
                let this = on_day(day, from);
                if this <= day { this } else { on_day(day.checked_sub_months(Months::new(1)).unwrap_or(day), from) }
            }
            Self::Year => day.with_ordinal(1).unwrap_or(day),
        }
    }

    /// First day of the period that is so many after the one that begins on `first`; `None` = after all time.
    pub(super) fn skip(self, first: NaiveDate, periods: u64) -> Option<NaiveDate> {
        let months = |each: u64| u32::try_from(periods.checked_mul(each)?).ok().map(Months::new);
        match self {
            Self::Day => first.checked_add_days(Days::new(periods)),
            Self::Week => first.checked_add_days(Days::new(periods.checked_mul(7)?)),
            Self::Month => first.checked_add_months(months(1)?),
            Self::MonthFrom(from) => first.checked_add_months(months(1)?).map(|first| on_day(first, from)),
            Self::Year => first.checked_add_months(months(12)?),
        }
    }

    /// Numbers the periods, one after the other, by their first days.
    pub(super) fn number(self, first: NaiveDate) -> u64 {
        let number = match self {
            Self::Day => first.num_days_from_ce(),
            Self::Week => first.num_days_from_ce() / 7,
            Self::Month | Self::MonthFrom(_) => {
                let month = i32::try_from(first.month0()).unwrap_or(0);
                first.year().saturating_mul(12).saturating_add(month)
            }
            Self::Year => first.year(),
        };
        u64::try_from(number).unwrap_or(0)
    }

    /// First day of the period that is on at `now`. Where clocks go back over midnight they show the day before
    /// again, whose period is over.
    pub(super) fn first_in(self, zone: Zone, now: Millis) -> NaiveDate {
        let first = self.first(zone.date(now));
        self.skip(first, 1).filter(|next| zone.begins(*next) <= now).unwrap_or(first)
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("day"),
            Self::Week => f.write_str("week"),
            Self::Month => f.write_str("month"),
            Self::MonthFrom(day) => write!(f, "month/{day}"),
            Self::Year => f.write_str("year"),
        }
    }
}

/// That day of the month of `within`, or its last one.
fn on_day(within: NaiveDate, day: u8) -> NaiveDate {
    (1..=u32::from(day)).rev().find_map(|day| within.with_day(day)).unwrap_or(within)
}

/// The date in UTC.
pub(super) fn date(at: Millis) -> NaiveDate {
    i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::UNIX_EPOCH).date_naive()
}

/// Midnight UTC.
pub(super) fn millis(day: NaiveDate) -> Millis {
    u64::try_from(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()).unwrap_or(0)
}
