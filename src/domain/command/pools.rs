//! What can be asked of an org about its pools of upstream accounts.

use crate::domain::{
    ids::{AccountId, PoolId},
    policy::PoolSettings,
    request::Idempotency,
    upstream::named_wait,
    window::{Millis, Window},
};

/// One upstream account, past the gates of the org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Where an account is picked.
    pub pool: PoolId,
    /// `None` = a retry picks and charges again.
    pub idempotency: Option<Idempotency>,
}

/// A pool with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPool {
    /// The pool's name.
    pub id: PoolId,
}

/// Announces what has become of the org's accounts by itself, and sums its pools up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollPools;

/// All accounts of a pool; without any it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurePool {
    /// A pool that is new, or is changed.
    pub pool: PoolId,
    /// Each once.
    pub accounts: Vec<NewAccount>,
    /// Takes the place of what was set before; `None` = that stays.
    pub settings: Option<PoolSettings>,
    /// Refused where the pool has another version.
    pub expected_version: Option<u64>,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// `None` = as the pool says, also later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// In one pool of the org at most.
    pub id: AccountId,
    /// Calls per window.
    pub daily_limit: Option<u64>,
    /// Calls of the limit that are kept back.
    pub safety_buffer: Option<u64>,
    /// The period of the limit.
    pub window: Option<Window>,
    /// Calls per clock minute.
    pub per_minute: Option<u64>,
}

/// How a call of an upstream account went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOutcome {
    /// The pool that was picked from.
    pub pool: PoolId,
    /// `None` = the call bypassed the pool.
    pub account: Option<AccountId>,
    /// That of HTTP; 0 = there was none.
    pub status: u16,
    /// What the upstream said. It is read and not kept.
    pub text: String,
    /// How long to wait, as the upstream named it beside its text; `None` = it did not.
    pub retry_after: Option<Millis>,
    /// When the account was picked for the call; `None` = not known.
    pub picked_at: Option<Millis>,
    /// Bytes sent to the upstream.
    pub bytes_up: u64,
    /// Bytes received from the upstream.
    pub bytes_down: u64,
    /// `None` = a retry counts again.
    pub idempotency: Option<Idempotency>,
}

/// Forgets what was learnt of an account from reports: evidence and route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearAccount {
    /// The pool that the account is in.
    pub pool: PoolId,
    /// A secret: shown masked.
    pub account: AccountId,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

impl ReportOutcome {
    /// How long to wait, as the upstream named it: beside its text, or in it. The text of a call without an
    /// answer is not the upstream's.
    pub(in crate::domain) fn named_wait(&self) -> Option<Millis> {
        self.retry_after.or_else(|| named_wait(&self.text).filter(|_| self.status != 0))
    }

    pub(in crate::domain) fn bytes(&self) -> u64 {
        self.bytes_up.saturating_add(self.bytes_down)
    }
}
