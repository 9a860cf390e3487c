//! Views of pools and of their upstream accounts. An account is a secret: what is shown of it is masked.

use std::fmt;

use crate::domain::{
    ids::PoolId,
    lease::Due,
    policy::PoolSettings,
    rows::Reported,
    window::{Millis, Window},
};

/// A pool as it stands; of one that is not there, version 0 and no accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// The pool's name.
    pub id: PoolId,
    /// Grows by one with every change of its accounts or settings.
    pub version: u64,
    /// In the order of their ids.
    pub accounts: Vec<AccountView>,
    /// What was set for the pool, over what is configured.
    pub settings: PoolSettings,
    /// What holds for the pool; a limit per minute that is absent is none.
    pub in_force: PoolSettings,
    /// What its accounts add up to.
    pub summary: PoolSummary,
}

/// What a pool adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSummary {
    /// Calls that all windows have room for: limits less buffers.
    pub capacity: u64,
    /// Calls in the running windows.
    pub used: u64,
    /// What can still be picked.
    pub remaining: u64,
    /// Calls that failed in the running windows, for whatever reason but the quota.
    pub failed: u64,
    /// Calls in the running windows that the upstream refused because the quota is used up.
    pub quota_errors: u64,
    /// Accounts of the pool.
    pub accounts: u64,
    /// Accounts that are not exhausted, and how many of them are avoided.
    pub active: u64,
    /// Accounts that are usable, and whose route is avoided.
    pub avoided: u64,
    /// When the first exhausted account is usable again; `None` = none is exhausted, or not by itself.
    pub soonest_reset: Option<Due>,
    /// Both since midnight UTC.
    pub total_calls: u64,
    /// Both directions.
    pub bytes: u64,
    /// Bytes that `remaining` calls will transfer; `None` = too few calls to estimate it.
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
    /// Its upstream asked to wait a little. Only where the profile of its pool keeps to that.
    RateLimited,
    /// Its upstream refused it. Only where the profile of its pool keeps to that.
    Refused,
}

impl Exhaustion {
    /// Every one, in the order of the variants.
    pub const ALL: [Self; 4] = [Self::Limit, Self::Upstream, Self::RateLimited, Self::Refused];

    /// As metrics and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Upstream => "upstream",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
        }
    }
}

/// The route of an account that is avoided, at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// It was refused; otherwise it has failed.
    pub refused: bool,
    /// When the report came that it is avoided for.
    pub since: Millis,
    /// When it is used again like any other.
    pub until: Due,
}

/// An upstream account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Masked.
    pub account: String,
    /// Calls per window, before the buffer.
    pub daily_limit: u64,
    /// Calls of the limit that are kept back.
    pub safety_buffer: u64,
    /// The period of the limit.
    pub window: Window,
    /// Calls per clock minute; `None` = unlimited.
    pub per_minute: Option<u64>,
    /// Calls in the running window.
    pub used: u64,
    /// What was reported in the running window.
    pub reported: Reported,
    /// When it was last picked; `None` = never.
    pub last_used_at: Option<Millis>,
    /// `None` = no window runs, or it has no end.
    pub window_ends_at: Option<Due>,
    /// Why it cannot be picked; `None` = it can.
    pub exhausted: Option<Exhaustion>,
    /// Of an exhausted one: when it is usable again; `None` = not by itself.
    pub available_at: Option<Due>,
    /// While it is avoided.
    pub route: Option<Route>,
    /// Bytes that `left` calls will transfer; `None` = too few calls to estimate it.
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
