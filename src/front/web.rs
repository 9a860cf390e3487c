//! gRPC-Web: gRPC whose trailers are in the body, for browsers and over HTTP/1.1. tonic-web turns it into gRPC and back, and the
//! reader of gRPC takes it from there.

use hyper::{
    Request,
    header::{CONTENT_TYPE, HeaderValue},
};
use tonic::{body::Body, codegen::Service as Tower};
use tonic_web::GrpcWebLayer;
use tower::{Layer, service_fn};

use super::{
    Answering, Front,
    grpc::{Exchange, Messages},
};
use crate::{net::Arriving, rpc::table};

/// In base64.
pub(super) const TEXT: &str = "application/grpc-web-text";
pub(super) const TEXT_PROTO: &str = "application/grpc-web-text+proto";

/// Answers a request that is known to be gRPC-Web.
pub(super) fn answer(front: &Front, mut request: Request<Arriving>) -> Answering {
    let given = super::content_type(request.headers());
    let is_text = [TEXT, TEXT_PROTO].iter().any(|text| given.eq_ignore_ascii_case(text));
    // tonic-web knows the type in lower case and without parameters.
    let kind = HeaderValue::from_static(if is_text { TEXT_PROTO } else { "application/grpc-web+proto" });
    request.headers_mut().insert(CONTENT_TYPE, kind);
    let front = front.clone();
    let grpc = service_fn(move |request: Request<Body>| table::read(Exchange::new(&front, request)));
    Box::pin(GrpcWebLayer::new().layer(grpc).call(request))
}

/// What tonic-web has made gRPC of.
impl Messages for Body {
    const IS_AWAITED: bool = true;

    fn body(self, _is_stream: bool) -> Body {
        self
    }
}
