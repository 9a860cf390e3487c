//! Zones of the IANA database, as far as windows need them: on which day an instant lies, and when a day begins.
//!
//! ```text
//! a day begins    at the first instant at which the clocks of the zone show its date
//! 23 or 25 h      where the clocks are put forward or back in it
//! no midnight     put forward over it: the day begins when the clocks show the first minute of it
//! two midnights   put back over it: the day begins with the first, and does not end when the date goes back
//! ```

use std::{cmp::Ordering, fmt};

use chrono::{DateTime, NaiveDate, NaiveTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::window::Millis;
use crate::bounds::{DAY_MS, SECOND_MS};

/// Clocks are never further from UTC than this.
const OFFSET_MAX_MS: Millis = DAY_MS;

/// A zone that is not UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

impl Zone {
    /// The zone of an IANA name such as `America/Los_Angeles`; `Some(None)` is UTC, `None` no zone.
    pub fn parse(name: &str) -> Option<Option<Self>> {
        let zone: Tz = name.parse().ok()?;
        Some((!matches!(zone, Tz::UTC | Tz::Etc__UTC)).then_some(Self(zone)))
    }

    /// Its IANA name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The date that clocks in the zone show.
    pub(super) fn date(self, at: Millis) -> NaiveDate {
        let utc = i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::UNIX_EPOCH);
        let offset = self.0.offset_from_utc_datetime(&utc.naive_utc()).fix();
        utc.naive_utc().checked_add_offset(offset).unwrap_or(utc.naive_utc()).date()
    }

    /// The first instant at which clocks in the zone show `day`; of a day that is left out, the next one's.
    pub(super) fn begins(self, day: NaiveDate) -> Millis {
        let midnight = day.and_time(NaiveTime::MIN);
        let at = |utc: DateTime<Tz>| u64::try_from(utc.timestamp_millis()).ok().filter(|at| self.date(*at) >= day);
        let shown = self.0.from_local_datetime(&midnight);
        let known = shown.earliest().and_then(at).or_else(|| shown.latest().and_then(at));
        known.unwrap_or_else(|| self.first_of(day, u64::try_from(midnight.and_utc().timestamp_millis()).unwrap_or(0)))
    }

    /// The same where no clock shows its midnight, which in UTC is at `near`.
    fn first_of(self, day: NaiveDate, near: Millis) -> Millis {
        let (mut before, mut after) = (near.saturating_sub(OFFSET_MAX_MS), near.saturating_add(OFFSET_MAX_MS));
        while after.saturating_sub(before) > SECOND_MS {
            let middle = before + (after - before) / 2 / SECOND_MS * SECOND_MS;
            let middle = middle.max(before + SECOND_MS);
            if self.date(middle) >= day { after = middle } else { before = middle }
        }
        after
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

#[cfg(test)]
impl Zone {
    /// Five hours and a half before UTC, and no daylight saving.
    pub(in crate::domain) const KOLKATA: Self = Self(Tz::Asia__Kolkata);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap().unwrap()
    }

    fn begins(name: &str, day: &str) -> String {
        let at = zone(name).begins(day.parse().unwrap());
        DateTime::from_timestamp_millis(at.try_into().unwrap()).unwrap().format("%F %T").to_string()
    }

    #[test]
    fn a_day_begins_with_the_first_clock_that_shows_it() {
        for (name, day, at) in [
            ("America/Los_Angeles", "2026-01-15", "2026-01-15 08:00:00"),
            ("America/Los_Angeles", "2026-07-15", "2026-07-15 07:00:00"),
            ("Asia/Kolkata", "2026-07-15", "2026-07-14 18:30:00"),
            ("Asia/Kathmandu", "2026-07-15", "2026-07-14 18:15:00"),
            // No midnight: the clocks went from 23:59:59 to 01:00.
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04 03:00:00"),
            ("Africa/Cairo", "2024-04-26", "2024-04-25 22:00:00"),
            ("Asia/Beirut", "2022-03-27", "2022-03-26 22:00:00"),
            // Two: from 01:00 back to 00:00, and from 00:01 back to the day before.
            ("America/Havana", "2026-11-01", "2026-11-01 04:00:00"),
            ("America/St_Johns", "2006-10-29", "2006-10-29 02:30:00"),
            // Back from midnight to 23:00: midnight comes once, an hour later.
            ("America/Sao_Paulo", "2018-02-18", "2018-02-18 03:00:00"),
            // A day that was left out begins with the next.
            ("Pacific/Apia", "2011-12-30", "2011-12-30 10:00:00"),
            ("Pacific/Apia", "2011-12-31", "2011-12-30 10:00:00"),
        ] {
            assert_eq!(begins(name, day), at, "{name} {day}");
        }
    }

    #[test]
    fn utc_is_no_zone_and_names_are_those_of_the_database() {
        for utc in ["UTC", "Etc/UTC"] {
            assert_eq!(Zone::parse(utc), Some(None));
        }
        for bad in ["", "utc", "Mars", "America/Los Angeles", "america/los_angeles", "+01:00", "PST8", "Europe"] {
            assert_eq!(Zone::parse(bad), None, "{bad}");
        }
        assert_eq!(zone("Europe/Berlin").to_string(), "Europe/Berlin");
    }
}
