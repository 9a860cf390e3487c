//! The connection to a node: the bearer token, and one deadline per call.

use std::{
    error::Error,
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use prost::{
    Message,
    bytes::{Buf, BufMut, Bytes},
};
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{address::Address, args::GlobalArgs, failure::Failure};
use crate::{rpc::table::Unary, wire::admin::v1::admin_service_client::AdminServiceClient};

/// Largest answer that is read: an org with all its ledgers is a few MiB.
const MESSAGE_BYTES: usize = 64 << 20;
/// Largest token file.
const TOKEN_BYTES: u64 = 16 << 10;

/// Largest file of certificates, or of a key.
const PEM_BYTES: u64 = 4 << 20;
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const KEY_ENDS: &str = "PRIVATE KEY-----";

/// Messages as bytes: what carries them is compiled once, not for each rpc.
#[derive(Debug, Clone, Copy)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

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

    /// For streams that have no end.
    pub(super) fn admin_without_deadline(&self) -> AdminServiceClient<Calls> {
        let caller = Caller { is_endless: true, ..self.caller.clone() };
        AdminServiceClient::with_interceptor(self.channel.clone(), caller).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Calls an rpc, and waits no longer than `--timeout`.
    pub(super) async fn ask<R: Unary>(&self, request: R::Request) -> Result<R::Response, Failure> {
        let answer = self.call(R::RPC.name, request.encode_to_vec().into()).await?;
        let broken = |error| Status::internal(format!("the answer is not the message of this rpc: {error}"));
        R::Response::decode(answer).map_err(|error| Failure::Status(Box::new(broken(error))))
    }

    /// The deadline that is sent with the call covers only the head of the answer, this one also its body.
    async fn call(&self, rpc: &str, request: Bytes) -> Result<Bytes, Failure> {
        match tokio::time::timeout(self.caller.timeout, self.answer(rpc, request)).await {
            Err(_) => Err(self.timed_out()),
            Ok(Err(status)) if expired_on_this_side(&status) => Err(self.timed_out()),
            Ok(Err(status)) => Err(Failure::Status(Box::new(status))),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }

    async fn answer(&self, rpc: &str, request: Bytes) -> Result<Response<Bytes>, Status> {
        let calls = InterceptedService::new(self.channel.clone(), self.caller.clone());
        let mut grpc = Grpc::new(calls).max_decoding_message_size(MESSAGE_BYTES);
        let path = PathAndQuery::try_from(format!("/{rpc}")).map_err(|error| Status::internal(error.to_string()))?;
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        grpc.unary(Request::new(request), path, Encoded).await
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
