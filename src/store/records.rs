//! What is inside a stored value, version 2: the store's own types, written by bincode on disk and by
//! JSON in exports. Fields, their order and the order of variants never change; a new shape is a new
//! version. What the key says is not repeated in the value.

mod journal;
mod outbox;
mod outcomes;
mod pools;
mod sessions;

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error as _},
};

use self::{
    journal::{JournalV2, PartV2},
    outbox::{ExecutionV2, ExportV2},
    pools::{AccountV2, PoolV2},
    sessions::{BudgetV2, SessionV2, TrialEndedV2},
};
use super::keys::Key;
use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{Amounts, Incarnation, Meter, Reason, Scope, Source},
        input::InputError,
        ledger::HourSlice,
        outcome::Entry,
        rate::{Counter, RateRecord},
        rows::{BaselineRow, DisputedRow, Head, ReservationRow, Row, RowKey, UpstreamAccountRow},
        service_time::ClockMark,
        window::Millis,
    },
};

/// The node's own row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Commit groups since the data directory was made.
    pub group: u64,
    pub mark: Option<ClockMark>,
    /// What the heads of all orgs, with the digests in them, and the timers add up to.
    pub digests: u64,
}

/// One stored value in domain terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Meta(Meta),
    /// `parts` says how many parts continue a journal row; 0 for every other row.
    Row {
        row: Row,
        parts: u16,
    },
    Part(Vec<Entry>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaV2<'a> {
    group: u64,
    #[serde(borrow)]
    mark: Option<MarkV2<'a>>,
    digests: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkV2<'a> {
    service: Millis,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    uptime: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadV2<'a> {
    seq: u64,
    journal_from: u64,
    last_at: Millis,
    rate: Option<RateV2>,
    #[serde(borrow)]
    frozen: Option<Cow<'a, str>>,
    wake_at: Option<Millis>,
    admitted_total: u64,
    evicted: u64,
    uncompleted: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateV2 {
    window_id: u64,
    len: Millis,
    count: u64,
    blocked: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimerV2 {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceV2 {
    total: u64,
    minutes: Vec<(u8, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CounterV2 {
    start: Millis,
    used: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    amounts: Vec<AmountV2<'a>>,
    expires_at: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountV2<'a> {
    #[serde(borrow)]
    meter: Cow<'a, str>,
    amount: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaselineV2<'a> {
    #[serde(borrow)]
    incarnation: Cow<'a, str>,
    total: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DisputedV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    amount: u64,
    at: Millis,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Meta(meta) => MetaV2::from(meta).serialize(out),
            Self::Part(entries) => PartV2::from(entries.as_slice()).serialize(out),
            Self::Row { row, parts } => serialize_row(row, *parts, out),
        }
    }
}

fn serialize_row<S: Serializer>(row: &Row, parts: u16, out: S) -> Result<S::Ok, S::Error> {
    match row {
        Row::Head(head) => HeadV2::from(head).serialize(out),
        Row::Timer { .. } => TimerV2 {}.serialize(out),
        Row::Slice { slice, .. } => SliceV2 { total: slice.total, minutes: slice.minutes.clone() }.serialize(out),
        Row::Counter { counter, .. } => CounterV2 { start: counter.start, used: counter.used }.serialize(out),
        Row::Journal(row) | Row::LongJournal(row) => JournalV2::new(row, parts).serialize(out),
        Row::Reservation(row) => ReservationV2::from(row).serialize(out),
        Row::Baseline(row) => {
            BaselineV2 { incarnation: row.incarnation.as_str().into(), total: row.total }.serialize(out)
        }
        Row::Execution(row) => ExecutionV2::from(row).serialize(out),
        Row::Disputed(row) => DisputedV2::from(row).serialize(out),
        Row::Outbox(row) => ExportV2::from(row).serialize(out),
        Row::Budget(row) => BudgetV2::from(row).serialize(out),
        Row::Session(row) => SessionV2::from(row).serialize(out),
        Row::TrialEnded { at } => TrialEndedV2 { at: *at }.serialize(out),
        Row::Pool(row) => PoolV2::from(row).serialize(out),
        Row::UpstreamAccount(row) => AccountV2::from(row).serialize(out),
    }
}

/// Reads the record that belongs to a key.
pub(super) struct RecordOf<'k>(pub &'k Key);

impl<'de> DeserializeSeed<'de> for RecordOf<'_> {
    type Value = Record;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Record, D::Error> {
        match self.0 {
            Key::Meta => Ok(Record::Meta(MetaV2::deserialize(from)?.into())),
            Key::Part { .. } => Ok(Record::Part(PartV2::deserialize(from)?.into_entries().map_err(D::Error::custom)?)),
            Key::Row { row, .. } => {
                let (row, parts) = deserialize_row(row.clone(), from)?;
                check(&row).map_err(D::Error::custom)?;
                Ok(Record::Row { row, parts })
            }
        }
    }
}

fn deserialize_row<'de, D: Deserializer<'de>>(key: RowKey, from: D) -> Result<(Row, u16), D::Error> {
    let row = match key {
        RowKey::Head => HeadV2::deserialize(from)?.into_head().map(Row::Head).map_err(D::Error::custom)?,
        RowKey::Timer { wake_at } => {
            TimerV2::deserialize(from)?;
            Row::Timer { wake_at }
        }
        RowKey::Slice { scope, meter, start } => {
            let SliceV2 { total, minutes } = SliceV2::deserialize(from)?;
            Row::Slice { scope, meter, slice: HourSlice { start, total, minutes } }
        }
        RowKey::Counter { scope, meter, window } => {
            let CounterV2 { start, used } = CounterV2::deserialize(from)?;
            Row::Counter { scope, meter, window, counter: Counter { start, used } }
        }
        RowKey::Journal { seq } => {
            let (row, parts) = JournalV2::deserialize(from)?.into_row(seq).map_err(D::Error::custom)?;
            return Ok((Row::Journal(row), parts));
        }
        RowKey::LongJournal { seq } => {
            let (row, parts) = JournalV2::deserialize(from)?.into_row(seq).map_err(D::Error::custom)?;
            return Ok((Row::LongJournal(row), parts));
        }
        RowKey::Reservation { id } => {
            let stored = ReservationV2::deserialize(from)?;
            let scope = Scope::parse("scope", &stored.scope).map_err(D::Error::custom)?;
            let amounts = amounts(&stored.amounts).map_err(D::Error::custom)?;
            Row::Reservation(ReservationRow { id, scope, amounts, expires_at: stored.expires_at })
        }
        RowKey::Baseline { scope, source, meter } => {
            let stored = BaselineV2::deserialize(from)?;
            let incarnation = Incarnation::parse("incarnation", &stored.incarnation).map_err(D::Error::custom)?;
            Row::Baseline(BaselineRow { scope, source, meter, incarnation, total: stored.total })
        }
        RowKey::Execution { id } => {
            ExecutionV2::deserialize(from)?.into_row(id).map(Row::Execution).map_err(D::Error::custom)?
        }
        RowKey::Disputed { seq } => {
            DisputedV2::deserialize(from)?.into_row(seq).map(Row::Disputed).map_err(D::Error::custom)?
        }
        RowKey::Outbox { key } => {
            ExportV2::deserialize(from)?.into_row(key).map(Row::Outbox).map_err(D::Error::custom)?
        }
        RowKey::Budget { scope } => Row::Budget(BudgetV2::deserialize(from)?.into_row(scope)),
        RowKey::Session { id } => {
            SessionV2::deserialize(from)?.into_row(id).map(Row::Session).map_err(D::Error::custom)?
        }
        RowKey::TrialEnded => Row::TrialEnded { at: TrialEndedV2::deserialize(from)?.at },
        RowKey::Pool { id } => Row::Pool(PoolV2::deserialize(from)?.into_row(id)),
        RowKey::UpstreamAccount { id } => {
            AccountV2::deserialize(from)?.into_row(id).map(Row::UpstreamAccount).map_err(D::Error::custom)?
        }
    };
    Ok((row, 0))
}

/// What no org ever holds, so that a row which does is corrupt: lengths of zero, minutes outside
/// their hour. Checked before writing as well as after reading.
pub(super) fn check(row: &Row) -> Result<(), InputError> {
    match row {
        Row::Head(Head { rate: Some(rate), .. }) if rate.len == 0 => {
            Err(InputError::new("rate.len", rate.len, "a length above 0 ms"))
        }
        Row::Slice { slice, .. } if !slice.start.is_multiple_of(HOUR_MS) => {
            Err(InputError::new("slice.start", slice.start, "the start of an hour"))
        }
        Row::Slice { slice, .. } => match slice.minutes.iter().find(|(minute, _)| *minute >= 60) {
            Some((minute, _)) => Err(InputError::new("slice.minute", minute, "0 to 59")),
            None if slice.minutes.is_sorted_by(|a, b| a.0 < b.0) => Ok(()),
            None => Err(InputError::new("slice.minutes", format!("{:?}", slice.minutes), "ascending minutes")),
        },
        Row::Counter { window, .. } | Row::UpstreamAccount(UpstreamAccountRow { window: Some(window), .. })
            if !window.is_valid() =>
        {
            Err(InputError::new("window", window, "a window that can be counted"))
        }
        _ => Ok(()),
    }
}

fn amounts(stored: &[AmountV2<'_>]) -> Result<Amounts, InputError> {
    stored.iter().map(|each| Ok((Meter::parse("meter", &each.meter)?, each.amount))).collect()
}

impl<'a> From<&'a Meta> for MetaV2<'a> {
    fn from(meta: &'a Meta) -> Self {
        let mark = |mark: &'a ClockMark| MarkV2 {
            service: mark.service,
            boot_id: mark.boot_id.as_str().into(),
            uptime: mark.uptime,
        };
        Self { group: meta.group, mark: meta.mark.as_ref().map(mark), digests: meta.digests }
    }
}

impl From<MetaV2<'_>> for Meta {
    fn from(stored: MetaV2<'_>) -> Self {
        let mark = |mark: MarkV2<'_>| ClockMark {
            service: mark.service,
            boot_id: mark.boot_id.into_owned(),
            uptime: mark.uptime,
        };
        Self { group: stored.group, mark: stored.mark.map(mark), digests: stored.digests }
    }
}

impl<'a> From<&'a Head> for HeadV2<'a> {
    fn from(head: &'a Head) -> Self {
        let rate = |rate: RateRecord| RateV2 {
            window_id: rate.window_id,
            len: rate.len,
            count: rate.count,
            blocked: rate.blocked,
        };
        Self {
            seq: head.seq,
            journal_from: head.journal_from,
            last_at: head.last_at,
            rate: head.rate.map(rate),
            frozen: head.frozen.as_ref().map(|reason| reason.as_str().into()),
            wake_at: head.wake_at,
            admitted_total: head.admitted_total,
            evicted: head.evicted,
            uncompleted: head.uncompleted,
        }
    }
}

impl HeadV2<'_> {
    fn into_head(self) -> Result<Head, InputError> {
        let rate = |RateV2 { window_id, len, count, blocked }| RateRecord { window_id, len, count, blocked };
        Ok(Head {
            seq: self.seq,
            journal_from: self.journal_from,
            last_at: self.last_at,
            rate: self.rate.map(rate),
            frozen: self.frozen.map(|reason| Reason::parse("frozen", &reason)).transpose()?,
            wake_at: self.wake_at,
            admitted_total: self.admitted_total,
            evicted: self.evicted,
            uncompleted: self.uncompleted,
        })
    }
}

impl<'a> From<&'a (Meter, u64)> for AmountV2<'a> {
    fn from((meter, amount): &'a (Meter, u64)) -> Self {
        Self { meter: meter.as_str().into(), amount: *amount }
    }
}

impl<'a> From<&'a ReservationRow> for ReservationV2<'a> {
    fn from(row: &'a ReservationRow) -> Self {
        Self {
            scope: row.scope.as_str().into(),
            amounts: row.amounts.iter().map(AmountV2::from).collect(),
            expires_at: row.expires_at,
        }
    }
}

impl<'a> From<&'a DisputedRow> for DisputedV2<'a> {
    fn from(row: &'a DisputedRow) -> Self {
        Self {
            scope: row.scope.as_str().into(),
            source: row.source.as_str().into(),
            meter: row.meter.as_str().into(),
            amount: row.amount,
            at: row.at,
        }
    }
}

impl DisputedV2<'_> {
    fn into_row(self, seq: u64) -> Result<DisputedRow, InputError> {
        Ok(DisputedRow {
            seq,
            scope: Scope::parse("scope", &self.scope)?,
            source: Source::parse("source", &self.source)?,
            meter: Meter::parse("meter", &self.meter)?,
            amount: self.amount,
            at: self.at,
        })
    }
}
