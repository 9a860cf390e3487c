//! One org: all of its state, and the one synchronous step that checks and charges.
//!
//! ```text
//! (OrgState, Command, Context) → Reply, and changes waiting in the state
//! OrgState::take_write         → everything changed since the last call, as one commit
//! ```
//!
//! The caller serialises commands (one actor owns the org), so nothing here can race. A command
//! that is refused changes nothing. `admission` judges and charges, `settlement` books what happened,
//! `sessions` pay as they go, `pools` pick upstream accounts, `budgets` are limits set meanwhile, `exports` report
//! to billing, `operators` look and freeze, `commits` hands it all to the store.

mod admission;
mod budgets;
mod commits;
mod operators;
mod outbox;
mod pools;
mod sessions;
mod settlement;
pub mod takeover;

use std::sync::Arc;

use super::{
    book::Book,
    budgets::Budgets,
    commands::{Command, Reply},
    ids::{DecisionId, ExecutionId, Incarnation, Meter, OrgId, Reason, Scope, Source},
    journal::Journal,
    outbox::OutboxRow,
    outcome::{Done, Entry, Outcome, Remembered, Settled, Settlement},
    policy::OrgPolicy,
    pools::Pools,
    promise::Promise,
    rate::RateRecord,
    refusal::OrgError,
    reply::Audit,
    request::{Idempotency, Rpc},
    rows::{
        BaselineRow, BudgetRow, DisputedRow, ExecutionRow, Head, OpenExecution, OrgRows, PoolRow, ReservationRow, Row,
        RowKey, SessionRow, UpstreamAccountRow,
    },
    sessions::Sessions,
    table::Table,
    window::Millis,
};
use crate::bounds::{Bounds, CLOCK_AHEAD_MAX_MS, RESERVATION_TTL_MAX_MS};

use outbox::Outbox;

pub use pools::PoolNews;

/// What one command is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub org: &'a OrgId,
    pub now: Millis,
    /// As configured.
    pub policy: &'a Arc<OrgPolicy>,
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
    open: Option<OpenExecution>,
}

type BaselineKey = (Scope, Source, Meter);

/// What happened that no reply tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Outbox rows that were set aside.
    pub set_aside: u64,
    pub expired_sessions: u64,
    pub trial_ended: bool,
    /// In the order in which it happened.
    pub pools: Vec<PoolNews>,
    /// What pools add up to has changed.
    pub pools_touched: bool,
}

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
    book: Book,
    journal: Journal,
    baselines: Table<BaselineKey, Baseline>,
    executions: Table<ExecutionId, Execution>,
    /// None of them was last seen before.
    executions_from: Option<Millis>,
    disputed: Table<u64, DisputedRow>,
    outbox: Outbox,
    uncompleted: u64,
    budgets: Budgets,
    sessions: Sessions,
    pools: Pools,
    trial_ended_at: Option<Millis>,
    /// And that is not stored yet.
    trial_changed: bool,
    /// Not told yet.
    news: News,
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
            let ExecutionRow { id, continuations, last_seen, admitted, open } = row;
            (id, Execution { continuations, last_seen, admitted, open })
        };
        let mut book = Book::load(parts.slices, parts.counters, parts.reservations, now);
        let sessions = Sessions::load(parts.sessions, now, RESERVATION_TTL_MAX_MS);
        for (reservation, paid) in sessions.prepaid() {
            book.prepay(reservation, paid);
        }
        Self {
            now,
            rate: head.rate,
            frozen: head.frozen,
            wake_at: head.wake_at,
            stored_wake: head.wake_at,
            admitted_total: head.admitted_total,
            book,
            journal: Journal::load(head.seq, head.journal_from, head.evicted, parts.journal, parts.long_journal),
            baselines: Table::load(parts.baselines.into_iter().map(baseline)),
            executions_from: parts.executions.iter().map(|row| row.last_seen).min(),
            executions: Table::load(parts.executions.into_iter().map(execution)),
            disputed: Table::load(parts.disputed.into_iter().map(|row| (row.seq, row))),
            outbox: Outbox::load(parts.exports),
            uncompleted: head.uncompleted,
            budgets: Budgets::load(parts.budgets),
            sessions,
            pools: Pools::load(parts.pools, parts.upstream_accounts, now),
            trial_ended_at: parts.trial_ended_at,
            stored,
            ..Self::default()
        }
    }

    /// Judges one command and carries it out.
    pub fn apply(&mut self, command: &Command, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        let policy = self.advance(ctx);
        self.carry_out(command, ctx, &Context { policy: &policy, ..*ctx })
    }

    fn carry_out(&mut self, command: &Command, configured: &Context<'_>, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        match command {
            Command::Acquire(ask) => self.acquire(ask, ctx).map(Reply::Acquire),
            Command::Commit(commit) => self.commit(commit, ctx).map(Reply::Commit),
            Command::Release(release) => self.release(release, ctx).map(Reply::Release),
            Command::Extend(extend) => self.extend(extend, ctx).map(Reply::Extend),
            Command::Resume(resume) => Ok(Reply::Resume(self.resume(resume, ctx))),
            Command::Record(record) => self.record(record, ctx).map(Reply::Record),
            Command::ReportCumulative(report) => self.report(report, ctx).map(Reply::ReportCumulative),
            Command::Heartbeat(beat) => self.heartbeat(beat, ctx).map(Reply::Heartbeat),
            Command::EndSession(end) => self.end_session(end, ctx).map(Reply::EndSession),
            Command::SetBudget(set) => self.set_budget(set, configured).map(Reply::SetBudget),
            Command::ConfigurePool(set) => self.configure_pool(set, configured).map(Reply::ConfigurePool),
            Command::Pick(pick) => self.pick(pick, ctx).map(Reply::Pick),
            Command::ReportOutcome(report) => self.report_outcome(report, ctx).map(Reply::ReportOutcome),
            Command::Freeze(freeze) => self.freeze(freeze, ctx).map(Reply::Freeze),
            Command::Unfreeze(unfreeze) => self.unfreeze(unfreeze, ctx).map(Reply::Unfreeze),
            Command::Purge(_) => Ok(Reply::Purge(self.purge_all())),
            Command::TakeOutbox(_) => Ok(Reply::TakeOutbox(self.take_outbox())),
            Command::SettleOutbox(settle) => Ok(Reply::SettleOutbox(self.settle_outbox(&settle.0))),
            Command::ListOutbox(list) => Ok(Reply::ListOutbox(self.list_outbox(list))),
            Command::ReplayOutbox(replay) => Ok(Reply::ReplayOutbox(self.replay_outbox(replay.key))),
            Command::GetStatus(get) => Ok(Reply::GetStatus(self.status(&get.scope, get.known, ctx))),
            Command::Inspect(_) => Ok(Reply::Inspect(self.inspect(ctx))),
            Command::GetBudget(get) => Ok(Reply::GetBudget(self.budget(&get.scope, ctx))),
            Command::GetSessionStatus(get) => {
                Ok(Reply::GetSessionStatus(self.session_status(&get.scope, get.known, ctx)))
            }
            Command::GetSession(get) => self.session(&get.id).map(Reply::GetSession),
            Command::ListSessions(list) => Ok(Reply::ListSessions(self.list_sessions(list))),
            Command::GetPool(get) => self.pool(&get.id, ctx).map(Reply::GetPool),
            Command::RollPools(_) => Ok(Reply::RollPools(self.roll_all_pools(ctx))),
            Command::RunAudit(_) => Ok(Reply::RunAudit(self.is_known().then(|| self.book.audit(self.now)))),
        }
    }

    /// Moves the org's time on and ends what ended by then. Answers the policy in force.
    fn advance(&mut self, ctx: &Context<'_>) -> Arc<OrgPolicy> {
        self.now = self.now.max(ctx.now);
        self.expire_sessions(ctx);
        while let Some(id) = self.book.expired(self.now) {
            self.book.settle(id);
            self.note(Rpc::Release, None, Settled { reservation: id, how: Settlement::Expired });
        }
        let policy = self.budgets.in_force(ctx.policy, &self.pools, self.now);
        self.roll_pools(&Context { policy: &policy, ..*ctx });
        policy
    }

    /// What happened since this was last asked.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// What of the rows does not fit together; for every load.
    pub fn audit_rows(&self) -> Audit {
        self.book.audit_rows()
    }

    /// Carries a call out once for each request id: an id that is known is answered as before, whatever
    /// has changed since, and what is refused changes nothing.
    fn once<T: Remembered>(
        &mut self,
        rpc: Rpc,
        idempotency: Option<&Idempotency>,
        ctx: &Context<'_>,
        act: impl FnOnce(&mut Self) -> Result<T, OrgError>,
    ) -> Result<Done<T>, OrgError> {
        if let Some(outcome) = self.recall(rpc, idempotency)? {
            return Ok(Done { outcome, replayed: true });
        }
        self.make_room(idempotency, ctx)?;
        let outcome = act(self)?;
        self.note(rpc, idempotency, outcome.clone());
        Ok(Done { outcome, replayed: false })
    }

    /// What the id was answered before. An outcome of another kind of call is a damaged memory: the id is
    /// refused, and nothing is carried out a second time.
    fn recall<T: Remembered>(&self, rpc: Rpc, idempotency: Option<&Idempotency>) -> Result<Option<T>, OrgError> {
        let known = self.journal.recall(rpc, idempotency, self.now)?;
        known.map(|outcome| T::of(outcome).ok_or(OrgError::RequestIdReused)).transpose()
    }

    /// Room to remember one more id.
    fn make_room(&mut self, idempotency: Option<&Idempotency>, ctx: &Context<'_>) -> Result<(), OrgError> {
        match idempotency {
            Some(_) => self.journal.make_room(ctx.bounds.request_ids_per_org, self.now),
            None => Ok(()),
        }
    }

    /// Remembers an outcome with the next commit: for a day where its reply was promised durable.
    fn note(&mut self, rpc: Rpc, idempotency: Option<&Idempotency>, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        let long = outcome.promise() == Promise::Durable;
        self.changed = true;
        self.journal.note(Entry { at: self.now, rpc, idempotency: idempotency.cloned(), long, outcome });
    }
}

fn baseline_row(scope: Scope, source: Source, meter: Meter, value: Baseline) -> BaselineRow {
    BaselineRow { scope, source, meter, incarnation: value.incarnation, total: value.total }
}

fn execution_row(id: ExecutionId, value: &Execution) -> ExecutionRow {
    let Execution { continuations, last_seen, admitted, open } = value.clone();
    ExecutionRow { id, continuations, last_seen, admitted, open }
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
    exports: Vec<OutboxRow>,
    journal: Vec<super::rows::JournalRow>,
    long_journal: Vec<super::rows::JournalRow>,
    budgets: Vec<BudgetRow>,
    sessions: Vec<SessionRow>,
    pools: Vec<PoolRow>,
    upstream_accounts: Vec<UpstreamAccountRow>,
    trial_ended_at: Option<Millis>,
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
            Row::Outbox(row) => self.exports.push(row),
            Row::Budget(row) => self.budgets.push(row),
            Row::Session(row) => self.sessions.push(row),
            Row::TrialEnded { at } => self.trial_ended_at = Some(at),
            Row::Pool(row) => self.pools.push(row),
            Row::UpstreamAccount(row) => self.upstream_accounts.push(row),
        }
    }
}
