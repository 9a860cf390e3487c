//! Messages of the billing provider, signed the way Svix and Standard Webhooks do it.
//!
//! They are signals to ask again, never state: they may be late, lost, doubled or out of order, and
//! what they say of a balance is not used. The signature is over the bytes as they came:
//! HMAC-SHA256 of `id.timestamp.body`. (The `standardwebhooks` crate reads a clock of its own, and
//! `svix` is a whole client; here time is an argument.)

mod seen;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use sha2::Sha256;

pub use self::seen::Seen;
use crate::domain::{ids::OrgId, window::Millis};

/// How far the time of a message may be off, either way.
const TOLERANCE_S: u64 = 300;
const ID_BYTES: usize = 256;
/// Svix sends one signature per secret while a secret is being replaced.
const SIGNATURES: usize = 16;

/// What a message means for an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    pub org: OrgId,
    pub kind: SignalKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// There may be more or less left than is remembered.
    BalanceMayHaveChanged,
    /// So may the plan, and with it whether the org pays.
    PlanMayHaveChanged,
}

/// Why a message is not taken. Nothing of it was acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookError {
    MissingHeader(&'static str),
    BadHeader(&'static str),
    /// Signed too long ago.
    TooOld,
    /// Signed in the future.
    TooEarly,
    BadSignature,
    /// It was taken before.
    Replayed,
    /// Signed, and not readable.
    BadBody,
}

impl WebhookError {
    /// A repeat is answered as if it were new, so that it does not come again.
    pub fn http_status(self) -> u16 {
        match self {
            Self::MissingHeader(_) | Self::BadHeader(_) | Self::BadBody => 400,
            Self::TooOld | Self::TooEarly | Self::BadSignature => 401,
            Self::Replayed => 200,
        }
    }
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingHeader(name) => write!(f, "the header svix-{name} is missing"),
            Self::BadHeader(name) => write!(f, "the header svix-{name} can not be read"),
            Self::TooOld => write!(f, "signed more than {TOLERANCE_S} s ago"),
            Self::TooEarly => write!(f, "signed more than {TOLERANCE_S} s in the future"),
            Self::BadSignature => f.write_str("no signature fits"),
            Self::Replayed => f.write_str("taken before"),
            Self::BadBody => f.write_str("the body is not a message"),
        }
    }
}

impl std::error::Error for WebhookError {}

/// The secret of one endpoint, `whsec_…`. Never shown.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

impl WebhookSecret {
    /// The error says what is wrong with `text`, without repeating it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let encoded = text.strip_prefix("whsec_").ok_or("a webhook secret begins with whsec_")?;
        let key = BASE64_STANDARD.decode(encoded).map_err(|_| "what follows whsec_ is not base64")?;
        if key.len() < 16 {
            return Err("a webhook secret has at least 16 bytes");
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| "the webhook secret can not be a key")
    }

    /// Takes the same time whether the first byte is wrong or the last.
    fn signed(&self, id: &str, at: &str, body: &[u8], signature: &[u8]) -> bool {
        let parts = [id.as_bytes(), b".", at.as_bytes(), b".", body];
        let mac = parts.iter().fold(self.0.clone(), |mac, part| mac.chain_update(part));
        mac.verify_slice(signature).is_ok()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_(hidden)")
    }
}

/// Verifies one message and says what it means. Nothing, where its type or its customer means
/// nothing here. Once taken it is not taken again; a message that was refused may come again.
pub fn receive(
    headers: &HeaderMap,
    body: &[u8],
    now: Millis,
    secret: &WebhookSecret,
    seen: &Seen,
) -> Result<Vec<Signal>, WebhookError> {
    let id = header(headers, "id")?;
    if id.is_empty() || id.len() > ID_BYTES {
        return Err(WebhookError::BadHeader("id"));
    }
    let at = header(headers, "timestamp")?;
    check_time(at, now)?;
    let signatures = header(headers, "signature")?.split(' ').take(SIGNATURES);
    let decoded = signatures.filter_map(|one| BASE64_STANDARD.decode(one.strip_prefix("v1,")?).ok());
    if !decoded.into_iter().any(|signature| secret.signed(id, at, body, &signature)) {
        return Err(WebhookError::BadSignature);
    }
    let message: Message = serde_json::from_slice(body).map_err(|_| WebhookError::BadBody)?;
    if !seen.first(id, now) {
        return Err(WebhookError::Replayed);
    }
    Ok(message.signal().into_iter().collect())
}

/// Svix's own names, and those of Standard Webhooks.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, WebhookError> {
    let found = ["svix", "webhook"].into_iter().find_map(|family| headers.get(format!("{family}-{name}")));
    found.ok_or(WebhookError::MissingHeader(name))?.to_str().map_err(|_| WebhookError::BadHeader(name))
}

fn check_time(at: &str, now: Millis) -> Result<(), WebhookError> {
    let at: u64 = at.parse().map_err(|_| WebhookError::BadHeader("timestamp"))?;
    let now = now / 1000;
    if at.saturating_add(TOLERANCE_S) < now {
        return Err(WebhookError::TooOld);
    }
    if at > now.saturating_add(TOLERANCE_S) { Err(WebhookError::TooEarly) } else { Ok(()) }
}

#[derive(Debug, Deserialize)]
struct Message {
    r#type: String,
    #[serde(default)]
    data: Option<Data>,
}

/// Newer messages name the customer, older ones carry it.
#[derive(Debug, Deserialize)]
struct Data {
    #[serde(default)]
    customer_id: Option<String>,
    #[serde(default)]
    customer: Option<Customer>,
}

#[derive(Debug, Deserialize)]
struct Customer {
    #[serde(default)]
    id: Option<String>,
}

impl Message {
    fn signal(self) -> Option<Signal> {
        let kind = match self.r#type.as_str() {
            "billing.updated" | "customer.products.updated" => SignalKind::PlanMayHaveChanged,
            "balances.limit_reached"
            | "balances.usage_alert_triggered"
            | "billing.auto_topup_succeeded"
            | "billing.auto_topup_failed"
            | "customer.threshold_reached" => SignalKind::BalanceMayHaveChanged,
            _ => return None,
        };
        let data = self.data?;
        let customer = data.customer_id.or_else(|| data.customer?.id)?;
        // A customer that can not be an org is none of ours.
        let org = OrgId::parse("customer_id", &customer).ok()?;
        Some(Signal { org, kind })
    }
}
