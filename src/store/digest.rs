//! What the rows of an org add up to, so that one which silently shows an older value is noticed.
//!
//! The engine skips what is damaged in the middle of its log. What it shows instead was written once
//! and checks out by itself; only the whole tells that it is not the newest.
//!
//! ```text
//! digest row   for each org: how many rows, and the sum of hash(key, value) over them
//! meta row     for the node: the sum of hash(key, value) over all digest rows and all timers
//! ```
//!
//! Timers are the node's: they are what it looks for before any org is loaded, so a lost one would be
//! noticed by nobody.
//!
//! Sums, so that a commit moves them by the rows it changes and reads no others. A row, or an org with
//! all its rows, that goes back in time makes one of the two wrong; only all of it together, the meta
//! row included, fits, and that is a lost tail, which the number of the last group shows. This is
//! against accidents: a sum does not withstand somebody who chooses rows to fit.

use std::ops::ControlFlow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    codec::{CodecError, Why, decode, decode_key, encode},
    keys::{Key, Kind, prefix_end},
    records::Record,
    rows::Keyspace,
};
use crate::{domain::ids::OrgId, ports::StoreFault};

/// How many rows there are and what their hashes add up to, or by how much that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    pub rows: u64,
    pub sum: u64,
}

impl Digest {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, value));
    }

    pub(super) fn plus(self, moved: Self) -> Self {
        Self { rows: self.rows.wrapping_add(moved.rows), sum: self.sum.wrapping_add(moved.sum) }
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

/// What a row adds to the node's sum.
pub(super) fn weight(key: &[u8], value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| hash(key, value))
}

/// What the node's sum is over.
const OF_NODE: [Kind; 2] = [Kind::Digest, Kind::Timer];

/// Which sum a row is part of.
pub(super) enum Counted {
    /// That of its org's digest, whose key this is.
    InOrg(Vec<u8>),
    InNode,
    Nowhere,
}

pub(super) fn counted(row: &[u8]) -> Counted {
    match row.split_first().and_then(|(kind, rest)| Some((Kind::of_byte(*kind)?, rest))) {
        None | Some((Kind::Meta, _)) => Counted::Nowhere,
        Some((kind, _)) if OF_NODE.contains(&kind) => Counted::InNode,
        Some((_, org)) => {
            let end = org.first().map_or(0, |len| 1 + usize::from(*len));
            org.get(..end).map_or(Counted::Nowhere, |org| Counted::InOrg([&[Kind::Digest.byte()], org].concat()))
        }
    }
}

pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Digest, CodecError> {
    match decode(key, value)? {
        (_, Record::Digest(digest)) => Ok(digest),
        (key, _) => Err(CodecError::new(&key, Why::Payload("it is not a digest".to_owned()))),
    }
}

pub(super) fn write(key: &[u8], digest: Digest) -> Result<Vec<u8>, CodecError> {
    encode(&decode_key(key)?, key, &Record::Digest(digest))
}

/// Whether rows are those the org's digest row was written for.
pub(super) fn check(org: &OrgId, stored: Option<&[u8]>, found: Digest) -> Result<(), CodecError> {
    let key = Key::Digest { org: org.clone() };
    let expected = stored.map_or(Ok(Digest::default()), |value| read(&key.encode(), value))?;
    if found == expected {
        return Ok(());
    }
    let what = format!(
        "rows of this org are missing or out of date: {} are stored, {} were written, with the sums {:016x} and {:016x}",
        found.rows, expected.rows, found.sum, expected.sum
    );
    Err(CodecError::new(&key, Why::Incomplete(what)))
}

/// The node's sum over what is stored.
pub(super) fn total(from: &impl Keyspace) -> Result<u64, StoreFault> {
    let mut total: u64 = 0;
    for kind in OF_NODE {
        from.scan(&[kind.byte()], &prefix_end(&[kind.byte()]), &mut |key, value| {
            total = total.wrapping_add(weight(key, Some(value)));
            ControlFlow::Continue(())
        })?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
