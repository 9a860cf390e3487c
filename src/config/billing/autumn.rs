//! `[billing.autumn]`: where Autumn is, and the keys it is asked with.

use std::time::Duration;

use url::Url;

use crate::{
    bounds::MINUTE_MS,
    config::{
        mistake::{Place, join},
        reader::{Parsed, Section},
        secret::{Secret, secret},
        tree::Entry,
        values::{duration, is_safe, whole_u32},
        webhook::{SECRET_RULE, signing_keys},
    },
};

pub(in crate::config) const BREAKER_FAILURES_MAX: u32 = 1_000;
pub(in crate::config) const BREAKER_PAUSE_MIN_MS: u64 = 100;
pub(in crate::config) const BREAKER_PAUSE_MAX_MS: u64 = 10 * MINUTE_MS;
/// Older versions create a customer for every id they are asked about, with a free plan attached: a
/// mistyped org would be given a quota.
const API_VERSION_MIN: [u32; 3] = [2, 1, 0];

/// What holds where a key is not written.
pub(in crate::config) const BASE_URL: &str = "https://api.useautumn.com";
pub(in crate::config) const API_VERSION: &str = "2.3.0";
pub(in crate::config) const BREAKER_FAILURES: u32 = 5;
pub(in crate::config) const BREAKER_PAUSE: Duration = Duration::from_secs(5);

/// `[billing.autumn]`: how Autumn is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutumnConfig {
    /// Without a slash at its end.
    pub base_url: String,
    /// `am_sk_…`
    pub secret_key: Secret<String>,
    /// The key that signs webhooks, decoded. Without it `/webhooks/autumn` does not exist.
    pub webhook_key: Option<Secret<Vec<Vec<u8>>>>,
    /// Sent with every call: without it the shape of an answer depends on the age of the account.
    pub api_version: String,
    /// Where questions about so many orgs fail and none is answered, it is left alone for `breaker_pause`.
    pub breaker_failures: u32,
    /// How long it is left alone then.
    pub breaker_pause: Duration,
}

/// Reads the section; `chosen_at` is where the provider was chosen, `None` where it was not: then no
/// file is opened. `None` without a secret key: that is noted.
pub(super) fn autumn(mut section: Section<'_>, chosen_at: Option<&Place>) -> Option<AutumnConfig> {
    let base_url = section.read("base_url", base_url).unwrap_or_else(|| BASE_URL.into());
    let secret_key = secret_key(&mut section, chosen_at);
    let webhook_key = secret(&mut section, "webhook_secret_file", chosen_at.is_some(), SECRET_RULE, signing_keys);
    let api_version = section.read("api_version", api_version).unwrap_or_else(|| API_VERSION.into());
    let breaker_failures =
        section.read("breaker_failures", |entry| whole_u32(entry, 1, BREAKER_FAILURES_MAX)).unwrap_or(BREAKER_FAILURES);
    let breaker_pause = section
        .read("breaker_pause", |entry| duration(entry, BREAKER_PAUSE_MIN_MS, BREAKER_PAUSE_MAX_MS))
        .unwrap_or(BREAKER_PAUSE);
    let secret_key = secret_key?;
    Some(AutumnConfig { base_url, secret_key, webhook_key, api_version, breaker_failures, breaker_pause })
}

fn secret_key(section: &mut Section<'_>, chosen_at: Option<&Place>) -> Option<Secret<String>> {
    const KEY: &str = "secret_key_file";
    let rule = "a secret key of Autumn, which starts with am_sk_";
    if let Some(at) = chosen_at
        && section.place(KEY).is_none()
        // Otherwise it may stand in a part of the file that was unreadable.
        && section.findings.is_whole()
    {
        let path = join(section.path(), KEY);
        section.findings.add(at, format!("{path} is missing: the path of a file that holds {rule}"));
    }
    secret(section, KEY, chosen_at.is_some(), rule, |text| {
        let is_key = |key: &str| !key.is_empty() && !key.contains('\n');
        text.strip_prefix("am_sk_").is_some_and(is_key).then(|| text.to_owned())
    })
}

fn base_url(entry: &Entry) -> Parsed<String> {
    let parsed = entry.text().and_then(|text| Url::parse(text).ok());
    let url = parsed.filter(|url| is_safe(url) && url.query().is_none());
    url.map(|url| url.as_str().trim_end_matches('/').to_owned()).ok_or_else(|| {
        "an https URL without user, query or fragment, such as \"https://api.useautumn.com\"; http is allowed for \
         this machine only"
            .into()
    })
}

fn api_version(entry: &Entry) -> Parsed<String> {
    let is_good = |text: &&str| {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok().filter(|_| digits(part))).collect();
        parts.is_some_and(|parts| parts.len() == 3 && parts.as_slice() >= API_VERSION_MIN.as_slice())
    };
    let version = entry.text().filter(is_good);
    version.map(str::to_owned).ok_or_else(|| "a version of Autumn's API, \"2.1.0\" or later".into())
}
