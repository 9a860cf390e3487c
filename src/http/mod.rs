//! The HTTP port: `/metrics`, `/livez`, `/readyz`.

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::service::Service;

/// Serves until `stop`.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(service);
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
