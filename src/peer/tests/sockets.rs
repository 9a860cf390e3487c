//! Nodes over sockets, by the certificates that they show.

use std::{fs, net::SocketAddr, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::pem::PemObject};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::*;
use crate::{
    bounds::Bounds,
    net::{Dialer, Door, OfNodes, Shared, Tls, TlsPaths, Unread},
    peer::server::{self, Serving},
    testing::{self, rate_of},
    turns::Turns,
    wire::v1,
};

const NODES: OfNodes = OfNodes { name: NAME_OF_NODES, keys: ["peer.cert", "peer.key", "peer.ca"] };

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

    /// A certificate with this name and its key.
    fn signed(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The files of one node.
struct Files(tempfile::TempDir);

impl Files {
    fn new(by: &Authority, name: &str, trusted: &Authority) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let (cert, key) = by.signed(name);
        files.write("cert.pem", &cert);
        files.write("key.pem", &key);
        files.write("ca.pem", &trusted.pem);
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Result<Arc<Tls>, String> {
        let paths =
            TlsPaths { cert: self.path("cert.pem"), key: self.path("key.pem"), client_ca: Some(self.path("ca.pem")) };
        Tls::open_between(paths, NODES)
    }
}

struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    _owner: testing::Node,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(tls: Option<Arc<Tls>>) -> Listening {
    let owner = testing::node(rate_of(10)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let nodes = tls.as_ref().and_then(|tls| tls.nodes().copied());
    let shared = Shared { unread: Unread::new(1 << 20, Status::resource_exhausted("full")), turns: Turns::new(1), tls };
    let door = Door::of_nodes("peer", listener, 16, &Bounds::default(), &shared, KEEP_ALIVE);
    let stop = CancellationToken::new();
    let serving = Serving {
        service: owner.service.clone(),
        owns: owned(),
        options: Arc::new(Options::of(Arc::new(id("b")))),
        nodes,
        stop: stop.clone(),
    };
    tokio::spawn(server::serve(serving, door));
    Listening { address, stop, _owner: owner }
}

async fn ask(peers: &Peers, listening: &Listening) -> Result<Answered, NotForwarded> {
    let request = v1::AcquireRequest { org: "acme".into(), ..Default::default() };
    let call = forward("tollgate.v1.GateService/Acquire", &request, &anybody());
    peers.forward(&at("b", &listening.address.to_string()), call).await
}

async fn asked(dial: impl Dial + 'static, listening: &Listening) -> Result<Answered, NotForwarded> {
    ask(&Peers::new(options(), Arc::new(dial)), listening).await
}

/// Whoever has some certificate, or none.
#[derive(Debug)]
struct Forger(ClientConfig);

impl Forger {
    fn new(trusted: &Authority, shown: Option<(String, String)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(config)
    }
}

impl Dial for Forger {
    fn dial(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<Socket>> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.0.clone()));
        Box::pin(async move {
            let io = TcpStream::connect(&*address).await?;
            connector.connect(NAME_OF_NODES.try_into().unwrap(), io).await.map(Socket::new)
        })
    }
}

fn refused(ended: Result<Answered, NotForwarded>) -> String {
    match ended {
        Err(NotForwarded::Gone { is_sent: false, why }) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_a_node_of_the_cluster_is_served_and_only_one_is_called() {
    let (ca, other) = (Authority::new(), Authority::new());
    let listening = listen(Some(Files::new(&ca, NAME_OF_NODES, &ca).open().unwrap())).await;
    let node = Files::new(&ca, NAME_OF_NODES, &ca).open().unwrap();
    let answered = asked(Dialer::new(Some(node)), &listening).await.unwrap();
    assert!(response::<v1::AcquireResponse>(&answered).allowed);

    refused(asked(Forger::new(&ca, None), &listening).await);
    refused(asked(Forger::new(&ca, Some(other.signed(NAME_OF_NODES))), &listening).await);
    let caller = refused(asked(Forger::new(&ca, Some(ca.signed("plane.internal"))), &listening).await);
    assert!(caller.contains("only nodes of this cluster may call"), "{caller}");
    refused(asked(Dialer::new(None), &listening).await);

    let foreign = Files::new(&other, NAME_OF_NODES, &other).open().unwrap();
    let unknown = refused(asked(Dialer::new(Some(foreign)), &listening).await);
    assert!(unknown.contains("invalid peer certificate"), "{unknown}");
    let callers = TlsPaths { client_ca: None, ..paths_of(&Files::new(&ca, "plane.internal", &ca)) };
    assert!(Tls::open_between(callers, NODES).unwrap_err().contains("peer.ca is missing"));
    let unnamed = Files::new(&ca, "plane.internal", &ca).open().unwrap_err();
    assert!(unnamed.starts_with("peer.cert = ") && unnamed.contains(NAME_OF_NODES), "{unnamed}");
}

fn paths_of(files: &Files) -> TlsPaths {
    TlsPaths { cert: files.path("cert.pem"), key: files.path("key.pem"), client_ca: None }
}

#[tokio::test]
async fn an_open_stream_ends_when_its_certificate_is_not_trusted_any_more_and_files_are_read_again() {
    let (ca, next) = (Authority::new(), Authority::new());
    let (files, own) = (Files::new(&ca, NAME_OF_NODES, &ca), Files::new(&ca, NAME_OF_NODES, &ca));
    let (served, dialed) = (files.open().unwrap(), own.open().unwrap());
    let listening = listen(Some(served.clone())).await;
    let peers = Peers::new(options(), Arc::new(Dialer::new(Some(dialed.clone()))));
    assert!(ask(&peers, &listening).await.is_ok());
    files.write("ca.pem", &next.pem);
    assert!(served.read_again().unwrap().client_ca);
    let Err(NotForwarded::Gone { why, .. }) = ask(&peers, &listening).await else { panic!("it was served") };
    assert!(why.contains("not trusted any more"), "{why}");
    let (cert, key) = next.signed(NAME_OF_NODES);
    own.write("cert.pem", &cert);
    own.write("key.pem", &key);
    assert!(dialed.read_again().unwrap().certificate);
    let fresh = Peers::new(options(), Arc::new(Dialer::new(Some(dialed))));
    assert!(ask(&fresh, &listening).await.is_ok());
}

#[tokio::test]
async fn without_certificates_nodes_reach_each_other_on_one_machine_only() {
    let listening = listen(None).await;
    assert!(asked(Dialer::new(None), &listening).await.is_ok());
    let beyond = Dialer::new(None).dial("192.0.2.1:7072".into()).await.unwrap_err();
    assert!(beyond.to_string().contains("not on this machine"), "{beyond}");
}
