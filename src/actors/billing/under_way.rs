//! Which question about each org counts. An answer is written down only while its question does.
//!
//! Whoever forgets what is known of an org ends, in the same step, the question that is under way:
//! the step of the writer and the step of the forgetter exclude each other, so that no answer to a
//! question from before can be found after.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::ids::OrgId;

#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    counting: HashMap<OrgId, u64>,
}

impl UnderWay {
    /// From now on this question counts, and no earlier one.
    pub(super) fn begin(&self, org: &OrgId) -> u64 {
        let mut numbers = self.locked();
        numbers.last += 1;
        let number = numbers.last;
        numbers.counting.insert(org.clone(), number);
        number
    }

    pub(super) fn counts(&self, org: &OrgId, number: u64) -> bool {
        self.locked().counting.get(org) == Some(&number)
    }

    /// Ends the question; `write` runs if it counted until now.
    pub(super) fn settle(&self, org: &OrgId, number: u64, write: impl FnOnce()) -> bool {
        let mut numbers = self.locked();
        let counts = numbers.counting.get(org) == Some(&number);
        if counts {
            numbers.counting.remove(org);
            write();
        }
        counts
    }

    /// No question that began before counts any more; `erase` runs before one can begin.
    pub(super) fn forget(&self, org: &OrgId, erase: impl FnOnce()) {
        let mut numbers = self.locked();
        numbers.counting.remove(org);
        erase();
    }

    /// Nothing that is under way counts any more.
    pub(super) fn forget_all(&self) {
        self.locked().counting.clear();
    }

    fn locked(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
