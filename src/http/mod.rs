//! The HTTP port: `/metrics`, `/livez`, `/readyz`, and `/webhooks/autumn` where a secret for it is set.

mod webhooks;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Access, Authenticator, Presented, Refused},
    billing::webhook::Seen,
    net::{Door, Peer},
    service::Service,
    webhook::signing::WebhookKey,
};

use webhooks::Webhooks;

/// Serves until `stop`. Metrics are for whoever may read what is kept, where that is asked for. The key of webhooks may
/// change while it serves.
pub async fn serve(
    service: Arc<Service>,
    metrics_for: Arc<Authenticator>,
    door: Door,
    webhook_key: Arc<ArcSwapOption<WebhookKey>>,
    stop: CancellationToken,
) {
    let webhooks = Arc::new(Webhooks { service: service.clone(), key: webhook_key, seen: Seen::default() });
    let routes = Router::new()
        .route(
            "/metrics",
            get(move |State(service): State<Arc<Service>>, request: Request| {
                std::future::ready(metrics(&service, &metrics_for, &request))
            }),
        )
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(service)
        .merge(Router::new().route("/webhooks/autumn", post(webhooks::autumn)).with_state(webhooks));
    door.serve(routes, stop).await;
}

fn metrics(service: &Service, authenticator: &Authenticator, request: &Request) -> Response {
    if let Some(refused) = not_a_viewer(authenticator, request) {
        return refused;
    }
    let text = service.metrics().render(service.readings());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// Metrics are about every org, so that only who views all orgs may read them.
fn not_a_viewer(authenticator: &Authenticator, request: &Request) -> Option<Response> {
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let presented = Presented::of(header, request.extensions().get::<Peer>());
    let (code, why) = match authenticator.principal(&presented) {
        Ok(caller) if Access::Views.roles().contains(&caller.role()) && caller.orgs().are_all() => return None,
        Ok(_) => (StatusCode::FORBIDDEN, "metrics are for a viewer or an admin of all orgs".to_owned()),
        Err(Refused::Throttled) => (StatusCode::TOO_MANY_REQUESTS, Refused::Throttled.to_string()),
        Err(Refused::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, Refused::Unavailable.to_string()),
        Err(refused) => (StatusCode::UNAUTHORIZED, refused.to_string()),
    };
    Some((code, [(header::WWW_AUTHENTICATE, "Bearer")], why + "\n").into_response())
}

/// 200 while health is SERVING, 503 with the reason otherwise.
async fn ready(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let code = if service.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, service.health() + "\n")
}
