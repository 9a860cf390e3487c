//! What an org answers: decisions, views of what it keeps, and what an audit of them found.

mod control;
mod names;
mod overview;
mod pools;
mod refund;
mod usage;

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, sync::Arc};

use super::{
    decision::{Decision, LimitView, LimitViews},
    denials::Lately,
    events::Undelivered,
    ids::{DecisionId, Meter, OrgId, PoolId, Reason, Scope},
    lease::{Due, Now},
    ledger::HourSlice,
    limit::Origin,
    outbox::OutboxRow,
    rate::{Counter, RateRecord},
    rows::{
        BaselineRow, BudgetRow, DisputedRow, ExecutionRow, KeptHead, NamesRow, ReservationRow, RowKind, SessionRow,
        SessionState, UsageKeptRow,
    },
    scopes::Scopes,
    window::{Millis, Window},
};
use crate::bounds::LATE_COMMIT_MS;

pub use control::{OverrideChange, OverrideView, Standing, WindowChange};
pub use names::{Claimed, NamesView};
pub use overview::{Overview, Today};
pub use pools::{AccountView, Exhaustion, PoolSummary, PoolView, Route};
pub use refund::RefundView;
pub use usage::SlicedUsage;

/// What a purge found and removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Something was stored.
    pub existed: bool,
    /// Rows that were removed, by kind; none where nothing was stored.
    pub rows: BTreeMap<RowKind, u64>,
    /// Rows of usage that stay until billing has them.
    pub billed_later: u64,
    /// Ids that are names of the org until they are freed.
    pub names: Vec<OrgId>,
    /// Service time of the purge.
    pub at: Millis,
}

/// The outbox after deliveries were settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxSettled {
    /// When the next row is due.
    pub next_due: Option<Millis>,
}

/// Rows that are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxReplayed {
    /// How many they are.
    pub count: usize,
}

/// Events that wait for the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeliveredPage {
    /// Names this answer.
    pub taken: DecisionId,
    /// The oldest first; empty = nothing waits.
    pub undelivered: Vec<Undelivered>,
}

/// Every limit without consuming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What an Acquire of one execution would be answered.
    pub decision: Decision,
    /// An operator froze the org.
    pub frozen: bool,
    /// Name of the plan in force; empty without one.
    pub plan: String,
    /// Something is kept of the org.
    pub is_known: bool,
    /// What was denied lately, whatever this call would be answered.
    pub lately: Lately,
    /// The billing provider keeps the balance, by the plan in force.
    pub asks_provider: bool,
    /// What the org is called; `None` = as its id.
    pub name: Option<OrgId>,
}

/// What may be spent in one scope and what was, in micro-USD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetView {
    /// Of the limits that were set at run time; 0 before the first.
    pub version: u64,
    /// Every named period, the shortest first.
    pub periods: Vec<PeriodView>,
    /// Stored limits that cannot be understood, as they are.
    pub malformed: Vec<(Arc<str>, u64)>,
}

/// The limit of one named period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodView {
    /// `hourly`, `daily`, …
    pub period: &'static str,
    /// In the answer to a change: what was in force before it. `None` elsewhere, in a replay, and without an amount.
    pub previous: Option<u64>,
    /// As it is enforced; `None` without an amount.
    pub limit: Option<u64>,
    /// It was set at run time.
    pub set: bool,
    /// Where it comes from: what is set may be overridden.
    pub origin: Origin,
    /// Micro-USD in the period.
    pub used: u64,
    /// Micro-USD held by reservations.
    pub reserved: u64,
    /// `None` without a limit.
    pub remaining: Option<i64>,
}

/// What a session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Continue,
    /// This share of the quota is used, in percent.
    Warn(u64),
    /// Within so many milliseconds.
    Stop(Millis),
}

/// What a session gets after a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// What the session does next.
    pub action: Action,
    /// Running, or how it ended.
    pub state: SessionState,
    /// Compute of the org in its monthly quota.
    pub quota: Quota,
    /// Time until the next one.
    pub heartbeat: Millis,
    /// When the session expires without another heartbeat.
    pub expires_at: Due,
    /// Scopes whose compute is counted in a ledger that scopes share.
    pub folded: Scopes,
}

/// Compute of the org in its monthly quota, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Used this month.
    pub used: u64,
    /// Held by reservations, first slices included.
    pub reserved: u64,
    /// `None` = unlimited.
    pub amount: Option<u64>,
}

/// A session, and what is left of its first slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The session as it is stored.
    pub row: SessionRow,
    /// What is left of its first slice, in milliseconds.
    pub held: u64,
    /// When it expires without a heartbeat; when it ended, once it has.
    pub ends_at: Due,
    /// Scopes whose compute is held, or was counted by its end, in a ledger that scopes share.
    pub folded: Scopes,
}

/// A hold, and when it ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationView {
    /// The hold as it is stored.
    pub row: ReservationRow,
    /// If the node stays up; when it expired, once it has.
    pub expires_at: Due,
    /// Until when it can be committed all the same, once it has expired.
    pub commit_by: Option<Due>,
}

impl ReservationView {
    /// A hold as it is now.
    pub fn of(row: &ReservationRow, now: &Now) -> Self {
        let expires_at = row.expired_at.map_or_else(|| now.ends(row.expires_at), Due::over);
        let commit_by = row.expired_at.map(|at| now.due(at.saturating_add(LATE_COMMIT_MS)));
        Self { row: row.clone(), expires_at, commit_by }
    }
}

/// Whether a session could start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// What a start now would be answered.
    pub decision: Decision,
    /// Name of the plan in force; empty without one.
    pub plan: String,
    /// Compute of the org in its monthly quota.
    pub quota: Quota,
    /// Sessions that run now.
    pub running: u64,
    /// `None` = unlimited.
    pub max: Option<u64>,
    /// The billing provider keeps the balance, by the plan in force.
    pub asks_provider: bool,
}

/// Where amounts were counted that are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The limits of the scopes and of the org as they are now.
    pub limits: LimitViews,
    /// The wall clock of the answer.
    pub at: Millis,
    /// Scopes of which something is counted in a ledger that scopes share.
    pub folded: Scopes,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Numbers that were derived again.
    pub checked: u64,
    /// How many of them are not what is kept, and the first of those.
    pub drifted: u64,
    /// The first 100 of them.
    pub drift: Vec<Drift>,
}

/// What an audit names of an org that has drifted in very many places.
const DRIFT_NAMED: usize = 100;

impl Audit {
    /// Holds a number against the range that was derived for it.
    pub(super) fn check(
        &mut self,
        (scope, meter): (&Scope, &Meter),
        kept: u64,
        derived: RangeInclusive<u64>,
        what: impl FnOnce() -> String,
    ) {
        self.checked += 1;
        if derived.contains(&kept) {
            return;
        }
        self.drifted += 1;
        if self.drift.len() < DRIFT_NAMED {
            let (scope, meter, what) = (scope.clone(), meter.clone(), what());
            self.drift.push(Drift { scope, meter, what, kept, derived: (*derived.start(), *derived.end()) });
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, meter, what, kept, derived: (least, most) } = self;
        write!(f, "{meter} of \"{}\": {what} is kept as {kept}, and is ", scope.shown())?;
        match (least, most) {
            (least, most) if least == most => write!(f, "{least}"),
            (least, &u64::MAX) => write!(f, "at least {least}"),
            (least, most) => write!(f, "{least} to {most}"),
        }
    }
}

/// A number that is kept, and is not what the ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Whose number it is.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Which number.
    pub what: String,
    /// The number that is kept.
    pub kept: u64,
    /// At least and at most.
    pub derived: (u64, u64),
}

/// Everything kept of one org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Name of the plan in force; empty without one.
    pub plan: String,
    /// Why the org is frozen; `None` = it is not.
    pub frozen: Option<Reason>,
    /// The record of the backstop; `None` = none is kept.
    pub rate: Option<RateRecord>,
    /// Every limit of the org and of the scopes that have one.
    pub limits: Vec<LimitView>,
    /// The wall clock of the answer.
    pub at: Millis,
    /// Usage by scope and meter.
    pub ledgers: Vec<LedgerView>,
    /// Scope, meter and window of each counter, and what it counts.
    pub counters: Vec<(Scope, Meter, Window, Counter)>,
    /// Open reservations.
    pub reservations: Vec<ReservationView>,
    /// How many expired within a day, and can still be committed.
    pub expired_reservations: usize,
    /// Last totals of cumulative sources.
    pub baselines: Vec<BaselineRow>,
    /// Executions with continuations, or without their completion.
    pub executions: Vec<ExecutionRow>,
    /// Amounts that were reported and not recorded.
    pub disputed: Vec<DisputedRow>,
    /// When the stored timer is due; `None` = nothing runs out.
    pub wake_at: Option<Millis>,
    /// When the record of the backstop is removed.
    pub rate_purge_at: Option<Millis>,
    /// When the next reservation expires.
    pub next_expiry_at: Option<Millis>,
    /// Commits so far that remembered something.
    pub seq: u64,
    /// The oldest of their numbers that is kept.
    pub journal_from: u64,
    /// Request ids that are remembered.
    pub remembered: u64,
    /// Request ids of plain calls that were given up before their time.
    pub evicted: u64,
    /// Request ids of durable calls, on disk.
    pub kept: KeptHead,
    /// From then on every request id of a durable call is known.
    pub ids_known_from: Millis,
    /// Acquires that were allowed and charged since the org was first seen.
    pub admitted_total: u64,
    /// Usage that has not reached the billing provider, what was set aside included.
    pub exports: Vec<OutboxRow>,
    /// Executions that were admitted and never completed.
    pub uncompleted: u64,
    /// What it is called; `None` = it was never renamed.
    pub names: Option<NamesRow>,
    /// Limits that were set at run time.
    pub budgets: Vec<BudgetRow>,
    /// Sessions, running or ended within a day.
    pub sessions: Vec<SessionView>,
    /// Each pool with what its accounts add up to.
    pub pools: Vec<(PoolId, PoolSummary)>,
    /// What was set over everything else, and what of it ended.
    pub overrides: Vec<OverrideView>,
    /// When the freeze ends by itself; `None` = it does not.
    pub frozen_until: Option<Millis>,
    /// When the end of a trial was announced; `None` = it was not.
    pub trial_ended_at: Option<Millis>,
    /// Usage of past days and months, on disk.
    pub usage: UsageKeptRow,
}

/// What is kept of one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    /// Whose usage it is.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Every hour with usage that is kept, the oldest first.
    pub hours: Vec<HourSlice>,
    /// Held by reservations, in the unit of the meter.
    pub reserved: u64,
}
