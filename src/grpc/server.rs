//! The tonic server with its limits: tonic has none by default. Its timeout is not among them: it would
//! arm a timer for every call and answer CANCELLED, and each of our calls ends by its own deadline.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic_health::server::{HealthReporter, health_reporter};

use super::{Front, connections};
use crate::{
    bounds::Bounds,
    service::Service,
    wire::{
        DESCRIPTORS,
        admin::v1::admin_service_server::AdminServiceServer,
        v1::{budget_service_server::BudgetServiceServer, gate_service_server::GateServiceServer},
    },
};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES: u32 = 16 * 1024;
/// Room for a window of pipelined requests; the defaults (64 KiB) throttle a busy stream.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The health every service reports.
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    pub async fn set_serving(&self, serving: bool) {
        let status =
            if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        for service in ["", "tollgate.v1.GateService", "tollgate.v1.BudgetService", "tollgate.admin.v1.AdminService"] {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// Serves until `stop`, then finishes what is in flight.
///
/// # Errors
/// Where the transport or the reflection service can not be set up.
pub fn serve(
    service: Arc<Service>,
    bounds: &Bounds,
    listener: TcpListener,
    jitter_percent: u32,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(Health, impl Future<Output = Result<(), tonic::transport::Error>> + Send + 'static), String> {
    let (reporter, health) = health_reporter();
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflect().build_v1().map_err(|error| error.to_string())?;
    let reflection_alpha = reflect().build_v1alpha().map_err(|error| error.to_string())?;
    let front = Front(service);
    let (max_message, streams) = (bounds.message_bytes as usize, bounds.streams_per_connection);
    let age = aged(bounds.connection_age_ms, jitter_percent);
    let router = Server::builder()
        // A request is a stream, so this bounds both; what is shed, is shed by our own admission.
        .max_concurrent_streams(streams)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_connection_age(age)
        .add_service(health)
        .add_service(reflection_v1)
        .add_service(reflection_alpha)
        .add_service(GateServiceServer::new(front.clone()).max_decoding_message_size(max_message))
        .add_service(BudgetServiceServer::new(front.clone()).max_decoding_message_size(max_message))
        .add_service(AdminServiceServer::new(front).max_decoding_message_size(max_message));
    let incoming = connections::accept(listener, bounds.connections, age);
    Ok((Health(reporter), router.serve_with_incoming_shutdown(incoming, stop)))
}

/// The age moved by up to ±10 %, so that a fleet's connections do not all end at once.
fn aged(age_ms: u32, jitter_percent: u32) -> Duration {
    let age = u64::from(age_ms);
    Duration::from_millis(age * (90 + u64::from(jitter_percent % 21)) / 100)
}
