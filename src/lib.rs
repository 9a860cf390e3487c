//! tollgate: may this org execute now, and what is left?
//!
//! `docs/architecture.md` is the map. Reading order: [`domain`] (the rules), `ports`, `actors`,
//! `service`, `grpc`; `app` puts them together.

pub mod bounds;
pub mod clock;
pub mod domain;
pub mod error;
pub mod ports;
pub mod store;
pub mod wire;
