//! A second engine beside the one in use, with the same rows and nothing of what was overwritten or removed.
//!
//! ```text
//! copy       page by page
//! read back  closed and opened again: what is on the disk is what was written
//! compare    page by page with the engine that it is a copy of
//! is whole   the rows of orgs are what their heads say, and heads and timers what the node's row says
//! ```
//!
//! Rows may change while this is under way: the caller says which, and they are written again.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{
    super::{
        changes::Changes,
        codec,
        digest::{Counted, Digest, counted, reweighed},
        keyspace::Keyspace,
    },
    Engine, Layout,
    open::open_beside,
};
use crate::ports::StoreFault;

/// Rows read and written at a time, and their bytes: as much as a group of commits.
const ROWS: usize = 4096;
const BYTES: usize = 2 << 20;

pub(in crate::store::kv) struct Twin {
    engine: Engine,
    layout: Layout,
    sums: Sums,
}

/// What is written adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    all: Digest,
    /// Rows that the heads of their orgs count.
    in_orgs: Digest,
    /// What the heads say of them.
    heads: Digest,
    /// Heads and timers.
    node: u64,
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Called after every page; an error ends it.
pub(in crate::store::kv) type Between<'b> = dyn FnMut(&mut Twin) -> Result<(), StoreFault> + 'b;

impl Twin {
    /// An empty one. What a compaction that was cut short has left there has to be gone.
    pub(in crate::store::kv) fn create(of: &Layout) -> Result<Self, StoreFault> {
        let engine = open_beside(of).map_err(failed)?;
        Ok(Self { engine, layout: of.clone(), sums: Sums::default() })
    }

    /// Rows of every kind.
    pub(in crate::store::kv) fn rows(&self) -> u64 {
        self.sums.all.rows
    }

    pub(in crate::store::kv) fn copy(&mut self, from: &Engine, between: &mut Between<'_>) -> Result<(), StoreFault> {
        let mut behind = Vec::new();
        while let Some(rows) = page(from, &behind)? {
            behind.clone_from(&rows[rows.len() - 1].0);
            self.write(rows.into_iter().map(|(key, value)| (key, Some(value))))?;
            between(self)?;
        }
        Ok(())
    }

    /// Writes these rows as they are now.
    pub(in crate::store::kv) fn follow(
        &mut self,
        from: &Engine,
        keys: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), StoreFault> {
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            for key in keys.by_ref() {
                let value = from.get(&key)?;
                bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                rows.push((key, value));
                if rows.len() >= ROWS || bytes >= BYTES {
                    break;
                }
            }
            self.write(rows)?;
        }
        Ok(())
    }

    fn write(&mut self, rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreFault> {
        let mut changes = Changes::default();
        for (key, value) in rows {
            let old = self.engine.get(&key)?;
            if old == value {
                continue;
            }
            self.sums.change(&key, old.as_deref(), value.as_deref())?;
            match value {
                Some(value) => changes.put(key, value),
                None => changes.remove(key),
            }
        }
        if changes.len() == 0 { Ok(()) } else { self.engine.apply(changes) }
    }

    /// The same, read from the disk.
    pub(in crate::store::kv) fn read_back(
        self,
        may_go_on: &dyn Fn() -> Result<(), StoreFault>,
    ) -> Result<Self, StoreFault> {
        let Self { engine, layout, sums } = self;
        drop(engine);
        let engine = open_beside(&layout).map_err(failed)?;
        let (mut read, mut behind) = (Digest::default(), Vec::new());
        while let Some(rows) = page(&engine, &behind)? {
            may_go_on()?;
            rows.iter().for_each(|(key, value)| read.add(key, value));
            behind.clone_from(&rows[rows.len() - 1].0);
        }
        if read != sums.all {
            let what = format!("{} rows were written and {} are on the disk, or others", sums.all.rows, read.rows);
            return Err(failed(format!("the compacted copy is not what was written: {what}")));
        }
        Ok(Self { engine, layout, sums })
    }

    /// Writes again what is not as it is there, and answers how many rows that were.
    pub(in crate::store::kv) fn compare(
        &mut self,
        from: &Engine,
        between: &mut Between<'_>,
    ) -> Result<u64, StoreFault> {
        let (mut behind, mut others) = (Vec::new(), 0);
        loop {
            let rows = page(from, &behind)?;
            let is_last = rows.is_none();
            let mut there: BTreeMap<Vec<u8>, Vec<u8>> = rows.unwrap_or_default().into_iter().collect();
            let last = there.last_key_value().map(|(key, _)| key.clone());
            let to = last.as_deref().map_or_else(|| vec![u8::MAX], successor);
            let mut differing = Vec::new();
            self.engine.scan(&first_behind(&behind), &to, &mut |key, value| {
                if there.remove(key).is_none_or(|same| same != value) {
                    differing.push(key.to_vec());
                }
                ControlFlow::Continue(())
            })?;
            differing.extend(there.into_keys());
            others += differing.len() as u64;
            self.follow(from, differing)?;
            between(self)?;
            match last {
                Some(last) if !is_last => behind = last,
                _ => return Ok(others),
            }
        }
    }

    /// Refuses a copy that does not add up; `node` is what heads and timers add up to in the engine in use.
    pub(in crate::store::kv) fn is_whole(&self, node: u64) -> Result<(), StoreFault> {
        let Sums { in_orgs, heads, node: written, .. } = self.sums;
        if in_orgs != heads {
            return Err(failed(format!(
                "orgs have {} rows and their heads say {}, or others",
                in_orgs.rows, heads.rows
            )));
        }
        if written != node {
            return Err(failed(format!("heads and timers add up to {written:016x}, and {node:016x} is right")));
        }
        Ok(())
    }

    pub(super) fn into_engine(self) -> Engine {
        self.engine
    }
}

#[cfg(test)]
impl Twin {
    /// As if the last head, or the last row that a head counts, had never been seen.
    pub(super) fn forget_last(&mut self, head: bool) {
        let mut last = None;
        let visited = self.engine.scan(&[], &[u8::MAX], &mut |key, _| {
            match counted(key) {
                Counted::Head if head => last = Some(key.to_vec()),
                Counted::InOrg(_) if !head => last = Some(key.to_vec()),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        visited.unwrap();
        self.write([(last.unwrap(), None)]).unwrap();
    }
}

impl Sums {
    fn change(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) -> Result<(), StoreFault> {
        let moved = |mut digest: Digest| {
            old.iter().for_each(|old| digest.remove(key, old));
            new.iter().for_each(|new| digest.add(key, new));
            digest
        };
        self.all = moved(self.all);
        let of_head = |head: Option<&[u8]>| head.map_or(Ok(Digest::default()), |head| codec::digest(key, head));
        match counted(key) {
            Counted::Nowhere => return Ok(()),
            Counted::InOrg(_) => {
                self.in_orgs = moved(self.in_orgs);
                return Ok(());
            }
            Counted::Head => {
                let (was, is) = (of_head(old).map_err(failed)?, of_head(new).map_err(failed)?);
                self.heads = self.heads.minus(was).plus(is);
            }
            Counted::Timer => {}
        }
        self.node = reweighed(self.node, key, old, new);
        Ok(())
    }
}

/// The rows behind a key, as many as are read at a time; `None` where there are none.
fn page(of: &Engine, behind: &[u8]) -> Result<Option<Rows>, StoreFault> {
    let (mut rows, mut bytes) = (Rows::new(), 0);
    of.scan(&first_behind(behind), &[u8::MAX], &mut |key, value| {
        bytes += key.len() + value.len();
        rows.push((key.to_vec(), value.to_vec()));
        if rows.len() >= ROWS || bytes >= BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(Some(rows).filter(|rows| !rows.is_empty()))
}

/// The least key behind this one; nothing is behind no key.
fn first_behind(key: &[u8]) -> Vec<u8> {
    if key.is_empty() { Vec::new() } else { successor(key) }
}

fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

pub(super) fn failed(cause: impl ToString) -> StoreFault {
    StoreFault { operation: "compact", cause: cause.to_string() }
}
