//! A data directory into a [dump], and a dump into an empty directory.
//!
//! An import believes nothing: the closing line of the dump must fit its lines, what was written is read again
//! and must add up to what was read, and then it is checked as `fsck` checks it. Where it fails, what it has made is removed
//! again.
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
    super::sled::{clear_unfinished_import, finish_import, open_for_import, undo_import},
    FsckOptions, OfflineError, Report,
    as_it_is::AsItIs,
    check, check_contents, open_as_it_is, set_meta,
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

/// What an import is asked to accept; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// A dump without a closing line: of an older tollgate, or edited.
    pub accept_unclosed: bool,
    /// Rows that do not fit together.
    pub accept_damage: bool,
}

/// What an import read, and what `fsck` says of it.
#[derive(Debug)]
pub struct Imported {
    /// Lines that were read, without the first and the last.
    pub rows: u64,
    /// What `fsck` says of the rows.
    pub report: Report,
}

/// Restores an export into an empty directory; durable when it returns. Until it is complete, a note in the
/// directory keeps every node from starting on half of it; where it fails, the directory is as it was.
pub async fn import(dir: &Path, from: &mut dyn BufRead, options: ImportOptions) -> Result<Imported, OfflineError> {
    let was_there = dir.exists();
    make_empty(dir)?;
    let dump = Reader::open(from, options.accept_unclosed)?;
    let imported = import_into(dir, dump, options).await;
    if let Err(error) = &imported {
        let undone = undo_import(dir).and_then(|()| if was_there { Ok(()) } else { fs::remove_dir(dir) });
        if let Err(undo) = undone {
            let left = format!("{error}; and what was imported could not be removed from {}: {undo}", dir.display());
            return Err(OfflineError(left));
        }
    }
    imported
}

async fn import_into(dir: &Path, dump: Reader<'_>, options: ImportOptions) -> Result<Imported, OfflineError> {
    let header = dump.header().clone();
    let opened = open_for_import(dir).map_err(|error| OfflineError(error.to_string()))?;
    // What this clock says is replaced by what the dump says.
    let clock = SystemClock::resume(None).map_err(|_| OfflineError("the clock did not start".to_owned()))?;
    let store = opened.start(Arc::new(clock), Arc::new(|_| {})).map_err(|error| OfflineError(error.to_string()))?;
    let restored = dump.restore(&store).await;
    let closed = store.close().await;
    drop(store);
    let restored = restored?;
    closed?;
    let opened = open_as_it_is(dir)?;
    restored.verify(&AsItIs::new(&opened)).await?;
    let mut report = Report { group: header.group, mark: header.mark.clone(), ..Report::default() };
    check_contents(&opened, &mut report)?;
    if let (Some(first), false) = (report.findings.first(), options.accept_damage) {
        return Err(OfflineError(format!(
            "{} problems were found in what was imported, the first is: {first}. Nothing of it was kept; \
             --accept-damage imports it as it is",
            report.found()
        )));
    }
    set_meta(&opened, header.group, header.mark)?;
    drop(opened);
    finish_import(dir, header.group).map_err(|error| OfflineError(format!("marking {}: {error}", dir.display())))?;
    Ok(Imported { rows: restored.lines, report })
}

/// What an import that was broken off has left is removed; anything else is not touched.
fn make_empty(dir: &Path) -> Result<(), OfflineError> {
    match clear_unfinished_import(dir) {
        Ok(true) => Ok(()),
        Ok(false) => refuse_unless_empty(dir),
        Err(error) => Err(OfflineError(error.to_string())),
    }
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
