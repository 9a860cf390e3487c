//! What a node does while its store does not answer: it is NOT_SERVING until the store is back, and ends where only a
//! restart helps.

use std::{sync::Arc, time::Duration};

use super::Failure;
use crate::{
    domain::events::Part,
    front::server::Health,
    ports::{OrgStore, StoreState},
    service::Service,
};

/// Health follows the store, as long as the node runs.
pub(super) async fn watch(service: Arc<Service>, store: Arc<dyn OrgStore>, health: Health) {
    let mut changes = store.state();
    while changes.changed().await.is_ok() {
        let state = changes.borrow_and_update().clone();
        match state {
            StoreState::Up => {
                service.node_is(Part::Store, None);
                tracing::warn!("the store answers again");
            }
            StoreState::Retrying { fault, .. } => {
                service.metrics().store_fault();
                service.node_is(Part::Store, Some(&fault.to_string()));
                let is_serving = service.is_serving();
                tracing::error!(%fault, is_serving, "the store does not answer; it is asked again until it does");
            }
            // `lost` says so.
            StoreState::Lost(_) => continue,
        }
        health.set_serving(service.is_serving()).await;
    }
}

/// Resolves when the store was lost while running, after a grace in which callers are refused. A store
/// that was never there does not end the node: a restart would not help.
pub(super) async fn lost(service: &Service, health: &Health, store: &dyn OrgStore) -> Failure {
    let mut state = store.state();
    if state.borrow().lost().is_some() {
        return std::future::pending().await;
    }
    let cause = match state.wait_for(|state| state.lost().is_some()).await {
        Ok(state) => state.to_string(),
        Err(_) => return std::future::pending().await,
    };
    health.set_serving(false).await;
    service.node_is(Part::Store, Some(&cause));
    service.metrics().store_fault();
    let grace = Duration::from_millis(service.orgs().rules().bounds.store_fault_grace_ms.into());
    tracing::error!(cause, ?grace, "the store has failed: NOT_SERVING, then exit for the supervisor to restart");
    tokio::time::sleep(grace).await;
    Failure(format!("the store has failed: {cause}"))
}
