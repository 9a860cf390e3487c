//! A key set behind a URL: one GET with a budget for all of it, and an answer of bounded size.

use std::{path::PathBuf, time::Duration};

use reqwest::{
    ClientBuilder, Url,
    header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    bounds::{CA_BYTES, JWKS_BYTES},
    causes::chain,
    file,
    https::{self, Trust},
};

/// For everything from the connection to the last byte.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a set is good for that does not say it, and the least and the most that one is believed.
const FRESH_FOR: Duration = Duration::from_secs(300);
const FRESH_FOR_MIN: Duration = Duration::from_secs(60);
const FRESH_FOR_MAX: Duration = Duration::from_secs(900);

/// Where a key set is asked for.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    url: Url,
    /// The only ones that are trusted there; `None` = those of the machine.
    ca: Option<PathBuf>,
}

/// A set as it came, and how long it is good for.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) text: Vec<u8>,
    pub(super) fresh_for: Duration,
}

impl Remote {
    /// # Errors
    /// Where it is no URL, or its CA is of no use.
    pub(super) fn new(url: &str, ca: Option<PathBuf>) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("jwks = {url:?} is not a URL: {error}"))?;
        let remote = Self { url, ca };
        remote.client().map(|_| remote)
    }

    /// # Errors
    /// Why there is no set.
    pub(super) async fn fetch(&self) -> Result<Fetched, String> {
        let exchange = timeout(WITHIN, self.exchange()).await;
        exchange.unwrap_or_else(|_| Err(format!("no answer within {WITHIN:?}")))
    }

    async fn exchange(&self) -> Result<Fetched, String> {
        // Files are read for it; a CA that is replaced counts from the next time on.
        let remote = self.clone();
        let client = spawn_blocking(move || remote.client()).await.map_err(|error| error.to_string())??;
        let client = client.build().map_err(|error| chain(&error))?;
        let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
        let request = client.get(self.url.clone()).header(ACCEPT, accepted);
        let mut answer = request.send().await.map_err(|error| chain(&error))?;
        if answer.status().as_u16() != 200 {
            return Err(format!("the answer is {}", answer.status()));
        }
        let fresh_for = fresh_for(answer.headers());
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| chain(&error))? {
            if text.len() + chunk.len() > JWKS_BYTES {
                return Err(format!("the answer has more than {} KiB", JWKS_BYTES >> 10));
            }
            text.extend_from_slice(&chunk);
        }
        Ok(Fetched { text, fresh_for })
    }

    fn client(&self) -> Result<ClientBuilder, String> {
        let trust = match &self.ca {
            Some(path) => {
                let refused = |cause: String| format!("ca = {:?} is not {cause}", path.display().to_string());
                let pem = file::read(path, CA_BYTES).map_err(refused)?;
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let added = certificate.map(|certificate| roots.add(certificate).is_ok());
                    if !matches!(added, Ok(true)) {
                        return Err(refused("a file of certificates in PEM".into()));
                    }
                }
                if roots.is_empty() {
                    return Err(refused("a file of certificates in PEM: it has none".into()));
                }
                Trust::Roots(roots)
            }
            None => Trust::of(self.url.as_str()),
        };
        https::client(trust).map_err(|error| error.to_string())
    }
}

/// What the answer says of itself, within bounds.
fn fresh_for(headers: &HeaderMap) -> Duration {
    let Some(said) = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()) else { return FRESH_FOR };
    let mut directives = said.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    let is_short = |directive: &str| matches!(directive, "no-store" | "no-cache");
    let seconds = directives.find_map(|directive| {
        let seconds = directive.strip_prefix("max-age=").and_then(|seconds| seconds.trim_matches('"').parse().ok());
        if is_short(&directive) { Some(0) } else { seconds }
    });
    seconds.map_or(FRESH_FOR, |seconds| Duration::from_secs(seconds).clamp(FRESH_FOR_MIN, FRESH_FOR_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_good_for_as_long_as_it_says_within_bounds() {
        for (said, seconds) in [
            (None, 300),
            (Some("max-age=120"), 120),
            (Some("public, Max-Age=120"), 120),
            (Some("max-age=1"), 60),
            (Some("max-age=86400"), 900),
            (Some("no-cache, max-age=600"), 60),
            (Some("no-store"), 60),
            (Some("max-age=-1"), 300),
            (Some("private"), 300),
        ] {
            let headers = said.map(|said| (CACHE_CONTROL, HeaderValue::from_static(said)));
            let headers: HeaderMap = headers.into_iter().collect();
            assert_eq!(fresh_for(&headers).as_secs(), seconds, "{said:?}");
        }
    }

    #[test]
    fn a_ca_of_no_use_is_refused_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Remote::new("https://localhost/keys", Some(file.path().to_owned())).unwrap_err();
        assert!(refused.contains("it has none"), "{refused}");
        assert!(Remote::new("https://localhost/keys", Some("/none".into())).is_err());
        assert!(Remote::new("https://localhost/keys", None).is_ok());
        assert!(Remote::new("http://127.0.0.1:1/keys", None).is_ok());
    }
}
