//! The pipeline's answer to one Acquire.

use std::{fmt, sync::Arc};

use super::{
    ids::{AccountId, DecisionId, Meter, Scope},
    limit::Limit,
    window::{Millis, Window},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    Allowed,
    RateLimited,
    BalanceExhausted,
    BudgetExceeded,
    QuotaExceeded,
    SessionLimitReached,
    AccountsExhausted,
    Frozen,
    Indeterminate,
}

impl Code {
    /// The HTTP status a plane may show for it.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Allowed => 200,
            Self::BalanceExhausted | Self::BudgetExceeded | Self::QuotaExceeded => 402,
            Self::Frozen => 403,
            Self::RateLimited | Self::SessionLimitReached => 429,
            Self::AccountsExhausted | Self::Indeterminate => 503,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::RateLimited => "RATE_LIMITED",
            Self::BalanceExhausted => "BALANCE_EXHAUSTED",
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::SessionLimitReached => "SESSION_LIMIT_REACHED",
            Self::AccountsExhausted => "ACCOUNTS_EXHAUSTED",
            Self::Frozen => "FROZEN",
            Self::Indeterminate => "INDETERMINATE",
        }
    }
}

/// One check of the pipeline, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    Freeze,
    /// Upstream accounts of the pool that a call names.
    Accounts,
    Rate,
    /// Sessions at once; asked by sessions alone, like the next.
    Concurrency,
    SessionQuota,
    Budgets,
    Balance,
    Reserve,
}

impl Gate {
    pub const ALL: [Self; 8] = [
        Self::Freeze,
        Self::Accounts,
        Self::Rate,
        Self::Concurrency,
        Self::SessionQuota,
        Self::Budgets,
        Self::Balance,
        Self::Reserve,
    ];

    /// Whether its denials count as blocked: those of the backstop and of what comes behind it.
    pub fn is_blocking(self) -> bool {
        self >= Self::Rate
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Accounts => "accounts",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::SessionQuota => "session_quota",
            Self::Budgets => "budgets",
            Self::Balance => "balance",
            Self::Reserve => "reserve",
        }
    }
}

/// Why a gate could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    StoreFault,
    Timeout,
    /// The provider answered with a fault of its own (5xx).
    ProviderError,
    /// It could not be reached, or the connection broke.
    ProviderUnreachable,
    /// It let the call through without looking, and said so.
    ProviderFailedOpen,
    ProviderRateLimited,
    /// Our key is not accepted.
    ProviderUnauthorized,
    /// It does not accept what we ask.
    ProviderRefused,
    /// Its answer can not be read.
    ProviderBadAnswer,
    /// It failed too often just now and is left alone for a while.
    CircuitOpen,
    /// Too many questions to it are under way.
    Overloaded,
    UnknownCustomer,
    UnknownFeature,
    /// The feature is not in the org's plan.
    NoEntitlement,
    /// A limit is stored that can not be understood.
    MalformedLimit,
}

impl Cause {
    pub const ALL: [Self; 15] = [
        Self::StoreFault,
        Self::Timeout,
        Self::ProviderError,
        Self::ProviderUnreachable,
        Self::ProviderFailedOpen,
        Self::ProviderRateLimited,
        Self::ProviderUnauthorized,
        Self::ProviderRefused,
        Self::ProviderBadAnswer,
        Self::CircuitOpen,
        Self::Overloaded,
        Self::UnknownCustomer,
        Self::UnknownFeature,
        Self::NoEntitlement,
        Self::MalformedLimit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::StoreFault => "store_fault",
            Self::Timeout => "timeout",
            Self::ProviderError => "provider_error",
            Self::ProviderUnreachable => "provider_unreachable",
            Self::ProviderFailedOpen => "provider_failed_open",
            Self::ProviderRateLimited => "provider_rate_limited",
            Self::ProviderUnauthorized => "provider_unauthorized",
            Self::ProviderRefused => "provider_refused",
            Self::ProviderBadAnswer => "provider_bad_answer",
            Self::CircuitOpen => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::UnknownCustomer => "unknown_customer",
            Self::UnknownFeature => "unknown_feature",
            Self::NoEntitlement => "no_entitlement",
            Self::MalformedLimit => "malformed_limit",
        }
    }
}

/// A gate that was let through unevaluated, by its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailOpen {
    pub gate: Gate,
    pub cause: Cause,
}

/// One limit as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitView {
    pub name: Arc<str>,
    pub scope: Scope,
    pub meter: Meter,
    pub window: Window,
    pub amount: Option<u64>,
    pub buffer: u64,
    pub used: u64,
    pub reserved: u64,
    /// When what was asked fits if nothing else happens, or the end of the window; `None` = never.
    pub resets_at: Option<Millis>,
    pub limiting: bool,
    pub shadow: bool,
    /// Backstop only.
    pub blocked: u64,
}

impl LimitView {
    /// A limit with what counts against it.
    pub fn of(limit: &Limit, scope: &Scope, used: u64, reserved: u64) -> Self {
        Self {
            name: limit.name.clone(),
            scope: scope.clone(),
            meter: limit.meter.clone(),
            window: limit.window,
            amount: limit.amount,
            buffer: limit.buffer,
            used,
            reserved,
            resets_at: None,
            limiting: false,
            shadow: limit.shadow,
            blocked: 0,
        }
    }

    /// amount - buffer - used - reserved; may be negative. A buffer at or above the amount makes
    /// nothing usable. `None` = unlimited.
    pub fn remaining(&self) -> Option<i64> {
        let usable = i128::from(self.amount?.saturating_sub(self.buffer));
        let left = usable - i128::from(self.used) - i128::from(self.reserved);
        Some(i64::try_from(left).unwrap_or(if left < 0 { i64::MIN } else { i64::MAX }))
    }

    pub fn exhausted(&self) -> bool {
        self.remaining().is_some_and(|left| left <= 0)
    }
}

/// Why a call is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub gate: Gate,
    pub code: Code,
    pub retry_after: Millis,
    pub message: String,
}

/// A granted reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub id: DecisionId,
    pub expires_at: Millis,
}

/// A session that may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionGrant {
    /// Compute that is reserved for it, in milliseconds.
    pub slice: u64,
    /// Time between two heartbeats.
    pub heartbeat: Millis,
    /// When it expires unless it is heard of.
    pub expires_at: Millis,
}

/// An upstream account that was picked and charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickedAccount {
    pub id: AccountId,
    /// Calls that are left after this one.
    pub remaining: u64,
    /// Every other account is exhausted or avoided as well.
    pub last_resort: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `None` for a peek.
    pub id: Option<DecisionId>,
    /// What the gates say; in shadow mode this may be a denial that was not enforced.
    pub code: Code,
    /// What the caller is told.
    pub allowed: bool,
    /// The gate that denied.
    pub gate: Option<Gate>,
    /// For people; empty where allowed without remark.
    pub message: String,
    /// In pipeline order, the backstop first.
    pub limits: Vec<LimitView>,
    /// 0 = allowed, or never.
    pub retry_after: Millis,
    pub fail_open: Vec<FailOpen>,
    pub hold: Option<Hold>,
    /// Of a session that may begin.
    pub session: Option<SessionGrant>,
    pub account: Option<PickedAccount>,
    pub replayed: bool,
}

impl Decision {
    /// Allowed, with nothing said yet.
    pub fn allowed(id: Option<DecisionId>) -> Self {
        Self {
            id,
            code: Code::Allowed,
            allowed: true,
            gate: None,
            message: String::new(),
            limits: Vec::new(),
            retry_after: 0,
            fail_open: Vec::new(),
            hold: None,
            session: None,
            account: None,
            replayed: false,
        }
    }

    /// The same with a denial, which the caller is told.
    #[must_use]
    pub fn denied_by(self, denial: Denial) -> Self {
        let Denial { gate, code, retry_after, message } = denial;
        Self { code, allowed: false, gate: Some(gate), message, retry_after, ..self }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
