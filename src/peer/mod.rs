//! How a call reaches the node that owns its org: one stream to each other node, kept open, with many calls on it.
//!
//! ```text
//!  a front ─▶ Peers::forward ─▶ waiting ─▶ link ════ Exchange ════▶ server ─▶ rpc::table ─▶ rpc::serve_forwarded
//!               deadline,        bounded    one per      │             owner of the org? bounded, in any order
//!               answer           queue      node         ◀── answers ──┘
//! ```
//!
//! What crosses is the caller's own request under the name of its rpc, and who the caller is: never its credential. The
//! owner judges it as its own front would, and answers what the caller gets. A call is forwarded once: who gets it and
//! does not own the org says so ([`WrongOwner`]), and the node that has the caller decides what happens next.
//!
//! A node believes what another one says of its callers, so both ends show a certificate of the cluster
//! ([`NAME_OF_NODES`]), or are on one machine. A stream has no age. Where it ends, its calls end with what is known of
//! them: not sent, or perhaps carried out ([`NotForwarded::Gone`]).

mod caller;
mod client;
mod link;
pub mod server;
#[cfg(test)]
mod tests;
mod waiting;

use std::{fmt, sync::Arc, time::Duration};

use prost::bytes::Bytes;

use crate::{
    auth::Principal,
    domain::{
        ids::OrgId,
        members::{self, NodeId},
        shard::Epoch,
    },
    error::{Relayed, ServiceError},
    net::KeepAlive,
    ports::Itself,
    wire::peer::v1,
};

pub use crate::bounds::NAME_OF_NODES;
pub use client::Peers;

/// Nodes of another version of the protocol are not talked to.
pub const PROTOCOL: u32 = 1;
/// A node that is cut off is noticed after three seconds.
pub const KEEP_ALIVE: KeepAlive = KeepAlive { interval: Duration::from_secs(1), timeout: Duration::from_secs(2) };

/// What a frame has beside a request: names, and who calls.
const FRAME_BYTES: usize = 256 << 10;

/// What both sides of a stream go by.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node.
    pub own: Arc<dyn Itself>,
    /// Calls on their way to one node, sent or not; and of one node that are served here at a time.
    pub in_flight: usize,
    /// The longest request.
    pub request_bytes: usize,
    /// The longest response.
    pub response_bytes: usize,
    /// How long it may take to open a stream.
    pub open_within: Duration,
    /// After a stream that could not be opened: calls fail at once for so long. It doubles from the first to the last.
    pub pauses: (Duration, Duration),
}

impl Options {
    /// What is usual, for this node.
    pub fn of(own: Arc<dyn Itself>) -> Self {
        Self {
            own,
            in_flight: 8_192,
            request_bytes: 1 << 20,
            response_bytes: 64 << 20,
            open_within: Duration::from_secs(1),
            pauses: (Duration::from_millis(50), Duration::from_secs(1)),
        }
    }

    fn hello(&self) -> v1::Hello {
        let own = self.own.id();
        v1::Hello {
            protocol: PROTOCOL,
            node: own.name.to_string(),
            incarnation: own.incarnation.0,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// Why a node of this hello is not talked to.
fn other_protocol(hello: &v1::Hello, own: &NodeId) -> Option<String> {
    let v1::Hello { protocol, node, version, .. } = hello;
    (*protocol != PROTOCOL).then(|| {
        format!(
            "node {node} (version {version}) speaks version {protocol} of the protocol between nodes, and node {} \
             (version {}) version {PROTOCOL}: nodes of one cluster are of one version",
            own.name,
            env!("CARGO_PKG_VERSION"),
        )
    })
}

/// Where another node is, in whichever of its lives: each shard has an epoch, which says whether it is still its.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// `host:port` of its listener for nodes.
    pub address: Arc<str>,
}

impl From<&members::Node> for Node {
    fn from(node: &members::Node) -> Self {
        Self { name: node.id.name.clone(), address: node.about.peer.as_str().into() }
    }
}

impl From<&members::Member> for Node {
    fn from(member: &members::Member) -> Self {
        Self { name: member.id.name.clone(), address: member.about.peer.as_str().into() }
    }
}

/// One call to be forwarded.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Name of the rpc, as [`crate::rpc::table::Rpc::name`].
    pub rpc: &'static str,
    /// The request, encoded.
    pub request: Bytes,
    /// How long the answer may take.
    pub within: Duration,
    /// Epoch of the shard of its org, as far as this node knows it.
    pub epoch: Option<Epoch>,
    /// Who calls.
    pub caller: Arc<Principal>,
    /// How the caller named the org, where that is another name of the one that the request names now.
    pub said: Option<OrgId>,
    /// W3C trace context, where the call has one.
    pub traceparent: Option<String>,
}

/// What the owner has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its name.
    pub node: Arc<str>,
    /// The response, encoded, or the error as the caller gets it.
    pub response: Result<Bytes, Relayed>,
}

/// Why there is no answer of the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotForwarded {
    /// Nothing was done: the node does not own the org.
    WrongOwner(WrongOwner),
    /// The stream has ended, or could not be opened.
    Gone {
        /// It may have been carried out. False = it was not.
        is_sent: bool,
        /// For operators.
        why: Arc<str>,
    },
    /// No answer in time.
    TimedOut {
        /// It may have been carried out. False = it was not, and will not be.
        is_sent: bool,
    },
    /// Nothing was sent: so many calls are on their way to the node.
    Busy {
        /// As many as may be.
        most: usize,
    },
}

impl NotForwarded {
    /// Whether the call may have been carried out; otherwise it was not.
    pub fn is_sent(&self) -> bool {
        match self {
            Self::WrongOwner(_) | Self::Busy { .. } => false,
            Self::Gone { is_sent, .. } | Self::TimedOut { is_sent } => *is_sent,
        }
    }
}

impl fmt::Display for NotForwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongOwner(_) => f.write_str("another node owns the org"),
            Self::Gone { why, .. } => f.write_str(why),
            Self::TimedOut { .. } => f.write_str("no answer in time"),
            Self::Busy { most } => write!(f, "{most} calls are on their way to the node"),
        }
    }
}

impl std::error::Error for NotForwarded {}

/// For the caller, where nothing else is tried.
impl From<NotForwarded> for ServiceError {
    fn from(error: NotForwarded) -> Self {
        match error {
            NotForwarded::WrongOwner(_) => Self::Moved,
            NotForwarded::Gone { is_sent, .. } => Self::OwnerUnreachable { is_sent },
            NotForwarded::TimedOut { .. } => Self::TimedOut,
            NotForwarded::Busy { most } => Self::OwnerBusy { most },
        }
    }
}

/// The node does not own an org that a call names, or not at the epoch of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongOwner {
    /// Epoch of the shard, as far as it is known there.
    pub epoch: Option<Epoch>,
}

/// Says which orgs this node owns.
pub trait Owns: Send + Sync + fmt::Debug {
    /// Asked of every org that a forwarded call names, as it was given: it may be no valid id.
    ///
    /// # Errors
    /// Where another node owns it, or this one at another epoch.
    fn owns(&self, org: &str, epoch: Option<Epoch>) -> Result<(), WrongOwner>;
}
