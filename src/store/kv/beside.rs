//! Rows that are not loaded with their org: found by name, or read in the order of their keys.

use std::ops::ControlFlow;

use super::{
    codec::{CodecError, decode},
    keys::{Key, org_prefix, prefix_end},
    keyspace::Keyspace,
    read::{ReadError, scan_prefix, scan_until},
    record::Record,
};
use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Row, RowKey, RowKind},
        window::Millis,
    },
    store::kinds::{Item, Kind},
};

/// The youngest row of each name: a time ends its key.
pub(super) fn latest(from: &impl Keyspace, org: &OrgId, names: &[KeptName]) -> Result<Vec<Row>, ReadError> {
    let mut found = Vec::new();
    for name in names {
        let mut prefix = Key::row(org, &name.first_key()).encode();
        prefix.truncate(prefix.len().saturating_sub(size_of::<Millis>()));
        let mut youngest = None;
        scan_prefix(from, &prefix, |key, value| {
            youngest = row_of(key, value)?;
            Ok(())
        })?;
        found.extend(youngest);
    }
    Ok(found)
}

/// Rows of one kind of an org, in the order of their keys, from behind `after`.
pub(super) fn beside(
    from: &impl Keyspace,
    org: &OrgId,
    kind: RowKind,
    after: Option<&RowKey>,
    max: usize,
) -> Result<Vec<Row>, ReadError> {
    let prefix = org_prefix(Kind::Row(kind), org);
    let start = after.map_or_else(|| prefix.clone(), |after| [Key::row(org, after).encode(), vec![0]].concat());
    let mut rows = Vec::new();
    scan_until(from, &start, &prefix_end(&prefix), |key, value| {
        if rows.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        rows.extend(row_of(key, value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(rows)
}

fn row_of(key: &[u8], value: &[u8]) -> Result<Option<Row>, CodecError> {
    let (_, record) = decode(key, value)?;
    Ok(if let Record::Item(Item::Row { row, .. }) = record { Some(row) } else { None })
}
