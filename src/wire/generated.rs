//! What `build.rs` makes of `proto/`, in packages as they are there.

#![allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "generated: what the protos say of messages and fields is their documentation"
)]

/// `tollgate.v1`: the data plane.
pub mod v1 {
    pub use crate::wire::limit::Limit;

    tonic::include_proto!("tollgate.v1");
}

/// `tollgate.admin.v1`: the operator's view.
#[cfg(feature = "server")]
pub mod admin {
    /// Version 1 of it.
    pub mod v1 {
        tonic::include_proto!("tollgate.admin.v1");
    }
}

/// What Envoy's rate-limit filter says, in packages as they are in its own API.
#[cfg(feature = "server")]
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
pub mod peer {
    /// Version 1 of it.
    pub mod v1 {
        tonic::include_proto!("tollgate.peer.v1");
    }
}
