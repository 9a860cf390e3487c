//! Actors leave memory: idle ones, those of shards that are another node's, and all of them at the end.

use std::time::Duration;

use super::Registry;
use crate::{
    actors::admission::InFlight,
    domain::{ids::OrgId, shard::ShardSet},
};

impl Registry {
    /// Lets actors go that were idle since `tick`. They finish what reaches them first. What the store does not answer for
    /// is nowhere else, so it stays.
    pub(in crate::actors) fn passivate(&self, tick: u64, now_tick: u64) -> usize {
        let idle = |gate: &InFlight| gate.idle_since(tick, now_tick);
        let may_leave = |org: &OrgId, gate: &InFlight| idle(gate) && self.shared.store.fault(org).is_none();
        self.live.actors.iter().filter(|entry| may_leave(entry.key(), &entry.gate) && entry.exit.leave()).count()
    }

    /// Lets the actors of these shards go, and waits until what they had changed is handed over and answered.
    pub(in crate::actors) async fn leave(&self, shards: &ShardSet) {
        let theirs = self.live.actors.iter().filter(|entry| shards.holds(entry.key()));
        let leaving: Vec<_> = theirs.map(|entry| entry.exit.clone()).collect();
        for exit in &leaving {
            exit.leave();
        }
        for exit in &leaving {
            let _ = exit.actor.wait(None).await;
        }
    }

    /// Passivates whatever lives, idle or not.
    #[cfg(test)]
    pub(in crate::actors) fn drain_all(&self) -> usize {
        self.live.actors.iter().filter(|entry| entry.exit.leave()).count()
    }

    pub(in crate::actors) async fn shutdown(&self, within: Duration) -> Result<(), String> {
        let actors: Vec<_> = self.live.actors.iter().map(|entry| entry.exit.actor.clone()).collect();
        for actor in &actors {
            let _ = actor.drain();
        }
        let all_ended = async {
            for actor in &actors {
                let _ = actor.wait(None).await;
            }
        };
        let outcome = tokio::time::timeout(within, all_ended).await;
        self.supervisor.stop();
        outcome.map_err(|_| format!("{} of {} orgs were still flushing after {within:?}", self.len(), actors.len()))
    }
}
