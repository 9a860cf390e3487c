//! The head of an org: sequence, backstop, freeze, timer.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use crate::domain::{
    ids::Reason,
    input::InputError,
    rate::RateRecord,
    rows::{Head, KeptHead},
    window::Millis,
};

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

/// With what is said of request ids that have rows of their own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadV3<'a> {
    #[serde(borrow)]
    head: HeadV2<'a>,
    kept: KeptV3,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptV3 {
    pages_from: u64,
    pages_to: u64,
    paged_seq: u64,
    count: u64,
    bytes: u64,
    since: Millis,
    forgotten_to: Millis,
    forgotten: u64,
    ahead_to: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateV2 {
    window_id: u64,
    len: Millis,
    count: u64,
    blocked: u64,
}

pub(super) fn version(head: &Head) -> u8 {
    if head.kept == KeptHead::default() { 2 } else { 3 }
}

pub(super) fn write<S: Serializer>(head: &Head, out: S) -> Result<S::Ok, S::Error> {
    let rate = head.rate.map(RateV2::try_from).transpose().map_err(S::Error::custom)?;
    let stored = HeadV2 {
        seq: head.seq,
        journal_from: head.journal_from,
        last_at: head.last_at,
        rate,
        frozen: head.frozen.as_ref().map(|reason| reason.as_str().into()),
        wake_at: head.wake_at,
        admitted_total: head.admitted_total,
        evicted: head.evicted,
        uncompleted: head.uncompleted,
    };
    if version(head) == 2 {
        return stored.serialize(out);
    }
    HeadV3 { head: stored, kept: head.kept.into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(version: u8, from: D) -> Result<Head, D::Error> {
    let (head, kept) = if version == 2 {
        (HeadV2::deserialize(from)?, KeptHead::default())
    } else {
        let HeadV3 { head, kept } = HeadV3::deserialize(from)?;
        (head, kept.into())
    };
    let head = head.into_head().map_err(D::Error::custom)?;
    Ok(Head { kept, ..head })
}

impl From<KeptHead> for KeptV3 {
    fn from(kept: KeptHead) -> Self {
        let KeptHead { pages_from, pages_to, paged_seq, count, bytes, since, forgotten_to, forgotten, ahead_to } = kept;
        Self { pages_from, pages_to, paged_seq, count, bytes, since, forgotten_to, forgotten, ahead_to }
    }
}

impl From<KeptV3> for KeptHead {
    fn from(stored: KeptV3) -> Self {
        let KeptV3 { pages_from, pages_to, paged_seq, count, bytes, since, forgotten_to, forgotten, ahead_to } = stored;
        Self { pages_from, pages_to, paged_seq, count, bytes, since, forgotten_to, forgotten, ahead_to }
    }
}

impl HeadV2<'_> {
    fn into_head(self) -> Result<Head, InputError> {
        Ok(Head {
            seq: self.seq,
            journal_from: self.journal_from,
            last_at: self.last_at,
            rate: self.rate.map(RateV2::into_record).transpose()?,
            frozen: self.frozen.map(|reason| Reason::parse("frozen", &reason)).transpose()?,
            wake_at: self.wake_at,
            admitted_total: self.admitted_total,
            evicted: self.evicted,
            uncompleted: self.uncompleted,
            kept: KeptHead::default(),
        })
    }
}

impl TryFrom<RateRecord> for RateV2 {
    type Error = InputError;

    fn try_from(RateRecord { window_id, len, count, blocked }: RateRecord) -> Result<Self, InputError> {
        check(len)?;
        Ok(Self { window_id, len, count, blocked })
    }
}

impl RateV2 {
    fn into_record(self) -> Result<RateRecord, InputError> {
        let Self { window_id, len, count, blocked } = self;
        check(len)?;
        Ok(RateRecord { window_id, len, count, blocked })
    }
}

/// No org counts in windows of no length: such a row is corrupt.
fn check(len: Millis) -> Result<(), InputError> {
    if len == 0 { Err(InputError::new("rate.len", len, "a length above 0 ms")) } else { Ok(()) }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, Head)> {
    use crate::{bounds::HOUR_MS, store::samples::T0};

    let head = Head {
        seq: 7,
        journal_from: 6,
        last_at: T0 + 5,
        rate: Some(RateRecord { window_id: 495_000, len: HOUR_MS, count: 999, blocked: 3 }),
        frozen: Some(Reason::parse("reason", "abuse, see \"ticket\"").unwrap()),
        wake_at: Some(T0 + HOUR_MS),
        admitted_total: 1_000_000,
        evicted: 2,
        uncompleted: 1,
        kept: KeptHead::default(),
    };
    let kept = KeptHead {
        pages_from: 3,
        pages_to: 4,
        paged_seq: 6,
        count: 2,
        bytes: 311,
        since: T0,
        forgotten_to: T0 - 1,
        forgotten: 270,
        ahead_to: T0 + 60_000,
    };
    vec![("head", head.clone()), ("head_kept", Head { kept, ..head })]
}
