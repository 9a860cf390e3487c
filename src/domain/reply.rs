//! What an org answers: decisions, views of what it keeps, and what an audit of them found.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use super::{
    decision::{Decision, LimitView},
    ids::{Meter, PoolId, Reason, Scope},
    ledger::HourSlice,
    outbox::OutboxRow,
    rate::{Counter, RateRecord},
    rows::{BaselineRow, BudgetRow, DisputedRow, ExecutionRow, Reported, ReservationRow, SessionRow, SessionState},
    window::{Millis, Window},
};

/// What a purge found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    pub existed: bool,
}

/// The outbox after deliveries were settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxSettled {
    /// When the next row is due.
    pub next_due: Option<Millis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxReplayed {
    pub count: usize,
}

/// Every limit without consuming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub decision: Decision,
    pub frozen: bool,
    pub plan: String,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodView {
    pub period: &'static str,
    /// As it is enforced; `None` without an amount.
    pub limit: Option<u64>,
    /// It was set at run time.
    pub set: bool,
    pub used: u64,
    pub reserved: u64,
    /// `None` without a limit.
    pub remaining: Option<i64>,
}

/// What a session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Continue,
    /// This share of the quota is used, in percent.
    Warn(u64),
    /// Within so many milliseconds.
    Stop(Millis),
}

/// What a session gets after a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    pub action: Action,
    pub state: SessionState,
    pub quota: Quota,
    /// Time until the next one.
    pub heartbeat: Millis,
    pub expires_at: Millis,
}

/// Compute of the org in its monthly quota, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub used: u64,
    pub reserved: u64,
    /// `None` = unlimited.
    pub amount: Option<u64>,
}

/// A session, and what is left of its first slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    pub row: SessionRow,
    pub held: u64,
}

/// Whether a session could start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    pub decision: Decision,
    pub plan: String,
    pub quota: Quota,
    pub running: u64,
    /// `None` = unlimited.
    pub max: Option<u64>,
}

/// A pool as it stands; of one that is not there, version 0 and no accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    pub id: PoolId,
    pub version: u64,
    /// In the order of their ids.
    pub accounts: Vec<AccountView>,
    pub summary: PoolSummary,
}

/// What a pool adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSummary {
    /// Calls that all windows have room for: limits less buffers.
    pub capacity: u64,
    pub used: u64,
    /// What can still be picked.
    pub remaining: u64,
    pub failed: u64,
    pub quota_errors: u64,
    pub accounts: u64,
    /// Accounts that are not exhausted, and how many of them are avoided.
    pub active: u64,
    pub avoided: u64,
    pub soonest_reset: Option<Millis>,
    /// Both since midnight UTC.
    pub total_calls: u64,
    pub bytes: u64,
    pub estimate: Option<u64>,
}

impl PoolSummary {
    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            capacity: self.capacity.saturating_add(other.capacity),
            used: self.used.saturating_add(other.used),
            remaining: self.remaining.saturating_add(other.remaining),
            failed: self.failed.saturating_add(other.failed),
            quota_errors: self.quota_errors.saturating_add(other.quota_errors),
            accounts: self.accounts.saturating_add(other.accounts),
            active: self.active.saturating_add(other.active),
            avoided: self.avoided.saturating_add(other.avoided),
            soonest_reset: self.soonest_reset.into_iter().chain(other.soonest_reset).min(),
            total_calls: self.total_calls.saturating_add(other.total_calls),
            bytes: self.bytes.saturating_add(other.bytes),
            estimate: self.estimate.zip(other.estimate).map(|(a, b)| a.saturating_add(b)),
        }
    }
}

/// Why an account is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exhaustion {
    /// Its limit here is used up.
    Limit,
    /// Its upstream said so.
    Upstream,
}

impl Exhaustion {
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Upstream => "upstream",
        }
    }
}

/// The route of an account that is avoided, at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// It was refused; otherwise it has failed.
    pub refused: bool,
    pub since: Millis,
    pub until: Millis,
}

/// An upstream account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Masked.
    pub account: String,
    pub daily_limit: u64,
    pub safety_buffer: u64,
    pub window: Window,
    pub used: u64,
    pub reported: Reported,
    pub last_used_at: Option<Millis>,
    pub window_ends_at: Option<Millis>,
    pub exhausted: Option<Exhaustion>,
    /// Of an exhausted one: when it is usable again; `None` = not by itself.
    pub available_at: Option<Millis>,
    /// While it is avoided.
    pub route: Option<Route>,
    pub estimate: Option<u64>,
    /// Calls that it can still be picked for.
    pub left: u64,
}

impl AccountView {
    /// What is left of the limit; may be negative.
    pub fn remaining(&self) -> i128 {
        i128::from(self.daily_limit.saturating_sub(self.safety_buffer)) - i128::from(self.used)
    }
}

impl fmt::Display for AccountView {
    /// `sk-a…9f3c: 19500 of 20000 less 500 used, exhausted by limit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, used, daily_limit, safety_buffer, exhausted, .. } = self;
        write!(f, "{account}: {used} of {daily_limit} less {safety_buffer} used")?;
        exhausted.map_or(Ok(()), |by| write!(f, ", exhausted by {}", by.name()))
    }
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Numbers that were derived again.
    pub checked: u64,
    /// How many of them are not what is kept, and the first of those.
    pub drifted: u64,
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
    pub scope: Scope,
    pub meter: Meter,
    /// Which number.
    pub what: String,
    pub kept: u64,
    /// At least and at most.
    pub derived: (u64, u64),
}

/// Everything kept of one org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub plan: String,
    pub frozen: Option<Reason>,
    pub rate: Option<RateRecord>,
    pub limits: Vec<LimitView>,
    pub ledgers: Vec<LedgerView>,
    pub counters: Vec<(Scope, Meter, Window, Counter)>,
    pub reservations: Vec<ReservationRow>,
    pub baselines: Vec<BaselineRow>,
    pub executions: Vec<ExecutionRow>,
    pub disputed: Vec<DisputedRow>,
    pub wake_at: Option<Millis>,
    pub rate_purge_at: Option<Millis>,
    pub next_expiry_at: Option<Millis>,
    pub seq: u64,
    pub journal_from: u64,
    pub remembered: usize,
    pub evicted: u64,
    pub admitted_total: u64,
    /// Usage that has not reached the billing provider, what was set aside included.
    pub exports: Vec<OutboxRow>,
    pub uncompleted: u64,
    pub budgets: Vec<BudgetRow>,
    pub sessions: Vec<SessionView>,
    pub pools: Vec<(PoolId, PoolSummary)>,
    pub trial_ended_at: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    pub scope: Scope,
    pub meter: Meter,
    pub hours: Vec<HourSlice>,
    pub reserved: u64,
}
