//! One call that another node has handed on: found in the table by its name, judged and served as the own front would.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use prost::bytes::Bytes;
use tokio_util::task::TaskTracker;
use tonic::Code;
use tracing::Instrument;

use super::{Answering, Serving};
use crate::{
    auth::Principal,
    domain::{ids::OrgId, shard::Epoch, trace::Traceparent},
    error::ServiceError,
    peer::{self, Owns},
    rpc::{
        self,
        table::{Orgs, Reader, Streamed, UnaryRpc, Watched},
    },
    turns::Arrived,
    wire::{
        peer::v1::{Call, Error, WrongOwner, answer::Outcome},
        status,
    },
};

/// Begins a call; its answer leaves by itself.
pub(super) fn begin(serving: &Serving, call: Call, caller: Arc<Principal>, answering: Answering, calls: &TaskTracker) {
    rpc::table::read(Forwarded { serving, call, caller, answering, calls });
}

/// A caller that this node cannot judge.
pub(super) fn unknown_caller(why: &str) -> Error {
    let why = format!("the node that owns this org does not understand who calls: are all nodes of one version? {why}");
    own_error(Code::Internal, "INTERNAL", why)
}

/// What no front would say: nodes of different versions do not understand each other.
fn own_error(code: Code, reason: &str, message: String) -> Error {
    let details = status::details(code, reason, &message);
    Error { code: code as i32, reason: reason.to_owned(), message, details, leads_to: String::new() }
}

/// A call whose rpc is to be found.
struct Forwarded<'a> {
    serving: &'a Serving,
    call: Call,
    caller: Arc<Principal>,
    answering: Answering,
    calls: &'a TaskTracker,
}

impl Forwarded<'_> {
    fn refused(self, error: Error) {
        drop(self.calls.spawn(self.answering.send(Outcome::Error(error))));
    }
}

impl Reader for Forwarded<'_> {
    type Answer = ();

    fn name(&self) -> &str {
        &self.call.rpc
    }

    fn unary(self, row: UnaryRpc) {
        let Serving { service, owns, .. } = self.serving;
        if let Err(error) = rpc::permit_rpc(service, row.rpc, &self.caller) {
            return self.refused(status::to_peer(&error));
        }
        let arrived = service.turns().arrive([None, self.caller.worked_on().cloned()]);
        let span = self.call.traceparent.as_deref();
        let span = span.map(|traceparent| tracing::info_span!("forwarded", rpc = row.rpc.method, traceparent));
        let of_call = OfCall { row, serving: self.serving.clone(), call: self.call, caller: self.caller, arrived };
        let owns = owns.clone();
        let answered = of_call.answer(owns, self.answering);
        drop(match span {
            Some(span) => self.calls.spawn(answered.instrument(span)),
            None => self.calls.spawn(answered),
        });
    }

    fn stream<R: Streamed>(self) {
        let why = format!("{} is a stream: its items cross between nodes, as unary calls", R::RPC.name);
        self.refused(own_error(Code::Unimplemented, "INTERNAL", why));
    }

    fn watch<R: Watched>(self) {
        let why = format!("{} is a stream: what it reads crosses between nodes, as unary calls", R::RPC.name);
        self.refused(own_error(Code::Unimplemented, "INTERNAL", why));
    }

    fn unknown(self) {
        let why = format!("the node that owns this org has no rpc {:?}: are all nodes of one version?", self.call.rpc);
        self.refused(own_error(Code::Unimplemented, "INTERNAL", why));
    }
}

/// A call on its way.
struct OfCall {
    row: UnaryRpc,
    serving: Serving,
    call: Call,
    caller: Arc<Principal>,
    arrived: Arrived,
}

impl OfCall {
    async fn answer(self, owns: Arc<dyn Owns>, mut answering: Answering) {
        let (service, longest) = (self.serving.service.clone(), self.serving.options.response_bytes);
        let rpc = self.row.rpc;
        // A defect here is an answer, as everywhere: whoever waits for it would wait for as long as it may.
        let served = AssertUnwindSafe(self.serve(&*owns)).catch_unwind().await;
        let outcome = served.unwrap_or_else(|_| Err(Refused::Error(ServiceError::Bug)));
        let outcome = match outcome {
            Ok(response) if response.len() > longest => {
                let why =
                    format!("the response has more than the {longest} bytes that cross between nodes: ask for less");
                Outcome::Error(own_error(Code::ResourceExhausted, "INTERNAL", why))
            }
            Ok(response) => Outcome::Response(response),
            Err(Refused::WrongOwner(wrong)) => {
                Outcome::WrongOwner(WrongOwner { epoch: wrong.epoch.map(|Epoch(epoch)| epoch) })
            }
            Err(Refused::Malformed(why)) => {
                let why = format!("the request is not the message that this rpc takes: {why}");
                Outcome::Error(own_error(Code::InvalidArgument, "INVALID_FIELD", why))
            }
            Err(Refused::Error(error)) => {
                if !rpc.settles && error.shed_by().is_some() {
                    answering.free_place();
                    Box::pin(service.turns().hold()).await;
                }
                Outcome::Error(status::to_peer(&error))
            }
        };
        answering.send(outcome).await;
    }

    async fn serve(self, owns: &dyn Owns) -> Result<Bytes, Refused> {
        let Self { row, serving: super::Serving { service, .. }, call, caller, arrived } = self;
        let waited = rpc::turn(&service, row.rpc, &arrived)?;
        let within = Duration::from_millis(call.within_ms.into());
        let Some(left) = within.checked_sub(waited).filter(|left| !left.is_zero()) else {
            // Its caller waits no more.
            return Err(ServiceError::TimedOut.into());
        };
        let request = row.decode(&call.request).map_err(|error| Refused::Malformed(error.to_string()))?;
        let epoch = call.epoch.map(Epoch);
        match request.orgs() {
            Orgs::None => {}
            Orgs::One(org) => owns.owns(org, epoch)?,
            Orgs::Each(orgs) => orgs.into_iter().try_for_each(|org| owns.owns(org, epoch))?,
        }
        let trace = call.traceparent.as_deref().and_then(Traceparent::parse);
        let said = OrgId::parse("said", &call.said).ok();
        let serving = pin!(rpc::serve_forwarded(&service, caller, left, (trace, said), request));
        Ok(arrived.served(serving).await?)
    }
}

/// Why a call was not carried out.
enum Refused {
    Error(ServiceError),
    Malformed(String),
    WrongOwner(peer::WrongOwner),
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        Self::Error(error)
    }
}

impl From<peer::WrongOwner> for Refused {
    fn from(wrong: peer::WrongOwner) -> Self {
        Self::WrongOwner(wrong)
    }
}
