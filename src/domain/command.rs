//! What can be asked of an org. [`super::commands`] lists it with what is answered and promised,
//! [`super::refusal`] says what can go wrong.

use super::{
    balance::BalanceVerdict,
    ids::{
        AccountId, Amounts, DecisionId, ExecutionId, Identity, Incarnation, Meter, Plane, PoolId, Reason, Scope,
        SessionId, Source,
    },
    outbox::{Delivery, OutboxKey},
    promise::Promise,
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
    /// Whether any could start: for a query, never for a charge.
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
    /// For logs; no rule reads it.
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

/// Ends a reservation with what was used; more or less than was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub reservation: DecisionId,
    pub actual: Amounts,
    pub idempotency: Idempotency,
}

/// Gives a reservation back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub reservation: DecisionId,
    pub idempotency: Idempotency,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    pub reservation: DecisionId,
    pub ttl: Millis,
    pub idempotency: Idempotency,
}

/// Continues an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    pub execution: ExecutionId,
    pub idempotency: Option<Idempotency>,
}

/// Usage after the fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub scope: Scope,
    pub usage: Amounts,
    pub decision: Option<DecisionId>,
    pub idempotency: Idempotency,
}

/// One upstream account, past the gates of the org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    pub pool: PoolId,
    pub idempotency: Option<Idempotency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    pub reason: Reason,
    pub idempotency: Idempotency,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfreeze {
    pub idempotency: Idempotency,
}

/// Forgets everything but usage that has not reached the billing provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge;

/// Hands out outbox rows that are due, at most [`crate::bounds::EXPORT_BATCH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeOutbox;

/// What became of rows that were handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleOutbox(pub Vec<(OutboxKey, Delivery)>);

/// Rows of the outbox in the order of their keys, from behind `after`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOutbox {
    pub after: Option<OutboxKey>,
    pub max: usize,
    /// Only what was set aside.
    pub set_aside: bool,
}

/// Tries again what was set aside: one row, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayOutbox {
    pub key: Option<OutboxKey>,
}

/// What an Acquire in the scope would be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetStatus {
    pub scope: Scope,
    pub known: Known,
}

/// Whether a session could start, and what is left for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSessionStatus {
    pub scope: Scope,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetBudget {
    pub scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSession {
    pub id: SessionId,
}

/// Sessions in the order of their ids, from behind `after`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSessions {
    pub after: Option<SessionId>,
    pub max: usize,
    /// Only those that run.
    pub running: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPool {
    pub id: PoolId,
}

/// Announces what has become of the org's accounts by itself, and sums its pools up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollPools;

/// Derives every number that is kept from the ledger again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAudit;

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
    /// The last total of an incarnation; without one the time since the last heartbeat is booked.
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
    Balance,
    Exemption,
}
