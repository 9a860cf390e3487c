//! One stored value of every kind, for the tests of this family.

use super::{
    keys::Key,
    record::{Meta, Record},
};
use crate::{
    domain::{ids::OrgId, lease::LeaseTime, rows::Row, service_time::ClockMark},
    store::{
        kinds::{self, Item, ItemKey, Memory},
        samples::{T0, entries, org},
    },
};

pub(super) fn meta() -> Meta {
    let lease = LeaseTime(T0 + 2);
    let mark = ClockMark { service: T0 + 9, lease, absent: 7, boot_id: "3b1c-boot".into(), uptime: 12_345 };
    Meta { group: 42, mark: Some(mark), digests: 0xfeed_beef_0123_4567 }
}

/// With the names of their golden files.
pub(super) fn named_records(org: &OrgId) -> Vec<(&'static str, Key, Record)> {
    let row =
        |(name, row): (&'static str, Row)| (name, Key::row(org, &row.key()), Record::Item(Item::Row { row, parts: 0 }));
    let part = |name, of| {
        let item = ItemKey::Part { of, seq: 6, part: 1 };
        (name, Key::Of { org: org.clone(), item }, Record::Item(Item::Part(entries())))
    };
    let mut records = vec![("meta", Key::Meta, Record::Meta(meta()))];
    records.extend(kinds::named_rows().into_iter().map(row));
    records.push(part("journal_part", Memory::Short));
    records.push(part("long_journal_part", Memory::Long));
    records
}

pub(super) fn keys_of(org: &OrgId) -> Vec<Key> {
    named_records(org).into_iter().map(|(_, key, _)| key).collect()
}

pub(super) fn keys() -> Vec<Key> {
    keys_of(&org("acme"))
}
