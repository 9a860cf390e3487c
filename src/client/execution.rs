//! One execution from its admission to its completion, and what happens to its reservation when nobody completes it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Core,
    ask::{Question, amount},
    call::{Unary, within},
    clock,
    decision::{Admission, millis},
    error::{Error, Refused},
    events::add,
    ids,
    settle::{Settlement, refusal},
};
use crate::wire::v1::{Amount, CommitRequest, ExtendRequest, RecordRequest, ReleaseRequest};

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    asked: Question,
    /// `None` = it runs without a decision.
    admission: Option<Admission>,
    used: Mutex<BTreeMap<String, u64>>,
    has_failed: AtomicBool,
}

/// An execution that runs: a view of it that is cheap to clone, for the code that does the work.
#[derive(Debug, Clone)]
pub struct Execution {
    shared: Arc<Shared>,
}

impl Execution {
    pub(super) fn new(core: Arc<Core>, asked: Question, admission: Option<Admission>) -> Self {
        let (used, has_failed) = Default::default();
        Self { shared: Arc::new(Shared { core, asked, admission, used, has_failed }) }
    }

    /// The id under which it was asked for.
    pub fn request_id(&self) -> &str {
        &self.shared.asked.request.request_id
    }

    /// What the node said; `None` where nobody decided and it runs by [`OnUnavailable::Open`](super::OnUnavailable::Open).
    pub fn admission(&self) -> Option<&Admission> {
        self.shared.admission.as_ref()
    }

    /// Adds to what it has used, in the meter's unit. An execution that succeeds and reports nothing has used what it
    /// reserved; once anything is reported, also 0, a reserved meter of which nothing is reported is given back.
    pub fn used(&self, meter: impl Into<String>, amount: u64) {
        let mut used = self.shared.used.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = used.entry(meter.into()).or_default();
        *sum = sum.saturating_add(amount);
    }

    /// It has failed for good, whatever its code answers: nobody asks for it again under its id
    /// ([`Ask::request_id`](super::Ask::request_id)), and its reservation is settled.
    pub fn failed(&self) {
        self.shared.has_failed.store(true, Relaxed);
    }

    /// Lets the reservation hold for `ttl` from now on; answers for how long it holds.
    ///
    /// # Errors
    /// Where the node did not answer, or the reservation has ended. Without a reservation nothing is asked, and it holds for
    /// no time.
    pub async fn extend(&self, ttl: Duration) -> Result<Duration, Error> {
        let Shared { core, asked, admission, .. } = &*self.shared;
        let Some(reservation) = admission.as_ref().and_then(Admission::reservation_id) else {
            return Ok(Duration::ZERO);
        };
        let request = ExtendRequest {
            org: asked.request.org.clone(),
            reservation_id: reservation.to_owned(),
            request_id: ids::request_id(),
            ttl_ms: i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX),
        };
        let extend = Unary(move |time| {
            let (mut gate, request) = (core.link.gate(), within(&request, time));
            async move { gate.extend(request).await }
        });
        Ok(millis(core.call(extend).await?.remaining_ms))
    }

    fn reported(&self) -> BTreeMap<String, u64> {
        self.shared.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What tells the node how it ended; `None` where there is nothing to say.
    fn settlement(&self, has_succeeded: bool) -> Option<Settlement> {
        let Shared { asked: Question { request, has_own_id }, admission, has_failed, .. } = &*self.shared;
        let has_failed = has_failed.load(Relaxed);
        let has_succeeded = has_succeeded && !has_failed;
        let used = self.reported();
        let has_used = !used.is_empty();
        if *has_own_id && !has_succeeded && !has_failed {
            // The one that ends it settles the reservation.
            return has_used.then(|| self.record(used, ids::request_id()));
        }
        // An execution may last longer than the id of its Acquire is remembered, unless that names the same work for good.
        let request_id = if *has_own_id { request.request_id.clone() } else { ids::request_id() };
        if let Some(reservation) = admission.as_ref().and_then(Admission::reservation_id) {
            let (org, reservation_id) = (request.org.clone(), reservation.to_owned());
            if !has_succeeded && !has_used {
                return Some(Settlement::Release(ReleaseRequest { org, reservation_id, request_id }));
            }
            let actual = if has_used { amounts(used) } else { request.reserve.clone() };
            return Some(Settlement::Commit(CommitRequest { org, reservation_id, request_id, actual }));
        }
        let is_completed = has_succeeded && admission.is_some();
        (is_completed || has_used).then(|| self.record(used, request_id))
    }

    fn record(&self, used: BTreeMap<String, u64>, request_id: String) -> Settlement {
        let Shared { asked: Question { request, .. }, admission, .. } = &*self.shared;
        // What nobody decided on is recorded when the node answers again, and counts in the windows it happened in. Under an
        // id of the caller's a repetition says the same.
        let is_dated = admission.is_none() && request_id != request.request_id;
        Settlement::Record(RecordRequest {
            org: request.org.clone(),
            scopes: request.scopes.clone(),
            usage: amounts(used),
            request_id,
            occurred_at_ms: if is_dated { i64::try_from(clock::wall_ms()).unwrap_or_default() } else { 0 },
            decision_id: admission.as_ref().map(|admission| admission.id().to_owned()).unwrap_or_default(),
            ..RecordRequest::default()
        })
    }
}

fn amounts(used: BTreeMap<String, u64>) -> Vec<Amount> {
    used.into_iter().map(|(meter, used)| amount(meter, used)).collect()
}

/// An execution that may run, and that whoever holds this completes.
///
/// Dropped without having been completed, by a panic or because its task was cancelled, it has failed: what it reported as
/// used is committed, and where it reported nothing its reservation is released; under an id of the caller's it may be tried
/// again ([`Ask::request_id`](super::Ask::request_id)). Rust has no asynchronous destructor, so
/// that is handed to a task of the client. The reservation is held until its time is over where that task cannot send it
/// any more: the process was killed, or the runtime ended before [`Client::close`](super::Client::close) had returned.
#[derive(Debug)]
pub struct Admitted {
    execution: Execution,
    is_over: bool,
}

/// What became of the completion of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The node has taken it.
    Done,
    /// The node has not answered: the client goes on sending it, under the same request id.
    Waiting,
    /// There was nothing to say.
    Nothing,
    /// The node refused it. It is announced as [`Event::Lost`](super::Event::Lost) as well.
    Refused(Refused),
}

impl Admitted {
    pub(super) fn new(execution: Execution) -> Self {
        Self { execution, is_over: false }
    }

    /// The view of it for the code that does the work.
    pub fn execution(&self) -> &Execution {
        &self.execution
    }

    /// The execution has succeeded: settles the reservation with what was used, or says that the execution has ended. Waits
    /// for the node for as long as a call may take.
    pub async fn complete(self) -> Settled {
        self.settle(true).await
    }

    /// The execution did not happen, or has failed: commits what it reported as used, and releases the reservation where it
    /// reported nothing. Under an id of the caller's it may be tried again
    /// ([`Ask::request_id`](super::Ask::request_id)).
    pub async fn fail(self) -> Settled {
        self.settle(false).await
    }

    /// Leaves the completion to somebody else, who has the id of the reservation ([`Admission::reservation_id`]), such as
    /// the process that continues a paused execution. What was reported as used so far is theirs to settle as well: nothing
    /// is sent from here.
    pub fn hand_over(mut self) -> Option<Admission> {
        self.is_over = true;
        self.execution.shared.admission.clone()
    }

    async fn settle(mut self, has_succeeded: bool) -> Settled {
        self.is_over = true;
        let Some(settlement) = self.execution.settlement(has_succeeded) else { return Settled::Nothing };
        let core = &self.execution.shared.core;
        let mut unsent = Unsent { core, settlement: Some(settlement.clone()) };
        if self.execution.shared.admission.is_none() {
            // Nobody answered a moment ago.
            return Settled::Waiting;
        }
        let sent = core.call(Settling { core, settlement: &settlement }).await;
        match sent {
            Ok(()) => {
                unsent.settlement = None;
                add(&core.watch.counters.settled);
                Settled::Done
            }
            Err(Error::NoDecision(_)) => Settled::Waiting,
            Err(error) => {
                unsent.settlement = None;
                core.watch.happened(&settlement.lost(refusal(&error)));
                match error {
                    Error::Refused(refused) => Settled::Refused(refused),
                    Error::NoDecision(_) => Settled::Waiting,
                }
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(settlement) = self.execution.settlement(false) {
            self.execution.shared.core.settler.push(settlement);
        }
    }
}

/// Handed to the task of the client unless the node has taken it, also where nobody waits any more.
struct Unsent<'a> {
    core: &'a Core,
    settlement: Option<Settlement>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            self.core.settler.push(settlement);
        }
    }
}

/// A settlement as a call.
struct Settling<'a> {
    core: &'a Core,
    settlement: &'a Settlement,
}

impl super::call::Attempts for Settling<'_> {
    type Answer = ();

    fn send(&mut self, within: Duration) -> impl Future<Output = Result<(), super::error::Fault>> + Send {
        self.settlement.send(&self.core.link, within)
    }
}
