//! Bearer tokens: `tg_ID_SECRET`. What keeps them, a file or a store, has the SHA-256 of each secret and never a
//! secret: 256 random bits need no salt and no slow hash.

mod in_force;

pub use in_force::{Refreshed, Tokens};

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    path::Path,
    sync::Arc,
};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::principal::{Grant, Principal, Role, until};
use crate::{
    domain::{input::InputError, window::Millis},
    file,
    ports::TokenRow,
};

const PREFIX: &str = "tg_";
/// Bytes of an id, which is public, and of a secret; both in hexadecimal.
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// Largest token file: some 10 000 tokens.
const FILE_BYTES: u64 = 4 << 20;
const HASH_RULE: &str = "64 hexadecimal digits: the SHA-256 of the secret";
const TIME_RULE: &str = "an instant such as \"2027-01-31T00:00:00Z\"";

/// One token, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredToken {
    /// The part of the token that names it; public.
    pub id: String,
    /// What the log and the audit call its bearer. No two tokens share one.
    pub name: String,
    /// See [`Grant`].
    pub role: Role,
    /// See [`Grant`].
    pub orgs: Vec<String>,
    /// See [`Grant`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// See [`Grant`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<String>,
    /// SHA-256 of the secret, in hexadecimal.
    pub sha256: String,
    /// When it was made.
    pub created: String,
    /// When it ends; without it never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// The file of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// In the order in which they were made.
    #[serde(default, rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<StoredToken>,
}

/// A token that was just made; the only time that anybody sees it.
pub struct NewToken {
    /// For the file or the store.
    pub stored: StoredToken,
    /// For its bearer.
    pub text: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("stored", &self.stored).finish_non_exhaustive()
    }
}

impl StoredToken {
    /// Makes a token of this name.
    ///
    /// # Errors
    /// Naming what is not allowed, or that the system has no randomness.
    pub fn make(name: &str, grant: Grant, now: Millis, expires: Option<Millis>) -> Result<NewToken, String> {
        grant.to(name, None).map_err(|error| error.to_string())?;
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        for random in [&mut id[..], &mut secret[..]] {
            getrandom::fill(random).map_err(|error| format!("no randomness from the system: {error}"))?;
        }
        let (id, secret) = (hex(&id), hex(&secret));
        let Grant { role, orgs, scopes, bind } = grant;
        let stored = Self {
            name: name.to_owned(),
            role,
            orgs,
            scopes,
            bind,
            sha256: hex(&Sha256::digest(&secret)),
            created: instant(now),
            expires: expires.map(instant),
            id: id.clone(),
        };
        Ok(NewToken { stored, text: format!("{PREFIX}{id}_{secret}") })
    }

    fn grant(&self) -> Grant {
        let Self { role, orgs, scopes, bind, .. } = self.clone();
        Grant { role, orgs, scopes, bind }
    }

    /// When it ends, in milliseconds since the epoch; `None` = never.
    ///
    /// # Errors
    /// Where that is no instant.
    pub fn ends(&self) -> Result<Option<Millis>, String> {
        self.expires.as_deref().map(|text| millis("expires", text)).transpose()
    }

    /// For a store.
    ///
    /// # Errors
    /// Naming what is not allowed.
    pub fn row(&self) -> Result<TokenRow, String> {
        let Known { hash, stored, .. } = self.known()?;
        let (created, expires) = (millis("created", &stored.created)?, stored.ends()?);
        let Self { id, name, role, orgs, scopes, bind, .. } = stored;
        let (role, sha256) = (role.to_string(), hash.to_vec());
        Ok(TokenRow { id, name, role, orgs, scopes, bind, sha256, created, expires })
    }

    /// Out of a store.
    ///
    /// # Errors
    /// Naming what is not allowed.
    pub fn of_row(row: TokenRow) -> Result<Self, String> {
        let TokenRow { id, name, role, orgs, scopes, bind, sha256, created, expires } = row;
        let role = role.parse().map_err(|error: InputError| error.to_string())?;
        let (created, expires) = (instant(created), expires.map(instant));
        Ok(Self { id, name, role, orgs, scopes, bind, sha256: hex(&sha256), created, expires })
    }

    fn known(&self) -> Result<Known, String> {
        let ends = self.ends()?;
        let principal = self.grant().to(&self.name, ends.map(until)).map_err(|error| error.to_string())?;
        let hash = unhex(&self.sha256).ok_or_else(|| format!("sha256 is not allowed: {HASH_RULE}"))?;
        Ok(Known { hash, stored: self.clone(), principal: Arc::new(principal) })
    }
}

impl TokenFile {
    /// Reads a file of tokens.
    ///
    /// # Errors
    /// Saying what is wrong with it, and where; never with a part of a secret, which it does not have.
    pub fn read(path: &Path) -> Result<Self, String> {
        let refused = |cause| format!("it is not {cause}");
        let bytes = file::read(path, FILE_BYTES).map_err(refused)?;
        let text = String::from_utf8(bytes).map_err(|_| refused("text in UTF-8".into()))?;
        // Without the text around it, which may be a token that does not belong there.
        let file: Self = toml::from_str(&text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
            format!("line {}: {}", line + 1, error.message())
        })?;
        file.known()?;
        Ok(file)
    }

    /// As it is written.
    ///
    /// # Errors
    /// None that can happen: every field is text.
    pub fn text(&self) -> Result<String, String> {
        const HEAD: &str = "# Tokens of tollgate: `tollgate token create`, `list` and `revoke` write this file. It has no \
                            secret in it.\n\n";
        toml::to_string(self).map(|tokens| format!("{HEAD}{tokens}")).map_err(|error| error.to_string())
    }

    fn known(&self) -> Result<ById, String> {
        let mut known = HashMap::with_capacity(self.tokens.len());
        let mut names = HashMap::with_capacity(self.tokens.len());
        for token in &self.tokens {
            let at = |error: String| format!("token {:?}: {error}", token.name);
            if names.insert(&token.name, ()).is_some() {
                return Err(at("another token has the same name".into()));
            }
            if known.insert(token.id.clone(), token.known().map_err(at)?).is_some() {
                return Err(at(format!("another token has the same id {:?}", token.id)));
            }
        }
        Ok(known)
    }
}

/// Tokens by their id.
type ById = HashMap<String, Known>;

#[derive(Debug, Clone)]
struct Known {
    hash: [u8; SECRET_BYTES],
    stored: StoredToken,
    principal: Arc<Principal>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A String takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    if text.len() != 2 * SECRET_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn millis(what: &str, text: &str) -> Result<Millis, String> {
    let at = DateTime::parse_from_rfc3339(text).ok().and_then(|at| Millis::try_from(at.timestamp_millis()).ok());
    at.ok_or_else(|| format!("{what} {text:?} is not allowed: {TIME_RULE}"))
}

fn instant(at: Millis) -> String {
    let at = i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
