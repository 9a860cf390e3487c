//! The gRPC front: tonic reads requests and writes answers, `rpc` has everything else.

mod connections;
mod front;
pub mod server;
