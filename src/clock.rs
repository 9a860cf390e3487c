//! The only module that reads a clock.

use std::{
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};

use crate::{
    domain::{
        lease::Now,
        service_time::{ClockMark, ClockState, MarkFromTheFuture, Reading, ServiceTime},
        window::Millis,
    },
    ports::Clock,
};

/// The machine's clocks behind [`ServiceTime`].
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
    boot_id: String,
    time: Mutex<ServiceTime>,
}

impl SystemClock {
    /// Goes on from the stored mark.
    pub fn resume(mark: Option<&ClockMark>) -> Result<Self, MarkFromTheFuture> {
        let began = monotonic();
        let boot_id = boot_id();
        let time = ServiceTime::resume(mark, reading(began), &boot_id)?;
        Ok(Self { began, boot_id, time: Mutex::new(time) })
    }

    /// Believes the wall clock, whatever it says.
    pub fn confirm(&self) {
        self.locked(|time| {
            time.at(reading(self.began));
            time.confirm();
        });
    }

    fn locked<T>(&self, use_it: impl FnOnce(&mut ServiceTime) -> T) -> T {
        use_it(&mut self.time.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Now {
        self.locked(|time| time.at(reading(self.began)))
    }

    fn may_purge(&self) -> bool {
        self.locked(|time| time.may_purge())
    }

    fn state(&self) -> ClockState {
        self.locked(|time| time.state())
    }

    fn mark(&self) -> ClockMark {
        let reading = reading(self.began);
        let Now { service, lease, absent, .. } = self.locked(|time| time.at(reading));
        ClockMark { service, lease, absent, boot_id: self.boot_id.clone(), uptime: reading.uptime }
    }

    fn uptime(&self) -> Millis {
        uptime()
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
fn monotonic() -> Instant {
    Instant::now()
}

/// Milliseconds since the epoch by the wall clock, for what is not service time: directory names,
/// and the repair of a mark.
#[allow(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
pub fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

fn reading(began: Instant) -> Reading {
    let ran = u64::try_from(began.elapsed().as_millis()).unwrap_or(Millis::MAX);
    Reading { wall: wall(), ran, uptime: uptime() }
}

/// Names this boot of the machine; empty where the machine does not tell (not Linux).
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Milliseconds since boot, suspended time included.
pub fn uptime() -> Millis {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Microseconds of the clock by which systemd tells the order of what it is notified of.
pub fn monotonic_micros() -> u64 {
    let since = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

/// Starts a measurement now.
pub fn stopwatch() -> Stopwatch {
    Stopwatch(monotonic())
}

impl Stopwatch {
    /// Microseconds since the start.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// When something ends: as soon as the wall clock says so, or so much time has passed as it had left. A wall clock that
/// is set back does not give it more.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    wall: Millis,
    /// Where the end is within reach of the clock.
    passed: Option<Instant>,
}

/// An end that is given in milliseconds since the epoch.
pub fn until(at: Millis) -> Until {
    let left = Duration::from_millis(at.saturating_sub(wall()));
    Until { wall: at, passed: monotonic().checked_add(left) }
}

impl Until {
    /// In milliseconds since the epoch.
    pub fn at(self) -> Millis {
        self.wall
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        wall() >= self.wall || self.passed.is_some_and(|passed| monotonic() >= passed)
    }
}
