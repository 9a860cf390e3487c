//! Orgs of which a commit is not durable: their actors do not know any more what is stored. They leave memory as soon
//! as the store is up, and the next call of each loads it afresh.

use std::{
    mem,
    sync::{Mutex, PoisonError, Weak},
};

use ractor::ActorRef;

use super::{Shared, org::OrgMsg};

/// Actors that wait for the store to leave memory.
#[derive(Debug, Default)]
pub(super) struct Stale(Mutex<Vec<ActorRef<OrgMsg>>>);

impl Stale {
    /// One more; it leaves now where the store is up. It is noted before the store is asked, so that either this or
    /// [`run`] finds it.
    pub(super) fn note(&self, actor: ActorRef<OrgMsg>, shared: &Shared) {
        self.lock().push(actor);
        if shared.store_fault().is_none() {
            self.leave();
        }
    }

    /// What has reached them is answered before.
    fn leave(&self) {
        for actor in mem::take(&mut *self.lock()) {
            let _ = actor.drain();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ActorRef<OrgMsg>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets them go whenever the store has come back.
pub(super) async fn run(shared: Weak<Shared>) {
    let Some(mut state) = shared.upgrade().map(|shared| shared.state.clone()) else { return };
    while state.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        if state.borrow_and_update().is_up() {
            shared.stale.leave();
        }
    }
}
