//! Upstream accounts: what holds for those that say nothing else, and how upstreams are understood.
//!
//! ```toml
//! [pools]
//! daily_limit = 20000
//! safety_buffer = 500
//! window = { anchored = "24h" }     # or aligned, rolling, or calendar = "day" | "week" | "month"
//! cooldown = "60s"
//! quarantine = "24h"
//! quota_texts = ["quota", "daily limit"]
//! stats = "15s"
//! ```

use std::{borrow::Cow, time::Duration};

use super::{
    limits::{counted_length_rule, rolling_length_rule},
    mistake::join,
    reader::{Parsed, Section},
    tree::{Entry, Value},
    values::{choice, duration, length, whole},
};
use crate::{
    bounds::{AMOUNT_MAX, HOUR_MS, QUOTA_TEXT_BYTES, QUOTA_TEXTS, ROUTE_AVOIDED_MAX_MS, SECOND_MS},
    domain::{
        policy::PoolPolicy,
        window::{Calendar, Millis, Window},
    },
};

/// How often a line says what all pools add up to.
const STATS: Duration = Duration::from_secs(15);

const CALENDARS: [(&str, Window); 3] = [
    ("day", Window::Calendar(Calendar::Day)),
    ("week", Window::Calendar(Calendar::Week)),
    ("month", Window::Calendar(Calendar::Month)),
];

/// What holds for accounts, and how often the line comes.
pub(super) fn pools(mut section: Section<'_>) -> (PoolPolicy, Duration) {
    let default = PoolPolicy::default();
    let buffer_at = section.place("safety_buffer").or_else(|| section.place("daily_limit"));
    let daily_limit = section.read("daily_limit", |entry| whole(entry, 0, AMOUNT_MAX)).unwrap_or(default.daily_limit);
    let safety_buffer =
        section.read("safety_buffer", |entry| whole(entry, 0, AMOUNT_MAX)).unwrap_or(default.safety_buffer);
    if let Some(at) = buffer_at.filter(|_| safety_buffer >= daily_limit) {
        let path = join(section.path(), "safety_buffer");
        let text =
            format!("{path} is {safety_buffer} and daily_limit is {daily_limit}: no account is usable by default");
        section.findings.warn(&at, text);
    }
    let mut avoided = |key, default| {
        let read = section.read(key, |entry| duration(entry, SECOND_MS, ROUTE_AVOIDED_MAX_MS));
        read.map_or(default, |length| Millis::try_from(length.as_millis()).unwrap_or(default))
    };
    let (cooldown, quarantine) = (avoided("cooldown", default.cooldown), avoided("quarantine", default.quarantine));
    let policy = PoolPolicy {
        daily_limit,
        safety_buffer,
        window: window(section.section("window")).unwrap_or(default.window),
        cooldown,
        quarantine,
        quota_texts: section.read("quota_texts", texts).unwrap_or(default.quota_texts),
    };
    let stats = section.read("stats", |entry| duration(entry, SECOND_MS, HOUR_MS)).unwrap_or(STATS);
    (policy, stats)
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
    window
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
