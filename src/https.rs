//! Clients of the calls that this program makes itself, and what their answers say in headers.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, ClientBuilder,
    header::{DATE, HeaderMap, HeaderName, RETRY_AFTER},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

/// Nobody is asked to wait for longer, whatever `Retry-After` says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

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

impl Trust {
    /// Where nothing else is configured.
    pub fn of(url: &str) -> Self {
        if url.starts_with("http:") { Self::Nobody } else { Self::Machine }
    }
}

/// What is sent, and any secret in it, goes to the address that was configured and nowhere else.
///
/// # Errors
/// Where the certificates that the machine trusts cannot be read.
pub fn client(trust: Trust) -> Result<ClientBuilder, rustls::Error> {
    let builder = Client::builder().user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
    Ok(builder.tls_backend_preconfigured(tls(trust)?).redirect(redirect::Policy::none()).no_proxy().http1_only())
}

/// Without a certificate of this end.
fn tls(trust: Trust) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Machine => builder.with_platform_verifier()?,
        Trust::Roots(roots) => builder.with_root_certificates(roots),
    };
    Ok(builder.with_no_client_auth())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// What time it was at the other end when it answered, to the second.
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, DATE)?).ok()
}

/// Seconds, or a date, which is counted from that of the answer.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = text(headers, RETRY_AFTER)?;
    let after = match asked.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(asked).ok()?.duration_since(date(headers)?).ok()?,
    };
    Some(after.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn after(headers: &[(HeaderName, &'static str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        retry_after(&headers.collect()).map(|after| after.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let date = (DATE, "Mon, 23 Nov 2026 12:00:00 GMT");
        for (asked, seconds) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("999999999", Some(3600)),
            ("Mon, 23 Nov 2026 12:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 12:00:00 GMT", Some(3600)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(after(&[date.clone(), (RETRY_AFTER, asked)]), seconds, "{asked}");
        }
        assert_eq!(after(&[date]), None);
        assert_eq!(
            after(&[(RETRY_AFTER, "Mon, 23 Nov 2026 12:00:30 GMT")]),
            None,
            "a date that nothing is known about"
        );
    }
}
