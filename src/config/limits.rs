//! Limits as an operator writes them: a table per meter, in which each key is a window.
//!
//! ```toml
//! executions = { calendar_month = 10000 }
//! compute    = { calendar_month = "4h" }                 # a duration, kept in milliseconds
//! spend      = { hourly = "$1.50", monthly = "100usd" }  # always with a unit; "block" is 0
//! bytes      = { rolling_12h = { amount = 1000000, buffer = 1000, shadow = true } }
//! scans      = { calendar_day = { amount = 100, zone = "America/Los_Angeles" } }
//! ```
//!
//! Amounts are exact: a TOML float is refused. What cannot be read is refused, never "no limit".

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    mistake::{Place, join, nearest},
    reader::{Parsed, Section},
    tree::{Entry, Table, Value},
    values::{integer, length, truth},
};
use crate::{
    bounds::AMOUNT_MAX,
    domain::{
        ids::Meter,
        limit::{Limit, LimitSource, Origin},
        money::micro_usd,
        window::{Calendar, Length, Millis, PERIODS, WINDOW_MAX_MS, Window, period},
        words,
        zone::Zone,
    },
};

/// The meters that come with a unit. Operators may count others.
pub(super) const METERS: [&str; 4] = ["executions", "spend", "compute", "bytes"];

/// Keys that mean something elsewhere and would be a mistake as a meter.
pub(super) const RESERVED: [&str; 13] = [
    "plan",
    "rate",
    "scopes",
    "require_scopes",
    "exempt",
    "included",
    "overage",
    "overrun",
    "billing_anchor",
    "max_sessions",
    "trial",
    "then",
    "trial_ends",
];

pub(super) const CALENDARS: [(&str, Calendar); 4] = [
    ("calendar_day", Calendar::Day),
    ("calendar_week", Calendar::Week),
    ("calendar_month", Calendar::Month),
    ("calendar_year", Calendar::Year),
];

/// What [`zone`] wants.
pub(super) const ZONE_RULE: &str = "a zone of the IANA database, such as \"America/Los_Angeles\"; by default UTC";

pub(super) type OfLength = fn(Millis) -> Window;

/// The kinds of window that a length follows: `rolling_12h`.
pub(super) const WITH_LENGTH: [(&str, OfLength); 3] = [
    ("aligned_", |len| Window::Aligned { len }),
    ("anchored_", |len| Window::Anchored { len }),
    ("rolling_", |len| Window::Rolling { len }),
];

pub(super) const LENGTH_EXAMPLES: [&str; 3] = ["aligned_1h", "anchored_24h", "rolling_7d"];

pub(super) fn counted_length_rule() -> String {
    format!("whole seconds from 1s to {}, such as 30s, 10m, 1h or 7d", Length(WINDOW_MAX_MS))
}

pub(super) fn rolling_length_rule() -> String {
    format!("whole minutes up to 1h and whole hours from there to {}", Length(WINDOW_MAX_MS))
}

/// The limits of one org or scope: every key that is left in the section is a meter.
pub(super) fn limits(section: &mut Section<'_>, source: LimitSource) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (key, entry) in section.take_named() {
        match entry.value {
            Value::Table(windows) if !RESERVED.contains(&key.as_str()) => {
                let of_meter = limits_of_meter(section, &key, entry.key_at, windows).into_iter();
                limits.extend(of_meter.map(|limit| limit.with_origin(Origin::of(source))));
            }
            _ if METERS.contains(&key.as_str()) => {
                let path = join(section.path(), &key);
                let allowed = "a table of windows, such as { monthly = 1000 }";
                section.findings.refuse(&entry.value_at, &path, entry.shown(), allowed);
            }
            _ => section.unknown(&key, &entry.key_at, &METERS),
        }
    }
    limits
}

/// Budgets before quotas, then by meter, the shortest window first.
pub(super) fn in_pipeline_order(mut limits: Vec<Limit>) -> Vec<Limit> {
    limits.sort_by(|a, b| a.rank().cmp(&b.rank()));
    limits
}

fn limits_of_meter(section: &mut Section<'_>, key: &str, at: Place, windows: Table) -> Vec<Limit> {
    let meter = match Meter::parse(section.path(), key) {
        Ok(meter) => meter,
        Err(error) => {
            section.findings.add(&at, error.to_string());
            return Vec::new();
        }
    };
    if !METERS.contains(&key)
        && let Some(meant) = nearest(key, &METERS)
    {
        let path = join(section.path(), key);
        section.findings.warn(&at, format!("{path} limits the custom meter {key}, not {meant}; check the spelling"));
    }
    let mut section = section.open(key, at, windows);
    let mut limits: Vec<Limit> = Vec::new();
    let mut seen = BTreeSet::new();
    for (key, entry) in section.take_named() {
        let Some(window) = window(&mut section, &key, &entry) else { continue };
        if !seen.insert(window) {
            let path = section.path().to_owned();
            let allowed = format!("each window once; another key of this table also means {window}");
            section.findings.refuse(&entry.key_at, &path, &key, allowed);
            continue;
        }
        limits.extend(limit(&mut section, &meter, window, &key, entry));
    }
    limits
}

/// The window that a key names; `None` where it names none: that is noted.
fn window(section: &mut Section<'_>, key: &str, entry: &Entry) -> Option<Window> {
    if let Some(window) = period(key) {
        return Some(window);
    }
    if let Some((_, unit)) = CALENDARS.iter().find(|(name, _)| *name == key) {
        return Some(Window::Calendar(*unit));
    }
    let Some((text, make)) = WITH_LENGTH.iter().find_map(|(kind, make)| Some((key.strip_prefix(kind)?, make))) else {
        let periods = PERIODS.iter().map(|(name, _)| *name);
        let names: Vec<_> = periods.chain(CALENDARS.map(|(name, _)| name)).chain(LENGTH_EXAMPLES).collect();
        section.unknown(key, &entry.key_at, &names);
        return None;
    };
    let window = length(text).map(make).filter(|window| window.is_valid());
    if window.is_none() {
        let rule = if key.starts_with("rolling_") { rolling_length_rule() } else { counted_length_rule() };
        let path = section.path().to_owned();
        section.findings.refuse(&entry.key_at, &path, key, format!("its length must be {rule}"));
    }
    window
}

fn limit(section: &mut Section<'_>, meter: &Meter, window: Window, key: &str, entry: Entry) -> Option<Limit> {
    let Entry { value: Value::Table(details), .. } = entry else {
        return match amount(meter, &entry) {
            Ok(amount) => Some(Limit::new(meter.clone(), window, amount)),
            Err(allowed) => {
                let path = join(section.path(), key);
                let allowed = format!("{allowed}, or a table {{ amount, buffer, shadow, zone }}");
                section.findings.refuse(&entry.value_at, &path, entry.shown(), allowed);
                None
            }
        };
    };
    let mut section = section.open(key, entry.key_at, details);
    if section.place("amount").is_none() {
        let (at, path) = (section.at().clone(), join(section.path(), "amount"));
        section.findings.add(&at, format!("{path} is missing: {}", amount_rule(meter)));
    }
    let buffer_at = section.place("buffer");
    let amount = section.read("amount", |entry| amount(meter, entry));
    let buffer = section.read("buffer", |entry| buffer(meter, entry)).unwrap_or(0);
    let shadow = section.read("shadow", truth).unwrap_or(false);
    let window = in_zone(&mut section, window)?;
    let limit = Limit { buffer, shadow, ..Limit::new(meter.clone(), window, amount?) };
    if let (Some(at), Some(amount)) = (buffer_at, limit.amount)
        && buffer >= amount
    {
        let path = section.path().to_owned();
        let (buffer, amount) = (words::amount(meter, buffer), words::amount(meter, amount));
        let text = format!("{path} has a buffer of {buffer} and an amount of {amount}: nothing is usable");
        section.findings.warn(&at, text);
    }
    Some(limit)
}

/// The window in the zone that is given beside it; `None` where it cannot have one: that is noted.
pub(super) fn in_zone(section: &mut Section<'_>, window: Window) -> Option<Window> {
    let at = section.place("zone");
    let zone = section.read("zone", |entry| entry.text().and_then(Zone::parse).ok_or(Cow::Borrowed(ZONE_RULE)));
    let Some(at) = at else { return Some(window) };
    let zoned = window.in_zone(zone?);
    if zoned.is_none() {
        let path = join(section.path(), "zone");
        section.findings.refuse(&at, &path, window, "only with a window of the calendar, such as calendar_day");
    }
    zoned
}

/// `None` inside is unlimited.
fn amount(meter: &Meter, entry: &Entry) -> Parsed<Option<u64>> {
    let is_spend = meter.as_str() == Meter::SPEND;
    match entry.text() {
        Some("unlimited") => return Ok(None),
        Some("block") if is_spend => return Ok(Some(0)),
        _ => {}
    }
    let words = if is_spend { "\"block\" or \"unlimited\"" } else { "or \"unlimited\"" };
    counted(meter, entry).map(Some).ok_or_else(|| Cow::from(format!("{}, {words}", amount_rule(meter))))
}

fn buffer(meter: &Meter, entry: &Entry) -> Parsed<u64> {
    counted(meter, entry).ok_or_else(|| amount_rule(meter).into())
}

fn counted(meter: &Meter, entry: &Entry) -> Option<u64> {
    let amount = match meter.as_str() {
        Meter::SPEND => micro_usd(entry.text()?),
        Meter::COMPUTE => integer(entry).or_else(|| length(entry.text()?)),
        _ => integer(entry),
    };
    amount.filter(|amount| *amount <= AMOUNT_MAX)
}

pub(super) fn amount_rule(meter: &Meter) -> String {
    match meter.as_str() {
        Meter::SPEND => "an amount of spend with its unit, \"$25\", \"25usd\" or \"25000000u\" (micro-USD), with at \
                         most 6 decimals and at most $10000000000"
            .to_owned(),
        Meter::COMPUTE => {
            format!("a whole number from 0 to {AMOUNT_MAX} (milliseconds), a duration such as \"30m\" or \"4h\"")
        }
        _ => format!("a whole number from 0 to {AMOUNT_MAX}"),
    }
}
