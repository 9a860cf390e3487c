//! What every call passes, whichever front took it.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, stream};
use prost::{Message, bytes::Bytes};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::sleep,
};

use super::{
    Answer, Reply, Taken,
    method::Of,
    route::{self, Forwarded},
    table::{AnyRequest, Method, Named, Orgs, Rpc, Streamed, Watched},
};
use crate::{
    auth::Principal,
    domain::{commands::Lane, ids::OrgId, trace::Traceparent},
    error::ServiceError,
    service::{Call, Service, System},
    turns::Arrived,
    wire::{status, v1::ItemError},
};

/// The most requests of a stream that are one call, if they arrive together.
const CHUNK: usize = 256;
/// The most such calls of one stream in flight.
const CHUNKS_AT_ONCE: usize = 64;
/// The most requests of one stream in flight; more wait with their caller, because they are not read.
const REQUESTS_AT_ONCE: usize = 1_024;
const _: () = assert!(CHUNK <= REQUESTS_AT_ONCE);

/// Whether this caller may call the rpc at all: asked before the body of a request is read.
///
/// # Errors
/// Where its role has not this rpc.
pub fn permit_rpc(service: &Service, rpc: &Rpc, caller: &Principal) -> Answer<()> {
    let (role, needed) = (caller.role(), rpc.access.roles());
    if needed.contains(&role) {
        return Ok(());
    }
    let error = ServiceError::OtherRole { role, needed };
    service.metrics().failed(rpc.method, status::reason(&error));
    Err(error)
}

/// How a call was asked, as its front knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asking {
    /// How long its caller waits; `None` = it did not say.
    pub callers: Option<Duration>,
    /// The trace of its caller.
    pub trace: Option<Traceparent>,
    /// The protocol.
    pub system: System,
}

/// How long a call waited that has its turn now, if it may be decoded and served: where calls wait too long for it, not
/// every caller may have another one in flight.
///
/// # Errors
/// Why the call is not carried out.
pub fn turn(service: &Service, rpc: &Rpc, arrived: &Arrived) -> Answer<Duration> {
    let lane = if rpc.settles { Lane::Settle } else { Lane::Admit };
    service.orgs().turn(lane, arrived).inspect_err(|error| failed(service, rpc.method, error))
}

impl Asking {
    fn call(self, service: &Service, rpc: &Rpc, caller: Arc<Principal>) -> Call {
        let Self { callers, trace, system } = self;
        Call { trace, system, ..service.call(rpc.method, caller, callers) }
    }
}

/// Serves one call: gives it a deadline, asks whether its caller may reach what it names, measures it, and counts its
/// error.
///
/// # Errors
/// Why the call was not carried out.
pub async fn serve(service: &Service, caller: Arc<Principal>, asking: Asking, taken: Taken) -> Answer<Reply> {
    let call = asking.call(service, taken.request.rpc(), caller);
    carry_out(service, call, taken).await
}

/// The same of a call that another node has sent here, because this one owns its org: it goes no further.
///
/// # Errors
/// Why the call was not carried out.
pub async fn serve_forwarded(
    service: &Service,
    caller: Arc<Principal>,
    callers: Duration,
    (trace, said): (Option<Traceparent>, Option<OrgId>),
    request: Box<dyn AnyRequest>,
) -> Answer<Bytes> {
    let call = Call { is_forwarded: true, trace, said, ..service.call(request.rpc().method, caller, Some(callers)) };
    carry_out(service, call, Taken { request, bytes: None }).await.map(|reply| reply.bytes)
}

async fn carry_out(service: &Service, mut call: Call, taken: Taken) -> Answer<Reply> {
    let Taken { mut request, bytes } = taken;
    record(service, request.rpc(), &mut call);
    permit(&call, &mut *request).inspect_err(|error| call_failed(service, &call, error))?;
    let mut answered = handle(service, &call, &mut *request, bytes).await;
    if let Err(ServiceError::LeadsTo(org)) = &answered {
        if call.is_forwarded {
            // Who has sent it here carries it out where that is.
            return answered;
        }
        call.said = lead(&mut *request, org);
        answered = Box::pin(handle(service, &call, &mut *request, None)).await;
    }
    measure(service, &call);
    answered.inspect_err(|error| call_failed(service, &call, error))
}

/// Records the call, if it is one of those that are. Its trace is then that of the record.
fn record(service: &Service, rpc: &Rpc, call: &mut Call) {
    if let Some(span) = service.spans().begin(rpc.name, call.trace) {
        span.says("rpc.system.name", call.system.name());
        span.says("rpc.method", rpc.name);
        span.says("tollgate.caller", call.caller.name().to_owned());
        call.trace = Some(span.traceparent());
        call.span = Some(span);
    }
}

/// What the caller may reach is asked of what it has named, also where that is another name of the org.
fn permit(call: &Call, request: &mut dyn Named) -> Answer<()> {
    let Some(said) = &call.said else { return request.permit(&call.caller) };
    let org = lead(request, said);
    let permitted = request.permit(&call.caller);
    if let Some(org) = org {
        request.lead(&org);
    }
    permitted
}

/// Puts an org into the request, in the place of what it answers.
fn lead(request: &mut dyn Named, org: &OrgId) -> Option<OrgId> {
    let before = one(request);
    request.lead(org);
    before
}

/// The one org that a request names; `None` where it names none, or one for each item, or what is no org.
fn one(request: &dyn Named) -> Option<OrgId> {
    match request.orgs() {
        Orgs::One(org) => OrgId::parse("org", org).ok(),
        Orgs::None | Orgs::Each(_) => None,
    }
}

async fn handle(service: &Service, call: &Call, request: &mut dyn AnyRequest, bytes: Option<Bytes>) -> Answer<Reply> {
    match routed(service, call, request) {
        Some(org) => Box::pin(handle_by_owner(service, call, &org, request, bytes)).await,
        None => request.handle(service, call).await.map(own),
    }
}

fn own(bytes: Bytes) -> Reply {
    Reply { bytes, owner: None }
}

/// The org whose owner carries the call out; `None` = this node does: it is alone, or was sent the call as the owner. Or
/// the call is about the node, or its handler splits it, or the org is none and refused as such.
fn routed(service: &Service, call: &Call, request: &dyn AnyRequest) -> Option<OrgId> {
    if call.is_forwarded || service.table().is_alone() {
        return None;
    }
    one(request)
}

async fn handle_by_owner(
    service: &Service,
    call: &Call,
    org: &OrgId,
    request: &dyn AnyRequest,
    bytes: Option<Bytes>,
) -> Answer<Reply> {
    // The owner adds to it what the caller is bound to, as it was done here.
    let forwarded = Forwarded::as_it_came(request.rpc(), bytes.unwrap_or_else(|| request.encoded()));
    let here = |call: Call| {
        let mut request = request.again();
        async move { request.handle(service, &call).await.map(own) }
    };
    let read = |bytes, owner| Ok(Reply { bytes, owner: Some(owner) });
    route::to_owner(service, call, org, &forwarded, here, read).await
}

/// Asks the owner of `org`, which carries it out `here` if that is this node: what a handler asks for itself.
pub(super) async fn ask_owner<R: Method, Here: Future<Output = Answer<R::Response>>>(
    service: &Service,
    call: &Call,
    org: &OrgId,
    request: &R::Request,
    here: impl Fn(Call) -> Here,
) -> Answer<R::Response> {
    let forwarded = Forwarded::of(R::RPC, request);
    route::to_owner(service, call, org, &forwarded, here, |bytes, _| response::<R>(bytes)).await
}

/// What is said by an answer of this rpc.
///
/// # Errors
/// Where it is another message, which no node sends.
pub fn response<R: Method>(bytes: Bytes) -> Answer<R::Response> {
    R::Response::decode(bytes).map_err(|_| ServiceError::Bug)
}

/// Serves a stream: requests that arrive together are one call, with a deadline of its own. Answers leave
/// as they are ready. The stream ends when the node stops, or when `over` resolves; the caller sends what
/// is unanswered again, on another stream. A fault of the transport ends the stream after the answers to
/// the requests before it, and so does the end of the caller's credential.
pub fn serve_stream<R: Streamed, E: From<ServiceError> + Send + 'static>(
    service: Arc<Service>,
    (caller, trace): (Arc<Principal>, Option<Traceparent>),
    requests: impl Stream<Item = Result<R::Request, E>> + Send + 'static,
    over: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<R::Response, E>> + Send + 'static {
    let over = until_closing(&service, over);
    let room = Arc::new(Semaphore::new(REQUESTS_AT_ONCE));
    let chunks = until_fault(requests).ready_chunks(CHUNK).then(move |chunk| {
        let places = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        // An error would be that of a semaphore that was closed, which nobody does.
        room.clone().acquire_many_owned(places).map(|held| (chunk, held.ok()))
    });
    chunks.take_until(over).flat_map_unordered(CHUNKS_AT_ONCE, move |(chunk, held)| {
        Box::pin(serve_chunk::<R, E>(service.clone(), (caller.clone(), trace), chunk, held))
    })
}

/// Ends with the node, or before.
fn until_closing<Over: Future<Output = ()> + Send>(
    service: &Service,
    over: Over,
) -> impl Future<Output = ()> + Send + use<Over> {
    let closing = service.closing().cancelled_owned();
    async move {
        tokio::select! {
            () = closing => {}
            () = over => {}
        }
    }
}

/// Serves one request with a stream of responses, which is asked for the next one only when the
/// last one has left. It ends as a stream of requests does, and with the deadline of its caller, if
/// that has one; how long it took is how long the first response did.
pub fn serve_watch<R: Watched, E: From<ServiceError> + Send + 'static>(
    service: Arc<Service>,
    caller: Arc<Principal>,
    asking: Asking,
    request: R::Request,
    over: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<R::Response, E>> + Send + 'static {
    let mut call = Asking { callers: None, ..asking }.call(&service, R::RPC, caller.clone());
    record(&service, R::RPC, &mut call);
    let mut request = Of::<R>(request);
    let permitted = request.permit(&caller).and_then(|()| service.watch_place(&caller));
    let over = until_closing(&service, over);
    let (late, is_late) = oneshot::channel();
    let over = async move {
        let Some(callers) = asking.callers else { return over.await };
        tokio::select! {
            () = over => {}
            // A stream that ends without an error has ended by itself.
            () = sleep(callers) => drop(late.send(())),
        }
    };
    let answers = match permitted {
        Ok(place) => {
            let answers = watched(service.clone(), call.clone(), request);
            // Held as long as the stream.
            answers.map(move |answer| (answer, &place).0).left_stream()
        }
        Err(error) => stream::once(ready(Err(error))).right_stream(),
    };
    let late_end =
        stream::once(is_late).filter_map(|late| ready(late.ok().map(|()| Err(ServiceError::TimedOut.into()))));
    let mut is_first = true;
    let checked = answers.map(move |answer| {
        // It outlives what it began with.
        let valid = caller.is_valid_by(service.clock()).map_err(ServiceError::Unauthenticated);
        let answer = valid.and(answer).inspect_err(|error| call_failed(&service, &call, error));
        if std::mem::take(&mut is_first) {
            measure(&service, &call);
        }
        answer.map_err(E::from)
    });
    until_fault(checked.take_until(over).chain(late_end))
}

/// The answers to a request; where it names an org by another name, those about the org.
fn watched<R: Watched>(
    service: Arc<Service>,
    call: Call,
    mut request: Of<R>,
) -> impl Stream<Item = Answer<R::Response>> + Send + 'static {
    let answers = Box::pin(R::handle(service.clone(), call.clone(), request.0.clone()));
    let begun = answers.into_future().map(move |(first, answers)| match first {
        Some(Err(ServiceError::LeadsTo(org))) => {
            let said = lead(&mut request, &org);
            R::handle(service, Call { said, ..call }, request.0).left_stream()
        }
        first => stream::iter(first).chain(answers).right_stream(),
    });
    stream::once(begun).flatten()
}

/// What comes behind a fault is never asked for: a message that cannot be decoded would be found again and again.
fn until_fault<T, E>(requests: impl Stream<Item = Result<T, E>>) -> impl Stream<Item = Result<T, E>> {
    requests.scan(false, |is_over, request| {
        let was_over = std::mem::replace(is_over, request.is_err());
        ready((!was_over).then_some(request))
    })
}

fn serve_chunk<R: Streamed, E: From<ServiceError> + Send + 'static>(
    service: Arc<Service>,
    (caller, trace): (Arc<Principal>, Option<Traceparent>),
    chunk: Vec<Result<R::Request, E>>,
    held: Option<OwnedSemaphorePermit>,
) -> impl Stream<Item = Result<R::Response, E>> + Send + 'static {
    // A stream outlives what it began with.
    let ended = caller.is_valid_by(service.clock()).err().map(ServiceError::Unauthenticated);
    let mut call = Call { trace, ..service.call(R::RPC.method, caller, None) };
    record(&service, R::RPC, &mut call);
    let (mut requests, mut broken) = (Vec::with_capacity(chunk.len()), None);
    if let Some(ended) = &ended {
        failed(&service, call.rpc, ended);
    }
    for received in chunk.into_iter().filter(|_| ended.is_none()) {
        match received {
            Ok(request) => requests.push(request),
            Err(fault) => broken = Some(Err(fault)),
        }
    }
    let broken = ended.map(|error| Err(error.into())).or(broken);
    let is_call = !requests.is_empty();
    let answers = R::handle(service.clone(), call.clone(), requests).map(Ok);
    let end = stream::once(async move {
        if is_call {
            measure(&service, &call);
        }
        drop(held);
        broken
    });
    answers.chain(end.filter_map(ready))
}

/// The error of one item of a batch or stream, counted like the error of a call.
pub(super) fn item_error(service: &Service, call: &Call, error: &ServiceError) -> ItemError {
    failed(service, call.rpc, error);
    status::to_item(error)
}

/// How long the call took, with an answer or an error.
fn measure(service: &Service, call: &Call) {
    service.metrics().answered(call.rpc, call.system.name(), call.deadline.elapsed());
}

fn call_failed(service: &Service, call: &Call, error: &ServiceError) {
    failed(service, call.rpc, error);
    if let Some(span) = &call.span {
        let item = status::to_item(error);
        span.says("error.type", item.reason);
        span.says("tollgate.message", item.message);
        if status::is_of_server(item.grpc_code) {
            span.fails(error.to_string());
        }
    }
}

fn failed(service: &Service, rpc: &'static str, error: &ServiceError) {
    service.metrics().failed(rpc, status::reason(error));
    if let Some(by) = error.shed_by() {
        service.metrics().shed(by);
    }
}
