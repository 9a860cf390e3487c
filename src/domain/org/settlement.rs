//! What happens after admission: reservations end, executions go on, usage is booked. What really
//! happened always books, also past a limit and past the meters that admission may add.

use smallvec::smallvec;

use super::{Baseline, Context, Execution, OrgState, placement::counted};
use crate::{
    bounds::{AMOUNT_MAX, EXECUTION_RETENTION_MS, OCCURRED_AHEAD_MAX_MS},
    domain::{
        command::{Commit, Extend, ListReservations, Record, Release, ReportCumulative, Resume},
        ids::{Amounts, DecisionId, ExecutionId, Source},
        outcome::{Committed, Done, Extended, Recorded, Reported, Resumed, Settled, Settlement, Shown},
        refund::Charge,
        refusal::OrgError,
        reply::{Counted, ReservationView},
        request::Rpc,
        rows::{DisputedRow, ReservationRow},
        scopes::Scopes,
        window::{HOUR_RETENTION_MS, Millis},
    },
};

/// Disputed entries kept per org; past it a report is refused, because none may be dropped.
const DISPUTED_MAX: usize = 1000;

impl OrgState {
    /// Reservations that are open and can be settled: the slice of a session is none of them.
    pub fn open_holds(&self) -> u64 {
        self.book.open_holds()
    }

    /// Holds whose time is over are given back. What they were is remembered for a day.
    pub(super) fn expire_reservations(&mut self, last: Millis, ctx: &Context<'_>) {
        let mut expired = 0;
        while let Some((ended_at, id)) = self.book.next_expired(self.clocks.lease) {
            let at = self.clocks.shown(ended_at).clamp(last, self.now);
            self.mark_spending_at(at, ctx);
            self.book.expire(id, self.now);
            self.spend(at, ctx);
            expired += 1;
        }
        if expired > 0 {
            self.news.expired_reservations += expired;
            let bytes = ctx.bounds.expired_reservation_bytes_per_org.into();
            self.news.forgotten_reservations += self.book.forget_expired(self.now, bytes);
            self.changed = true;
        }
    }

    /// What was held is given back, what was used is booked: also after the hold expired, for a day.
    pub(in crate::domain) fn commit(
        &mut self,
        commit: &Commit,
        ctx: &Context<'_>,
    ) -> Result<Box<Shown<Committed, Counted>>, OrgError> {
        let Commit { reservation, actual, idempotency } = commit;
        let (done, folded) = self.once_showing(Rpc::Commit, Some(idempotency), ctx, |org| {
            let held = org.reservation(*reservation, ctx)?;
            org.check_settlement(&held.scopes, counted(actual), ctx)?;
            let folded = org.place(&held.scopes, counted(actual), ctx);
            org.charge_of_settled = org.charge_of(&held, actual);
            org.book.settle(*reservation);
            org.book(&held.scopes, &folded, actual, ctx);
            org.went_through(&org.planes.holder(*reservation), actual);
            org.planes.settle(*reservation);
            org.complete(&held.scopes, *reservation, org.now, ctx);
            org.export(&held.scopes, actual, Rpc::Commit, idempotency.id.as_str(), ctx);
            let committed = Committed {
                reservation: *reservation,
                late: !held.is_open(),
                scopes: held.scopes,
                booked: actual.clone(),
                reserved: held.amounts,
            };
            Ok((committed, folded.scopes()))
        })?;
        let Committed { scopes, booked, .. } = &done.outcome;
        let folded = folded.unwrap_or_else(|| self.placed(scopes, counted(booked), ctx).scopes());
        let limits = self.limits_now(scopes.clone(), ctx);
        self.watch_limits(&limits, ctx);
        Ok(Box::new(done.show(Counted { limits, at: self.clocks.wall, folded })))
    }

    pub(in crate::domain) fn release(
        &mut self,
        release: &Release,
        ctx: &Context<'_>,
    ) -> Result<Done<Settled>, OrgError> {
        let Release { reservation, idempotency } = release;
        self.once(Rpc::Release, Some(idempotency), ctx, |org| {
            let held = org.open_reservation(*reservation, ctx)?;
            let completed = org.abandon(*reservation);
            let charge = org.charge_of(&held, &Amounts::new());
            org.charge_of_settled = charge.map(|charge| Box::new(Charge { completed, ..*charge }));
            org.book.settle(*reservation);
            org.planes.settle(*reservation);
            Ok(Settled { reservation: *reservation, how: Settlement::Released })
        })
    }

    /// What can be committed. The slice of a session is no reservation of a caller's: the session settles it.
    fn reservation(&self, reservation: DecisionId, ctx: &Context<'_>) -> Result<ReservationRow, OrgError> {
        let row = self.book.reservation(reservation, self.now).filter(|_| !self.sessions.began_with(reservation));
        let row = row.filter(|row| ctx.may_see(&row.scopes));
        row.cloned().ok_or_else(|| self.unknown(reservation))
    }

    /// What can be released or extended.
    fn open_reservation(&self, reservation: DecisionId, ctx: &Context<'_>) -> Result<ReservationRow, OrgError> {
        let row = self.reservation(reservation, ctx)?;
        if row.is_open() { Ok(row) } else { Err(OrgError::ReservationExpired) }
    }

    /// Reservations in the order of their ids, from behind the last one of the page before.
    pub(in crate::domain) fn list_reservations(
        &self,
        list: &ListReservations,
        ctx: &Context<'_>,
    ) -> Vec<ReservationView> {
        let ListReservations { after, max, open, expired, scope, older_than } = list;
        let made_by = self.now.saturating_sub(*older_than);
        let wanted = |row: &&ReservationRow| {
            let state = if row.is_open() { *open } else { *expired };
            state
                && row.reserved_at.is_none_or(|at| at <= made_by)
                && scope.as_ref().is_none_or(|scope| row.scopes.contains(scope))
        };
        let rows = self.book.reservations_behind(*after).filter(wanted);
        let rows = rows.filter(|row| self.reservation(row.id, ctx).is_ok());
        rows.take(*max).map(|row| ReservationView::of(row, &self.clocks)).collect()
    }

    pub(super) fn unknown(&self, reservation: DecisionId) -> OrgError {
        let ended = self.journal.settled(reservation, self.now);
        ended.map_or(OrgError::ReservationNotFound, |row| OrgError::ReservationSettled(row.how))
    }

    /// Shows what is left of the reservation in milliseconds.
    pub(in crate::domain) fn extend(
        &mut self,
        extend: &Extend,
        ctx: &Context<'_>,
    ) -> Result<Shown<Extended, Millis>, OrgError> {
        let Extend { reservation, ttl, idempotency } = extend;
        let done = self.once(Rpc::Extend, Some(idempotency), ctx, |org| {
            org.check_ttl(*ttl, ctx)?;
            org.open_reservation(*reservation, ctx)?;
            let wanted = org.clocks.lease.after(*ttl);
            let expires_at = org.book.extend(*reservation, wanted).ok_or_else(|| org.unknown(*reservation))?;
            Ok(Extended { expires_at: org.clocks.shown(expires_at) })
        })?;
        // A replay says when it ends now.
        let now = self.book.expires_at(*reservation).map(|end| self.clocks.shown(end));
        let outcome = Extended { expires_at: now.unwrap_or(done.outcome.expires_at) };
        Ok(Done { outcome, ..done }.show(self.left_of(*reservation)))
    }

    /// Never refused: what cannot be counted goes on uncounted.
    pub(in crate::domain) fn resume(&mut self, resume: &Resume, ctx: &Context<'_>) -> Done<Resumed> {
        let counted = self.once(Rpc::Resume, resume.idempotency.as_ref(), ctx, |org| {
            let continuations = org.remember_execution(&resume.execution, 1, ctx);
            continuations
                .map(|continuations| Resumed { continuations })
                .ok_or(OrgError::TooManyExecutions { most: ctx.bounds.executions_per_org })
        });
        counted.unwrap_or(Done { outcome: Resumed { continuations: 0 }, replayed: false })
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
        // Searched only where there is one to find: the search reads all of them.
        let runs_out = self.executions_from.map(|from| from.saturating_add(EXECUTION_RETENTION_MS));
        if full(self) && runs_out.is_some_and(|at| at <= self.now) {
            self.purge_executions();
        }
        (!full(self)).then(Execution::default)
    }

    /// Shows the scopes that share a ledger.
    pub(in crate::domain) fn record(
        &mut self,
        record: &Record,
        ctx: &Context<'_>,
    ) -> Result<Shown<Recorded, Scopes>, OrgError> {
        let Record { scopes, usage, decision, occurred_at, idempotency } = record;
        let (done, folded) = self.once_showing(Rpc::Record, Some(idempotency), ctx, |org| {
            let occurred_at = occurred_at.map(|at| org.believable(at)).transpose()?;
            org.check_settlement(scopes, counted(usage), ctx)?;
            let folded = org.place(scopes, counted(usage), ctx);
            org.book_at(occurred_at, (scopes, &folded), usage, ctx);
            counted(usage).for_each(|meter| org.watch_usage(scopes, meter, ctx));
            let at = occurred_at.unwrap_or(org.now);
            if let Some(decision) = decision {
                org.complete(scopes, *decision, at, ctx);
            }
            org.export_as(scopes, usage, (scopes, Rpc::Record, idempotency.id.as_str()), at, ctx);
            Ok((Recorded, folded.scopes()))
        })?;
        let now = || self.placed(scopes, counted(usage), ctx).scopes();
        Ok(done.show(folded.unwrap_or_else(now)))
    }

    /// When late usage happened: no window, and no slice, knows what is older than they are kept. A clock that is a
    /// little ahead of this one says now.
    fn believable(&self, at: Millis) -> Result<Millis, OrgError> {
        let oldest = self.now.saturating_sub(HOUR_RETENTION_MS);
        let latest = self.now.saturating_add(OCCURRED_AHEAD_MAX_MS);
        if (oldest..=latest).contains(&at) {
            Ok(at.min(self.now))
        } else {
            Err(OrgError::OccurredAt { given: at, oldest, latest })
        }
    }

    /// R-BUD-5: the increment is the total minus the last total; a lower total or a new incarnation
    /// is a reset and counts whole; 0 is no update; what lies above the believable is disputed. Shows the scopes
    /// that share a ledger.
    pub(in crate::domain) fn report(
        &mut self,
        report: &ReportCumulative,
        ctx: &Context<'_>,
    ) -> Result<Shown<Reported, Scopes>, OrgError> {
        let take = |org: &mut Self| org.take_total(report, ctx);
        let done = self.once(Rpc::ReportCumulative, Some(&report.idempotency), ctx, take)?;
        let counted = std::iter::once(&report.meter).filter(|_| done.outcome.increment > 0);
        let folded = self.placed(&report.scopes, counted, ctx).scopes();
        Ok(done.show(folded))
    }

    fn take_total(&mut self, report: &ReportCumulative, ctx: &Context<'_>) -> Result<Reported, OrgError> {
        self.check_settlement(&report.scopes, std::iter::once(&report.meter), ctx)?;
        let key = (report.scopes.clone(), report.source.clone(), report.meter.clone());
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
        let (scopes, source, meter) = (report.scopes.clone(), report.source.clone(), report.meter.clone());
        self.dispute(DisputedRow { seq: 0, scopes, source, meter, amount, at: self.now })?;
        if total > 0 {
            let total = report.total.max(before);
            self.baselines.put(key, Baseline { incarnation: report.incarnation.clone(), total });
        }
        let booked = smallvec![(report.meter.clone(), increment)];
        let folded = self.place(&report.scopes, counted(&booked), ctx);
        self.book(&report.scopes, &folded, &booked, ctx);
        self.watch_usage(&report.scopes, &report.meter, ctx);
        self.export(&report.scopes, &booked, Rpc::ReportCumulative, report.idempotency.id.as_str(), ctx);
        Ok(Reported { increment, reset, disputed })
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
                (&row.scopes, &row.source, &row.meter) == (&wanted.scopes, &wanted.source, &wanted.meter)
            };
            self.disputed.iter().map(|(_, row)| row).find(same).map(|row| (row.seq, row.amount))
        };
        if row.amount == 0 {
            return;
        }
        let place = match known(&row) {
            None if self.disputed.len() >= DISPUTED_MAX => {
                DisputedRow { scopes: Scopes::org(), source: Source::sessions(), ..row }
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
