//! What a change of a pool has changed, for the log of the org. Accounts are masked.

use std::collections::BTreeSet;

use crate::domain::{
    command::ClearAccount,
    events::Change,
    ids::{AccountId, PoolId},
    policy::{PoolSettings, Profile},
    rows::{PoolRow, UpstreamAccountRow},
    window::Window,
    words,
};

/// A pool as it is set, and its accounts in the order of their ids.
type Configured = (Option<PoolRow>, Vec<UpstreamAccountRow>);

pub(super) fn between(pool: &PoolId, before: &Configured, after: &Configured) -> Vec<Change> {
    let ((old_pool, old), (new_pool, new)) = (before, after);
    let none = PoolSettings::default();
    let settings = |row: &Option<PoolRow>| settings(row.as_ref().map_or(&none, |row| &row.settings));
    let mut changes: Vec<Change> = settings(old_pool)
        .iter()
        .zip(settings(new_pool))
        .filter_map(|((field, old), (_, new))| Change::between(&format!("pool {pool}, {field}"), old, &new))
        .collect();
    if old_pool.is_some() != new_pool.is_some() {
        let shown = |row: &Option<PoolRow>| if row.is_some() { "configured" } else { "" };
        changes.extend(Change::between(&format!("pool {pool}"), shown(old_pool), shown(new_pool)));
    }
    let find = |rows: &[UpstreamAccountRow], id: &AccountId| rows.iter().find(|row| row.id == *id).map(account);
    let ids: BTreeSet<&AccountId> = old.iter().chain(new).map(|row| &row.id).collect();
    changes.extend(ids.into_iter().filter_map(|id| {
        let [old, new] = [old, new].map(|rows| find(rows, id).unwrap_or_default());
        Change::between(&format!("pool {pool}, account {}", id.masked()), &old, &new)
    }));
    changes
}

/// What was learnt of the account is forgotten.
pub(super) fn cleared(clear: &ClearAccount, was_held: bool) -> Vec<Change> {
    let field = format!("pool {}, account {}", clear.pool, clear.account.masked());
    was_held.then(|| Change::new(&field, "held back", "cleared")).into_iter().collect()
}

/// Each setting by its name in the API; empty = as configured.
fn settings(set: &PoolSettings) -> [(&'static str, String); 8] {
    [
        ("profile", set.profile.map(Profile::name).unwrap_or_default().to_owned()),
        ("daily_limit", number(set.daily_limit)),
        ("safety_buffer", number(set.safety_buffer)),
        ("window", set.window.map(words::window).unwrap_or_default()),
        ("per_minute", number(set.per_minute)),
        ("cooldown", set.cooldown.map(words::duration).unwrap_or_default()),
        ("quarantine", set.quarantine.map(words::duration).unwrap_or_default()),
        ("quota_texts", set.quota_texts.as_deref().map(|texts| texts.join(", ")).unwrap_or_default()),
    ]
}

/// `500 per day from first use, 20 kept back, 60 per minute`; `as the pool says` where it says nothing itself.
fn account(row: &UpstreamAccountRow) -> String {
    let per = |window: Option<Window>| window.map(|window| format!("per {}", words::window(window)));
    let said = [
        row.daily_limit.map(|limit| format!("at most {limit}")),
        per(row.window),
        row.safety_buffer.map(|buffer| format!("{buffer} kept back")),
        row.per_minute.map(|limit| format!("{limit} per minute")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { "as the pool says".to_owned() } else { said.join(", ") }
}

fn number(given: Option<u64>) -> String {
    given.map(|number| number.to_string()).unwrap_or_default()
}
