//! A row of the table of rpcs as a type, and a front as what reads it.

use std::{future::Future, sync::Arc};

use futures_util::Stream;
use prost::{DecodeError, Message, Name};

use super::{Answer, row::Rpc};
use crate::{
    auth::Principal,
    domain::ids::OrgId,
    error::ServiceError,
    service::{Call, Service},
};

/// The orgs that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orgs<'a> {
    /// None: the call is about the node.
    None,
    /// The org, as it was given; it may be invalid.
    One(&'a str),
    /// The org of each item, in the order of the items; they may be invalid, and repeat.
    Each(Vec<&'a str>),
}

/// A row of the table as a type.
pub trait Method: 'static {
    /// The message that is received.
    type Request: Message + Default + Name + Clone + Send + Sync + 'static;
    /// The message that is sent.
    type Response: Message + Default + Name + Send + 'static;
    /// The row as a value.
    const RPC: &'static Rpc;

    /// The orgs that a request names, not yet checked.
    fn orgs(request: &Self::Request) -> Orgs<'_>;

    /// Whether the caller, who may call this rpc, may do so for what the request names; of a list its handler asks
    /// for each item. Puts the scopes in that the caller is bound to.
    ///
    /// # Errors
    /// Where it may not.
    fn permit(caller: &Principal, request: &mut Self::Request) -> Result<(), ServiceError>;

    /// Puts an org into the request in the place of another name of it; nothing in one that names the org of each item.
    fn lead(request: &mut Self::Request, org: &OrgId);
}

/// Called through [`super::serve()`] alone.
pub trait Unary: Method {
    /// Carries out one call. A request that names one org is as it was afterwards.
    fn handle(
        service: &Service,
        call: &Call,
        request: &mut Self::Request,
    ) -> impl Future<Output = Answer<Self::Response>> + Send;
}

/// Called through [`super::serve_stream()`] alone, with the requests that arrived together.
pub trait Streamed: Method {
    /// Carries out the requests that arrived together; each has one response, in any order.
    fn handle(
        service: Arc<Service>,
        call: Call,
        requests: Vec<Self::Request>,
    ) -> impl Stream<Item = Self::Response> + Send + 'static;
}

/// Called through [`super::serve_watch()`] alone.
pub trait Watched: Method {
    /// Answers one request for as long as it is read; an error is the last.
    fn handle(
        service: Arc<Service>,
        call: Call,
        request: Self::Request,
    ) -> impl Stream<Item = Answer<Self::Response>> + Send + 'static;
}

/// A front: what it does with a call, by the kind of the rpc.
pub trait Reader: Sized {
    /// What the front returns for a call.
    type Answer;

    /// The name of the rpc, as [`Rpc::name`].
    fn name(&self) -> &str;
    /// The name is that of `R`, with one request and one response.
    fn unary<R: Unary>(self) -> Self::Answer;
    /// The name is that of `R`, with streams of both.
    fn stream<R: Streamed>(self) -> Self::Answer;
    /// The name is that of `R`, with one request and a stream of responses.
    fn watch<R: Watched>(self) -> Self::Answer;
    /// No row has this name.
    fn unknown(self) -> Self::Answer;
}

/// The orgs that an encoded request names, as [`Rpc::orgs`].
pub(super) fn orgs_in<R: Method>(request: &[u8]) -> Result<Vec<String>, DecodeError> {
    let request = R::Request::decode(request)?;
    Ok(match R::orgs(&request) {
        Orgs::None => Vec::new(),
        Orgs::One(org) => vec![org.to_owned()],
        Orgs::Each(orgs) => orgs.into_iter().map(str::to_owned).collect(),
    })
}
