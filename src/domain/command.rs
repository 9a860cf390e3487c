//! What can be asked of an org; [`super::commands`] has the answers, [`super::refusal`] the refusals.

mod budgets;
mod control;
mod denials;
mod events;
mod names;
mod outbox;
mod overview;
mod pools;
mod refund;
mod usage;
mod what_if;

use super::{
    balance::BalanceVerdict,
    ids::{Amounts, DecisionId, ExecutionId, Identity, Incarnation, Meter, Plane, PoolId, Scope, SessionId, Source},
    promise::Promise,
    request::{Idempotency, Rpc},
    scopes::Scopes,
    trace::TraceId,
    window::Millis,
};

pub use budgets::SetBudget;
pub use control::{End, Freeze, Grant, Lasts, ListOverrides, ResetWindow, RevokeGrant, SetOverride, Unfreeze};
pub use denials::{AskWhy, Explain, ListDenials, NoteDenials};
pub use events::{ListEvents, NoteDelivered, TakeUndelivered};
pub use names::{ClaimName, ForgetNames, FreeName, GetNames, Rename};
pub use outbox::{ListOutbox, ReplayOutbox, SettleOutbox, TakeOutbox};
pub use overview::GetOverview;
pub use pools::{ClearAccount, ConfigurePool, GetPool, NewAccount, Pick, ReportOutcome, RollPools};
pub use refund::{Refund, RefundOf};
pub use usage::GetUsage;
pub use what_if::TryLimits;

/// Whether an Acquire is enforced and charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Enforced and charged.
    #[default]
    Normal,
    /// Evaluated; nothing is charged or remembered.
    CheckOnly,
    /// Evaluated, and always allowed: charged where it fits, counted as blocked where it does not.
    Shadow,
}

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// An execution, which ends by itself or is settled.
    Execution,
    /// Starts as one step with its slot and its first slice.
    Session(NewSession),
    /// Whether any could start: for a query, never for a charge.
    AnySession,
}

/// A session that asks to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Unique among the sessions of the org that run.
    pub id: SessionId,
    /// Who may send its heartbeats and end it.
    pub identity: Identity,
}

/// Whether an org may execute now, and what it is charged then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// An execution or a session.
    pub run: Run,
    /// Whose limits count, with those of the org.
    pub scopes: Scopes,
    /// For logs, and for usage by plane; no rule reads it.
    pub plane: Plane,
    /// The trace of the caller; no rule reads it.
    pub trace: Option<TraceId>,
    /// `None` = a retry is charged again.
    pub idempotency: Option<Idempotency>,
    /// Charged with the admission, in the units of the meters.
    pub cost: Amounts,
    /// Held until it is settled, in the units of the meters; empty = nothing.
    pub reserve: Amounts,
    /// 0 = the default.
    pub reservation_ttl: Millis,
    /// Whether it is enforced and charged.
    pub mode: Mode,
    /// Every gate is evaluated, also after a denial.
    pub explain: bool,
    /// Remember the execution for its continuations.
    pub with_pause: bool,
    /// `None` = it uses no upstream account.
    pub pool: Option<PoolAsk>,
    /// `None` until the provider was asked.
    pub balance: Option<BalanceVerdict>,
    /// Whether the org is exempt from the backstop; `None` until the provider was asked.
    pub exempt: Option<bool>,
}

/// The upstream accounts that an execution will use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAsk {
    /// The pool that must have a usable account.
    pub pool: PoolId,
    /// Takes one of them; otherwise it is enough that there is one.
    pub pick: bool,
}

/// Ends a reservation with what was used; more or less than was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The decision that reserved.
    pub reservation: DecisionId,
    /// What was used, in the units of the meters; empty = nothing.
    pub actual: Amounts,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// Gives a reservation back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The decision that reserved.
    pub reservation: DecisionId,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// Holds a reservation longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    /// The decision that reserved.
    pub reservation: DecisionId,
    /// Milliseconds from now; a reservation is never shortened.
    pub ttl: Millis,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// Continues an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The client's name for it.
    pub execution: ExecutionId,
    /// `None` = a retry counts one more continuation.
    pub idempotency: Option<Idempotency>,
}

/// Usage after the fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it was used, besides the org.
    pub scopes: Scopes,
    /// In the units of the meters.
    pub usage: Amounts,
    /// The admission that this completes; `None` = it is unguarded.
    pub decision: Option<DecisionId>,
    /// When it was used; `None` = now.
    pub occurred_at: Option<Millis>,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// Forgets everything but usage that has not reached the billing provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge;

/// What an Acquire in the scope would be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetStatus {
    /// Whose limits are shown, with those of the org.
    pub scopes: Scopes,
    /// What the billing provider says of the org.
    pub known: Known,
}

/// Whether a session could start, and what is left for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSessionStatus {
    /// Where its compute would be recorded, besides the org.
    pub scopes: Scopes,
    /// What the billing provider says of the org.
    pub known: Known,
}

/// What is known of an org, for a query, that only the billing provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Its answer on the balance, if it was asked.
    pub balance: Option<BalanceVerdict>,
    /// The backstop spares the org.
    pub exempt: bool,
}

/// Everything kept of the org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspect;

/// The limits on spend that are in force for a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetBudget {
    /// Empty is the org itself.
    pub scope: Scope,
}

/// One session, running or ended within a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSession {
    /// The plane's name for it.
    pub id: SessionId,
}

/// Sessions in the order of their ids, from behind `after`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSessions {
    /// `None` = from the first.
    pub after: Option<SessionId>,
    /// The most sessions in the answer.
    pub max: usize,
    /// Only those that run.
    pub running: bool,
}

/// Reservations in the order of their ids, from behind `after`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListReservations {
    /// `None` = from the first.
    pub after: Option<DecisionId>,
    /// The most reservations in the answer.
    pub max: usize,
    /// Those that hold.
    pub open: bool,
    /// Those that expired within a day and can still be committed.
    pub expired: bool,
    /// Only those of this scope; `None` = of any.
    pub scope: Option<Scope>,
    /// Only those that are at least so many milliseconds old; 0 = all.
    pub older_than: Millis,
}

/// Derives every number that is kept from the ledger again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAudit;

/// A sign of life, with all the time that the session has run in one life of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The session that reports.
    pub session: SessionId,
    /// Must be the one that the session was started with.
    pub identity: Identity,
    /// The life of its machine that the total belongs to.
    pub incarnation: Incarnation,
    /// Milliseconds.
    pub total: u64,
    /// `None` = a retry records nothing, because its total has not grown.
    pub idempotency: Option<Idempotency>,
}

/// Ends a session; what it ran since its last heartbeat is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndSession {
    /// The session that ends.
    pub session: SessionId,
    /// Must be the one that the session was started with.
    pub identity: Identity,
    /// The last total of an incarnation; without one the time since the last heartbeat is booked.
    pub last: Option<(Incarnation, u64)>,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// A total of a cumulative source; what it has grown by is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportCumulative {
    /// Where the growth is recorded, besides the org.
    pub scopes: Scopes,
    /// Unique in its set of scopes and meter: another set is another counter.
    pub source: Source,
    /// Another one counts from 0.
    pub incarnation: Incarnation,
    /// What is counted.
    pub meter: Meter,
    /// In the unit of the meter.
    pub total: u64,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

impl Acquire {
    /// An execution that asks for nothing else.
    pub fn of(scopes: Scopes, cost: Amounts) -> Self {
        Self {
            run: Run::Execution,
            scopes,
            plane: Plane::unnamed(),
            trace: None,
            idempotency: None,
            cost,
            reserve: Amounts::new(),
            reservation_ttl: 0,
            mode: Mode::Normal,
            explain: false,
            with_pause: false,
            pool: None,
            balance: None,
            exempt: None,
        }
    }

    /// The most that its reply can promise. A hold is money, a session holds, and a picked account is used
    /// elsewhere: those wait for the disk.
    pub fn promise(&self) -> Promise {
        if !self.counts() {
            Promise::Nothing
        } else if self.reserve.is_empty() && !self.is_session() && !self.picks() {
            Promise::WrittenBehind
        } else {
            Promise::Durable
        }
    }

    /// False for a peek, which neither charges nor counts as blocked.
    pub fn counts(&self) -> bool {
        self.mode != Mode::CheckOnly
    }

    pub(super) fn rpc(&self) -> Rpc {
        match (self.is_session(), self.picks()) {
            (true, _) => Rpc::StartSession,
            (false, true) => Rpc::Pick,
            (false, false) => Rpc::Acquire,
        }
    }

    /// Whether it takes an upstream account.
    pub(super) fn picks(&self) -> bool {
        self.pool.as_ref().is_some_and(|ask| ask.pick)
    }

    pub(super) fn is_session(&self) -> bool {
        self.run != Run::Execution
    }
}

/// What only the billing provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The balance gate was reached without a verdict of the provider.
    Balance,
    /// The backstop is used up, and the org may be exempt from it.
    Exemption,
}
