//! `[webhook]`: who receives events.
//!
//! | key | |
//! | --- | --- |
//! | `url` | where each event is posted: https, or http on this machine |
//! | `secret_file` | a file that holds what messages are signed with, `whsec_…` |
//! | `kinds` | the kinds of events that are delivered; all where it is not written |
//! | `timeout` | the time for one delivery |

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use url::Url;

use super::{
    mistake::join,
    reader::{Parsed, Section},
    secret::{Secret, secret},
    tree::{Entry, Value},
    values::{duration, is_safe},
};
use crate::{
    bounds::SECOND_MS,
    domain::events::{EventKind, EventKinds},
};

/// A shorter key can be guessed.
const KEY_BYTES_MIN: usize = 16;
/// The one in use, and the one that it replaces.
const SECRETS_MAX: usize = 2;
pub(super) const TIMEOUT_MIN_MS: u64 = 100;
pub(super) const TIMEOUT_MAX_MS: u64 = 30 * SECOND_MS;

/// The time for one delivery, where none is written.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// `[webhook]`: where events are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// As it is written.
    pub url: Url,
    /// What messages are signed with, decoded.
    pub key: Secret<Vec<Vec<u8>>>,
    /// What is delivered.
    pub kinds: EventKinds,
    /// The time for one delivery.
    pub timeout: Duration,
}

/// The rule for a secret that signs messages, in a file.
pub(super) const SECRET_RULE: &str = "the secret of a webhook, which is whsec_ followed by base64, and on a second line the \
                                      one that it replaces, while it does";

/// The bytes behind each `whsec_`; `None` where they are none, or too few, or more secrets than are in use at a time.
pub(super) fn signing_keys(text: &str) -> Option<Vec<Vec<u8>>> {
    let key = |line: &str| {
        let key = STANDARD.decode(line.strip_prefix("whsec_")?).ok()?;
        (key.len() >= KEY_BYTES_MIN).then_some(key)
    };
    let keys = text.split('\n').map(key).collect::<Option<Vec<_>>>()?;
    (1..=SECRETS_MAX).contains(&keys.len()).then_some(keys)
}

/// `None` where there is none, and where it is refused: that is noted.
pub(super) fn webhook(mut section: Section<'_>) -> Option<WebhookConfig> {
    let at = section.at().clone();
    let (is_there, has_secret) = (section.place("url").is_some(), section.place("secret_file").is_some());
    let url = section.read("url", url);
    let key = secret(&mut section, "secret_file", is_there, SECRET_RULE, signing_keys);
    let kinds = section.read("kinds", kinds).unwrap_or_else(EventKinds::all);
    let timeout = section.read("timeout", |entry| duration(entry, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS)).unwrap_or(TIMEOUT);
    // Otherwise what is missing may stand in a part of the file that was unreadable.
    if is_there != has_secret && section.findings.is_whole() {
        let (missing, what) = match is_there {
            true => ("secret_file", format!("the path of a file that holds {SECRET_RULE}")),
            false => ("url", URL_RULE.to_owned()),
        };
        let path = join(section.path(), missing);
        section.findings.add(&at, format!("{path} is missing: {what}"));
    }
    Some(WebhookConfig { url: url?, key: key?, kinds, timeout })
}

pub(super) const URL_RULE: &str = "an https URL without user or fragment, such as \"https://ops.example.com/tollgate\"; http is \
                        allowed for this machine only";

fn url(entry: &Entry) -> Parsed<Url> {
    let parsed = entry.text().and_then(|text| Url::parse(text).ok());
    parsed.filter(is_safe).ok_or_else(|| URL_RULE.into())
}

fn kinds(entry: &Entry) -> Parsed<EventKinds> {
    let Value::List(items) = &entry.value else { return Err(kinds_rule().into()) };
    let kinds: Option<EventKinds> = items.iter().map(|item| EventKind::named(item.text()?)).collect();
    kinds.filter(|kinds| !kinds.is_empty()).ok_or_else(|| kinds_rule().into())
}

fn kinds_rule() -> String {
    format!("a list of at least one of {}", EventKind::names())
}
