//! One ticker for all orgs: every interval, those that changed are asked to commit. So their
//! commits fall into the same group, and no call arms a timer.

use std::sync::{Mutex, PoisonError, Weak};

use ractor::ActorRef;
use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, org::OrgMsg};

/// Actors with changes that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct Changed(Mutex<Vec<ActorRef<OrgMsg>>>);

impl Changed {
    pub(super) fn note(&self, actor: ActorRef<OrgMsg>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(actor);
    }

    fn take(&self) -> Vec<ActorRef<OrgMsg>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) async fn run(shared: Weak<Shared>) {
    let Some(period) = shared.upgrade().map(|shared| shared.write_behind.interval) else { return };
    if period.is_zero() {
        return;
    }
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        // What a store that does not answer is not given, it cannot lose.
        if shared.store_fault().is_some() {
            continue;
        }
        for actor in shared.changed.take() {
            // One that is draining refuses, and flushes by itself before it ends.
            let _ = actor.cast(OrgMsg::Flush);
        }
    }
}
