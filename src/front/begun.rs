//! What is known of a call before anything of its body is read, whichever protocol it is in.

use std::{sync::Arc, time::Duration};

use futures_util::Stream;
use hyper::{
    HeaderMap, Request,
    header::{self, HeaderValue},
};
use tonic::{Code, Status};

use super::Front;
use crate::{
    auth::{Presented, Principal},
    domain::trace::Traceparent,
    error::ServiceError,
    net::{Peer, Reached},
    rpc::{
        self,
        table::{Method, Watched},
    },
    service::Service,
    turns::Arrived,
};

/// A call whose caller is known and has this rpc.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) service: Arc<Service>,
    pub(super) caller: Arc<Principal>,
    /// How long its caller waits from here on; `None` = it did not say.
    pub(super) callers: Option<Duration>,
    pub(super) trace: Option<Traceparent>,
    /// Ends with the age of the connection, where it is a stream.
    pub(super) reached: Option<Reached>,
    /// It waits for its turn, or is being worked on.
    arrived: Option<Arrived>,
}

impl Begun {
    /// Its turn has come, in time for whoever calls.
    ///
    /// # Errors
    /// Why it is not carried out.
    pub(super) fn turn<R: Method>(&mut self) -> Result<(), ServiceError> {
        let waited =
            self.arrived.as_ref().map_or(Ok(Duration::ZERO), |arrived| rpc::turn::<R>(&self.service, arrived))?;
        let left = self.callers.map(|callers| callers.saturating_sub(waited));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ServiceError::TimedOut);
        }
        self.callers = left;
        Ok(())
    }

    /// What it does from here on is to wait.
    pub(super) fn waits(&mut self) {
        self.arrived = None;
    }

    /// The answers to a request that has a stream of them; they end with the age of the connection.
    pub(super) fn watch<R: Watched>(
        &mut self,
        request: R::Request,
    ) -> impl Stream<Item = Result<R::Response, Status>> + Send + use<R> {
        let over = Reached::age(self.reached.take());
        let (service, caller, ends) = (self.service.clone(), self.caller.clone(), (self.callers, self.trace));
        rpc::serve_watch::<R, Status>(service, caller, ends, request, over)
    }

    /// It is answered. One that was refused because there is too much to do is held for a moment, so that who asks again at once
    /// does not ask more often for it.
    pub(super) async fn answered<R: Method>(mut self, code: Code) {
        self.waits();
        if !R::RPC.settles && code == Code::ResourceExhausted {
            Box::pin(self.service.turns().hold()).await;
        }
    }
}

impl Front {
    /// Who calls, if it may call this rpc; `callers` is how long it waits.
    pub(super) fn begin<R: Method, B>(
        &self,
        request: &Request<B>,
        callers: Option<Duration>,
    ) -> Result<Begun, ServiceError> {
        let caller = self.authenticated(R::RPC.method, request)?;
        self.begin_as::<R, B>(caller, request, callers)
    }

    /// The same of a caller that is known.
    pub(super) fn begin_as<R: Method, B>(
        &self,
        caller: Arc<Principal>,
        request: &Request<B>,
        callers: Option<Duration>,
    ) -> Result<Begun, ServiceError> {
        let (headers, extensions) = (request.headers(), request.extensions());
        rpc::permit_rpc::<R>(&self.service, &caller)?;
        let reached = extensions.get::<Reached>().cloned();
        let connection = reached.as_ref().map(|reached| reached.worked_on().clone());
        let arrived = Some(self.service.turns().arrive([connection, caller.worked_on().cloned()]));
        let trace = callers_trace(headers);
        Ok(Begun { service: self.service.clone(), caller, callers, trace, reached, arrived })
    }

    /// Who calls, counted as `rpc` where it is nobody who is known.
    pub(super) fn authenticated<B>(
        &self,
        rpc: &'static str,
        request: &Request<B>,
    ) -> Result<Arc<Principal>, ServiceError> {
        let header = request.headers().get(header::AUTHORIZATION);
        self.known(rpc, header, request.extensions().get::<Peer>())
    }

    /// The same of what is shown: a header, and what the connection has.
    pub(super) fn known(
        &self,
        rpc: &'static str,
        authorization: Option<&HeaderValue>,
        peer: Option<&Peer>,
    ) -> Result<Arc<Principal>, ServiceError> {
        let presented = Presented::of(authorization.map(HeaderValue::as_bytes), peer);
        self.authenticator.principal(&presented).map_err(|refused| {
            self.service.metrics().failed(rpc, refused.reason());
            ServiceError::Unauthenticated(refused)
        })
    }
}

/// The `traceparent` header.
fn callers_trace(headers: &HeaderMap) -> Option<Traceparent> {
    Traceparent::parse(headers.get("traceparent")?.to_str().ok()?)
}
