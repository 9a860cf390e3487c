//! Which shards this node owns, and how far each has come.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::shard::{Epoch, Shard};

/// What a shard's row has to say for a commit to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) epoch: i64,
    /// Commits of the shard so far.
    pub(super) seq: i64,
}

impl Lease {
    pub(super) fn as_epoch(self) -> Epoch {
        Epoch(u64::try_from(self.epoch).unwrap_or(0))
    }
}

/// Shards that are owned here. Only the shard's committer moves its number on.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<Shard, Lease>>);

impl Leases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Shard, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, shard: Shard) -> Option<Lease> {
        self.lock().get(&shard).copied()
    }

    pub(super) fn set(&self, shard: Shard, lease: Lease) {
        self.lock().insert(shard, lease);
    }

    /// A statement under `lease` has ended; it says what comes next, or that somebody else owns the shard. Nothing where
    /// it was claimed again meanwhile.
    pub(super) fn replace(&self, shard: Shard, lease: Lease, next: Option<Lease>) {
        let mut leases = self.lock();
        if leases.get(&shard) != Some(&lease) {
            return;
        }
        match next {
            Some(next) => leases.insert(shard, next),
            None => leases.remove(&shard),
        };
    }

    /// Somebody else owns it.
    pub(super) fn lose(&self, shard: Shard) {
        self.lock().remove(&shard);
    }
}
