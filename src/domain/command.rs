//! What can be asked of an org, what it answers, and what can go wrong.

use std::{fmt, sync::Arc};

use super::{
    balance::BalanceVerdict,
    decision::{Decision, LimitView},
    exports::{Delivery, ExportKey, ExportRow},
    ids::{DecisionId, ExecutionId, Incarnation, Meter, Plane, Reason, RequestId, Scope, Source},
    journal::Settlement,
    rate::{Counter, RateRecord},
    rows::{BaselineRow, DisputedRow, ExecutionRow, ReservationRow},
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    pub scope: Scope,
    /// For logs; no rule looks at it.
    pub plane: Plane,
    pub idempotency: Option<Idempotency>,
    pub cost: Amounts,
    pub reserve: Amounts,
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
    /// A hold is money: it waits for the disk.
    pub fn durability(&self) -> Durability {
        match self.mode {
            Mode::CheckOnly => Durability::None,
            _ if self.reserve.is_empty() => Durability::WriteBehind,
            _ => Durability::Durable,
        }
    }
}

impl Command {
    /// The strongest promise its reply can carry. A denial promises nothing.
    pub fn durability(&self) -> Durability {
        match self {
            Self::Status { .. } | Self::Inspect | Self::TakeExports | Self::ListExports { .. } => Durability::None,
            Self::Acquire(acquire) => acquire.durability(),
            Self::Resume { .. } => Durability::WriteBehind,
            Self::Commit { .. }
            | Self::Release { .. }
            | Self::Extend { .. }
            | Self::Record { .. }
            | Self::ReportCumulative(_)
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
}

/// Every limit without consuming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub decision: Decision,
    pub frozen: bool,
    pub plan: String,
    /// What was spent and is held in each named period, limited or not.
    pub spent: Vec<PeriodSpend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodSpend {
    pub period: &'static str,
    pub used: u64,
    pub reserved: u64,
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
    TooManyLedgers,
    TooManySources,
    TooManyDisputed,
}

impl fmt::Display for OrgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
        })
    }
}

impl std::error::Error for OrgError {}
