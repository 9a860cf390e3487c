//! Messages of the billing provider, signed the way Svix and Standard Webhooks do it.
//!
//! They are signals to ask again, never state: they may be late, lost, doubled or out of order, and
//! what they say of a balance is not used. The signature is over the bytes as they came.

mod seen;
#[cfg(test)]
mod tests;

use std::fmt;

use reqwest::header::HeaderMap;
use serde::Deserialize;

pub use self::seen::Seen;
use crate::{
    domain::{ids::OrgId, window::Millis},
    webhook::signing::WebhookKey,
};

/// How far the time of a message may be off, either way.
const TOLERANCE_S: u64 = 300;
const ID_BYTES: usize = 256;
/// Svix sends one signature per secret while a secret is being replaced.
const SIGNATURES: usize = 16;

/// Why a message is not taken. Nothing of it was acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookError {
    /// The name of the header, without `svix-`.
    MissingHeader(&'static str),
    /// The name of the header, without `svix-`; its value cannot be read.
    BadHeader(&'static str),
    /// Signed too long ago.
    TooOld,
    /// Signed in the future.
    TooEarly,
    /// No signature in the header is that of the bytes with the key.
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
            Self::BadHeader(name) => write!(f, "the header svix-{name} cannot be read"),
            Self::TooOld => write!(f, "signed more than {TOLERANCE_S} s ago"),
            Self::TooEarly => write!(f, "signed more than {TOLERANCE_S} s in the future"),
            Self::BadSignature => f.write_str("no signature fits"),
            Self::Replayed => f.write_str("taken before"),
            Self::BadBody => f.write_str("the body is not a message"),
        }
    }
}

impl std::error::Error for WebhookError {}

/// Verifies one message and says whose balance, or plan, may have changed; nobody's, where its type
/// or its customer means nothing here. Once taken it is not taken again; a message that was refused may come again.
pub fn receive(
    headers: &HeaderMap,
    body: &[u8],
    now: Millis,
    key: &WebhookKey,
    seen: &Seen,
) -> Result<Option<OrgId>, WebhookError> {
    let id = header(headers, "id")?;
    if id.is_empty() || id.len() > ID_BYTES {
        return Err(WebhookError::BadHeader("id"));
    }
    let at = header(headers, "timestamp")?;
    check_time(at, now)?;
    let signatures = header(headers, "signature")?.split(' ').take(SIGNATURES);
    if !signatures.into_iter().any(|signature| key.has_signed(id, at, body, signature)) {
        return Err(WebhookError::BadSignature);
    }
    let message: Message = serde_json::from_slice(body).map_err(|_| WebhookError::BadBody)?;
    if !seen.first(id, now) {
        return Err(WebhookError::Replayed);
    }
    Ok(message.org())
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
    fn org(self) -> Option<OrgId> {
        const MEANT: [&str; 7] = [
            "billing.updated",
            "customer.products.updated",
            "balances.limit_reached",
            "balances.usage_alert_triggered",
            "billing.auto_topup_succeeded",
            "billing.auto_topup_failed",
            "customer.threshold_reached",
        ];
        let data = self.data.filter(|_| MEANT.contains(&self.r#type.as_str()))?;
        let customer = data.customer_id.or_else(|| data.customer?.id)?;
        // A customer that cannot be an org is none of ours.
        OrgId::parse("customer_id", &customer).ok()
    }
}
