//! What happens after admission: reservations end, executions go on, usage is booked. What really
//! happened always books, also past a limit and past the ledgers that admission may open.

use super::{Baseline, Context, Execution, OrgState};
use crate::{
    bounds::{AMOUNT_MAX, EXECUTION_RETENTION_MS, SETTLEMENT_LEDGERS},
    domain::{
        command::ReportCumulative,
        ids::{Amounts, DecisionId, ExecutionId, Meter, Scope, Source},
        journal::Recall,
        outcome::{Outcome, Settlement},
        refusal::OrgError,
        reply::Reply,
        request::{Idempotency, Rpc},
        rows::DisputedRow,
        window::Millis,
    },
};

/// Disputed entries kept per org; past it a report is refused, because none may be dropped.
const DISPUTED_MAX: usize = 1000;

impl OrgState {
    /// Commit and Release: what was held is given back, what was used is booked.
    pub(super) fn settle(
        &mut self,
        rpc: Rpc,
        reservation: DecisionId,
        actual: &Amounts,
        idempotency: &Idempotency,
        ctx: &Context<'_>,
    ) -> Result<Reply, OrgError> {
        if let Recall::Replay(_) = self.journal.recall(rpc, Some(idempotency), self.now)? {
            return Ok(Reply::Settled { replayed: true });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        let scope = self.reservation_scope(reservation)?;
        self.check_settlement(&scope, actual.iter().map(|(meter, _)| meter), ctx)?;
        self.book.settle(reservation);
        self.book(&scope, actual, ctx);
        let how = if rpc == Rpc::Commit {
            self.complete(&scope, reservation, ctx);
            self.export(&scope, actual, Rpc::Commit, idempotency.id.as_str(), ctx);
            Settlement::Committed
        } else {
            self.abandon(reservation);
            Settlement::Released
        };
        self.note(rpc, Some(idempotency), true, Outcome::Settled { reservation, how });
        Ok(Reply::Settled { replayed: false })
    }

    /// Admission has stopped to open ledgers long before settlement is refused one; what is refused
    /// has changed nothing and can be booked under the org itself.
    pub(super) fn check_settlement<'m>(
        &self,
        scope: &Scope,
        meters: impl Iterator<Item = &'m Meter>,
        ctx: &Context<'_>,
    ) -> Result<(), OrgError> {
        let most = SETTLEMENT_LEDGERS * ctx.bounds.ledgers_per_org as usize;
        self.check_ledgers(scope, meters, most, ctx)
    }

    /// The slice of a session is no reservation of a caller's: the session settles it.
    fn reservation_scope(&self, reservation: DecisionId) -> Result<Scope, OrgError> {
        let scope = self.book.reservation_scope(reservation).filter(|_| !self.sessions.began_with(reservation));
        scope.ok_or_else(|| self.unknown(reservation))
    }

    pub(super) fn unknown(&self, reservation: DecisionId) -> OrgError {
        self.journal.settlement(reservation).map_or(OrgError::ReservationNotFound, OrgError::ReservationSettled)
    }

    pub(super) fn extend(
        &mut self,
        reservation: DecisionId,
        ttl: Millis,
        idempotency: &Idempotency,
        ctx: &Context<'_>,
    ) -> Result<Reply, OrgError> {
        if let Recall::Replay(Outcome::Extended { expires_at }) =
            self.journal.recall(Rpc::Extend, Some(idempotency), self.now)?
        {
            return Ok(Reply::Extended { expires_at, replayed: true });
        }
        self.check_ttl(ttl, ctx)?;
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        self.reservation_scope(reservation)?;
        let wanted = self.now.saturating_add(ttl);
        let expires_at = self.book.extend(reservation, wanted).ok_or_else(|| self.unknown(reservation))?;
        self.note(Rpc::Extend, Some(idempotency), true, Outcome::Extended { expires_at });
        Ok(Reply::Extended { expires_at, replayed: false })
    }

    /// Never refused: what can not be counted goes on uncounted.
    pub(super) fn resume(&mut self, id: &ExecutionId, idempotency: Option<&Idempotency>, ctx: &Context<'_>) -> Reply {
        let uncounted = Reply::Resumed { continuations: 0, replayed: false };
        match self.journal.recall(Rpc::Resume, idempotency, self.now) {
            Ok(Recall::Replay(Outcome::Resumed { continuations })) => {
                return Reply::Resumed { continuations, replayed: true };
            }
            Ok(_) => {}
            Err(_) => return uncounted,
        }
        if idempotency.is_some() && self.journal.make_room(ctx.bounds.request_ids_per_org, self.now).is_err() {
            return uncounted;
        }
        let Some(continuations) = self.remember_execution(id, 1, ctx) else { return uncounted };
        self.note(Rpc::Resume, idempotency, false, Outcome::Resumed { continuations });
        Reply::Resumed { continuations, replayed: false }
    }

    /// Adds continuations to an execution; 0 says that it was admitted. `None` = no room.
    pub(super) fn remember_execution(
        &mut self,
        id: &ExecutionId,
        continuations: u64,
        ctx: &Context<'_>,
    ) -> Option<u64> {
        let mut execution = self.execution(id, ctx)?;
        execution.continuations = execution.continuations.saturating_add(continuations);
        execution.last_seen = self.now;
        execution.admitted |= continuations == 0;
        let counted = execution.continuations;
        self.put_execution(id.clone(), execution);
        self.changed = true;
        Some(counted)
    }

    pub(super) fn put_execution(&mut self, id: ExecutionId, execution: Execution) {
        self.executions_from.get_or_insert(execution.last_seen);
        self.executions.put(id, execution);
    }

    /// The execution as it is known, or a new one where there is room for it.
    pub(super) fn execution(&mut self, id: &ExecutionId, ctx: &Context<'_>) -> Option<Execution> {
        if let Some(known) = self.executions.get(id) {
            return Some(known.clone());
        }
        let full = |state: &Self| state.executions.len() >= ctx.bounds.executions_per_org as usize;
        // Looked for only where there is one to find: all of them are looked at.
        let runs_out = self.executions_from.map(|from| from.saturating_add(EXECUTION_RETENTION_MS));
        if full(self) && runs_out.is_some_and(|at| at <= self.now) {
            self.purge_executions();
        }
        (!full(self)).then(Execution::default)
    }

    pub(super) fn record(
        &mut self,
        scope: &Scope,
        usage: &Amounts,
        decision: Option<DecisionId>,
        idempotency: &Idempotency,
        ctx: &Context<'_>,
    ) -> Result<Reply, OrgError> {
        if let Recall::Replay(_) = self.journal.recall(Rpc::Record, Some(idempotency), self.now)? {
            return Ok(Reply::Recorded { replayed: true });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        self.check_settlement(scope, usage.iter().map(|(meter, _)| meter), ctx)?;
        self.book(scope, usage, ctx);
        if let Some(decision) = decision {
            self.complete(scope, decision, ctx);
        }
        self.export(scope, usage, Rpc::Record, idempotency.id.as_str(), ctx);
        self.note(Rpc::Record, Some(idempotency), true, Outcome::Recorded);
        Ok(Reply::Recorded { replayed: false })
    }

    /// R-BUD-5: the increment is the total minus the last total; a lower total or a new incarnation
    /// is a reset and counts whole; 0 is no update; what lies above the believable is disputed.
    pub(super) fn report(&mut self, report: &ReportCumulative, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        let idempotency = &report.idempotency;
        if let Recall::Replay(Outcome::Reported { increment, reset, disputed }) =
            self.journal.recall(Rpc::ReportCumulative, Some(idempotency), self.now)?
        {
            return Ok(Reply::Reported { increment, reset, disputed, replayed: true });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        self.check_settlement(&report.scope, std::iter::once(&report.meter), ctx)?;
        let key = (report.scope.clone(), report.source.clone(), report.meter.clone());
        let last = self.baselines.get(&key);
        if last.is_none() && self.baselines.len() >= ctx.bounds.sources_per_org as usize {
            return Err(OrgError::TooManySources { most: ctx.bounds.sources_per_org });
        }
        let total = report.total.min(AMOUNT_MAX);
        let goes_on = |last: &&Baseline| last.incarnation == report.incarnation && total >= last.total.min(AMOUNT_MAX);
        let reset = total > 0 && last.is_some() && last.filter(goes_on).is_none();
        let before = last.filter(|_| !reset).map_or(0, |last| last.total);
        let increment = total.saturating_sub(before.min(AMOUNT_MAX));
        let disputed = report.total - total;
        // What was disputed before is not disputed again.
        let amount = disputed.saturating_sub(before.saturating_sub(AMOUNT_MAX));
        let (scope, source, meter) = (report.scope.clone(), report.source.clone(), report.meter.clone());
        self.dispute(DisputedRow { seq: 0, scope, source, meter, amount, at: self.now })?;
        if total > 0 {
            let total = report.total.max(before);
            self.baselines.put(key, Baseline { incarnation: report.incarnation.clone(), total });
        }
        let booked = vec![(report.meter.clone(), increment)];
        self.book(&report.scope, &booked, ctx);
        self.export(&report.scope, &booked, Rpc::ReportCumulative, idempotency.id.as_str(), ctx);
        let outcome = Outcome::Reported { increment, reset, disputed };
        self.note(Rpc::ReportCumulative, Some(idempotency), true, outcome);
        Ok(Reply::Reported { increment, reset, disputed, replayed: false })
    }

    /// Keeps what is not believed of a report.
    pub(super) fn dispute(&mut self, row: DisputedRow) -> Result<(), OrgError> {
        if row.amount == 0 {
            return Ok(());
        }
        if self.disputed.len() >= DISPUTED_MAX {
            return Err(OrgError::TooManyDisputed);
        }
        self.add_disputed(row);
        Ok(())
    }

    /// The same of a session, which goes on whatever it says: amounts add up in one entry for each session,
    /// and once the table is full in one for all of them.
    pub(super) fn dispute_session(&mut self, row: DisputedRow) {
        let known = |wanted: &DisputedRow| {
            let same = |row: &&DisputedRow| {
                (&row.scope, &row.source, &row.meter) == (&wanted.scope, &wanted.source, &wanted.meter)
            };
            self.disputed.iter().map(|(_, row)| row).find(same).map(|row| (row.seq, row.amount))
        };
        if row.amount == 0 {
            return;
        }
        let place = match known(&row) {
            None if self.disputed.len() >= DISPUTED_MAX => {
                DisputedRow { scope: Scope::org(), source: Source::sessions(), ..row }
            }
            _ => row,
        };
        match known(&place) {
            Some((seq, amount)) => {
                let amount = amount.saturating_add(place.amount);
                self.disputed.put(seq, DisputedRow { seq, amount, ..place });
            }
            None => self.add_disputed(place),
        }
    }

    fn add_disputed(&mut self, row: DisputedRow) {
        let seq = self.disputed.last_key().map_or(1, |last| last + 1);
        self.disputed.put(seq, DisputedRow { seq, ..row });
    }
}
