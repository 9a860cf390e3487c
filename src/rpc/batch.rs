//! Splits batches and streams by org, so that each part goes to the owner of its org. Nothing else splits.

use std::ops::Deref;

use futures_util::{Stream, StreamExt, stream};

use super::{
    Answer,
    permit::{self, Scoped},
    serve::{Owner, item_error, owner},
};
use crate::{
    service::{Ask, Call, Group, Service},
    wire::{
        answers, requests,
        v1::{self, ItemError},
    },
};

/// The most items of one batch in flight.
const AT_ONCE: usize = 64;

/// The result of one Acquire among many.
pub(super) type Decided = Result<v1::AcquireResponse, ItemError>;

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
    let (mut refused, mut positions, mut asks) = (Vec::new(), Vec::new(), Vec::new());
    for (position, item) in items.iter_mut().enumerate() {
        let permitted = permit::scoped(&call.caller, item);
        match permitted.and_then(|()| Ok(requests::acquire(item)?)) {
            Ok((org, acquire)) => {
                positions.push(position);
                asks.push(Ask { org, acquire });
            }
            Err(error) => refused.push((position, Err(item_error(&service, call, &error)))),
        }
    }
    let call = call.clone();
    let parts = Service::grouped(asks).into_iter().map(move |(org, Group { positions: members, asks })| {
        let (service, call) = (service.clone(), call.clone());
        let members: Vec<_> = members.iter().map(|member| positions[*member]).collect();
        async move {
            let decided = match owner(org.as_str()) {
                Owner::Here => service.decide(&org, asks, &call).await,
            };
            if decided.iter().flat_map(|item| item.as_ref().err()).any(|error| error.shed_by().is_some()) {
                service.turns().hold().await;
            }
            let answers = decided.into_iter().map(|item| match item {
                Ok(decision) => Ok(answers::decision(&decision, service.node())),
                Err(error) => Err(item_error(&service, &call, &error)),
            });
            stream::iter(members.into_iter().zip(answers.collect::<Vec<_>>()))
        }
    });
    let decided = parts.collect::<stream::FuturesUnordered<_>>().flatten();
    stream::iter(refused).chain(decided)
}

/// Asks about each item alone; answers are in the order of the items.
pub(super) async fn each<Item: Scoped, T, Fut: Future<Output = Answer<T>>>(
    service: &Service,
    call: &Call,
    items: Vec<Item>,
    ask: impl Fn(Item) -> Fut,
) -> Vec<Result<T, ItemError>> {
    let ask = &ask;
    let asked = items.into_iter().map(|mut item| async move {
        permit::scoped(&call.caller, &mut item)?;
        match owner(item.org()) {
            Owner::Here => ask(item).await,
        }
    });
    let answered = stream::iter(asked).buffered(AT_ONCE);
    answered.map(|item| item.map_err(|error| item_error(service, call, &error))).collect().await
}
