//! Exits are normal here; crashes are counted and logged. Nothing is restarted: the next call of
//! the org starts it again from the store.

use std::sync::{Arc, atomic::Ordering};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::Shared;

#[derive(Debug, Clone)]
pub(super) struct Supervisor(ActorRef<()>);

impl Supervisor {
    pub(super) fn cell(&self) -> ActorCell {
        self.0.get_cell()
    }

    pub(super) fn stop(&self) {
        self.0.stop(None);
    }
}

struct Watcher;

impl Actor for Watcher {
    type Msg = ();
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, _: ActorRef<()>, shared: Arc<Shared>) -> Result<Arc<Shared>, ActorProcessingErr> {
        Ok(shared)
    }

    /// The default would stop the supervisor, and with it every org, when one of them ends.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        shared: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, error) = event {
            shared.crashes.fetch_add(1, Ordering::Relaxed);
            tracing::error!(actor = %actor.get_id(), %error, "an org's actor crashed; its next call reloads it");
        }
        Ok(())
    }
}

pub(super) async fn start(shared: Arc<Shared>) -> Result<Supervisor, String> {
    let spawned = Watcher::spawn(None, Watcher, shared).await;
    spawned.map(|(actor, _)| Supervisor(actor)).map_err(|error| format!("supervisor: {error}"))
}
