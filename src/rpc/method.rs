//! A row of the table of rpcs as a type, a request as one of any rpc, and a front as what reads the table.

use std::{future::Future, sync::Arc};

use futures_util::{Stream, future::BoxFuture};
use prost::{DecodeError, Message, Name, bytes::Bytes};

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

/// The org, and what the caller is bound to, in a request of any rpc.
pub trait Named: Send + Sync {
    /// As [`Method::orgs`].
    fn orgs(&self) -> Orgs<'_>;

    /// As [`Method::permit`].
    ///
    /// # Errors
    /// Where the caller may not.
    fn permit(&mut self, caller: &Principal) -> Answer<()>;

    /// As [`Method::lead`].
    fn lead(&mut self, org: &OrgId);
}

/// A request of any rpc that has one response. What is between a front and a handler is written for this, once, and not
/// compiled for each rpc.
pub trait AnyRequest: Named {
    /// The row of the rpc.
    fn rpc(&self) -> &'static Rpc;

    /// As it is sent to another node.
    fn encoded(&self) -> Bytes;

    /// Another one that says the same.
    fn again(&self) -> Box<dyn AnyRequest>;

    /// Carries it out, as [`Unary::handle`]; the response is encoded.
    fn handle<'a>(&'a mut self, service: &'a Service, call: &'a Call) -> BoxFuture<'a, Answer<Bytes>>;
}

/// A request of the rpc `R`.
#[derive(Debug)]
pub(super) struct Of<R: Method>(pub(super) R::Request);

impl<R: Method> Named for Of<R> {
    fn orgs(&self) -> Orgs<'_> {
        R::orgs(&self.0)
    }

    fn permit(&mut self, caller: &Principal) -> Answer<()> {
        R::permit(caller, &mut self.0)
    }

    fn lead(&mut self, org: &OrgId) {
        R::lead(&mut self.0, org);
    }
}

impl<R: Unary> AnyRequest for Of<R> {
    fn rpc(&self) -> &'static Rpc {
        R::RPC
    }

    fn encoded(&self) -> Bytes {
        self.0.encode_to_vec().into()
    }

    fn again(&self) -> Box<dyn AnyRequest> {
        Box::new(Self(self.0.clone()))
    }

    fn handle<'a>(&'a mut self, service: &'a Service, call: &'a Call) -> BoxFuture<'a, Answer<Bytes>> {
        Box::pin(async move {
            let response = R::handle(service, call, &mut self.0).await?;
            Ok(response.encode_to_vec().into())
        })
    }
}

/// A row of an rpc that has one request and one response.
#[derive(Debug, Clone, Copy)]
pub struct UnaryRpc {
    /// The row.
    pub rpc: &'static Rpc,
    decode: Decode,
}

type Decode = fn(&[u8]) -> Result<Box<dyn AnyRequest>, DecodeError>;

impl UnaryRpc {
    pub(super) const fn of<R: Unary>() -> Self {
        Self { rpc: R::RPC, decode: decode::<R> }
    }

    /// The request that these bytes are.
    ///
    /// # Errors
    /// Where they are none of this rpc.
    pub fn decode(self, bytes: &[u8]) -> Result<Box<dyn AnyRequest>, DecodeError> {
        (self.decode)(bytes)
    }
}

fn decode<R: Unary>(bytes: &[u8]) -> Result<Box<dyn AnyRequest>, DecodeError> {
    let mut request = Box::new(Of::<R>(R::Request::default()));
    // In its place: a message is some hundred bytes.
    request.0.merge(bytes)?;
    Ok(request)
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
    /// The name is that of a row with one request and one response.
    fn unary(self, row: UnaryRpc) -> Self::Answer;
    /// The name is that of `R`, with streams of both.
    fn stream<R: Streamed>(self) -> Self::Answer;
    /// The name is that of `R`, with one request and a stream of responses.
    fn watch<R: Watched>(self) -> Self::Answer;
    /// No row has this name.
    fn unknown(self) -> Self::Answer;
}
