//! `[auth]`: who may call. Without a source of identity nobody is asked, and everybody may do everything.

mod certificates;
mod grants;
mod jwt;

use std::path::PathBuf;

pub use certificates::CertificatesConfig;
pub use jwt::{Jwks, JwtConfig};

use super::{reader::Section, tls::file, values::choice};

/// Where callers are known from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// The file that `tollgate token` writes.
    pub tokens: Option<PathBuf>,
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
        self.tokens.is_some() || self.jwt.is_some() || self.certificates.is_some()
    }
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

/// Certificates are shown in TLS only: whether the listeners speak it.
pub(super) fn auth(mut section: Section<'_>, has_tls: bool) -> Auth {
    let metrics_at = section.place("metrics");
    let auth = Auth {
        tokens: section.read("tokens", file),
        jwt: jwt::jwt(&mut section),
        certificates: certificates::certificates(&mut section, has_tls),
        metrics: section
            .read("metrics", |entry| choice(entry, &[("open", MetricsFor::Open), ("viewer", MetricsFor::Viewer)]))
            .unwrap_or_default(),
    };
    if let (Some(at), MetricsFor::Viewer, false) = (metrics_at, auth.metrics, auth.is_asked()) {
        let allowed = "\"open\" where no callers are known: set auth.tokens, auth.jwt or auth.certificates as well";
        section.findings.refuse(&at, "auth.metrics", "viewer", allowed);
    }
    auth
}
