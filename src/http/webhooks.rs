//! `POST /webhooks/autumn`: what happens at the billing provider, as a signal to ask it again.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use crate::{
    billing::webhook::{Seen, receive},
    rpc,
    service::Service,
    webhook::signing::WebhookKey,
};

/// The largest message.
const BODY_BYTES: usize = 256 << 10;
/// The time for all of it to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Webhooks {
    pub(super) service: Arc<Service>,
    pub(super) key: Arc<ArcSwapOption<WebhookKey>>,
    pub(super) seen: Seen,
}

pub(super) async fn autumn(State(webhooks): State<Arc<Webhooks>>, request: Request) -> Response {
    // Without a secret nobody can be known by it, and the address does not exist.
    let Some(key) = webhooks.key.load_full() else { return StatusCode::NOT_FOUND.into_response() };
    let (head, body) = request.into_parts();
    let Some(body) = whole(body).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the message is too large or too slow\n").into_response();
    };
    let Webhooks { service, seen, .. } = &*webhooks;
    match receive(&head.headers, &body, service.now(), &key, seen) {
        Ok(org) => {
            tracing::info!(org = org.as_ref().map(tracing::field::display), "billing webhook");
            if let Some(org) = org {
                rpc::balance_changed(service, &org).await;
            }
            (StatusCode::OK, "taken\n").into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "billing webhook refused");
            let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, format!("{error}\n")).into_response()
        }
    }
}

async fn whole(body: Body) -> Option<axum::body::Bytes> {
    timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES)).await.ok()?.ok()
}
