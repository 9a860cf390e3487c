//! The bound before the mailbox: how many calls may be in flight, for the node and for each org.
//!
//! Settlement has a lane of its own, so that a flood of Acquires never keeps a running execution
//! from resuming or settling.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Orgs, org::OrgMsg, registry::Exit};
use crate::{
    bounds::Bound,
    domain::commands::Lane,
    error::ServiceError,
    turns::{Arrived, Patience, Turns},
};

/// Counts calls in flight per lane.
#[derive(Debug, Default)]
pub struct InFlight {
    admit: AtomicU32,
    settle: AtomicU32,
    /// Tick of the last exit, see [`InFlight::idle_since`].
    last_used: AtomicU64,
    /// Of an actor that was started only to be asked: it leaves with the last call.
    exit: OnceLock<Exit>,
}

/// A call in flight, or the calls of one message; ends with the value.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<InFlight>,
    lane: Lane,
    calls: u32,
    /// It only reads, among many orgs: an idle one stays idle.
    is_visit: bool,
}

impl Permit {
    pub(super) fn visiting(self, is_visit: bool) -> Self {
        let mut permit = self;
        permit.is_visit = is_visit;
        permit
    }
}

impl InFlight {
    /// From now on the actor leaves as soon as no call is in flight.
    pub(super) fn leave_when_empty(&self, exit: Exit) {
        let _ = self.exit.set(exit);
    }

    fn lane(&self, lane: Lane) -> &AtomicU32 {
        match lane {
            Lane::Admit => &self.admit,
            Lane::Settle => &self.settle,
        }
    }

    /// `None` where `max` calls are in flight already. The items of a batch are calls that enter together, so that one
    /// batch may go past it.
    pub fn enter(self: &Arc<Self>, lane: Lane, calls: u32, max: u32) -> Option<Permit> {
        let counter = self.lane(lane);
        if counter.fetch_add(calls, Ordering::AcqRel) >= max {
            counter.fetch_sub(calls, Ordering::AcqRel);
            return None;
        }
        Some(Permit { gate: self.clone(), lane, calls, is_visit: false })
    }

    /// Calls in flight in this lane.
    pub fn of_lane(&self, lane: Lane) -> u32 {
        self.lane(lane).load(Ordering::Acquire)
    }

    /// Calls in flight, both lanes.
    pub fn in_flight(&self) -> u32 {
        self.admit.load(Ordering::Acquire) + self.settle.load(Ordering::Acquire)
    }

    /// Tick of the last exit, the later the larger, where no call is in flight.
    pub fn last_used_if_idle(&self) -> Option<u64> {
        (self.in_flight() == 0).then(|| self.last_used.load(Ordering::Acquire))
    }

    /// Whether nothing happened since `tick` (counted by the caller); notes activity otherwise.
    pub fn idle_since(&self, tick: u64, now_tick: u64) -> bool {
        if self.in_flight() > 0 || self.last_used.load(Ordering::Acquire) == u64::MAX {
            self.last_used.store(now_tick, Ordering::Release);
            return false;
        }
        self.last_used.load(Ordering::Acquire) <= tick
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Marks activity without reading a clock: the sweeper turns it into a tick.
        if !self.is_visit {
            self.gate.last_used.store(u64::MAX, Ordering::Release);
        }
        self.gate.lane(self.lane).fetch_sub(self.calls, Ordering::AcqRel);
        if let Some(exit) = self.gate.exit.get().filter(|_| self.gate.in_flight() == 0) {
            exit.leave();
        }
    }
}

impl OrgMsg {
    /// Calls that it counts for among those in flight.
    pub(super) fn calls(&self) -> u32 {
        match self {
            Self::Run(work) => u32::try_from(work.commands.len()).unwrap_or(u32::MAX),
            Self::Flush | Self::Sweep(_) | Self::Load(_) => 1,
        }
    }
}

impl Orgs {
    /// A call that has arrived has its turn now, and nothing of it is decoded yet: how long it waited, unless it is
    /// refused.
    pub fn turn(&self, lane: Lane, arrived: &Arrived) -> Result<Duration, ServiceError> {
        let rules = self.shared.rules.load();
        let bounds = &rules.bounds;
        let wait = Duration::from_micros(bounds.turn_wait_us.into());
        let waited = arrived.turn(Patience { wait, per_core: bounds.busy_calls_per_core });
        if lane == Lane::Admit {
            let (all, most) = (self.shared.in_flight.of_lane(lane), bounds.node_in_flight);
            if all >= most {
                return Err(ServiceError::NodeBusy { bound: Bound::node_in_flight, most });
            }
            if !arrived.fits(all) {
                return Err(ServiceError::CallerOverShare);
            }
        }
        Ok(waited)
    }

    /// How long calls wait for their turn, and what there is room for meanwhile.
    pub fn turns(&self) -> &Arc<Turns> {
        &self.shared.turns
    }

    /// Calls in flight, both lanes.
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight.in_flight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_bounded_apart() {
        let gate = Arc::new(InFlight::default());
        let first = gate.enter(Lane::Admit, 1, 1);
        assert!(first.is_some());
        assert!(gate.enter(Lane::Admit, 1, 1).is_none());
        assert!(gate.enter(Lane::Settle, 1, 1).is_some(), "I7: settlement has room of its own");
        drop(first);
        assert!(gate.enter(Lane::Admit, 1, 1).is_some());
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn idleness_counts_from_the_last_exit() {
        let gate = Arc::new(InFlight::default());
        drop(gate.enter(Lane::Admit, 1, 1));
        assert!(!gate.idle_since(0, 5), "used since the last look");
        assert!(!gate.idle_since(4, 6));
        assert!(gate.idle_since(5, 7));
        drop(gate.enter(Lane::Admit, 1, 1).map(|permit| permit.visiting(true)));
        assert!(gate.idle_since(5, 8), "a visit is no use of it");
        let _held = gate.enter(Lane::Admit, 1, 1);
        assert!(!gate.idle_since(9, 9), "in flight");
    }
}
