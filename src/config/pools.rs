//! Upstream accounts: what holds for those that say nothing else, and how upstreams are understood.
//!
//! ```toml
//! [pools]
//! daily_limit = 20000
//! safety_buffer = 500
//! window = { anchored = "24h" }     # or aligned, rolling, or calendar = "day" | "week" | "month" | "year", with a zone
//! per_minute = 60                   # unlimited where it is left out
//! cooldown = "60s"
//! quarantine = "24h"
//! profile = "relay"                 # or llm
//! quota_texts = ["quota", "daily limit"]
//! stats = "15s"
//!
//! [pools.named."keys"]              # the pools of this name, with any of these but stats
//! profile = "llm"
//! ```

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use super::{
    limits::{counted_length_rule, in_zone, rolling_length_rule},
    mistake::join,
    policies::named_tables,
    reader::{Parsed, Section},
    tree::{Entry, Value},
    values::{choice, duration, length, whole},
};
use crate::{
    bounds::{AMOUNT_MAX, HOUR_MS, QUOTA_TEXT_BYTES, QUOTA_TEXTS, ROUTE_AVOIDED_MAX_MS, SECOND_MS},
    domain::{
        ids::PoolId,
        policy::{PoolPolicy, PoolRules, PoolSettings, Profile},
        window::{Calendar, Millis, Window},
    },
};

/// How often a line says what all pools add up to.
pub(super) const STATS: Duration = Duration::from_secs(15);

pub(super) const CALENDARS: [(&str, Window); 4] = [
    ("day", Window::Calendar(Calendar::Day)),
    ("week", Window::Calendar(Calendar::Week)),
    ("month", Window::Calendar(Calendar::Month)),
    ("year", Window::Calendar(Calendar::Year)),
];

/// What holds for accounts, and how often the line comes.
pub(super) fn pools(mut section: Section<'_>) -> (PoolPolicy, Duration) {
    let default = PoolRules::default();
    let buffer_at = section.place("safety_buffer").or_else(|| section.place("daily_limit"));
    let set = settings(&mut section);
    let rules = PoolRules {
        profile: set.profile.unwrap_or(default.profile),
        daily_limit: set.daily_limit.unwrap_or(default.daily_limit),
        safety_buffer: set.safety_buffer.unwrap_or(default.safety_buffer),
        window: set.window.unwrap_or(default.window),
        per_minute: set.per_minute,
        cooldown: set.cooldown.unwrap_or(default.cooldown),
        quarantine: set.quarantine.unwrap_or(default.quarantine),
    };
    if let Some(at) = buffer_at.filter(|_| rules.safety_buffer >= rules.daily_limit) {
        let path = join(section.path(), "safety_buffer");
        let text = format!(
            "{path} is {} and daily_limit is {}: no account is usable by default",
            rules.safety_buffer, rules.daily_limit
        );
        section.findings.warn(&at, text);
    }
    let stats = section.read("stats", |entry| duration(entry, SECOND_MS, HOUR_MS)).unwrap_or(STATS);
    let named = named(section.section("named"));
    (PoolPolicy { rules, quota_texts: set.quota_texts, named }, stats)
}

/// Pools by their names, in every org.
fn named(mut section: Section<'_>) -> BTreeMap<PoolId, PoolSettings> {
    let mut named = BTreeMap::new();
    for (name, at, entries) in named_tables(&mut section) {
        match PoolId::parse(section.path(), &name) {
            Ok(id) => {
                let set = settings(&mut section.open(&name, at, entries));
                named.insert(id, set);
            }
            Err(error) => section.findings.add(&at, error.to_string()),
        }
    }
    named
}

/// What may be said of all pools, and of those of one name.
fn settings(section: &mut Section<'_>) -> PoolSettings {
    let mut avoided = |key| {
        let read = section.read(key, |entry| duration(entry, SECOND_MS, ROUTE_AVOIDED_MAX_MS));
        read.and_then(|length| Millis::try_from(length.as_millis()).ok())
    };
    let (cooldown, quarantine) = (avoided("cooldown"), avoided("quarantine"));
    let profiles = Profile::ALL.map(|profile| (profile.name(), profile));
    let mut calls = |key| section.read(key, |entry| whole(entry, 0, AMOUNT_MAX));
    let (daily_limit, safety_buffer, per_minute) = (calls("daily_limit"), calls("safety_buffer"), calls("per_minute"));
    PoolSettings {
        profile: section.read("profile", |entry| choice(entry, &profiles)),
        daily_limit,
        safety_buffer,
        window: window(section.section("window")),
        per_minute,
        cooldown,
        quarantine,
        quota_texts: section.read("quota_texts", texts),
    }
}

/// One kind of window with its length.
fn window(mut section: Section<'_>) -> Option<Window> {
    let mut of_length = |key, make: fn(Millis) -> Window, rule: fn() -> String| {
        section.read(key, |entry| {
            let window = entry.text().and_then(length).map(make).filter(|window| window.is_valid());
            window.ok_or_else(|| Cow::from(rule()))
        })
    };
    let windows = [
        of_length("aligned", |len| Window::Aligned { len }, counted_length_rule),
        of_length("anchored", |len| Window::Anchored { len }, counted_length_rule),
        of_length("rolling", |len| Window::Rolling { len }, rolling_length_rule),
        section.read("calendar", |entry| choice(entry, &CALENDARS)),
    ];
    let mut given = windows.into_iter().flatten();
    let window = given.next();
    if let Some(second) = given.next() {
        let (at, path) = (section.at().clone(), section.path().to_owned());
        section.findings.refuse(&at, &path, second, "exactly one window, such as { anchored = \"24h\" }");
    }
    in_zone(&mut section, window?)
}

/// Texts to look for, in lower case.
fn texts(entry: &Entry) -> Parsed<Vec<String>> {
    let text = |entry: &Entry| {
        let text = entry.text().filter(|text| !text.trim().is_empty() && text.len() <= QUOTA_TEXT_BYTES);
        text.map(str::to_lowercase)
    };
    let texts: Option<Vec<_>> = match &entry.value {
        Value::List(entries) if entries.len() <= QUOTA_TEXTS => entries.iter().map(text).collect(),
        _ => None,
    };
    texts.ok_or_else(|| {
        format!("a list of at most {QUOTA_TEXTS} texts of 1 to {QUOTA_TEXT_BYTES} bytes, such as [\"quota\"]").into()
    })
}
