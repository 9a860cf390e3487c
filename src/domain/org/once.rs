//! A call is carried out once for each request id, and answered again as before.

use super::{Context, OrgState};
use crate::domain::{
    outcome::{Done, Entry, Outcome, Remembered},
    promise::Promise,
    refusal::OrgError,
    request::{Idempotency, Rpc},
};

impl OrgState {
    /// Carries a call out once for each request id: an id that is known is answered as before, whatever
    /// has changed since, and what is refused changes nothing.
    pub(super) fn once<T: Remembered>(
        &mut self,
        rpc: Rpc,
        idempotency: Option<&Idempotency>,
        ctx: &Context<'_>,
        act: impl FnOnce(&mut Self) -> Result<T, OrgError>,
    ) -> Result<Done<T>, OrgError> {
        let act = |org: &mut Self| act(org).map(|outcome| (outcome, ()));
        self.once_showing(rpc, idempotency, ctx, act).map(|(done, _)| done)
    }

    /// The same, with what is shown beside the outcome and not remembered with it: a replay has none.
    pub(super) fn once_showing<T: Remembered, V>(
        &mut self,
        rpc: Rpc,
        idempotency: Option<&Idempotency>,
        ctx: &Context<'_>,
        act: impl FnOnce(&mut Self) -> Result<(T, V), OrgError>,
    ) -> Result<(Done<T>, Option<V>), OrgError> {
        let promise = rpc.promise();
        if let Some(outcome) = self.recall(rpc, idempotency, promise)? {
            return Ok((Done { outcome, replayed: true }, None));
        }
        self.make_room(idempotency, promise, ctx)?;
        let (outcome, view) = act(self)?;
        self.note(rpc, idempotency, outcome.clone());
        Ok((Done { outcome, replayed: false }, Some(view)))
    }

    /// What the id was answered before. An outcome of another kind of call is a damaged memory: the id is
    /// refused, and nothing is carried out a second time.
    pub(super) fn recall<T: Remembered>(
        &self,
        rpc: Rpc,
        idempotency: Option<&Idempotency>,
        promise: Promise,
    ) -> Result<Option<T>, OrgError> {
        let known = self.journal.recall(rpc, idempotency, promise == Promise::Durable, self.now)?;
        known.map(|outcome| T::of(outcome).ok_or(OrgError::RequestIdReused)).transpose()
    }

    /// Room to remember one more id, of a call whose reply has this promise.
    pub(super) fn make_room(
        &mut self,
        idempotency: Option<&Idempotency>,
        promise: Promise,
        ctx: &Context<'_>,
    ) -> Result<(), OrgError> {
        match idempotency {
            None => Ok(()),
            Some(asked) if promise == Promise::Durable => self.journal.check_durable(&asked.id, self.now),
            Some(_) => self.journal.make_room(ctx.bounds.request_ids_per_org, self.now),
        }
    }

    /// Remembers an outcome with the next commit: for a day where its reply was promised durable.
    pub(super) fn note(&mut self, rpc: Rpc, idempotency: Option<&Idempotency>, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        let long = outcome.promise() == Promise::Durable;
        self.changed = true;
        // What ended twice, first by its Commit, ended at two times.
        let before = outcome.settlement().and_then(|(id, _)| self.journal.settled(id, self.now));
        let at = before.map_or(self.now, |before| self.now.max(before.at.saturating_add(1)));
        let charge = self.charge_of_settled.take();
        let entry = Entry { at, rpc, idempotency: idempotency.cloned(), long, outcome, charge };
        self.journal.note(entry, self.writes + 1);
    }
}
