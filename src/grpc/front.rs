//! gRPC over the table of rpcs: one service for all of them, in place of a generated one for each of ours.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, TryStreamExt};
use http_body_util::Full;
use hyper::body::Bytes;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service as Tower, http},
    server::{Grpc, ServerStreamingService, StreamingService, UnaryService},
    service::Routes,
};

use super::codec::Codec;
use crate::{
    auth::{Authenticator, Presented, Principal},
    domain::trace::Traceparent,
    error::ServiceError,
    net::{Arriving, Peer, Reached},
    rpc::{
        self, Replied, Taken,
        table::{CALL_BYTES, Method, Reader, Size, Streamed, Unary, Watched},
    },
    service::Service,
    wire::status,
};

const HEALTH: &str = "grpc.health.v1.Health/";
/// Metadata of an answer that came from another node: where callers reach that one, a hint for those who would spare it the
/// way through this one.
const OWNER: &str = "tollgate-owner";
/// In metrics: what is no rpc of the table.
const OTHERS: &str = "other";

/// Takes every request of every connection; tonic clones it for each.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) service: Arc<Service>,
    pub(super) authenticator: Arc<Authenticator>,
    /// Of one request, in bytes.
    pub(super) max_message: usize,
    /// Health and reflection; what they do not know is UNIMPLEMENTED.
    pub(super) others: Routes,
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Tower<http::Request<Arriving>> for Front {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Tower::<http::Request<Body>>::poll_ready(&mut self.others, cx)
    }

    fn call(&mut self, request: http::Request<Arriving>) -> Answering {
        if let Some(refused) = not_grpc(&request) {
            return Box::pin(ready(Ok(refused)));
        }
        rpc::table::read(Exchange { front: self, request })
    }
}

/// A request whose rpc is to be found.
struct Exchange<'a> {
    front: &'a mut Front,
    request: http::Request<Arriving>,
}

impl Exchange<'_> {
    fn grpc<R: Method>(&self) -> Grpc<Codec<R>> {
        let longest = match R::RPC.size {
            Size::Call => CALL_BYTES.min(self.front.max_message),
            Size::Message => self.front.max_message,
        };
        // What may be sent to another node is sent as it came.
        let codec = Codec::keeping(!self.front.service.table().is_alone());
        Grpc::new(codec).max_decoding_message_size(longest)
    }

    /// Who calls, if it may call this rpc: known before anything of the body is read.
    fn caller<R: Method>(&self) -> Result<Arc<Principal>, ServiceError> {
        let caller = self.authenticated(R::RPC.method)?;
        rpc::permit_rpc::<R>(&self.front.service, &caller)?;
        Ok(caller)
    }

    fn authenticated(&self, rpc: &'static str) -> Result<Arc<Principal>, ServiceError> {
        let header = self.request.headers().get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let presented = Presented::of(header, self.request.extensions().get::<Peer>());
        self.front.authenticator.principal(&presented).map_err(|refused| {
            self.front.service.metrics().failed(rpc, refused.reason());
            ServiceError::Unauthenticated(refused)
        })
    }

    fn request(self, one: bool) -> http::Request<Body> {
        self.request.map(|body| Body::new(body.of_grpc(one)))
    }
}

/// An answer without anything of the request having been read.
fn refused(error: &ServiceError) -> Answering {
    Box::pin(ready(Ok(status::to_status(error).into_http())))
}

/// This port executes gRPC and nothing else: what is not, is refused before anything of it is read.
fn not_grpc(request: &http::Request<Arriving>) -> Option<http::Response<Body>> {
    let (status, why) = if request.version() != http::Version::HTTP_2 {
        (
            http::StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "this port speaks gRPC, which is HTTP/2; metrics and health are on the HTTP port\n",
        )
    } else if !is_grpc(request.headers()) {
        (http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "this port takes application/grpc and nothing else\n")
    } else {
        return None;
    };
    let mut refused = http::Response::new(Body::new(Full::new(Bytes::from_static(why.as_bytes()))));
    *refused.status_mut() = status;
    Some(refused)
}

/// `application/grpc`, or with the one encoding of messages that is served.
fn is_grpc(headers: &http::HeaderMap) -> bool {
    let given = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let given = given.split(|byte| *byte == b';').next().unwrap_or_default();
    given.eq_ignore_ascii_case(b"application/grpc") || given.eq_ignore_ascii_case(b"application/grpc+proto")
}

impl Reader for Exchange<'_> {
    type Answer = Answering;

    fn name(&self) -> &str {
        self.request.uri().path().strip_prefix('/').unwrap_or_default()
    }

    fn unary<R: Unary>(self) -> Answering {
        let caller = match self.caller::<R>() {
            Ok(caller) => caller,
            Err(error) => return refused(&error),
        };
        let (mut grpc, service) = (self.grpc::<R>(), self.front.service.clone());
        let callers = callers_deadline(self.request.headers());
        let trace = callers_trace(self.request.headers());
        let connection = self.request.extensions().get::<Reached>().map(|reached| reached.worked_on().clone());
        let arrived = service.turns().arrive([connection, caller.worked_on().cloned()]);
        let request = self.request(true);
        Box::pin(async move {
            let answered = match rpc::turn::<R>(&service, &arrived) {
                Ok(waited) if callers.is_none_or(|callers| callers > waited) => {
                    let callers = callers.map(|callers| callers.saturating_sub(waited));
                    let answer =
                        Handler(|request| answer::<R>(service.clone(), caller.clone(), (callers, trace), request));
                    grpc.unary(answer, request).await
                }
                // Its caller waits no more.
                Ok(_) => status::to_status(&ServiceError::TimedOut).into_http(),
                // The request is dropped as it came.
                Err(error) => status::to_status(&error).into_http(),
            };
            drop(arrived);
            if !R::RPC.settles && is_refused(&answered) {
                Box::pin(service.turns().hold()).await;
            }
            Ok(answered)
        })
    }

    fn stream<R: Streamed>(self) -> Answering {
        let caller = match self.caller::<R>() {
            Ok(caller) => caller,
            Err(error) => return refused(&error),
        };
        let (mut grpc, service, request) = (self.grpc::<R>(), self.front.service.clone(), self.request(false));
        Box::pin(async move { Ok(grpc.streaming(Opening::<R>(service, caller, PhantomData), request).await) })
    }

    fn watch<R: Watched>(self) -> Answering {
        let caller = match self.caller::<R>() {
            Ok(caller) => caller,
            Err(error) => return refused(&error),
        };
        let (mut grpc, service) = (self.grpc::<R>(), self.front.service.clone());
        let ends = (callers_deadline(self.request.headers()), callers_trace(self.request.headers()));
        let connection = self.request.extensions().get::<Reached>().map(|reached| reached.worked_on().clone());
        let arrived = service.turns().arrive([connection, caller.worked_on().cloned()]);
        let request = self.request(true);
        Box::pin(async move {
            if let Err(error) = rpc::turn::<R>(&service, &arrived) {
                Box::pin(service.turns().hold()).await;
                return Ok(status::to_status(&error).into_http());
            }
            // What it does from here on is to wait.
            drop(arrived);
            Ok(grpc.server_streaming(Watching::<R>(service, caller, ends, PhantomData), request).await)
        })
    }

    /// Health is for whoever balances load, and says nothing of an org. All else is for whoever is known.
    fn unknown(self) -> Answering {
        if !self.name().starts_with(HEALTH)
            && let Err(error) = self.authenticated(OTHERS)
        {
            return refused(&error);
        }
        let mut others = self.front.others.clone();
        Box::pin(others.call(self.request(false)))
    }
}

/// Whether it is RESOURCE_EXHAUSTED, which overload is.
fn is_refused(answered: &http::Response<Body>) -> bool {
    answered.headers().get("grpc-status").is_some_and(|status| status == "8")
}

async fn answer<R: Unary>(
    service: Arc<Service>,
    caller: Arc<Principal>,
    (callers, trace): (Option<Duration>, Option<Traceparent>),
    request: Request<Taken<R::Request>>,
) -> Result<Response<Replied<R::Response>>, Status> {
    let answered = rpc::serve::<R>(&service, caller, callers, trace, request.into_inner()).await;
    let mut answer = answered.map(Response::new).map_err(|error| status::to_status(&error))?;
    if let Replied::Relayed { owner, .. } = answer.get_ref()
        && let Ok(owner) = owner.about.grpc.parse()
    {
        answer.metadata_mut().insert(OWNER, owner);
    }
    Ok(answer)
}

/// A function as tonic wants it, without a box of its own for the future.
struct Handler<F>(F);

impl<F, Fut, Req, Res> UnaryService<Req> for Handler<F>
where
    F: FnMut(Request<Req>) -> Fut,
    Fut: Future<Output = Result<Response<Res>, Status>>,
{
    type Response = Res;
    type Future = Fut;

    fn call(&mut self, request: Request<Req>) -> Fut {
        (self.0)(request)
    }
}

/// A stream that is about to begin; it ends with the age of its connection.
struct Opening<R>(Arc<Service>, Arc<Principal>, PhantomData<fn() -> R>);

impl<R: Streamed> StreamingService<Taken<R::Request>> for Opening<R> {
    type Response = Replied<R::Response>;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Replied<R::Response>, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Taken<R::Request>>>) -> Self::Future {
        let over = Reached::age(request.extensions().get::<Reached>().cloned());
        let requests = request.into_inner().map_ok(|request| request.message);
        let answers = rpc::serve_stream::<R, Status>(self.0.clone(), self.1.clone(), requests, over);
        ready(Ok(Response::new(Box::pin(answers.map_ok(Replied::Own)))))
    }
}

/// One request whose answers are about to begin; they end with the age of its connection.
struct Watching<R>(Arc<Service>, Arc<Principal>, (Option<Duration>, Option<Traceparent>), PhantomData<fn() -> R>);

impl<R: Watched> ServerStreamingService<Taken<R::Request>> for Watching<R> {
    type Response = Replied<R::Response>;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Replied<R::Response>, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Taken<R::Request>>) -> Self::Future {
        let over = Reached::age(request.extensions().get::<Reached>().cloned());
        let (service, caller, request) = (self.0.clone(), self.1.clone(), request.into_inner().message);
        let answers = rpc::serve_watch::<R, Status>(service, caller, self.2, request, over);
        ready(Ok(Response::new(Box::pin(answers.map_ok(Replied::Own)))))
    }
}

/// The `traceparent` header.
fn callers_trace(headers: &http::HeaderMap) -> Option<Traceparent> {
    Traceparent::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// The `grpc-timeout` header: up to eight digits and a unit.
fn callers_deadline(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = Some(digits).filter(|digits| digits.len() <= 8)?.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_is_read_and_garbage_is_none() {
        for (text, expected) in [
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("1n", Some(Duration::from_nanos(1))),
            ("", None),
            ("m", None),
            ("-1S", None),
            ("999999999S", None),
            ("5", None),
        ] {
            let mut headers = http::HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(callers_deadline(&headers), expected, "{text:?}");
        }
    }
}
