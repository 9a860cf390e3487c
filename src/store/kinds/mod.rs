//! What is stored of an org: one file for each kind of row, and one line for each in one table.
//!
//! ```text
//! <kind>.rs   the value of a row: its versions, how it is read and written, what makes it corrupt, samples
//! kinds!      first byte and name of each kind, and what its key is made of
//! key.rs      the types that stand in keys, as bytes or by name
//! ```
//!
//! Nothing here knows an engine. A value is written through serde: [`kv`](super::kv) stores it as bytes, a
//! [dump](super::dump) as JSON. Fields of a value, their order and the order of variants never change; a
//! new shape is a new version beside the old one. What the key says is not repeated in the value.
//!
//! A value is written in the oldest version that can say it: where every field of a newer one is at its default,
//! the bytes are what an older tollgate wrote. A kind that has newer ones says so in its line (`to 3`).
//!
//! A new kind of row: a line in [`rows`](crate::domain::rows), its owner in the domain, a file and a line here.

mod alert;
mod baseline;
mod budget;
mod counter;
mod day;
mod denial;
mod disputed;
mod event;
mod events_delivered;
mod execution;
mod given_back;
mod head;
mod id_page;
mod journal;
mod key;
mod leads_to;
mod long_journal;
mod names;
mod outbox;
mod outcomes;
mod overrides;
mod plane_day;
mod plane_of;
mod pool;
mod request_id;
mod reservation;
mod session;
mod settled;
mod slice;
mod stored;
mod timer;
mod trial_ended;
mod upstream_account;
mod usage_day;
mod usage_kept;
mod usage_month;
pub(super) mod window;

use serde::{Deserializer, Serialize, Serializer, de::DeserializeSeed};

use self::key::KeyPart;
use crate::domain::{
    input::InputError,
    outcome::Entry,
    rows::{Row, RowKey, RowKind},
};

pub(super) use self::{
    journal::PIECE_BYTES,
    key::{KeyError, KeyReader, KeyWriter},
};

/// The oldest version that is read, and that of every value whose kind has no newer one. In version 1 digests had rows
/// of their own.
pub(super) const FIRST_VERSION: u8 = 2;

/// Asks the file of a kind for the version of a row, or to read one: with a version only where it has several.
macro_rules! versioned {
    (version [] $file:ident($row:ident)) => {{
        let _ = $row;
        FIRST_VERSION
    }};
    (version [$newest:literal] $file:ident($row:ident)) => { $file::version($row) };
    (read [] $file:ident($version:ident, $from:ident $(, $part:ident)*)) => { $file::read($($part,)* $from) };
    (read [$newest:literal] $file:ident($version:ident, $from:ident $(, $part:ident)*)) => {
        $file::read($version, $($part,)* $from)
    };
}

/// Generates everything that is asked of any kind. A kind of the domain without a line does not compile.
macro_rules! kinds {
    (
        rows {
            $($kind:ident = $byte:literal $name:literal in $file:ident $(to $newest:literal)?
                $({ $($part:ident),+ })?;)+
        }
        journals {
            $($journal:ident = $jbyte:literal $jname:literal in $jfile:ident,
                parts $memory:ident = $pbyte:literal $pname:literal;)+
        }
    ) => {
        /// Which journal a part continues.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) enum Memory {
            $($memory,)+
        }

        impl Kind {
            pub(super) const ALL: &[Self] = &[
                $(Self::Row(RowKind::$kind),)+
                $(Self::Row(RowKind::$journal), Self::Part(Memory::$memory),)+
            ];

            /// The first byte of every key of the kind.
            pub(super) const fn byte(self) -> u8 {
                match self {
                    $(Self::Row(RowKind::$kind) => $byte,)+
                    $(Self::Row(RowKind::$journal) => $jbyte,)+
                    $(Self::Part(Memory::$memory) => $pbyte,)+
                }
            }

            /// As dumps and people name it.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::Row(RowKind::$kind) => $name,)+
                    $(Self::Row(RowKind::$journal) => $jname,)+
                    $(Self::Part(Memory::$memory) => $pname,)+
                }
            }
        }

        impl Kind {
            /// The newest version of its values.
            pub(super) const fn newest(self) -> u8 {
                match self {
                    $(Self::Row(RowKind::$kind) => [$($newest,)? FIRST_VERSION][0],)+
                    $(Self::Row(RowKind::$journal) | Self::Part(Memory::$memory) => FIRST_VERSION,)+
                }
            }
        }

        impl Memory {
            /// The row that part of it continues.
            pub(super) fn row(self, seq: u64) -> RowKey {
                match self { $(Self::$memory => RowKey::$journal { seq },)+ }
            }
        }

        /// The names of what a key of the kind is made of, beside the org, in the order in which it is written.
        pub(super) fn key_parts(kind: RowKind) -> &'static [&'static str] {
            match kind {
                $(RowKind::$kind => &[$($(stringify!($part)),+)?],)+
                $(RowKind::$journal => &["seq"],)+
            }
        }

        fn write_key(key: &RowKey, to: &mut dyn KeyWriter) {
            match key {
                $(RowKey::$kind $({ $($part),+ })? => { $($($part.write(stringify!($part), to);)+)? })+
                $(RowKey::$journal { seq } => seq.write("seq", to),)+
            }
        }

        fn read_key(kind: RowKind, from: &mut dyn KeyReader) -> Result<RowKey, KeyError> {
            Ok(match kind {
                $(RowKind::$kind => RowKey::$kind $({ $($part: KeyPart::read(stringify!($part), from)?),+ })?,)+
                $(RowKind::$journal => RowKey::$journal { seq: KeyPart::read("seq", from)? },)+
            })
        }

        fn write_row<S: Serializer>(row: &Row, parts: u16, out: S) -> Result<S::Ok, S::Error> {
            match row {
                $(Row::$kind(row) => $file::write(row, out),)+
                $(Row::$journal(row) => $jfile::write(row, parts, out),)+
            }
        }

        /// The version in which a row is written.
        fn version(row: &Row) -> u8 {
            match row {
                $(Row::$kind(row) => versioned!(version [$($newest)?] $file(row)),)+
                $(Row::$journal(_) => FIRST_VERSION,)+
            }
        }

        fn read_row<'de, D: Deserializer<'de>>(
            version: u8,
            key: RowKey,
            from: D,
        ) -> Result<(Row, u16), D::Error> {
            match key {
                $(RowKey::$kind $({ $($part),+ })? => {
                    let row = versioned!(read [$($newest)?] $file(version, from $(, $($part),+)?));
                    row.map(|row| (Row::$kind(row), 0))
                })+
                $(RowKey::$journal { seq } => $jfile::read(seq, from).map(|(row, parts)| (Row::$journal(row), parts)),)+
            }
        }

        /// Which journal a row is of, where parts can continue it, and its number.
        pub(super) fn continued(key: &RowKey) -> Option<(Memory, u64)> {
            match key {
                $(RowKey::$journal { seq } => Some((Memory::$memory, *seq)),)+
                $(RowKey::$kind { .. } => None,)+
            }
        }

        /// The entries of a row that parts can continue.
        pub(super) fn entries(row: &mut Row) -> Option<&mut Vec<Entry>> {
            match row {
                $(Row::$journal(row) => Some(&mut row.entries),)+
                $(Row::$kind(_) => None,)+
            }
        }

        /// Rows with the names of their golden files, at least one of every kind.
        #[cfg(test)]
        pub(super) fn named_rows() -> Vec<(&'static str, Row)> {
            let mut rows = Vec::new();
            $(rows.extend($file::samples().into_iter().map(|(name, row)| (name, Row::$kind(row))));)+
            $(rows.extend($jfile::samples().into_iter().map(|(name, row)| (name, Row::$journal(row))));)+
            rows
        }
    };
}

// Bytes and names are never used again: 0x01 is the node's own row, 0x1c was the digest of an org in version 1.
kinds! {
    rows {
        Head = 0x10 "head" in head to 3;
        Timer = 0x11 "timer" in timer { wake_at };
        Slice = 0x12 "slice" in slice to 3 { scope, meter, start };
        Counter = 0x13 "counter" in counter to 3 { scope, meter, window };
        Reservation = 0x16 "reservation" in reservation to 4 { id };
        Baseline = 0x17 "baseline" in baseline { scopes, source, meter };
        Execution = 0x18 "execution" in execution { id };
        Disputed = 0x19 "disputed" in disputed { seq };
        Outbox = 0x1d "export" in outbox to 3 { key };
        Budget = 0x1e "budget" in budget { scope };
        Session = 0x1f "session" in session to 5 { id };
        TrialEnded = 0x20 "trial_ended" in trial_ended;
        Pool = 0x21 "pool" in pool to 3 { id };
        UpstreamAccount = 0x22 "account" in upstream_account to 3 { id };
        RequestId = 0x28 "request_id" in request_id { rpc, id, at };
        Settled = 0x29 "settled" in settled to 4 { id, at };
        IdPage = 0x2a "id_page" in id_page { number };
        Denial = 0x2b "denial" in denial { number };
        Day = 0x2c "day" in day { start };
        Event = 0x30 "event" in event { number };
        Alert = 0x31 "alert" in alert { scope, subject };
        UsageDay = 0x32 "usage_day" in usage_day { month, scope, meter, start, plane };
        UsageMonth = 0x33 "usage_month" in usage_month { start, scope, meter, plane };
        PlaneDay = 0x34 "plane_day" in plane_day { start };
        PlaneOf = 0x36 "plane_of" in plane_of { id };
        UsageKept = 0x35 "usage_kept" in usage_kept;
        Override = 0x2d "override" in overrides { scope, subject };
        LeadsTo = 0x37 "leads_to" in leads_to;
        Names = 0x38 "names" in names;
        EventsDelivered = 0x3a "events_delivered" in events_delivered;
    }
    journals {
        Journal = 0x14 "journal" in journal, parts Short = 0x1a "journal_part";
        LongJournal = 0x15 "long_journal" in long_journal, parts Long = 0x1b "long_journal_part";
    }
}

/// What one stored value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Row(RowKind),
    Part(Memory),
}

impl Kind {
    /// Whether values of the kind are left where they are when their org is loaded.
    pub(super) fn is_read_by_name(self) -> bool {
        matches!(self, Self::Row(kind) if kind.is_read_by_name())
    }

    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.byte() == byte)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// Names one stored value of an org: a row, or a part that continues one, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ItemKey {
    Row(RowKey),
    Part { of: Memory, seq: u64, part: u16 },
}

impl ItemKey {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Row(key) => Kind::Row(key.kind()),
            Self::Part { of, .. } => Kind::Part(*of),
        }
    }

    /// Writes what stands in the key beside the kind and the org.
    pub(super) fn write(&self, to: &mut dyn KeyWriter) {
        match self {
            Self::Row(key) => write_key(key, to),
            Self::Part { seq, part, .. } => {
                seq.write("seq", to);
                part.write("part", to);
            }
        }
    }

    pub(super) fn read(kind: Kind, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        match kind {
            Kind::Row(kind) => read_key(kind, from).map(Self::Row),
            Kind::Part(of) => {
                Ok(Self::Part { of, seq: KeyPart::read("seq", from)?, part: KeyPart::read("part", from)? })
            }
        }
    }
}

/// One stored value of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are rows, so a box would only cost an allocation each")]
pub(super) enum Item {
    /// `parts` says how many parts continue a journal row; 0 for every other row.
    Row {
        row: Row,
        parts: u16,
    },
    Part(Vec<Entry>),
}

impl Item {
    /// The version in which it is written.
    pub(super) fn version(&self) -> u8 {
        match self {
            Self::Row { row, .. } => version(row),
            Self::Part(_) => FIRST_VERSION,
        }
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Row { row, parts } => write_row(row, *parts, out),
            Self::Part(entries) => journal::write_part(entries, out),
        }
    }
}

/// Reads the value that belongs to a key, as it is written in one version.
pub(super) struct ItemOf<'k> {
    pub(super) key: &'k ItemKey,
    pub(super) version: u8,
}

impl<'de> DeserializeSeed<'de> for ItemOf<'_> {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Item, D::Error> {
        match self.key {
            ItemKey::Row(key) => read_row(self.version, key.clone(), from).map(|(row, parts)| Item::Row { row, parts }),
            ItemKey::Part { .. } => journal::read_part(from).map(Item::Part),
        }
    }
}

/// What is stored for one row: the row, and its parts where it has any.
pub(super) fn items(mut row: Row) -> Result<Vec<(ItemKey, Item)>, InputError> {
    let key = row.key();
    let (Some((of, seq)), Some(entries)) = (continued(&key), entries(&mut row)) else {
        return Ok(vec![(ItemKey::Row(key), Item::Row { row, parts: 0 })]);
    };
    let pieces = journal::split(entries);
    let too_many = |_| InputError::new("parts", pieces.len(), "at most 65535 parts of a journal row");
    let parts = u16::try_from(pieces.len()).map_err(too_many)?;
    let first = (ItemKey::Row(key), Item::Row { row, parts });
    let rest = (1..=parts).zip(pieces).map(|(part, entries)| (ItemKey::Part { of, seq, part }, Item::Part(entries)));
    Ok(std::iter::once(first).chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_its_own_byte_and_name_and_a_sample() {
        let bytes: BTreeSet<u8> = Kind::ALL.iter().map(|kind| kind.byte()).collect();
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!((bytes.len(), names.len()), (Kind::ALL.len(), Kind::ALL.len()));
        for kind in Kind::ALL {
            assert_eq!((Kind::of_byte(kind.byte()), Kind::named(kind.name())), (Some(*kind), Some(*kind)));
        }
        let sampled: BTreeSet<RowKind> = named_rows().iter().map(|(_, row)| row.kind()).collect();
        assert_eq!(sampled, RowKind::ALL.iter().copied().collect());
    }
}
