//! The front of every rpc, on both ports: `net` has the connections, `rpc` has everything behind it, and here is what the
//! protocols are.
//!
//! ```text
//! application/grpc                     gRPC, by tonic (`grpc`)
//! application/grpc-web, …-text         gRPC-Web: tonic-web makes gRPC of it, for the same reader (`web`)
//! application/json, …/proto, GET       Connect, one request and one answer (`connect`)
//! application/connect+json, …+proto    Connect, one request and a stream of answers (`connect`)
//! /v1/forward-auth                     the question of a proxy that holds a request back (`forward_auth`)
//! ```
//!
//! Each is a reader of the one table of rpcs, and has no code of its own for any rpc. Who calls, whether it may, the deadline and
//! the turn of a call are asked in one place (`begun`), before anything of the body is read.

mod begun;
mod codec;
mod connect;
mod forward_auth;
mod framing;
mod grpc;
mod origins;
pub mod server;
mod web;

use std::{
    convert::Infallible,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::Body as HttpBody,
    header::{self, HeaderValue},
};
use prost::bytes::{Buf, Bytes};
use tokio::time::timeout;
use tonic::{body::Body, codegen::Service as Tower, service::Routes};
use tower::{Layer, service_fn};

use connect::{Codec, Form};
use origins::{Judged, Origins};

use crate::{
    auth::Authenticator,
    net::Arriving,
    rpc::{
        Reply,
        table::{self, CALL_BYTES, Rpc, Size},
    },
    service::Service,
};

/// What a body may be, where a request has one that no protocol knows.
const ACCEPTED: &str = "application/grpc, application/grpc-web, application/json, application/proto, \
                        application/connect+json, application/connect+proto";

/// Metadata of an answer that came from another node: where callers reach that one, a hint for those who would spare it the
/// way through this one.
const OWNER: &str = "tollgate-owner";
/// What is taken of a body that is not read.
const DISCARDED_BYTES: usize = 64 << 10;
const DISCARDED_WITHIN: Duration = Duration::from_secs(1);

/// Where callers reach the node that has answered; `None` = this one has.
fn owner(reply: &Reply) -> Option<&str> {
    reply.owner.as_ref().map(|owner| &*owner.about.grpc)
}

/// In metrics: what is no rpc of the table.
const OTHERS: &str = "other";

/// Takes every request for an rpc of every connection; cloned for each.
#[derive(Debug, Clone)]
pub struct Front(Arc<Parts>);

/// What every clone of a front shares.
#[derive(Debug)]
pub struct Parts {
    service: Arc<Service>,
    authenticator: Arc<Authenticator>,
    /// Of one request, in bytes.
    max_message: usize,
    /// Health and reflection; what they do not know is UNIMPLEMENTED.
    others: Routes,
    /// Which pages may call.
    origins: Origins,
}

impl Deref for Front {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Front {
    /// Whether a path is that of an rpc, known or not, or that of forward authentication.
    pub fn takes(path: &str) -> bool {
        path == forward_auth::PATH || Self::is_rpc(path)
    }

    /// `/PACKAGE.SERVICE/METHOD`.
    fn is_rpc(path: &str) -> bool {
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        service.is_some_and(|(service, method)| service.contains('.') && !method.contains('/'))
    }

    /// How long a request of this rpc may be.
    fn longest(&self, rpc: &Rpc) -> usize {
        match rpc.size {
            Size::Call => CALL_BYTES.min(self.max_message),
            Size::Message => self.max_message,
        }
    }

    /// By the protocol that the request is in, wherever it comes from.
    fn answer(&self, request: Request<Arriving>) -> Answering {
        match Protocol::of(&request) {
            Protocol::Grpc => table::read(grpc::Exchange::new(self, request)),
            Protocol::GrpcWeb => web::answer(self, request),
            Protocol::Connect(form) => table::read(connect::Exchange::new(self, request, form)),
            Protocol::None { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, why } => {
                behind_body(request.into_body(), refused_type(why, ACCEPTED))
            }
            Protocol::None { status, why } => behind_body(request.into_body(), sentence(status, why)),
        }
    }
}

impl Tower<Request<Arriving>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Arriving>) -> Answering {
        // A proxy sends on what the client's browser says of its page: that is none of ours.
        if request.uri().path() == forward_auth::PATH {
            return forward_auth::answer(self, request);
        }
        // Only a browser says for which page it asks.
        let Some(origin) = request.headers().get(header::ORIGIN) else {
            let is_rpc = Self::is_rpc(request.uri().path());
            return match self.origins.refused(&request).filter(|_| is_rpc) {
                Some(why) => behind_body(request.into_body(), sentence(StatusCode::FORBIDDEN, why)),
                None => self.answer(request),
            };
        };
        match self.origins.judge(origin, &request) {
            Judged::Own => self.answer(request),
            Judged::Other(cors) => {
                let (cors, front) = (cors.clone(), self.clone());
                Box::pin(cors.layer(service_fn(move |request| front.answer(request))).call(request))
            }
            Judged::Refused(why) => behind_body(request.into_body(), sentence(StatusCode::FORBIDDEN, why)),
        }
    }
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    GrpcWeb,
    Connect(connect::Form),
    /// In none that is known, or in one that this version of HTTP does not carry.
    None {
        status: StatusCode,
        why: &'static str,
    },
}

impl Protocol {
    fn of<B>(request: &Request<B>) -> Self {
        let given = content_type(request.headers());
        let known = TYPES.iter().find(|(name, _)| given.eq_ignore_ascii_case(name)).map(|(_, protocol)| *protocol);
        let is_post = request.method() == Method::POST;
        match known.filter(|_| is_post) {
            Some(Self::Grpc) if request.version() != Version::HTTP_2 => Self::None {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                why: "gRPC is HTTP/2; over HTTP/1.1 there are Connect (application/json) and gRPC-Web\n",
            },
            // It has words of its own for what is no rpc.
            Some(Self::Grpc) => Self::Grpc,
            _ if !Front::is_rpc(request.uri().path()) => Self::None {
                status: StatusCode::NOT_FOUND,
                why: "no rpc has this path: it is /PACKAGE.SERVICE/METHOD, such as /tollgate.v1.GateService/Acquire; \
                      metrics and health are on the HTTP port\n",
            },
            Some(protocol) => protocol,
            // The rpc says whether that is enough.
            None if !is_post => Self::Connect(Form::Get),
            None => Self::None {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                why: "the content-type is none of: application/json, application/proto (Connect), application/connect+json, \
                      application/connect+proto (its streams), application/grpc, application/grpc-web\n",
            },
        }
    }
}

/// What says in which protocol a body is, the usual first.
const TYPES: [(&str, Protocol); 10] = [
    ("application/grpc", Protocol::Grpc),
    ("application/grpc+proto", Protocol::Grpc),
    ("application/json", Protocol::Connect(Form::Unary(Codec::Json))),
    ("application/proto", Protocol::Connect(Form::Unary(Codec::Proto))),
    ("application/connect+json", Protocol::Connect(Form::Stream(Codec::Json))),
    ("application/connect+proto", Protocol::Connect(Form::Stream(Codec::Proto))),
    ("application/grpc-web", Protocol::GrpcWeb),
    ("application/grpc-web+proto", Protocol::GrpcWeb),
    (web::TEXT, Protocol::GrpcWeb),
    (web::TEXT_PROTO, Protocol::GrpcWeb),
];

/// Without its parameters; empty where there is none that is text.
fn content_type(headers: &HeaderMap) -> &str {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim_end()
}

/// An answer that is known before the body, behind what is sent of it: many a client writes its body after its head, and loses
/// an answer that ends the connection meanwhile. It is not decoded, and not waited for without a bound.
fn behind_body<B: HttpBody + Unpin + Send + 'static>(body: B, answer: Response<Body>) -> Answering {
    Box::pin(async move {
        discarded(body).await;
        Ok(answer)
    })
}

async fn discarded<B: HttpBody + Unpin>(body: B) {
    drop(timeout(DISCARDED_WITHIN, discard(body)).await);
}

async fn discard<B: HttpBody + Unpin>(mut body: B) {
    let mut left = DISCARDED_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Buf::remaining));
        if left == 0 {
            return;
        }
    }
}

/// An answer that is there as a whole.
fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The status that a decision hints at.
fn hinted(hint: i64) -> Option<StatusCode> {
    u16::try_from(hint).ok().and_then(|hint| StatusCode::from_u16(hint).ok())
}

/// An answer to what is no call.
fn sentence(status: StatusCode, why: impl Into<Bytes>) -> Response<Body> {
    whole(status, "text/plain; charset=utf-8", why)
}

/// The same to a body of another type than these.
fn refused_type(why: impl Into<Bytes>, types: &'static str) -> Response<Body> {
    let mut answer = sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    answer.headers_mut().insert("accept-post", HeaderValue::from_static(types));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_an_rpc_has_a_package_a_service_and_a_method() {
        for path in ["/tollgate.v1.GateService/Acquire", "/grpc.health.v1.Health/Check", "/a.b/"] {
            assert!(Front::takes(path), "{path}");
        }
        assert!(Front::takes("/v1/forward-auth"));
        for path in ["/", "/metrics", "/webhooks/autumn", "/openapi.json", "/a.b", "/a.b/c/d", ""] {
            assert!(!Front::takes(path), "{path}");
        }
    }

    #[test]
    fn the_protocol_is_known_by_method_and_type_and_what_is_none_says_so() {
        let of = |method: &str, version, kind: &str| {
            let request = Request::builder().method(method).uri("/tollgate.v1.GateService/Acquire").version(version);
            Protocol::of(&request.header("content-type", kind).body(()).unwrap())
        };
        assert_eq!(of("POST", Version::HTTP_2, "application/grpc"), Protocol::Grpc);
        assert_eq!(of("POST", Version::HTTP_11, "application/grpc-web+proto"), Protocol::GrpcWeb);
        let json = of("POST", Version::HTTP_11, "application/json; charset=utf-8");
        assert!(matches!(json, Protocol::Connect(Form::Unary(_))));
        assert_eq!(of("GET", Version::HTTP_11, ""), Protocol::Connect(Form::Get));
        for (method, version, kind, expected) in [
            ("POST", Version::HTTP_2, "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("POST", Version::HTTP_2, "", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("POST", Version::HTTP_11, "application/grpc", StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        ] {
            let refused = of(method, version, kind);
            assert!(
                matches!(refused, Protocol::None { status, .. } if status == expected),
                "{method} {kind}: {refused:?}"
            );
        }
    }
}
