//! The bound before the mailbox: how many calls may be in flight, for the node and for each org.
//!
//! Settlement has a lane of its own, so that a flood of Acquires never keeps a running execution
//! from resuming or settling.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::domain::commands::Lane;

/// Counts calls in flight per lane.
#[derive(Debug, Default)]
pub struct InFlight {
    admit: AtomicU32,
    settle: AtomicU32,
    /// Tick of the last exit, see [`InFlight::idle_since`].
    last_used: AtomicU64,
}

/// One call in flight; ends with the value.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<InFlight>,
    lane: Lane,
}

impl InFlight {
    fn lane(&self, lane: Lane) -> &AtomicU32 {
        match lane {
            Lane::Admit => &self.admit,
            Lane::Settle => &self.settle,
        }
    }

    /// `None` where `max` calls are in flight already.
    pub fn enter(self: &Arc<Self>, lane: Lane, max: u32) -> Option<Permit> {
        let counter = self.lane(lane);
        if counter.fetch_add(1, Ordering::AcqRel) >= max {
            counter.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { gate: self.clone(), lane })
    }

    /// Calls in flight, both lanes.
    pub fn in_flight(&self) -> u32 {
        self.admit.load(Ordering::Acquire) + self.settle.load(Ordering::Acquire)
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
        self.gate.last_used.store(u64::MAX, Ordering::Release);
        self.gate.lane(self.lane).fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_bounded_apart() {
        let gate = Arc::new(InFlight::default());
        let first = gate.enter(Lane::Admit, 1);
        assert!(first.is_some());
        assert!(gate.enter(Lane::Admit, 1).is_none());
        assert!(gate.enter(Lane::Settle, 1).is_some(), "I7: settlement has room of its own");
        drop(first);
        assert!(gate.enter(Lane::Admit, 1).is_some());
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn idleness_counts_from_the_last_exit() {
        let gate = Arc::new(InFlight::default());
        drop(gate.enter(Lane::Admit, 1));
        assert!(!gate.idle_since(0, 5), "used since the last look");
        assert!(!gate.idle_since(4, 6));
        assert!(gate.idle_since(5, 7));
        let _held = gate.enter(Lane::Admit, 1);
        assert!(!gate.idle_since(9, 9), "in flight");
    }
}
