//! Pools and their upstream accounts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{AccountId, PoolId},
    input::InputError,
    rows::{Avoided, Evidence, PoolRow, Reported, UpstreamAccountRow},
    window::{Calendar, Millis, Window},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolV2 {
    version: u64,
    told: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountV2<'a> {
    #[serde(borrow)]
    pool: Cow<'a, str>,
    daily_limit: Option<u64>,
    safety_buffer: Option<u64>,
    window: Option<WindowV2>,
    last_used_at: Option<Millis>,
    reported: ReportedV2,
    evidence: Option<EvidenceV2>,
    quarantine: Option<AvoidedV2>,
    cooldown: Option<AvoidedV2>,
    told: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WindowV2 {
    Aligned(Millis),
    Anchored(Millis),
    Rolling(Millis),
    Day,
    Week,
    Month,
    MonthFrom(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportedV2 {
    until: Millis,
    failed: u64,
    quota_errors: u64,
    bytes_up: u64,
    bytes_down: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceV2 {
    at: Millis,
    until: Millis,
    limit: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AvoidedV2 {
    since: Millis,
    until: Millis,
}

impl From<Avoided> for AvoidedV2 {
    fn from(Avoided { since, until }: Avoided) -> Self {
        Self { since, until }
    }
}

impl From<AvoidedV2> for Avoided {
    fn from(AvoidedV2 { since, until }: AvoidedV2) -> Self {
        Self { since, until }
    }
}

impl From<&PoolRow> for PoolV2 {
    fn from(row: &PoolRow) -> Self {
        Self { version: row.version, told: row.announced }
    }
}

impl PoolV2 {
    pub(super) fn into_row(self, id: PoolId) -> PoolRow {
        PoolRow { id, version: self.version, announced: self.told }
    }
}

/// A window that can be counted; no account has another.
fn stored(window: Window) -> Option<WindowV2> {
    match window {
        Window::Aligned { len } => Some(WindowV2::Aligned(len)),
        Window::Anchored { len } => Some(WindowV2::Anchored(len)),
        Window::Rolling { len } => Some(WindowV2::Rolling(len)),
        Window::Calendar(Calendar::Day) => Some(WindowV2::Day),
        Window::Calendar(Calendar::Week) => Some(WindowV2::Week),
        Window::Calendar(Calendar::Month) => Some(WindowV2::Month),
        Window::Calendar(Calendar::MonthFrom(day)) => Some(WindowV2::MonthFrom(day)),
        Window::Provider | Window::Concurrent => None,
    }
}

impl From<WindowV2> for Window {
    fn from(stored: WindowV2) -> Self {
        match stored {
            WindowV2::Aligned(len) => Self::Aligned { len },
            WindowV2::Anchored(len) => Self::Anchored { len },
            WindowV2::Rolling(len) => Self::Rolling { len },
            WindowV2::Day => Self::Calendar(Calendar::Day),
            WindowV2::Week => Self::Calendar(Calendar::Week),
            WindowV2::Month => Self::Calendar(Calendar::Month),
            WindowV2::MonthFrom(day) => Self::Calendar(Calendar::MonthFrom(day)),
        }
    }
}

impl<'a> From<&'a UpstreamAccountRow> for AccountV2<'a> {
    fn from(row: &'a UpstreamAccountRow) -> Self {
        let Reported { until, failed, quota_errors, bytes_up, bytes_down } = row.reported;
        Self {
            pool: row.pool.as_str().into(),
            daily_limit: row.daily_limit,
            safety_buffer: row.safety_buffer,
            window: row.window.and_then(stored),
            last_used_at: row.last_used_at,
            reported: ReportedV2 { until, failed, quota_errors, bytes_up, bytes_down },
            evidence: row.evidence.map(|Evidence { at, until, limit }| EvidenceV2 { at, until, limit }),
            quarantine: row.quarantine.map(AvoidedV2::from),
            cooldown: row.cooldown.map(AvoidedV2::from),
            told: row.announced,
        }
    }
}

impl AccountV2<'_> {
    pub(super) fn into_row(self, id: AccountId) -> Result<UpstreamAccountRow, InputError> {
        let ReportedV2 { until, failed, quota_errors, bytes_up, bytes_down } = self.reported;
        Ok(UpstreamAccountRow {
            id,
            pool: PoolId::parse("pool", &self.pool)?,
            daily_limit: self.daily_limit,
            safety_buffer: self.safety_buffer,
            window: self.window.map(Window::from),
            last_used_at: self.last_used_at,
            reported: Reported { until, failed, quota_errors, bytes_up, bytes_down },
            evidence: self.evidence.map(|EvidenceV2 { at, until, limit }| Evidence { at, until, limit }),
            quarantine: self.quarantine.map(Avoided::from),
            cooldown: self.cooldown.map(Avoided::from),
            announced: self.told,
        })
    }
}
