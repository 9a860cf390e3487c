//! Questions under way, one line of them per org. Everybody who wants to know the same waits for one
//! question; a question that no longer counts hands those who wait to the next one.

use std::{collections::HashMap, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use ractor::ActorRef;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    super::spacing::Spacing,
    Core,
    check::{Ended, Msg},
    under_way::UnderWay,
};
use crate::{
    domain::{balance::BalanceVerdict, gate::Cause, ids::OrgId},
    ports::{BillingProvider, Freshness},
};

/// Provider calls end within the provider's own budget. One that does not is given up after this
/// long, so that it holds its place no longer.
const GIVEN_UP: Duration = Duration::from_secs(30);
/// Questions of one org at once: one that counts, and one that no longer does.
const PER_ORG: u32 = 2;

/// What the provider is asked about an org.
pub(super) trait Question: Sized + 'static {
    type Answer: Copy + Send + 'static;

    fn put<'a>(provider: &'a dyn BillingProvider, org: &'a OrgId, freshness: Freshness) -> BoxFuture<'a, Self::Answer>;
    fn unanswered(cause: Cause) -> Self::Answer;
    fn count(core: &Core, answer: &Self::Answer);
    fn under_way(core: &Core) -> &UnderWay;
    fn spacing(core: &Core) -> &Spacing;
    /// Whether it is an answer, or why it is none.
    fn answered(answer: &Self::Answer) -> Result<(), Cause>;
    /// Writes the answer down, if it is one. The question began at `began`.
    fn remember(core: &Core, org: &OrgId, answer: Self::Answer, began: Instant);
    fn ended(ended: Ended<Self>) -> Msg;
}

/// Whether the org's balance lets it execute.
#[derive(Debug)]
pub(super) struct Balance;

impl Question for Balance {
    type Answer = BalanceVerdict;

    fn put<'a>(
        provider: &'a dyn BillingProvider,
        org: &'a OrgId,
        freshness: Freshness,
    ) -> BoxFuture<'a, BalanceVerdict> {
        provider.check(org, freshness)
    }

    fn unanswered(cause: Cause) -> BalanceVerdict {
        BalanceVerdict::Unknown(cause)
    }

    fn count(core: &Core, answer: &BalanceVerdict) {
        core.counters.balance(answer);
    }

    fn under_way(core: &Core) -> &UnderWay {
        &core.memory.under_way
    }

    fn spacing(core: &Core) -> &Spacing {
        &core.memory.spacing
    }

    fn answered(answer: &BalanceVerdict) -> Result<(), Cause> {
        match answer {
            BalanceVerdict::Allowed(_) | BalanceVerdict::Denied(..) => Ok(()),
            BalanceVerdict::Unknown(cause) => Err(*cause),
        }
    }

    fn remember(core: &Core, org: &OrgId, answer: BalanceVerdict, began: Instant) {
        core.memory.remember(org, answer, began);
    }

    fn ended(ended: Ended<Self>) -> Msg {
        Msg::BalanceEnded(ended)
    }
}

/// Whether the org pays.
#[derive(Debug)]
pub(super) struct Pays;

impl Question for Pays {
    type Answer = Result<bool, Cause>;

    fn put<'a>(provider: &'a dyn BillingProvider, org: &'a OrgId, _: Freshness) -> BoxFuture<'a, Self::Answer> {
        provider.pays(org)
    }

    fn unanswered(cause: Cause) -> Self::Answer {
        Err(cause)
    }

    fn count(core: &Core, answer: &Self::Answer) {
        core.counters.exemption(answer.is_ok());
    }

    fn under_way(core: &Core) -> &UnderWay {
        &core.payers.under_way
    }

    fn spacing(core: &Core) -> &Spacing {
        &core.payers.spacing
    }

    fn answered(answer: &Self::Answer) -> Result<(), Cause> {
        answer.map(|_| ())
    }

    fn remember(core: &Core, org: &OrgId, answer: Self::Answer, _: Instant) {
        if let Ok(pays) = answer {
            core.payers.remember(org, pays);
        }
    }

    fn ended(ended: Ended<Self>) -> Msg {
        Msg::PaysEnded(ended)
    }
}

#[derive(Debug)]
pub(super) struct Flights<Q: Question> {
    flights: HashMap<OrgId, Flight<Q::Answer>>,
    question: PhantomData<Q>,
}

/// The question about one org.
#[derive(Debug)]
struct Flight<A> {
    /// The one that counts; `None` where it was forgotten and the next has not begun.
    number: Option<u64>,
    freshness: Freshness,
    waiters: Vec<oneshot::Sender<A>>,
    /// Provider calls that have not ended, those included that no longer count.
    running: u32,
    /// A denial is to be polled.
    poll: bool,
}

impl<A> Flight<A> {
    fn new() -> Self {
        Self { number: None, freshness: Freshness::Cached, waiters: Vec::new(), running: 0, poll: false }
    }

    fn add(&mut self, waiter: oneshot::Sender<A>) {
        if self.waiters.len() == self.waiters.capacity() {
            // Who has gone makes room, before more room is taken.
            self.waiters.retain(|waiter| !waiter.is_closed());
            self.waiters.reserve(self.waiters.len().max(4));
        }
        self.waiters.push(waiter);
    }
}

/// What the end of a question means for its org.
#[derive(Debug)]
pub(super) struct Settled {
    /// The org is to be polled if it is denied.
    pub(super) poll: bool,
}

impl<Q: Question> Flights<Q> {
    pub(super) fn new() -> Self {
        Self { flights: HashMap::new(), question: PhantomData }
    }

    /// Joins the question under way if it counts and is as fresh as wanted; begins one otherwise, unless the
    /// last ones failed and a fresh answer is not what is wanted. True if one began.
    pub(super) fn join(
        &mut self,
        desk: &Desk<'_>,
        org: &OrgId,
        freshness: Freshness,
        waiter: Option<oneshot::Sender<Q::Answer>>,
    ) -> bool {
        let flight = self.flights.entry(org.clone()).or_insert_with(Flight::new);
        if let Some(waiter) = waiter {
            flight.add(waiter);
        }
        let counts = flight.number.is_some_and(|number| Q::under_way(desk.core).counts(org, number));
        let serves = counts && (freshness == Freshness::Cached || flight.freshness == Freshness::Fresh);
        if serves {
            return false;
        }
        let held = Q::spacing(desk.core).held(org).filter(|_| freshness == Freshness::Cached);
        let Some(held) = held else { return self.begin(desk, org, freshness) };
        flight.number = None;
        answer_all(flight, Q::unanswered(held.cause));
        self.leave(desk, org);
        false
    }

    /// A denial of this org is to be polled, once there is a word.
    pub(super) fn poll(&mut self, org: &OrgId) {
        if let Some(flight) = self.flights.get_mut(org) {
            flight.poll = true;
        }
    }

    /// What was under way no longer counts: those who wait are handed to a new question.
    pub(super) fn forgotten(&mut self, desk: &Desk<'_>, org: &OrgId) {
        let Some(flight) = self.flights.get_mut(org) else { return };
        if flight.number.is_some_and(|number| !Q::under_way(desk.core).counts(org, number)) {
            flight.number = None;
            self.hand_over(desk, org);
        }
    }

    /// A provider call has ended. `None` if its answer no longer counts.
    pub(super) fn ended(&mut self, desk: &Desk<'_>, ended: &Ended<Q>) -> Option<Settled> {
        Q::count(desk.core, &ended.answer);
        let Ended { org, number, began, answer } = ended;
        Q::spacing(desk.core).ended(org, *began, Q::answered(answer));
        let flight = self.flights.get_mut(org)?;
        flight.running = flight.running.saturating_sub(1);
        let mut settled = None;
        if flight.number == Some(*number) {
            flight.number = None;
            let write = || Q::remember(desk.core, org, *answer, *began);
            if Q::under_way(desk.core).settle(org, *number, write) {
                settled = Some(Settled { poll: std::mem::take(&mut flight.poll) });
                answer_all(flight, *answer);
            }
        }
        if flight.number.is_none() {
            self.hand_over(desk, org);
        }
        settled
    }

    fn hand_over(&mut self, desk: &Desk<'_>, org: &OrgId) {
        let Some(flight) = self.flights.get_mut(org) else { return };
        flight.waiters.retain(|waiter| !waiter.is_closed());
        if flight.waiters.is_empty() && !flight.poll {
            self.leave(desk, org);
        } else {
            self.begin(desk, org, Freshness::Fresh);
        }
    }

    fn begin(&mut self, desk: &Desk<'_>, org: &OrgId, freshness: Freshness) -> bool {
        let Some(flight) = self.flights.get_mut(org) else { return false };
        if flight.running >= PER_ORG {
            // The next that ends makes room.
            flight.number = None;
            return false;
        }
        let Ok(place) = desk.core.questions.clone().try_acquire_owned() else {
            desk.core.counters.shed();
            flight.number = None;
            flight.poll = false;
            answer_all(flight, Q::unanswered(Cause::Overloaded));
            self.leave(desk, org);
            return false;
        };
        let (number, began) = (Q::under_way(desk.core).begin(org), Instant::now());
        flight.number = Some(number);
        flight.freshness = freshness;
        flight.running += 1;
        let (core, me, org) = (desk.core.clone(), desk.me.clone(), org.clone());
        tokio::spawn(async move {
            let put = async { timeout(GIVEN_UP, Q::put(&*core.provider, &org, freshness)).await };
            let answer = match AssertUnwindSafe(put).catch_unwind().await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Q::unanswered(Cause::Timeout),
                Err(_) => {
                    tracing::error!(%org, "the billing provider panicked");
                    Q::unanswered(Cause::ProviderError)
                }
            };
            drop(place);
            // Without the actor nobody waits for it any more.
            let _ = me.cast(Q::ended(Ended { org, number, began, answer }));
        });
        true
    }

    /// Takes the org's line away when nothing runs and nobody waits; then nothing of it counts either.
    fn leave(&mut self, desk: &Desk<'_>, org: &OrgId) {
        if self.flights.get(org).is_some_and(|flight| flight.running == 0 && flight.waiters.is_empty()) {
            self.flights.remove(org);
            Q::under_way(desk.core).forget(org, || ());
        }
    }
}

fn answer_all<A: Copy>(flight: &mut Flight<A>, answer: A) {
    for waiter in flight.waiters.drain(..) {
        let _ = waiter.send(answer);
    }
}

/// What a question is asked with.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) me: &'a ActorRef<Msg>,
}
