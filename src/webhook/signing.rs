//! Signatures of Standard Webhooks, which Svix makes as well: HMAC-SHA256 of `id.timestamp.body`, in base64 behind `v1,`.
//! (The `standardwebhooks` crate reads a clock of its own, and `svix` is a whole client; here time is an argument.)

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Of a signature; there is no other one for keys that both ends have.
const VERSION: &str = "v1,";

/// What messages of one endpoint are signed with. Never shown.
#[derive(Clone)]
pub struct WebhookKey(Hmac<Sha256>);

impl WebhookKey {
    /// From the bytes behind `whsec_`, decoded. HMAC takes a key of any length.
    pub fn new(key: &[u8]) -> Self {
        let Ok(mac) = Hmac::new_from_slice(key) else { unreachable!("HMAC takes a key of any length") };
        Self(mac)
    }

    fn mac(&self, id: &str, at: &str, body: &[u8]) -> Hmac<Sha256> {
        let parts = [id.as_bytes(), b".", at.as_bytes(), b".", body];
        parts.iter().fold(self.0.clone(), |mac, part| mac.chain_update(part))
    }

    /// The header for a message with this id, sent at this time (seconds since the Unix epoch).
    pub fn sign(&self, id: &str, at: &str, body: &[u8]) -> String {
        format!("{VERSION}{}", BASE64_STANDARD.encode(self.mac(id, at, body).finalize().into_bytes()))
    }

    /// Whether it is the signature of the message, as it stands in a header. Takes the same time whether the first byte is
    /// wrong or the last.
    pub fn has_signed(&self, id: &str, at: &str, body: &[u8], signature: &str) -> bool {
        let decoded = signature.strip_prefix(VERSION).and_then(|text| BASE64_STANDARD.decode(text).ok());
        decoded.is_some_and(|signature| self.mac(id, at, body).verify_slice(&signature).is_ok())
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_(hidden)")
    }
}
