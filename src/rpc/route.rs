//! Which node carries a call out: this one, or the one that owns its org.
//!
//! ```text
//! owner? ─┬─ here ───────▶ carry it out ─┬▶ answer
//!         ├─ another ────▶ forward it ───┤
//!         └─ nobody ─────▶ ┐             └▶ it has moved, or its owner is gone ─▶ ┐
//!            ▲             └── wait until that changes, for as long as a takeover takes
//!            └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A call is forwarded as it came and at most one node further: who gets it and does not own the org says so. What may have
//! been carried out is sent a second time only where that does no harm.

use std::{future::Future, sync::Arc, time::Duration};

use prost::{Message, bytes::Bytes};
use tokio::time::{Instant, timeout_at};

use super::{Answer, table::Rpc};
use crate::{
    cluster::table::Owner,
    domain::{ids::OrgId, members::Node},
    error::{Relayed, ServiceError},
    peer::{Answered, Forward, NotForwarded},
    service::{Call, Service, Span},
    wire::requests,
};

/// Left for an answer without an owner.
const LEFT: Duration = Duration::from_millis(100);
/// An owner that was gone is asked again as often as this, whatever is known of it.
const AGAIN_EVERY: Duration = Duration::from_millis(100);

/// A call that its owner may be sent.
#[derive(Debug)]
pub(super) struct Forwarded {
    rpc: &'static Rpc,
    request: Bytes,
}

impl Forwarded {
    /// What this node asks for itself, or out of a batch.
    pub(super) fn of(rpc: &'static Rpc, request: &impl Message) -> Self {
        Self::as_it_came(rpc, request.encode_to_vec().into())
    }

    /// What its caller has sent.
    pub(super) fn as_it_came(rpc: &'static Rpc, request: Bytes) -> Self {
        Self { rpc, request }
    }

    /// Whether it does no harm a second time: nothing is changed by it, or it is known again by its request id.
    fn is_repeatable(&self) -> bool {
        self.rpc.access.only_reads() || requests::has_request_ids(&(self.rpc.request)(), &self.request)
    }
}

/// In metrics.
fn outcome(forwarded: &Result<Answered, NotForwarded>) -> &'static str {
    match forwarded {
        Ok(Answered { response: Ok(_), .. }) => "answered",
        Ok(Answered { response: Err(_), .. }) => "refused",
        Err(NotForwarded::WrongOwner(_)) => "moved",
        Err(NotForwarded::Gone { .. }) => "gone",
        Err(NotForwarded::TimedOut { .. }) => "timed_out",
        Err(NotForwarded::Busy { .. }) => "busy",
    }
}

/// What there is instead of an answer.
enum Missed {
    /// Nobody has done anything.
    Moved,
    Failed(ServiceError),
}

fn ownerless(call: &Call) -> Call {
    Call { is_ownerless: true, ..call.clone() }
}

/// Carries a call about `org` out `here`, where this node owns it, or hands it to the owner.
pub(super) async fn to_owner<T, Here: Future<Output = Answer<T>>>(
    service: &Service,
    call: &Call,
    org: &OrgId,
    forwarded: &Forwarded,
    here: impl Fn(Call) -> Here,
    read: impl Fn(Bytes, Arc<Node>) -> Answer<T>,
) -> Answer<T> {
    let mut changes = service.table().changes();
    let last = call.deadline.leaving_time(LEFT);
    loop {
        changes.borrow_and_update();
        let missed = match service.table().owner(org) {
            Owner::Here => match here(call.clone()).await {
                Err(ServiceError::Moved | ServiceError::NoOwner) => Missed::Moved,
                answered => return answered,
            },
            Owner::There(..) if call.is_forwarded => return Err(ServiceError::Moved),
            Owner::There(node, epoch) => {
                let Some(peers) = service.peers() else { return Err(ServiceError::Bug) };
                let span = call.span.as_ref().map(|span| span.question("forward"));
                let trace = span.as_ref().map(Span::traceparent).or(call.trace);
                let forward = Forward {
                    rpc: forwarded.rpc.name,
                    request: forwarded.request.clone(),
                    within: call.deadline.left(),
                    epoch: Some(epoch),
                    caller: call.caller.clone(),
                    said: call.said.clone(),
                    traceparent: trace.map(|trace| trace.to_string()),
                };
                let began = Instant::now();
                let forwarded_to = peers.forward(&(&*node).into(), forward).await;
                service.metrics().forwarded(outcome(&forwarded_to), began.elapsed());
                if let Some(span) = span {
                    span.says("tollgate.owner", node.id.name.to_string());
                    span.says("tollgate.outcome", outcome(&forwarded_to));
                }
                match forwarded_to {
                    Ok(answered) => {
                        return match answered.response {
                            Ok(response) => read(response, node),
                            Err(Relayed { leads_to: Some(org), .. }) => Err(ServiceError::LeadsTo(org)),
                            Err(error) => Err(ServiceError::Relayed(Box::new(error))),
                        };
                    }
                    Err(NotForwarded::WrongOwner(_)) => Missed::Moved,
                    Err(gone @ NotForwarded::Gone { .. }) if !gone.is_sent() || forwarded.is_repeatable() => {
                        Missed::Failed(gone.into())
                    }
                    Err(_) if forwarded.rpc.always => return here(ownerless(call)).await,
                    Err(error) => return Err(error.into()),
                }
            }
            Owner::Nobody => Missed::Moved,
        };
        let patience = Duration::from_millis(service.table().patience(org));
        let until = last.min(Instant::now() + patience);
        if Instant::now() >= until {
            return match missed {
                // Without an owner the same gates judge what is known without the org's state.
                Missed::Moved => here(ownerless(call)).await,
                Missed::Failed(_) if forwarded.rpc.always => here(ownerless(call)).await,
                Missed::Failed(error) => Err(error),
            };
        }
        let _ = timeout_at(until.min(Instant::now() + AGAIN_EVERY), changes.changed()).await;
    }
}
