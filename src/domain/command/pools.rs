//! What can be asked of an org about its pools of upstream accounts.

use crate::domain::{
    ids::{AccountId, PoolId},
    request::Idempotency,
    upstream::Upstream,
    window::Window,
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
    /// Refused where the pool has another version.
    pub expected_version: Option<u64>,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// `None` = as the node is configured, also later.
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
}

/// How a call of an upstream account went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOutcome {
    /// The pool that was picked from.
    pub pool: PoolId,
    /// `None` = the call bypassed the pool.
    pub account: Option<AccountId>,
    /// What its status and text were taken for.
    pub outcome: Upstream,
    /// Bytes sent to the upstream.
    pub bytes_up: u64,
    /// Bytes received from the upstream.
    pub bytes_down: u64,
    /// `None` = a retry counts again.
    pub idempotency: Option<Idempotency>,
}

impl ReportOutcome {
    pub(in crate::domain) fn bytes(&self) -> u64 {
        self.bytes_up.saturating_add(self.bytes_down)
    }
}
