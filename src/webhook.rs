//! Events as messages of Standard Webhooks: one POST for each, signed, with an id that is the same however often it comes.
//!
//! ```text
//! POST url
//! webhook-id: evt_…          webhook-timestamp: 1782000000          webhook-signature: v1,…
//! {"type": "exhausted", "timestamp": "2026-06-21T00:00:00.000Z", "data": {the event as AdminService has it}}
//! ```
//!
//! A receipt is any status 2xx. Everything else, and silence, is tried again by whoever delivers.

pub mod signing;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat};
use futures_util::{FutureExt, future::BoxFuture};
use reqwest::{Client, Url, header::CONTENT_TYPE};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use self::signing::WebhookKey;
use crate::{
    causes::chain,
    domain::{events::Undelivered, window::Millis},
    https::{self, Trust},
    ports::{Clock, DeliveryFault, NotDelivered, Notice, Webhook},
    wire::{
        admin::v1 as admin,
        answers,
        json::{Json, JsonError},
    },
};

/// Idle connections that are kept, and for how long.
const IDLE_CONNECTIONS: usize = 32;
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a hash in an id.
const ID_BYTES: usize = 18;
/// The type of a message about events that are not kept any more.
const GAP: &str = "gap";

/// Where events are delivered.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// As it was checked: `https`, or `http` on this machine.
    pub url: Url,
    /// What messages are signed with.
    pub key: WebhookKey,
    /// The time for one delivery.
    pub timeout: Duration,
}

/// The endpoint of this node, if it has one. It may be replaced while the node runs.
#[derive(Debug)]
pub struct Endpoints {
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<(Endpoint, Client)>,
}

/// One message, before it is signed.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: String,
    body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Json,
}

impl Endpoints {
    /// Without an endpoint.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, current: ArcSwapOption::empty() }
    }

    /// The next delivery goes there.
    ///
    /// # Errors
    /// Where it cannot be called from here: then nothing has changed.
    pub fn renew(&self, endpoint: Option<Endpoint>) -> Result<(), String> {
        let with_client = endpoint.map(|endpoint| {
            let client = client(&endpoint)?;
            Ok::<_, String>(Arc::new((endpoint, client)))
        });
        self.current.store(with_client.transpose()?);
        Ok(())
    }

    async fn post(&self, notice: Notice<'_>) -> Result<(), NotDelivered> {
        let fault = |fault| NotDelivered { fault, after: None };
        let current = self.current.load_full().ok_or(fault(DeliveryFault::Unconfigured))?;
        let (Endpoint { url, key, timeout: within }, client) = &*current;
        let Message { id, body } = Message::of(notice).map_err(|error| {
            tracing::error!(%error, "an event has no JSON form");
            fault(DeliveryFault::Unreachable)
        })?;
        let at = (self.clock.now() / 1000).to_string();
        let request = client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-signature", key.sign(&id, &at, &body))
            .header("webhook-timestamp", at)
            .header("webhook-id", id)
            .body(body);
        match timeout(*within, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => {
                let (status, after) = (response.status().as_u16(), https::retry_after(response.headers()));
                Err(NotDelivered { fault: DeliveryFault::Refused(status), after })
            }
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "the webhook cannot be reached");
                Err(fault(if error.is_timeout() { DeliveryFault::Timeout } else { DeliveryFault::Unreachable }))
            }
            Err(_) => Err(fault(DeliveryFault::Timeout)),
        }
    }
}

impl Webhook for Endpoints {
    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), NotDelivered>> {
        self.post(notice).boxed()
    }
}

fn client(endpoint: &Endpoint) -> Result<Client, String> {
    let builder = https::client(Trust::of(endpoint.url.as_str()))
        .map_err(|error| format!("TLS is not possible: {error} (Debian: apt-get install ca-certificates)"))?;
    let client =
        builder.pool_max_idle_per_host(IDLE_CONNECTIONS).pool_idle_timeout(IDLE).connect_timeout(endpoint.timeout);
    client.build().map_err(|error| chain(&error))
}

impl Message {
    fn of(notice: Notice<'_>) -> Result<Self, JsonError> {
        match notice {
            Notice::Org(org, Undelivered::Event(row)) => {
                let id = id(&["event", org.as_str(), &row.number.to_string(), &row.at.to_string()]);
                Self::new(id, row.what.kind().name(), row.at, Json::of(&answers::event(org, row))?)
            }
            Notice::Org(org, Undelivered::Missing { from, to, at }) => {
                let id = id(&["gap", org.as_str(), &from.to_string(), &to.to_string(), &at.to_string()]);
                let gap = admin::EventGap {
                    org: org.to_string(),
                    from_number: answers::int(*from),
                    to_number: answers::int(*to),
                    restarted: false,
                };
                Self::new(id, GAP, *at, Json::of(&gap)?)
            }
            Notice::Node(node, event) => {
                let id = id(&["node", node, &event.number.to_string(), &event.at.to_string()]);
                Self::new(id, event.kind.name(), event.at, Json::of(&answers::node_event(node, event))?)
            }
        }
    }

    fn new(id: String, kind: &str, at: Millis, data: Json) -> Result<Self, JsonError> {
        let at = i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        let timestamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = serde_json::to_vec(&Body { r#type: kind, timestamp, data })?;
        Ok(Self { id, body })
    }
}

/// The same for the same parts, and for no others.
fn id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("evt_{}", BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..ID_BYTES]))
}
