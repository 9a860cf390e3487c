//! One ticker for all orgs: every interval, those that changed are asked to commit. So their
//! commits fall into the same group, and no call arms a timer.

use std::sync::{Mutex, PoisonError, Weak};

use ractor::ActorRef;
use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, org::OrgMsg};
use crate::{domain::ids::OrgId, ports::OrgStore};

/// Actors with changes that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct Changed(Mutex<Vec<(OrgId, ActorRef<OrgMsg>)>>);

impl Changed {
    pub(super) fn note(&self, org: OrgId, actor: ActorRef<OrgMsg>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((org, actor));
    }

    /// What a store that does not answer is not given, it cannot lose: those orgs wait.
    fn take(&self, store: &dyn OrgStore) -> Vec<(OrgId, ActorRef<OrgMsg>)> {
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if store.state().borrow().is_up() {
            return std::mem::take(&mut *changed);
        }
        changed.extract_if(.., |(org, _)| store.fault(org).is_none()).collect()
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
        for (_, actor) in shared.changed.take(&*shared.store) {
            // One that is draining refuses, and flushes by itself before it ends.
            let _ = actor.cast(OrgMsg::Flush);
        }
    }
}
