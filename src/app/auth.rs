//! Who is let in while the node runs: what is read at the start, and again when its files change.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Failure, cluster, open_tls};
use crate::{
    auth::{Authenticator, Certificates, Issuer, JwtRules, KeySource, Refreshed, Sources, Tokens},
    clock::SystemClock,
    config::{Config, Jwks, JwtConfig, MetricsFor, TokenStore},
    service::Service,
    store::postgres::PgTokens,
};

/// How long the first calls are kept waiting for tokens that nodes share.
const FIRST_WITHIN: Duration = Duration::from_secs(2);
/// Causes of one trouble that are logged.
const CAUSES: usize = 16;

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

/// Reads what the configuration names, as far as it is on this machine.
///
/// # Errors
/// Naming the key, the file, and what is wrong with it: nobody is let in by a file that cannot be read.
pub fn open_sources(config: &Config) -> Result<Sources, Failure> {
    let certificates = config.auth.certificates.as_ref().map(|config| Certificates::new(config.principals.clone()));
    Ok(Sources { tokens: tokens(config)?, jwt: signed(config)?, certificates })
}

/// What of the files that the configuration names is not as it should be, all at once.
pub fn check_files(config: &Config) -> Vec<Failure> {
    let listeners = open_tls(config).map(drop);
    let found = [listeners, cluster::check_files(config), tokens(config).map(drop), signed(config).map(drop)];
    found.into_iter().filter_map(Result::err).collect()
}

fn tokens(config: &Config) -> Result<Option<Arc<Tokens>>, Failure> {
    let tokens = match (&config.auth.tokens, config.auth.token_store, &config.cluster) {
        (_, Some(TokenStore::Cluster), Some(of)) => {
            Some(Tokens::shared(Arc::new(PgTokens::new(cluster::first_cell(of, &config.node)?))))
        }
        (file, ..) => file.as_deref().map(Tokens::open).transpose().map_err(Failure)?,
    };
    Ok(tokens.map(Arc::new))
}

fn signed(config: &Config) -> Result<Option<Arc<Issuer>>, Failure> {
    config.auth.jwt.as_ref().map(issuer).transpose().map_err(Failure)
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

/// The bearer tokens of a node while it runs, and what was said of them.
#[derive(Debug)]
pub(super) struct Watch {
    tokens: Arc<Tokens>,
    service: Arc<Service>,
    /// Since they were last as they should be, so that each cause is said once.
    said: BTreeSet<String>,
}

impl Watch {
    /// Those of the node, where callers have some. What was not read at the start is read before anybody is served, in
    /// bounded time; without it no token is good.
    pub(super) async fn of(rpcs: &Authenticator, service: &Arc<Service>) -> Option<Self> {
        let tokens = rpcs.sources().tokens.clone()?;
        let mut watch = Self { tokens, service: service.clone(), said: BTreeSet::new() };
        if !watch.tokens.are_read() && timeout(FIRST_WITHIN, watch.refresh()).await.is_err() {
            watch.refused(Some(format!("no answer within {FIRST_WITHIN:?}")));
        }
        Some(watch)
    }

    /// Takes over what their source says, as soon as it says something that is valid. What was valid before stays so.
    pub(super) async fn watch(mut self) {
        loop {
            self.tokens.due().await;
            self.refresh().await;
        }
    }

    async fn refresh(&mut self) {
        let refused = match self.tokens.refresh().await {
            Ok(Refreshed { changed, refused }) => {
                if changed {
                    tracing::info!(tokens = self.tokens.count(), "the tokens were read");
                }
                refused
            }
            Err(why) => Some(why),
        };
        self.refused(refused);
    }

    fn refused(&mut self, why: Option<String>) {
        let (key, is_trouble) = (self.tokens.key(), why.is_some());
        match &why {
            None => self.said.clear(),
            Some(why) if self.said.len() < CAUSES && self.said.insert(why.clone()) => {
                if self.tokens.are_read() {
                    tracing::error!(%why, "not all tokens are as their source says; those read before stay in force");
                } else {
                    tracing::error!(%why, "the tokens could not be read yet: no token lets anybody in");
                }
            }
            Some(_) => {}
        }
        self.service.metrics().tokens_are_stale(is_trouble);
        self.service.identity_trouble(key, why);
    }
}
