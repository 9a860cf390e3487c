//! Journal rows and their entries. A row of a busy commit is long: what does not fit into one stored
//! value of [`PIECE_BYTES`] follows in parts.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::outcomes::{self, OutcomeV2, RpcV2};
use crate::domain::{
    ids::RequestId, input::InputError, outcome::Entry, request::Idempotency, rows::JournalRow, window::Millis,
};

/// The most that the entries of a row, or of a part of it, take in bytes.
pub(in crate::store) const PIECE_BYTES: usize = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalV2<'a> {
    at: Millis,
    /// How many part rows follow.
    parts: u16,
    #[serde(borrow)]
    entries: Vec<EntryV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartV2<'a> {
    #[serde(borrow)]
    entries: Vec<EntryV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryV2<'a> {
    at: Millis,
    rpc: RpcV2,
    #[serde(borrow)]
    idempotency: Option<IdempotencyV2<'a>>,
    long: bool,
    outcome: OutcomeV2,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdempotencyV2<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    fingerprint: u64,
}

/// A row with the entries that fit, of which `parts` follow.
pub(super) fn write<S: Serializer>(row: &JournalRow, parts: u16, out: S) -> Result<S::Ok, S::Error> {
    JournalV2 { at: row.at, parts, entries: row.entries.iter().map(EntryV2::from).collect() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(seq: u64, from: D) -> Result<(JournalRow, u16), D::Error> {
    let JournalV2 { at, parts, entries } = JournalV2::deserialize(from)?;
    let entries = into_entries(entries).map_err(D::Error::custom)?;
    Ok((JournalRow { seq, at, entries }, parts))
}

pub(super) fn write_part<S: Serializer>(entries: &[Entry], out: S) -> Result<S::Ok, S::Error> {
    PartV2 { entries: entries.iter().map(EntryV2::from).collect() }.serialize(out)
}

pub(super) fn read_part<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    into_entries(PartV2::deserialize(from)?.entries).map_err(D::Error::custom)
}

fn into_entries(stored: Vec<EntryV2<'_>>) -> Result<Vec<Entry>, InputError> {
    stored.into_iter().map(EntryV2::into_entry).collect()
}

/// Leaves the entries that fit into a row, and gives the others in runs that each fit into a part.
pub(super) fn split(entries: &mut Vec<Entry>) -> Vec<Vec<Entry>> {
    const FRAME_BYTES: usize = 64;
    let mut pieces = Vec::new();
    let (mut piece, mut bytes) = (Vec::new(), FRAME_BYTES);
    for entry in std::mem::take(entries) {
        let more = bytes_at_most(&entry);
        if bytes + more > PIECE_BYTES && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            bytes = FRAME_BYTES;
        }
        bytes += more;
        piece.push(entry);
    }
    pieces.push(piece);
    *entries = pieces.remove(0);
    pieces
}

/// An upper bound: a number takes at most 9 bytes, a 128-bit one 17, a tag or length 3.
fn bytes_at_most(entry: &Entry) -> usize {
    let id = entry.idempotency.as_ref().map_or(0, |asked| asked.id.as_str().len());
    96 + id + outcomes::bytes_beyond_fixed(&entry.outcome)
}

impl<'a> From<&'a Entry> for EntryV2<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            at: entry.at,
            rpc: entry.rpc.into(),
            idempotency: entry.idempotency.as_ref().map(IdempotencyV2::from),
            long: entry.long,
            outcome: OutcomeV2::from(&entry.outcome),
        }
    }
}

impl EntryV2<'_> {
    fn into_entry(self) -> Result<Entry, InputError> {
        Ok(Entry {
            charge: None,
            at: self.at,
            rpc: self.rpc.into(),
            idempotency: self.idempotency.map(IdempotencyV2::into_idempotency).transpose()?,
            long: self.long,
            outcome: self.outcome.into_outcome()?,
        })
    }
}

impl<'a> From<&'a Idempotency> for IdempotencyV2<'a> {
    fn from(asked: &'a Idempotency) -> Self {
        Self { id: asked.id.as_str().into(), fingerprint: asked.fingerprint }
    }
}

impl IdempotencyV2<'_> {
    fn into_idempotency(self) -> Result<Idempotency, InputError> {
        let id = RequestId::parse("request_id", &self.id)?;
        Ok(Idempotency { id, fingerprint: self.fingerprint })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, JournalRow)> {
    use crate::store::samples::{T0, entries};

    vec![
        ("journal", JournalRow { seq: 6, at: T0, entries: entries() }),
        ("journal_empty", JournalRow { seq: 7, at: T0 + 5, entries: vec![] }),
    ]
}
