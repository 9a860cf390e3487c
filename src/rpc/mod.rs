//! Every rpc as a plain function `(service, call, request) -> response`, and the one table of them.
//!
//! ```text
//! a front ── table::read ──▶ which rpc this is ── serve ──▶ owner of the org ── handler ──▶ service
//! ```
//!
//! Nothing here knows a transport. A front implements [`table::Reader`] and passes each call to
//! [`serve()`], [`serve_stream()`] or [`serve_watch()`], which give it a deadline, measure it and
//! count its error. So a call behaves alike
//! through every front.

mod admin;
mod batch;
mod budget;
mod caller;
mod cluster;
mod control;
mod envoy;
mod events;
mod explain;
mod gate;
mod method;
mod names;
mod orgs;
mod permit;
mod pool;
mod route;
mod row;
mod serve;
mod session;
mod snapshot;
pub mod table;
mod taken;
#[cfg(test)]
mod tests;
mod usage;
mod watch;
mod what_if;

pub use cluster::balance_changed;
pub use serve::{Asking, permit_rpc, response, serve, serve_forwarded, serve_stream, serve_watch, turn};
pub use taken::{Reply, Taken};

/// What a handler answers.
type Answer<T> = Result<T, crate::error::ServiceError>;
