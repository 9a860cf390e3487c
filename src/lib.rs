//! tollgate: may this org execute now, and what is left?
//!
//! `docs/architecture.md` is the map. Reading order: [`domain`] (the rules), `ports`, `actors`,
//! `service`, `rpc`, `grpc`; `app` puts them together.

pub mod actors;
pub mod app;
pub mod auth;
pub mod billing;
pub mod bounds;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod error;
pub mod file;
pub mod front;
pub mod http;
pub mod https;
pub mod net;
pub mod peer;
pub mod ports;
pub mod rpc;
pub mod service;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod turns;
pub mod webhook;
pub mod wire;
