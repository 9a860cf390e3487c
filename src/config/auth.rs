//! `[auth]`: who may call. Without a source of identity nobody is asked, and everybody may do everything.

mod certificates;
pub(super) mod grants;
pub(super) mod jwt;

use std::path::PathBuf;

pub use certificates::CertificatesConfig;
pub use jwt::{Jwks, JwtConfig};

use super::{reader::Section, tls::file, values::choice};

/// Where callers are known from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// The file that `tollgate token` writes.
    pub tokens: Option<PathBuf>,
    /// The store that keeps tokens in place of a file.
    pub token_store: Option<TokenStore>,
    /// Signed tokens of an issuer.
    pub jwt: Option<JwtConfig>,
    /// Certificates that callers show.
    pub certificates: Option<CertificatesConfig>,
    /// Who may read `/metrics`.
    pub metrics: MetricsFor,
}

impl Auth {
    /// Whether callers have to say who they are.
    pub fn is_asked(&self) -> bool {
        self.tokens.is_some() || self.token_store.is_some() || self.jwt.is_some() || self.certificates.is_some()
    }
}

/// Where tokens are kept that are in no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStore {
    /// The PostgreSQL of `[cluster]`, so that all nodes have the same.
    Cluster,
}

impl TokenStore {
    pub(super) const NAMES: [(&'static str, Self); 1] = [("cluster", Self::Cluster)];
}

/// Who may read the metrics of the HTTP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsFor {
    /// Whoever reaches the port: they name no org.
    #[default]
    Open,
    /// A viewer or an admin of all orgs.
    Viewer,
}

impl MetricsFor {
    pub(super) const NAMES: [(&'static str, Self); 2] = [("open", Self::Open), ("viewer", Self::Viewer)];
}

/// Certificates are shown in TLS only: whether the listeners speak it.
pub(super) fn auth(mut section: Section<'_>, has_tls: bool, has_cluster: bool) -> Auth {
    let metrics_at = section.place("metrics");
    // In this order: a key that was read is nowhere any more.
    let token_store = token_store(&mut section, has_cluster);
    let auth = Auth {
        tokens: section.read("tokens", file),
        token_store,
        jwt: jwt::jwt(&mut section),
        certificates: certificates::certificates(&mut section, has_tls),
        metrics: section.read("metrics", |entry| choice(entry, &MetricsFor::NAMES)).unwrap_or_default(),
    };
    if let (Some(at), MetricsFor::Viewer, false) = (metrics_at, auth.metrics, auth.is_asked()) {
        let allowed = "\"open\" where no callers are known: set auth.tokens, auth.token_store, auth.jwt or auth.certificates as well";
        section.findings.refuse(&at, "auth.metrics", "viewer", allowed);
    }
    auth
}

/// A token is in one place, so that whoever revokes it knows where.
fn token_store(section: &mut Section<'_>, has_cluster: bool) -> Option<TokenStore> {
    let at = section.place("token_store");
    let has_file = section.place("tokens").is_some();
    let store = section.read("token_store", |entry| choice(entry, &TokenStore::NAMES));
    let (at, store) = (at?, store?);
    if !has_cluster {
        let allowed = "no value without [cluster], whose PostgreSQL keeps the tokens: set cluster.postgres_urls, or auth.tokens for a file";
        section.findings.refuse(&at, "auth.token_store", "cluster", allowed);
    }
    if has_file {
        let allowed = "no value beside auth.tokens: tokens are in a file or in the store; `tollgate token import` takes them over";
        section.findings.refuse(&at, "auth.token_store", "cluster", allowed);
    }
    Some(store)
}
