//! Sessions: how each is watched, how many of an org may run, and the plan tiers that exist without
//! configuration.
//!
//! ```toml
//! [sessions]
//! enforce = true           # false only watches
//! first_slice = "180s"     # reserved by a start
//! heartbeat = "30s"        # a session that missed three of them, and the grace, has expired
//! [plans.trial]
//! max_sessions = 1
//! trial = true             # no grace at the end, which is announced once
//! then = "free"            # the plan after it
//! [orgs."acme"]
//! plan = "trial"
//! trial_ends = "2026-12-15"
//! ```

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveTime};

use super::{
    reader::{Parsed, Section},
    tree::Entry,
    values::{duration, truth, whole},
};
use crate::{
    bounds::{
        HOUR_MS, SECOND_MS, SESSION_GRACE_MAX_MS, SESSION_HEARTBEAT_MAX_MS, SESSION_MISSED_MAX, SESSION_SLICE_MAX_MS,
    },
    domain::{
        ids::Meter,
        limit::{Limit, LimitSource, Origin},
        policy::{OrgPolicy, SessionPolicy},
        window::{Calendar, Length, Millis, Window},
    },
};

/// More sessions at once than this are no limit any more.
pub(super) const SESSIONS_MAX: u64 = 1_000_000;

/// A plan that exists by itself; a section `[plans.NAME]` of its name stands in its place.
pub(super) struct Tier {
    pub(super) name: &'static str,
    /// Compute per calendar month; `None` = unlimited.
    monthly: Option<Millis>,
    sessions: u64,
    trial: bool,
    /// The plan after it.
    pub(super) then: Option<&'static str>,
}

const fn tier(name: &'static str, monthly: Option<Millis>, sessions: u64) -> Tier {
    Tier { name, monthly, sessions, trial: false, then: None }
}

/// R-SES-7.
pub(super) const TIERS: [Tier; 6] = [
    tier("free", Some(4 * HOUR_MS), 1),
    Tier { trial: true, then: Some("free"), ..tier("trial", Some(5 * HOUR_MS), 1) },
    tier("standard", Some(40 * HOUR_MS), 1),
    tier("advanced", Some(80 * HOUR_MS), 2),
    tier("max", Some(160 * HOUR_MS), 3),
    tier("unlimited", None, 5),
];

impl Tier {
    pub(super) fn policy(&self, base: &OrgPolicy) -> OrgPolicy {
        let origin = Origin::of(LimitSource::Plan);
        let compute = Limit::new(Meter::compute(), Window::Calendar(Calendar::Month), self.monthly).with_origin(origin);
        let sessions = SessionPolicy { max: Some(self.sessions), origin, trial: self.trial, ..base.sessions.clone() };
        let plan = self.name.to_owned();
        OrgPolicy { plan, limits: vec![compute].into(), sessions, ..base.clone() }
    }
}

/// `[sessions]`.
pub(super) fn sessions(mut section: Section<'_>) -> SessionPolicy {
    let default = SessionPolicy::default();
    let clamp_at = section.place("clamp").or_else(|| section.place("heartbeat"));
    let mut length = |key, most| {
        let length = section.read(key, |entry| duration(entry, SECOND_MS, most));
        length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
    };
    let first_slice = length("first_slice", SESSION_SLICE_MAX_MS);
    let heartbeat = length("heartbeat", SESSION_HEARTBEAT_MAX_MS);
    let grace = length("grace", SESSION_GRACE_MAX_MS);
    let clamp = length("clamp", SESSION_SLICE_MAX_MS).unwrap_or(default.clamp);
    let heartbeat = heartbeat.unwrap_or(default.heartbeat);
    if let Some(at) = clamp_at.filter(|_| clamp < heartbeat) {
        let allowed = format!(
            "at least sessions.heartbeat, which is {}; otherwise no heartbeat records all of its time",
            Length(heartbeat)
        );
        section.findings.refuse(&at, "sessions.clamp", Length(clamp), allowed);
    }
    SessionPolicy {
        enforce: section.read("enforce", truth).unwrap_or(default.enforce),
        first_slice: first_slice.unwrap_or(default.first_slice),
        heartbeat,
        missed: section.read("missed", |entry| whole(entry, 1, SESSION_MISSED_MAX)).unwrap_or(default.missed),
        grace: grace.unwrap_or(default.grace),
        clamp,
        ..default
    }
}

/// The keys of a plan or an org about sessions, over those of the layer below.
pub(super) fn read(section: &mut Section<'_>, sessions: &mut SessionPolicy, source: LimitSource) {
    let max = section.read("max_sessions", |entry| match entry.text() {
        Some("unlimited") => Ok(None),
        _ => whole(entry, 0, SESSIONS_MAX).map(Some).map_err(|rule| Cow::from(format!("{rule}, or \"unlimited\""))),
    });
    if let Some(max) = max {
        (sessions.max, sessions.origin) = (max, Origin::of(source));
    }
    sessions.trial = section.read("trial", truth).unwrap_or(sessions.trial);
}

/// A day, which begins at midnight UTC, or an instant.
pub(super) fn instant(entry: &Entry) -> Parsed<Millis> {
    let day = |text: &str| {
        let day: NaiveDate = text.parse().ok()?;
        Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis())
    };
    let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
    let millis = entry.moment().and_then(|text| day(text).or_else(|| time(text)));
    let allowed =
        "a day such as \"2026-12-15\", which begins at midnight UTC, or a time such as \"2026-12-15T08:00:00Z\"";
    millis.and_then(|at| Millis::try_from(at).ok()).ok_or_else(|| allowed.into())
}
