//! A directory while an import writes it: a note keeps every node off it until the rows are whole, and what a failed
//! import has made is removed.

use std::{fs, io, path::Path};

use super::{
    super::{
        Layout, SledOptions,
        layout::{Sidecar, sync_directory},
        open_error::OpenError,
    },
    Opened, create_directory, io_at, leave_note, open_new_engine, take_lock,
};

/// The note while an import is under way.
const UNFINISHED_IMPORT: &str = "An import into this directory did not finish, so it holds only a part.\n\
                                 Import again; that removes the part first.\n";

/// Opens an empty directory for an import. From here to [`finish_import`] no node starts on what is there.
pub(in crate::store::kv) fn open_for_import(dir: &Path) -> Result<Opened, OpenError> {
    let layout = Layout::new(dir);
    create_directory(&layout)?;
    leave_note(&layout, UNFINISHED_IMPORT).map_err(io_at("marking", &layout.root))?;
    let lock = take_lock(&layout, &SledOptions::default())?;
    let (engine, meta) = open_new_engine(&layout)?;
    Ok(Opened { engine, meta, lock, layout })
}

/// Empties a directory that holds nothing but an import that was broken off; false where it is another one.
pub(in crate::store::kv) fn clear_unfinished_import(dir: &Path) -> Result<bool, OpenError> {
    let layout = Layout::new(dir);
    if !fs::read(layout.note()).is_ok_and(|note| note == UNFINISHED_IMPORT.as_bytes()) {
        return Ok(false);
    }
    // Held by the import that is still under way.
    let _lock = take_lock(&layout, &SledOptions::default())?;
    undo_import(dir).map_err(io_at("emptying", dir))?;
    Ok(true)
}

/// Removes what an import has made, the note last: a directory that was empty is empty again.
pub(in crate::store::kv) fn undo_import(dir: &Path) -> io::Result<()> {
    let layout = Layout::new(dir);
    let absent_is_fine = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    absent_is_fine(fs::remove_dir_all(layout.engine()))?;
    for file in [layout.sidecar(), layout.lock(), layout.note()] {
        absent_is_fine(fs::remove_file(file))?;
    }
    sync_directory(&layout.root)
}

/// The imported rows are durable: the directory may be used.
pub(in crate::store::kv) fn finish_import(dir: &Path, group: u64) -> io::Result<()> {
    let layout = Layout::new(dir);
    Sidecar::create(&layout, group)?;
    fs::remove_file(layout.note())?;
    sync_directory(&layout.root)
}
