//! Which shards this node owns, and how far each has come: what its claims, its releases and its committers agree on.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::{
    shard::{Epoch, Shard, ShardSet},
    tenure::{ShardClock, Tenure},
};

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
pub(super) struct Leases(Mutex<Owned>);

#[derive(Debug, Default)]
struct Owned {
    held: BTreeMap<Shard, Lease>,
    /// Of those that are held, and of some that were.
    clocks: BTreeMap<Shard, ShardClock>,
    /// Given up here, while the server may still have this node as their owner, under this epoch.
    leaving: BTreeMap<Shard, i64>,
    /// One more with each time that everything was given up.
    round: u64,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Owned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, shard: Shard) -> Option<Lease> {
        self.lock().held.get(&shard).copied()
    }

    pub(super) fn tenure(&self, shard: Shard) -> Option<Tenure> {
        let owned = self.lock();
        let epoch = owned.held.get(&shard)?.as_epoch();
        Some(Tenure { epoch, clock: owned.clocks.get(&shard).copied().unwrap_or_default() })
    }

    /// How the clocks of shards stand that are about to be claimed, or were just claimed.
    pub(super) fn clocks(&self, clocks: impl IntoIterator<Item = (Shard, ShardClock)>) {
        self.lock().clocks.extend(clocks);
    }

    /// What is begun in a round ends in it, or has no effect here.
    pub(super) fn round(&self) -> u64 {
        self.lock().round
    }

    /// The server has answered a claim that was sent in this round. False where everything was given up since.
    pub(super) fn claimed(&self, round: u64, claimed: &[(Shard, Lease)]) -> bool {
        let mut owned = self.lock();
        if owned.round != round {
            return false;
        }
        for (shard, lease) in claimed {
            owned.held.insert(*shard, *lease);
            owned.leaving.remove(shard);
        }
        true
    }

    /// From now on nothing of these shards is written here. Answers which of them the server has to be asked to
    /// release, under which epoch: also those of which an earlier request was not answered.
    pub(super) fn give_up(&self, shards: &ShardSet) -> Vec<(Shard, i64)> {
        let mut owned = self.lock();
        for shard in shards.iter() {
            if let Some(lease) = owned.held.remove(&shard) {
                owned.leaving.insert(shard, lease.epoch);
            }
        }
        owned
            .leaving
            .iter()
            .filter(|(shard, _)| shards.contains(**shard))
            .map(|(shard, epoch)| (*shard, *epoch))
            .collect()
    }

    /// The server has answered: under these epochs they are not owned any more.
    pub(super) fn released(&self, released: &[(Shard, i64)]) {
        let mut owned = self.lock();
        for (shard, epoch) in released {
            if owned.leaving.get(shard) == Some(epoch) {
                owned.leaving.remove(shard);
            }
        }
    }

    /// Nothing is owned any more.
    pub(super) fn disown(&self) {
        let mut owned = self.lock();
        *owned = Owned { round: owned.round + 1, ..Owned::default() };
    }

    /// A statement under `lease` has ended; it says what comes next, or that somebody else owns the shard. Nothing where
    /// it was claimed again or given up meanwhile.
    pub(super) fn replace(&self, shard: Shard, lease: Lease, next: Option<Lease>) {
        let held = &mut self.lock().held;
        if held.get(&shard) != Some(&lease) {
            return;
        }
        match next {
            Some(next) => held.insert(shard, next),
            None => held.remove(&shard),
        };
    }

    /// The shard's row was read. Under another epoch than is known somebody else owns the shard, unless it was claimed
    /// again since it was read.
    pub(super) fn found(&self, shard: Shard, stored: Lease) {
        let held = &mut self.lock().held;
        match held.get(&shard) {
            Some(known) if known.epoch == stored.epoch => held.insert(shard, stored),
            Some(known) if known.epoch < stored.epoch => held.remove(&shard),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> ShardSet {
        [].into_iter().collect()
    }

    fn shard() -> Shard {
        Shard::numbered(7).unwrap()
    }

    fn at(epoch: i64, seq: i64) -> Lease {
        Lease { epoch, seq }
    }

    /// One shard that is owned.
    fn held(lease: Lease) -> Leases {
        let leases = Leases::default();
        assert!(leases.claimed(0, &[(shard(), lease)]));
        leases
    }

    #[test]
    fn a_statement_that_ends_after_another_claim_changes_nothing() {
        for next in [Some(at(1, 6)), None] {
            let leases = held(at(1, 5));
            assert!(leases.claimed(0, &[(shard(), at(2, 5))]));
            leases.replace(shard(), at(1, 5), next);
            assert_eq!(leases.get(shard()), Some(at(2, 5)));
        }
    }

    #[test]
    fn a_row_that_was_read_before_another_claim_or_a_release_changes_nothing() {
        let leases = held(at(1, 5));
        leases.found(shard(), at(1, 6));
        assert_eq!(leases.get(shard()), Some(at(1, 6)), "how far the shard has come");
        assert!(leases.claimed(0, &[(shard(), at(2, 6))]));
        leases.found(shard(), at(1, 7));
        assert_eq!(leases.get(shard()), Some(at(2, 6)));
        leases.give_up(&[shard()].into_iter().collect());
        leases.found(shard(), at(2, 7));
        assert_eq!(leases.get(shard()), None);
        let taken = held(at(1, 5));
        taken.found(shard(), at(2, 5));
        assert_eq!(taken.get(shard()), None, "another node has claimed it");
    }

    #[test]
    fn a_release_that_was_not_answered_is_asked_for_again_until_it_is_or_the_shard_is_claimed() {
        let (leases, shards) = (held(at(1, 5)), [shard()].into_iter().collect());
        assert_eq!(leases.give_up(&none()), vec![]);
        assert_eq!(leases.give_up(&shards), vec![(shard(), 1)]);
        assert_eq!(leases.get(shard()), None, "before it is sent");
        assert_eq!(leases.give_up(&shards), vec![(shard(), 1)]);
        leases.released(&[(shard(), 1)]);
        assert_eq!(leases.give_up(&shards), vec![]);
        assert!(leases.claimed(0, &[(shard(), at(3, 5))]));
        assert_eq!(leases.give_up(&shards), vec![(shard(), 3)]);
        assert!(leases.claimed(0, &[(shard(), at(4, 5))]));
        leases.released(&[(shard(), 3)]);
        assert_eq!((leases.get(shard()), leases.give_up(&none())), (Some(at(4, 5)), vec![]));
    }

    #[test]
    fn a_claim_that_was_sent_before_everything_was_given_up_has_no_effect() {
        let leases = held(at(1, 5));
        leases.disown();
        assert!(!leases.claimed(0, &[(shard(), at(2, 5))]));
        assert_eq!((leases.get(shard()), leases.give_up(&ShardSet::all())), (None, vec![]));
        assert!(leases.claimed(leases.round(), &[(shard(), at(3, 5))]));
        assert_eq!(leases.get(shard()), Some(at(3, 5)));
    }
}
