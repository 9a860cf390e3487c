//! What can be asked of an org, what it answers, and what can go wrong.

use std::{fmt, sync::Arc};

use super::{
    balance::BalanceVerdict,
    decision::{Decision, LimitView},
    exports::{Delivery, ExportKey, ExportRow},
    ids::{DecisionId, ExecutionId, Identity, Incarnation, Meter, Plane, Reason, RequestId, Scope, SessionId, Source},
    journal::{Rpc, Settlement},
    rate::{Counter, RateRecord},
    rows::{BaselineRow, BudgetRow, DisputedRow, ExecutionRow, ReservationRow, SessionRow, SessionState},
    window::{Millis, Window},
};
use crate::domain::ledger::HourSlice;

/// Amounts by meter, each meter once.
pub type Amounts = Vec<(Meter, u64)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Normal,
    CheckOnly,
    Shadow,
}

/// A request id with the fingerprint of the body it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub id: RequestId,
    /// Of everything else in the request.
    pub fingerprint: u64,
}

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    Execution,
    /// Starts as one step with its slot and its first slice.
    Session(NewSession),
    /// Whether any could start: for a look, never for a charge.
    AnySession,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    pub id: SessionId,
    pub identity: Identity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    pub run: Run,
    pub scope: Scope,
    /// For logs; no rule looks at it.
    pub plane: Plane,
    pub idempotency: Option<Idempotency>,
    pub cost: Amounts,
    pub reserve: Amounts,
    /// 0 = the default.
    pub reservation_ttl: Millis,
    pub mode: Mode,
    pub explain: bool,
    /// Remember the execution for its continuations.
    pub with_pause: bool,
    /// `None` until the provider was asked.
    pub balance: Option<BalanceVerdict>,
    /// Whether the org is exempt from the backstop; `None` until the provider was asked.
    pub exempt: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Shared, because it may have to be sent a second time, with the provider's verdict.
    Acquire(Arc<Acquire>),
    Commit {
        reservation: DecisionId,
        actual: Amounts,
        idempotency: Idempotency,
    },
    Release {
        reservation: DecisionId,
        idempotency: Idempotency,
    },
    Extend {
        reservation: DecisionId,
        ttl: Millis,
        idempotency: Idempotency,
    },
    Resume {
        execution: ExecutionId,
        idempotency: Option<Idempotency>,
    },
    Record {
        scope: Scope,
        usage: Amounts,
        decision: Option<DecisionId>,
        idempotency: Idempotency,
    },
    ReportCumulative(Box<ReportCumulative>),
    Heartbeat(Box<Heartbeat>),
    EndSession(Box<EndSession>),
    /// Sets limits of one scope.
    SetBudget(Box<SetBudget>),
    Freeze {
        reason: Reason,
        idempotency: Idempotency,
    },
    Unfreeze {
        idempotency: Idempotency,
    },
    /// Forgets everything but usage that has not reached the billing provider.
    Purge,
    /// Hands out outbox rows that are due, at most [`crate::bounds::EXPORT_BATCH`].
    TakeExports,
    /// What became of rows that were handed out.
    SettleExports(Vec<(ExportKey, Delivery)>),
    /// Rows of the outbox in the order of their keys, from behind `after`, at most `max`.
    ListExports {
        after: Option<ExportKey>,
        max: usize,
        /// Only what was set aside.
        set_aside: bool,
    },
    /// Tries again what was set aside: one row, or all.
    ReplayExports {
        key: Option<ExportKey>,
    },
    Status {
        scope: Scope,
        /// The provider's word on the balance, if it was asked.
        balance: Option<BalanceVerdict>,
        /// The backstop spares the org.
        exempt: bool,
    },
    Inspect,
    Budget {
        scope: Scope,
    },
    /// Whether a session could start, and what is left for it; as [`Command::Status`].
    SessionStatus {
        scope: Scope,
        balance: Option<BalanceVerdict>,
        exempt: bool,
    },
    Session {
        id: SessionId,
    },
    /// Sessions in the order of their ids, from behind `after`, at most `max`.
    Sessions {
        after: Option<SessionId>,
        max: usize,
        /// Only those that run.
        running: bool,
    },
    /// Derives every number that is kept from the ledger again.
    Audit,
}

/// A sign of life, with all the time that the session has run in one life of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    pub session: SessionId,
    pub identity: Identity,
    pub incarnation: Incarnation,
    /// Milliseconds.
    pub total: u64,
    pub idempotency: Option<Idempotency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndSession {
    pub session: SessionId,
    pub identity: Identity,
    /// The last total of an incarnation; without one the time since the last word is booked.
    pub last: Option<(Incarnation, u64)>,
    pub idempotency: Idempotency,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetBudget {
    pub scope: Scope,
    /// Nothing of what was set before stays.
    pub replace: bool,
    /// Micro-USD by the name of a period; `None` clears.
    pub periods: Vec<(&'static str, Option<u64>)>,
    /// Refused where the budget has another version.
    pub expected_version: Option<u64>,
    pub idempotency: Idempotency,
}

impl SetBudget {
    pub(super) fn rpc(&self) -> Rpc {
        if self.replace { Rpc::ReplaceBudget } else { Rpc::UpdateBudget }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportCumulative {
    pub scope: Scope,
    pub source: Source,
    pub incarnation: Incarnation,
    pub meter: Meter,
    pub total: u64,
    pub idempotency: Idempotency,
}

/// What a reply waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing was changed.
    None,
    /// The change is written behind; the reply leaves at once.
    WriteBehind,
    /// The reply leaves when the change is on disk.
    Durable,
}

impl Acquire {
    /// An execution that asks for nothing else.
    pub fn of(scope: Scope, cost: Amounts) -> Self {
        Self {
            run: Run::Execution,
            scope,
            plane: Plane::unnamed(),
            idempotency: None,
            cost,
            reserve: Amounts::new(),
            reservation_ttl: 0,
            mode: Mode::Normal,
            explain: false,
            with_pause: false,
            balance: None,
            exempt: None,
        }
    }

    /// A hold is money, and a session holds: it waits for the disk.
    pub fn durability(&self) -> Durability {
        match self.mode {
            Mode::CheckOnly => Durability::None,
            _ if self.reserve.is_empty() && self.run == Run::Execution => Durability::WriteBehind,
            _ => Durability::Durable,
        }
    }

    pub(super) fn rpc(&self) -> Rpc {
        if self.run == Run::Execution { Rpc::Acquire } else { Rpc::StartSession }
    }
}

impl Command {
    /// The strongest promise its reply can carry. A denial promises nothing.
    pub fn durability(&self) -> Durability {
        match self {
            Self::Status { .. }
            | Self::Inspect
            | Self::Budget { .. }
            | Self::SessionStatus { .. }
            | Self::Session { .. }
            | Self::Sessions { .. }
            | Self::Audit
            | Self::TakeExports
            | Self::ListExports { .. } => Durability::None,
            Self::Acquire(acquire) => acquire.durability(),
            Self::Resume { .. } => Durability::WriteBehind,
            Self::Commit { .. }
            | Self::Release { .. }
            | Self::Extend { .. }
            | Self::Record { .. }
            | Self::ReportCumulative(_)
            | Self::Heartbeat(_)
            | Self::EndSession(_)
            | Self::SetBudget(_)
            | Self::Freeze { .. }
            | Self::Unfreeze { .. }
            | Self::Purge
            | Self::SettleExports(_)
            | Self::ReplayExports { .. } => Durability::Durable,
        }
    }
}

/// What only the billing provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Balance,
    Exemption,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Decision(Box<Decision>),
    /// Nothing was changed: ask the provider and send the command again with its word.
    Needs(Need),
    Settled {
        replayed: bool,
    },
    Extended {
        expires_at: Millis,
        replayed: bool,
    },
    Resumed {
        continuations: u64,
        replayed: bool,
    },
    Recorded {
        replayed: bool,
    },
    Reported {
        increment: u64,
        reset: bool,
        disputed: u64,
        replayed: bool,
    },
    Frozen {
        was_frozen: bool,
        replayed: bool,
    },
    Purged {
        existed: bool,
    },
    Exports(Vec<ExportRow>),
    /// When the next one is due.
    ExportsSettled {
        next_due: Option<Millis>,
    },
    ExportsReplayed {
        count: usize,
    },
    Status(Box<Status>),
    Inspected(Option<Box<Snapshot>>),
    Budget(Box<BudgetView>),
    BudgetSet {
        budget: Box<BudgetView>,
        replayed: bool,
    },
    Beat(Box<Beat>),
    SessionEnded {
        session: Box<SessionView>,
        replayed: bool,
    },
    SessionStatus(Box<SessionStatus>),
    Session(Box<SessionView>),
    Sessions(Vec<SessionView>),
    Audited(Audit),
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
    /// Stored limits that can not be understood, as they are.
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

/// What a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Continue,
    /// This share of the quota is used, in percent.
    Warn(u64),
    /// Within so many milliseconds.
    Stop(Millis),
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    pub action: Action,
    pub state: SessionState,
    /// Milliseconds that this heartbeat booked, and that it reported and were not believed.
    pub booked: u64,
    pub disputed: u64,
    pub quota: Quota,
    pub expires_at: Millis,
    pub replayed: bool,
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
    pub(super) fn check(&mut self, scope: &Scope, meter: &Meter, what: String, kept: u64, derived: (u64, u64)) {
        self.checked += 1;
        if !(derived.0..=derived.1).contains(&kept) {
            self.note(scope, meter, what, kept, derived);
        }
    }

    pub(super) fn note(&mut self, scope: &Scope, meter: &Meter, what: String, kept: u64, derived: (u64, u64)) {
        self.drifted += 1;
        if self.drift.len() < DRIFT_NAMED {
            self.drift.push(Drift { scope: scope.clone(), meter: meter.clone(), what, kept, derived });
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
    pub exports: Vec<ExportRow>,
    pub uncompleted: u64,
    pub budgets: Vec<BudgetRow>,
    pub sessions: Vec<SessionView>,
    pub trial_ended_at: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    pub scope: Scope,
    pub meter: Meter,
    pub hours: Vec<HourSlice>,
    pub reserved: u64,
}

/// Why a command was refused. None of these is a verdict about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgError {
    /// The request id was used with another body.
    RequestIdReused,
    /// No room for another request id, and none is old enough to give up.
    RequestMemoryFull,
    ReservationNotFound,
    ReservationSettled(Settlement),
    TooManyReservations,
    /// Longer than an operator lets a reservation hold, in milliseconds.
    ReservationTooLong {
        most: Millis,
    },
    TooManyLedgers,
    TooManySources,
    TooManyDisputed,
    /// The budget was changed by somebody else.
    BudgetVersion {
        current: u64,
    },
    TooManyBudgets,
    SessionUnknown,
    /// Running, or ended not long ago.
    SessionExists,
    OtherIdentity,
    TooManySessions,
}

impl fmt::Display for OrgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservationTooLong { most } => {
                return write!(f, "a reservation may hold for at most {most} milliseconds; ask for less and extend it");
            }
            Self::BudgetVersion { current } => {
                return write!(f, "the budget has version {current}, not expected_version; read it again");
            }
            Self::RequestIdReused => "request_id was used before with another body; use a new one",
            Self::RequestMemoryFull => "this org remembers as many request ids as allowed; try again in a minute",
            Self::ReservationNotFound => "no such reservation, or it was settled more than a day ago",
            Self::ReservationSettled(Settlement::Committed) => "the reservation is already committed",
            Self::ReservationSettled(Settlement::Released) => "the reservation is already released",
            Self::ReservationSettled(Settlement::Expired) => {
                "the reservation has expired; book what was used with Record"
            }
            Self::TooManyReservations => "this org has as many open reservations as allowed",
            Self::TooManyLedgers => {
                "this org has as many pairs of scope and meter as allowed; leave the scope empty, or name a known one"
            }
            Self::TooManySources => "this org has as many cumulative sources as allowed",
            Self::TooManyDisputed => "this org has as many disputed entries as allowed; an operator must look",
            Self::TooManyBudgets => "this org has budgets of its own on as many scopes as allowed",
            Self::SessionUnknown => "no such session, or it ended more than a day ago",
            Self::SessionExists => "this org has a session of that session_id; use a new one",
            Self::OtherIdentity => "identity is not the one that the session was started with",
            Self::TooManySessions => "this org has as many sessions as allowed, those included that ended today",
        })
    }
}

impl std::error::Error for OrgError {}
