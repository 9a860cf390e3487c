//! Asking a node: gRPC channels, its health, its HTTP port.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tollgate::wire::{
    admin::v1::{GetNodeRequest, GetNodeResponse, admin_service_client::AdminServiceClient},
    v1::{
        AcquireRequest, budget_service_client::BudgetServiceClient, gate_service_client::GateServiceClient,
        pool_service_client::PoolServiceClient, session_service_client::SessionServiceClient,
    },
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use super::node::Node;

pub type Gate = GateServiceClient<Channel>;
pub type Sessions = SessionServiceClient<Channel>;
pub type Budget = BudgetServiceClient<Channel>;
pub type Pools = PoolServiceClient<Channel>;
pub type Admin = AdminServiceClient<Channel>;

/// An answer takes milliseconds; the node's own budget is 2.5 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// `GetOrg` of an org with many reservations.
const MESSAGE_BYTES: usize = 64 << 20;

impl Node {
    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        endpoint.connect_timeout(ANSWER_WITHIN).timeout(ANSWER_WITHIN).connect().await.unwrap()
    }

    /// Fails only where nobody listens any more.
    pub fn lazy_channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        endpoint.connect_timeout(ANSWER_WITHIN).timeout(ANSWER_WITHIN).connect_lazy()
    }

    pub async fn gate(&self) -> Gate {
        GateServiceClient::new(self.channel().await).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub async fn admin(&self) -> Admin {
        AdminServiceClient::new(self.channel().await).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub async fn view(&self) -> GetNodeResponse {
        self.admin().await.get_node(GetNodeRequest {}).await.unwrap().into_inner()
    }

    pub async fn is_serving(&self) -> bool {
        let mut health = HealthClient::new(self.lazy_channel());
        match health.check(HealthCheckRequest::default()).await {
            Ok(answer) => answer.into_inner().status() == ServingStatus::Serving,
            Err(_) => false,
        }
    }

    /// Status code and body of a GET on the HTTP port.
    pub async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\n\r\n")).await
    }

    /// Status code and body of a POST on the HTTP port.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<(u16, String)> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\nContent-Length: {length}\r\n");
        self.exchange(format!("{head}{headers}\r\n{body}")).await
    }

    async fn exchange(&self, request: String) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.http).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        timeout(ANSWER_WITHIN, stream.read_to_string(&mut answer)).await??;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((code, body.to_owned()))
    }

    /// The value of one series of `/metrics`, by the beginning of its line.
    pub async fn metric(&self, series: &str) -> u64 {
        let (_, text) = self.get("/metrics").await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap_or_else(|_| panic!("{series}{value}")))
    }
}

/// A plain Acquire.
pub fn plain(org: &str, request_id: &str) -> AcquireRequest {
    AcquireRequest { org: org.into(), request_id: request_id.into(), ..AcquireRequest::default() }
}

/// `ErrorInfo.reason`; empty where the node did not answer.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The error is this one, and for people too.
pub fn assert_error<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, expected: &str) {
    let status = answer.expect_err(expected);
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
    assert!(!status.message().is_empty());
}
