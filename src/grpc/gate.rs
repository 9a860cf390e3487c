//! `tollgate.v1.GateService`.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Front, connections::Aged};
use crate::{
    error::ServiceError,
    service::{Ask, Call, Group, Service},
    wire::{
        answers, requests, status,
        v1::{self, gate_service_server::GateService},
    },
};

/// Items of a stream that are taken up together, and how many such groups are decided at once.
const STREAM_CHUNK: usize = 256;
const STREAM_GROUPS: usize = 64;

type Item = Result<v1::AcquireResponse, ServiceError>;

#[tonic::async_trait]
impl GateService for Front {
    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Answer<v1::AcquireResponse> {
        self.answer("Acquire", request, |request, call| async move {
            let (org, acquire) = requests::acquire(&request)?;
            let decision = self.0.acquire(Ask { org, acquire }, &call).await?;
            Ok(answers::decision(decision, self.0.node()))
        })
        .await
    }

    async fn acquire_batch(&self, request: Request<v1::AcquireBatchRequest>) -> Answer<v1::AcquireBatchResponse> {
        self.answer("AcquireBatch", request, |request, call| async move {
            requests::batch(&request.items, self.0.orgs().rules().bounds.batch_items)?;
            let mut results: Vec<Option<Item>> = request.items.iter().map(|_| None).collect();
            let mut decided = self.decide_many(request.items, call);
            while let Some((position, item)) = decided.next().await {
                results[position] = Some(item);
            }
            let results = results.into_iter().map(|item| batch_result(item.unwrap_or(Err(ServiceError::Interrupted))));
            Ok(v1::AcquireBatchResponse { results: results.collect() })
        })
        .await
    }

    type AcquireStreamStream = Pin<Box<dyn Stream<Item = Result<v1::AcquireStreamResponse, Status>> + Send>>;

    /// Takes up what has arrived, decides it by org, and answers as each group is decided. Ends with
    /// the connection's age: what is not answered by then is asked again on a new connection.
    async fn acquire_stream(
        &self,
        request: Request<Streaming<v1::AcquireStreamRequest>>,
    ) -> Answer<Self::AcquireStreamStream> {
        let front = self.clone();
        let (closing, age) = (self.0.closing().cancelled_owned(), request.extensions().get::<Aged>().copied());
        let over = async move {
            tokio::select! {
                () = closing => {}
                () = Aged::reached(age) => {}
            }
        };
        let chunks = request.into_inner().ready_chunks(STREAM_CHUNK).take_until(Box::pin(over));
        let answers = chunks.flat_map_unordered(STREAM_GROUPS, move |chunk| front.clone().decide_chunk(chunk));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Answer<v1::CommitResponse> {
        self.answer("Commit", request, |request, call| async move {
            let (org, command) = requests::commit(&request)?;
            let done = self.0.settle(&org, command, &call).await?;
            Ok(v1::CommitResponse { replayed: done.replayed })
        })
        .await
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        self.answer("Release", request, |request, call| async move {
            let (org, command) = requests::release(&request)?;
            let done = self.0.settle(&org, command, &call).await?;
            Ok(v1::ReleaseResponse { replayed: done.replayed })
        })
        .await
    }

    async fn extend(&self, request: Request<v1::ExtendRequest>) -> Answer<v1::ExtendResponse> {
        self.answer("Extend", request, |request, call| async move {
            let (org, command) = requests::extend(&request)?;
            let done = self.0.settle(&org, command, &call).await?;
            let expires_at_ms = done.outcome.expires_at.try_into().unwrap_or(i64::MAX);
            Ok(v1::ExtendResponse { replayed: done.replayed, expires_at_ms })
        })
        .await
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Answer<v1::ResumeResponse> {
        self.answer("Resume", request, |request, call| async move {
            let (org, command) = requests::resume(&request)?;
            let done = self.0.resume(&org, command, &call).await;
            let (continuations, replayed) = (done.outcome.continuations, done.replayed);
            let counted = continuations > 0;
            Ok(v1::ResumeResponse { continuations: continuations.try_into().unwrap_or(i64::MAX), counted, replayed })
        })
        .await
    }

    async fn record(&self, request: Request<v1::RecordRequest>) -> Answer<v1::RecordResponse> {
        self.answer("Record", request, |request, call| async move {
            let (org, command) = requests::record(&request)?;
            let done = self.0.record(&org, command, &call).await?;
            Ok(v1::RecordResponse { replayed: done.replayed })
        })
        .await
    }

    async fn report_cumulative(
        &self,
        request: Request<v1::ReportCumulativeRequest>,
    ) -> Answer<v1::ReportCumulativeResponse> {
        self.answer("ReportCumulative", request, |request, call| async move {
            let (org, command) = requests::report_cumulative(&request)?;
            let done = self.0.settle(&org, Box::new(command), &call).await?;
            Ok(v1::ReportCumulativeResponse {
                increment: done.outcome.increment.try_into().unwrap_or(i64::MAX),
                reset_detected: done.outcome.reset,
                disputed: done.outcome.disputed.try_into().unwrap_or(i64::MAX),
                replayed: done.replayed,
            })
        })
        .await
    }

    async fn get_status(&self, request: Request<v1::GetStatusRequest>) -> Answer<v1::GetStatusResponse> {
        self.answer("GetStatus", request, |request, call| self.status_of(request, call)).await
    }

    async fn batch_get_status(
        &self,
        request: Request<v1::BatchGetStatusRequest>,
    ) -> Answer<v1::BatchGetStatusResponse> {
        self.answer("BatchGetStatus", request, |request, call| async move {
            requests::batch(&request.items, self.0.orgs().rules().bounds.batch_items)?;
            let statuses =
                stream::iter(request.items).map(|item| self.status_of(item, call.clone())).buffered(STREAM_GROUPS);
            let results = statuses.map(status_result).collect().await;
            Ok(v1::BatchGetStatusResponse { results })
        })
        .await
    }
}

impl Front {
    async fn status_of(
        &self,
        request: v1::GetStatusRequest,
        call: Call,
    ) -> Result<v1::GetStatusResponse, ServiceError> {
        let (org, scope) = (requests::org(&request.org)?, requests::scope(&request.scope)?);
        let status = self.0.status(&org, scope.clone(), &call).await?;
        Ok(answers::status(status, &org, &scope))
    }

    /// Decides many Acquires, each alone; answers carry their position and come as they are decided.
    fn decide_many(
        &self,
        items: Vec<v1::AcquireRequest>,
        call: Call,
    ) -> impl Stream<Item = (usize, Item)> + Unpin + Send + use<> {
        let (mut refused, mut positions, mut asks) = (Vec::new(), Vec::new(), Vec::new());
        for (position, item) in items.iter().enumerate() {
            match requests::acquire(item) {
                Ok((org, acquire)) => {
                    positions.push(position);
                    asks.push(Ask { org, acquire });
                }
                Err(error) => refused.push((position, Err(ServiceError::Input(error)))),
            }
        }
        let front = self.clone();
        let groups = Service::grouped(asks).into_iter().map(move |(org, Group { positions: members, asks })| {
            let (front, call) = (front.clone(), call.clone());
            let members = members.iter().map(|member| positions[*member]).collect::<Vec<_>>();
            async move {
                let decided = front.0.decide(&org, asks, &call).await;
                let answers =
                    decided.into_iter().map(|item| item.map(|decision| answers::decision(decision, front.0.node())));
                stream::iter(members.into_iter().zip(answers.collect::<Vec<_>>()))
            }
        });
        let decided = groups.collect::<stream::FuturesUnordered<_>>().flatten();
        Box::pin(stream::iter(refused).chain(decided))
    }

    /// One chunk of a stream: tags go back with the answers; a broken stream ends it.
    fn decide_chunk(
        self,
        chunk: Vec<Result<v1::AcquireStreamRequest, Status>>,
    ) -> impl Stream<Item = Result<v1::AcquireStreamResponse, Status>> + Unpin + Send {
        let (mut tags, mut items, mut broken) = (Vec::new(), Vec::new(), None);
        for received in chunk {
            match received {
                Ok(request) => {
                    tags.push(request.tag);
                    items.push(request.acquire.unwrap_or_default());
                }
                Err(status) => broken = Some(Err(status)),
            }
        }
        let call = self.0.call("AcquireStream", None);
        let decided =
            self.decide_many(items, call).map(move |(position, item)| Ok(stream_result(tags[position], item)));
        Box::pin(decided.chain(stream::iter(broken)))
    }
}

fn stream_result(tag: u64, item: Item) -> v1::AcquireStreamResponse {
    use v1::acquire_stream_response::Result as Outcome;
    let outcome = match item {
        Ok(decision) => Outcome::Decision(decision),
        Err(error) => Outcome::Error(status::to_item(&error)),
    };
    v1::AcquireStreamResponse { tag, result: Some(outcome) }
}

fn batch_result(item: Item) -> v1::AcquireBatchResult {
    use v1::acquire_batch_result::Result as Outcome;
    let outcome = match item {
        Ok(decision) => Outcome::Decision(decision),
        Err(error) => Outcome::Error(status::to_item(&error)),
    };
    v1::AcquireBatchResult { result: Some(outcome) }
}

fn status_result(item: Result<v1::GetStatusResponse, ServiceError>) -> v1::BatchGetStatusResult {
    use v1::batch_get_status_result::Result as Outcome;
    let outcome = match item {
        Ok(status) => Outcome::Status(status),
        Err(error) => Outcome::Error(status::to_item(&error)),
    };
    v1::BatchGetStatusResult { result: Some(outcome) }
}
