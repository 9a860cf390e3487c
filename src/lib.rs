//! tollgate: may this org execute now, and what is left?
//!
//! `docs/architecture.md` is the map. Reading order: `domain` (the rules), `ports`, `actors`, `service`, `rpc`, `front`;
//! `app` puts them together. A plane needs `client` alone: the feature `client` compiles it without the rest.

#[cfg(feature = "server")]
pub mod actors;
#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod billing;
#[cfg(feature = "server")]
pub mod bounds;
pub mod causes;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod domain;
#[cfg(feature = "server")]
pub mod error;
#[cfg(feature = "server")]
pub mod file;
#[cfg(feature = "server")]
pub mod front;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod https;
pub mod limit_texts;
#[cfg(feature = "server")]
pub mod net;
#[cfg(feature = "server")]
pub mod peer;
#[cfg(feature = "server")]
pub mod ports;
#[cfg(feature = "server")]
pub mod rpc;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(test)]
mod testing;
#[cfg(feature = "server")]
pub mod turns;
#[cfg(feature = "server")]
pub mod webhook;
pub mod wire;
