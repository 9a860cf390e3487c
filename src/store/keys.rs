//! The keyspace: one tree, one enum, bytes that never change.
//!
//! ```text
//! meta                 kind
//! timer                kind  be64(wake_at)  len org
//! everything else      kind  len org  the row's own parts
//! ```
//!
//! The first byte is the kind of row. Every text carries its length in front, so no org's prefix can
//! see another's (`a` and `a:b`), and integers are big-endian, so bytes sort like numbers. Timers
//! lead with the time: what is due is one range.

mod kind;

use std::fmt;

pub use self::kind::Kind;

use crate::{
    bounds::{ID_BYTES, METER_BYTES, REQUEST_ID_BYTES, SCOPE_BYTES},
    domain::{
        ids::{AccountId, DecisionId, ExecutionId, Meter, OrgId, PoolId, Scope, SessionId, Source},
        input::InputError,
        outbox::OutboxKey,
        rows::RowKey,
        window::{Calendar, Millis, Window},
    },
};

/// No key is longer: a baseline, with org, scope, source and meter.
pub const KEY_BYTES: usize = 1 + 2 * (1 + ID_BYTES) + 1 + SCOPE_BYTES + 1 + METER_BYTES;
const _: () = assert!(ID_BYTES <= SCOPE_BYTES && SCOPE_BYTES <= 255 && METER_BYTES <= 255 && REQUEST_ID_BYTES <= 255);

/// Which journal a part continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Memory {
    Short,
    Long,
}

impl Memory {
    fn part_kind(self) -> Kind {
        match self {
            Self::Short => Kind::JournalPart,
            Self::Long => Kind::LongJournalPart,
        }
    }
}

/// The key of one stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The node's own row: commit group number, clock mark, sum over heads and timers.
    Meta,
    Row {
        org: OrgId,
        row: RowKey,
    },
    /// Entries of a journal row that did not fit into it; `part` counts from 1.
    Part {
        org: OrgId,
        of: Memory,
        seq: u64,
        part: u16,
    },
}

impl Key {
    pub fn row(org: &OrgId, row: &RowKey) -> Self {
        Self::Row { org: org.clone(), row: row.clone() }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Meta => Kind::Meta,
            Self::Part { of, .. } => of.part_kind(),
            Self::Row { row, .. } => kind_of_row(row),
        }
    }

    pub fn org(&self) -> Option<&OrgId> {
        match self {
            Self::Meta => None,
            Self::Row { org, .. } | Self::Part { org, .. } => Some(org),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Meta => vec![Kind::Meta.byte()],
            Self::Row { org, row } => encode_row(org, row),
            Self::Part { org, of, seq, part } => {
                let mut key = parts(org, *of, *seq);
                key.extend(part.to_be_bytes());
                key
            }
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut rest = Rest(bytes);
        let byte = rest.byte()?;
        let key = match Kind::of_byte(byte).ok_or(KeyError::UnknownKind(byte))? {
            Kind::Meta => Self::Meta,
            Kind::Timer => {
                let wake_at = rest.be64()?;
                Self::Row { org: rest.org()?, row: RowKey::Timer { wake_at } }
            }
            Kind::JournalPart => rest.part(Memory::Short)?,
            Kind::LongJournalPart => rest.part(Memory::Long)?,
            kind => {
                let org = rest.org()?;
                Self::Row { org, row: rest.row(kind)? }
            }
        };
        if rest.0.is_empty() { Ok(key) } else { Err(KeyError::TrailingBytes) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("meta"),
            Self::Row { org, row } => write!(f, "{org}: {row:?}"),
            Self::Part { org, seq, part, .. } => write!(f, "{org}: {} {seq}.{part}", self.kind().name()),
        }
    }
}

/// Why bytes are not a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    Truncated,
    TrailingBytes,
    UnknownKind(u8),
    NotText,
    Invalid(InputError),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the key is cut short"),
            Self::TrailingBytes => f.write_str("the key has bytes behind its end"),
            Self::UnknownKind(kind) => write!(f, "kind {kind:#04x} is not known"),
            Self::NotText => f.write_str("the key holds a name that is not text"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

/// Rows of one kind of one org. Timers have none: theirs is the range of a time.
pub fn org_prefix(kind: Kind, org: &OrgId) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.push(kind.byte());
    push_text(&mut key, org.as_str());
    key
}

/// The parts of one journal row.
pub fn parts(org: &OrgId, of: Memory, seq: u64) -> Vec<u8> {
    let mut key = org_prefix(of.part_kind(), org);
    key.extend(seq.to_be_bytes());
    key
}

/// First key behind all timers that are due at `now`.
pub fn timers_end(now: Millis) -> Vec<u8> {
    let mut key = vec![Kind::Timer.byte()];
    match now.checked_add(1) {
        Some(next) => key.extend(next.to_be_bytes()),
        None => key = vec![Kind::Timer.byte() + 1],
    }
    key
}

/// First key behind every key that starts with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; KEY_BYTES + 1]
}

fn kind_of_row(row: &RowKey) -> Kind {
    match row {
        RowKey::Head => Kind::Head,
        RowKey::Timer { .. } => Kind::Timer,
        RowKey::Slice { .. } => Kind::Slice,
        RowKey::Counter { .. } => Kind::Counter,
        RowKey::Journal { .. } => Kind::Journal,
        RowKey::LongJournal { .. } => Kind::LongJournal,
        RowKey::Reservation { .. } => Kind::Reservation,
        RowKey::Baseline { .. } => Kind::Baseline,
        RowKey::Execution { .. } => Kind::Execution,
        RowKey::Disputed { .. } => Kind::Disputed,
        RowKey::Outbox { .. } => Kind::Outbox,
        RowKey::Budget { .. } => Kind::Budget,
        RowKey::Session { .. } => Kind::Session,
        RowKey::TrialEnded => Kind::TrialEnded,
        RowKey::Pool { .. } => Kind::Pool,
        RowKey::UpstreamAccount { .. } => Kind::UpstreamAccount,
    }
}

fn encode_row(org: &OrgId, row: &RowKey) -> Vec<u8> {
    if let RowKey::Timer { wake_at } = row {
        let mut key = vec![Kind::Timer.byte()];
        key.extend(wake_at.to_be_bytes());
        push_text(&mut key, org.as_str());
        return key;
    }
    let mut key = org_prefix(kind_of_row(row), org);
    match row {
        RowKey::Head | RowKey::Timer { .. } | RowKey::TrialEnded => {}
        RowKey::Slice { scope, meter, start } => {
            push_text(&mut key, scope.as_str());
            push_text(&mut key, meter.as_str());
            key.extend(start.to_be_bytes());
        }
        RowKey::Counter { scope, meter, window } => {
            push_text(&mut key, scope.as_str());
            push_text(&mut key, meter.as_str());
            push_window(&mut key, *window);
        }
        RowKey::Journal { seq } | RowKey::LongJournal { seq } | RowKey::Disputed { seq } => {
            key.extend(seq.to_be_bytes());
        }
        RowKey::Reservation { id } => key.extend(id.0.to_be_bytes()),
        RowKey::Baseline { scope, source, meter } => {
            push_text(&mut key, scope.as_str());
            push_text(&mut key, source.as_str());
            push_text(&mut key, meter.as_str());
        }
        RowKey::Execution { id } => push_text(&mut key, id.as_str()),
        RowKey::Outbox { key: export } => key.extend(export.0.to_be_bytes()),
        RowKey::Budget { scope } => push_text(&mut key, scope.as_str()),
        RowKey::Session { id } => push_text(&mut key, id.as_str()),
        RowKey::Pool { id } => push_text(&mut key, id.as_str()),
        RowKey::UpstreamAccount { id } => push_text(&mut key, id.as_str()),
    }
    key
}

/// Names are bounded far below 255 bytes; one that were not would not decode to itself.
fn push_text(key: &mut Vec<u8>, text: &str) {
    key.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    key.extend(text.as_bytes());
}

fn push_window(key: &mut Vec<u8>, window: Window) {
    let (tag, value) = match window {
        Window::Aligned { len } => (1, len),
        Window::Anchored { len } => (2, len),
        Window::Rolling { len } => (3, len),
        Window::Calendar(Calendar::Day) => (4, 1),
        Window::Calendar(Calendar::Week) => (4, 2),
        Window::Calendar(Calendar::Month) => (4, 3),
        Window::Calendar(Calendar::MonthFrom(day)) => (5, u64::from(day)),
        // Neither is ever stored: nothing here counts them.
        Window::Provider | Window::Concurrent => (6, 0),
    };
    key.push(tag);
    key.extend(value.to_be_bytes());
}

/// What is left of a key that is being read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], KeyError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(KeyError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(KeyError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, KeyError> {
        Ok(self.array::<1>()?[0])
    }

    fn be64(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn name<T>(&mut self, parse: impl FnOnce(&str) -> Result<T, InputError>) -> Result<T, KeyError> {
        let len = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| KeyError::NotText)?;
        parse(text).map_err(KeyError::Invalid)
    }

    fn org(&mut self) -> Result<OrgId, KeyError> {
        self.name(|text| OrgId::parse("org", text))
    }

    fn scope(&mut self) -> Result<Scope, KeyError> {
        self.name(|text| Scope::parse("scope", text))
    }

    fn meter(&mut self) -> Result<Meter, KeyError> {
        self.name(|text| Meter::parse("meter", text))
    }

    fn part(&mut self, of: Memory) -> Result<Key, KeyError> {
        let org = self.org()?;
        let seq = self.be64()?;
        Ok(Key::Part { org, of, seq, part: u16::from_be_bytes(self.array()?) })
    }

    fn window(&mut self) -> Result<Window, KeyError> {
        let tag = self.byte()?;
        let value = self.be64()?;
        let window = match (tag, value) {
            (1, len) => Window::Aligned { len },
            (2, len) => Window::Anchored { len },
            (3, len) => Window::Rolling { len },
            (4, 1) => Window::Calendar(Calendar::Day),
            (4, 2) => Window::Calendar(Calendar::Week),
            (4, 3) => Window::Calendar(Calendar::Month),
            (5, day) => Window::Calendar(Calendar::MonthFrom(u8::try_from(day).unwrap_or(0))),
            _ => return Err(invalid_window(format!("{tag}/{value}"))),
        };
        if window.is_valid() { Ok(window) } else { Err(invalid_window(window)) }
    }

    fn row(&mut self, kind: Kind) -> Result<RowKey, KeyError> {
        Ok(match kind {
            Kind::Head => RowKey::Head,
            Kind::Slice => RowKey::Slice { scope: self.scope()?, meter: self.meter()?, start: self.be64()? },
            Kind::Counter => RowKey::Counter { scope: self.scope()?, meter: self.meter()?, window: self.window()? },
            Kind::Journal => RowKey::Journal { seq: self.be64()? },
            Kind::LongJournal => RowKey::LongJournal { seq: self.be64()? },
            Kind::Reservation => RowKey::Reservation { id: DecisionId(u128::from_be_bytes(self.array()?)) },
            Kind::Baseline => RowKey::Baseline {
                scope: self.scope()?,
                source: self.name(|text| Source::parse("source", text))?,
                meter: self.meter()?,
            },
            Kind::Execution => RowKey::Execution { id: self.name(|text| ExecutionId::parse("execution_id", text))? },
            Kind::Disputed => RowKey::Disputed { seq: self.be64()? },
            Kind::Outbox => RowKey::Outbox { key: OutboxKey(u128::from_be_bytes(self.array()?)) },
            Kind::Budget => RowKey::Budget { scope: self.scope()? },
            Kind::Session => RowKey::Session { id: self.name(|text| SessionId::parse("session_id", text))? },
            Kind::TrialEnded => RowKey::TrialEnded,
            Kind::Pool => RowKey::Pool { id: self.name(|text| PoolId::parse("pool", text))? },
            Kind::UpstreamAccount => {
                RowKey::UpstreamAccount { id: self.name(|text| AccountId::parse("account", text))? }
            }
            Kind::Meta | Kind::Timer | Kind::JournalPart | Kind::LongJournalPart => {
                return Err(KeyError::UnknownKind(kind.byte()));
            }
        })
    }
}

fn invalid_window(shown: impl fmt::Display) -> KeyError {
    KeyError::Invalid(InputError::new("window", shown, "a window that can be counted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn org(text: &str) -> OrgId {
        OrgId::parse("org", text).unwrap()
    }

    #[test]
    fn every_key_reads_back() {
        let mut kinds: Vec<Kind> = Vec::new();
        for key in samples::keys() {
            assert_eq!(Key::decode(&key.encode()).as_ref(), Ok(&key));
            assert!(key.encode().len() <= KEY_BYTES);
            kinds.push(key.kind());
        }
        assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    }

    #[test]
    fn a_cut_or_lengthened_key_is_an_error() {
        for key in samples::keys() {
            let bytes = key.encode();
            for len in 0..bytes.len() {
                assert!(Key::decode(&bytes[..len]).is_err(), "{key} cut to {len}");
            }
            let longer = [bytes, vec![0]].concat();
            assert_eq!(Key::decode(&longer), Err(KeyError::TrailingBytes), "{key}");
        }
    }

    #[test]
    fn no_prefix_sees_another_orgs_rows() {
        let names = ["a", "a:b", "a/b", "a.b", "ab", "A", "a1", "1"];
        for (mine, other) in names.iter().flat_map(|mine| names.iter().map(move |other| (mine, other))) {
            for kind in Kind::of_org() {
                let hit = samples::keys_of(&org(other))
                    .iter()
                    .filter(|key| key.kind() == kind)
                    .any(|key| key.encode().starts_with(&org_prefix(kind, &org(mine))));
                assert_eq!(hit, mine == other, "{mine} {other} {kind:?}");
            }
        }
    }

    #[test]
    fn timers_sort_by_time_before_org() {
        let timer = |wake_at, name| Key::row(&org(name), &RowKey::Timer { wake_at }).encode();
        let sorted = [timer(1, "zz"), timer(255, "b"), timer(256, "a"), timer(256, "ab"), timer(u64::MAX, "a")];
        assert!(sorted.is_sorted());
        assert!(timer(256, "zzzz") < timers_end(256) && timers_end(256) <= timer(257, "a"));
        assert!(timer(u64::MAX, "a") < timers_end(u64::MAX));
    }

    #[test]
    fn windows_that_can_not_be_counted_are_refused() {
        let key = RowKey::Counter { scope: Scope::org(), meter: Meter::spend(), window: Window::Aligned { len: 0 } };
        assert!(matches!(Key::decode(&Key::row(&org("a"), &key).encode()), Err(KeyError::Invalid(_))));
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_all_of_it() {
        assert_eq!(prefix_end(&[1, 2]), [1, 3]);
        assert_eq!(prefix_end(&[1, 255, 255]), [2]);
    }
}
