//! Generated code of `proto/`, the conversions between it and the domain, and the one status table.

#[cfg(feature = "server")]
pub mod answers;
#[cfg(feature = "server")]
pub mod gateways;
#[cfg(feature = "server")]
pub mod json;
pub mod limit;
#[cfg(feature = "server")]
pub mod openapi;
#[cfg(feature = "server")]
pub mod requests;
#[cfg(feature = "server")]
pub mod status;

/// `tollgate.v1`: the data plane.
#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "generated: what the protos say of messages and fields is their documentation"
)]
pub mod v1 {
    pub use crate::wire::limit::Limit;

    tonic::include_proto!("tollgate.v1");
}

/// `tollgate.admin.v1`: the operator's view.
#[cfg(feature = "server")]
#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "generated: what the protos say of messages and fields is their documentation"
)]
pub mod admin {
    /// Version 1 of it.
    pub mod v1 {
        tonic::include_proto!("tollgate.admin.v1");
    }
}

/// What Envoy's rate-limit filter says, in packages as they are in its own API.
#[cfg(feature = "server")]
#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "generated: what the protos say of messages and fields is their documentation"
)]
pub mod envoy {
    pub mod config {
        pub mod core {
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    pub mod extensions {
        pub mod common {
            pub mod ratelimit {
                pub mod v3 {
                    tonic::include_proto!("envoy.extensions.common.ratelimit.v3");
                }
            }
        }
    }
    pub mod service {
        pub mod ratelimit {
            pub mod v3 {
                tonic::include_proto!("envoy.service.ratelimit.v3");
            }
        }
    }
}

/// `tollgate.peer.v1`: between nodes, and in no descriptor that callers are shown.
#[cfg(feature = "server")]
#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "generated: what the protos say of messages and fields is their documentation"
)]
pub mod peer {
    /// Version 1 of it.
    pub mod v1 {
        tonic::include_proto!("tollgate.peer.v1");
    }
}

/// Every public proto, for server reflection.
#[cfg(feature = "server")]
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
