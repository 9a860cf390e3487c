//! Orgs of which a commit is not durable: their actors do not know any more what is stored. They leave memory as soon
//! as the store answers for them, and the next call of each loads it afresh.

use std::sync::{Mutex, PoisonError, Weak};

use ractor::ActorRef;

use super::{Shared, org::OrgMsg};
use crate::domain::ids::OrgId;

/// Actors that wait for the store to leave memory.
#[derive(Debug, Default)]
pub(super) struct Stale(Mutex<Vec<(OrgId, ActorRef<OrgMsg>)>>);

impl Stale {
    /// One more; it leaves now where the store answers for it. It is noted before the store is asked, so that either this
    /// or [`run`] finds it.
    pub(super) fn note(&self, org: &OrgId, actor: ActorRef<OrgMsg>, shared: &Shared) {
        self.lock().push((org.clone(), actor));
        if shared.store.fault(org).is_none() {
            self.leave(shared);
        }
    }

    /// What has reached them is answered before.
    fn leave(&self, shared: &Shared) {
        let left: Vec<_> = self.lock().extract_if(.., |(org, _)| shared.store.fault(org).is_none()).collect();
        for (_, actor) in left {
            let _ = actor.drain();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(OrgId, ActorRef<OrgMsg>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets them go whenever the store, or a part of it, has come back.
pub(super) async fn run(shared: Weak<Shared>) {
    let Some(mut state) = shared.upgrade().map(|shared| shared.store.state()) else { return };
    while state.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        state.mark_unchanged();
        shared.stale.leave(&shared);
    }
}
