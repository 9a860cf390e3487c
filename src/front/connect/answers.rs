//! What leaves over Connect: a message, an error with the status of HTTP that the protocol gives its code, and frames of a stream.

use std::convert::Infallible;

use futures_util::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use prost::bytes::Bytes;
use serde::Serialize;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;

use super::{
    super::{OWNER, framing::frame, hinted, owner, refused_type, sentence, whole},
    Codec,
};
use crate::{
    rpc::{Reply, table::Rpc},
    wire::{
        gateways::seconds,
        json::{ErrorJson, HINT, Json, JsonError},
    },
};

/// Types of a body with one request.
pub(super) const OF_ONE: &str = "application/json, application/proto, application/grpc, application/grpc-web";
/// Types of a body with a framed request.
pub(super) const OF_MANY: &str =
    "application/connect+json, application/connect+proto, application/grpc, application/grpc-web";

/// The frame says how the stream ended, and is its last.
const ENDS: u8 = 2;

/// How a stream ended.
#[derive(Debug, Serialize)]
struct End {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson>,
}

/// An answer, with the node that it came from where that was another one.
pub(super) fn one(codec: Codec, rpc: &Rpc, reply: &Reply) -> Result<Response<Body>, Status> {
    Ok(carried(codec, reply, written(codec, rpc, reply.bytes.clone())?))
}

/// The decision with the status that it hints at, and with the time after which it is worth another try.
pub(super) fn real(codec: Codec, rpc: &Rpc, reply: &Reply) -> Result<Response<Body>, Status> {
    let json = json(rpc, &reply.bytes)?;
    let number = |field| json.number(field).unwrap_or_default();
    let bytes = match codec {
        Codec::Json => text(&json)?,
        Codec::Proto => reply.bytes.clone(),
    };
    let mut answer = carried(codec, reply, bytes);
    *answer.status_mut() = hinted(number(HINT)).unwrap_or(StatusCode::OK);
    let retry_after = seconds(number("retry_after_ms"));
    if retry_after > 0 {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    }
    Ok(answer)
}

fn carried(codec: Codec, reply: &Reply, bytes: Bytes) -> Response<Body> {
    let kind = match codec {
        Codec::Json => "application/json",
        Codec::Proto => "application/proto",
    };
    let mut answer = whole(StatusCode::OK, kind, bytes);
    if let Some(owner) = owner(reply).and_then(|owner| HeaderValue::from_str(owner).ok()) {
        answer.headers_mut().insert(OWNER, owner);
    }
    answer
}

/// What is kept of an answer on the way: nothing, it is about now.
pub(super) fn lasting(mut answer: Response<Body>, is_get: bool) -> Response<Body> {
    if is_get {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

/// A response of the rpc, as its caller reads it.
fn written(codec: Codec, rpc: &Rpc, response: Bytes) -> Result<Bytes, Status> {
    match codec {
        Codec::Proto => Ok(response),
        Codec::Json => text(&json(rpc, &response)?),
    }
}

fn json(rpc: &Rpc, response: &[u8]) -> Result<Json, Status> {
    Json::of_encoded(&(rpc.response)(), response).map_err(|error| Status::internal(error.to_string()))
}

fn text(json: &Json) -> Result<Bytes, Status> {
    let text = serde_json::to_vec(json).map_err(JsonError::from);
    text.map(Bytes::from).map_err(|error| Status::internal(error.to_string()))
}

/// An error, as the protocol writes it; when it is worth another try is in a header too.
pub(super) fn error(refused: &Status) -> Response<Body> {
    let json = serde_json::to_vec(&ErrorJson::from(refused)).unwrap_or_default();
    let mut answer = whole(http_status(refused.code()), "application/json", json);
    let headers = answer.headers_mut();
    if let Some(seconds) = retry_after(refused) {
        headers.insert(RETRY_AFTER, seconds);
    }
    if refused.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// Whole seconds after which another try is worth it.
pub(in crate::front) fn retry_after(refused: &Status) -> Option<HeaderValue> {
    let delay = refused.get_details_retry_info()?.retry_delay?;
    Some(HeaderValue::from(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)))
}

/// No rpc has this name.
pub(super) fn unknown(name: &str) -> Response<Body> {
    let mut answer = error(&Status::unimplemented(format!("there is no rpc {name}")));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// The rpc takes other bodies.
pub(super) fn other_type(types: &'static str) -> Response<Body> {
    let why = format!("this rpc takes a body of {types}\n");
    refused_type(why, types)
}

/// The rpc is not called by that method.
pub(super) fn other_method(may_get: bool) -> Response<Body> {
    let (why, methods) = match may_get {
        true => ("this rpc is called by POST, or by GET\n", "GET, POST"),
        false => ("this rpc is called by POST: GET is for what only reads, in one answer\n", "POST"),
    };
    let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, why);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

/// A stream of frames.
pub(super) fn streamed(codec: Codec, frames: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = frames.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut answer = Response::new(Body::new(StreamBody::new(frames)));
    let kind = match codec {
        Codec::Json => "application/connect+json",
        Codec::Proto => "application/connect+proto",
    };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A stream that ends before its first answer.
pub(super) fn ended(codec: Codec, refused: &Status) -> Response<Body> {
    streamed(codec, stream::iter([end(Some(refused))]))
}

/// The frame of an answer.
pub(super) fn message(codec: Codec, rpc: &Rpc, response: Bytes) -> Result<Bytes, Status> {
    Ok(frame(0, &written(codec, rpc, response)?))
}

/// The last frame.
pub(super) fn end(refused: Option<&Status>) -> Bytes {
    let json = serde_json::to_vec(&End { error: refused.map(ErrorJson::from) }).unwrap_or_default();
    frame(ENDS, &json)
}

/// The table of the protocol.
pub(in crate::front) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // Of a client that has closed its request; no name in the standard.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_status_of_the_protocol() {
        // https://connectrpc.com/docs/protocol#error-codes
        for (code, expected) in [
            (Code::Cancelled, 499),
            (Code::Unknown, 500),
            (Code::InvalidArgument, 400),
            (Code::DeadlineExceeded, 504),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::PermissionDenied, 403),
            (Code::ResourceExhausted, 429),
            (Code::FailedPrecondition, 400),
            (Code::Aborted, 409),
            (Code::OutOfRange, 400),
            (Code::Unimplemented, 501),
            (Code::Internal, 500),
            (Code::Unavailable, 503),
            (Code::DataLoss, 500),
            (Code::Unauthenticated, 401),
        ] {
            assert_eq!(http_status(code).as_u16(), expected, "{code:?}");
        }
    }

    #[test]
    fn the_last_frame_says_how_the_stream_ended() {
        assert_eq!(&end(None)[..], [2, 0, 0, 0, 2, b'{', b'}']);
        let refused = end(Some(&Status::unavailable("later")));
        assert_eq!(&refused[5..], br#"{"error":{"code":"unavailable","message":"later"}}"#);
    }
}
