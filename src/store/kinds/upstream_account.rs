//! Upstream accounts of pools: what is configured for each, and what is known of it beside its ledger.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::window::WindowV2;
use crate::domain::{
    ids::{AccountId, PoolId},
    input::InputError,
    rows::{Avoided, Evidence, Reported, UpstreamAccountRow},
    window::{Millis, Window},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamAccountV2<'a> {
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

pub(super) fn write<S: Serializer>(row: &UpstreamAccountRow, out: S) -> Result<S::Ok, S::Error> {
    let Reported { until, failed, quota_errors, bytes_up, bytes_down } = row.reported;
    let stored = UpstreamAccountV2 {
        pool: row.pool.as_str().into(),
        daily_limit: row.daily_limit,
        safety_buffer: row.safety_buffer,
        window: row.window.map(WindowV2::try_from).transpose().map_err(S::Error::custom)?,
        last_used_at: row.last_used_at,
        reported: ReportedV2 { until, failed, quota_errors, bytes_up, bytes_down },
        evidence: row.evidence.map(|Evidence { at, until, limit }| EvidenceV2 { at, until, limit }),
        quarantine: row.quarantine.map(AvoidedV2::from),
        cooldown: row.cooldown.map(AvoidedV2::from),
        told: row.announced,
    };
    stored.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(id: AccountId, from: D) -> Result<UpstreamAccountRow, D::Error> {
    UpstreamAccountV2::deserialize(from)?.into_row(id).map_err(D::Error::custom)
}

impl UpstreamAccountV2<'_> {
    fn into_row(self, id: AccountId) -> Result<UpstreamAccountRow, InputError> {
        let ReportedV2 { until, failed, quota_errors, bytes_up, bytes_down } = self.reported;
        Ok(UpstreamAccountRow {
            id,
            pool: PoolId::parse("pool", &self.pool)?,
            daily_limit: self.daily_limit,
            safety_buffer: self.safety_buffer,
            window: self.window.map(Window::try_from).transpose()?,
            last_used_at: self.last_used_at,
            reported: Reported { until, failed, quota_errors, bytes_up, bytes_down },
            evidence: self.evidence.map(|EvidenceV2 { at, until, limit }| Evidence { at, until, limit }),
            quarantine: self.quarantine.map(Avoided::from),
            cooldown: self.cooldown.map(Avoided::from),
            announced: self.told,
        })
    }
}

/// One account for every kind of window, and one of which nothing is known.
#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, UpstreamAccountRow)> {
    use crate::{
        bounds::{DAY_MS, HOUR_MS},
        domain::window::Calendar,
        store::samples::{T0, account, pool_id},
    };

    let blank = UpstreamAccountRow {
        id: account("account_blank"),
        pool: pool_id(),
        daily_limit: None,
        safety_buffer: None,
        window: None,
        last_used_at: None,
        reported: Reported::default(),
        evidence: None,
        quarantine: None,
        cooldown: None,
        announced: false,
    };
    let windows = [
        ("account_aligned", Window::Aligned { len: HOUR_MS }),
        ("account_anchored", Window::Anchored { len: DAY_MS }),
        ("account_rolling", Window::Rolling { len: DAY_MS }),
        ("account_day", Window::Calendar(Calendar::Day)),
        ("account_week", Window::Calendar(Calendar::Week)),
        ("account_month", Window::Calendar(Calendar::Month)),
        ("account_month_from", Window::Calendar(Calendar::MonthFrom(31))),
    ];
    let of_window = |(name, window)| {
        let row = UpstreamAccountRow {
            id: account(name),
            pool: pool_id(),
            daily_limit: Some(1_000),
            safety_buffer: Some(0),
            window: Some(window),
            last_used_at: Some(T0),
            reported: Reported { until: T0 + DAY_MS, failed: 1, quota_errors: 2, bytes_up: 3, bytes_down: 4 },
            evidence: Some(Evidence { at: T0 + 1, until: T0 + DAY_MS, limit: 1_000 }),
            quarantine: Some(Avoided { since: T0, until: T0 + DAY_MS }),
            cooldown: Some(Avoided { since: T0 + 2, until: T0 + 60_002 }),
            announced: true,
        };
        (name, row)
    };
    windows.into_iter().map(of_window).chain([("account_blank", blank)]).collect()
}
