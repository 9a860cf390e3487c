//! A directory without what was overwritten or removed: the engine never gives space back, and what a purge has
//! removed stays in its log until it is overwritten. All rows are written into a new engine, read again from there
//! and compared, and then the new one takes the place of the old one.

use std::{fs, io, ops::ControlFlow};

use super::{
    super::{
        changes::Changes,
        digest::{self, Digest},
        keyspace::Keyspace,
        sled::{Engine, Layout, Opened, bytes_below},
    },
    OfflineError,
};
use crate::ports::StoreFault;

/// Rows written with one sync.
const ROWS: usize = 4096;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Rows of every kind.
    pub rows: u64,
    /// Bytes of the engine's files on the disk before.
    pub before: u64,
    /// Bytes of the engine's files on the disk now.
    pub after: u64,
}

/// Compacts an opened directory that is clean; it is closed afterwards.
pub(super) fn compact(opened: Opened) -> Result<Compacted, OfflineError> {
    let layout = opened.layout.clone();
    let before = bytes_below(&layout.engine()).map_err(|error| failed(&layout, &error))?;
    let copied = copy_beside(&opened);
    if copied.is_err() {
        // Room on the disk; what is left of it the next open removes.
        let _ = fs::remove_dir_all(layout.beside().root);
    }
    let rows = copied?;
    // Another process stays out until the new files are in place.
    let _lock = opened.close_engine();
    layout.replace_engine().map_err(|error| failed(&layout, &error))?;
    let after = bytes_below(&layout.engine()).map_err(|error| failed(&layout, &error))?;
    Ok(Compacted { rows, before, after })
}

fn failed(layout: &Layout, error: &io::Error) -> OfflineError {
    let dir = layout.root.display();
    OfflineError(format!("compacting {dir}: {error}; nothing is lost, the next start or fsck settles it"))
}

/// Writes all rows into a new engine, reads them again from the disk, and answers how many there are.
fn copy_beside(opened: &Opened) -> Result<u64, OfflineError> {
    let open = || opened.open_beside().map_err(|error| OfflineError(error.to_string()));
    let read = copy(&opened.engine, &open()?)?;
    let beside = open()?;
    let written = sum(&beside)?;
    if written != read || digest::total(&beside)? != opened.digests() {
        let what = format!("{} rows were read and {} are written", read.rows, written.rows);
        return Err(OfflineError(format!("the compacted copy is not what was copied ({what}); the old files count")));
    }
    Ok(read.rows)
}

/// Every row as it is, checksums and the node's own row included.
fn copy(from: &Engine, to: &Engine) -> Result<Digest, StoreFault> {
    let mut read = Digest::default();
    let mut changes = Changes::default();
    let mut failed = None;
    from.scan(&[], &[u8::MAX], &mut |key, value| {
        read.add(key, value);
        changes.put(key.to_vec(), value.to_vec());
        if changes.len() < ROWS {
            return ControlFlow::Continue(());
        }
        match to.apply(std::mem::take(&mut changes)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => {
                failed = Some(fault);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    to.apply(changes)?;
    Ok(read)
}

fn sum(engine: &Engine) -> Result<Digest, StoreFault> {
    let mut found = Digest::default();
    engine.scan(&[], &[u8::MAX], &mut |key, value| {
        found.add(key, value);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
