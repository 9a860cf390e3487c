//! The door of both listeners: what a connection may take of the house, before anything is decoded.
//!
//! ```text
//! accept ─ a place ─▶ TLS ─▶ connection ─ age, silence, stalls ─▶ HTTP ─ a request's bytes in time ─▶ a front
//! ```
//!
//! A place is counted per node and per address (`places`). A connection that says nothing, asks nothing, or
//! does not take its answers is asked to go, or cut (`activity`, `connection`). A request has a time in
//! which its message has to arrive, and all messages that are still arriving share one budget (`arriving`).
//! What is behind the door is a [`Front`]; nothing here knows what it serves.

mod activity;
mod arriving;
mod connection;
mod dial;
mod files;
mod io;
mod leaving;
mod peer;
mod places;
mod tls;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Body};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::{bounds::Bounds, turns::Turns};

pub use arriving::{Arriving, Unread};
pub use connection::Reached;
pub use dial::{Dial, Dialer, Socket, To};
pub use files::room_for_connections;
pub use peer::{ClientCertificate, Peer};
pub use tls::{OfNodes, Replaced, Tls, TlsPaths};

use connection::Terms;
use places::{Place, Places};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// After an accept failed (out of file descriptors, mostly), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const CALLERS: KeepAlive = KeepAlive { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) };
const HEADER_BYTES: u32 = 16 * 1024;
/// Room for a window of pipelined requests; the defaults (64 KiB) throttle a busy stream.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What one stream may have ready for a caller that does not read.
const SEND_BUFFER: usize = 64 << 10;

/// What answers the requests of every connection; cloned for each of them.
pub trait Front<B>:
    Service<Request<Arriving>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B, S> Front<B> for S where
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What the listeners of a node have in common.
#[derive(Debug)]
pub struct Shared {
    /// The budget of what is arriving.
    pub unread: Arc<Unread>,
    /// While calls wait too long for their turn, connections that flood are read where there is room.
    pub turns: Arc<Turns>,
    /// Without it a listener speaks in the clear.
    pub tls: Option<Arc<Tls>>,
}

/// How soon it is noticed that nobody is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Time between two pings.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// A listener with its bounds.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    /// In the log.
    name: &'static str,
    places: Arc<Places>,
    terms: Arc<Terms>,
    /// Varies the ages of connections from one to the next.
    turn: usize,
}

impl Door {
    /// Up to `connections` at a time; more wait in the backlog. Nodes of a fleet begin with different `turn`s, so
    /// that connections which were made together do not end together.
    pub fn new(
        name: &'static str,
        listener: TcpListener,
        connections: u32,
        bounds: &Bounds,
        shared: &Shared,
        turn: usize,
    ) -> Self {
        let age = Duration::from_millis(bounds.connection_age_ms.into());
        Self::build(name, listener, connections, bounds, shared, (CALLERS, Some(age), turn))
    }

    /// For connections of other nodes: nobody asks them to go because of their age.
    pub fn of_nodes(
        name: &'static str,
        listener: TcpListener,
        connections: u32,
        bounds: &Bounds,
        shared: &Shared,
        keep_alive: KeepAlive,
    ) -> Self {
        Self::build(name, listener, connections, bounds, shared, (keep_alive, None, 0))
    }

    fn build(
        name: &'static str,
        listener: TcpListener,
        connections: u32,
        bounds: &Bounds,
        shared: &Shared,
        (keep_alive, age, turn): (KeepAlive, Option<Duration>, usize),
    ) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(bounds.streams_per_connection)
            .keep_alive_interval(keep_alive.interval)
            .keep_alive_timeout(keep_alive.timeout)
            .max_header_list_size(HEADER_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        let request_within = Duration::from_millis(bounds.request_ms.into());
        http.http1().timer(TokioTimer::new()).header_read_timeout(request_within).max_buf_size(HEADER_BYTES as usize);
        let terms = Terms {
            http,
            unread: shared.unread.clone(),
            turns: shared.turns.clone(),
            tls: shared.tls.clone(),
            request_within,
            answer_within: Duration::from_millis(bounds.answer_ms.into()),
            idle: Duration::from_millis(bounds.connection_idle_ms.into()),
            age,
        };
        let places = Places::new(connections, bounds.connections_per_address);
        Self { listener, name, places, terms: Arc::new(terms), turn }
    }

    /// Serves until `stop`, then until every connection has finished what it has in flight. Dropped, it cuts them.
    pub async fn serve<B>(mut self, front: impl Front<B>, stop: CancellationToken)
    where
        B: Body<Error: Into<BoxError>, Data: Send> + Send + Unpin + 'static,
    {
        let mut open = JoinSet::new();
        loop {
            let (io, peer, place) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = open.join_next() => continue,
                accepted = self.accept() => accepted,
            };
            self.turn = self.turn.wrapping_add(1);
            let served = connection::serve(io, peer, front.clone(), self.terms.clone(), self.turn, stop.clone());
            open.spawn(async move {
                served.await;
                drop(place);
            });
        }
        // The backlog is refused from here on.
        drop(self.listener);
        while open.join_next().await.is_some() {}
    }

    async fn accept(&self) -> (TcpStream, Peer, Place) {
        loop {
            let place = self.places.free().await;
            let (io, address): (_, SocketAddr) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, listener = self.name, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Some(place) = place.of(address.ip()) {
                let _ = io.set_nodelay(true);
                return (io, Peer { address: address.ip().to_canonical(), certificate: None }, place);
            }
            self.places.refuse(self.name, address.ip());
        }
    }
}
