//! `tollgate.v1.GateService`.

use std::{pin::pin, sync::Arc};

use futures_util::{Stream, StreamExt};

use super::{
    Answer,
    batch::{self, Questions},
    serve::item_error,
    table::BatchGetStatus,
};
use crate::{
    error::ServiceError,
    service::{Ask, Call, Service},
    wire::{
        answers, requests,
        v1::{self, ItemError},
    },
};

pub(super) async fn acquire(
    service: &Service,
    call: &Call,
    request: &mut v1::AcquireRequest,
) -> Answer<v1::AcquireResponse> {
    let (org, acquire) = requests::acquire(request)?;
    let decision = service.acquire(Ask { org, acquire }, call).await?;
    Ok(answers::decision(&decision, service.node()))
}

pub(super) async fn acquire_batch(
    service: &Service,
    call: &Call,
    request: &mut v1::AcquireBatchRequest,
) -> Answer<v1::AcquireBatchResponse> {
    requests::batch(&request.items, service.bounds().batch_items)?;
    let mut results: Vec<Option<Decided>> = request.items.iter().map(|_| None).collect();
    let mut decided = pin!(batch::decide(service, call, &mut request.items));
    while let Some((position, item)) = decided.next().await {
        results[position] = Some(batch::result(call, item)?);
    }
    let unanswered = || Err(item_error(service, call, &ServiceError::Bug));
    let results = results.into_iter().map(|item| batch_result(item.unwrap_or_else(unanswered)));
    Ok(v1::AcquireBatchResponse { results: results.collect() })
}

/// The result of one Acquire among many.
type Decided = Result<v1::AcquireResponse, ItemError>;

/// Tags go back with the answers, which may overtake each other.
pub(super) fn acquire_stream(
    service: Arc<Service>,
    call: Call,
    requests: Vec<v1::AcquireStreamRequest>,
) -> impl Stream<Item = v1::AcquireStreamResponse> + Send + 'static {
    let tagged = requests.into_iter().map(|request| (request.tag, request.acquire.unwrap_or_default()));
    let (tags, mut items): (Vec<_>, Vec<_>) = tagged.unzip();
    let decided = batch::decide(service, &call, &mut items);
    decided.map(move |(position, item)| stream_result(tags[position], item.map_err(ItemError::from)))
}

pub(super) async fn commit(
    service: &Service,
    call: &Call,
    request: &mut v1::CommitRequest,
) -> Answer<v1::CommitResponse> {
    let (org, command) = requests::commit(request)?;
    let done = service.ask(&org, command, call).await?;
    Ok(answers::committed(&done))
}

pub(super) async fn release(
    service: &Service,
    call: &Call,
    request: &mut v1::ReleaseRequest,
) -> Answer<v1::ReleaseResponse> {
    let (org, command) = requests::release(request)?;
    let done = service.ask(&org, command, call).await?;
    Ok(v1::ReleaseResponse { replayed: done.replayed })
}

pub(super) async fn extend(
    service: &Service,
    call: &Call,
    request: &mut v1::ExtendRequest,
) -> Answer<v1::ExtendResponse> {
    let (org, command) = requests::extend(request)?;
    let done = service.ask(&org, command, call).await?;
    Ok(v1::ExtendResponse {
        replayed: done.replayed,
        expires_at_ms: answers::int(done.outcome.expires_at),
        remaining_ms: answers::int(done.view),
    })
}

pub(super) async fn list_reservations(
    service: &Service,
    call: &Call,
    request: &mut v1::ListReservationsRequest,
) -> Answer<v1::ListReservationsResponse> {
    let (org, list) = requests::list_reservations(request)?;
    let size = list.max;
    let reservations = service.ask(&org, list, call).await?;
    let next = reservations.last().filter(|_| reservations.len() == size).map(|last| last.row.id.to_string());
    Ok(v1::ListReservationsResponse {
        reservations: reservations.iter().map(answers::reservation).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

pub(super) async fn resume(
    service: &Service,
    call: &Call,
    request: &mut v1::ResumeRequest,
) -> Answer<v1::ResumeResponse> {
    let (org, command) = requests::resume(request)?;
    let done = service.resume(&org, command, call).await?;
    let continuations = done.outcome.continuations;
    Ok(v1::ResumeResponse {
        continuations: answers::int(continuations),
        counted: continuations > 0,
        replayed: done.replayed,
    })
}

pub(super) async fn record(
    service: &Service,
    call: &Call,
    request: &mut v1::RecordRequest,
) -> Answer<v1::RecordResponse> {
    let (org, command) = requests::record(request)?;
    let done = service.record(&org, command, call).await?;
    Ok(v1::RecordResponse { replayed: done.replayed, folded_scopes: answers::scopes(&done.view) })
}

pub(super) async fn report_cumulative(
    service: &Service,
    call: &Call,
    request: &mut v1::ReportCumulativeRequest,
) -> Answer<v1::ReportCumulativeResponse> {
    let (org, command) = requests::report_cumulative(request)?;
    let done = service.ask(&org, Box::new(command), call).await?;
    Ok(v1::ReportCumulativeResponse {
        increment: answers::int(done.outcome.increment),
        reset_detected: done.outcome.reset,
        disputed: answers::int(done.outcome.disputed),
        replayed: done.replayed,
        folded_scopes: answers::scopes(&done.view),
    })
}

pub(super) async fn get_status(
    service: &Service,
    call: &Call,
    request: &mut v1::GetStatusRequest,
) -> Answer<v1::GetStatusResponse> {
    let (org, scopes) = (requests::org(&request.org)?, requests::scopes(&request.scope, &request.scopes)?);
    let status = service.status(&org, scopes.clone(), call).await?;
    Ok(answers::status(status, &org, &scopes))
}

pub(super) async fn batch_get_status(
    service: &Service,
    call: &Call,
    request: &mut v1::BatchGetStatusRequest,
) -> Answer<v1::BatchGetStatusResponse> {
    requests::batch(&request.items, service.bounds().batch_items)?;
    let ask = |call: Call, mut item| async move { get_status(service, &call, &mut item).await };
    let statuses = batch::each::<BatchGetStatus, _>(service, call, std::mem::take(&mut request.items), ask).await?;
    Ok(v1::BatchGetStatusResponse { results: statuses.into_iter().map(status_result).collect() })
}

impl Questions for BatchGetStatus {
    type Item = v1::GetStatusRequest;
    type Answer = v1::GetStatusResponse;

    fn one(item: Self::Item) -> Self::Request {
        v1::BatchGetStatusRequest { items: vec![item] }
    }

    fn answer(mut response: Self::Response) -> Option<Result<Self::Answer, ItemError>> {
        use v1::batch_get_status_result::Result as Outcome;
        Some(match response.results.pop()?.result? {
            Outcome::Status(status) => Ok(status),
            Outcome::Error(error) => Err(error),
        })
    }
}

fn stream_result(tag: u64, item: Decided) -> v1::AcquireStreamResponse {
    use v1::acquire_stream_response::Result as Outcome;
    v1::AcquireStreamResponse { tag, result: Some(item.map_or_else(Outcome::Error, Outcome::Decision)) }
}

fn batch_result(item: Decided) -> v1::AcquireBatchResult {
    use v1::acquire_batch_result::Result as Outcome;
    v1::AcquireBatchResult { result: Some(item.map_or_else(Outcome::Error, Outcome::Decision)) }
}

fn status_result(item: Result<v1::GetStatusResponse, ItemError>) -> v1::BatchGetStatusResult {
    use v1::batch_get_status_result::Result as Outcome;
    v1::BatchGetStatusResult { result: Some(item.map_or_else(Outcome::Error, Outcome::Status)) }
}
