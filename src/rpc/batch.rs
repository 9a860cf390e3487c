//! Splits batches and streams by org, so that each part goes to the owner of its org. Nothing else splits.

use std::{ops::Deref, pin::pin, sync::Arc};

use futures_util::{Stream, StreamExt, stream};

use super::{
    Answer,
    permit::{self, Scoped},
    route::{self, Forwarded},
    serve::{item_error, response},
    table::{AcquireBatch, Method, Unary},
};
use crate::{
    domain::ids::OrgId,
    error::ServiceError,
    service::{Ask, Asks, Call, Group, Service},
    wire::{
        answers, requests, status,
        v1::{self, ItemError},
    },
};

/// The most items of one batch in flight.
const AT_ONCE: usize = 64;

/// The result of one Acquire among many.
type Decided = Result<v1::AcquireResponse, Unanswered>;

/// Why one of many was not answered.
#[derive(Debug, Clone)]
pub(super) enum Unanswered {
    Refused(ItemError),
    /// Its org is another name of this one, for whoever has sent it here.
    LeadsTo(OrgId),
}

impl From<Unanswered> for ItemError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(error) => error,
            Unanswered::LeadsTo(org) => status::to_item(&ServiceError::LeadsTo(org)),
        }
    }
}

/// The result of one of many. What another node has sent here is about one org, so its error may be that of all.
pub(super) fn result<T>(call: &Call, answered: Result<T, Unanswered>) -> Answer<Result<T, ItemError>> {
    match answered {
        Err(Unanswered::LeadsTo(org)) if call.is_forwarded => Err(ServiceError::LeadsTo(org)),
        answered => Ok(answered.map_err(ItemError::from)),
    }
}

/// Decides many Acquires, each alone, those of one org together. Answers carry the positions of their
/// requests and come as they are decided.
pub(super) fn decide<S>(
    service: S,
    call: &Call,
    items: &mut [v1::AcquireRequest],
) -> impl Stream<Item = (usize, Decided)> + Send + use<S>
where
    S: Deref<Target = Service> + Clone + Send + Sync,
{
    let (mut refused, mut positions, mut asks, mut given) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let is_alone = service.table().is_alone();
    for (position, item) in items.iter_mut().enumerate() {
        let permitted = permit::item(call, item);
        match permitted.and_then(|()| Ok(requests::acquire(item)?)) {
            Ok((org, acquire)) => {
                positions.push(position);
                asks.push(Ask { org, acquire });
                if !is_alone {
                    given.push(std::mem::take(item));
                }
            }
            Err(error) => refused.push((position, Err(unanswered(&service, call, &error)))),
        }
    }
    let call = call.clone();
    let parts = Service::grouped(asks).into_iter().map(move |(org, Group { positions: members, asks })| {
        let (service, call) = (service.clone(), call.clone());
        let items: Vec<_> = members.iter().filter_map(|member| given.get_mut(*member).map(std::mem::take)).collect();
        let members: Vec<_> = members.iter().map(|member| positions[*member]).collect();
        async move {
            let answers = wherever(&service, &call, org, asks, items).await;
            let answers = answers.unwrap_or_else(|error| shared(&service, &call, &error, members.len()));
            stream::iter(members.into_iter().zip(answers))
        }
    });
    let decided = parts.collect::<stream::FuturesUnordered<_>>().flatten();
    stream::iter(refused).chain(decided)
}

/// Decides Acquires of one org, wherever that is. The error is that of all.
async fn wherever(
    service: &Service,
    call: &Call,
    org: OrgId,
    mut asks: Asks,
    items: Vec<v1::AcquireRequest>,
) -> Answer<Vec<Decided>> {
    let mut batch = v1::AcquireBatchRequest { items };
    let decided = here_or_there(service, call, &org, &mut asks, &batch).await;
    match decided {
        Err(ServiceError::LeadsTo(id)) if !call.is_forwarded => {
            let call = Call { said: Some(org), ..call.clone() };
            batch.items.iter_mut().for_each(|item| item.lead(&id));
            // That of another customer is of no use.
            asks.iter_mut().filter(|ask| ask.balance.is_some()).for_each(|ask| Arc::make_mut(ask).balance = None);
            Box::pin(here_or_there(service, &call, &id, &mut asks, &batch)).await
        }
        decided => decided,
    }
}

/// Here, where the node is alone, and there are none of the items.
async fn here_or_there(
    service: &Service,
    call: &Call,
    org: &OrgId,
    asks: &mut Asks,
    batch: &v1::AcquireBatchRequest,
) -> Answer<Vec<Decided>> {
    if batch.items.is_empty() {
        of_org(service, call, org, asks).await
    } else {
        Box::pin(by_owner(service, call, org, asks, batch)).await
    }
}

/// Decides Acquires of one org here. The error is that of all: another node owns the org, or it is another name.
async fn of_org(service: &Service, call: &Call, org: &OrgId, asks: &mut Asks) -> Answer<Vec<Decided>> {
    let decided = service.decide(org, asks, call).await;
    if let Some(Err(ServiceError::LeadsTo(org))) = decided.first() {
        return Err(ServiceError::LeadsTo(org.clone()));
    }
    if decided.iter().all(|item| matches!(item, Err(ServiceError::Moved | ServiceError::NoOwner))) {
        return Err(ServiceError::Moved);
    }
    if decided.iter().flat_map(|item| item.as_ref().err()).any(|error| error.shed_by().is_some()) {
        service.turns().hold().await;
    }
    let answers = decided.into_iter().map(|item| match item {
        Ok(decision) => Ok(answers::decision(&decision, service.node())),
        Err(error) => Err(unanswered(service, call, &error)),
    });
    Ok(answers.collect())
}

/// Decides them where the org is owned, as a batch of its own.
async fn by_owner(
    service: &Service,
    call: &Call,
    org: &OrgId,
    asks: &Asks,
    batch: &v1::AcquireBatchRequest,
) -> Answer<Vec<Decided>> {
    let count = batch.items.len();
    let forwarded = Forwarded::of(AcquireBatch::RPC, batch);
    let here = |call: Call| {
        let mut asks = asks.clone();
        async move { of_org(service, &call, org, &mut asks).await }
    };
    let read = |bytes, _| {
        let results = response::<AcquireBatch>(bytes)?.results;
        let decided: Option<Vec<Decided>> = results.into_iter().map(|result| result.result.map(Into::into)).collect();
        decided.filter(|decided| decided.len() == count).ok_or(ServiceError::Bug)
    };
    route::to_owner(service, call, org, &forwarded, here, read).await
}

/// One error for all of them.
fn shared(service: &Service, call: &Call, error: &ServiceError, count: usize) -> Vec<Decided> {
    (0..count).map(|_| Err(unanswered(service, call, error))).collect()
}

/// Counted like the error of a call, unless it is none for the caller.
fn unanswered(service: &Service, call: &Call, error: &ServiceError) -> Unanswered {
    match error {
        ServiceError::LeadsTo(org) if call.is_forwarded => Unanswered::LeadsTo(org.clone()),
        error => Unanswered::Refused(item_error(service, call, error)),
    }
}

impl From<v1::acquire_batch_result::Result> for Decided {
    fn from(result: v1::acquire_batch_result::Result) -> Self {
        match result {
            v1::acquire_batch_result::Result::Decision(decision) => Ok(decision),
            v1::acquire_batch_result::Result::Error(error) => Err(Unanswered::Refused(error)),
        }
    }
}

/// A batch of questions, each about one org.
pub(super) trait Questions: Unary {
    /// One of them.
    type Item: Scoped + Clone + Send + Sync;
    /// Its answer.
    type Answer;

    /// A batch of one.
    fn one(item: Self::Item) -> Self::Request;
    /// The answer to it.
    fn answer(response: Self::Response) -> Option<Result<Self::Answer, ItemError>>;
}

/// Asks about each item alone; answers are in the order of the items.
pub(super) async fn each<R: Questions, Fut: Future<Output = Answer<R::Answer>>>(
    service: &Service,
    call: &Call,
    items: Vec<R::Item>,
    ask: impl Fn(Call, R::Item) -> Fut,
) -> Answer<Vec<Result<R::Answer, ItemError>>> {
    let ask = &ask;
    let asked = items.into_iter().map(|mut item| async move {
        permit::item(call, &mut item)?;
        match one::<R, _>(service, call, item.clone(), ask).await {
            Err(ServiceError::LeadsTo(org)) if !call.is_forwarded => {
                let call = Call { said: OrgId::parse("org", item.org()).ok(), ..call.clone() };
                item.lead(&org);
                Box::pin(one::<R, _>(service, &call, item, ask)).await
            }
            answered => answered,
        }
    });
    let mut answered = pin!(stream::iter(asked).buffered(AT_ONCE));
    let mut results = Vec::new();
    while let Some(item) = answered.next().await {
        let item = match item {
            Ok(item) => item.map_err(Unanswered::Refused),
            Err(error) => Err(unanswered(service, call, &error)),
        };
        results.push(result(call, item)?);
    }
    Ok(results)
}

/// Asks about one item, wherever its org is.
async fn one<R: Questions, Fut: Future<Output = Answer<R::Answer>>>(
    service: &Service,
    call: &Call,
    item: R::Item,
    ask: impl Fn(Call, R::Item) -> Fut,
) -> Answer<Result<R::Answer, ItemError>> {
    match OrgId::parse("org", item.org()) {
        Ok(org) if !service.table().is_alone() => Box::pin(one_by_owner::<R, _>(service, call, &org, item, ask)).await,
        Ok(_) | Err(_) => ask(call.clone(), item).await.map(Ok),
    }
}

async fn one_by_owner<R: Questions, Fut: Future<Output = Answer<R::Answer>>>(
    service: &Service,
    call: &Call,
    org: &OrgId,
    item: R::Item,
    ask: impl Fn(Call, R::Item) -> Fut,
) -> Answer<Result<R::Answer, ItemError>> {
    let forwarded = Forwarded::of(R::RPC, &R::one(item.clone()));
    let here = |call: Call| {
        let asked = ask(call, item.clone());
        async move { asked.await.map(Ok) }
    };
    let read = |bytes, _| R::answer(response::<R>(bytes)?).ok_or(ServiceError::Bug);
    route::to_owner(service, call, org, &forwarded, here, read).await
}
