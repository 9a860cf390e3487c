//! Principals by signed tokens (JWT, RFC 7519) of one issuer.
//!
//! The issuer says who calls. What a subject may do is granted by the configuration, or by a claim of the token where
//! the configuration names one. A token is judged once and then remembered, until it ends, its key leaves the key
//! set, or its subject is granted something else: each of them ends what it has begun as well.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Number, value::RawValue};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    Grant, Grants, Principal, Refused, Role,
    fetch::{Fetched, Remote},
    jwks::{Algorithm, Found, Key, KeySet},
    principal::until,
    seen::{Seen, fingerprint},
};
use crate::{
    bounds::{JWKS_BYTES, JWT_BYTES, JWT_LEEWAY_MS, SECOND_MS},
    clock,
    domain::window::Millis,
    file,
};

/// Before the subject, in the name of a principal.
const NAME: &str = "jwt:";
/// How often a file of keys is read.
const FILE_EVERY: Duration = Duration::from_millis(500);
/// A URL is not asked more often than this, whatever tokens come.
const URL_SPACING: Duration = Duration::from_secs(10);

/// Which tokens are taken, and what their subjects are granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRules {
    /// The claim `iss`.
    pub issuer: String,
    /// What the claim `aud` has to name.
    pub audience: String,
    /// A claim that grants, for subjects that the configuration does not name.
    pub claim: Option<String>,
    /// What subjects are granted.
    pub subjects: Grants,
}

/// Where the keys of the issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Read again as soon as it changes.
    File(PathBuf),
    /// Asked at start, every few minutes, and when a token names a key that is not known.
    Url {
        /// `https`, or `http` on this machine.
        url: String,
        /// The only certificates that are trusted there, PEM; `None` = those of the machine.
        ca: Option<PathBuf>,
    },
}

/// What a reading of the keys came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysRead {
    /// They are others than before.
    pub changed: bool,
    /// How many there are now.
    pub keys: usize,
    /// Principals that were revoked, because the keys of their tokens are gone.
    pub revoked: usize,
}

/// Judges the tokens of one issuer.
#[derive(Debug)]
pub struct Issuer {
    from: From,
    judging: ArcSwap<Judging>,
    seen: Seen<Origin>,
    pace: Mutex<Pace>,
    /// A token names a key that is not known.
    wanted: Notify,
}

#[derive(Debug)]
enum From {
    File(PathBuf),
    Url(Remote),
}

/// By what tokens are judged.
#[derive(Debug)]
struct Judging {
    rules: JwtRules,
    /// `None` until they have been read once.
    keys: Option<KeySet>,
}

/// When keys are read.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// At the latest.
    next: Instant,
    /// At the earliest.
    earliest: Instant,
    /// The last reading came to a set.
    worked: bool,
}

/// Why a token made a principal.
#[derive(Debug)]
struct Origin {
    key: Arc<Key>,
    subject: String,
    /// What the token itself says.
    claimed: Option<Grant>,
    granted: Grant,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What has to be understood, and is not.
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Number,
    nbf: Option<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(name) => name == audience,
            Self::Many(names) => names.iter().any(|name| name == audience),
        }
    }
}

impl JwtRules {
    fn grant<'g>(&'g self, subject: &str, claimed: Option<&'g Grant>) -> Option<&'g Grant> {
        self.subjects.find(subject).or(claimed)
    }
}

impl Judging {
    /// Whether the same token would be judged alike now.
    fn holds(&self, origin: &Origin) -> bool {
        let has_key = self.keys.as_ref().is_some_and(|keys| keys.contains(&origin.key));
        has_key && self.rules.grant(&origin.subject, origin.claimed.as_ref()) == Some(&origin.granted)
    }
}

impl Issuer {
    /// Reads a file of keys. A URL is not asked yet: until it was, nobody is let in.
    ///
    /// # Errors
    /// Naming the key of the configuration and what it has to be.
    pub fn open(rules: JwtRules, source: KeySource) -> Result<Arc<Self>, String> {
        let (from, keys) = match source {
            KeySource::File(path) => {
                let refused = |cause| format!("auth.jwt.jwks = {:?} is not {cause}", path.display().to_string());
                let keys = read_file(&path).map_err(refused)?;
                if keys.len() == 0 {
                    return Err(refused("a key set that anybody could be let in by: it has no key".into()));
                }
                (From::File(path), Some(keys))
            }
            KeySource::Url { url, ca } => {
                let remote = Remote::new(&url, ca).map_err(|cause| format!("auth.jwt.{cause}"))?;
                (From::Url(remote), None)
            }
        };
        let now = Instant::now();
        Ok(Arc::new(Self {
            from,
            judging: ArcSwap::from_pointee(Judging { rules, keys }),
            seen: Seen::new(),
            pace: Mutex::new(Pace { next: now, earliest: now, worked: false }),
            wanted: Notify::new(),
        }))
    }

    /// Who calls with this token. Cheap where it has been seen.
    ///
    /// # Errors
    /// Why it lets nobody in.
    pub fn verify(&self, token: &str) -> Result<Arc<Principal>, Refused> {
        if token.len() > JWT_BYTES {
            return Err(Refused::Invalid);
        }
        let credential = fingerprint(token.as_bytes());
        loop {
            if let Some(judged) = self.seen.get(&credential) {
                return judged;
            }
            let judging = self.judging.load_full();
            let (principal, origin) = self.judge(&judging, token)?;
            // Keys or grants may have changed meanwhile: then it is judged by the new ones.
            let holds = || Arc::ptr_eq(&judging, &self.judging.load());
            if let Some(principal) = self.seen.add(credential, principal, origin, holds) {
                return Ok(principal);
            }
        }
    }

    fn judge(&self, judging: &Judging, token: &str) -> Result<(Principal, Origin), Refused> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(Refused::Invalid)?;
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| Refused::Invalid)?;
        let algorithm = Algorithm::parse(&header.alg).filter(|_| header.crit.is_none()).ok_or(Refused::Invalid)?;
        let keys = judging.keys.as_ref().ok_or(Refused::Unavailable)?;
        let key = match keys.find(header.kid.as_deref(), algorithm) {
            Found::Key(key) => key,
            Found::Unknown => return Err(self.want()),
            Found::Unfit => return Err(Refused::Invalid),
        };
        if !key.has_signed(signed.as_bytes(), &decoded(signature)?) {
            return Err(Refused::Invalid);
        }
        let payload = decoded(payload)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Refused::Invalid)?;
        if claims.iss != judging.rules.issuer || !claims.aud.names(&judging.rules.audience) {
            return Err(Refused::Invalid);
        }
        let ends = millis(&claims.exp)?.saturating_add(JWT_LEEWAY_MS);
        let begins = claims.nbf.as_ref().map_or(Ok(0), millis)?;
        let now = clock::wall();
        if now >= ends {
            return Err(Refused::Expired);
        }
        if now.saturating_add(JWT_LEEWAY_MS) < begins {
            return Err(Refused::Invalid);
        }
        let claimed = judging.rules.claim.as_deref().and_then(|claim| claimed(&payload, claim, &claims.sub));
        let Some(granted) = judging.rules.grant(&claims.sub, claimed.as_ref()).cloned() else {
            tracing::info!(subject = claims.sub, "a good token is of a subject that is granted nothing");
            return Err(Refused::Invalid);
        };
        let principal = granted.to(&format!("{NAME}{}", claims.sub), Some(until(ends))).map_err(|error| {
            tracing::warn!(%error, subject = claims.sub, "a good token makes no principal");
            Refused::Invalid
        })?;
        Ok((principal, Origin { key: key.clone(), subject: claims.sub, claimed, granted }))
    }

    /// Of a token whose key is not known: whether the set may be out of date, and then it is asked for again.
    fn want(&self) -> Refused {
        let is_known = match self.from {
            // It is read all the time.
            From::File(_) => true,
            From::Url(_) => {
                let pace = *self.pace();
                pace.worked && Instant::now() < pace.earliest
            }
        };
        if is_known {
            return Refused::Invalid;
        }
        self.wanted.notify_one();
        Refused::Unavailable
    }

    /// Resolves when the keys should be read again.
    pub async fn due(&self) {
        let Pace { next, earliest, .. } = *self.pace();
        tokio::select! {
            () = sleep_until(next) => {}
            () = self.wanted.notified() => sleep_until(earliest).await,
        }
    }

    /// Reads the keys again. What came of keys that are gone is revoked.
    ///
    /// # Errors
    /// Why there is no new set; the one before goes on to be used.
    pub async fn read_again(&self) -> Result<KeysRead, String> {
        let (read, next, earliest) = match &self.from {
            From::File(path) => {
                let path = path.clone();
                let read =
                    spawn_blocking(move || read_file(&path)).await.unwrap_or_else(|error| Err(error.to_string()));
                (read, FILE_EVERY, FILE_EVERY)
            }
            From::Url(remote) => match remote.fetch().await {
                Ok(Fetched { text, fresh_for }) => {
                    let read = KeySet::parse(&text);
                    let next = if read.is_ok() { fresh_for } else { URL_SPACING };
                    (read, next, URL_SPACING)
                }
                Err(cause) => (Err(cause), URL_SPACING, URL_SPACING),
            },
        };
        let now = Instant::now();
        *self.pace() = Pace { next: now + next, earliest: now + earliest, worked: read.is_ok() };
        Ok(self.adopt(read?))
    }

    fn adopt(&self, keys: KeySet) -> KeysRead {
        let number = keys.len();
        if self.judging.load().keys.as_ref() == Some(&keys) {
            return KeysRead { changed: false, keys: number, revoked: 0 };
        }
        let revoked = self.judge_by(|before| Judging { rules: before.rules.clone(), keys: Some(keys) });
        KeysRead { changed: true, keys: number, revoked }
    }

    /// Other grants, from a configuration that was reloaded. How many principals were revoked, because theirs changed.
    pub fn grant(&self, subjects: Grants) -> usize {
        if self.judging.load().rules.subjects == subjects {
            return 0;
        }
        self.judge_by(|before| Judging {
            rules: JwtRules { subjects, ..before.rules.clone() },
            keys: before.keys.clone(),
        })
    }

    /// One change after the other: none is lost to another one.
    fn judge_by(&self, change: impl FnOnce(&Judging) -> Judging) -> usize {
        let change = || self.judging.store(Arc::new(change(&self.judging.load())));
        self.seen.judge_again(change, |origin| self.judging.load().holds(origin))
    }

    /// How many keys can let somebody in; `None` where they have not been read yet.
    pub fn keys(&self) -> Option<usize> {
        self.judging.load().keys.as_ref().map(KeySet::len)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_file(path: &std::path::Path) -> Result<KeySet, String> {
    let text = file::read(path, JWKS_BYTES as u64)?;
    KeySet::parse(&text).map_err(|cause| format!("a JSON Web Key Set that is of use: {cause}"))
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Invalid)
}

/// Seconds since the epoch, maybe with a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` of a float saturates")]
fn millis(seconds: &Number) -> Result<Millis, Refused> {
    match (seconds.as_u64(), seconds.as_f64()) {
        (Some(seconds), _) => Ok(seconds.saturating_mul(SECOND_MS)),
        (None, Some(seconds)) if seconds.is_finite() => Ok((seconds * 1_000.0) as u64),
        (None, _) => Err(Refused::Invalid),
    }
}

/// The grant that a token itself makes. One that cannot be read grants nothing, and the log says so.
fn claimed(payload: &[u8], claim: &str, subject: &str) -> Option<Grant> {
    let claims: std::collections::HashMap<String, &RawValue> = serde_json::from_slice(payload).ok()?;
    let text = claims.get(claim)?.get();
    match serde_json::from_str::<Grant>(text) {
        Ok(grant) if grant.role != Role::Peer => Some(grant),
        Ok(_) => {
            tracing::warn!(subject, claim, "a token claims to be of another node, which no token is");
            None
        }
        Err(error) => {
            tracing::warn!(subject, claim, %error, "the claim of a token is no grant");
            None
        }
    }
}

#[cfg(test)]
mod tests;
