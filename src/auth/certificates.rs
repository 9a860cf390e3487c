//! Principals by the certificate that a connection was made with: what the configuration grants to one of its names.
//!
//! A name with a colon is a URI, such as the SPIFFE id of a workload; one without is a name of the DNS. So a grant to
//! one kind is never taken for the other, and `*` alone is every name of the DNS and no URI.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Grant, Grants, Principal, Refused, principal::until, seen::Seen};
use crate::net::ClientCertificate;

/// Before the name of the certificate, in the name of a principal.
const NAME: &str = "cert:";
/// Of the names in certificates only URIs have it.
const OF_URI: char = ':';

/// Judges the certificates of connections.
#[derive(Debug)]
pub struct Certificates {
    granted: ArcSwap<Granted>,
    seen: Seen<Origin>,
}

/// By what certificates are judged.
#[derive(Debug, PartialEq, Eq)]
struct Granted {
    uris: Grants,
    hosts: Grants,
}

/// Why a certificate made a principal.
#[derive(Debug)]
struct Origin {
    certificate: Arc<ClientCertificate>,
    name: String,
    granted: Grant,
}

impl Granted {
    fn new(rows: Vec<(String, Grant)>) -> Self {
        let (uris, hosts): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| name.contains(OF_URI));
        let hosts = hosts.into_iter().map(|(name, grant)| (name.to_ascii_lowercase(), grant));
        Self { uris: Grants::new(uris), hosts: Grants::new(hosts) }
    }

    /// What a certificate is granted, and by which of its names; URIs go first.
    fn find<'c>(&self, certificate: &'c ClientCertificate) -> Option<(&'c str, &Grant)> {
        let names = certificate.names().iter().map(String::as_str);
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.partition(|name| name.contains(OF_URI));
        self.uris.find_first(&uris).or_else(|| self.hosts.find_first(&hosts))
    }

    /// Whether the same certificate would be judged alike now.
    fn holds(&self, origin: &Origin) -> bool {
        let judged = self.find(&origin.certificate);
        origin.certificate.is_trusted() && judged == Some((origin.name.as_str(), &origin.granted))
    }
}

impl Certificates {
    /// Of names, each whole or ending in `*`.
    pub fn new(rows: Vec<(String, Grant)>) -> Arc<Self> {
        Arc::new(Self { granted: ArcSwap::from_pointee(Granted::new(rows)), seen: Seen::new() })
    }

    /// Who calls over a connection with this certificate. Cheap where it has been seen.
    ///
    /// # Errors
    /// Why it lets nobody in.
    pub fn principal(&self, certificate: &Arc<ClientCertificate>) -> Result<Arc<Principal>, Refused> {
        loop {
            if let Some(judged) = self.seen.get(certificate.fingerprint()) {
                return judged;
            }
            let granted = self.granted.load_full();
            let (principal, origin) = judge(&granted, certificate)?;
            let holds = || Arc::ptr_eq(&granted, &self.granted.load()) && certificate.is_trusted();
            if let Some(principal) = self.seen.add(*certificate.fingerprint(), principal, origin, holds) {
                return Ok(principal);
            }
        }
    }

    /// Other grants, from a configuration that was reloaded. How many principals were revoked, because theirs changed.
    pub fn grant(&self, rows: Vec<(String, Grant)>) -> usize {
        let granted = Granted::new(rows);
        if **self.granted.load() == granted {
            return 0;
        }
        self.judge_again(|| self.granted.store(Arc::new(granted)))
    }

    /// Other CAs are trusted: principals whose certificates are not trusted any more are revoked. How many.
    pub fn trust_again(&self) -> usize {
        self.judge_again(|| {})
    }

    fn judge_again(&self, change: impl FnOnce()) -> usize {
        self.seen.judge_again(change, |origin| self.granted.load().holds(origin))
    }
}

fn judge(granted: &Granted, certificate: &Arc<ClientCertificate>) -> Result<(Principal, Origin), Refused> {
    if !certificate.is_trusted() {
        return Err(Refused::Invalid);
    }
    let Some((name, grant)) = granted.find(certificate) else {
        tracing::info!(names = ?certificate.names(), "a certificate that is trusted is granted nothing");
        return Err(Refused::Invalid);
    };
    let principal = grant.to(&format!("{NAME}{name}"), Some(until(certificate.not_after_ms())));
    let principal = principal.map_err(|error| {
        tracing::warn!(%error, name, "a certificate that is trusted makes no principal");
        Refused::Invalid
    })?;
    principal.is_valid()?;
    let origin = Origin { certificate: certificate.clone(), name: name.to_owned(), granted: grant.clone() };
    Ok((principal, origin))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;
    use crate::auth::Role;

    fn plane_of(org: &str) -> Grant {
        Grant { role: Role::Plane, orgs: vec![org.to_owned()], scopes: vec![], bind: vec![] }
    }

    fn rows(names: &[&str]) -> Vec<(String, Grant)> {
        names.iter().map(|name| ((*name).to_owned(), plane_of("acme"))).collect()
    }

    /// Whoever vouched for it: that is the matter of the handshake.
    fn certificate(names: &[SanType], year: i32) -> Arc<ClientCertificate> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.not_after = date_time_ymd(year, 1, 1);
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::of(vec![signed.der().clone()]).unwrap()
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    fn host(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn name(certificates: &Certificates, shown: &[SanType]) -> Result<String, Refused> {
        certificates.principal(&certificate(shown, 2100)).map(|principal| principal.name().to_owned())
    }

    #[test]
    fn a_certificate_is_the_first_of_its_names_that_is_granted_something() {
        let certificates = Certificates::new(rows(&["spiffe://prod/plane", "spiffe://test/*", "Plane.internal", "b*"]));
        for (shown, principal) in [
            (vec![uri("spiffe://prod/plane")], Ok("cert:spiffe://prod/plane")),
            (vec![uri("spiffe://prod/planes")], Err(Refused::Invalid)),
            (vec![uri("spiffe://test/any")], Ok("cert:spiffe://test/any")),
            (vec![host("PLANE.internal")], Ok("cert:plane.internal")),
            (vec![host("b.internal"), uri("spiffe://test/any")], Ok("cert:spiffe://test/any")),
            (vec![host("b.internal"), host("plane.internal")], Ok("cert:plane.internal")),
            (vec![uri("b:x")], Err(Refused::Invalid)),
            (vec![host("*.internal")], Err(Refused::Invalid)),
            (vec![SanType::Rfc822Name("b@internal".try_into().unwrap())], Err(Refused::Invalid)),
            (vec![], Err(Refused::Invalid)),
        ] {
            assert_eq!(name(&certificates, &shown), principal.map(str::to_owned), "{shown:?}");
        }
        let all = Certificates::new(rows(&["*"]));
        assert_eq!(name(&all, &[host("a")]), Ok("cert:a".into()));
        assert_eq!(name(&all, &[uri("spiffe://a")]), Err(Refused::Invalid), "a URI is not of the DNS");
    }

    #[test]
    fn a_principal_ends_with_its_certificate_its_grant_and_its_ca() {
        let certificates = Certificates::new(rows(&["a", "b"]));
        let (a, b) = (certificate(&[host("a")], 2100), certificate(&[host("b")], 2100));
        let of = |shown| certificates.principal(shown);
        let (first, second) = (of(&a).unwrap(), of(&b).unwrap());
        assert_eq!(first.ends_at(), Some(a.not_after_ms()));
        assert!(Arc::ptr_eq(&first, &of(&a).unwrap()), "remembered");
        assert_eq!(certificates.grant(rows(&["a", "b"])), 0);
        assert_eq!(certificates.grant(rows(&["a"])), 1);
        assert_eq!((first.is_valid(), second.is_valid()), (Ok(()), Err(Refused::Invalid)));
        assert_eq!(of(&b).unwrap_err(), Refused::Invalid);
        a.distrust();
        assert_eq!(certificates.trust_again(), 1);
        assert_eq!((first.is_valid(), of(&a).unwrap_err()), (Err(Refused::Invalid), Refused::Invalid));
        assert_eq!(of(&certificate(&[host("a")], 2001)).unwrap_err(), Refused::Expired);
    }
}
