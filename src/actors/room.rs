//! Room for orgs in memory: a place for each actor, taken before it starts and free when it has ended.
//!
//! ```text
//! 0 ────────────────────────────── crowded ── admission's ──────── settlement's (bounds.resident_orgs)
//!   whoever comes takes a place     │ the idlest leave     │ only what already runs
//! ```
//!
//! An eighth of the room is kept for settlement: an org that is at rest can settle however many others are
//! admitted. The idlest actors leave a little before there is no place left, so that hardly anybody waits.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::domain::commands::Lane;

/// The part of the room that is kept for settlement.
const KEPT: usize = 8;
/// The part of the room that leaves at once.
const AT_ONCE: usize = 16;

/// Counts the actors that are in memory, or on their way into it or out of it.
#[derive(Debug, Default)]
pub(super) struct Room {
    taken: AtomicUsize,
    leaving: AtomicUsize,
    /// Held by whoever chooses the actors that leave.
    pub(super) choosing: Mutex<()>,
}

/// One actor's; free when the value ends.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    leaves: AtomicBool,
}

/// Where admission has no place any more, out of `most`.
fn admissions(most: usize) -> usize {
    most.saturating_sub((most / KEPT).max(1))
}

impl Room {
    /// A place for an actor, out of `most`; `None` where there is none for this lane.
    pub(super) fn take(self: &Arc<Self>, lane: Lane, most: usize) -> Option<Arc<Place>> {
        let limit = match lane {
            Lane::Admit => admissions(most),
            Lane::Settle => most,
        };
        let one_more = |taken| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Arc::new(Place { room: self.clone(), leaves: AtomicBool::new(false) }))
    }

    /// Whether there are so few places left that the idlest have to leave.
    pub(super) fn is_crowded(&self, most: usize) -> bool {
        self.taken.load(Ordering::Acquire) >= admissions(most) - admissions(most) / AT_ONCE
    }

    /// How many actors leave together: choosing them means to go through all.
    pub(super) fn at_once(most: usize) -> usize {
        (most / AT_ONCE).max(1)
    }

    /// Whether places become free by themselves, because actors are on their way out.
    pub(super) fn is_emptying(&self) -> bool {
        self.leaving.load(Ordering::Acquire) > 0
    }
}

impl Place {
    /// Its actor is on its way out. False where it has been already.
    pub(super) fn leaves(&self) -> bool {
        let is_first = !self.leaves.swap(true, Ordering::AcqRel);
        if is_first {
            self.room.leaving.fetch_add(1, Ordering::AcqRel);
        }
        is_first
    }

    /// Whether its actor is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_leaving() {
            self.room.leaving.fetch_sub(1, Ordering::AcqRel);
        }
        self.room.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settlement_has_places_that_admission_cannot_take() {
        let room = Arc::new(Room::default());
        let places: Vec<_> = std::iter::from_fn(|| room.take(Lane::Admit, 16)).collect();
        assert_eq!(places.len(), 14);
        let kept: Vec<_> = std::iter::from_fn(|| room.take(Lane::Settle, 16)).collect();
        assert_eq!(kept.len(), 2, "I7");
        drop(kept);
        assert!(room.take(Lane::Admit, 16).is_none());
        drop(places);
        assert!(room.take(Lane::Admit, 16).is_some());
    }

    #[test]
    fn it_is_crowded_before_admission_has_no_place() {
        let room = Arc::new(Room::default());
        let mut places = Vec::new();
        while !room.is_crowded(160) {
            places.push(room.take(Lane::Admit, 160).unwrap());
        }
        assert_eq!(places.len(), 132, "of 140 for admission");
    }

    #[test]
    fn an_actor_that_leaves_is_counted_once_until_it_has_left() {
        let room = Arc::new(Room::default());
        let place = room.take(Lane::Admit, 16).unwrap();
        assert!(!room.is_emptying());
        assert_eq!([place.leaves(), place.leaves()], [true, false]);
        assert!(room.is_emptying() && place.is_leaving());
        drop(place);
        assert!(!room.is_emptying());
    }
}
