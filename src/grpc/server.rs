//! The tonic server with its limits: tonic has none by default. Its timeout is not among them: it would
//! arm a timer for every call and answer CANCELLED, and each of our calls ends by its own deadline.

use std::{future::Future, ops::RangeInclusive, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tonic_health::server::{HealthReporter, health_reporter};

use super::{
    connections::{Door, accept},
    front::Front,
};
use crate::{bounds::Bounds, rpc::table, service::Service, wire::DESCRIPTORS};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES: u32 = 16 * 1024;
/// Room for a window of pipelined requests; the defaults (64 KiB) throttle a busy stream.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Ages of connections, in percent of the configured one.
const PERCENTS: RangeInclusive<u64> = 90..=110;

/// The health every service reports.
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Reports SERVING or NOT_SERVING, for every service and for the server as a whole.
    pub async fn set_serving(&self, serving: bool) {
        let status =
            if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        for service in table::services().chain([""]) {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// Serves until `stop`, then finishes what is in flight.
///
/// A tonic server has one age for all of its connections, so several take connections in turn, each with
/// an age of its own; `turn` says which comes first, so that the nodes of a fleet do not begin alike.
///
/// # Errors
/// Where the transport or the reflection service cannot be set up.
pub fn serve(
    service: Arc<Service>,
    bounds: &Bounds,
    listener: TcpListener,
    turn: usize,
    stop: &CancellationToken,
) -> Result<(Health, impl Future<Output = Result<(), tonic::transport::Error>> + Send + 'static), String> {
    let (reporter, health) = health_reporter();
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflect().build_v1().map_err(|error| error.to_string())?;
    let reflection_alpha = reflect().build_v1alpha().map_err(|error| error.to_string())?;
    let others = Routes::new(health).add_service(reflection_v1).add_service(reflection_alpha).prepare();
    let front = Front { service, max_message: bounds.message_bytes as usize, others };
    let server = Server::builder()
        // A request is a stream, so this bounds both; what is shed, is shed by our own admission.
        .max_concurrent_streams(bounds.streams_per_connection)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let door = Door::new(listener, bounds.connections);
    let servers = ages(bounds.connection_age_ms, turn).map(|age| {
        let server = server.clone().max_connection_age(age);
        let incoming = accept(door.clone(), age);
        server.serve_with_incoming_shutdown(front.clone(), incoming, stop.clone().cancelled_owned())
    });
    let servers = try_join_all(servers.collect::<Vec<_>>());
    Ok((Health(reporter), async move { servers.await.map(drop) }))
}

/// The age moved by -10 to +10 %, so that connections made together do not end together.
fn ages(age_ms: u32, turn: usize) -> impl Iterator<Item = Duration> {
    let percents = PERCENTS.cycle().skip(turn % PERCENTS.count()).take(PERCENTS.count());
    percents.map(move |percent| Duration::from_millis(u64::from(age_ms) * percent / 100))
}
