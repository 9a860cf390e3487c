//! What the rows of an org add up to, so that one which silently shows an older value is noticed.
//!
//! The engine skips what is damaged in the middle of its log. What it shows instead was written once
//! and checks out by itself; only the whole tells that it is not the newest.
//!
//! ```text
//! head       for each org: how many rows it has besides, and the sum of hash(key, value) over them
//! meta row   for the node: the sum of hash(key, value) over all heads and all timers
//! ```
//!
//! Timers are the node's: they are what it looks for before any org is loaded, so a lost one would be
//! noticed by nobody.
//!
//! Sums, so that a commit moves them by the rows it changes and reads no others. A row, or an org with
//! all its rows, that goes back in time makes at least one of the two wrong; only all of it together, the meta
//! row included, fits, and that is a lost tail, which the number of the last group shows. This is
//! against accidents: a sum does not withstand somebody who chooses rows to fit.

use std::ops::ControlFlow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    keys::{HEAD, TIMER, prefix_end},
    keyspace::Keyspace,
};
use crate::{ports::StoreFault, store::kinds::Kind};

/// How many rows there are and what their hashes add up to, or by how much that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    pub(super) rows: u64,
    pub(super) sum: u64,
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

    pub(super) fn minus(self, moved: Self) -> Self {
        Self { rows: self.rows.wrapping_sub(moved.rows), sum: self.sum.wrapping_sub(moved.sum) }
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

/// The node's sum when a row of it is replaced.
pub(super) fn reweighed(total: u64, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) -> u64 {
    total.wrapping_sub(weight(key, old)).wrapping_add(weight(key, new))
}

/// What the node's sum is over.
const OF_NODE: [Kind; 2] = [HEAD, TIMER];

/// Which sum a row is part of.
pub(super) enum Counted {
    /// That in its org's head, whose key this is.
    InOrg(Vec<u8>),
    /// The node's, and it holds its org's.
    Head,
    /// The node's.
    Timer,
    Nowhere,
}

pub(super) fn counted(row: &[u8]) -> Counted {
    match row.split_first().and_then(|(kind, rest)| Some((Kind::of_byte(*kind)?, rest))) {
        // The node's own row is of no kind.
        None => Counted::Nowhere,
        Some((HEAD, _)) => Counted::Head,
        Some((TIMER, _)) => Counted::Timer,
        // Written once and removed once: the head has their number and their bytes.
        Some((kind, _)) if kind.is_read_by_name() => Counted::Nowhere,
        Some((_, org)) => {
            let end = org.first().map_or(0, |len| 1 + usize::from(*len));
            org.get(..end).map_or(Counted::Nowhere, |org| Counted::InOrg([&[HEAD.byte()], org].concat()))
        }
    }
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
