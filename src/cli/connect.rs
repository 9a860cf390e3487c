//! The way to a node: its address, the bearer token, one deadline per call, and errors that say what
//! to do next.
//!
//! A gRPC error is "no decision", never a denial: it ends with exit code 1, a denial with 3.

use std::{
    error::Error,
    fmt,
    fs::File,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint, Uri},
};
use tonic_types::StatusExt;

use super::{Exit, args::GlobalArgs};
use crate::{
    domain::input::InputError,
    wire::{
        admin::v1::admin_service_client::AdminServiceClient,
        json::JsonError,
        v1::{
            budget_service_client::BudgetServiceClient, gate_service_client::GateServiceClient,
            pool_service_client::PoolServiceClient, session_service_client::SessionServiceClient,
        },
    },
};

/// Largest answer that is read: an org with all its ledgers is a few MiB.
const MESSAGE_BYTES: usize = 64 << 20;
/// Largest token file.
const TOKEN_BYTES: u64 = 16 << 10;

/// Where a node listens, as `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Reads `HOST:PORT` or `http://HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let refused = || InputError::new("addr", text, "HOST:PORT or http://HOST:PORT (TLS is not supported yet)");
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let uri: Uri = format!("http://{bare}/").parse().map_err(|_| refused())?;
        let authority = uri.authority().ok_or_else(refused)?;
        let only_an_authority = authority.as_str() == bare && !bare.contains('@');
        if only_an_authority && authority.port_u16().is_some() && !authority.host().is_empty() {
            Ok(Self(format!("http://{bare}")))
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a verb has no answer to show.
#[derive(Debug)]
pub(super) enum Failure {
    /// A mistake on the command line that shows only when its parts are seen together.
    Usage(InputError),
    TokenFile {
        path: PathBuf,
        cause: String,
    },
    /// A file of accounts, or one of its lines.
    AccountFile {
        name: String,
        line: Option<usize>,
        cause: String,
    },
    Unreachable {
        address: Address,
        cause: String,
        refused: bool,
    },
    TimedOut {
        address: Address,
        after: Duration,
    },
    /// The node answered with an error.
    Status(Box<Status>),
    /// The node's answer lacks something it must have.
    Incomplete(&'static str),
    Json(JsonError),
    /// The machine could not give what a client needs.
    Machine(String),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        if matches!(self, Self::Usage(_)) { Exit::Usage } else { Exit::Error }
    }

    /// Whether a change that was asked for may have happened all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Status(status) => matches!(
                status.code(),
                Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable
            ),
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::TokenFile { path, cause } => write!(f, "the token file {} can not be used: {cause}", path.display()),
            Self::AccountFile { name, line: Some(line), cause } => write!(f, "{name}: line {line}: {cause}"),
            Self::AccountFile { name, line: None, cause } => write!(f, "{name}: {cause}"),
            Self::Unreachable { address, cause, refused } => {
                write!(f, "no connection to {address}: {cause}")?;
                if *refused {
                    f.write_str("\nhint: no node listens there; `tollgate serve` starts one, --addr names another")?;
                }
                Ok(())
            }
            Self::TimedOut { address, after } => {
                write!(f, "no answer from {address} within {after:?}\nhint: --timeout waits longer")
            }
            Self::Status(status) => write_status(status, f),
            Self::Incomplete(what) => write!(f, "the node's answer is incomplete: {what}"),
            Self::Json(error) => error.fmt(f),
            Self::Machine(cause) => f.write_str(cause),
        }
    }
}

impl Error for Failure {}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

fn write_status(status: &Status, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let message = if status.message().is_empty() { "the node gave no message" } else { status.message() };
    write!(f, "{message} ({}", code_name(status.code()))?;
    if let Some(info) = status.get_details_error_info() {
        write!(f, ", {}", info.reason)?;
    }
    f.write_str(")")?;
    if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        write!(f, "\nhint: try again in {delay:?}")?;
    }
    if status.source().is_some() {
        f.write_str("\nhint: the connection itself failed; --addr must name the node's gRPC port")?;
    }
    if status.code() == Code::Unauthenticated {
        f.write_str("\nhint: --token-file sends a bearer token")?;
    }
    Ok(())
}

/// The canonical name of a gRPC code.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Adds the token and the deadline to every call.
#[derive(Clone)]
pub(super) struct Caller {
    bearer: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.timeout);
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
        let address = global.addr.clone();
        let unreachable = |error: tonic::transport::Error| unreachable_because(&address, &error);
        let endpoint = Endpoint::from_shared(address.0.clone()).map_err(unreachable)?;
        let timed_out = || Failure::TimedOut { address: address.clone(), after: global.timeout };
        let connecting = tokio::time::timeout(global.timeout, endpoint.connect());
        let channel = connecting.await.map_err(|_| timed_out())?.map_err(unreachable)?;
        Ok(Self { address, channel, caller: Caller { bearer, timeout: global.timeout } })
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

    /// Waits for one call, no longer than `--timeout`: the deadline that the node is told covers the
    /// answer's head only, this one also its body.
    pub(super) async fn wait<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        let timed_out = || Failure::TimedOut { address: self.address.clone(), after: self.caller.timeout };
        match tokio::time::timeout(self.caller.timeout, call).await {
            Err(_) => Err(timed_out()),
            Ok(Err(status)) if expired_on_this_side(&status) => Err(timed_out()),
            Ok(Err(status)) => Err(Failure::Status(Box::new(status))),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }
}

/// The channel's own timer may win against ours; it says so by CANCELLED and this message.
fn expired_on_this_side(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == tonic::TimeoutExpired(()).to_string()
}

fn unreachable_because(address: &Address, error: &tonic::transport::Error) -> Failure {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let refused = deepest.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
    Failure::Unreachable { address: address.clone(), cause: deepest.to_string(), refused }
}

fn read_bearer(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    let refused = |cause: &str| Failure::TokenFile { path: path.to_owned(), cause: cause.to_owned() };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(TOKEN_BYTES).read_to_string(&mut text));
    read.map_err(|error| refused(&error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused("it must hold one token of printable ASCII characters"));
    }
    let mut bearer: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| refused("its token can not be sent as a header"))?;
    // Keeps the token out of logs and of HTTP/2's header tables.
    bearer.set_sensitive(true);
    Ok(bearer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, shown) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("http://127.0.0.1:7070/", "http://127.0.0.1:7070"),
            ("gate.internal:80", "http://gate.internal:80"),
            ("[::1]:7070", "http://[::1]:7070"),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_allowed_forms() {
        for bad in ["", "localhost", ":7070", "https://a:1", "a:1/x", "u:p@a:1", "a b:1", "http://", "a:99999", "a:1?x"]
        {
            let error = Address::parse(bad).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{bad:?}: {error}");
        }
    }
}
