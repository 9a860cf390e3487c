//! Who is at the other end of a connection, as far as the connection shows it.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::{parse_x509_certificate, prelude::GeneralName};

/// Names that are read of one certificate, and the longest of them in bytes.
const NAMES: usize = 32;
const NAME_BYTES: usize = 512;
const SECOND_MS: u64 = 1_000;
/// Every URI has it, and no name of the DNS.
const OF_URI: char = ':';
/// A certificate for many hosts names none.
const MANY_HOSTS: char = '*';

/// Of the connection of a request: an extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: IpAddr,
    /// What the peer has shown in the handshake, where it has.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// The certificate of a peer, which its CA has vouched for in the handshake.
pub struct ClientCertificate {
    names: Vec<String>,
    not_after_ms: u64,
    fingerprint: [u8; 32],
    pub(super) chain: Vec<CertificateDer<'static>>,
    distrusted: AtomicBool,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, not_after_ms, .. } = self;
        f.debug_struct("ClientCertificate")
            .field("names", names)
            .field("not_after_ms", not_after_ms)
            .finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// The names and the end of the first certificate of a chain. `None` where it cannot be read.
    pub(crate) fn of(chain: Vec<CertificateDer<'static>>) -> Option<Arc<Self>> {
        let (_, leaf) = parse_x509_certificate(chain.first()?).ok()?;
        let alternatives = leaf.subject_alternative_name().ok()?;
        let general = alternatives.iter().flat_map(|names| &names.value.general_names);
        let names = general.filter_map(name).take(NAMES).collect();
        let not_after = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
        let mut hash = Sha256::new();
        chain.iter().for_each(|certificate| hash.update(certificate));
        Some(Arc::new(Self {
            names,
            not_after_ms: not_after.saturating_mul(SECOND_MS),
            fingerprint: hash.finalize().into(),
            chain,
            distrusted: AtomicBool::new(false),
        }))
    }

    /// Its URIs as they are, and its names of the DNS in lower case, in the order of the certificate.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it has this name of the DNS.
    pub fn has_name(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// When it is no longer valid, in milliseconds since the epoch.
    pub fn not_after_ms(&self) -> u64 {
        self.not_after_ms
    }

    /// SHA-256 of what was shown.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// False where the CAs that are trusted have changed since, and none of them vouches for it any more.
    pub fn is_trusted(&self) -> bool {
        !self.distrusted.load(Ordering::Acquire)
    }

    pub(crate) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    let name = match name {
        GeneralName::URI(uri) if uri.contains(OF_URI) => (*uri).to_owned(),
        GeneralName::DNSName(host) if !host.contains([OF_URI, MANY_HOSTS]) => host.to_ascii_lowercase(),
        _ => return None,
    };
    let is_printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    (is_printable && (1..=NAME_BYTES).contains(&name.len())).then_some(name)
}
