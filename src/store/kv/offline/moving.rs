//! A data directory into a [dump], and a dump into an empty directory.
//!
//! An export takes what is there, also where fsck says that some of it is lost or out of date: so it is
//! also the way on from a store whose digests do not fit any more, for somebody who knows that. What is
//! wrong is reported with it.

use std::{
    fs,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::sled::{SledOptions, finish_import, open, start_import},
    FsckOptions, OfflineError, Report,
    as_it_is::AsItIs,
    check, open_as_it_is, set_meta,
};
use crate::{
    clock::SystemClock,
    ports::OrgStore,
    store::dump::{self, DumpError, Header, Reader},
};

/// What an export wrote, and what `fsck` says of the directory it came from.
#[derive(Debug)]
pub struct Exported {
    /// Lines that were written, without the header.
    pub rows: u64,
    /// What `fsck` says of the directory.
    pub report: Report,
}

/// Writes everything stored in `dir`. A row that cannot be read is an error.
pub async fn export(dir: &Path, out: &mut dyn Write) -> Result<Exported, OfflineError> {
    let opened = open_as_it_is(dir)?;
    let header = Header { group: opened.group(), mark: opened.mark().cloned() };
    let rows = dump::write(&AsItIs::new(&opened), &header, out).await?;
    let report = check(dir, FsckOptions::default(), &opened)?;
    Ok(Exported { rows, report })
}

/// Restores an export into an empty directory; durable when it returns. Returns the number of rows.
/// Until it is complete, a note in the directory keeps every node from starting on half of it.
pub async fn import(dir: &Path, from: &mut dyn BufRead) -> Result<u64, OfflineError> {
    refuse_unless_empty(dir)?;
    let dump = Reader::open(from)?;
    let header = dump.header().clone();
    let opened = open(dir, &SledOptions::default()).map_err(|error| OfflineError(error.to_string()))?;
    let marked = |error: io::Error| OfflineError(format!("marking {}: {error}", dir.display()));
    start_import(dir).map_err(marked)?;
    // What this clock says is replaced by what the dump says.
    let clock = SystemClock::resume(None).map_err(|_| OfflineError("the clock did not start".to_owned()))?;
    let store = opened.start(Arc::new(clock), Arc::new(|_| {})).map_err(|error| OfflineError(error.to_string()))?;
    let restored = dump.restore(&store).await;
    let closed = store.close().await;
    drop(store);
    let rows = restored?;
    closed?;
    set_meta(&open_as_it_is(dir)?, header.group, header.mark)?;
    finish_import(dir, header.group).map_err(marked)?;
    Ok(rows)
}

fn refuse_unless_empty(dir: &Path) -> Result<(), OfflineError> {
    let found = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    match found {
        Ok(found) if found.is_empty() => Ok(()),
        Ok(found) => Err(not_empty(dir, &found)),
        Err(error) => Err(OfflineError(format!("reading {}: {error}", dir.display()))),
    }
}

fn not_empty(dir: &Path, found: &[PathBuf]) -> OfflineError {
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    OfflineError(format!(
        "{} is not empty: it holds {}; import needs an empty directory",
        dir.display(),
        names.join(", ")
    ))
}

impl From<DumpError> for OfflineError {
    fn from(error: DumpError) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests;
