//! What is served: every rpc of the table, health, and reflection. Tonic's timeout is not used: it
//! would arm a timer for every call and answer CANCELLED, and each of our calls ends by its own deadline.

use std::{sync::Arc, time::Duration};

use hyper::{
    Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use tonic::service::Routes;
use tonic_health::server::{HealthReporter, health_reporter};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    Front, OWNER, Parts,
    origins::{Origins, Others},
};
use crate::{
    auth::Authenticator,
    bounds::{Bound, Bounds},
    error::ServiceError,
    net::Unread,
    rpc::table,
    service::Service,
    wire::{DESCRIPTORS, status},
};

/// Headers that clients in a page send, and read.
const ASKED: [&str; 7] = [
    "connect-protocol-version",
    "connect-timeout-ms",
    "grpc-timeout",
    "traceparent",
    "tracestate",
    "x-grpc-web",
    "x-user-agent",
];
const ANSWERED: [&str; 4] = ["grpc-status", "grpc-message", "grpc-status-details-bin", OWNER];
/// A browser asks again after it whether a page may call.
const ASKED_AGAIN: Duration = Duration::from_secs(2 * 60 * 60);
/// Any page.
const ANY: &str = "*";

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

/// The room for requests that are arriving.
pub fn unread(bounds: &Bounds) -> Arc<Unread> {
    let (bound, most) = (Bound::unread_bytes, bounds.unread_bytes);
    Unread::new(most, status::to_status(&ServiceError::NodeBusy { bound, most }))
}

/// The front of both ports, and the health that it reports. `origins` are those of pages of other sites that may call.
///
/// # Errors
/// Where the reflection service cannot be set up.
pub fn front(
    service: Arc<Service>,
    authenticator: Arc<Authenticator>,
    bounds: &Bounds,
    origins: &[String],
    is_tls: bool,
) -> Result<(Health, Front), String> {
    let (reporter, health) = health_reporter();
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflect().build_v1().map_err(|error| error.to_string())?;
    let reflection_alpha = reflect().build_v1alpha().map_err(|error| error.to_string())?;
    let others = Routes::new(health).add_service(reflection_v1).add_service(reflection_alpha).prepare();
    service.metrics().begin_rpcs(table::ALL.iter().map(|rpc| (rpc.method, rpc.name)));
    let max_message = bounds.message_bytes as usize;
    let origins = Origins { others: other_pages(origins), is_auth_asked: !authenticator.is_open(), is_tls };
    Ok((Health(reporter), Front(Arc::new(Parts { service, authenticator, max_message, others, origins }))))
}

/// Credentials are a header that a page has to know, never a cookie: none is sent along by itself.
fn other_pages(origins: &[String]) -> Option<Others> {
    let (origins, allowed) = match origins {
        [] => return None,
        [any] if any == ANY => (None, AllowOrigin::any()),
        origins => {
            let origins: Vec<_> = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
            (Some(origins.clone().into()), AllowOrigin::list(origins))
        }
    };
    let named = |names: &[&'static str], others: &[HeaderName]| {
        let names = names.iter().map(|name| HeaderName::from_static(name));
        names.chain(others.iter().cloned()).collect::<Vec<_>>()
    };
    let cors = CorsLayer::new().allow_origin(allowed).allow_methods([Method::GET, Method::POST]).max_age(ASKED_AGAIN);
    let cors = cors.allow_headers(named(&ASKED, &[AUTHORIZATION, CONTENT_TYPE]));
    Some(Others { origins, cors: cors.expose_headers(named(&ANSWERED, &[RETRY_AFTER])) })
}
