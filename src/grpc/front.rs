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

use futures_util::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service as Tower, http},
    server::{Grpc, StreamingService, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;

use super::connections::Aged;
use crate::{
    rpc::{
        self,
        table::{Method, Reader, Streamed, Unary},
    },
    service::Service,
    wire::status,
};

/// Takes every request of every connection; tonic clones it for each.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) service: Arc<Service>,
    /// Of one request, in bytes.
    pub(super) max_message: usize,
    /// Health and reflection; what they do not know is UNIMPLEMENTED.
    pub(super) others: Routes,
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Tower<http::Request<Body>> for Front {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Tower::<http::Request<Body>>::poll_ready(&mut self.others, cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        rpc::table::read(Exchange { front: self, request })
    }
}

/// A request whose rpc is to be found.
struct Exchange<'a> {
    front: &'a mut Front,
    request: http::Request<Body>,
}

impl Exchange<'_> {
    fn grpc<R: Method>(&self) -> Grpc<ProstCodec<R::Response, R::Request>> {
        Grpc::new(ProstCodec::default()).max_decoding_message_size(self.front.max_message)
    }
}

impl Reader for Exchange<'_> {
    type Answer = Answering;

    fn name(&self) -> &str {
        self.request.uri().path().strip_prefix('/').unwrap_or_default()
    }

    fn unary<R: Unary>(self) -> Answering {
        let (mut grpc, service, request) = (self.grpc::<R>(), self.front.service.clone(), self.request);
        let answer = Handler(move |request| answer::<R>(service.clone(), request));
        Box::pin(async move { Ok(grpc.unary(answer, request).await) })
    }

    fn stream<R: Streamed>(self) -> Answering {
        let (mut grpc, service, request) = (self.grpc::<R>(), self.front.service.clone(), self.request);
        Box::pin(async move { Ok(grpc.streaming(Opening::<R>(service, PhantomData), request).await) })
    }

    fn unknown(self) -> Answering {
        Box::pin(self.front.others.call(self.request))
    }
}

async fn answer<R: Unary>(
    service: Arc<Service>,
    request: Request<R::Request>,
) -> Result<Response<R::Response>, Status> {
    let callers = callers_deadline(&request);
    let answered = rpc::serve::<R>(&service, callers, request.into_inner()).await;
    answered.map(Response::new).map_err(|error| status::to_status(&error))
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
struct Opening<R>(Arc<Service>, PhantomData<fn() -> R>);

impl<R: Streamed> StreamingService<R::Request> for Opening<R> {
    type Response = R::Response;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<R::Response, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<R::Request>>) -> Self::Future {
        let over = Aged::reached(request.extensions().get::<Aged>().copied());
        let answers = rpc::serve_stream::<R, Status>(self.0.clone(), request.into_inner(), over);
        ready(Ok(Response::new(Box::pin(answers))))
    }
}

/// The `grpc-timeout` header: up to eight digits and a unit.
fn callers_deadline<T>(request: &Request<T>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
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
            let mut request = Request::new(());
            request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(callers_deadline(&request), expected, "{text:?}");
        }
    }
}
