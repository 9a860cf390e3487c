//! Which committers have lost the server, and what the store is for that.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};

use crate::ports::{StoreFault, StoreState};

#[derive(Debug)]
pub(super) struct Trouble {
    /// By the number of the committer: since when, and the last reason.
    of: Mutex<BTreeMap<usize, (Instant, StoreFault)>>,
    state: watch::Sender<StoreState>,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { of: Mutex::default(), state: watch::Sender::new(StoreState::Up) }
    }
}

impl Trouble {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, (Instant, StoreFault)>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    pub(super) fn fault(&self) -> Option<StoreFault> {
        self.state.borrow().fault().cloned()
    }

    pub(super) fn is_of(&self, committer: usize) -> bool {
        self.lock().contains_key(&committer)
    }

    /// Since when the committer has lost the server; `None` = it has it.
    pub(super) fn since(&self, committer: usize) -> Option<Instant> {
        self.lock().get(&committer).map(|(since, _)| *since)
    }

    pub(super) fn begins(&self, committer: usize, fault: &StoreFault) {
        let mut of = self.lock();
        of.entry(committer).or_insert_with(|| (Instant::now(), fault.clone())).1 = fault.clone();
        self.tell(&of);
    }

    pub(super) fn over(&self, committer: usize) {
        let mut of = self.lock();
        if of.remove(&committer).is_some() {
            self.tell(&of);
        }
    }

    /// Those who wait are woken where the store goes or comes back, not for another reason.
    fn tell(&self, of: &BTreeMap<usize, (Instant, StoreFault)>) {
        let oldest = of.values().min_by_key(|(since, _)| *since);
        self.state.send_if_modified(|state| {
            let next = match oldest {
                Some((since, fault)) => StoreState::Retrying { since: *since, fault: fault.clone() },
                None => StoreState::Up,
            };
            let turned = state.is_up() != next.is_up();
            *state = next;
            turned
        });
    }
}
