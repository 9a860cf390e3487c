//! Requests and answers as they came from elsewhere: what another node decides crosses as its caller and its owner wrote it, with
//! fields that this node's version does not know.

use std::{fmt, sync::Arc};

use prost::{DecodeError, bytes::Bytes};

use super::{
    method::Of,
    table::{AnyRequest, Unary, UnaryRpc},
};
use crate::domain::members::Node;

/// A request of a unary rpc.
pub struct Taken {
    /// What it says.
    pub(super) request: Box<dyn AnyRequest>,
    /// As it came, where another node may be sent it; otherwise it is encoded again.
    pub(super) bytes: Option<Bytes>,
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").field("orgs", &self.request.orgs()).finish_non_exhaustive()
    }
}

impl Taken {
    /// Of what came; `keeps` it for another node.
    ///
    /// # Errors
    /// Where it is not the message of this rpc.
    pub fn of(row: UnaryRpc, bytes: Bytes, keeps: bool) -> Result<Self, DecodeError> {
        Ok(Self { request: row.decode(&bytes)?, bytes: keeps.then_some(bytes) })
    }

    /// One that was made here.
    pub fn made<R: Unary>(request: R::Request) -> Self {
        Self { request: Box::new(Of::<R>(request)), bytes: None }
    }
}

/// A response of a unary rpc, encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The message, as its owner has written it.
    pub bytes: Bytes,
    /// The node that it is from; `None` = this one.
    pub owner: Option<Arc<Node>>,
}
