//! Service time: the one clock every window and purge runs on. It never goes backwards. Beside it
//! runs [lease time](super::lease), by which leases end.
//!
//! ```text
//! service = max(mark, min(wall, mark + passed + 60 s))
//! lease   = mark + what the node was running for
//! ```
//!
//! The mark is where both stood, on disk with every commit group, every few seconds, and when a node
//! stops. A wall clock that steps back freezes service time until the wall has caught up, so a spent
//! window does not reopen. One that jumps ahead by more than a minute beyond what really passed is not
//! believed: service time runs on by what passed, an alarm is raised and nothing is purged, until the
//! jump has stood for an hour or an operator confirms it. What passed is the machine's uptime, over a
//! restart of the process and over a suspension of the machine, and after a reboot, when nobody knows,
//! anything up to the ledger's retention is believed.

use super::{
    lease::{LeaseTime, Now},
    window::{Length, Millis},
};
use crate::bounds::{
    CLOCK_AHEAD_MAX_MS, CLOCK_PROOF_MS, CLOCK_REBOOT_STEP_MS, CLOCK_SHOWN_MS, CLOCK_STEP_MS, SECOND_MS,
};

/// Where the clocks of the node stood when it was last known to be up, and on which boot of the machine
/// that was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClockMark {
    /// Service time, in milliseconds since the epoch.
    pub service: Millis,
    /// Lease time.
    pub lease: LeaseTime,
    /// All absences of the node up to then, in milliseconds.
    pub absent: Millis,
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
    /// Milliseconds for which the machine has run since an instant of its own, suspended time left out.
    pub ran: Millis,
    /// Milliseconds since boot, suspended time included.
    pub uptime: Millis,
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

impl ClockState {
    /// Within a step of the wall is drift, not an alarm.
    pub fn is_alarm(self) -> bool {
        match self {
            Self::Steady => false,
            Self::Behind(by) => by > CLOCK_STEP_MS,
            Self::Ahead(_) => true,
        }
    }

    /// For how long service time will stand still.
    pub fn behind(self) -> Millis {
        if let Self::Behind(by) = self { by } else { 0 }
    }
}

impl std::fmt::Display for ClockState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Behind(by) => {
                let length = Length(*by / SECOND_MS * SECOND_MS);
                write!(f, "the wall clock is {length} behind; service time, and with it every window, stands still")?;
                if self.is_alarm() {
                    f.write_str(": if the wall clock is right, stop the node and run `tollgate fsck --set-clock`")?;
                }
                Ok(())
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

/// The clocks as a state: readings of the machine in, service time and lease time out.
#[derive(Debug, Clone)]
pub struct ServiceTime {
    service: Millis,
    /// Lease time and absences at the first reading, from which both are counted.
    lease: LeaseTime,
    absent: Millis,
    first: Reading,
    last: Reading,
    /// As [`Now::ahead`]. Two clocks that are read one after the other differ by some milliseconds from reading to
    /// reading: what is shown of a lease is not to.
    ahead: i64,
    /// For how long the machine was suspended since the first reading.
    suspended: Millis,
    /// When an unbelieved jump was first seen, and by how much the wall was ahead then.
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// As [`Reading::ran`].
    since: Millis,
    lead: Millis,
}

impl ServiceTime {
    /// Resumes from the stored mark, on the boot that `now_boot` names.
    pub fn resume(mark: Option<&ClockMark>, reading: Reading, now_boot: &str) -> Result<Self, MarkFromTheFuture> {
        let begun = Self {
            service: reading.wall,
            lease: LeaseTime(reading.wall),
            absent: 0,
            first: reading,
            last: reading,
            ahead: 0,
            suspended: 0,
            doubt: None,
        };
        let Some(mark) = mark else { return Ok(begun) };
        if mark.service > reading.wall.saturating_add(CLOCK_AHEAD_MAX_MS) {
            return Err(MarkFromTheFuture { mark: mark.service, wall: reading.wall });
        }
        let same_boot = !now_boot.is_empty() && mark.boot_id == now_boot && reading.uptime >= mark.uptime;
        let passed = if same_boot { Some(reading.uptime - mark.uptime) } else { None };
        let mut time = Self { service: mark.service, lease: mark.lease, ..begun };
        time.advance(passed.unwrap_or(0), passed.unwrap_or(CLOCK_REBOOT_STEP_MS));
        // After a reboot nobody knows better than the clock.
        let away = passed.unwrap_or(time.service - mark.service);
        time.absent = mark.absent.saturating_add(away);
        Ok(time)
    }

    /// The clocks at `reading`.
    pub fn at(&mut self, reading: Reading) -> Now {
        let passed = reading.uptime.saturating_sub(self.last.uptime);
        self.last = reading;
        self.advance(passed, passed);
        let ran = reading.ran.saturating_sub(self.first.ran);
        let suspended = reading.uptime.saturating_sub(self.first.uptime).saturating_sub(ran);
        let (wall, lease) = (self.service.min(reading.wall), self.lease.after(ran));
        let ahead = i64::try_from(i128::from(wall) - i128::from(lease.0)).unwrap_or(0);
        if self.ahead.abs_diff(ahead) > CLOCK_SHOWN_MS {
            self.ahead = ahead;
        }
        // Less is the time between two readings of one instant.
        if suspended.saturating_sub(self.suspended) >= SECOND_MS {
            self.suspended = suspended;
        }
        let absent = self.absent.saturating_add(self.suspended);
        Now { service: self.service, wall, lease, absent, ahead: self.ahead }
    }

    /// `passed` really went by until the last reading; up to `believed` may have.
    fn advance(&mut self, passed: Millis, believed: Millis) {
        let Reading { wall, ran, .. } = self.last;
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
                if ran.saturating_sub(doubt.since) >= CLOCK_PROOF_MS {
                    self.service = wall;
                    self.doubt = None;
                }
            }
            _ => self.doubt = Some(Doubt { since: ran, lead }),
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
            None => match self.service.saturating_sub(self.last.wall) {
                by if by < SECOND_MS => ClockState::Steady,
                by => ClockState::Behind(by),
            },
        }
    }

    /// Nothing is removed by a clock that is not believed.
    pub fn may_purge(&self) -> bool {
        self.doubt.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::{DAY_MS, HOUR_MS, MINUTE_MS};

    const T0: Millis = 495_000 * HOUR_MS;
    const BOOT: Millis = 1_000;

    /// The machine has run for `ran` since the node started, and was not suspended.
    fn reading(wall: Millis, ran: Millis) -> Reading {
        Reading { wall, ran, uptime: BOOT + ran }
    }

    fn started() -> ServiceTime {
        ServiceTime::resume(None, reading(T0, 0), "boot").unwrap()
    }

    fn mark(service: Millis) -> ClockMark {
        ClockMark { service, lease: LeaseTime(service), absent: 0, boot_id: "boot".into(), uptime: BOOT }
    }

    #[test]
    fn it_follows_the_wall_and_never_steps_back() {
        let mut time = started();
        assert_eq!(time.at(reading(T0 + 500, 400)).service, T0 + 500);
        let frozen = time.at(reading(T0 - HOUR_MS, 900));
        assert_eq!((frozen.service, frozen.wall), (T0 + 500, T0 - HOUR_MS));
        assert_eq!(frozen.lease, LeaseTime(T0 + 900), "leases run on");
        assert_eq!(time.state(), ClockState::Behind(HOUR_MS + 500));
        assert_eq!(time.at(reading(T0 + 501, 901)).service, T0 + 501);
        assert_eq!(time.state(), ClockState::Steady);
    }

    #[test]
    fn a_year_ahead_is_not_believed_and_leaves_no_trace_when_set_right() {
        let mut time = started();
        let year = 365 * DAY_MS;
        let now = time.at(reading(T0 + year, 1_000));
        assert_eq!((now.service, now.wall), (T0 + 1_000, T0 + 1_000));
        assert!(!time.may_purge());
        assert_eq!(time.at(reading(T0 + year + MINUTE_MS, 61_000)).service, T0 + 61_000);
        assert_eq!(time.at(reading(T0 + 62_000, 62_000)).service, T0 + 62_000);
        assert!(time.may_purge());
    }

    #[test]
    fn a_jump_is_believed_once_it_has_stood_an_hour_or_is_confirmed() {
        let jump = |ran| reading(T0 + DAY_MS + ran, ran);
        let mut time = started();
        for minute in 1..=60 {
            assert!(time.at(jump(minute * MINUTE_MS)).service < T0 + DAY_MS, "minute {minute}");
        }
        let believed = time.at(jump(61 * MINUTE_MS));
        assert_eq!(believed.service, T0 + DAY_MS + 61 * MINUTE_MS);
        assert_eq!((believed.lease, believed.absent), (LeaseTime(T0 + 61 * MINUTE_MS), 0), "no time has passed");
        let mut time = started();
        time.at(jump(1));
        time.confirm();
        assert_eq!(time.at(jump(2)).service, T0 + DAY_MS + 2);
    }

    #[test]
    fn what_the_machine_slept_is_believed_at_once_and_leases_slept_too() {
        let mut time = started();
        time.at(reading(T0 + 7, 7));
        let awake = Reading { wall: T0 + 10 * HOUR_MS, ran: 17, uptime: BOOT + 10 * HOUR_MS };
        let now = time.at(awake);
        assert_eq!((now.service, time.state(), time.may_purge()), (T0 + 10 * HOUR_MS, ClockState::Steady, true));
        assert_eq!((now.lease, now.absent), (LeaseTime(T0 + 17), 10 * HOUR_MS - 17));
    }

    #[test]
    fn across_a_restart_uptime_tells_what_passed() {
        let resume = |wall, ran| {
            ServiceTime::resume(Some(&mark(T0)), reading(wall, ran), "boot").map(|mut time| time.at(reading(wall, ran)))
        };
        let down = resume(T0 + HOUR_MS, HOUR_MS).unwrap();
        assert_eq!((down.service, down.lease, down.absent), (T0 + HOUR_MS, LeaseTime(T0), HOUR_MS), "an hour down");
        let back = resume(T0 - HOUR_MS, 2_000).unwrap();
        assert_eq!((back.service, back.absent), (T0, 2_000), "a step back does not reopen a window");
        let doubted = resume(T0 + 365 * DAY_MS, 1_000).unwrap();
        assert_eq!((doubted.service, doubted.lease), (T0 + 1_000, LeaseTime(T0)), "a jump is not believed");
        assert_eq!(resume(T0 - 26 * HOUR_MS, 2_000), Err(MarkFromTheFuture { mark: T0, wall: T0 - 26 * HOUR_MS }));
    }

    #[test]
    fn after_a_reboot_a_month_is_believed_and_a_year_is_not() {
        let resume = |wall| {
            let reading = Reading { wall, ran: 0, uptime: 5 };
            ServiceTime::resume(Some(&mark(T0)), reading, "another").map(|mut time| time.at(reading)).unwrap()
        };
        let month = resume(T0 + 30 * DAY_MS);
        assert_eq!((month.service, month.lease, month.absent), (T0 + 30 * DAY_MS, LeaseTime(T0), 30 * DAY_MS));
        assert_eq!(resume(T0 + 365 * DAY_MS).service, T0);
    }

    /// One stretch of a node's life: it runs, then its machine sleeps, or it is down, or its wall is moved.
    #[derive(Debug, Clone, Copy)]
    enum Then {
        Sleeps(Millis),
        IsDown(Millis),
        IsCorrected(i64),
    }

    fn then() -> impl Strategy<Value = Then> {
        prop_oneof![
            (SECOND_MS..3 * HOUR_MS).prop_map(Then::Sleeps),
            (0..3 * HOUR_MS).prop_map(Then::IsDown),
            (-10_800_000_i64..10_800_000).prop_map(Then::IsCorrected),
        ]
    }

    proptest! {
        /// R-LEASE-1: lease time is the time for which the node was up, and with its absences the time that has
        /// passed, whatever the wall clock says. Service time never goes back.
        #[test]
        fn lease_time_is_the_time_that_the_node_was_up(stretches in prop::collection::vec((0..HOUR_MS, then()), 1..20)) {
            let (mut wall, mut ran, mut uptime) = (T0, 0, BOOT);
            let (mut up, mut away, mut service) = (0, 0, T0);
            let mut time = started();
            for (runs, then) in stretches {
                (wall, ran, uptime, up) = (wall + runs, ran + runs, uptime + runs, up + runs);
                time.at(Reading { wall, ran, uptime });
                match then {
                    Then::Sleeps(length) => (wall, uptime, away) = (wall + length, uptime + length, away + length),
                    Then::IsDown(length) => {
                        let Now { service, lease, absent, .. } = time.at(Reading { wall, ran, uptime });
                        let mark = ClockMark { service, lease, absent, boot_id: "boot".into(), uptime };
                        (wall, ran, uptime, away) = (wall + length, 0, uptime + length, away + length);
                        time = ServiceTime::resume(Some(&mark), Reading { wall, ran, uptime }, "boot").unwrap();
                    }
                    Then::IsCorrected(by) => wall = wall.saturating_add_signed(by),
                }
                let now = time.at(Reading { wall, ran, uptime });
                prop_assert_eq!((now.lease, now.absent), (LeaseTime(T0 + up), away));
                prop_assert!(now.service >= service && now.wall <= now.service);
                service = now.service;
            }
        }
    }
}
