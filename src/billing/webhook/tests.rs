//! Signed, in time, new and readable, or not taken; and what each type of message means.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_2b3cQuotaTest0001";
const AT: u64 = 1_761_840_000;
const SIGNATURE: &str = "v1,DNf4LDT/xLy3GkZRCrufVa2FW2Zmm9T4ulWmk5P2I6A=";
const BODY: &str = concat!(
    r#"{"type":"billing.updated","data":{"object":"billing.updated","customer_id":"org_1","plan_changes":[{"action":"#,
    r#""activated","subscription":{"plan_id":"team","status":"active","past_due":false,"started_at":1761840000000,"#,
    r#""canceled_at":null,"expires_at":null,"trial_ends_at":null,"current_period_start":1761840000000,"#,
    r#""current_period_end":1764432000000},"previous_attributes":null,"item_changes":[]}],"tags":[]}}"#,
);

fn headers(family: &str, id: &str, at: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [("id", id), ("timestamp", at), ("signature", signature)] {
        let name = reqwest::header::HeaderName::try_from(format!("{family}-{name}")).unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    headers
}

fn key() -> WebhookKey {
    WebhookKey::new([BASE64_STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap()])
}

fn sign(body: &[u8]) -> String {
    key().sign(ID, &AT.to_string(), body)
}

fn take(headers: &HeaderMap, body: &[u8], now_s: u64, seen: &Seen) -> Result<Option<OrgId>, WebhookError> {
    receive(headers, body, now_s * 1000, &key(), seen)
}

/// Whom a well-signed message with this body is about.
fn meaning(body: &str) -> Result<Option<String>, WebhookError> {
    let headers = headers("svix", ID, &AT.to_string(), &sign(body.as_bytes()));
    let org = take(&headers, body.as_bytes(), AT, &Seen::default())?;
    Ok(org.map(|org| org.to_string()))
}

#[test]
fn the_published_vector_verifies_under_both_names() {
    let expected = Some(OrgId::parse("", "org_1").unwrap());
    for family in ["svix", "webhook"] {
        let headers = headers(family, ID, &AT.to_string(), SIGNATURE);
        assert_eq!(take(&headers, BODY.as_bytes(), AT, &Seen::default()), Ok(expected.clone()), "{family}");
    }
}

#[test]
fn one_of_several_signatures_is_enough() {
    let several = format!("v1,AAAA v2,{} junk v1a,x {SIGNATURE}", &SIGNATURE[3..]);
    let headers = headers("svix", ID, &AT.to_string(), &several);
    assert!(take(&headers, BODY.as_bytes(), AT, &Seen::default()).is_ok());
}

#[test]
fn a_signature_that_does_not_fit_is_refused() {
    let at = AT.to_string();
    let flipped = BODY.replace("org_1", "org_2");
    let other_key = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    for (headers, body) in [
        (headers("svix", ID, &at, other_key), BODY),
        (headers("svix", ID, &at, &SIGNATURE[..30]), BODY),
        (headers("svix", ID, &at, "v1,"), BODY),
        (headers("svix", ID, &at, ""), BODY),
        (headers("svix", ID, &at, &SIGNATURE[3..]), BODY),
        (headers("svix", ID, &at, &SIGNATURE.replace("v1", "v2")), BODY),
        (headers("svix", "msg_other", &at, SIGNATURE), BODY),
        (headers("svix", ID, &(AT + 1).to_string(), SIGNATURE), BODY),
        (headers("svix", ID, &at, SIGNATURE), flipped.as_str()),
        (headers("svix", ID, &at, SIGNATURE), &BODY[..BODY.len() - 1]),
    ] {
        let seen = Seen::default();
        assert_eq!(take(&headers, body.as_bytes(), AT, &seen), Err(WebhookError::BadSignature), "{headers:?}");
    }
}

#[test]
fn five_minutes_either_way_are_in_time() {
    let headers = headers("svix", ID, &AT.to_string(), SIGNATURE);
    for (now, expected) in [
        (AT - 301, Some(WebhookError::TooEarly)),
        (AT - 300, None),
        (AT + 300, None),
        (AT + 301, Some(WebhookError::TooOld)),
        (0, Some(WebhookError::TooEarly)),
    ] {
        assert_eq!(take(&headers, BODY.as_bytes(), now, &Seen::default()).err(), expected, "{now}");
    }
}

#[test]
fn headers_that_are_missing_or_unreadable_are_named() {
    for name in ["id", "timestamp", "signature"] {
        let mut headers = headers("svix", ID, &AT.to_string(), SIGNATURE);
        headers.remove(format!("svix-{name}"));
        assert_eq!(take(&headers, b"", AT, &Seen::default()), Err(WebhookError::MissingHeader(name)));
    }
    for (id, at, bad) in
        [("", "1761840000", "id"), (ID, "soon", "timestamp"), (ID, "-1", "timestamp"), (&"x".repeat(257), "1", "id")]
    {
        let headers = headers("svix", id, at, SIGNATURE);
        assert_eq!(take(&headers, b"", AT, &Seen::default()), Err(WebhookError::BadHeader(bad)), "{id} {at}");
    }
}

#[test]
fn a_message_is_taken_once_and_only_what_was_taken_is_remembered() {
    let seen = Seen::default();
    let good = headers("svix", ID, &AT.to_string(), SIGNATURE);
    assert!(take(&headers("svix", ID, &AT.to_string(), "v1,AAAA"), BODY.as_bytes(), AT, &seen).is_err());
    assert!(take(&good, BODY.as_bytes(), AT, &seen).is_ok(), "what was refused may come again");
    let again = take(&good, BODY.as_bytes(), AT + 1, &seen);
    assert_eq!(again, Err(WebhookError::Replayed));
    assert_eq!(WebhookError::Replayed.http_status(), 200, "so that it does not come a third time");
}

#[test]
fn every_type_of_message_names_the_org_to_ask_about() {
    for kind in [
        "billing.updated",
        "customer.products.updated",
        "balances.limit_reached",
        "balances.usage_alert_triggered",
        "billing.auto_topup_succeeded",
        "billing.auto_topup_failed",
        "customer.threshold_reached",
    ] {
        for data in [r#"{"customer_id":"org_1"}"#, r#"{"customer":{"id":"org_1","name":"x"},"feature":{}}"#] {
            let body = format!(r#"{{"type":"{kind}","data":{data},"occurred_at":1,"id":"evt"}}"#);
            assert_eq!(meaning(&body), Ok(Some("org_1".into())), "{body}");
        }
    }
}

#[test]
fn what_means_nothing_here_is_taken_and_passed_over() {
    for body in [
        r#"{"type":"invoice.paid","data":{"customer_id":"org_1"}}"#,
        r#"{"type":"billing.updated","data":{"customer_id":"not an org"}}"#,
        r#"{"type":"billing.updated","data":{}}"#,
        r#"{"type":"billing.updated","data":null}"#,
        r#"{"type":"billing.updated"}"#,
    ] {
        assert_eq!(meaning(body), Ok(None), "{body}");
    }
}

#[test]
fn what_is_signed_and_no_message_is_refused() {
    for body in ["", "hello", "[]", "{}", r#"{"type":7}"#] {
        assert_eq!(meaning(body), Err(WebhookError::BadBody), "{body}");
    }
}

#[test]
fn a_key_is_never_shown() {
    assert_eq!(format!("{:?}", key()), "whsec_(hidden)");
}
