//! Signatures of Standard Webhooks, which Svix makes as well: HMAC-SHA256 of `id.timestamp.body`, in base64 behind `v1,`.
//! (The `standardwebhooks` crate reads a clock of its own, and `svix` is a whole client; here time is an argument.)

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Of a signature; there is no other one for keys that both ends have.
const VERSION: &str = "v1,";

/// What messages of one endpoint are signed with: while a secret is replaced, with the new one and with the one before.
/// Never shown.
#[derive(Clone)]
pub struct WebhookKey(Vec<Hmac<Sha256>>);

impl WebhookKey {
    /// From the bytes behind each `whsec_`, decoded. HMAC takes a key of any length.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mac = |key: &[u8]| match Hmac::new_from_slice(key) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes a key of any length"),
        };
        Self(keys.into_iter().map(|key| mac(key.as_ref())).collect())
    }

    fn macs<'m>(&'m self, id: &'m str, at: &'m str, body: &'m [u8]) -> impl Iterator<Item = Hmac<Sha256>> + 'm {
        let parts = [id.as_bytes(), b".", at.as_bytes(), b".", body];
        self.0.iter().map(move |key| parts.iter().fold(key.clone(), |mac, part| mac.chain_update(part)))
    }

    /// The header for a message with this id, sent at this time (seconds since the Unix epoch): a signature for each
    /// secret, between spaces.
    pub fn sign(&self, id: &str, at: &str, body: &[u8]) -> String {
        let signed = |mac: Hmac<Sha256>| format!("{VERSION}{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        self.macs(id, at, body).map(signed).collect::<Vec<_>>().join(" ")
    }

    /// Whether it is a signature of the message, as it stands in a header, by one of the secrets. Takes the same time whether the first byte is
    /// wrong or the last.
    pub fn has_signed(&self, id: &str, at: &str, body: &[u8], signature: &str) -> bool {
        let decoded = signature.strip_prefix(VERSION).and_then(|text| BASE64_STANDARD.decode(text).ok());
        let verified = |signature: Vec<u8>| {
            self.macs(id, at, body).fold(false, |is_one, mac| mac.verify_slice(&signature).is_ok() | is_one)
        };
        decoded.is_some_and(verified)
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_(hidden)")
    }
}
