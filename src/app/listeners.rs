//! The ports of a node: bound before anything is opened, and given their bounds.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::Failure;
use crate::{
    bounds::Bounds,
    config::Config,
    front,
    net::{Door, Shared, Tls, room_for_connections},
    turns::Turns,
};

/// Where a node listens.
#[derive(Debug)]
pub struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
    /// Of a node that shares its store with others.
    peer: Option<TcpListener>,
}

/// The addresses in use; they differ from the configured ones where a port is 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Of the gRPC port.
    pub grpc: SocketAddr,
    /// Of the HTTP port.
    pub http: SocketAddr,
    /// Of the port for other nodes.
    pub peer: Option<SocketAddr>,
}

impl Listeners {
    /// # Errors
    /// Naming the address that could not be bound.
    pub async fn bind(config: &Config) -> Result<Self, Failure> {
        let bind = async |name, address: SocketAddr| {
            let bound = TcpListener::bind(address).await;
            bound.map_err(|error| Failure(format!("listen.{name} = \"{address}\" cannot be bound: {error}")))
        };
        let peer = match &config.cluster {
            Some(_) => Some(bind("peer", config.listen.peer).await?),
            None => None,
        };
        Ok(Self { grpc: bind("grpc", config.listen.grpc).await?, http: bind("http", config.listen.http).await?, peer })
    }

    /// Both with their bounds, gRPC first.
    pub(super) fn doors(self, bounds: &Bounds, turns: &Arc<Turns>, tls: Option<Arc<Tls>>, turn: usize) -> (Door, Door) {
        let room = u32::try_from(room_for_connections()).unwrap_or(u32::MAX);
        let wanted = bounds.connections.saturating_add(bounds.http_connections);
        // Metrics and health stay reachable.
        let connections = bounds.connections.min(room.saturating_sub(bounds.http_connections).max(1));
        if room < wanted {
            tracing::warn!(
                connections,
                "the limit of open files (RLIMIT_NOFILE, ulimit -n) has room for {connections} gRPC connections, \
                 bounds.connections = {}: raise the limit, or lower the bound",
                bounds.connections,
            );
        }
        let shared = Shared { unread: front::server::unread(bounds), turns: turns.clone(), tls };
        let grpc = Door::new("grpc", self.grpc, connections, bounds, &shared, turn);
        (grpc, Door::new("http", self.http, bounds.http_connections, bounds, &shared, turn))
    }

    /// The port for other nodes, once.
    pub(super) fn take_peer(&mut self) -> Option<TcpListener> {
        self.peer.take()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Option<Addresses> {
        let peer = self.peer.as_ref().and_then(|peer| peer.local_addr().ok());
        Some(Addresses { grpc: self.grpc.local_addr().ok()?, http: self.http.local_addr().ok()?, peer })
    }
}
