//! A directory without what was overwritten or removed: the engine never gives space back, and what a purge has
//! removed stays in its log until it is overwritten. A running node does the same by itself after a purge.

use std::{fs, io};

use super::{
    super::sled::{Layout, Opened, Twin, bytes_below},
    OfflineError,
};
use crate::ports::{Compacted, StoreFault};

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
    if layout.purged().exists() {
        fs::remove_file(layout.purged()).map_err(|error| failed(&layout, &error))?;
    }
    let after = bytes_below(&layout.engine()).map_err(|error| failed(&layout, &error))?;
    Ok(Compacted { rows, before, after })
}

fn failed(layout: &Layout, error: &io::Error) -> OfflineError {
    let dir = layout.root.display();
    OfflineError(format!("compacting {dir}: {error}; nothing is lost, the next start or fsck settles it"))
}

/// Writes all rows into a new engine, reads them again from the disk, and answers how many there are.
fn copy_beside(opened: &Opened) -> Result<u64, StoreFault> {
    let mut at_once = |_: &mut Twin| Ok(());
    let mut twin = Twin::create(&opened.layout)?;
    twin.copy(&opened.engine, &mut at_once)?;
    let mut twin = twin.read_back(&|| Ok(()))?;
    if twin.compare(&opened.engine, &mut at_once)? > 0 {
        let cause = "the compacted copy is not what was copied; the old files count".into();
        return Err(StoreFault { operation: "compact", cause });
    }
    twin.is_whole(opened.digests())?;
    Ok(twin.rows())
}

#[cfg(test)]
mod tests;
