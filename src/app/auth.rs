//! Who is let in while the node runs: what is read at the start, and again when its files change.

use std::{sync::Arc, time::Duration};

use super::Failure;
use crate::{
    auth::{Authenticator, Certificates, Issuer, JwtRules, KeySource, Sources, Tokens},
    clock::SystemClock,
    config::{Config, Jwks, JwtConfig, MetricsFor},
    service::Service,
};

/// How often files of credentials are compared with what was read: what is revoked ends within a second.
const EVERY: Duration = Duration::from_millis(250);

/// Whoever is let in to the rpcs, and to the metrics.
#[derive(Debug)]
pub(super) struct Authenticators {
    pub(super) rpcs: Arc<Authenticator>,
    pub(super) metrics: Arc<Authenticator>,
}

impl Authenticators {
    /// Those that the configuration asks for, over what it names.
    pub(super) fn of(config: &Config, sources: Sources, clock: &Arc<SystemClock>) -> Self {
        if !config.auth.is_asked() {
            let open = Authenticator::open(clock.clone());
            return Self { rpcs: open.clone(), metrics: open };
        }
        let rpcs = Authenticator::of(sources, clock.clone());
        let metrics = match config.auth.metrics {
            MetricsFor::Open => Authenticator::open(clock.clone()),
            MetricsFor::Viewer => rpcs.clone(),
        };
        Self { rpcs, metrics }
    }
}

/// Reads what the configuration names.
///
/// # Errors
/// Naming the key, the file, and what is wrong with it: nobody is let in by a file that cannot be read.
pub fn open_sources(config: &Config) -> Result<Sources, Failure> {
    let tokens = config.auth.tokens.as_deref().map(Tokens::open).transpose().map_err(Failure)?;
    let jwt = config.auth.jwt.as_ref().map(issuer).transpose().map_err(Failure)?;
    let certificates = config.auth.certificates.as_ref().map(|config| Certificates::new(config.principals.clone()));
    Ok(Sources { tokens: tokens.map(Arc::new), jwt, certificates })
}

fn issuer(config: &JwtConfig) -> Result<Arc<Issuer>, String> {
    let JwtConfig { issuer, audience, jwks, ca, claim, subjects } = config.clone();
    let source = match jwks {
        Jwks::File(path) => KeySource::File(path),
        Jwks::Url(url) => KeySource::Url { url, ca },
    };
    Issuer::open(JwtRules { issuer, audience, claim, subjects }, source)
}

/// Takes over what a configuration that was reloaded grants to subjects and to names in certificates.
pub(super) fn grant(sources: &Sources, config: &Config) {
    let by_token = sources.jwt.as_ref().zip(config.auth.jwt.as_ref());
    let by_token = by_token.map_or(0, |(issuer, config)| issuer.grant(config.subjects.clone()));
    let by_certificate = sources.certificates.as_ref().zip(config.auth.certificates.as_ref());
    let by_certificate =
        by_certificate.map_or(0, |(certificates, config)| certificates.grant(config.principals.clone()));
    let ended = by_token + by_certificate;
    if ended > 0 {
        tracing::info!(ended, "principals have ended whose grants have changed");
    }
}

/// The files of which something may change.
pub(super) fn watched(authenticator: &Authenticator) -> Option<Arc<Tokens>> {
    authenticator.sources().tokens.clone()
}

/// Takes over what the files say, as soon as they say something that is valid. What is not is said once, and what was
/// valid before stays so.
pub(super) async fn watch(tokens: Arc<Tokens>, service: Arc<Service>) {
    let mut refused: Option<String> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let read = {
            let tokens = tokens.clone();
            tokio::task::spawn_blocking(move || tokens.refresh())
        };
        let trouble = match read.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(changed) => {
                if changed {
                    tracing::info!(tokens = tokens.count(), "the token file was read again");
                }
                None
            }
            Err(why) => Some(why),
        };
        if trouble != refused {
            if let Some(why) = &trouble {
                tracing::error!(%why, "the token file was not read again, the tokens before stay in force");
            }
            service.metrics().tokens_are_stale(trouble.is_some());
            service.identity_trouble("auth.tokens", trouble.clone());
            refused = trouble;
        }
    }
}
