//! The keyspace: one tree, one enum, bytes that never change.
//!
//! ```text
//! the node's own row   0x01
//! timer                kind  be64(wake_at)  len org
//! everything else      kind  len org  the parts of the row's key
//! ```
//!
//! The first byte is the kind of row. Every text carries its length in front, in one byte, or behind a byte
//! 255 in two: a set of scopes may be as long as that. So no character of a name ends it and no org's prefix can
//! see another's (`a` and `a:b`), and integers are big-endian, so bytes sort like numbers. Timers
//! lead with the time: what is due is one range.

use std::{borrow::Cow, fmt};

use super::record::META_VERSION;
use crate::{
    bounds::{ID_BYTES, METER_BYTES, REQUEST_ID_BYTES, SCOPE_BYTES, SCOPES_PER_CALL},
    domain::{
        ids::OrgId,
        rows::{RowKey, RowKind},
        window::{Millis, Window},
    },
    store::kinds::{ItemKey, KeyError, KeyReader, KeyWriter, Kind, Memory, window},
};

/// No key is longer: a baseline, with org, scopes, source and meter.
pub(super) const KEY_BYTES: usize = 1 + 2 * (1 + ID_BYTES) + 3 + SCOPES_PER_CALL * (SCOPE_BYTES + 1) + 1 + METER_BYTES;
const _: () = assert!(ID_BYTES <= SCOPE_BYTES && SCOPES_PER_CALL * (SCOPE_BYTES + 1) <= u16::MAX as usize);
/// Every other text fits its one byte.
const _: () = assert!(SCOPE_BYTES < 255 && METER_BYTES < 255 && REQUEST_ID_BYTES < 255);

/// First byte of the node's own row, and its name in a report.
const META: u8 = 0x01;
const META_NAME: &str = "meta";

pub(super) const HEAD: Kind = Kind::Row(RowKind::Head);
pub(super) const TIMER: Kind = Kind::Row(RowKind::Timer);

/// The key of one stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// The node's own row: commit group number, clock mark, sum over heads and timers.
    Meta,
    Of {
        org: OrgId,
        item: ItemKey,
    },
}

impl Key {
    pub(super) fn row(org: &OrgId, row: &RowKey) -> Self {
        Self::Of { org: org.clone(), item: ItemKey::Row(row.clone()) }
    }

    /// `None` for the node's own row.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Meta => None,
            Self::Of { item, .. } => Some(item.kind()),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind().map_or(META_NAME, Kind::name)
    }

    /// The newest version of what is stored under it.
    pub(super) fn newest(&self) -> u8 {
        self.kind().map_or(META_VERSION, Kind::newest)
    }

    pub(super) fn org(&self) -> Option<&OrgId> {
        match self {
            Self::Meta => None,
            Self::Of { org, .. } => Some(org),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let Self::Of { org, item } = self else { return vec![META] };
        let kind = item.kind();
        if kind == TIMER {
            let mut key = vec![kind.byte()];
            item.write(&mut key);
            push_text(&mut key, org.as_str());
            return key;
        }
        let mut key = org_prefix(kind, org);
        item.write(&mut key);
        key
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut rest = Rest(bytes);
        let [byte] = rest.array()?;
        let key = match Kind::of_byte(byte) {
            None if byte == META => Self::Meta,
            None => return Err(KeyError::UnknownKind(byte)),
            Some(kind) if kind == TIMER => {
                let item = ItemKey::read(kind, &mut rest)?;
                Self::Of { org: rest.org()?, item }
            }
            Some(kind) => {
                let org = rest.org()?;
                Self::Of { org, item: ItemKey::read(kind, &mut rest)? }
            }
        };
        if rest.0.is_empty() { Ok(key) } else { Err(KeyError::TrailingBytes) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str(META_NAME),
            Self::Of { org, item: ItemKey::Row(row) } => write!(f, "{org}: {row:?}"),
            Self::Of { org, item: ItemKey::Part { seq, part, .. } } => {
                write!(f, "{org}: {} {seq}.{part}", self.name())
            }
        }
    }
}

/// Kinds whose keys begin with the org: all but the timer.
pub(super) fn of_org() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| *kind != TIMER)
}

/// Rows of one kind of one org. Timers have none: theirs is the range of a time.
pub(super) fn org_prefix(kind: Kind, org: &OrgId) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.push(kind.byte());
    push_text(&mut key, org.as_str());
    key
}

/// The parts of one journal row.
pub(super) fn parts(org: &OrgId, of: Memory, seq: u64) -> Vec<u8> {
    let mut key = org_prefix(Kind::Part(of), org);
    key.extend(seq.to_be_bytes());
    key
}

/// First key behind all timers that are due at `now`.
pub(super) fn timers_end(now: Millis) -> Vec<u8> {
    let mut key = vec![TIMER.byte()];
    match now.checked_add(1) {
        Some(next) => key.extend(next.to_be_bytes()),
        None => key = vec![TIMER.byte() + 1],
    }
    key
}

/// First key behind every key that starts with `prefix`.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; KEY_BYTES + 1]
}

/// Before the two bytes of a longer length.
const LONG: u8 = u8::MAX;

/// Names are bounded far below 255 bytes, and sets of them below 65 535; one that were not would not decode to
/// itself.
fn push_text(key: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(len) if len != LONG => key.push(len),
        _ => {
            key.push(LONG);
            key.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    key.extend(text.as_bytes());
}

impl KeyWriter for Vec<u8> {
    fn text(&mut self, _name: &'static str, text: &str) {
        push_text(self, text);
    }

    fn number(&mut self, _name: &'static str, number: u64) {
        self.extend(number.to_be_bytes());
    }

    fn short(&mut self, _name: &'static str, number: u16) {
        self.extend(number.to_be_bytes());
    }

    fn id(&mut self, _name: &'static str, id: u128) {
        self.extend(id.to_be_bytes());
    }

    fn window(&mut self, _name: &'static str, window: Window) {
        let (tag, number) = window::code(window);
        self.push(tag);
        self.extend(number.to_be_bytes());
        if let Some(zone) = window::zone_of(window) {
            push_text(self, zone);
        }
    }
}

/// What is left of a key that is being read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(KeyError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn read_text(&mut self) -> Result<&'a str, KeyError> {
        let len = match self.array()? {
            [LONG] => u16::from_be_bytes(self.array()?),
            [len] => len.into(),
        };
        let (text, rest) = self.0.split_at_checked(usize::from(len)).ok_or(KeyError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| KeyError::NotText)
    }

    fn org(&mut self) -> Result<OrgId, KeyError> {
        Ok(OrgId::parse("org", self.read_text()?)?)
    }
}

impl KeyReader for Rest<'_> {
    fn text(&mut self, _name: &'static str) -> Result<Cow<'_, str>, KeyError> {
        self.read_text().map(Cow::Borrowed)
    }

    fn number(&mut self, _name: &'static str) -> Result<u64, KeyError> {
        self.array().map(u64::from_be_bytes)
    }

    fn short(&mut self, _name: &'static str) -> Result<u16, KeyError> {
        self.array().map(u16::from_be_bytes)
    }

    fn id(&mut self, _name: &'static str) -> Result<u128, KeyError> {
        self.array().map(u128::from_be_bytes)
    }

    fn window(&mut self, _name: &'static str) -> Result<Window, KeyError> {
        let [tag] = self.array()?;
        let number = self.array().map(u64::from_be_bytes)?;
        if tag == window::ZONED {
            return Ok(window::of_zone(number, self.read_text()?)?);
        }
        Ok(window::of_code(tag, number)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        domain::ids::{Meter, Scope, SessionId, Source},
        store::kv::samples,
    };

    fn org(text: &str) -> OrgId {
        OrgId::parse("org", text).unwrap()
    }

    #[test]
    fn every_key_reads_back() {
        let mut kinds: Vec<Kind> = Vec::new();
        for key in samples::keys() {
            assert_eq!(Key::decode(&key.encode()).as_ref(), Ok(&key));
            assert!(key.encode().len() <= KEY_BYTES);
            kinds.extend(key.kind());
        }
        assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
        assert!(Kind::ALL.iter().all(|kind| kind.byte() != META));
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
            for kind in of_org() {
                let hit = samples::keys_of(&org(other))
                    .iter()
                    .filter(|key| key.kind() == Some(kind))
                    .any(|key| key.encode().starts_with(&org_prefix(kind, &org(mine))));
                assert_eq!(hit, mine == other, "{mine} {other} {kind:?}");
            }
        }
    }

    /// Two names that share all that an alphabet can make them share: one is often the start of the other, or
    /// the other with the seam moved.
    fn name() -> impl Strategy<Value = String> {
        "[a1][a1|:/@=+.#*]{0,5}[a1]"
    }

    fn key() -> impl Strategy<Value = Option<Key>> {
        let numbers =
            (0..3u64, prop_oneof![Just(Window::Aligned { len: 1_000 }), Just(Window::Anchored { len: 1_000 })]);
        (name(), name(), name(), "[ab]{1,3}", numbers, 0..6u8).prop_map(|(of, scope, other, meter, numbers, kind)| {
            let (number, window) = numbers;
            let scope = Scope::parse("scope", &scope).ok()?;
            let meter = Meter::parse("meter", &meter).ok()?;
            let item = match kind {
                0 => RowKey::Slice { scope, meter, start: number },
                1 => RowKey::Counter { scope, meter, window },
                2 => RowKey::Baseline { scopes: scope.into(), source: Source::parse("source", &other).ok()?, meter },
                3 => RowKey::Session { id: SessionId::parse("session", &other).ok()? },
                4 => RowKey::Budget { scope },
                _ => RowKey::Timer { wake_at: number },
            };
            Some(Key::row(&OrgId::parse("org", &of).ok()?, &item))
        })
    }

    proptest! {
        #[test]
        fn different_rows_have_different_keys_whatever_their_names(keys in vec(key(), 2..40)) {
            let keys: Vec<Key> = keys.into_iter().flatten().collect();
            for (one, other) in keys.iter().flat_map(|one| keys.iter().map(move |other| (one, other))) {
                prop_assert_eq!(one.encode() == other.encode(), one == other, "{} {}", one, other);
                prop_assert_eq!(Key::decode(&one.encode()), Ok(one.clone()));
                // No org's range holds a row of another.
                if let (Some(kind), Some(mine), Some(org)) = (one.kind(), one.org(), other.org())
                    && kind != TIMER
                {
                    let is_in = one.encode().starts_with(&org_prefix(kind, org));
                    prop_assert_eq!(is_in, mine == org);
                }
            }
        }
    }

    #[test]
    fn a_set_of_scopes_of_any_length_reads_back() {
        for count in 0..=SCOPES_PER_CALL {
            let name = |number| Scope::parse("scope", &format!("account/{number}{}", "x".repeat(ID_BYTES - 1)));
            let scopes = (0..count).map(|number| name(number).unwrap()).collect();
            let source = Source::parse("source", &"s".repeat(ID_BYTES)).unwrap();
            let key = RowKey::Baseline { scopes, source, meter: Meter::spend() };
            let key = Key::row(&org(&"o".repeat(ID_BYTES)), &key);
            assert_eq!(Key::decode(&key.encode()).as_ref(), Ok(&key));
            assert!(key.encode().len() <= KEY_BYTES);
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
    fn windows_that_cannot_be_counted_are_refused() {
        let key = RowKey::Counter { scope: Scope::org(), meter: Meter::spend(), window: Window::Aligned { len: 0 } };
        assert!(matches!(Key::decode(&Key::row(&org("a"), &key).encode()), Err(KeyError::Invalid(_))));
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_all_of_it() {
        assert_eq!(prefix_end(&[1, 2]), [1, 3]);
        assert_eq!(prefix_end(&[1, 255, 255]), [2]);
    }
}
