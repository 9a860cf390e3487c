//! Pools of upstream accounts as tables and as facts, for every verb that shows them.

use crate::{
    cli::output::{Tone, View, facts, number, table, text, time},
    domain::{ids::Meter, window::Millis},
    wire::{
        admin::v1::OrgPool,
        v1::{
            AccountState, Pool, PoolAccountStatus, PoolProfile, PoolSettings, PoolSummary, RouteHealth, UpstreamOutcome,
        },
    },
};

use super::format::{amount, bar, since, when};

/// The sums of the pool, and its accounts.
pub(super) fn describe(pool: &Pool, sum: &PoolSummary, replayed: bool, now: Millis) -> View {
    pool_facts(pool, sum, replayed, now).apart(account_table(&pool.accounts, now))
}

fn pool_facts(pool: &Pool, sum: &PoolSummary, replayed: bool, now: Millis) -> View {
    let replayed = if replayed { " (replayed)" } else { "" };
    let in_force = pool.in_force.clone().unwrap_or_default();
    facts([
        ("pool", pool.pool.clone()),
        ("profile", profile_name(&in_force)),
        ("calls per minute", in_force.per_minute.map(|calls| calls.to_string()).unwrap_or_default()),
        ("active", active(sum)),
        ("avoided", sum.avoided.to_string()),
        ("used", used(sum)),
        ("remaining", sum.remaining.to_string()),
        ("failed", sum.failed.to_string()),
        ("quota errors", sum.quota_errors.to_string()),
        ("calls today", sum.total_calls.to_string()),
        ("bytes today", bytes(sum.bytes)),
        ("estimated bytes left", sum.estimated_remaining_bytes.map(bytes).unwrap_or_default()),
        ("soonest reset", when(now, sum.soonest_reset_ms)),
        ("version", format!("{}{replayed}", pool.version)),
    ])
}

/// `llm`; empty where the node does not say.
fn profile_name(in_force: &PoolSettings) -> String {
    match PoolProfile::try_from(in_force.profile) {
        Ok(PoolProfile::Unspecified) => String::new(),
        Ok(profile) => plain(profile.as_str_name(), "POOL_PROFILE_"),
        Err(_) => format!("profile {}", in_force.profile),
    }
}

/// `3/4`: accounts that are not exhausted.
fn active(sum: &PoolSummary) -> String {
    format!("{}/{}", sum.active, sum.accounts)
}

/// `#.........  12 of 39000`.
fn used(sum: &PoolSummary) -> String {
    let bar = bar(i128::from(sum.used), i128::from(sum.capacity));
    format!("{bar}  {} of {}", sum.used, sum.capacity)
}

fn bytes(number: i64) -> String {
    amount(Meter::bytes().as_str(), number)
}

pub(super) fn account_table(accounts: &[PoolAccountStatus], now: Millis) -> View {
    let columns = [
        text("account"),
        text("state").toned(Tone::of_state),
        number("used"),
        number("limit"),
        number("buffer").spare(3),
        number("remaining"),
        text("window").spare(2),
        time("window ends").spare(7),
        text("route").toned(Tone::of_state),
        number("failed").spare(4),
        number("quota errors").spare(5),
        number("bytes").spare(8),
        time("last used").spare(6),
        time("usable again"),
    ];
    table(columns, accounts.iter().map(|account| row(account, now)))
}

fn row(account: &PoolAccountStatus, now: Millis) -> [String; 14] {
    [
        account.account.clone(),
        state_name(account.state),
        account.used.to_string(),
        account.daily_limit.to_string(),
        account.safety_buffer.to_string(),
        account.remaining.to_string(),
        account.window.clone(),
        when(now, account.window_ends_at_ms),
        route(account, now),
        account.failed.to_string(),
        account.quota_errors.to_string(),
        bytes(account.bytes_up.saturating_add(account.bytes_down)),
        since(now, account.last_used_at_ms),
        usable_again(account, now),
    ]
}

/// `ok`, `cooldown until 2026-11-22T08:31:00Z (in 1m)`.
fn route(account: &PoolAccountStatus, now: Millis) -> String {
    let health = route_name(account.route);
    match when(now, account.route_until_ms) {
        until if until.is_empty() => health,
        until => format!("{health} until {until}"),
    }
}

/// Empty where it is usable.
fn usable_again(account: &PoolAccountStatus, now: Millis) -> String {
    match when(now, account.available_at_ms) {
        at if at.is_empty() && account.state() != AccountState::Active => "not by itself".to_owned(),
        at => at,
    }
}

/// `limit reached`; a state of a newer node is its number.
fn state_name(state: i32) -> String {
    let name = AccountState::try_from(state).map(|state| plain(state.as_str_name(), "ACCOUNT_STATE_"));
    name.unwrap_or_else(|_| format!("state {state}"))
}

fn route_name(route: i32) -> String {
    let name = RouteHealth::try_from(route).map(|route| plain(route.as_str_name(), "ROUTE_HEALTH_"));
    name.unwrap_or_else(|_| format!("route {route}"))
}

/// `quota exhausted`.
pub(super) fn outcome_name(outcome: i32) -> String {
    let name = UpstreamOutcome::try_from(outcome).map(|outcome| plain(outcome.as_str_name(), "UPSTREAM_OUTCOME_"));
    name.unwrap_or_else(|_| format!("outcome {outcome}"))
}

fn plain(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', " ")
}

/// All pools of an org.
pub(super) fn pool_table(pools: &[OrgPool], now: Millis) -> View {
    let columns = [
        text("pool"),
        number("active"),
        number("used"),
        number("capacity"),
        number("remaining"),
        number("failed").spare(2),
        number("quota errors").spare(3),
        number("calls today").spare(1),
        time("soonest reset"),
    ];
    let rows = pools.iter().map(|pool| {
        let sum = pool.summary.unwrap_or_default();
        [
            pool.pool.clone(),
            active(&sum),
            sum.used.to_string(),
            sum.capacity.to_string(),
            sum.remaining.to_string(),
            sum.failed.to_string(),
            sum.quota_errors.to_string(),
            sum.total_calls.to_string(),
            when(now, sum.soonest_reset_ms),
        ]
    });
    table(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_node_says_is_shown_by_its_number() {
        assert_eq!((state_name(2), state_name(9)), ("limit reached".into(), "state 9".into()));
        assert_eq!((route_name(3), route_name(9)), ("quarantine".into(), "route 9".into()));
        assert_eq!((outcome_name(2), outcome_name(9)), ("quota exhausted".into(), "outcome 9".into()));
    }

    #[test]
    fn only_an_account_that_is_exhausted_waits_to_be_usable() {
        let now = 1_795_336_200_000;
        let active = PoolAccountStatus { state: AccountState::Active.into(), ..Default::default() };
        assert_eq!(usable_again(&active, now), "");
        let full = PoolAccountStatus { state: AccountState::LimitReached.into(), ..active };
        assert_eq!(usable_again(&full, now), "not by itself");
        let soon = PoolAccountStatus { available_at_ms: 1_795_336_260_000, ..full };
        assert_eq!(usable_again(&soon, now), "2026-11-22T08:31:00Z (in 1m)");
    }
}
