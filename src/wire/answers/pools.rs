//! Pools of upstream accounts. Only a pick tells an account in full.

use super::{at, code, int, left};
use crate::{
    domain::{
        decision::Decision,
        ids::{OrgId, PoolId},
        policy::{PoolSettings, Profile},
        reply::{AccountView, Exhaustion, PoolSummary, PoolView},
        upstream::Upstream,
    },
    wire::{admin::v1 as admin, v1},
};

/// Accounts are masked; times are milliseconds since the epoch, and 0 where there is none.
pub fn pool(view: PoolView, org: &OrgId) -> v1::Pool {
    v1::Pool {
        org: org.to_string(),
        pool: view.id.to_string(),
        accounts: view.accounts.iter().map(account).collect(),
        summary: Some(pool_summary(&view.summary)),
        version: int(view.version),
        settings: Some(settings(&view.settings)),
        in_force: Some(settings(&view.in_force)),
    }
}

fn settings(set: &PoolSettings) -> v1::PoolSettings {
    let profile = match set.profile {
        None => v1::PoolProfile::Unspecified,
        Some(Profile::Relay) => v1::PoolProfile::Relay,
        Some(Profile::Llm) => v1::PoolProfile::Llm,
    };
    v1::PoolSettings {
        profile: profile.into(),
        daily_limit: set.daily_limit.map(int),
        safety_buffer: set.safety_buffer.map(int),
        window: set.window.map(|window| window.to_string()).unwrap_or_default(),
        per_minute: set.per_minute.map(int),
        cooldown_ms: set.cooldown.map(int),
        quarantine_ms: set.quarantine.map(int),
        quota_texts: set.quota_texts.clone().unwrap_or_default(),
    }
}

/// What was accepted and is hardly meant.
pub fn pool_warnings(view: &PoolView) -> Vec<String> {
    let useless = view.accounts.iter().filter(|account| account.safety_buffer >= account.daily_limit);
    let text = |account: &AccountView| {
        let AccountView { account, daily_limit, safety_buffer, .. } = account;
        format!(
            "account {account} has a safety_buffer of {safety_buffer} on a daily_limit of {daily_limit}: nothing is usable"
        )
    };
    useless.map(text).collect()
}

fn pool_summary(sum: &PoolSummary) -> v1::PoolSummary {
    v1::PoolSummary {
        capacity: int(sum.capacity),
        used: int(sum.used),
        remaining: int(sum.remaining),
        failed: int(sum.failed),
        quota_errors: int(sum.quota_errors),
        active: int(sum.active),
        accounts: int(sum.accounts),
        avoided: int(sum.avoided),
        soonest_reset_ms: at(sum.soonest_reset),
        soonest_reset_in_ms: left(sum.soonest_reset),
        total_calls: int(sum.total_calls),
        bytes: int(sum.bytes),
        estimated_remaining_bytes: sum.estimate.map(int),
    }
}

/// The account is masked.
pub fn account(view: &AccountView) -> v1::PoolAccountStatus {
    let state = match view.exhausted {
        None => v1::AccountState::Active,
        Some(Exhaustion::Limit) => v1::AccountState::LimitReached,
        Some(Exhaustion::Upstream) => v1::AccountState::QuotaExhausted,
        Some(Exhaustion::RateLimited) => v1::AccountState::RateLimited,
        Some(Exhaustion::Refused) => v1::AccountState::Refused,
    };
    let route = match view.route {
        None => v1::RouteHealth::Ok,
        Some(route) if route.refused => v1::RouteHealth::Quarantine,
        Some(_) => v1::RouteHealth::Cooldown,
    };
    v1::PoolAccountStatus {
        account: view.account.clone(),
        daily_limit: int(view.daily_limit),
        safety_buffer: int(view.safety_buffer),
        window: view.window.to_string(),
        used: int(view.used),
        remaining: i64::try_from(view.remaining()).unwrap_or(i64::MIN),
        failed: int(view.reported.failed),
        quota_errors: int(view.reported.quota_errors),
        bytes_up: int(view.reported.bytes_up),
        bytes_down: int(view.reported.bytes_down),
        last_used_at_ms: int(view.last_used_at.unwrap_or(0)),
        window_ends_at_ms: at(view.window_ends_at),
        window_remaining_ms: left(view.window_ends_at),
        state: state.into(),
        available_at_ms: at(view.available_at),
        available_in_ms: left(view.available_at),
        route: route.into(),
        route_until_ms: at(view.route.map(|route| route.until)),
        route_remaining_ms: left(view.route.map(|route| route.until)),
        estimated_remaining_bytes: view.estimate.map(int),
        per_minute: view.per_minute.map(int),
    }
}

/// With what the gates of the org said, where they were asked.
pub fn picked(decision: &Decision, gated: bool, node: &str) -> v1::PickResponse {
    let account = decision.account.clone();
    let status = if decision.allowed { 200 } else { decision.code().http_status() };
    v1::PickResponse {
        allowed: decision.allowed,
        code: code(decision.code()).into(),
        message: decision.message().to_owned(),
        retry_after_ms: int(decision.retry_after()),
        http_status_hint: status.into(),
        replayed: decision.replayed,
        node: node.into(),
        picked_at_ms: int(account.as_ref().map_or(0, |account| account.picked_at)),
        remaining: int(account.as_ref().map_or(0, |account| account.remaining)),
        last_resort: account.as_ref().is_some_and(|account| account.last_resort),
        account: account.map(|account| account.id.as_str().to_owned()).unwrap_or_default(),
        decision: gated.then(|| super::decision(decision, node)),
    }
}

/// `known` says whether the account is one of the pool.
pub fn outcome(outcome: Upstream, known: bool, replayed: bool) -> v1::ReportOutcomeResponse {
    let outcome = match outcome {
        Upstream::Ok => v1::UpstreamOutcome::Ok,
        Upstream::QuotaExhausted => v1::UpstreamOutcome::QuotaExhausted,
        Upstream::RateLimited => v1::UpstreamOutcome::RateLimited,
        Upstream::Refused => v1::UpstreamOutcome::Refused,
        Upstream::Unavailable => v1::UpstreamOutcome::Unavailable,
        Upstream::Failed => v1::UpstreamOutcome::Failed,
    };
    v1::ReportOutcomeResponse { outcome: outcome.into(), known, replayed }
}

/// Pools of an org, for its operators.
pub(super) fn org_pools(pools: &[(PoolId, PoolSummary)]) -> Vec<admin::OrgPool> {
    let pool = |(id, summary): &(PoolId, PoolSummary)| admin::OrgPool {
        pool: id.to_string(),
        summary: Some(pool_summary(summary)),
    };
    pools.iter().map(pool).collect()
}
