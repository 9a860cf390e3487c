//! What is served on the gRPC port: every rpc of the table, health, and reflection. Tonic's timeout is not used: it
//! would arm a timer for every call and answer CANCELLED, and each of our calls ends by its own deadline.

use std::{future::Future, sync::Arc};

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::server::{HealthReporter, health_reporter};

use super::front::Front;
use crate::{auth::Authenticator, bounds::Bounds, net::Door, rpc::table, service::Service, wire::DESCRIPTORS};

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
/// # Errors
/// Where the reflection service cannot be set up.
pub fn serve(
    service: Arc<Service>,
    authenticator: Arc<Authenticator>,
    bounds: &Bounds,
    door: Door,
    stop: CancellationToken,
) -> Result<(Health, impl Future<Output = ()> + Send + 'static), String> {
    let (reporter, health) = health_reporter();
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflect().build_v1().map_err(|error| error.to_string())?;
    let reflection_alpha = reflect().build_v1alpha().map_err(|error| error.to_string())?;
    let others = Routes::new(health).add_service(reflection_v1).add_service(reflection_alpha).prepare();
    service.metrics().begin_rpcs(table::ALL.iter().map(|rpc| rpc.method));
    let front = Front { service, authenticator, max_message: bounds.message_bytes as usize, others };
    Ok((Health(reporter), door.serve(front, stop)))
}
