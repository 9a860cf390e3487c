//! The gRPC front: `net` has the connections, tonic reads requests and writes answers, `rpc` has everything else.

mod codec;
mod front;
pub mod server;
