//! Credentials that were judged, and the principals that came of them: judging one again costs a look into memory,
//! and what a change of keys or of grants takes away ends wherever it is in use.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use moka::{policy::EvictionPolicy, sync};
use sha2::{Digest, Sha256};

use super::{Principal, Refused};
use crate::bounds::CREDENTIALS_REMEMBERED;

/// Fewer principals than this are not worth a search for those that nobody holds any more.
const SWEPT_FROM: usize = 1_024;

/// SHA-256 of a credential: what is remembered of it.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(credential: &[u8]) -> Fingerprint {
    Sha256::digest(credential).into()
}

/// Principals by the credential that they came of; `O` is why.
pub(super) struct Seen<O> {
    principals: sync::Cache<Fingerprint, Arc<Principal>>,
    issued: Mutex<Issued<O>>,
}

/// Every principal that somebody may hold: a stream goes on when its credential is no longer remembered.
struct Issued<O> {
    list: Vec<(Weak<Principal>, O)>,
    swept_at: usize,
}

/// Without the entries, which may be many.
impl<O> fmt::Debug for Seen<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("issued", &self.issued().list.len()).finish_non_exhaustive()
    }
}

impl<O> Seen<O> {
    pub(super) fn new() -> Self {
        let principals = sync::Cache::builder().max_capacity(CREDENTIALS_REMEMBERED);
        Self {
            principals: principals.eviction_policy(EvictionPolicy::lru()).build(),
            issued: Mutex::new(Issued { list: Vec::new(), swept_at: SWEPT_FROM }),
        }
    }

    /// What came of a credential. `None` where it has to be judged: it is new, or what it came of was taken away.
    pub(super) fn get(&self, credential: &Fingerprint) -> Option<Result<Arc<Principal>, Refused>> {
        let principal = self.principals.get(credential)?;
        match principal.is_valid() {
            Ok(()) => Some(Ok(principal)),
            Err(Refused::Invalid) => None,
            Err(ended) => Some(Err(ended)),
        }
    }

    /// Remembers what came of a credential. `None` where it was judged by what does not hold any more.
    pub(super) fn add(
        &self,
        credential: Fingerprint,
        principal: Principal,
        origin: O,
        holds: impl FnOnce() -> bool,
    ) -> Option<Arc<Principal>> {
        let principal = Arc::new(principal);
        let mut issued = self.issued();
        if !holds() {
            return None;
        }
        if issued.list.len() >= issued.swept_at {
            issued.list.retain(|(held, _)| held.strong_count() > 0);
            issued.swept_at = (issued.list.len() * 2).max(SWEPT_FROM);
        }
        issued.list.push((Arc::downgrade(&principal), origin));
        drop(issued);
        self.principals.insert(credential, principal.clone());
        Some(principal)
    }

    /// Changes by what credentials are judged, and revokes every principal that does not `hold` by it. How many.
    pub(super) fn judge_again(&self, change: impl FnOnce(), holds: impl Fn(&O) -> bool) -> usize {
        let mut issued = self.issued();
        change();
        let mut revoked = 0;
        issued.list.retain(|(held, origin)| {
            let Some(principal) = held.upgrade() else { return false };
            let holds = holds(origin);
            if !holds {
                principal.revoke();
                revoked += 1;
            }
            holds
        });
        revoked
    }

    fn issued(&self) -> MutexGuard<'_, Issued<O>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(number: u8) -> (Fingerprint, Principal) {
        (fingerprint(&[number]), Principal::anybody())
    }

    #[test]
    fn what_is_taken_away_ends_though_it_is_forgotten() {
        let all = Seen::new();
        let (of_one, one) = seen(1);
        let (of_other, other) = seen(2);
        let one = all.add(of_one, one, 1, || true).unwrap();
        let other = all.add(of_other, other, 2, || true).unwrap();
        all.principals.invalidate(&of_one);
        assert_eq!(all.judge_again(|| {}, |origin| *origin != 1), 1);
        assert_eq!((one.is_valid(), other.is_valid()), (Err(Refused::Invalid), Ok(())));
        assert!(all.get(&of_one).is_none());
        assert!(matches!(all.get(&of_other), Some(Ok(_))));
        all.judge_again(|| {}, |_| false);
        assert!(all.get(&of_other).is_none(), "it is judged again");
    }

    #[test]
    fn what_was_judged_by_something_older_is_not_remembered() {
        let all = Seen::new();
        let (of_one, one) = seen(1);
        assert!(all.add(of_one, one, 1, || false).is_none());
        assert!(all.get(&of_one).is_none());
    }

    #[test]
    fn what_nobody_holds_is_not_kept() {
        let all = Seen::new();
        for number in 0..=SWEPT_FROM {
            let credential = fingerprint(&number.to_be_bytes());
            all.add(credential, Principal::anybody(), (), || true);
            all.principals.invalidate(&credential);
        }
        all.principals.run_pending_tasks();
        all.add(fingerprint(b"last"), Principal::anybody(), (), || true);
        assert!(all.issued().list.len() < SWEPT_FROM, "{all:?}");
    }
}
