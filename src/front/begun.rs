//! What is known of a call before anything of its body is read, whichever protocol it is in.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::Stream;
use hyper::{
    HeaderMap, Request,
    header::{self, HeaderValue},
};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Front;
use crate::{
    auth::{Presented, Principal},
    bounds::Bound,
    domain::trace::Traceparent,
    error::ServiceError,
    net::{Peer, Reached},
    rpc::{
        self, Asking, Reply, Taken,
        table::{Rpc, Watched},
    },
    service::{Service, System},
    turns::Arrived,
    wire::status,
};

/// A call whose caller is known and has this rpc.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) service: Arc<Service>,
    rpc: &'static Rpc,
    pub(super) caller: Arc<Principal>,
    /// Until when its caller waits, from its arrival on: also while its request arrives. `None` = it did not say.
    until: Option<Instant>,
    pub(super) trace: Option<Traceparent>,
    system: System,
    /// Ends with the age of the connection, where it is a stream.
    reached: Option<Reached>,
    arrived: Arrived,
    /// Whatever becomes of it is counted.
    is_counted: AtomicBool,
}

impl Begun {
    /// Its turn has come, in time for whoever calls.
    ///
    /// # Errors
    /// Why it is not carried out.
    pub(super) fn turn(&self) -> Result<(), ServiceError> {
        if let Err(error) = rpc::turn(&self.service, self.rpc, &self.arrived) {
            self.is_counted.store(true, Relaxed);
            return Err(error);
        }
        self.in_time().map(drop)
    }

    /// What it does from here on is to wait.
    pub(super) fn waits(&self) {
        self.arrived.leaves();
    }

    /// The rest of its request.
    pub(super) async fn whole<T>(&self, request: impl Future<Output = T>) -> T {
        self.arrived.whole(pin!(request)).await
    }

    /// How it is asked from now on.
    fn asking(&self) -> Asking {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        Asking { callers: left, trace: self.trace, system: self.system }
    }

    /// The same while its caller waits.
    fn in_time(&self) -> Result<Asking, ServiceError> {
        let asking = self.asking();
        if asking.callers.is_some_and(|left| left.is_zero()) {
            let error = ServiceError::TimedOut;
            self.service.metrics().failed(self.rpc.method, status::reason(&error));
            self.is_counted.store(true, Relaxed);
            return Err(error);
        }
        Ok(asking)
    }

    /// The answer to a request that has arrived.
    ///
    /// # Errors
    /// Why the call was not carried out.
    pub(super) async fn serve(&self, request: Taken) -> Result<Reply, ServiceError> {
        let asking = self.in_time()?;
        self.is_counted.store(true, Relaxed);
        let serving = pin!(rpc::serve(&self.service, self.caller.clone(), asking, request));
        self.arrived.served(serving).await
    }

    /// The answers to a request that has a stream of them; they end with the age of the connection.
    pub(super) fn watch<R: Watched>(
        &mut self,
        request: R::Request,
    ) -> impl Stream<Item = Result<R::Response, Status>> + Send + use<R> {
        let over = Reached::age(self.reached.take());
        rpc::serve_watch::<R, Status>(self.service.clone(), self.caller.clone(), self.asking(), request, over)
    }

    /// It is answered. One that was refused because there is too much to do is held for a moment, so that who asks again at once
    /// does not ask more often for it.
    pub(super) async fn answered(self, code: Code) {
        self.waits();
        if code != Code::Ok && !self.is_counted.load(Relaxed) {
            count_unread(&self.service, self.rpc, code);
        }
        if !self.rpc.settles && code == Code::ResourceExhausted {
            Box::pin(self.service.turns().hold()).await;
        }
    }
}

/// Counts a request that is refused before it is read, or because it cannot be.
pub(super) fn count_unread(service: &Service, rpc: &Rpc, code: Code) {
    let reason = match code {
        Code::ResourceExhausted => {
            service.metrics().shed(Bound::unread_bytes.name());
            status::NODE_OVERLOADED
        }
        _ => status::UNREADABLE,
    };
    service.metrics().failed(rpc.method, reason);
}

impl Front {
    /// Who calls, if it may call this rpc; `callers` is how long it waits.
    pub(super) fn begin<B>(
        &self,
        rpc: &'static Rpc,
        request: &Request<B>,
        (system, callers): (System, Option<Duration>),
    ) -> Result<Begun, ServiceError> {
        let caller = self.authenticated(rpc.method, request)?;
        self.begin_as(rpc, caller, request, (system, callers))
    }

    /// The same of a caller that is known.
    pub(super) fn begin_as<B>(
        &self,
        rpc: &'static Rpc,
        caller: Arc<Principal>,
        request: &Request<B>,
        (system, callers): (System, Option<Duration>),
    ) -> Result<Begun, ServiceError> {
        let (headers, extensions) = (request.headers(), request.extensions());
        rpc::permit_rpc(&self.service, rpc, &caller)?;
        let reached = extensions.get::<Reached>().cloned();
        let connection = reached.as_ref().map(|reached| reached.worked_on().clone());
        let arrived = self.service.turns().arrive([connection, caller.worked_on().cloned()]);
        Ok(Begun {
            service: self.service.clone(),
            rpc,
            caller,
            until: callers.and_then(|callers| Instant::now().checked_add(callers)),
            trace: callers_trace(headers),
            system,
            reached,
            arrived,
            is_counted: AtomicBool::new(false),
        })
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
