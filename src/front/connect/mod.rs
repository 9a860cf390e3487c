//! The Connect protocol over the table of rpcs (<https://connectrpc.com/docs/protocol>): a request with one answer is a plain POST, or
//! a GET where it changes nothing, and a stream of answers is framed in the body.
//!
//! Messages are binary, or canonical proto3 JSON with defaults written out; an error is JSON with the status of HTTP that the
//! protocol gives its code. Streams of requests need gRPC. Nothing is compressed.

mod answers;
mod requests;

pub(super) use answers::{http_status, retry_after};

use std::{future::ready, time::Duration};

use futures_util::{StreamExt, stream};
use hyper::{HeaderMap, Method as HttpMethod, Request, Response};
use prost::{Message, bytes::Bytes};
use tonic::{Code, Status, body::Body};

use super::{
    Answering, Front, OTHERS,
    begun::{Begun, count_unread},
    behind_body, codec, discarded, framing,
};
use crate::{
    domain::input::InputError,
    error::ServiceError,
    net::Arriving,
    rpc::table::{Kind, Reader, Rpc, Streamed, UnaryRpc, Watched},
    service::System,
    wire::status,
};

/// How a request and its answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One request in the body, one answer.
    Unary(Codec),
    /// The same, with the request in the query: a GET, and every other method, which no rpc takes.
    Get,
    /// One framed request in the body, framed answers.
    Stream(Codec),
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Json,
    Proto,
}

/// A request whose rpc is to be found.
pub(super) struct Exchange<'a> {
    front: &'a Front,
    request: Request<Arriving>,
    form: Form,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(front: &'a Front, request: Request<Arriving>, form: Form) -> Self {
        Self { front, request, form }
    }

    fn begin(&self, rpc: &'static Rpc) -> Result<Begun, Status> {
        let headers = self.request.headers();
        let callers = requests::is_known(headers).and_then(|()| callers_deadline(headers));
        let callers = callers.inspect_err(|refused| count_unread(&self.front.service, rpc, refused.code()))?;
        self.front.begin(rpc, &self.request, (System::Connect, callers)).map_err(|error| status::to_status(&error))
    }

    /// An answer for which the request is not read.
    fn refused(self, answer: Response<Body>) -> Answering {
        behind_body(self.request.into_body(), answer)
    }

    /// What is known already, if the request is not in the form that the rpc takes.
    fn misformed(&self, rpc: &Rpc) -> Option<Response<Body>> {
        let is_watch = rpc.kind == Kind::Watch;
        let may_get = rpc.access.only_reads() && rpc.kind == Kind::Unary;
        match self.form {
            Form::Get if may_get && self.request.method() == HttpMethod::GET => None,
            Form::Get => Some(answers::other_method(may_get)),
            Form::Unary(_) if is_watch => Some(answers::other_type(answers::OF_MANY)),
            Form::Stream(_) if rpc.kind == Kind::Unary => Some(answers::other_type(answers::OF_ONE)),
            Form::Unary(_) | Form::Stream(_) => None,
        }
    }
}

impl Reader for Exchange<'_> {
    type Answer = Answering;

    fn name(&self) -> &str {
        self.request.uri().path().strip_prefix('/').unwrap_or_default()
    }

    fn unary(self, row: UnaryRpc) -> Answering {
        if let Some(refused) = self.misformed(row.rpc) {
            return self.refused(refused);
        }
        let begun = match self.begin(row.rpc) {
            Ok(begun) => begun,
            Err(refused) => return self.refused(answers::error(&refused)),
        };
        let longest = self.front.longest(row.rpc);
        let (form, is_get, request) = (self.form, self.form == Form::Get, self.request);
        Box::pin(async move {
            let answered = match begun.turn() {
                Ok(()) => {
                    let whole = begun.whole(taken(row.rpc, request, form, longest)).await;
                    answer(&begun, row, whole).await
                }
                Err(error) => {
                    let refused = status::to_status(&error);
                    begun.answered(refused.code()).await;
                    return behind_body(request.into_body(), answers::error(&refused)).await;
                }
            };
            let code = answered.as_ref().err().map_or(Code::Ok, Status::code);
            begun.answered(code).await;
            let answer = answered.unwrap_or_else(|refused| answers::error(&refused));
            Ok(answers::lasting(answer, is_get))
        })
    }

    /// An HTTP/1.1 client cannot send while it is answered, and a page cannot over HTTP/2.
    fn stream<R: Streamed>(self) -> Answering {
        if let Some(refused) = self.misformed(R::RPC) {
            return self.refused(refused);
        }
        let why = "a stream of requests needs gRPC; over Connect send one request in each call";
        let refused = Status::unimplemented(why);
        let answer = match self.form {
            Form::Stream(codec) => answers::ended(codec, &refused),
            Form::Unary(_) | Form::Get => answers::error(&refused),
        };
        self.refused(answer)
    }

    fn watch<R: Watched>(self) -> Answering {
        if let Some(refused) = self.misformed(R::RPC) {
            return self.refused(refused);
        }
        let Form::Stream(codec) = self.form else { return self.unknown() };
        let mut begun = match self.begin(R::RPC) {
            Ok(begun) => begun,
            Err(refused) => {
                return self.refused(answers::ended(codec, &refused));
            }
        };
        let (longest, body) = (self.front.longest(R::RPC), self.request.into_body());
        Box::pin(async move {
            let request = match begun.turn() {
                Ok(()) => {
                    let framed = begun.whole(framing::framed(body, longest)).await;
                    framed.and_then(|bytes| requests::decoded::<R>(codec, bytes))
                }
                Err(error) => Err(status::to_status(&error)),
            };
            let request = match request {
                Ok(request) => request,
                Err(refused) => {
                    begun.answered(refused.code()).await;
                    return Ok(answers::ended(codec, &refused));
                }
            };
            begun.waits();
            // What is said last says how it ended, also where that was without an error.
            let answers = begun.watch::<R>(request).map(Some).chain(stream::iter([None]));
            let framed = answers.scan(false, move |is_over, answer| {
                let frame = match answer {
                    _ if *is_over => None,
                    Some(Ok(message)) => Some(answers::message(codec, R::RPC, message.encode_to_vec().into())),
                    Some(Err(fault)) => Some(Err(fault)),
                    None => Some(Ok(answers::end(None))),
                };
                *is_over |= !matches!(frame, Some(Ok(_)));
                ready(frame.map(|frame| frame.unwrap_or_else(|fault| answers::end(Some(&fault)))))
            });
            Ok(answers::streamed(codec, framed))
        })
    }

    fn unknown(self) -> Answering {
        let answer = match self.front.authenticated(OTHERS, &self.request) {
            Ok(_) => answers::unknown(self.name()),
            Err(refused) => answers::error(&status::to_status(&refused)),
        };
        self.refused(answer)
    }
}

/// A request that has arrived: how it is written, and whether its answer has the status that a decision hints at.
struct Whole {
    codec: Codec,
    bytes: Bytes,
    is_real: bool,
}

async fn taken(rpc: &Rpc, request: Request<Arriving>, form: Form, longest: usize) -> Result<Whole, Status> {
    let query = request.uri().query().unwrap_or_default();
    match form {
        Form::Unary(codec) | Form::Stream(codec) => match requests::wants_real_status(rpc, query) {
            Ok(is_real) => Ok(Whole { codec, bytes: framing::whole(request.into_body(), longest).await?, is_real }),
            Err(refused) => {
                discarded(request.into_body()).await;
                Err(refused)
            }
        },
        Form::Get => requests::in_query(query).map(|(codec, bytes)| Whole { codec, bytes, is_real: false }),
    }
}

/// What the rpc answers to the request that was taken, as it leaves.
async fn answer(begun: &Begun, row: UnaryRpc, taken: Result<Whole, Status>) -> Result<Response<Body>, Status> {
    let Whole { codec: written, bytes, is_real } = taken?;
    let bytes = requests::encoded(written, row.rpc, bytes)?;
    let answered = begun.serve(codec::taken(&begun.service, row, bytes)?).await;
    let reply = answered.map_err(|error| status::to_status(&error))?;
    if is_real { answers::real(written, row.rpc, &reply) } else { answers::one(written, row.rpc, &reply) }
}

/// The `connect-timeout-ms` header: up to ten digits.
fn callers_deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(given) = headers.get("connect-timeout-ms") else { return Ok(None) };
    let text = given.to_str().unwrap_or_default();
    let is_number = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let millis: Option<u64> = Some(text).filter(|_| is_number).and_then(|text| text.parse().ok());
    let refused = || InputError::new("connect-timeout-ms", text, "milliseconds in one to ten digits");
    millis.map(Duration::from_millis).map(Some).ok_or_else(|| status::to_status(&ServiceError::Input(refused())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_is_read_and_garbage_is_refused() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("connect-timeout-ms", text.parse().unwrap());
            callers_deadline(&headers).map_err(|refused| refused.code())
        };
        assert_eq!(of("250"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(of("9999999999"), Ok(Some(Duration::from_millis(9_999_999_999))));
        for bad in ["", "-1", "1.5", "5m", "99999999999"] {
            assert_eq!(of(bad), Err(Code::InvalidArgument), "{bad:?}");
        }
        assert_eq!(callers_deadline(&HeaderMap::new()).unwrap(), None);
    }
}
