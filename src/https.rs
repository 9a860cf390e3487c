//! TLS of the calls that this program makes itself.

use std::sync::Arc;

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, client::WantsClientCert, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

/// Who is trusted at the other end.
#[derive(Debug)]
pub enum Trust {
    /// Nobody has to be: it is plain HTTP.
    Nobody,
    /// What the machine trusts, so that a service of one's own may have a certificate of one's own.
    Machine,
    /// These and no others.
    Roots(RootCertStore),
}

/// Without a certificate of this end.
///
/// # Errors
/// Where the certificates that the machine trusts cannot be read.
pub fn tls(trust: Trust) -> Result<ClientConfig, rustls::Error> {
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = match trust {
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Machine => builder.with_platform_verifier()?,
        Trust::Roots(roots) => builder.with_root_certificates(roots),
    };
    Ok(builder.with_no_client_auth())
}
