//! Journal rows and their entries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::outcomes::OutcomeV2;
use crate::domain::{
    ids::RequestId,
    input::InputError,
    outcome::Entry,
    request::{Idempotency, Rpc},
    rows::JournalRow,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct JournalV2<'a> {
    at: Millis,
    /// How many part rows follow.
    parts: u16,
    #[serde(borrow)]
    entries: Vec<EntryV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct PartV2<'a> {
    #[serde(borrow)]
    entries: Vec<EntryV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct EntryV2<'a> {
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RpcV2 {
    Acquire,
    Commit,
    Release,
    Extend,
    Resume,
    Record,
    ReportCumulative,
    Freeze,
    Unfreeze,
    // Variants are added at the end: what was written before still reads.
    UpdateBudget,
    ReplaceBudget,
    StartSession,
    Heartbeat,
    EndSession,
    ConfigurePool,
    Pick,
    ReportOutcome,
}

/// 128-bit ids: a number on disk, 32 hexadecimal digits where people read.
pub(in crate::store) mod hex128 {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::domain::ids::DecisionId;

    pub(in crate::store) fn serialize<S: Serializer>(id: &u128, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { DecisionId(*id).to_string().serialize(out) } else { id.serialize(out) }
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        if !from.is_human_readable() {
            return u128::deserialize(from);
        }
        let text = Cow::<str>::deserialize(from)?;
        DecisionId::parse("id", &text).map(|id| id.0).map_err(D::Error::custom)
    }
}

/// The same variants on both sides, both ways.
macro_rules! mirror {
    ($domain:ident <=> $stored:ident { $($variant:ident),+ $(,)? }) => {
        impl From<$domain> for $stored {
            fn from(value: $domain) -> Self {
                match value { $($domain::$variant => Self::$variant,)+ }
            }
        }
        impl From<$stored> for $domain {
            fn from(value: $stored) -> Self {
                match value { $($stored::$variant => Self::$variant,)+ }
            }
        }
    };
}

pub(super) use mirror;

mirror!(Rpc <=> RpcV2 {
    Acquire, Commit, Release, Extend, Resume, Record, ReportCumulative, Freeze, Unfreeze, UpdateBudget, ReplaceBudget,
    StartSession, Heartbeat, EndSession, ConfigurePool, Pick, ReportOutcome,
});

impl<'a> JournalV2<'a> {
    pub(in crate::store) fn new(row: &'a JournalRow, parts: u16) -> Self {
        Self { at: row.at, parts, entries: row.entries.iter().map(EntryV2::from).collect() }
    }

    pub(in crate::store) fn into_row(self, seq: u64) -> Result<(JournalRow, u16), InputError> {
        let entries = self.entries.into_iter().map(EntryV2::into_entry).collect::<Result<_, _>>()?;
        Ok((JournalRow { seq, at: self.at, entries }, self.parts))
    }
}

impl<'a> From<&'a [Entry]> for PartV2<'a> {
    fn from(entries: &'a [Entry]) -> Self {
        Self { entries: entries.iter().map(EntryV2::from).collect() }
    }
}

impl PartV2<'_> {
    pub(in crate::store) fn into_entries(self) -> Result<Vec<Entry>, InputError> {
        self.entries.into_iter().map(EntryV2::into_entry).collect()
    }
}

impl<'a> From<&'a Entry> for EntryV2<'a> {
    fn from(entry: &'a Entry) -> Self {
        let idempotency =
            |asked: &'a Idempotency| IdempotencyV2 { id: asked.id.as_str().into(), fingerprint: asked.fingerprint };
        Self {
            at: entry.at,
            rpc: entry.rpc.into(),
            idempotency: entry.idempotency.as_ref().map(idempotency),
            long: entry.long,
            outcome: OutcomeV2::from(&entry.outcome),
        }
    }
}

impl EntryV2<'_> {
    fn into_entry(self) -> Result<Entry, InputError> {
        let idempotency = |asked: IdempotencyV2<'_>| {
            let id = RequestId::parse("request_id", &asked.id)?;
            Ok::<_, InputError>(Idempotency { id, fingerprint: asked.fingerprint })
        };
        Ok(Entry {
            at: self.at,
            rpc: self.rpc.into(),
            idempotency: self.idempotency.map(idempotency).transpose()?,
            long: self.long,
            outcome: self.outcome.into_outcome()?,
        })
    }
}
