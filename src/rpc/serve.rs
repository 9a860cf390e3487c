//! What every call passes, whichever front took it.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};

use super::{
    Answer,
    table::{Orgs, Streamed, Unary},
};
use crate::{
    error::ServiceError,
    service::{Call, Service},
    wire::{status, v1::ItemError},
};

/// The most requests of a stream that are one call, if they arrive together.
const CHUNK: usize = 256;
/// The most such calls of one stream in flight.
const CHUNKS_AT_ONCE: usize = 64;

/// Which node owns an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Here,
}

/// Says which node owns an org. Every call asks here and nowhere else: [`serve()`] for the org of its
/// request, [`super::batch`] for each org of a batch or of a stream. One node owns every org, so there is
/// one answer. With more nodes another variant names the owner, and both places forward the bytes of the
/// request to it, under the name of the rpc.
pub(super) fn owner(_org: &str) -> Owner {
    Owner::Here
}

/// Serves one call: gives it a deadline, measures it, and counts its error.
///
/// # Errors
/// Why the call was not carried out.
pub async fn serve<R: Unary>(service: &Service, callers: Option<Duration>, request: R::Request) -> Answer<R::Response> {
    let call = service.call(R::RPC.method, callers);
    let owner = match R::orgs(&request) {
        Orgs::One(org) => owner(org),
        // It is about this node, or its handler splits it.
        Orgs::None | Orgs::Each(_) => Owner::Here,
    };
    let answered = match owner {
        Owner::Here => R::handle(service, &call, request).await,
    };
    service.metrics().answered(call.rpc, call.deadline.elapsed());
    answered.inspect_err(|error| failed(service, &call, error))
}

/// Serves a stream: requests that arrive together are one call, with a deadline of its own. Answers leave
/// as they are ready. The stream ends when the node stops, or when `over` resolves; the caller sends what
/// is unanswered again, on another stream. A fault of the transport ends the stream after the answers to
/// the requests before it.
pub fn serve_stream<R: Streamed, E: Send + 'static>(
    service: Arc<Service>,
    requests: impl Stream<Item = Result<R::Request, E>> + Send + 'static,
    over: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<R::Response, E>> + Send + 'static {
    let closing = service.closing().cancelled_owned();
    let over = async move {
        tokio::select! {
            () = closing => {}
            () = over => {}
        }
    };
    let chunks = requests.ready_chunks(CHUNK).take_until(over);
    chunks.flat_map_unordered(CHUNKS_AT_ONCE, move |chunk| Box::pin(serve_chunk::<R, E>(service.clone(), chunk)))
}

fn serve_chunk<R: Streamed, E: Send + 'static>(
    service: Arc<Service>,
    chunk: Vec<Result<R::Request, E>>,
) -> impl Stream<Item = Result<R::Response, E>> + Send + 'static {
    let call = service.call(R::RPC.method, None);
    let (mut requests, mut broken) = (Vec::with_capacity(chunk.len()), None);
    for received in chunk {
        match received {
            Ok(request) => requests.push(request),
            Err(fault) => broken = Some(Err(fault)),
        }
    }
    let is_call = !requests.is_empty();
    let answers = R::handle(service.clone(), call.clone(), requests).map(Ok);
    let end = stream::once(async move {
        if is_call {
            service.metrics().answered(call.rpc, call.deadline.elapsed());
        }
        broken
    });
    answers.chain(end.filter_map(ready))
}

/// The error of one item of a batch or stream, counted like the error of a call.
pub(super) fn item_error(service: &Service, call: &Call, error: &ServiceError) -> ItemError {
    failed(service, call, error);
    status::to_item(error)
}

fn failed(service: &Service, call: &Call, error: &ServiceError) {
    service.metrics().failed(call.rpc, status::reason(error));
}
