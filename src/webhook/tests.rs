//! What a receiver sees, from a node of the same process.

use std::sync::Mutex;

use axum::{Router, body::Bytes, extract::State, http::HeaderMap as Headers, response::IntoResponse, routing::post};
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;
use crate::{
    domain::{
        alerts::Level,
        events::{EventRow, Happening, LimitEvent},
        ids::{Meter, OrgId, Scope},
    },
    testing::{TestClock, org},
};

const SECRET: &[u8] = b"0123456789abcdef";

/// A receiver that keeps everything, and answers as it is set to.
#[derive(Default)]
struct Stand {
    got: Mutex<Vec<(Headers, Bytes)>>,
    status: Mutex<u16>,
}

async fn take(State(stand): State<Arc<Stand>>, headers: Headers, body: Bytes) -> axum::response::Response {
    stand.got.lock().unwrap().push((headers, body));
    let status = *stand.status.lock().unwrap();
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, [("retry-after", "7"), ("location", "/elsewhere")]).into_response()
}

async fn stand(status: u16) -> (Arc<Stand>, Endpoints) {
    let stand = Arc::new(Stand { status: status.into(), ..Stand::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?of=ops", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(take)).with_state(stand.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let endpoints = Endpoints::new(Arc::new(TestClock::default()));
    let (url, timeout) = (Url::parse(&url).unwrap(), Duration::from_secs(5));
    endpoints.renew(Some(Endpoint { url, key: WebhookKey::new([SECRET]), timeout })).unwrap();
    (stand, endpoints)
}

fn exhausted(number: u64) -> Undelivered {
    let event = LimitEvent {
        level: Level::Exhausted,
        scope: Scope::org(),
        limit: "budget/daily".into(),
        meter: Meter::spend(),
        used: 7,
        amount: 5,
        ends_at: None,
    };
    Undelivered::Event(EventRow { number, at: 1_782_000_000_123, what: Happening::Limit(Box::new(event)) })
}

#[test]
fn while_a_secret_is_replaced_either_of_both_verifies_and_is_taken() {
    let (old, new) = (WebhookKey::new([b"the old key of it"]), WebhookKey::new([b"the new key of it"]));
    let both = WebhookKey::new([b"the new key of it", b"the old key of it"]);
    let header = both.sign("id", "1", b"body");
    let signatures: Vec<_> = header.split(' ').collect();
    assert_eq!(signatures, [new.sign("id", "1", b"body"), old.sign("id", "1", b"body")]);
    for signature in signatures {
        assert!(both.has_signed("id", "1", b"body", signature));
        assert!(!both.has_signed("id", "2", b"body", signature));
    }
    assert!(!new.has_signed("id", "1", b"body", &old.sign("id", "1", b"body")));
}

#[tokio::test]
async fn an_event_is_one_signed_message_in_the_form_of_the_standard() {
    let (stand, endpoints) = stand(204).await;
    let acme = org("acme");
    endpoints.deliver(Notice::Org(&acme, &exhausted(3))).await.unwrap();
    let (headers, body) = stand.got.lock().unwrap().pop().unwrap();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    assert!(id.starts_with("evt_") && !id.contains('.'), "{id}: the signature puts points behind it");
    let signature = header("webhook-signature");
    assert!(WebhookKey::new([SECRET]).has_signed(&id, &at, &body, &signature));
    assert!(!WebhookKey::new([b"another key that fits"]).has_signed(&id, &at, &body, &signature));
    assert!(!WebhookKey::new([SECRET]).has_signed(&id, &at, &body[1..], &signature));
    assert_eq!(header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["type"], &body["timestamp"]), (&"exhausted".into(), &"2026-06-21T00:00:00.123Z".into()));
    let data = &body["data"];
    let said = ["org", "number", "limit", "used", "amount", "kind"].map(|field| data[field].as_str().unwrap());
    assert_eq!(said, ["acme", "3", "budget/daily", "7", "5", "exhausted"]);
}

#[test]
fn an_id_is_the_same_for_the_same_event_and_for_no_other() {
    let id_of = |org: &OrgId, undelivered: &Undelivered| Message::of(Notice::Org(org, undelivered)).unwrap().id;
    let first = id_of(&org("acme"), &exhausted(3));
    assert_eq!(first, id_of(&org("acme"), &exhausted(3)));
    assert_ne!(first, id_of(&org("acme"), &exhausted(4)));
    assert_ne!(first, id_of(&org("acm"), &exhausted(3)));
    let gap = Undelivered::Missing { from: 3, to: 9, at: 1_782_000_000_123 };
    assert_ne!(first, id_of(&org("acme"), &gap));
    let message = Message::of(Notice::Org(&org("acme"), &gap)).unwrap();
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["fromNumber"], &body["data"]["toNumber"]),
        (&"gap".into(), &"3".into(), &"9".into())
    );
}

#[tokio::test]
async fn whatever_is_no_receipt_is_a_fault_and_nothing_is_followed() {
    for status in [199 + 1, 299] {
        let (_, endpoints) = stand(status).await;
        assert_eq!(endpoints.deliver(Notice::Org(&org("acme"), &exhausted(3))).await, Ok(()), "{status}");
    }
    for status in [301, 308, 400, 410, 429, 500, 503] {
        let (stand, endpoints) = stand(status).await;
        let outcome = endpoints.deliver(Notice::Org(&org("acme"), &exhausted(3))).await;
        let after = Some(Duration::from_secs(7));
        assert_eq!(outcome, Err(NotDelivered { fault: DeliveryFault::Refused(status), after }));
        assert_eq!(stand.got.lock().unwrap().len(), 1, "{status}");
    }
    let endpoints = Endpoints::new(Arc::new(TestClock::default()));
    let fault = async |endpoints: &Endpoints| {
        let outcome = endpoints.deliver(Notice::Org(&org("acme"), &exhausted(3))).await;
        outcome.unwrap_err().fault
    };
    assert_eq!(fault(&endpoints).await, DeliveryFault::Unconfigured);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let to = |timeout| Some(Endpoint { url: url.clone(), key: WebhookKey::new([SECRET]), timeout });
    endpoints.renew(to(Duration::from_millis(50))).unwrap();
    assert_eq!(fault(&endpoints).await, DeliveryFault::Timeout, "nobody accepts");
    drop(listener);
    endpoints.renew(to(Duration::from_secs(5))).unwrap();
    assert_eq!(fault(&endpoints).await, DeliveryFault::Unreachable);
    endpoints.renew(None).unwrap();
    assert_eq!(fault(&endpoints).await, DeliveryFault::Unconfigured);
}
