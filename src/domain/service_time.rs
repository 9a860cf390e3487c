//! Service time: the one clock every window, expiry and purge runs on. It never goes backwards.
//!
//! ```text
//! service = max(mark, min(wall, mark + elapsed + 60 s))
//! ```
//!
//! The mark is where service time stood, on disk with every commit group, when a jump is believed and
//! when a node stops. A wall clock that steps back freezes service time until the wall has caught up,
//! so a spent window does not reopen. One that jumps ahead by more than a minute beyond what really
//! elapsed is not believed: service time runs on by elapsed time, an alarm is raised and nothing is
//! purged, until the jump has stood for an hour or an operator confirms it. Elapsed time is monotonic; across a restart of the process
//! it is the machine's uptime, and after a reboot, when nobody knows, anything up to the ledger's
//! retention is believed.

use super::window::{Length, Millis};
use crate::bounds::{CLOCK_AHEAD_MAX_MS, CLOCK_PROOF_MS, CLOCK_REBOOT_STEP_MS, CLOCK_STEP_MS, SECOND_MS};

/// Where service time stood, and on which boot of the machine that was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClockMark {
    /// Milliseconds since the epoch.
    pub service: Millis,
    /// Names the boot; empty where the machine does not tell.
    pub boot_id: String,
    /// Milliseconds since that boot, suspended time included.
    pub uptime: Millis,
}

/// What the machine's clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the epoch, by the wall clock.
    pub wall: Millis,
    /// Milliseconds on a clock that only goes forward.
    pub elapsed: Millis,
}

/// How the wall clock stands to service time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockState {
    /// Service time follows the wall clock.
    Steady,
    /// The wall is this far behind service time, which stands still.
    Behind(Millis),
    /// The wall jumped this far ahead and is not believed yet.
    Ahead(Millis),
}

impl std::fmt::Display for ClockState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Behind(by) => {
                write!(f, "the wall clock is {} behind; service time stands still", Length(*by / SECOND_MS * SECOND_MS))
            }
            Self::Ahead(by) => {
                let by = Length(*by / SECOND_MS * SECOND_MS);
                write!(f, "the wall clock is {by} ahead and not believed yet; nothing is purged")
            }
        }
    }
}

/// The mark is further ahead of the wall than any drift explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkFromTheFuture {
    /// Where service time stood, in milliseconds since the epoch.
    pub mark: Millis,
    /// The wall clock, in milliseconds since the epoch.
    pub wall: Millis,
}

/// Service time as a state: readings of the clocks in, the time out.
#[derive(Debug, Clone)]
pub struct ServiceTime {
    service: Millis,
    last: Reading,
    /// When an unbelieved jump was first seen, and by how much the wall was ahead then.
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Millis,
    lead: Millis,
}

impl ServiceTime {
    /// Resumes from the stored mark. `now_boot` and `now_uptime` are the machine's at `reading`.
    pub fn resume(
        mark: Option<&ClockMark>,
        reading: Reading,
        now_boot: &str,
        now_uptime: Millis,
    ) -> Result<Self, MarkFromTheFuture> {
        let Some(mark) = mark else {
            return Ok(Self { service: reading.wall, last: reading, doubt: None });
        };
        if mark.service > reading.wall.saturating_add(CLOCK_AHEAD_MAX_MS) {
            return Err(MarkFromTheFuture { mark: mark.service, wall: reading.wall });
        }
        let same_boot = !now_boot.is_empty() && mark.boot_id == now_boot && now_uptime >= mark.uptime;
        let passed = if same_boot { now_uptime - mark.uptime } else { CLOCK_REBOOT_STEP_MS };
        let mut time = Self { service: mark.service, last: reading, doubt: None };
        time.advance(reading.wall, if same_boot { passed } else { 0 }, passed, reading.elapsed);
        Ok(time)
    }

    /// Service time at `reading`.
    pub fn at(&mut self, reading: Reading) -> Millis {
        let passed = reading.elapsed.saturating_sub(self.last.elapsed);
        self.advance(reading.wall, passed, passed, reading.elapsed);
        self.last = reading;
        self.service
    }

    /// `passed` really went by; up to `believed` may have.
    fn advance(&mut self, wall: Millis, passed: Millis, believed: Millis, elapsed: Millis) {
        let reach = self.service.saturating_add(believed).saturating_add(CLOCK_STEP_MS);
        if wall <= reach {
            self.doubt = None;
            self.service = self.service.max(wall);
            return;
        }
        self.service = self.service.saturating_add(passed);
        let lead = wall - self.service;
        match self.doubt {
            Some(doubt) if lead.abs_diff(doubt.lead) <= CLOCK_STEP_MS => {
                if elapsed.saturating_sub(doubt.since) >= CLOCK_PROOF_MS {
                    self.service = wall;
                    self.doubt = None;
                }
            }
            _ => self.doubt = Some(Doubt { since: elapsed, lead }),
        }
    }

    /// Believes the wall at once: an operator has confirmed it.
    pub fn confirm(&mut self) {
        self.service = self.service.max(self.last.wall);
        self.doubt = None;
    }

    /// How the wall clock stood to service time at the last reading.
    pub fn state(&self) -> ClockState {
        match self.doubt {
            Some(_) => ClockState::Ahead(self.last.wall.saturating_sub(self.service)),
            None if self.last.wall < self.service => ClockState::Behind(self.service - self.last.wall),
            None => ClockState::Steady,
        }
    }

    /// Nothing is removed by a clock that is not believed.
    pub fn may_purge(&self) -> bool {
        self.doubt.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{DAY_MS, HOUR_MS, MINUTE_MS};

    const T0: Millis = 495_000 * HOUR_MS;

    fn started() -> ServiceTime {
        ServiceTime::resume(None, Reading { wall: T0, elapsed: 0 }, "boot", 0).unwrap()
    }

    fn mark(service: Millis, uptime: Millis) -> ClockMark {
        ClockMark { service, boot_id: "boot".into(), uptime }
    }

    #[test]
    fn it_follows_the_wall_and_never_steps_back() {
        let mut time = started();
        assert_eq!(time.at(Reading { wall: T0 + 500, elapsed: 400 }), T0 + 500);
        assert_eq!(time.at(Reading { wall: T0 - HOUR_MS, elapsed: 900 }), T0 + 500);
        assert_eq!(time.state(), ClockState::Behind(HOUR_MS + 500));
        assert_eq!(time.at(Reading { wall: T0 + 501, elapsed: 901 }), T0 + 501);
        assert_eq!(time.state(), ClockState::Steady);
    }

    #[test]
    fn a_year_ahead_is_not_believed_and_leaves_no_trace_when_set_right() {
        let mut time = started();
        let year = 365 * DAY_MS;
        assert_eq!(time.at(Reading { wall: T0 + year, elapsed: 1_000 }), T0 + 1_000);
        assert!(!time.may_purge());
        assert_eq!(time.at(Reading { wall: T0 + year + MINUTE_MS, elapsed: 61_000 }), T0 + 61_000);
        assert_eq!(time.at(Reading { wall: T0 + 62_000, elapsed: 62_000 }), T0 + 62_000);
        assert!(time.may_purge());
    }

    #[test]
    fn a_jump_is_believed_once_it_has_stood_an_hour_or_is_confirmed() {
        let jump = |elapsed| Reading { wall: T0 + DAY_MS + elapsed, elapsed };
        let mut time = started();
        for minute in 1..=60 {
            assert!(time.at(jump(minute * MINUTE_MS)) < T0 + DAY_MS, "minute {minute}");
        }
        assert_eq!(time.at(jump(61 * MINUTE_MS)), T0 + DAY_MS + 61 * MINUTE_MS);
        let mut time = started();
        time.at(jump(1));
        time.confirm();
        assert_eq!(time.at(jump(2)), T0 + DAY_MS + 2);
    }

    #[test]
    fn across_a_restart_uptime_tells_what_elapsed() {
        let resume = |wall, uptime| {
            let reading = Reading { wall, elapsed: 0 };
            ServiceTime::resume(Some(&mark(T0, 1_000)), reading, "boot", uptime).map(|mut time| time.at(reading))
        };
        assert_eq!(resume(T0 + HOUR_MS, 1_000 + HOUR_MS), Ok(T0 + HOUR_MS), "an hour down");
        assert_eq!(resume(T0 - HOUR_MS, 2_000), Ok(T0), "a step back does not reopen a window");
        assert_eq!(resume(T0 + 365 * DAY_MS, 2_000), Ok(T0 + 1_000), "a jump is not believed");
        assert_eq!(resume(T0 - 26 * HOUR_MS, 2_000), Err(MarkFromTheFuture { mark: T0, wall: T0 - 26 * HOUR_MS }));
    }

    #[test]
    fn after_a_reboot_a_month_is_believed_and_a_year_is_not() {
        let resume = |wall| {
            let reading = Reading { wall, elapsed: 0 };
            ServiceTime::resume(Some(&mark(T0, 1_000)), reading, "another", 5).map(|mut time| time.at(reading))
        };
        assert_eq!(resume(T0 + 30 * DAY_MS), Ok(T0 + 30 * DAY_MS));
        assert_eq!(resume(T0 + 365 * DAY_MS), Ok(T0));
    }
}
