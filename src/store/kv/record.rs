//! What is inside a stored value: an item of an org, or the node's own row. Written by bincode; fields of
//! the node's row and their order never change.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeSeed};

use super::keys::Key;
use crate::{
    domain::{lease::LeaseTime, service_time::ClockMark, window::Millis},
    store::kinds::{FIRST_VERSION, Item, ItemOf},
};

/// The node's own row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Meta {
    /// Commit groups since the data directory was made.
    pub group: u64,
    pub mark: Option<ClockMark>,
    /// What the heads of all orgs, with the digests in them, and the timers add up to.
    pub digests: u64,
}

/// One stored value in domain terms.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "all but one are items, so a box would only cost an allocation each")]
pub(super) enum Record {
    Meta(Meta),
    Item(Item),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaV3<'a> {
    group: u64,
    #[serde(borrow)]
    mark: Option<MarkV3<'a>>,
    digests: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkV3<'a> {
    service: Millis,
    lease: Millis,
    absent: Millis,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    uptime: Millis,
}

/// Before leases had a clock of their own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaV2<'a> {
    group: u64,
    #[serde(borrow)]
    mark: Option<MarkV2<'a>>,
    digests: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkV2<'a> {
    service: Millis,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    uptime: Millis,
}

impl Record {
    /// The version in which it is written.
    pub(super) fn version(&self) -> u8 {
        match self {
            Self::Meta(_) => META_VERSION,
            Self::Item(item) => item.version(),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Meta(meta) => MetaV3::from(meta).serialize(out),
            Self::Item(item) => item.serialize(out),
        }
    }
}

/// The newest version of the node's own row.
pub(super) const META_VERSION: u8 = 3;

/// Reads the record that belongs to a key, as it is written in one version.
pub(super) struct RecordOf<'k> {
    pub(super) key: &'k Key,
    pub(super) version: u8,
}

impl<'de> DeserializeSeed<'de> for RecordOf<'_> {
    type Value = Record;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Record, D::Error> {
        match self.key {
            Key::Meta if self.version == FIRST_VERSION => Ok(Record::Meta(MetaV2::deserialize(from)?.into())),
            Key::Meta => Ok(Record::Meta(MetaV3::deserialize(from)?.into())),
            Key::Of { item, .. } => ItemOf { key: item, version: self.version }.deserialize(from).map(Record::Item),
        }
    }
}

impl<'a> From<&'a Meta> for MetaV3<'a> {
    fn from(meta: &'a Meta) -> Self {
        Self { group: meta.group, mark: meta.mark.as_ref().map(MarkV3::from), digests: meta.digests }
    }
}

impl From<MetaV3<'_>> for Meta {
    fn from(stored: MetaV3<'_>) -> Self {
        Self { group: stored.group, mark: stored.mark.map(ClockMark::from), digests: stored.digests }
    }
}

impl From<MetaV2<'_>> for Meta {
    fn from(stored: MetaV2<'_>) -> Self {
        Self { group: stored.group, mark: stored.mark.map(ClockMark::from), digests: stored.digests }
    }
}

impl<'a> From<&'a ClockMark> for MarkV3<'a> {
    fn from(mark: &'a ClockMark) -> Self {
        let boot_id = mark.boot_id.as_str().into();
        Self { service: mark.service, lease: mark.lease.0, absent: mark.absent, boot_id, uptime: mark.uptime }
    }
}

impl From<MarkV3<'_>> for ClockMark {
    fn from(stored: MarkV3<'_>) -> Self {
        let MarkV3 { service, lease, absent, boot_id, uptime } = stored;
        Self { service, lease: LeaseTime(lease), absent, boot_id: boot_id.into_owned(), uptime }
    }
}

/// Leases ran by service time until then.
impl From<MarkV2<'_>> for ClockMark {
    fn from(stored: MarkV2<'_>) -> Self {
        let MarkV2 { service, boot_id, uptime } = stored;
        Self { service, lease: LeaseTime(service), absent: 0, boot_id: boot_id.into_owned(), uptime }
    }
}
