//! One org: all of its state, and the one synchronous step that checks and charges.
//!
//! ```text
//! (OrgState, Command, Context) → Reply, and changes waiting in the state
//! OrgState::take_write         → everything changed since the last call, as one commit
//! ```
//!
//! The caller serialises commands (one actor owns the org), so nothing here can race. A command
//! that is refused changes nothing.

use super::{
    accounts::Accounts,
    command::{
        Acquire, Amounts, BalanceVerdict, Command, Idempotency, Mode, OrgError, PeriodSpend, Reply, ReportCumulative,
        Snapshot, Status,
    },
    decision::{Code, Decision, Gate, Hold, LimitView},
    ids::{DecisionId, ExecutionId, Incarnation, Meter, OrgId, Reason, Scope, Source},
    journal::{Entry, Journal, Outcome, Recall, Rpc, Settlement},
    limit::{Limit, OrgPolicy},
    pipeline::{self, Facts, Verdict},
    rate::RateRecord,
    rows::{BaselineRow, DisputedRow, ExecutionRow, Head, OrgRows, OrgWrite, ReservationRow, Row, RowKey},
    table::Table,
    window::{Millis, PERIODS, Window},
};
use crate::bounds::{AMOUNT_MAX, Bounds, CLOCK_AHEAD_MAX_MS, EXECUTION_RETENTION_MS, HOUR_RETENTION_MS};

/// Journal rows removed by one sweep, so that no sweep writes a huge commit.
const JOURNAL_PURGE_MAX: usize = 4096;
/// Journal rows removed by any other commit: more than it adds, so that a busy org keeps up.
const JOURNAL_PURGE_PER_COMMIT: usize = 4;
/// Disputed entries kept per org; past it a report is refused, because none may be dropped.
const DISPUTED_MAX: usize = 1000;

/// What one command is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub now: Millis,
    pub policy: &'a OrgPolicy,
    pub bounds: &'a Bounds,
    /// Names the decision, should one be made.
    pub decision: DecisionId,
    /// The store has failed: what is decided from memory is flagged.
    pub store_fault: bool,
}

#[derive(Debug, Clone)]
struct Baseline {
    incarnation: Incarnation,
    /// As reported, also above the believable: what exceeds it has been disputed.
    total: u64,
}

#[derive(Debug, Clone, Default)]
struct Execution {
    continuations: u64,
    last_seen: Millis,
    admitted: bool,
}

type BaselineKey = (Scope, Source, Meter);

#[derive(Debug, Default)]
pub struct OrgState {
    /// The latest instant this org has seen; its time never goes backwards.
    now: Millis,
    rate: Option<RateRecord>,
    frozen: Option<Reason>,
    wake_at: Option<Millis>,
    /// The timer as stored.
    stored_wake: Option<Millis>,
    admitted_total: u64,
    accounts: Accounts,
    journal: Journal,
    baselines: Table<BaselineKey, Baseline>,
    executions: Table<ExecutionId, Execution>,
    disputed: Table<u64, DisputedRow>,
    /// Rows to delete that no table tracks.
    gone: Vec<RowKey>,
    /// Something waits for the next commit.
    changed: bool,
    /// Rows are stored.
    stored: bool,
    wipe: bool,
}

impl OrgState {
    /// The org as stored. An empty set of rows is an org that was never seen.
    pub fn load(rows: OrgRows, now: Millis) -> Self {
        let mut parts = Parts::default();
        rows.rows.into_iter().for_each(|row| parts.take(row));
        let stored = parts.head.is_some();
        let head = parts.head.unwrap_or_default();
        // Its own time does not go back either, unless the clock was repaired in between.
        let now = if head.last_at <= now.saturating_add(CLOCK_AHEAD_MAX_MS) { now.max(head.last_at) } else { now };
        let baseline = |row: BaselineRow| {
            ((row.scope, row.source, row.meter), Baseline { incarnation: row.incarnation, total: row.total })
        };
        let execution = |row: ExecutionRow| {
            let value =
                Execution { continuations: row.continuations, last_seen: row.last_seen, admitted: row.admitted };
            (row.id, value)
        };
        Self {
            now,
            rate: head.rate,
            frozen: head.frozen,
            wake_at: head.wake_at,
            stored_wake: head.wake_at,
            admitted_total: head.admitted_total,
            accounts: Accounts::load(parts.slices, parts.counters, parts.reservations, now),
            journal: Journal::load(head.seq, head.journal_from, head.evicted, parts.journal, parts.long_journal),
            baselines: Table::load(parts.baselines.into_iter().map(baseline)),
            executions: Table::load(parts.executions.into_iter().map(execution)),
            disputed: Table::load(parts.disputed.into_iter().map(|row| (row.seq, row))),
            stored,
            ..Self::default()
        }
    }

    /// Judges one command and carries it out.
    pub fn apply(&mut self, command: &Command, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        self.advance(ctx.now);
        match command {
            Command::Acquire(ask) => self.acquire(ask, ctx),
            Command::Commit { reservation, actual, idempotency } => {
                self.settle(Rpc::Commit, *reservation, actual, idempotency, ctx)
            }
            Command::Release { reservation, idempotency } => {
                self.settle(Rpc::Release, *reservation, &Amounts::new(), idempotency, ctx)
            }
            Command::Extend { reservation, ttl, idempotency } => self.extend(*reservation, *ttl, idempotency, ctx),
            Command::Resume { execution, idempotency } => Ok(self.resume(execution, idempotency.as_ref(), ctx)),
            Command::Record { scope, usage, idempotency, .. } => self.record(scope, usage, idempotency, ctx),
            Command::ReportCumulative(report) => self.report(report, ctx),
            Command::Freeze { reason, idempotency } => self.freeze(Some(reason), Rpc::Freeze, idempotency, ctx),
            Command::Unfreeze { idempotency } => self.freeze(None, Rpc::Unfreeze, idempotency, ctx),
            Command::Purge => Ok(self.purge_all()),
            Command::Status { scope } => Ok(self.status(scope, ctx)),
            Command::Inspect => Ok(Reply::Inspected(self.is_known().then(|| Box::new(self.snapshot(ctx))))),
        }
    }

    /// Moves the org's time on and settles the reservations that ended by then.
    fn advance(&mut self, now: Millis) {
        self.now = self.now.max(now);
        while let Some(id) = self.accounts.expired(self.now) {
            self.accounts.settle(id);
            self.note(Rpc::Release, None, true, Outcome::Settled { reservation: id, how: Settlement::Expired });
        }
    }

    fn note(&mut self, rpc: Rpc, idempotency: Option<&Idempotency>, long: bool, outcome: Outcome) {
        self.changed = true;
        self.journal.note(Entry { at: self.now, rpc, idempotency: idempotency.cloned(), long, outcome });
    }

    // ---- admission -------------------------------------------------------------------------

    fn acquire(&mut self, ask: &Acquire, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        let counts = ask.mode != Mode::CheckOnly;
        if counts
            && let Recall::Replay(outcome) = self.journal.recall(Rpc::Acquire, ask.idempotency.as_ref(), self.now)?
        {
            return Ok(self.replay(outcome, ask, ctx));
        }
        let rate = RateRecord::at(self.rate, &ctx.policy.rate, self.now);
        let Some(verdict) = self.evaluate(ask, rate, counts, ctx) else { return Ok(Reply::NeedBalance) };
        let admitted = verdict.denial.is_none();
        let mut hold = None;
        if counts && admitted {
            self.check_room(ask, ctx)?;
            hold = self.charge(ask, rate, &verdict, ctx);
        } else if counts && verdict.denial.as_ref().is_some_and(|denial| denial.gate != Gate::Freeze) {
            self.rate = Some(RateRecord { blocked: rate.blocked.saturating_add(1), ..rate });
            self.changed = true;
        }
        let id = counts.then_some(ctx.decision);
        Ok(Reply::Decision(Box::new(Decision { id, hold, ..decision(verdict, ask.mode) })))
    }

    fn evaluate(&mut self, ask: &Acquire, rate: RateRecord, counts: bool, ctx: &Context<'_>) -> Option<Verdict> {
        let facts = Facts {
            policy: ctx.policy,
            frozen: self.frozen.as_ref(),
            rate,
            store_fault: ctx.store_fault,
            counts,
            now: self.now,
        };
        pipeline::evaluate(&mut self.accounts, ask, &facts)
    }

    /// Everything that could refuse an admitted call, before anything changes.
    fn check_room(&mut self, ask: &Acquire, ctx: &Context<'_>) -> Result<(), OrgError> {
        if ask.idempotency.is_some() {
            self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        }
        if !ask.reserve.is_empty() && self.accounts.reservation_count() >= ctx.bounds.reservations_per_org as usize {
            return Err(OrgError::TooManyReservations);
        }
        self.check_ledgers(&ask.scope, ask.cost.iter().chain(&ask.reserve).map(|(meter, _)| meter), ctx)
    }

    fn check_ledgers<'m>(
        &self,
        scope: &Scope,
        meters: impl Iterator<Item = &'m Meter>,
        ctx: &Context<'_>,
    ) -> Result<(), OrgError> {
        let added = self.accounts.new_ledgers(scope, meters);
        if added > 0 && self.accounts.ledger_count() + added > ctx.bounds.ledgers_per_org as usize {
            return Err(OrgError::TooManyLedgers);
        }
        Ok(())
    }

    fn charge(&mut self, ask: &Acquire, rate: RateRecord, verdict: &Verdict, ctx: &Context<'_>) -> Option<Hold> {
        self.rate = Some(RateRecord { count: rate.count.saturating_add(1), ..rate });
        self.admitted_total += 1;
        self.book(&ask.scope, &ask.cost, ctx);
        let hold = (!ask.reserve.is_empty()).then(|| {
            let expires_at = self.now.saturating_add(ask.reservation_ttl);
            let amounts = ask.reserve.clone();
            self.accounts.reserve(ReservationRow { id: ctx.decision, scope: ask.scope.clone(), amounts, expires_at });
            Hold { id: ctx.decision, expires_at }
        });
        if ask.with_pause
            && let Ok(id) = ExecutionId::parse("execution_id", &ctx.decision.to_string())
        {
            self.remember_execution(&id, 0, ctx);
        }
        let outcome = Outcome::Admitted { decision: ctx.decision, hold, fail_open: verdict.fail_open.clone() };
        self.note(Rpc::Acquire, ask.idempotency.as_ref(), hold.is_some(), outcome);
        hold
    }

    fn book(&mut self, scope: &Scope, amounts: &Amounts, ctx: &Context<'_>) {
        for (meter, amount) in amounts {
            self.accounts.book(ctx.policy, scope, meter, *amount, self.now);
        }
    }

    /// The outcome as it was; the limits as they are now.
    fn replay(&mut self, outcome: Outcome, ask: &Acquire, ctx: &Context<'_>) -> Reply {
        let mut decision = self.peek(ask.scope.clone(), Amounts::new(), ctx);
        if let Outcome::Admitted { decision: id, hold, fail_open } = outcome {
            decision = Decision {
                id: Some(id),
                code: Code::Allowed,
                allowed: true,
                gate: None,
                message: String::new(),
                limits: decision.limits.into_iter().map(|view| LimitView { limiting: false, ..view }).collect(),
                retry_after: 0,
                fail_open,
                hold,
                replayed: true,
            };
        }
        Reply::Decision(Box::new(decision))
    }

    /// What an Acquire of `cost` would be answered, from the org's own state.
    fn peek(&mut self, scope: Scope, cost: Amounts, ctx: &Context<'_>) -> Decision {
        let ask = Acquire {
            scope,
            idempotency: None,
            cost,
            reserve: Amounts::new(),
            reservation_ttl: 0,
            mode: Mode::CheckOnly,
            explain: true,
            with_pause: false,
            balance: Some(BalanceVerdict::Allowed),
        };
        let rate = RateRecord::at(self.rate, &ctx.policy.rate, self.now);
        let nothing = Verdict { denial: None, fail_open: Vec::new(), limits: Vec::new() };
        decision(self.evaluate(&ask, rate, false, ctx).unwrap_or(nothing), Mode::CheckOnly)
    }

    // ---- settlement ------------------------------------------------------------------------

    /// Commit and Release: what was held is given back, what was used is booked.
    fn settle(
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
        let scope = self.accounts.reservation_scope(reservation).ok_or_else(|| self.unknown(reservation))?;
        self.check_ledgers(&scope, actual.iter().map(|(meter, _)| meter), ctx)?;
        self.accounts.settle(reservation);
        self.book(&scope, actual, ctx);
        let how = if rpc == Rpc::Commit { Settlement::Committed } else { Settlement::Released };
        self.note(rpc, Some(idempotency), true, Outcome::Settled { reservation, how });
        Ok(Reply::Settled { replayed: false })
    }

    fn unknown(&self, reservation: DecisionId) -> OrgError {
        self.journal.settlement(reservation).map_or(OrgError::ReservationNotFound, OrgError::ReservationSettled)
    }

    fn extend(
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
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        let wanted = self.now.saturating_add(ttl);
        let expires_at = self.accounts.extend(reservation, wanted).ok_or_else(|| self.unknown(reservation))?;
        self.note(Rpc::Extend, Some(idempotency), true, Outcome::Extended { expires_at });
        Ok(Reply::Extended { expires_at, replayed: false })
    }

    /// Never refused: what can not be counted goes on uncounted.
    fn resume(&mut self, id: &ExecutionId, idempotency: Option<&Idempotency>, ctx: &Context<'_>) -> Reply {
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
    fn remember_execution(&mut self, id: &ExecutionId, continuations: u64, ctx: &Context<'_>) -> Option<u64> {
        let mut execution = match self.executions.get(id) {
            Some(known) => known.clone(),
            None if self.executions.len() >= ctx.bounds.executions_per_org as usize => {
                self.purge_executions();
                let full = self.executions.len() >= ctx.bounds.executions_per_org as usize;
                if full { return None } else { Execution::default() }
            }
            None => Execution::default(),
        };
        execution.continuations = execution.continuations.saturating_add(continuations);
        execution.last_seen = self.now;
        execution.admitted |= continuations == 0;
        let counted = execution.continuations;
        self.executions.put(id.clone(), execution);
        self.changed = true;
        Some(counted)
    }

    fn record(
        &mut self,
        scope: &Scope,
        usage: &Amounts,
        idempotency: &Idempotency,
        ctx: &Context<'_>,
    ) -> Result<Reply, OrgError> {
        if let Recall::Replay(_) = self.journal.recall(Rpc::Record, Some(idempotency), self.now)? {
            return Ok(Reply::Recorded { replayed: true });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        self.check_ledgers(scope, usage.iter().map(|(meter, _)| meter), ctx)?;
        self.book(scope, usage, ctx);
        self.note(Rpc::Record, Some(idempotency), true, Outcome::Recorded);
        Ok(Reply::Recorded { replayed: false })
    }

    /// R-BUD-5: the increment is the total minus the last total; a lower total or a new incarnation
    /// is a reset and counts whole; 0 is no update; what lies above the believable is disputed.
    fn report(&mut self, report: &ReportCumulative, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        let idempotency = &report.idempotency;
        if let Recall::Replay(Outcome::Reported { increment, reset, disputed }) =
            self.journal.recall(Rpc::ReportCumulative, Some(idempotency), self.now)?
        {
            return Ok(Reply::Reported { increment, reset, disputed, replayed: true });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        self.check_ledgers(&report.scope, std::iter::once(&report.meter), ctx)?;
        let key = (report.scope.clone(), report.source.clone(), report.meter.clone());
        let last = self.baselines.get(&key);
        if last.is_none() && self.baselines.len() >= ctx.bounds.sources_per_org as usize {
            return Err(OrgError::TooManySources);
        }
        let total = report.total.min(AMOUNT_MAX);
        let goes_on = |last: &&Baseline| last.incarnation == report.incarnation && total >= last.total.min(AMOUNT_MAX);
        let reset = total > 0 && last.is_some() && last.filter(goes_on).is_none();
        let before = last.filter(|_| !reset).map_or(0, |last| last.total);
        let increment = total.saturating_sub(before.min(AMOUNT_MAX));
        let disputed = report.total - total;
        self.dispute(report, disputed.saturating_sub(before.saturating_sub(AMOUNT_MAX)))?;
        if total > 0 {
            let total = report.total.max(before);
            self.baselines.put(key, Baseline { incarnation: report.incarnation.clone(), total });
        }
        self.accounts.book(ctx.policy, &report.scope, &report.meter, increment, self.now);
        let outcome = Outcome::Reported { increment, reset, disputed };
        self.note(Rpc::ReportCumulative, Some(idempotency), true, outcome);
        Ok(Reply::Reported { increment, reset, disputed, replayed: false })
    }

    /// Keeps what is not believed of a source and was not disputed before.
    fn dispute(&mut self, report: &ReportCumulative, amount: u64) -> Result<(), OrgError> {
        if amount == 0 {
            return Ok(());
        }
        if self.disputed.len() >= DISPUTED_MAX {
            return Err(OrgError::TooManyDisputed);
        }
        let seq = self.disputed.last_key().map_or(1, |last| last + 1);
        let (scope, source, meter) = (report.scope.clone(), report.source.clone(), report.meter.clone());
        self.disputed.put(seq, DisputedRow { seq, scope, source, meter, amount, at: self.now });
        Ok(())
    }

    // ---- operators -------------------------------------------------------------------------

    fn freeze(
        &mut self,
        reason: Option<&Reason>,
        rpc: Rpc,
        idempotency: &Idempotency,
        ctx: &Context<'_>,
    ) -> Result<Reply, OrgError> {
        if let Recall::Replay(Outcome::Frozen { was_frozen }) = self.journal.recall(rpc, Some(idempotency), self.now)? {
            return Ok(Reply::Frozen { was_frozen, replayed: true });
        }
        self.journal.make_room(ctx.bounds.request_ids_per_org, self.now)?;
        let was_frozen = self.frozen.is_some();
        self.frozen = reason.cloned();
        self.note(rpc, Some(idempotency), true, Outcome::Frozen { was_frozen });
        Ok(Reply::Frozen { was_frozen, replayed: false })
    }

    fn purge_all(&mut self) -> Reply {
        let existed = self.is_known();
        let now = self.now;
        *self = Self { now, wipe: existed, changed: existed, ..Self::default() };
        Reply::Purged { existed }
    }

    fn status(&mut self, scope: &Scope, ctx: &Context<'_>) -> Reply {
        let decision = self.peek(scope.clone(), vec![(Meter::executions(), 1)], ctx);
        let (plan, frozen) = (ctx.policy.plan.clone(), self.frozen.is_some());
        let spent = PERIODS.iter().map(|(period, len)| self.spent(period, *len, scope)).collect();
        Reply::Status(Box::new(Status { decision, frozen, plan, spent }))
    }

    /// The same number a limit of this period would enforce.
    fn spent(&mut self, period: &'static str, len: Millis, scope: &Scope) -> PeriodSpend {
        let unlimited = Limit::new(Meter::spend(), Window::Rolling { len }, None);
        let (used, reserved) = self.accounts.usage(scope, &unlimited, self.now);
        PeriodSpend { period, used, reserved }
    }

    fn is_known(&self) -> bool {
        self.stored || self.changed
    }

    fn snapshot(&mut self, ctx: &Context<'_>) -> Snapshot {
        let mut limits = self.peek(Scope::org(), Amounts::new(), ctx).limits;
        let used = self.accounts.ledger_views();
        let mut scopes: Vec<Scope> =
            used.iter().map(|view| view.scope.clone()).chain(ctx.policy.scopes.keys().cloned()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        for scope in scopes.into_iter().filter(|scope| !scope.is_org()) {
            let of_scope = self.peek(scope, Amounts::new(), ctx).limits;
            limits.extend(of_scope.into_iter().filter(|view| !view.scope.is_org()));
        }
        let baseline = |((scope, source, meter), value): (&BaselineKey, &Baseline)| {
            baseline_row(scope.clone(), source.clone(), meter.clone(), value.clone())
        };
        Snapshot {
            plan: ctx.policy.plan.clone(),
            frozen: self.frozen.clone(),
            rate: self.rate,
            limits,
            ledgers: used,
            counters: self.accounts.counter_views(),
            reservations: self.accounts.reservation_views(),
            baselines: self.baselines.iter().map(baseline).collect(),
            executions: self.executions.iter().map(|(id, value)| execution_row(id.clone(), value)).collect(),
            disputed: self.disputed.iter().map(|(_, row)| row.clone()).collect(),
            wake_at: self.wake_at,
            rate_purge_at: self.rate.map(|rate| rate.purge_at(ctx.policy.rate.idle_windows)),
            next_expiry_at: self.accounts.next_expiry(),
            seq: self.journal.seq(),
            journal_from: self.journal.from(),
            remembered: self.journal.remembered(),
            evicted: self.journal.evicted(),
            admitted_total: self.admitted_total,
        }
    }

    // ---- timers and commits ----------------------------------------------------------------

    /// Removes what has run out by `now` and arms the next timer. Without `may_purge` nothing but
    /// reservations runs out.
    pub fn sweep(&mut self, now: Millis, policy: &OrgPolicy, may_purge: bool) {
        self.advance(now);
        if may_purge {
            if self.rate.is_some_and(|rate| rate.purge_at(policy.rate.idle_windows) <= self.now) {
                self.rate = None;
                self.changed = true;
            }
            self.accounts.purge(self.now);
            self.purge_executions();
            let now = self.now;
            self.disputed.purge(|_, row| row.at.saturating_add(HOUR_RETENTION_MS) <= now);
            self.gone.extend(self.journal.purge(self.now, JOURNAL_PURGE_MAX));
        }
        self.wake_at = None;
        self.changed = true;
    }

    fn purge_executions(&mut self) {
        let now = self.now;
        self.executions.purge(|_, execution| execution.last_seen.saturating_add(EXECUTION_RETENTION_MS) <= now);
    }

    /// The next instant at which [`Self::sweep`] has something to do.
    fn next_wake(&self, policy: &OrgPolicy) -> Option<Millis> {
        let rate = self.rate.map(|rate| rate.purge_at(policy.rate.idle_windows));
        let execution = self.executions.iter().map(|(_, e)| e.last_seen.saturating_add(EXECUTION_RETENTION_MS)).min();
        let disputed = self.disputed.iter().map(|(_, row)| row.at.saturating_add(HOUR_RETENTION_MS)).min();
        let candidates = [rate, execution, disputed, self.accounts.next_purge(), self.journal.next_purge()];
        candidates.into_iter().flatten().min()
    }

    /// Nothing is left that a later call could need.
    fn is_spent(&self) -> bool {
        self.rate.is_none()
            && self.frozen.is_none()
            && self.accounts.is_empty()
            && self.baselines.is_empty()
            && self.executions.is_empty()
            && self.disputed.is_empty()
            && self.journal.is_quiet()
    }

    /// Whether a commit is due.
    pub fn has_changes(&self) -> bool {
        self.changed
    }

    /// Everything changed since the last call as one commit; `None` where nothing was. With
    /// `may_purge` it also removes a few journal rows that have run out.
    pub fn take_write(&mut self, org: &OrgId, policy: &OrgPolicy, may_purge: bool) -> Option<OrgWrite> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let (mut puts, mut dels) = (Vec::new(), std::mem::take(&mut self.gone));
        self.accounts.take_changes(&mut puts, &mut dels);
        let wipe = std::mem::take(&mut self.wipe);
        if self.is_spent() {
            let (now, seq, stored) = (self.now, self.journal.seq(), self.stored);
            *self = Self { now, ..Self::default() };
            return (wipe || stored).then(|| OrgWrite {
                org: org.clone(),
                seq,
                wipe: true,
                puts: vec![],
                dels: vec![],
            });
        }
        self.take_tables(&mut puts, &mut dels);
        if may_purge {
            dels.extend(self.journal.purge(self.now, JOURNAL_PURGE_PER_COMMIT));
        }
        puts.extend(self.journal.commit(self.now));
        self.arm_timer(policy, &mut puts, &mut dels);
        puts.push(Row::Head(self.head()));
        self.stored = true;
        Some(OrgWrite { org: org.clone(), seq: self.journal.seq(), wipe, puts, dels })
    }

    fn take_tables(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        for ((scope, source, meter), baseline) in self.baselines.take_dirty() {
            match baseline {
                Some(value) => puts.push(Row::Baseline(baseline_row(scope, source, meter, value))),
                None => dels.push(RowKey::Baseline { scope, source, meter }),
            }
        }
        for (id, execution) in self.executions.take_dirty() {
            match execution {
                Some(value) => puts.push(Row::Execution(execution_row(id, &value))),
                None => dels.push(RowKey::Execution { id }),
            }
        }
        for (seq, row) in self.disputed.take_dirty() {
            match row {
                Some(row) => puts.push(Row::Disputed(row)),
                None => dels.push(RowKey::Disputed { seq }),
            }
        }
    }

    /// Arms the timer where none is armed or something runs out sooner; an early wake is harmless,
    /// and so a timer is not rewritten with every call.
    fn arm_timer(&mut self, policy: &OrgPolicy, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        if let Some(next) = self.next_wake(policy)
            && self.wake_at.is_none_or(|armed| next < armed)
        {
            self.wake_at = Some(next);
        }
        if self.wake_at == self.stored_wake {
            return;
        }
        dels.extend(self.stored_wake.map(|wake_at| RowKey::Timer { wake_at }));
        puts.extend(self.wake_at.map(|wake_at| Row::Timer { wake_at }));
        self.stored_wake = self.wake_at;
    }

    fn head(&self) -> Head {
        Head {
            seq: self.journal.seq(),
            journal_from: self.journal.from(),
            last_at: self.now,
            rate: self.rate,
            frozen: self.frozen.clone(),
            wake_at: self.wake_at,
            admitted_total: self.admitted_total,
            evicted: self.journal.evicted(),
        }
    }
}

fn decision(verdict: Verdict, mode: Mode) -> Decision {
    let Verdict { denial, fail_open, limits } = verdict;
    let allowed = denial.is_none() || mode == Mode::Shadow;
    let base = Decision {
        id: None,
        code: Code::Allowed,
        allowed,
        gate: None,
        message: String::new(),
        limits,
        retry_after: 0,
        fail_open,
        hold: None,
        replayed: false,
    };
    match denial {
        None => base,
        Some(denial) => Decision {
            code: denial.code,
            gate: Some(denial.gate),
            message: denial.message,
            retry_after: denial.retry_after,
            ..base
        },
    }
}

fn baseline_row(scope: Scope, source: Source, meter: Meter, value: Baseline) -> BaselineRow {
    BaselineRow { scope, source, meter, incarnation: value.incarnation, total: value.total }
}

fn execution_row(id: ExecutionId, value: &Execution) -> ExecutionRow {
    ExecutionRow { id, continuations: value.continuations, last_seen: value.last_seen, admitted: value.admitted }
}

/// Rows sorted by kind.
#[derive(Default)]
struct Parts {
    head: Option<Head>,
    slices: Vec<(Scope, Meter, super::ledger::HourSlice)>,
    counters: Vec<(Scope, Meter, super::window::Window, super::rate::Counter)>,
    reservations: Vec<ReservationRow>,
    baselines: Vec<BaselineRow>,
    executions: Vec<ExecutionRow>,
    disputed: Vec<DisputedRow>,
    journal: Vec<super::rows::JournalRow>,
    long_journal: Vec<super::rows::JournalRow>,
}

impl Parts {
    fn take(&mut self, row: Row) {
        match row {
            Row::Head(head) => self.head = Some(head),
            Row::Timer { .. } => {}
            Row::Slice { scope, meter, slice } => self.slices.push((scope, meter, slice)),
            Row::Counter { scope, meter, window, counter } => self.counters.push((scope, meter, window, counter)),
            Row::Journal(row) => self.journal.push(row),
            Row::LongJournal(row) => self.long_journal.push(row),
            Row::Reservation(row) => self.reservations.push(row),
            Row::Baseline(row) => self.baselines.push(row),
            Row::Execution(row) => self.executions.push(row),
            Row::Disputed(row) => self.disputed.push(row),
        }
    }
}
