//! gRPC over the table of rpcs: one service for all of them, in place of a generated one for each of ours.

use std::{
    future::{Future, Ready, ready},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::{HeaderMap, Request as HttpRequest, Response as HttpResponse, body::Body as HttpBody};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::Service as Tower,
    server::{Grpc, ServerStreamingService, StreamingService, UnaryService},
};

use super::{
    Answering, DISCARDED_BYTES, Front,
    begun::{Begun, count_unread},
    behind_body,
    codec::Codec,
};
use crate::{
    auth::Principal,
    domain::trace::Traceparent,
    error::ServiceError,
    net::{Arriving, Reached},
    rpc::{
        self, Replied, Taken,
        table::{Method, Reader, Streamed, Unary, Watched},
    },
    service::{Service, System},
    wire::status,
};

const HEALTH: &str = "grpc.health.v1.Health/";

/// What gRPC messages arrive in.
pub(super) trait Messages: HttpBody + Unpin + Send + 'static {
    /// An answer that is known before the body is not sent before it. Clients of gRPC read while they write.
    const IS_AWAITED: bool;

    /// As tonic takes it: one message, which is due now, or a stream of them.
    fn body(self, one: bool) -> Body;
}

impl Messages for Arriving {
    const IS_AWAITED: bool = false;

    fn body(self, one: bool) -> Body {
        Body::new(self.of_grpc(one))
    }
}

/// A request whose rpc is to be found.
pub(super) struct Exchange<'a, B> {
    front: &'a mut Front,
    request: HttpRequest<B>,
}

impl<'a, B: Messages> Exchange<'a, B> {
    pub(super) fn new(front: &'a mut Front, request: HttpRequest<B>) -> Self {
        Self { front, request }
    }

    fn grpc<R: Method>(&self) -> Grpc<Codec<R>> {
        // What may be sent to another node is sent as it came.
        let codec = Codec::keeping(!self.front.service.table().is_alone());
        Grpc::new(codec).max_decoding_message_size(self.front.longest::<R>())
    }

    fn begin<R: Method>(&self) -> Result<Begun, ServiceError> {
        self.front.begin::<R, B>(&self.request, (System::Grpc, callers_deadline(self.request.headers())))
    }

    /// An answer without anything of the request having been decoded.
    fn refused(self, error: &ServiceError) -> Answering {
        let answer = status::to_status(error).into_http();
        early::<B>(self.request.into_body(), answer)
    }

    fn request(self, one: bool) -> HttpRequest<Body> {
        self.request.map(|body| body.body(one))
    }
}

impl<B: Messages> Reader for Exchange<'_, B> {
    type Answer = Answering;

    fn name(&self) -> &str {
        self.request.uri().path().strip_prefix('/').unwrap_or_default()
    }

    fn unary<R: Unary>(self) -> Answering {
        let begun = match self.begin::<R>() {
            Ok(begun) => begun,
            Err(error) => return self.refused(&error),
        };
        let (mut grpc, request) = (self.grpc::<R>(), self.request(true));
        Box::pin(async move {
            let answered = match begun.turn::<R>() {
                Ok(()) => grpc.unary(Handler(|request| answer::<R>(&begun, request)), request).await,
                // The request is dropped as it came.
                Err(error) => {
                    let refused = status::to_status(&error);
                    begun.answered::<R>(refused.code()).await;
                    return early::<B>(request.into_body(), refused.into_http()).await;
                }
            };
            begun.answered::<R>(code(&answered)).await;
            Ok(answered)
        })
    }

    fn stream<R: Streamed>(self) -> Answering {
        let begun = match self.begin::<R>() {
            Ok(begun) => begun,
            Err(error) => return self.refused(&error),
        };
        let (mut grpc, request) = (self.grpc::<R>(), self.request(false));
        let opening = Opening::<R>(begun.service, (begun.caller, begun.trace), PhantomData);
        Box::pin(async move { Ok(grpc.streaming(opening, request).await) })
    }

    fn watch<R: Watched>(self) -> Answering {
        let mut begun = match self.begin::<R>() {
            Ok(begun) => begun,
            Err(error) => return self.refused(&error),
        };
        let (mut grpc, request) = (self.grpc::<R>(), self.request(true));
        Box::pin(async move {
            if let Err(error) = begun.turn::<R>() {
                let refused = status::to_status(&error);
                begun.answered::<R>(refused.code()).await;
                return early::<B>(request.into_body(), refused.into_http()).await;
            }
            begun.waits();
            let service = begun.service.clone();
            let answered = grpc.server_streaming(Watching::<R>(begun, PhantomData), request).await;
            // Whatever else is wrong is said in the stream.
            if code(&answered) != Code::Ok {
                count_unread::<R>(&service, code(&answered));
            }
            Ok(answered)
        })
    }

    /// Health is for whoever balances load, and says nothing of an org. All else is for whoever is known.
    fn unknown(self) -> Answering {
        if !self.name().starts_with(HEALTH)
            && let Err(error) = self.front.authenticated(super::OTHERS, &self.request)
        {
            return self.refused(&error);
        }
        let mut others = self.front.others.clone();
        let request = self.request(false);
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
    answered.headers().get("grpc-status").map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}

async fn answer<R: Unary>(
    begun: &Begun,
    request: Request<Taken<R::Request>>,
) -> Result<Response<Replied<R::Response>>, Status> {
    let answered = begun.serve::<R>(request.into_inner()).await;
    let mut answer = answered.map(Response::new).map_err(|error| status::to_status(&error))?;
    if let Some(owner) = super::owner(answer.get_ref()).and_then(|owner| owner.parse().ok()) {
        answer.metadata_mut().insert(super::OWNER, owner);
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
struct Opening<R>(Arc<Service>, (Arc<Principal>, Option<Traceparent>), PhantomData<fn() -> R>);

impl<R: Streamed> StreamingService<Taken<R::Request>> for Opening<R> {
    type Response = Replied<R::Response>;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Replied<R::Response>, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Taken<R::Request>>>) -> Self::Future {
        let over = Reached::age(request.extensions().get::<Reached>().cloned());
        let service = self.0.clone();
        let requests = request.into_inner().map_ok(|request| request.message);
        let requests = requests.inspect_err(move |fault| count_unread::<R>(&service, fault.code()));
        let answers = rpc::serve_stream::<R, Status>(self.0.clone(), self.1.clone(), requests, over);
        ready(Ok(Response::new(Box::pin(answers.map_ok(Replied::Own)))))
    }
}

/// One request whose answers are about to begin; they end with the age of its connection.
struct Watching<R>(Begun, PhantomData<fn() -> R>);

impl<R: Watched> ServerStreamingService<Taken<R::Request>> for Watching<R> {
    type Response = Replied<R::Response>;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Replied<R::Response>, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Taken<R::Request>>) -> Self::Future {
        let answers = self.0.watch::<R>(request.into_inner().message);
        ready(Ok(Response::new(Box::pin(answers.map_ok(Replied::Own)))))
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
