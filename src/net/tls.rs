//! TLS on a listener: 1.3 and 1.2 by rustls, with files that are replaced while the node runs: its certificate, and the
//! CAs whose certificates callers may show.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::parse_x509_certificate;

use super::peer::ClientCertificate;
use crate::file;

/// Largest file of a chain, of a key, or of CAs.
const FILE_BYTES: u64 = 256 << 10;
/// Fewer certificates than this are not worth a search for those whose connections have ended.
const SWEPT_FROM: usize = 256;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// The files that TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPaths {
    /// A chain in PEM, the node's own certificate first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// The CAs of callers' certificates in PEM; without them no caller is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// TLS between nodes: both ends show a certificate of the CA in [`TlsPaths::client_ca`], and it has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfNodes {
    /// Of the DNS, in every certificate of a node. Not an address: nodes come and go, and a name that only nodes have
    /// tells them from callers of the same CA.
    pub name: &'static str,
    /// Keys of the configuration, for errors: of the certificate, its key, and the CAs.
    pub keys: [&'static str; 3],
}

/// What the listeners of callers are configured by.
const CALLERS: [&str; 3] = ["tls.cert", "tls.key", "auth.certificates.ca"];

/// What is served, and the files that it comes from.
pub struct Tls {
    paths: TlsPaths,
    nodes: Option<OfNodes>,
    served: ArcSwap<Served>,
    shown: Mutex<Shown>,
}

/// Which of the files are others than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replaced {
    /// The certificate or its key.
    pub certificate: bool,
    /// The CAs of callers.
    pub client_ca: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// What new connections are served with, and the bytes that it was read from.
#[derive(Debug)]
struct Served {
    config: Arc<ServerConfig>,
    /// Between nodes: what the other ones are called with.
    dialed: Option<Arc<ClientConfig>>,
    /// Vouches for the certificates of callers.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// When the certificate is no longer valid, in seconds since the epoch.
    not_after: i64,
    read: Pem,
}

/// Never shown: one of them is the key.
#[derive(PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The certificates of callers whose connections are open.
struct Shown {
    certificates: Vec<Weak<ClientCertificate>>,
    swept_at: usize,
}

/// A handshake that begins, and what it is judged by.
pub(super) struct Handshake {
    served: Arc<Served>,
}

impl Handshake {
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.served.config.clone())
    }
}

impl Tls {
    /// Reads a chain and its key, and the CAs of callers where there are some.
    ///
    /// # Errors
    /// Naming the key of the configuration, the file, and what it has to hold.
    pub fn open(paths: TlsPaths) -> Result<Arc<Self>, String> {
        Self::open_as(paths, None)
    }

    /// The same between nodes: whoever connects has to show a certificate, and other nodes are called with it.
    ///
    /// # Errors
    /// As [`Tls::open`], and where no CAs are named.
    pub fn open_between(paths: TlsPaths, nodes: OfNodes) -> Result<Arc<Self>, String> {
        if paths.client_ca.is_none() {
            let [.., ca] = nodes.keys;
            return Err(format!("{ca} is missing: it names the CAs of the certificates of nodes"));
        }
        Self::open_as(paths, Some(nodes))
    }

    fn open_as(paths: TlsPaths, nodes: Option<OfNodes>) -> Result<Arc<Self>, String> {
        let served = Served::of(read(&paths, nodes.as_ref())?, &paths, nodes.as_ref())?;
        let shown = Shown { certificates: Vec::new(), swept_at: SWEPT_FROM };
        Ok(Arc::new(Self { paths, nodes, served: ArcSwap::from_pointee(served), shown: Mutex::new(shown) }))
    }

    /// What tells the certificates of nodes, where this is TLS between nodes.
    pub fn nodes(&self) -> Option<&OfNodes> {
        self.nodes.as_ref()
    }

    /// How other nodes are called now.
    pub(super) fn connector(&self) -> Option<TlsConnector> {
        self.served.load().dialed.clone().map(TlsConnector::from)
    }

    /// Reads the files again. New connections are served with what they hold from now on, and a certificate that no CA
    /// vouches for any more is not trusted where it has been shown before.
    ///
    /// # Errors
    /// As [`Tls::open`]; what was served before goes on being served.
    pub fn read_again(&self) -> Result<Replaced, String> {
        let nodes = self.nodes.as_ref();
        let read = read(&self.paths, nodes)?;
        let before = self.served.load();
        let replaced = Replaced {
            certificate: (&before.read.cert, &before.read.key) != (&read.cert, &read.key),
            client_ca: before.read.client_ca != read.client_ca,
        };
        if replaced != Replaced::default() {
            // Of a kept session nothing is verified again: a new configuration has none.
            self.served.store(Arc::new(Served::of(read, &self.paths, nodes)?));
        }
        if replaced.client_ca {
            self.judge_again();
        }
        Ok(replaced)
    }

    /// When the certificate that is served is no longer valid, in seconds since the epoch.
    pub fn not_after(&self) -> i64 {
        self.served.load().not_after
    }

    pub(super) fn handshake(&self) -> Handshake {
        Handshake { served: self.served.load_full() }
    }

    /// What a caller has shown in a handshake. `None` where that is nothing.
    pub(super) fn shown(&self, by: &Handshake, chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<ClientCertificate>> {
        let chain = chain?.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let certificate = ClientCertificate::of(chain)?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.certificates.len() >= shown.swept_at {
            shown.certificates.retain(|certificate| certificate.strong_count() > 0);
            shown.swept_at = (shown.certificates.len() * 2).max(SWEPT_FROM);
        }
        shown.certificates.push(Arc::downgrade(&certificate));
        drop(shown);
        // Other CAs may have come during the handshake.
        let served = self.served.load();
        if !Arc::ptr_eq(&served, &by.served) && !served.vouches_for(&certificate) {
            certificate.distrust();
        }
        Some(certificate)
    }

    fn judge_again(&self) {
        let certificates: Vec<_> = {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.certificates.iter().filter_map(Weak::upgrade).collect()
        };
        let served = self.served.load();
        certificates.iter().filter(|shown| !served.vouches_for(shown)).for_each(|shown| shown.distrust());
    }
}

impl Served {
    fn of(read: Pem, paths: &TlsPaths, nodes: Option<&OfNodes>) -> Result<Self, String> {
        let (key, not_after) = identity(&read, paths, nodes)?;
        let key = Arc::new(SingleCertAndKey::from(key));
        let roots = match (&read.client_ca, &paths.client_ca) {
            (Some(pem), Some(path)) => Some((roots(pem, path, nodes)?, path)),
            _ => None,
        };
        let verifier = roots.as_ref().map(|(roots, path)| verifier(roots, path, nodes)).transpose()?;
        let dialed = match roots {
            Some((roots, _)) if nodes.is_some() => Some(dialed(roots, key.clone())?),
            _ => None,
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| error.to_string())?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(key);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), dialed, verifier, not_after, read })
    }

    fn vouches_for(&self, certificate: &ClientCertificate) -> bool {
        let (Some(verifier), Some((leaf, others))) = (&self.verifier, certificate.chain.split_first()) else {
            return false;
        };
        let now = self.config.time_provider.current_time();
        now.is_some_and(|now| verifier.verify_client_cert(leaf, others, now).is_ok())
    }
}

/// The chain with its key, and when its first certificate ends.
fn identity(
    read: &Pem,
    TlsPaths { cert, key, .. }: &TlsPaths,
    nodes: Option<&OfNodes>,
) -> Result<(CertifiedKey, i64), String> {
    let [cert_key, key_key, _] = keys(nodes);
    let chain = certificates(&read.cert).map_err(|allowed| refused(cert_key, cert, &allowed))?;
    let (_, parsed) = parse_x509_certificate(&chain[0])
        .map_err(|error| refused(cert_key, cert, &format!("certificates in PEM: {error}")))?;
    if let Some(OfNodes { name, .. }) = nodes {
        let has_name = ClientCertificate::of(chain.clone()).is_some_and(|own| own.has_name(name));
        if !has_name {
            return Err(refused(cert_key, cert, &format!("the certificate of a node, which has the DNS name {name}")));
        }
    }
    let not_after = parsed.validity().not_after.timestamp();
    // The bytes of a key are in no message.
    let der = PrivateKeyDer::from_pem_slice(&read.key)
        .map_err(|_| refused(key_key, key, "a private key in PEM (PKCS #8, PKCS #1 or SEC 1)"))?;
    let certified = CertifiedKey::from_der(chain, der, &ring::default_provider())
        .map_err(|error| refused(key_key, key, &format!("the key of the first certificate in {cert_key}: {error}")))?;
    Ok((certified, not_after))
}

fn roots(pem: &[u8], path: &Path, nodes: Option<&OfNodes>) -> Result<Arc<RootCertStore>, String> {
    let [.., ca] = keys(nodes);
    let refused = |allowed: &str| refused(ca, path, allowed);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(|allowed| refused(&allowed))? {
        roots.add(certificate).map_err(|error| refused(&format!("certificates in PEM: {error}")))?;
    }
    Ok(Arc::new(roots))
}

/// A caller that shows no certificate is let in as well, because it may have another credential; a node is not.
fn verifier(
    roots: &Arc<RootCertStore>,
    path: &Path,
    nodes: Option<&OfNodes>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), Arc::new(ring::default_provider()));
    let builder = if nodes.is_some() { builder } else { builder.allow_unauthenticated() };
    let [.., ca] = keys(nodes);
    builder.build().map_err(|error| refused(ca, path, &format!("certificates of CAs: {error}")))
}

/// How another node is called: it has to show a certificate of these CAs, and is shown the own one.
fn dialed(roots: Arc<RootCertStore>, key: Arc<SingleCertAndKey>) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_client_cert_resolver(key);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn keys(nodes: Option<&OfNodes>) -> [&'static str; 3] {
    nodes.map_or(CALLERS, |nodes| nodes.keys)
}

/// At least one certificate, or what would have been allowed.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err("certificates in PEM: it has none".into()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("certificates in PEM: {error}")),
    }
}

fn refused(name: &str, path: &Path, allowed: &str) -> String {
    format!("{name} = {:?} is not {allowed}", path.display().to_string())
}

fn read(paths: &TlsPaths, nodes: Option<&OfNodes>) -> Result<Pem, String> {
    let [cert, key, ca] = keys(nodes);
    let client_ca = paths.client_ca.as_ref().map(|path| bytes(ca, path)).transpose()?;
    Ok(Pem { cert: bytes(cert, &paths.cert)?, key: bytes(key, &paths.key)?, client_ca })
}

fn bytes(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, FILE_BYTES).map_err(|allowed| refused(name, path, &allowed))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

    use super::*;

    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
    }

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            Self { issuer: Issuer::new(params, key), pem }
        }

        fn certificate(&self, key: &KeyPair) -> rcgen::Certificate {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI("spiffe://prod/plane".try_into().unwrap())];
            params.use_authority_key_identifier_extension = true;
            params.signed_by(key, &self.issuer).unwrap()
        }
    }

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new(client_ca: &str) -> Self {
            let files = Self { dir: tempfile::tempdir().unwrap() };
            let key = KeyPair::generate().unwrap();
            files.write("cert.pem", &Authority::new().certificate(&key).pem());
            files.write("key.pem", &key.serialize_pem());
            files.write("ca.pem", client_ca);
            files
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.dir.path().join(name), text).unwrap();
        }

        fn open(&self) -> Result<Arc<Tls>, String> {
            let path = |name| self.dir.path().join(name);
            Tls::open(TlsPaths { cert: path("cert.pem"), key: path("key.pem"), client_ca: Some(path("ca.pem")) })
        }
    }

    #[test]
    fn what_no_ca_vouches_for_any_more_is_not_trusted_wherever_it_was_shown() {
        let (old, new) = (Authority::new(), Authority::new());
        let files = Files::new(&old.pem);
        let tls = files.open().unwrap();
        let key = KeyPair::generate().unwrap();
        let (by_old, by_new) = (old.certificate(&key), new.certificate(&key));
        let before = tls.handshake();
        let shown =
            |at: &Handshake, der: &CertificateDer<'static>| tls.shown(at, Some(std::slice::from_ref(der))).unwrap();
        let kept = shown(&before, by_old.der());
        assert_eq!(kept.names(), ["spiffe://prod/plane"]);
        assert!(tls.shown(&before, None).is_none());
        assert_eq!(tls.read_again(), Ok(Replaced::default()));
        files.write("ca.pem", &format!("{}{}", old.pem, new.pem));
        assert_eq!(tls.read_again(), Ok(Replaced { certificate: false, client_ca: true }));
        assert!(kept.is_trusted());
        files.write("ca.pem", "half of a file");
        assert!(tls.read_again().unwrap_err().starts_with("auth.certificates.ca = "));
        assert!(kept.is_trusted());
        files.write("ca.pem", &new.pem);
        assert!(tls.read_again().unwrap().client_ca);
        assert!(!kept.is_trusted());
        assert!(!shown(&before, by_old.der()).is_trusted(), "its handshake began before");
        assert!(shown(&before, by_new.der()).is_trusted());
    }

    #[test]
    fn a_file_of_cas_that_is_of_no_use_is_named() {
        let files = Files::new("");
        assert!(files.open().unwrap_err().contains("ca.pem\" is not certificates in PEM: it has none"));
        std::fs::remove_file(files.dir.path().join("ca.pem")).unwrap();
        assert!(files.open().unwrap_err().contains("auth.certificates.ca"));
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let authority = Authority::new();
        let tls = Files::new(&authority.pem).open().unwrap();
        let der = authority.certificate(&KeyPair::generate().unwrap()).der().clone();
        for _ in 0..=SWEPT_FROM {
            tls.shown(&tls.handshake(), Some(std::slice::from_ref(&der)));
        }
        assert_eq!(tls.shown.lock().unwrap().certificates.len(), 1);
    }
}
