//! Bearer tokens of this node: `tg_ID_SECRET`. The file that keeps them has the SHA-256 of each secret and never a
//! secret: 256 random bits need no salt and no slow hash.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    Refused,
    principal::{Grant, Principal, Role, until},
};
use crate::{domain::window::Millis, file};

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
    /// For the file.
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
        let Some(text) = &self.expires else { return Ok(None) };
        let at = DateTime::parse_from_rfc3339(text).ok().and_then(|at| Millis::try_from(at.timestamp_millis()).ok());
        at.map(Some).ok_or_else(|| format!("expires {text:?} is not allowed: {TIME_RULE}"))
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

    fn known(&self) -> Result<HashMap<String, Known>, String> {
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

#[derive(Debug, Clone)]
struct Known {
    hash: [u8; SECRET_BYTES],
    stored: StoredToken,
    principal: Arc<Principal>,
}

/// The tokens that are in force, and the file that they come from.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    seen: ArcSwap<Seen>,
    known: ArcSwap<HashMap<String, Known>>,
}

/// What a file was like when it was read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    changed: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Seen {
    fn of(path: &Path) -> Result<Self, String> {
        use std::os::unix::fs::MetadataExt;
        let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !about.is_file() {
            return Err("it is no regular file".into());
        }
        Ok(Self { changed: about.modified().ok(), length: about.len(), inode: about.ino() })
    }
}

impl Tokens {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// Naming the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let named = |error| format!("auth.tokens = {:?}: {error}", path.display().to_string());
        let seen = Seen::of(path).map_err(named)?;
        let known = TokenFile::read(path).and_then(|file| file.known()).map_err(named)?;
        let (seen, known) = (ArcSwap::from_pointee(seen), ArcSwap::from_pointee(known));
        Ok(Self { path: path.to_owned(), seen, known })
    }

    /// Reads the file again where it has changed. What is gone, or is another now, lets nobody in any more, and ends
    /// what its bearer has begun.
    ///
    /// # Errors
    /// Naming the file and what is wrong with it; the tokens before stay in force.
    pub fn refresh(&self) -> Result<bool, String> {
        let named = |error| format!("auth.tokens = {:?}: {error}", self.path.display().to_string());
        let seen = Seen::of(&self.path).map_err(named)?;
        if **self.seen.load() == seen {
            return Ok(false);
        }
        let mut known = TokenFile::read(&self.path).and_then(|file| file.known()).map_err(named)?;
        let before = self.known.load_full();
        for (id, old) in before.iter() {
            match known.get_mut(id) {
                Some(new) if new.stored == old.stored => new.principal = old.principal.clone(),
                _ => old.principal.revoke(),
            }
        }
        self.known.store(Arc::new(known));
        self.seen.store(Arc::new(seen));
        Ok(true)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.load().len()
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Where it is nobody's, or has expired.
    pub fn principal(&self, text: &str) -> Result<Arc<Principal>, Refused> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|text| text.split_once('_')).ok_or(Refused::Invalid)?;
        let known = self.known.load();
        let hash: [u8; SECRET_BYTES] = Sha256::digest(secret).into();
        let known = known.get(id).filter(|known| bool::from(known.hash.ct_eq(&hash))).ok_or(Refused::Invalid)?;
        known.principal.is_valid()?;
        Ok(known.principal.clone())
    }
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

fn instant(at: Millis) -> String {
    let at = i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 4_102_444_800_000;

    fn made(name: &str, expires: Option<Millis>) -> NewToken {
        let grant =
            Grant { role: Role::Plane, orgs: vec!["acme-*".into()], scopes: vec![], bind: vec!["agent/a".into()] };
        StoredToken::make(name, grant, NOW, expires).unwrap()
    }

    fn file(dir: &tempfile::TempDir, tokens: &[&StoredToken]) -> PathBuf {
        let path = dir.path().join("tokens.toml");
        let file = TokenFile { tokens: tokens.iter().copied().cloned().collect() };
        let fresh = dir.path().join("new");
        std::fs::write(&fresh, file.text().unwrap()).unwrap();
        std::fs::rename(fresh, &path).unwrap();
        path
    }

    #[test]
    fn a_token_is_its_bearers_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (made("one", None), made("other", None));
        let tokens = Tokens::open(&file(&dir, &[&one.stored, &other.stored])).unwrap();
        let principal = tokens.principal(&one.text).unwrap();
        assert_eq!((principal.name(), principal.role()), ("one", Role::Plane));
        assert!(principal.orgs().covers("acme-1") && !principal.orgs().covers("beta"));
        assert_eq!(tokens.refresh(), Ok(false));
        file(&dir, &[&other.stored]);
        assert_eq!(tokens.refresh(), Ok(true));
        assert_eq!(tokens.principal(&one.text).unwrap_err(), Refused::Invalid);
        assert_eq!(principal.is_valid(), Err(Refused::Invalid), "and what it has begun ends");
        assert!(tokens.principal(&other.text).unwrap().is_valid().is_ok());
    }

    #[test]
    fn what_has_changed_is_another_principal_and_what_has_not_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, other) = (made("one", None), made("other", None));
        let tokens = Tokens::open(&file(&dir, &[&one.stored, &other.stored])).unwrap();
        let before = [tokens.principal(&one.text).unwrap(), tokens.principal(&other.text).unwrap()];
        one.stored.role = Role::Reporter;
        file(&dir, &[&one.stored, &other.stored]);
        assert_eq!(tokens.refresh(), Ok(true));
        assert_eq!(tokens.principal(&one.text).unwrap().role(), Role::Reporter);
        assert!(before[0].is_valid().is_err());
        assert!(Arc::ptr_eq(&before[1], &tokens.principal(&other.text).unwrap()));
    }

    #[test]
    fn nothing_else_lets_in() {
        let dir = tempfile::tempdir().unwrap();
        let (one, past) = (made("one", None), made("past", Some(1_000)));
        let tokens = Tokens::open(&file(&dir, &[&one.stored, &past.stored])).unwrap();
        assert_eq!(tokens.principal(&past.text).unwrap_err(), Refused::Expired);
        let id = &one.stored.id;
        let hash = &one.stored.sha256;
        for wrong in
            ["", "tg_", "tg__", &format!("tg_{id}_"), &format!("tg_{id}_{hash}"), &one.text[..one.text.len() - 1]]
        {
            assert_eq!(tokens.principal(wrong).unwrap_err(), Refused::Invalid, "{wrong}");
        }
    }

    #[test]
    fn a_bad_file_changes_nothing_and_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let one = made("one", None);
        let path = file(&dir, &[&one.stored]);
        let tokens = Tokens::open(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (wrong, says) in [
            ("[[token]]\nid = 5\n".to_owned(), "invalid type"),
            (text.replace("plane", "boss"), "unknown variant"),
            (text.replace("acme-*", "a*b"), "orgs \"a*b\" is not allowed"),
            (text.replace("agent/a", "account/a"), "bind \"account/***\" is not allowed"),
            (text.replace(&one.stored.sha256, "abc"), "sha256 is not allowed"),
            (format!("{text}{text}"), "the same name"),
            (format!("{text}\nexpires = \"soon\"\n"), "expires \"soon\" is not allowed"),
        ] {
            std::fs::write(&path, wrong).unwrap();
            let said = tokens.refresh().unwrap_err();
            assert!(said.contains(says) && said.contains("tokens.toml"), "{said}");
            assert!(tokens.principal(&one.text).is_ok());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.refresh().is_err());
        assert!(tokens.principal(&one.text).is_ok(), "what was valid is valid");
        assert!(Tokens::open(&path).is_err());
    }

    #[test]
    fn a_token_is_never_shown() {
        let one = made("one", None);
        let secret = one.text.rsplit('_').next().unwrap();
        assert!(!format!("{one:?}").contains(secret) && !one.stored.sha256.contains(secret));
    }
}
