//! What rows add up to, in whatever order they come: so what a restore has written is compared with what it
//! has read, without keeping either.

use std::{collections::BTreeMap, fmt};

use xxhash_rust::xxh3::xxh3_64;

use super::{DumpError, PAGE, beside::Beside, line};
use crate::{
    domain::{ids::OrgId, rows::Row, shard::ShardSet},
    ports::OrgStore,
    store::kinds,
};

/// How many lines of each kind the rows would be in a dump, and a sum of hashes of these lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    lines: BTreeMap<&'static str, u64>,
    sum: u64,
}

impl Tally {
    /// Everything that is stored.
    pub(super) async fn of(store: &dyn OrgStore) -> Result<Self, DumpError> {
        let mut tally = Self::default();
        let mut after: Option<OrgId> = None;
        loop {
            let page = store.list(&ShardSet::all(), after.as_ref(), PAGE).await?;
            for (org, _) in &page {
                let mut rows = store.load(org).await?.rows;
                let mut beside = Beside::of(store, org);
                while !rows.is_empty() {
                    rows.into_iter().try_for_each(|row| tally.add(org, row))?;
                    rows = beside.next().await?;
                }
            }
            let Some((last, _)) = page.into_iter().next_back() else { return Ok(tally) };
            after = Some(last);
        }
    }

    pub(super) fn add(&mut self, org: &OrgId, row: Row) -> Result<(), DumpError> {
        self.each(org, row, |lines, sum, hash| {
            *lines = lines.wrapping_add(1);
            *sum = sum.wrapping_add(hash);
        })
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, org: &OrgId, row: Row) -> Result<(), DumpError> {
        self.each(org, row, |lines, sum, hash| {
            *lines = lines.wrapping_sub(1);
            *sum = sum.wrapping_sub(hash);
        })
    }

    fn each(&mut self, org: &OrgId, row: Row, count: impl Fn(&mut u64, &mut u64, u64)) -> Result<(), DumpError> {
        for (key, item) in kinds::items(row).map_err(|error| DumpError(format!("{org}: {error}")))? {
            let line = line::write(org, &key, &item).map_err(|error| DumpError(error.to_string()))?;
            count(self.lines.entry(key.kind().name()).or_default(), &mut self.sum, xxh3_64(&line));
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, lines) in self.lines.iter().filter(|(_, lines)| **lines > 0) {
            write!(f, "{kind} {lines}, ")?;
        }
        write!(f, "sum {:016x}", self.sum)
    }
}
