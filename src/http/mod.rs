//! The HTTP port: the dashboard at `/`, `/metrics`, `/livez`, `/readyz`, `/openapi.json`, `/webhooks/autumn` where a secret for it is set, and every rpc
//! under the path that it has on the gRPC port.

mod page;
mod webhooks;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwapOption;
use axum::{
    Router,
    body::Body as PageBody,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower_service::Service as Tower;

use crate::{
    auth::{Access, Authenticator, Presented, Refused},
    billing::webhook::Seen,
    front::Front,
    net::{Arriving, Door, Peer},
    service::Service,
    webhook::signing::WebhookKey,
    wire::openapi,
};

use webhooks::Webhooks;

/// Serves until `stop`. Metrics are for whoever may read what is kept, where that is asked for. The key of webhooks may
/// change while it serves.
pub async fn serve(
    service: Arc<Service>,
    metrics_for: Arc<Authenticator>,
    rpcs: Front,
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
        .route("/openapi.json", get(openapi))
        .with_state(service)
        .merge(page::routes())
        .merge(Router::new().route("/webhooks/autumn", post(webhooks::autumn)).with_state(webhooks));
    door.serve(Port { rpcs, pages: routes }, stop).await;
}

/// What the port serves, by the path of a request.
#[derive(Debug, Clone)]
struct Port {
    rpcs: Front,
    pages: Router,
}

impl Tower<Request<Arriving>> for Port {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.rpcs.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Arriving>) -> Self::Future {
        if Front::takes(request.uri().path()) {
            return self.rpcs.call(request);
        }
        let answered = self.pages.call(request);
        Box::pin(async move { answered.await.map(|answer| answer.map(Body::new::<PageBody>)) })
    }
}

/// The description of every rpc over Connect, for tools that read no protobuf.
async fn openapi() -> Response {
    match openapi::document() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], Bytes::from_static(text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
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
