//! What can be asked of an org. [`super::reply`] is what it answers, [`super::refusal`] what can go wrong.

use std::sync::Arc;

use super::{
    balance::BalanceVerdict,
    ids::{
        AccountId, Amounts, DecisionId, ExecutionId, Identity, Incarnation, Meter, Plane, PoolId, Reason, Scope,
        SessionId, Source,
    },
    outbox::{Delivery, OutboxKey},
    promise::Promise,
    reply::Reply,
    request::{Idempotency, Rpc},
    upstream::Upstream,
    window::{Millis, Window},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Normal,
    CheckOnly,
    Shadow,
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
    pub pool: Option<PoolAsk>,
    /// `None` until the provider was asked.
    pub balance: Option<BalanceVerdict>,
    /// Whether the org is exempt from the backstop; `None` until the provider was asked.
    pub exempt: Option<bool>,
}

/// The upstream accounts that an execution will use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAsk {
    pub pool: PoolId,
    /// Takes one of them; otherwise it is enough that there is one.
    pub pick: bool,
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
    ConfigurePool(Box<ConfigurePool>),
    /// One upstream account, past the gates of the org.
    Pick {
        pool: PoolId,
        idempotency: Option<Idempotency>,
    },
    ReportOutcome(Box<ReportOutcome>),
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
    TakeOutbox,
    /// What became of rows that were handed out.
    SettleOutbox(Vec<(OutboxKey, Delivery)>),
    /// Rows of the outbox in the order of their keys, from behind `after`, at most `max`.
    ListOutbox {
        after: Option<OutboxKey>,
        max: usize,
        /// Only what was set aside.
        set_aside: bool,
    },
    /// Tries again what was set aside: one row, or all.
    ReplayOutbox {
        key: Option<OutboxKey>,
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
    Pool {
        id: PoolId,
    },
    /// Tells what has become of the org's accounts by itself, and sums its pools up.
    RollPools,
    /// Derives every number that is kept from the ledger again.
    Audit,
}

/// All accounts of a pool; without any it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurePool {
    pub pool: PoolId,
    /// Each once.
    pub accounts: Vec<NewAccount>,
    /// Refused where the pool has another version.
    pub expected_version: Option<u64>,
    pub idempotency: Idempotency,
}

/// `None` = as the node is configured, also later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    pub id: AccountId,
    pub daily_limit: Option<u64>,
    pub safety_buffer: Option<u64>,
    pub window: Option<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOutcome {
    pub pool: PoolId,
    /// `None` = the call bypassed the pool.
    pub account: Option<AccountId>,
    pub outcome: Upstream,
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub idempotency: Option<Idempotency>,
}

impl ReportOutcome {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_up.saturating_add(self.bytes_down)
    }
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
            pool: None,
            balance: None,
            exempt: None,
        }
    }

    /// The most that its reply can promise. A hold is money, a session holds, and a picked account is used
    /// elsewhere: those wait for the disk.
    pub fn promise(&self) -> Promise {
        match self.mode {
            Mode::CheckOnly => Promise::Nothing,
            _ if self.reserve.is_empty() && !self.is_session() && !self.picks() => Promise::WrittenBehind,
            _ => Promise::Durable,
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

impl Command {
    /// The strongest promise its reply can carry. A denial promises nothing.
    pub fn promise(&self) -> Promise {
        match self {
            Self::Status { .. }
            | Self::Inspect
            | Self::Budget { .. }
            | Self::SessionStatus { .. }
            | Self::Session { .. }
            | Self::Sessions { .. }
            | Self::Pool { .. }
            | Self::RollPools
            | Self::Audit
            | Self::TakeOutbox
            | Self::ListOutbox { .. } => Promise::Nothing,
            Self::Acquire(acquire) => acquire.promise(),
            Self::Resume { .. } => Promise::WrittenBehind,
            Self::Commit { .. }
            | Self::Release { .. }
            | Self::Extend { .. }
            | Self::Record { .. }
            | Self::ReportCumulative(_)
            | Self::Heartbeat(_)
            | Self::EndSession(_)
            | Self::SetBudget(_)
            | Self::ConfigurePool(_)
            | Self::Pick { .. }
            | Self::ReportOutcome(_)
            | Self::Freeze { .. }
            | Self::Unfreeze { .. }
            | Self::Purge
            | Self::SettleOutbox(_)
            | Self::ReplayOutbox { .. } => Promise::Durable,
        }
    }
}

impl Command {
    /// What this reply promises: a denial, and a question back, promise nothing.
    pub fn promised(&self, reply: &Reply) -> Promise {
        match reply {
            Reply::Decision(decision) => decision.promise(),
            Reply::Needs(_) => Promise::Nothing,
            _ => self.promise(),
        }
    }

    /// Whether it asks for admission.
    pub fn is_admission(&self) -> bool {
        matches!(self, Self::Acquire(_))
    }
}

/// What only the billing provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Balance,
    Exemption,
}
