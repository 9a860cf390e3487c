//! The HTTP port: `/metrics`, `/livez`, `/readyz`, and `/webhooks/autumn` where a secret for it is set.

mod webhooks;

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use tokio::net::TcpListener;

use crate::{
    billing::webhook::{Seen, WebhookKey},
    service::Service,
};

use webhooks::Webhooks;

/// Serves until `stop`.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    webhook_key: Option<WebhookKey>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let mut routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(service.clone());
    if let Some(key) = webhook_key {
        let state = Arc::new(Webhooks { service, key, seen: Seen::default() });
        routes = routes.merge(Router::new().route("/webhooks/autumn", post(webhooks::autumn)).with_state(state));
    }
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let text = service.metrics().render(service.readings());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// 200 while health is SERVING, 503 with the reason otherwise.
async fn ready(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let code = if service.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, service.health() + "\n")
}
