//! Generated code of `proto/`, the conversions between it and the domain, and the one status table.

#[cfg(feature = "server")]
pub mod answers;
#[cfg(feature = "server")]
pub mod gateways;
mod generated;
#[cfg(feature = "server")]
pub mod json;
pub mod limit;
#[cfg(feature = "server")]
pub mod openapi;
#[cfg(feature = "server")]
pub mod requests;
#[cfg(feature = "server")]
pub mod status;

pub use generated::v1;
#[cfg(feature = "server")]
pub use generated::{admin, envoy, peer};

/// Every public proto, for server reflection.
#[cfg(feature = "server")]
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
