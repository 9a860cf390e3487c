//! Upstream accounts of pools: what is configured for each, and what is known of it beside its ledger. Version 3
//! has a limit per minute, and that the upstream asked to wait. `told` is of an older tollgate: what was announced is an alert.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::window::WindowV2;
use crate::domain::{
    ids::{AccountId, PoolId},
    input::InputError,
    lease::LeaseTime,
    rows::{Avoided, Evidence, Limited, Reported, UpstreamAccountRow},
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

/// The fields of version 2, and those that came with version 3 behind them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamAccountV3<'a> {
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
    per_minute: Option<u64>,
    limited: Option<LimitedV3>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitedV3 {
    since: Millis,
    until: Millis,
    pause: Millis,
    forgotten_at: Millis,
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
    /// Lease time.
    until: Millis,
}

impl From<Avoided> for AvoidedV2 {
    fn from(Avoided { since, until }: Avoided) -> Self {
        Self { since, until: until.0 }
    }
}

impl From<AvoidedV2> for Avoided {
    fn from(AvoidedV2 { since, until }: AvoidedV2) -> Self {
        Self { since, until: LeaseTime(until) }
    }
}

pub(super) fn version(row: &UpstreamAccountRow) -> u8 {
    if row.per_minute.is_none() && row.limited.is_none() { 2 } else { 3 }
}

pub(super) fn write<S: Serializer>(row: &UpstreamAccountRow, out: S) -> Result<S::Ok, S::Error> {
    let old = UpstreamAccountV2::try_from(row).map_err(S::Error::custom)?;
    if version(row) == 2 {
        return old.serialize(out);
    }
    let limited = row.limited.map(|Limited { since, until, pause, forgotten_at }| LimitedV3 {
        since,
        until: until.0,
        pause,
        forgotten_at: forgotten_at.0,
    });
    UpstreamAccountV3 { per_minute: row.per_minute, limited, ..old.into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    stored: u8,
    id: AccountId,
    from: D,
) -> Result<UpstreamAccountRow, D::Error> {
    let newest =
        if stored == 2 { UpstreamAccountV2::deserialize(from)?.into() } else { UpstreamAccountV3::deserialize(from)? };
    newest.into_row(id).map_err(D::Error::custom)
}

impl<'a> TryFrom<&'a UpstreamAccountRow> for UpstreamAccountV2<'a> {
    type Error = InputError;

    fn try_from(row: &'a UpstreamAccountRow) -> Result<Self, InputError> {
        let Reported { until, failed, quota_errors, bytes_up, bytes_down } = row.reported;
        Ok(Self {
            pool: row.pool.as_str().into(),
            daily_limit: row.daily_limit,
            safety_buffer: row.safety_buffer,
            window: row.window.map(WindowV2::try_from).transpose()?,
            last_used_at: row.last_used_at,
            reported: ReportedV2 { until, failed, quota_errors, bytes_up, bytes_down },
            evidence: row.evidence.map(|Evidence { at, until, limit }| EvidenceV2 { at, until, limit }),
            quarantine: row.quarantine.map(AvoidedV2::from),
            cooldown: row.cooldown.map(AvoidedV2::from),
            told: row.announced,
        })
    }
}

impl<'a> From<UpstreamAccountV2<'a>> for UpstreamAccountV3<'a> {
    fn from(old: UpstreamAccountV2<'a>) -> Self {
        Self {
            pool: old.pool,
            daily_limit: old.daily_limit,
            safety_buffer: old.safety_buffer,
            window: old.window,
            last_used_at: old.last_used_at,
            reported: old.reported,
            evidence: old.evidence,
            quarantine: old.quarantine,
            cooldown: old.cooldown,
            told: old.told,
            per_minute: None,
            limited: None,
        }
    }
}

impl UpstreamAccountV3<'_> {
    fn into_row(self, id: AccountId) -> Result<UpstreamAccountRow, InputError> {
        let ReportedV2 { until, failed, quota_errors, bytes_up, bytes_down } = self.reported;
        let limited = self.limited.map(|LimitedV3 { since, until, pause, forgotten_at }| Limited {
            since,
            until: LeaseTime(until),
            pause,
            forgotten_at: LeaseTime(forgotten_at),
        });
        Ok(UpstreamAccountRow {
            id,
            pool: PoolId::parse("pool", &self.pool)?,
            daily_limit: self.daily_limit,
            safety_buffer: self.safety_buffer,
            window: self.window.map(Window::try_from).transpose()?,
            per_minute: self.per_minute,
            last_used_at: self.last_used_at,
            reported: Reported { until, failed, quota_errors, bytes_up, bytes_down },
            evidence: self.evidence.map(|EvidenceV2 { at, until, limit }| Evidence { at, until, limit }),
            quarantine: self.quarantine.map(Avoided::from),
            cooldown: self.cooldown.map(Avoided::from),
            limited,
            announced: self.told,
        })
    }
}

/// One account for every kind of window, one of which nothing is known, and one of version 3.
#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, UpstreamAccountRow)> {
    use crate::{
        bounds::{DAY_MS, HOUR_MS},
        domain::window::Calendar,
        store::samples::{T0, account, pool_id, zone},
    };

    let blank = UpstreamAccountRow {
        id: account("account_blank"),
        pool: pool_id(),
        daily_limit: None,
        safety_buffer: None,
        window: None,
        per_minute: None,
        last_used_at: None,
        reported: Reported::default(),
        evidence: None,
        quarantine: None,
        cooldown: None,
        limited: None,
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
        ("account_year", Window::Calendar(Calendar::Year)),
        ("account_zoned", Window::Zoned { unit: Calendar::MonthFrom(2), zone: zone() }),
    ];
    let of_window = |(name, window)| {
        let row = UpstreamAccountRow {
            id: account(name),
            pool: pool_id(),
            daily_limit: Some(1_000),
            safety_buffer: Some(0),
            window: Some(window),
            per_minute: None,
            last_used_at: Some(T0),
            reported: Reported { until: T0 + DAY_MS, failed: 1, quota_errors: 2, bytes_up: 3, bytes_down: 4 },
            evidence: Some(Evidence { at: T0 + 1, until: T0 + DAY_MS, limit: 1_000 }),
            quarantine: Some(Avoided { since: T0, until: LeaseTime(T0 + DAY_MS) }),
            cooldown: Some(Avoided { since: T0 + 2, until: LeaseTime(T0 + 60_002) }),
            limited: None,
            announced: true,
        };
        (name, row)
    };
    let limited = UpstreamAccountRow {
        id: account("account_limited"),
        per_minute: Some(60),
        limited: Some(Limited {
            since: T0,
            until: LeaseTime(T0 + 4_000),
            pause: 4_000,
            forgotten_at: LeaseTime(T0 + HOUR_MS),
        }),
        ..blank.clone()
    };
    let others = [("account_blank", blank), ("account_limited", limited)];
    windows.into_iter().map(of_window).chain(others).collect()
}
