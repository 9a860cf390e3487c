//! The connection: one HTTP/2 connection for the stream and for all other calls, made with the first call and again whenever
//! it was lost. A node that hangs answers no ping, so its connection ends and takes what waits on it along.

use std::{fmt, sync::Arc, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    events::called,
    options::{Misconfigured, Options},
};
use crate::{
    causes,
    wire::v1::{
        budget_service_client::BudgetServiceClient, gate_service_client::GateServiceClient,
        session_service_client::SessionServiceClient,
    },
};

/// Answers with every limit of an org with many scopes.
const MESSAGE_BYTES: usize = 16 << 20;

type Called = InterceptedService<Channel, Credentials>;
pub(super) type Gate = GateServiceClient<Called>;

/// Where the node is, and who calls.
#[derive(Debug, Clone)]
pub(super) struct Link {
    channel: Called,
}

impl Link {
    /// Fails on what is wrong with the options; nothing is connected yet. It needs the runtime that it is called in.
    pub(super) fn new(options: &Options) -> Result<Self, Misconfigured> {
        let wrong = |error: tonic::transport::Error| Misconfigured(format!("url or TLS: {}", causes::chain(&error)));
        let mut endpoint = Endpoint::from_shared(options.url.clone()).map_err(wrong)?;
        if options.url.starts_with("https://") {
            endpoint = endpoint.tls_config(tls(options)).map_err(wrong)?;
        }
        let endpoint = endpoint
            .connect_timeout(options.attempt)
            .http2_keep_alive_interval(options.attempt * 2)
            .keep_alive_timeout(options.attempt)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(15)));
        let credentials = Credentials { token: options.token.clone() };
        Ok(Self { channel: InterceptedService::new(endpoint.connect_lazy(), credentials) })
    }

    pub(super) fn gate(&self) -> Gate {
        GateServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn sessions(&self) -> SessionServiceClient<Called> {
        SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn budgets(&self) -> BudgetServiceClient<Called> {
        BudgetServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }
}

fn tls(options: &Options) -> ClientTlsConfig {
    let tls = match &options.ca_pem {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match &options.identity_pem {
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        None => tls,
    }
}

/// Puts the bearer token into every call.
#[derive(Clone)]
pub(super) struct Credentials {
    token: Option<Arc<dyn Fn() -> Option<String> + Send + Sync>>,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some(source) = &self.token else { return Ok(request) };
        // Whoever gives tokens out is away: the call was not asked, and not refused.
        let token = called(|| source()).ok_or_else(|| Status::unavailable("the source of the token has panicked"))?;
        let Some(token) = token else { return Ok(request) };
        let bearer: Result<MetadataValue<Ascii>, _> = format!("Bearer {}", token.trim()).parse();
        let mut bearer =
            bearer.map_err(|_| Status::unauthenticated("the token has characters that no header may have"))?;
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("token", &self.token.is_some()).finish()
    }
}
