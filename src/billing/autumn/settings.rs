//! What an operator says about Autumn, checked before the first call.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Url, header::HeaderValue};

use crate::billing::breaker::BreakerSettings;

/// How usage is booked that does not fit into the balance any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overage {
    /// What fits is booked, and the rest is forgotten; Autumn's own default.
    #[default]
    Cap,
    /// All of it is booked, and the balance may go below zero.
    Overflow,
}

impl Overage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Overflow => "overflow",
        }
    }
}

/// A secret key of Autumn's, `am_sk_…`. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Arc<str>);

impl SecretKey {
    /// Reads a key; refuses a publishable one (`am_pk_…`) and anything else that is no secret key.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        if text.starts_with("am_pk_") {
            return Err(SettingsError::PublishableKey);
        }
        let rest = text.strip_prefix("am_sk_").unwrap_or_default();
        if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SettingsError::NotASecretKey);
        }
        Ok(Self(text.into()))
    }

    /// As the value of `Authorization`, marked so that nothing prints it.
    pub(super) fn bearer(&self) -> Result<HeaderValue, SettingsError> {
        let value = HeaderValue::try_from(format!("Bearer {}", self.0));
        let mut value = value.map_err(|_| SettingsError::NotASecretKey)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("am_sk_(hidden)")
    }
}

/// How Autumn is reached, and what of its answers counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutumnSettings {
    /// `https://api.useautumn.com`, or where an own Autumn is.
    pub base_url: String,
    /// Authorises every call.
    pub secret_key: SecretKey,
    /// Sent with every call: without it the shape of answers depends on how old the account is.
    pub api_version: String,
    /// The feature that an execution draws on.
    pub feature: Arc<str>,
    /// For a whole call: connecting, asking, and all of the answer.
    pub timeout: Duration,
    /// Sent with every report of usage.
    pub overage_behavior: Overage,
    /// Plans that cost nothing; whoever has another one pays.
    pub free_plans: Vec<String>,
    /// When Autumn is left alone after failures.
    pub breaker: BreakerSettings,
}

impl AutumnSettings {
    /// Everything but the key and the feature as the configuration has it by default.
    #[cfg(test)]
    pub(super) fn new(secret_key: SecretKey, feature: &str) -> Self {
        Self {
            base_url: "https://api.useautumn.com".into(),
            secret_key,
            api_version: "2.3.0".into(),
            feature: feature.into(),
            timeout: Duration::from_secs(2),
            overage_behavior: Overage::Cap,
            free_plans: Vec::new(),
            breaker: BreakerSettings::default(),
        }
    }

    /// The address of a method, `…/v1/<method>`.
    pub(super) fn address(&self, method: &str) -> Result<Url, SettingsError> {
        let bad = || SettingsError::BadBaseUrl(self.base_url.clone());
        let url = Url::parse(&self.base_url).map_err(|_| SettingsError::BadBaseUrl("it cannot be read".into()))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated: there is a secret in it.
            return Err(SettingsError::BadBaseUrl("it holds a user name or a password".into()));
        }
        let plain = url.query().is_none() && url.fragment().is_none() && url.has_host();
        if !plain || !matches!(url.scheme(), "https" | "http") {
            return Err(bad());
        }
        let base = url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/v1/{method}")).map_err(|_| bad())
    }

    pub(super) fn version(&self) -> Result<HeaderValue, SettingsError> {
        let is_version = |b: u8| b.is_ascii_digit() || b == b'.' || b == b'-';
        let fits =
            self.api_version.starts_with(|c: char| c.is_ascii_digit()) && self.api_version.bytes().all(is_version);
        let value = HeaderValue::try_from(&self.api_version).ok().filter(|_| fits);
        value.ok_or_else(|| SettingsError::BadApiVersion(self.api_version.clone()))
    }
}

/// Why the settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// The key is a publishable one (`am_pk_…`), which cannot report usage.
    PublishableKey,
    /// The key does not begin with `am_sk_`, or has characters that no key has.
    NotASecretKey,
    /// The base URL is none, or holds what it must not; says what is wrong with it.
    BadBaseUrl(String),
    /// The API version, as it was given.
    BadApiVersion(String),
    /// The certificates that this machine trusts could not be read.
    Tls(String),
    /// The HTTP client could not be made; says why.
    Client(String),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublishableKey => f.write_str(
                "the key begins with am_pk_: a publishable key cannot report usage, a secret key (am_sk_…) can",
            ),
            Self::NotASecretKey => f.write_str("the key is not a secret key of Autumn's: those begin with am_sk_"),
            Self::BadBaseUrl(why) => write!(f, "the base URL cannot be used, http(s)://host[:port][/path] is: {why}"),
            Self::BadApiVersion(version) => write!(f, "the API version {version:?} is neither like 2.3.0 nor a date"),
            Self::Tls(why) => write!(f, "TLS is not possible: {why} (Debian: apt-get install ca-certificates)"),
            Self::Client(why) => write!(f, "the HTTP client cannot be made: {why}"),
        }
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> AutumnSettings {
        AutumnSettings::new(SecretKey::parse("am_sk_test_hush").unwrap(), "executions")
    }

    #[test]
    fn only_a_secret_key_is_one_and_it_is_never_shown() {
        assert_eq!(SecretKey::parse("am_pk_live_x"), Err(SettingsError::PublishableKey));
        for key in ["", "am_sk_", "sk_live_x", "am_sk_a b", "am_sk_a\n", "am_sk_ä"] {
            assert_eq!(SecretKey::parse(key), Err(SettingsError::NotASecretKey), "{key:?}");
        }
        let shown = format!("{:?} {:?}", settings(), settings().secret_key.bearer());
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn addresses_keep_the_path_of_the_base() {
        for (base, address) in [
            ("https://api.useautumn.com", "https://api.useautumn.com/v1/balances.check"),
            ("https://api.useautumn.com/", "https://api.useautumn.com/v1/balances.check"),
            ("http://127.0.0.1:8080/autumn/", "http://127.0.0.1:8080/autumn/v1/balances.check"),
        ] {
            let settings = AutumnSettings { base_url: base.into(), ..settings() };
            assert_eq!(settings.address("balances.check").unwrap().as_str(), address);
        }
        for base in
            ["", "api.useautumn.com", "ftp://x", "https://x?a=b", "https://x#y", "https://u:secret@x", "unix:/x"]
        {
            let settings = AutumnSettings { base_url: base.into(), ..settings() };
            let error = settings.address("balances.check").unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_version_is_a_number_or_a_date() {
        for (version, fits) in
            [("2.3.0", true), ("2025-04-17", true), ("", false), ("latest", false), ("2.3.0\n", false), ("v2", false)]
        {
            let settings = AutumnSettings { api_version: version.into(), ..settings() };
            assert_eq!(settings.version().is_ok(), fits, "{version:?}");
        }
    }
}
