//! The end of a node: what it waits for, and in which order it lets go.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Failure, cluster::Served, store, supervisor::Supervisor};
use crate::{
    front::server::Health,
    ports::{OrgStore, StoreEngine},
    service::Service,
};

/// What the orgs may take to be written, and the store to close. With all else below, and the notice and twice the time to drain, a node
/// ends within what docs/operations.md says.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// What the HTTP port may take to answer what it has been asked before.
const HTTP_WITHIN: Duration = Duration::from_secs(1);

/// What takes calls.
pub(super) struct Doors {
    pub(super) grpc: JoinHandle<()>,
    /// Until it is cancelled.
    pub(super) http: (JoinHandle<()>, CancellationToken),
    /// Of a node among others.
    pub(super) peer: Option<Served>,
}

/// Serves until it is asked to stop, and then until it has drained; an error where the store is lost before.
pub(super) async fn until_over(
    shutdown: impl Future<Output = ()> + Send,
    service: &Service,
    health: &Health,
    store: &dyn OrgStore,
    supervisor: &Supervisor,
) -> Result<(), Failure> {
    tokio::select! {
        () = shutdown => {}
        fault = store::lost(service, health, store) => {
            supervisor.stopping(&fault.to_string());
            return Err(fault);
        }
    }
    drain(service, health, supervisor).await;
    Ok(())
}

/// Closes the doors, those of callers first, and what is behind them.
pub(super) async fn end(
    service: &Arc<Service>,
    doors: Doors,
    beside: Vec<JoinHandle<()>>,
    store: &dyn OrgStore,
    engine: &dyn StoreEngine,
) -> Result<(), Failure> {
    let Doors { grpc, http: (http, http_stop), peer } = doors;
    service.closing().cancel();
    let drain_for = Duration::from_millis(service.orgs().rules().bounds.drain_ms.into());
    end_within(drain_for, grpc, "grpc").await;
    beside.iter().for_each(JoinHandle::abort);
    let stopped = stop(service, store, engine).await;
    http_stop.cancel();
    end_within(HTTP_WITHIN, http, "http").await;
    if let Some(peer) = peer {
        peer.end().await;
    }
    let recorded = service.clone();
    drop(spawn_blocking(move || recorded.spans().end()).await);
    stopped
}

/// Waits for a door to close, and cuts what is still open then.
pub(super) async fn end_within(within: Duration, mut door: JoinHandle<()>, listener: &'static str) {
    if timeout(within, &mut door).await.is_err() {
        tracing::warn!(listener, ?within, "connections were cut that did not finish in time");
        door.abort();
    }
}

/// NOT_SERVING first; running executions are served on until load balancers have noticed. A node among others hands its
/// shards over meanwhile, and serves whatever still comes: its own until then, and afterwards theirs.
async fn drain(service: &Service, health: &Health, supervisor: &Supervisor) {
    let notice = Duration::from_millis(service.orgs().rules().bounds.drain_notice_ms.into());
    let within = Duration::from_millis(service.orgs().rules().bounds.drain_ms.into());
    service.start_leaving();
    supervisor.stopping(&service.health());
    health.set_serving(false).await;
    if let Some(membership) = service.membership() {
        tracing::info!(?notice, "draining: what this node owns is handed over, and callers are served on");
        tokio::join!(membership.leave(within), tokio::time::sleep(notice));
    } else {
        tracing::info!(?notice, "draining: nothing new is admitted, running executions settle on");
        service.start_draining();
        tokio::time::sleep(notice).await;
    }
    service.start_draining();
}

async fn stop(service: &Service, store: &dyn OrgStore, engine: &dyn StoreEngine) -> Result<(), Failure> {
    let flushed = service.orgs().shutdown(STOP_WITHIN).await.map_err(Failure);
    engine.keep_mark();
    let closed = match timeout(STOP_WITHIN, store.close()).await {
        Ok(closed) => closed.map_err(|fault| Failure(fault.to_string())),
        Err(_) => Err(Failure("the store did not close in time".into())),
    };
    tracing::info!(groups = engine.groups(), "stopped");
    flushed.and(closed)
}
