//! Idle timers of the whole node in one task: idle actors leave memory, and orgs whose stored timer
//! is due are woken to purge what has run out. The timers are rows, so they survive a restart, and
//! a restart loads no org before its time.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{org::OrgMsg, registry::Registry};
use crate::{domain::commands::Lane, error::ServiceError};

/// Passivation checks this often per idle period.
const LOOKS_PER_IDLE: u32 = 4;
const LOOK_MIN: Duration = Duration::from_millis(25);
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Timers are read this often, and this many at a time.
const TIMER_PERIOD: Duration = Duration::from_secs(1);
const TIMER_BATCH: usize = 256;
const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn run(registry: Weak<Registry>) {
    tokio::join!(passivate(registry.clone()), wake(registry));
}

async fn passivate(registry: Weak<Registry>) {
    let mut tick = 0_u64;
    loop {
        let Some(idle_ms) = registry.upgrade().map(|registry| registry.shared().rules.load().bounds.idle_ms) else {
            return;
        };
        let idle = Duration::from_millis(u64::from(idle_ms));
        tokio::time::sleep((idle / LOOKS_PER_IDLE).clamp(LOOK_MIN, LOOK_MAX)).await;
        let Some(registry) = registry.upgrade() else { return };
        tick += 1;
        let looks = u64::try_from(idle.as_millis() / (idle / LOOKS_PER_IDLE).clamp(LOOK_MIN, LOOK_MAX).as_millis())
            .unwrap_or(1);
        if let Some(since) = tick.checked_sub(looks.max(1)) {
            registry.passivate(since, tick);
        }
    }
}

async fn wake(registry: Weak<Registry>) {
    let mut ticks = interval(TIMER_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(registry) = registry.upgrade() else { return };
        // While the clock is not believed nothing is purged; reservations end when next touched.
        while registry.shared().clock.may_purge() && wake_due(&registry).await == TIMER_BATCH {}
    }
}

/// Wakes a batch of due orgs and waits until their purges are durable. Answers how many were due.
async fn wake_due(registry: &Arc<Registry>) -> usize {
    let shared = registry.shared();
    // A store that does not answer has said so.
    let shards = shared.table.owned().within(&shared.store.answers_for());
    if shards.is_empty() {
        return 0;
    }
    let due = match shared.store.due(shared.clock.now(), &shards, TIMER_BATCH).await {
        Ok(due) => due,
        Err(fault) => {
            tracing::warn!(%fault, "timers could not be read; trying again");
            return 0;
        }
    };
    let mut waiting = Vec::with_capacity(due.len());
    for (_, org) in &due {
        let (done, swept) = oneshot::channel();
        match registry.send(org, Lane::Admit, OrgMsg::Sweep(done)).await {
            Ok(permit) => waiting.push((permit, swept)),
            // Its shard has gone since; who owns it wakes it.
            Err(ServiceError::Moved) => {}
            Err(error) => {
                tracing::warn!(%org, ?error, "an org could not be woken to purge; trying again");
                return 0;
            }
        }
    }
    for (_permit, swept) in waiting {
        let _ = timeout(SWEEP_TIMEOUT, swept).await;
    }
    due.len()
}
