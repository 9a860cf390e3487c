//! What a node has with a shard for as long as it owns it: the epoch that its commits carry, and how the clocks of the
//! shard stand to its own.
//!
//! Leases of an org end by the time for which its shard had an owner, and its windows never go back, whoever owns it and
//! however the clocks of nodes differ. So each shard has a lease time and a service time of its own, which its row keeps.

use super::{
    lease::{LeaseTime, Now},
    shard::Epoch,
    window::Millis,
};

/// How the clocks of a shard stand to those of the node that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardClock {
    /// What is added to the node's lease time.
    lease: i64,
    /// What is added to the node's absences, in milliseconds.
    absent: Millis,
    /// Service time is not before this: another node has been there.
    service: Millis,
}

impl ShardClock {
    /// That of a node that owns everything for ever.
    pub const OWN: Self = Self { lease: 0, absent: 0, service: 0 };

    /// Of a shard that is taken over at `now` with these times, as its row says them.
    pub fn taken_over(now: &Now, lease: LeaseTime, absent: Millis, service: Millis) -> Self {
        let difference = i128::from(lease.0) - i128::from(now.lease.0);
        Self {
            lease: i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX }),
            absent: absent.saturating_sub(now.absent),
            service,
        }
    }

    /// What the clocks of the shard say where those of the node say `now`.
    #[must_use]
    pub fn read(&self, now: Now) -> Now {
        if *self == Self::OWN {
            return now;
        }
        Now {
            service: now.service.max(self.service),
            wall: now.wall,
            lease: LeaseTime(now.lease.0.saturating_add_signed(self.lease)),
            absent: now.absent.saturating_add(self.absent),
            ahead: now.ahead.saturating_sub(self.lease),
        }
    }
}

/// Under which a node owns a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    /// Commits carry it.
    pub epoch: Epoch,
    /// How the clocks of the shard stand to those of the node.
    pub clock: ShardClock,
}

impl Tenure {
    /// Of a node that owns everything for ever.
    pub const ONLY: Self = Self { epoch: Epoch::ONLY, clock: ShardClock::OWN };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::HOUR_MS;

    const T0: Millis = 495_000 * HOUR_MS;

    #[test]
    fn leases_go_on_from_where_the_shard_was_and_end_by_the_same_wall_clock() {
        let node = Now::at(T0);
        // Nobody owned the shard for an hour.
        let clock = ShardClock::taken_over(&node, LeaseTime(T0 - HOUR_MS), HOUR_MS, T0 - HOUR_MS);
        let now = clock.read(node);
        assert_eq!((now.lease, now.absent, now.service), (LeaseTime(T0 - HOUR_MS), HOUR_MS, T0));
        assert_eq!(now.shown(now.lease.after(5)), T0 + 5, "what was left is left, by the wall clock of now");
        let later = clock.read(Now::at(T0 + 7));
        assert_eq!(later.lease.since(now.lease), 7);
    }

    #[test]
    fn service_time_never_goes_back_to_the_clock_of_a_node_that_is_behind() {
        let node = Now::at(T0);
        let clock = ShardClock::taken_over(&node, LeaseTime(T0), 0, T0 + 30_000);
        let now = clock.read(node);
        assert_eq!((now.service, now.wall), (T0 + 30_000, T0), "it stands still, and is said to be ahead");
        assert_eq!(clock.read(Now::at(T0 + 30_001)).service, T0 + 30_001);
        assert_eq!(ShardClock::OWN.read(node), node);
    }
}
