//! A hash of what a call means: it tells a retry under a known request id from another call.
//!
//! The conversion of each request lists the fields that it hashes, by their numbers in the proto and in
//! that order, with the values that it parsed. `org` and `request_id` are not among them, because the
//! outcome is stored under them; nor are `plane`, a label for logs, `explain`, which changes no outcome, and `dry_run`,
//! with which nothing is remembered.
//!
//! These rules keep a fingerprint equal between versions of the node:
//!
//! * A field at its default is left out. So a default written out equals the default left out, and a field
//!   that a later version adds changes nothing until a caller sets it.
//! * Lists are sets: their order means nothing.
//! * Values are hashed as parsed: cents equal micro-USD, `1d` equals `24h`.
//! * A field that is added later is a new version of the list, as the mark of those calls alone that set it;
//!   every other call keeps its mark and its hash.
//!
//! The hashed bytes: for each field its number (1 byte), the length of its value (4 bytes, little endian)
//! and the value. Text stands as it is, a number takes 8 bytes and an id 16, little endian; a message is
//! its fields.

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{
    ids::{Amounts, DecisionId, Meter},
    request::VERSION,
    scopes::Scopes,
};

/// The fields of one call or message that are not at their defaults.
#[derive(Debug)]
pub(super) struct Meaning {
    bytes: Vec<u8>,
    /// The latest of the fields.
    version: u8,
}

impl Default for Meaning {
    fn default() -> Self {
        Self { bytes: Vec::new(), version: VERSION }
    }
}

impl Meaning {
    /// Left out where it is empty.
    pub(super) fn text(self, field: u8, value: &str) -> Self {
        if value.is_empty() { self } else { self.value(field, value.as_bytes()) }
    }

    /// An id that no call leaves out.
    pub(super) fn id(self, field: u8, id: DecisionId) -> Self {
        self.value(field, &id.0.to_le_bytes())
    }

    /// Left out where it is 0.
    pub(super) fn number(self, field: u8, value: u64) -> Self {
        if value == 0 { self } else { self.value(field, &value.to_le_bytes()) }
    }

    /// 0 is not the same as absent.
    pub(super) fn optional(self, field: u8, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.value(field, &value.to_le_bytes()),
            None => self,
        }
    }

    /// Fields that were added with `version`: it is that of the calls that set one of them.
    pub(super) fn added(self, version: u8, fields: impl FnOnce(Self) -> Self) -> Self {
        let before = self.bytes.len();
        let mut with = fields(self);
        if with.bytes.len() > before {
            with.version = with.version.max(version);
        }
        with
    }

    /// One scope stands in the field that was there first; several, in their order, in the later one.
    pub(super) fn scopes(self, (one, several): (u8, u8), scopes: &Scopes) -> Self {
        if scopes.len() > 1 {
            self.added(3, |meaning| meaning.text(several, &scopes.text()))
        } else {
            self.text(one, scopes.first().as_str())
        }
    }

    /// A message that is there, also where all of its fields are at their defaults.
    pub(super) fn message(self, field: u8, message: &Self) -> Self {
        let version = self.version.max(message.version);
        Self { version, ..self.value(field, &message.bytes) }
    }

    pub(super) fn set(mut self, field: u8, messages: impl Iterator<Item = Self>) -> Self {
        let mut messages: Vec<_> = messages.collect();
        messages.sort_unstable_by(|one, other| one.bytes.cmp(&other.bytes));
        for message in &messages {
            self = self.message(field, message);
        }
        self
    }

    pub(super) fn amounts(self, field: u8, amounts: &Amounts) -> Self {
        self.set(field, amounts.iter().map(|(meter, amount)| Self::amount(meter, *amount)))
    }

    /// `Amount` of the proto.
    fn amount(meter: &Meter, amount: u64) -> Self {
        Self::default().text(1, meter.as_str()).number(2, amount)
    }

    fn value(mut self, field: u8, value: &[u8]) -> Self {
        // No request is as long as that.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.bytes.push(field);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    pub(super) fn hash(&self) -> u64 {
        xxh3_64(&self.bytes)
    }

    pub(super) fn version(&self) -> u8 {
        self.version
    }
}
