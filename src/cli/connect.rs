//! The connection to a node: the bearer token, and one deadline per call.

use std::{
    error::Error,
    fmt,
    fs::File,
    future::Future,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{address::Address, args::GlobalArgs, failure::Failure};
use crate::wire::{
    admin::v1::admin_service_client::AdminServiceClient,
    v1::{
        budget_service_client::BudgetServiceClient, gate_service_client::GateServiceClient,
        pool_service_client::PoolServiceClient, session_service_client::SessionServiceClient,
    },
};

/// Largest answer that is read: an org with all its ledgers is a few MiB.
const MESSAGE_BYTES: usize = 64 << 20;
/// Largest token file.
const TOKEN_BYTES: u64 = 16 << 10;

/// Largest file of certificates, or of a key.
const PEM_BYTES: u64 = 4 << 20;
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const KEY_ENDS: &str = "PRIVATE KEY-----";

/// Adds the token and the deadline to every call.
#[derive(Clone)]
pub(super) struct Caller {
    bearer: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    /// A call goes on for as long as both sides want.
    is_endless: bool,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.is_endless {
            request.set_timeout(self.timeout);
        }
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

type Calls = InterceptedService<Channel, Caller>;

/// An open connection to a node.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    channel: Channel,
    caller: Caller,
}

impl Connection {
    pub(super) async fn open(global: &GlobalArgs) -> Result<Self, Failure> {
        let bearer = global.token_file.as_deref().map(read_bearer).transpose()?;
        let (address, timeout) = (global.address(), global.wait());
        let endpoint = Endpoint::from_shared(address.to_string()).map_err(|error| unreachable(&address, &error))?;
        let endpoint = if address.has_tls() { with_tls(endpoint, global)? } else { endpoint };
        let connected = match tokio::time::timeout(timeout, endpoint.connect()).await {
            Ok(connected) => connected,
            Err(_) => return Err(Failure::TimedOut { address, after: timeout }),
        };
        let channel = connected.map_err(|error| unreachable(&address, &error))?;
        Ok(Self { address, channel, caller: Caller { bearer, timeout, is_endless: false } })
    }

    pub(super) fn gate(&self) -> GateServiceClient<Calls> {
        GateServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn budget(&self) -> BudgetServiceClient<Calls> {
        BudgetServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn session(&self) -> SessionServiceClient<Calls> {
        SessionServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn pool(&self) -> PoolServiceClient<Calls> {
        PoolServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn admin(&self) -> AdminServiceClient<Calls> {
        AdminServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
    }

    /// For streams that have no end.
    pub(super) fn admin_without_deadline(&self) -> AdminServiceClient<Calls> {
        let caller = Caller { is_endless: true, ..self.caller.clone() };
        AdminServiceClient::with_interceptor(self.channel.clone(), caller).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Waits for one call, no longer than `--timeout`: the deadline that is sent with the call covers
    /// only the head of the answer, this one also its body.
    pub(super) async fn wait<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.caller.timeout, call).await {
            Err(_) => Err(self.timed_out()),
            Ok(Err(status)) if expired_on_this_side(&status) => Err(self.timed_out()),
            Ok(Err(status)) => Err(Failure::Status(Box::new(status))),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }

    fn timed_out(&self) -> Failure {
        Failure::TimedOut { address: self.address.clone(), after: self.caller.timeout }
    }
}

/// Trusts one CA where it is given, and otherwise what this machine trusts. Shows a certificate where it has one.
fn with_tls(
    endpoint: Endpoint,
    GlobalArgs { ca, client_cert, client_key, .. }: &GlobalArgs,
) -> Result<Endpoint, Failure> {
    let certificates = "certificates in PEM";
    let tls = match ca {
        None => ClientTlsConfig::new().with_native_roots(),
        Some(path) => {
            let pem = pem("--ca", path, BEGIN_CERTIFICATE, certificates)?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
    };
    let tls = match (client_cert, client_key) {
        (Some(cert), Some(key)) => {
            let cert = pem("--client-cert", cert, BEGIN_CERTIFICATE, certificates)?;
            tls.identity(Identity::from_pem(cert, pem("--client-key", key, KEY_ENDS, "a private key in PEM")?))
        }
        (None, None) => tls,
        _ => return Err(Failure::Local("--client-cert and --client-key belong together: give both".into())),
    };
    endpoint.tls_config(tls).map_err(|error| Failure::Local(format!("TLS: {error}")))
}

/// A file of PEM, in which something has to begin or end like this.
fn pem(flag: &str, path: &Path, mark: &str, allowed: &str) -> Result<Vec<u8>, Failure> {
    let named = |cause: String| Failure::Local(format!("{flag} {}: {cause}", path.display()));
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES).read_to_end(&mut pem));
    read.map_err(|error| named(error.to_string()))?;
    if !pem.windows(mark.len()).any(|part| part == mark.as_bytes()) {
        return Err(named(format!("it must hold {allowed}")));
    }
    Ok(pem)
}

/// The channel's own timer may fire before ours; it reports that by CANCELLED and this message.
fn expired_on_this_side(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == tonic::TimeoutExpired(()).to_string()
}

fn unreachable(address: &Address, error: &tonic::transport::Error) -> Failure {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let refused = deepest.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
    Failure::Unreachable { address: address.clone(), cause: deepest.to_string(), refused }
}

fn read_bearer(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    bearer(path).map_err(|cause| Failure::TokenFile { path: path.to_owned(), cause })
}

fn bearer(path: &Path) -> Result<MetadataValue<Ascii>, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(TOKEN_BYTES).read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it must hold one token of printable ASCII characters".to_owned());
    }
    let header = format!("Bearer {token}").parse();
    let mut bearer: MetadataValue<Ascii> = header.map_err(|_| "its token cannot be sent as a header")?;
    // Keeps the token out of logs and of HTTP/2's header tables.
    bearer.set_sensitive(true);
    Ok(bearer)
}
