//! What the store keeps of an org, in domain terms. The store turns rows into bytes; nothing here
//! knows how.

mod as_of;
mod kinds;
mod names;
mod overrides;
mod request_ids;
mod sessions;
mod usage;

use std::{collections::BTreeMap, sync::Arc};

use super::{
    folded::Folded,
    ids::{AccountId, Amounts, DecisionId, ExecutionId, Incarnation, Meter, PoolId, Reason, Scope, Source},
    lease::LeaseTime,
    ledger::HourSlice,
    outcome::Entry,
    policy::PoolSettings,
    rate::{Counter, RateRecord},
    scopes::Scopes,
    window::{Millis, Window},
};

pub use as_of::AsOf;
pub(super) use kinds::Keeper;
pub use kinds::{OrgRows, OrgWrite, Row, RowKey, RowKind, RowsByKind};
pub use names::{FormerName, LeadsToRow, NamesRow};
pub use overrides::{GrantName, OverrideRow, OverrideSubject, Setting};
pub(in crate::domain) use overrides::{RATE, SESSIONS};
pub use request_ids::{IdPageRow, KeptHead, KeptId, RequestIdRow, SettledRow};
pub use sessions::{FormerSessions, Heard, PastLife, SessionRow, SessionState};
pub use usage::{PlaneDayRow, PlaneOfRow, PlaneUse, UsageDayRow, UsageKeptRow, UsageMonthRow};

/// One per org: the sequence, the backstop, the freeze, the timer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Journal rows so far: every commit that remembers something adds one.
    pub seq: u64,
    /// Oldest journal row that is kept whatever it holds; from here to `seq` there is no gap.
    pub journal_from: u64,
    /// Service time of the last change.
    pub last_at: Millis,
    /// The record of the backstop; `None` = no call was counted, or its windows are long over.
    pub rate: Option<RateRecord>,
    /// Why the org is frozen; `None` = it is not.
    pub frozen: Option<Reason>,
    /// Mirrored by a timer row, so that a sweep finds it without loading the org.
    pub wake_at: Option<Millis>,
    /// Acquires allowed and charged since the org was first seen.
    pub admitted_total: u64,
    /// Request ids given up early.
    pub evicted: u64,
    /// Executions that were admitted and never completed.
    pub uncompleted: u64,
    /// Request ids of durable calls, which have rows of their own.
    pub kept: KeptHead,
}

/// What one commit of an org remembers: outcomes with their request ids. What is remembered for a day has rows of
/// its own and is here only until its name is in a page. A commit that remembers nothing has no row and no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// The number of the commit; the first is 1.
    pub seq: u64,
    /// Service time of the commit.
    pub at: Millis,
    /// In the order in which they were noted.
    pub entries: Vec<Entry>,
}

/// Amounts that are held until they are committed, released, or expire. For a day after its expiry it is
/// remembered, and holds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    /// The decision that reserved them.
    pub id: DecisionId,
    /// Whose limits they count against, with those of the org.
    pub scopes: Scopes,
    /// In the units of their meters.
    pub amounts: Amounts,
    /// What of it is held in a shared ledger.
    pub folded: Folded,
    /// When it was made; `None` = by a tollgate that did not say.
    pub reserved_at: Option<Millis>,
    /// When the hold ends by itself.
    pub expires_at: LeaseTime,
    /// When it did; `None` = it is open.
    pub expired_at: Option<Millis>,
    /// What was charged when it was made, which is no part of it.
    pub cost: Amounts,
}

impl ReservationRow {
    /// One that is open, and holds its amounts in ledgers of its own.
    pub fn open(id: DecisionId, scopes: Scopes, amounts: Amounts, reserved_at: Millis, expires_at: LeaseTime) -> Self {
        let (folded, reserved_at) = (Folded::default(), Some(reserved_at));
        let cost = Amounts::new();
        Self { id, scopes, amounts, folded, reserved_at, expires_at, expired_at: None, cost }
    }

    /// Whether it holds its amounts.
    pub fn is_open(&self) -> bool {
        self.expired_at.is_none()
    }

    /// What it is made of in `meter`, whether it still holds it or not.
    pub fn amount(&self, meter: &Meter) -> Option<u64> {
        self.amounts.iter().find(|(held, _)| held == meter).map(|(_, amount)| *amount)
    }

    /// Whether what it has of `meter` is held in the ledger of `scope`.
    pub fn is_held_in(&self, scope: &Scope, meter: &Meter) -> bool {
        self.folded.charged(&self.scopes, meter).any(|held| held == scope)
    }
}

/// The last total of a cumulative source, as reported: also above what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineRow {
    /// Where its growth is recorded, besides the org.
    pub scopes: Scopes,
    /// Unique in its set of scopes and meter.
    pub source: Source,
    /// What it counts.
    pub meter: Meter,
    /// Its life: another one counts from 0.
    pub incarnation: Incarnation,
    /// In the unit of the meter.
    pub total: u64,
}

/// A running execution, as far as it is known: how often it was continued, and what it will report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionRow {
    /// The client's name for it, or that of its decision.
    pub id: ExecutionId,
    /// Calls of Resume that were counted.
    pub continuations: u64,
    /// When it was admitted or last continued.
    pub last_seen: Millis,
    /// An Acquire with pause admitted it.
    pub admitted: bool,
    /// What its completion reports to the billing provider; `None` once it has.
    pub open: Option<OpenExecution>,
}

/// An execution that was admitted and has not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExecution {
    /// Where it was admitted, besides the org.
    pub scopes: Scopes,
    /// What its admission was charged, by meter.
    pub cost: Amounts,
    /// Service time of the admission.
    pub admitted_at: Millis,
}

/// An amount that was reported and not believed. Kept, never booked, never dropped in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputedRow {
    /// Numbers the disputed entries of the org.
    pub seq: u64,
    /// Where it was reported, besides the org.
    pub scopes: Scopes,
    /// Who reported it.
    pub source: Source,
    /// What it is an amount of.
    pub meter: Meter,
    /// In the unit of the meter.
    pub amount: u64,
    /// When it was reported.
    pub at: Millis,
}

/// Limits on `spend` of one scope that were set at run time, in micro-USD by the name of the period. As
/// stored: a name or an amount that means nothing is kept, so that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetRow {
    /// Whose spend the limits are on; empty is the org.
    pub scope: Scope,
    /// Grows by one with every change.
    pub version: u64,
    /// Micro-USD by the name of the period.
    pub limits: BTreeMap<Arc<str>, u64>,
}

/// A pool of upstream accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// Unique in its org.
    pub id: PoolId,
    /// Grows by one with every change of its accounts or settings.
    pub version: u64,
    /// Every account is exhausted, and that was announced: as an older tollgate kept it, an alert says so now.
    pub announced: bool,
    /// What was set for the pool, over what is configured.
    pub settings: PoolSettings,
}

/// An upstream account of a pool: how it is configured, and what is known of it beside its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAccountRow {
    /// A secret: shown masked.
    pub id: AccountId,
    /// The one pool that it is in.
    pub pool: PoolId,
    /// `None` = as the node is configured.
    pub daily_limit: Option<u64>,
    /// Calls of the limit that are not used; `None` = as the node is configured.
    pub safety_buffer: Option<u64>,
    /// The period of the limit; `None` = as the node is configured.
    pub window: Option<Window>,
    /// Calls per clock minute; `None` = as the pool says.
    pub per_minute: Option<u64>,
    /// When it was last picked; `None` = never.
    pub last_used_at: Option<Millis>,
    /// What was reported in the running window.
    pub reported: Reported,
    /// Its upstream said that the quota is used up; `None` = it did not, or that window has ended.
    pub evidence: Option<Evidence>,
    /// Its route was refused, and has failed: each lasts by itself.
    pub quarantine: Option<Avoided>,
    /// `None` = it has not failed of late.
    pub cooldown: Option<Avoided>,
    /// `None` = its upstream has not asked to wait of late.
    pub limited: Option<Limited>,
    /// It is exhausted, and that was announced: as an older tollgate kept it, an alert says so now.
    pub announced: bool,
}

/// What was reported of an account in one window of it. Nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reported {
    /// End of the window.
    pub until: Millis,
    /// Calls that failed, for whatever reason but the quota.
    pub failed: u64,
    /// Calls that the upstream refused because the quota is used up.
    pub quota_errors: u64,
    /// Bytes sent to the upstream.
    pub bytes_up: u64,
    /// Bytes received from the upstream.
    pub bytes_down: u64,
}

impl Reported {
    /// Both directions together.
    pub fn bytes(&self) -> u64 {
        self.bytes_up.saturating_add(self.bytes_down)
    }
}

/// An upstream said that the quota of an account is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// When it was reported.
    pub at: Millis,
    /// The time that the upstream named, or the end of the window in which it was said.
    pub until: Millis,
    /// The limit at that time: a higher one says that there is more.
    pub limit: u64,
}

/// A route is avoided for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avoided {
    /// When the last report came that it is avoided for.
    pub since: Millis,
    /// When it is used again like any other.
    pub until: LeaseTime,
}

/// An upstream asked to wait a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// When the last report came that said so.
    pub since: Millis,
    /// When its account is used again like any other.
    pub until: LeaseTime,
    /// Length of the last pause of which the upstream named no time, in milliseconds: the next one is twice as
    /// long. 0 = it named every time.
    pub pause: Millis,
    /// From then on a pause is the first again.
    pub forgotten_at: LeaseTime,
}

/// When the org is to be woken: a sweep finds it without loading any org. Names the instant that the head
/// has as `wake_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerRow {
    /// Milliseconds of service time.
    pub wake_at: Millis,
}

/// One hour of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceRow {
    /// Whose ledger it is.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Usage of the hour, with minutes while the hour is young.
    pub slice: HourSlice,
}

/// The counter of a window that is no sum of slices: aligned, anchored, in a zone, or a year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    /// Whose usage it counts.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// The window of the limit.
    pub window: Window,
    /// When the window began, and what was used in it.
    pub counter: Counter,
}

/// How far the log of events was delivered to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsDeliveredRow {
    /// Every event up to this number is delivered, or was not wanted.
    pub number: u64,
}

/// The org's trial has used up what it includes, and that was announced: as an older tollgate kept it, an alert says so now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialEndedRow {
    /// When it was announced.
    pub at: Millis,
}
