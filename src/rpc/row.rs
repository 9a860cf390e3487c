//! What a row of the table of rpcs says, without its types.

use crate::auth::Access;

/// An rpc, without its types.
#[derive(Debug)]
pub struct Rpc {
    /// `tollgate.v1.SessionService/EndSession`, as gRPC and Connect have it in the path.
    pub name: &'static str,
    /// The first part of the name: `tollgate.v1.SessionService`.
    pub service: &'static str,
    /// The last part of the name: what a call and the metrics say. No two rpcs share one.
    pub method: &'static str,
    /// One request and one response, or streams.
    pub kind: Kind,
    /// Where a request names its org.
    pub org: OrgField,
    /// Who may call it; nobody else gets as far as its body.
    pub access: Access,
    /// Its requests name scopes, or have one that does.
    pub has_scopes: bool,
    /// How long one of its requests may be.
    pub size: Size,
    /// Whether it is about what runs already, so that its calls have room of their own: as the lane of its command.
    pub settles: bool,
    /// Whether what it is about goes on whatever becomes of the call: it is answered without the owner of its org where
    /// that cannot be reached.
    pub always: bool,
    /// The name of the message that is received: `tollgate.v1.EndSessionRequest`.
    pub request: fn() -> String,
    /// The name of the message that is sent.
    pub response: fn() -> String,
}

/// How many requests and responses one call has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One request, one response.
    Unary,
    /// Streams of both.
    Stream,
    /// One request, a stream of responses.
    Watch,
}

/// Which field of a request names its org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgField {
    /// None: what the node says of itself, or the orgs that the caller may reach; of a gateway's question its handler finds them.
    None,
    /// None: the call changes the node, and so every org.
    Node,
    /// This field. Audit allows an empty one, which means every org.
    One(&'static str),
    /// This field. Where it is empty the call is about the orgs that the caller may reach.
    Perhaps(&'static str),
    /// In every message of the first field (the items of a batch, the request in an item of a stream), the
    /// second field.
    Each(&'static str, &'static str),
}

/// How long a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// [`CALL_BYTES`]: one question about one org.
    Call,
    /// `bounds.message_bytes`: a list, or a text of somebody else's.
    Message,
}

/// A request that is no list: the longest has eight scopes and some amounts.
pub const CALL_BYTES: usize = 64 << 10;
