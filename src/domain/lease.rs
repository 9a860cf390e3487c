//! Lease time: the clock by which leases end, and how it stands to service time.
//!
//! A lease is what ends by itself unless it is renewed or settled: a session without heartbeats, a hold, the
//! grace of a stop, an avoided route. It runs while the node can be reached: lease time goes on with the running
//! node and stands still while the node is away or its machine is suspended, and no correction of the wall clock
//! moves it. What was left when the node was last up is left when it is back, of every org, loaded or not.
//!
//! Windows of usage, retention and purges run on service time.

use super::window::Millis;

/// An instant of lease time. The clock begins with service time and falls behind it by every absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LeaseTime(pub Millis);

impl LeaseTime {
    /// `length` later.
    #[must_use]
    pub fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length))
    }

    /// How long `earlier` is ago; 0 where it is not.
    pub fn since(self, earlier: Self) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}

/// An instant by the wall clock, and how long it was until then by the reading that an answer was made by: nothing
/// else tells what is left of a lease, for another clock, or a later reading, may stand elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Milliseconds since the epoch.
    pub at: Millis,
    /// Milliseconds; 0 where it has come.
    pub left: Millis,
}

impl Due {
    /// What has ended has nothing left, whatever a clock says.
    pub fn over(at: Millis) -> Self {
        Self { at, left: 0 }
    }
}

/// What the clocks of the node say at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since the epoch: what windows run by.
    pub service: Millis,
    /// The wall clock where it is behind service time, which then stands still; otherwise service time.
    pub wall: Millis,
    /// What leases run by.
    pub lease: LeaseTime,
    /// For how long the node has been away or suspended, all absences together, in milliseconds.
    pub absent: Millis,
    /// What is added to lease time where people and planes see it: the wall clock is that far ahead of it. The same
    /// from reading to reading, unless an absence or a correction came in between.
    pub ahead: i64,
}

impl Now {
    /// Of a node that was always up, by a clock that was always right.
    pub fn at(service: Millis) -> Self {
        Self { service, wall: service, lease: LeaseTime(service), absent: 0, ahead: 0 }
    }

    /// When a lease ends, or ended, by the wall clock: if the node stays up.
    pub fn shown(&self, end: LeaseTime) -> Millis {
        end.0.saturating_add_signed(self.ahead)
    }

    /// The same, and what is left of the lease.
    pub fn ends(&self, end: LeaseTime) -> Due {
        Due { at: self.shown(end), left: end.since(self.lease) }
    }

    /// An instant of service time, which comes when the wall clock is there.
    pub fn due(&self, at: Millis) -> Due {
        Due { at, left: self.until(at) }
    }

    /// When a lease that has not ended ends by service time, if the node stays up and service time goes on.
    pub fn wake(&self, end: LeaseTime) -> Millis {
        self.service.saturating_add(end.since(self.lease))
    }

    /// How long it is until the wall clock, and service time with it, is at `at`.
    pub fn until(&self, at: Millis) -> Millis {
        at.saturating_sub(self.wall)
    }

    /// The later of the two, clock by clock; the wall is that of the later reading.
    #[must_use]
    pub fn max(self, newer: Self) -> Self {
        Self {
            service: self.service.max(newer.service),
            wall: if newer.lease < self.lease { self.wall } else { newer.wall },
            ahead: if newer.lease < self.lease { self.ahead } else { newer.ahead },
            lease: self.lease.max(newer.lease),
            absent: self.absent.max(newer.absent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::HOUR_MS;

    const T0: Millis = 495_000 * HOUR_MS;

    #[test]
    fn a_lease_ends_by_the_wall_clock_when_what_is_left_of_it_has_passed() {
        let ahead = i64::try_from(HOUR_MS).unwrap();
        let now = Now { service: T0, wall: T0, lease: LeaseTime(T0 - HOUR_MS), absent: HOUR_MS, ahead };
        assert_eq!(now.shown(now.lease.after(30_000)), T0 + 30_000);
        assert_eq!(now.shown(LeaseTime(T0 - HOUR_MS - 7)), T0 - 7, "it has ended");
        let behind = Now { wall: T0 - 8 * HOUR_MS, ahead: -7 * ahead, ..now };
        assert_eq!(behind.shown(now.lease.after(30_000)), T0 - 8 * HOUR_MS + 30_000);
        assert_eq!(behind.until(T0 + 1), 8 * HOUR_MS + 1, "service time stands still as long");
        let ends = behind.ends(now.lease.after(30_000));
        assert_eq!((ends.left, ends.at - behind.wall), (30_000, 30_000), "R-RES-3: as much as ever");
        assert_eq!(behind.due(T0 + 1), Due { at: T0 + 1, left: 8 * HOUR_MS + 1 });
    }
}
