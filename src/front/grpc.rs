//! gRPC over the table of rpcs: one service for all of them, in place of a generated one for each of ours.
//!
//! Streams are tonic's. What has one request and one response is read and written here: it is two frames, for each of which tonic
//! has a buffer of 8 KiB, a stream and a body.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, TryStreamExt, stream};
use http_body_util::{BodyExt, Collected, Full, Limited, StreamBody};
use hyper::{
    HeaderMap, Request as HttpRequest, Response as HttpResponse,
    body::{Body as HttpBody, Bytes, Frame},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::Service as Tower,
    metadata::MetadataValue,
    server::{Grpc, ServerStreamingService, StreamingService},
};

use super::{
    Answering, DISCARDED_BYTES, Front,
    begun::{Begun, count_unread},
    behind_body,
    codec::{self, StreamCodec},
    framing::{self, frame},
};
use crate::{
    auth::Principal,
    domain::trace::Traceparent,
    error::ServiceError,
    net::{Arriving, Reached},
    rpc::{
        self,
        table::{Method, Reader, Rpc, Streamed, UnaryRpc, Watched},
    },
    service::{Service, System},
    wire::status,
};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const HEALTH: &str = "grpc.health.v1.Health/";

/// What gRPC messages arrive in.
pub(super) trait Messages:
    HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + Send + 'static
{
    /// An answer that is known before the body is not sent before it. Clients of gRPC read while they write.
    const IS_AWAITED: bool;

    /// As tonic takes it: one message, or a stream of them.
    fn body(self, is_stream: bool) -> Body;
}

impl Messages for Arriving {
    const IS_AWAITED: bool = false;

    fn body(self, is_stream: bool) -> Body {
        Body::new(if is_stream { self.of_grpc() } else { self })
    }
}

/// A request whose rpc is to be found.
pub(super) struct Exchange<'a, B> {
    front: &'a Front,
    request: HttpRequest<B>,
}

impl<'a, B: Messages> Exchange<'a, B> {
    pub(super) fn new(front: &'a Front, request: HttpRequest<B>) -> Self {
        Self { front, request }
    }

    fn grpc<R: Method>(&self) -> Grpc<StreamCodec<R>> {
        Grpc::new(StreamCodec::default()).max_decoding_message_size(self.front.longest(R::RPC))
    }

    fn begin(&self, rpc: &'static Rpc) -> Result<Begun, ServiceError> {
        self.front.begin(rpc, &self.request, (System::Grpc, callers_deadline(self.request.headers())))
    }

    /// An answer without anything of the request having been decoded.
    fn refused(self, error: &ServiceError) -> Answering {
        let answer = status::to_status(error).into_http();
        early::<B>(self.request.into_body(), answer)
    }

    fn request(self, is_stream: bool) -> HttpRequest<Body> {
        self.request.map(|body| body.body(is_stream))
    }
}

impl<B: Messages> Reader for Exchange<'_, B> {
    type Answer = Answering;

    fn name(&self) -> &str {
        self.request.uri().path().strip_prefix('/').unwrap_or_default()
    }

    fn unary(self, row: UnaryRpc) -> Answering {
        let begun = match self.begin(row.rpc) {
            Ok(begun) => begun,
            Err(error) => return self.refused(&error),
        };
        let (longest, plain) = (self.front.longest(row.rpc), is_plain(self.request.headers()));
        let body = self.request.into_body();
        Box::pin(async move {
            if let Err(refused) = begun.turn().map_err(|error| status::to_status(&error)).and(plain) {
                begun.answered(refused.code()).await;
                // The request is dropped as it came.
                return early::<B>(body, refused.into_http()).await;
            }
            let answered = match begun.whole(framing::framed(body, longest)).await {
                Ok(bytes) => answer(&begun, row, bytes).await,
                Err(refused) => Err(refused),
            };
            begun.answered(answered.as_ref().err().map_or(Code::Ok, Status::code)).await;
            Ok(answered.unwrap_or_else(Status::into_http))
        })
    }

    fn stream<R: Streamed>(self) -> Answering {
        let begun = match self.begin(R::RPC) {
            Ok(begun) => begun,
            Err(error) => return self.refused(&error),
        };
        let (mut grpc, request) = (self.grpc::<R>(), self.request(true));
        let opening = Opening::<R>(begun.service, (begun.caller, begun.trace), PhantomData);
        Box::pin(async move { Ok(grpc.streaming(opening, request).await) })
    }

    fn watch<R: Watched>(self) -> Answering {
        let begun = match self.begin(R::RPC) {
            Ok(begun) => begun,
            Err(error) => return self.refused(&error),
        };
        let (mut grpc, request) = (self.grpc::<R>(), self.request(false));
        Box::pin(async move {
            if let Err(error) = begun.turn() {
                let refused = status::to_status(&error);
                begun.answered(refused.code()).await;
                return early::<B>(request.into_body(), refused.into_http()).await;
            }
            begun.waits();
            let service = begun.service.clone();
            let answered = grpc.server_streaming(Watching::<R>(begun, PhantomData), request).await;
            // Whatever else is wrong is said in the stream.
            if code(&answered) != Code::Ok {
                count_unread(&service, R::RPC, code(&answered));
            }
            Ok(answered)
        })
    }

    /// Health is for whoever balances load, and says nothing of an org. All else is for whoever is known.
    fn unknown(self) -> Answering {
        let is_health = self.name().starts_with(HEALTH);
        if !is_health && let Err(error) = self.front.authenticated(super::OTHERS, &self.request) {
            return self.refused(&error);
        }
        let mut others = self.front.others.clone();
        // Reflection is a stream; who asks about health says all at once.
        let request = self.request(!is_health);
        if !B::IS_AWAITED {
            return Box::pin(others.call(request));
        }
        // What has no such rpc answers without its body.
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let whole = Limited::new(body, DISCARDED_BYTES).collect().await.map(Collected::to_bytes);
            others.call(HttpRequest::from_parts(head, Body::new(Full::new(whole.unwrap_or_default())))).await
        })
    }
}

/// An answer to a request that is not decoded.
fn early<B: Messages>(body: impl HttpBody + Unpin + Send + 'static, answer: HttpResponse<Body>) -> Answering {
    if B::IS_AWAITED { behind_body(body, answer) } else { Box::pin(ready(Ok(answer))) }
}

/// Of an answer that has no message: it says so in its headers.
fn code(answered: &HttpResponse<Body>) -> Code {
    answered.headers().get(STATUS).map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}

async fn answer(begun: &Begun, row: UnaryRpc, bytes: Bytes) -> Result<HttpResponse<Body>, Status> {
    let answered = begun.serve(codec::taken(&begun.service, row, bytes)?).await;
    let reply = answered.map_err(|error| status::to_status(&error))?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    // A body that says how long it is gets a length in its head, which is wrong where gRPC-Web has the trailers in the body.
    let frames = [Frame::data(frame(0, &reply.bytes)), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    let mut answer = HttpResponse::new(Body::new(StreamBody::new(stream::iter(frames))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(owner) = super::owner(&reply).and_then(|owner| HeaderValue::from_str(owner).ok()) {
        answer.headers_mut().insert(super::OWNER, owner);
    }
    Ok(answer)
}

/// Nothing is compressed.
fn is_plain(headers: &HeaderMap) -> Result<(), Status> {
    let given = headers.get("grpc-encoding").map_or("identity", |given| given.to_str().unwrap_or("?"));
    if given == "identity" {
        return Ok(());
    }
    let why = format!("grpc-encoding {given:?} is not supported, only identity is");
    let mut refused = status::unreadable(Code::Unimplemented, why);
    refused.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
    Err(refused)
}

/// A stream that is about to begin; it ends with the age of its connection.
struct Opening<R>(Arc<Service>, (Arc<Principal>, Option<Traceparent>), PhantomData<fn() -> R>);

impl<R: Streamed> StreamingService<R::Request> for Opening<R> {
    type Response = R::Response;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<R::Response, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<R::Request>>) -> Self::Future {
        let over = Reached::age(request.extensions().get::<Reached>().cloned());
        let service = self.0.clone();
        let requests = request.into_inner().inspect_err(move |fault| count_unread(&service, R::RPC, fault.code()));
        let answers = rpc::serve_stream::<R, Status>(self.0.clone(), self.1.clone(), requests, over);
        ready(Ok(Response::new(Box::pin(answers))))
    }
}

/// One request whose answers are about to begin; they end with the age of its connection.
struct Watching<R>(Begun, PhantomData<fn() -> R>);

impl<R: Watched> ServerStreamingService<R::Request> for Watching<R> {
    type Response = R::Response;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<R::Response, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<R::Request>) -> Self::Future {
        let answers = self.0.watch::<R>(request.into_inner());
        ready(Ok(Response::new(Box::pin(answers))))
    }
}

/// The `grpc-timeout` header: up to eight digits and a unit.
fn callers_deadline(headers: &HeaderMap) -> Option<Duration> {
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
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(callers_deadline(&headers), expected, "{text:?}");
        }
    }
}
