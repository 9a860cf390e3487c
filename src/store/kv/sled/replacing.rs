//! One engine in the place of another, so that whatever is cut short the directory has exactly one of them.
//!
//! ```text
//! compacting/sled        the new engine while it is written
//! sled.compacted         the new engine, whole and on disk
//! sled.replaced          the old one
//!
//! compacting/sled ─▶ sled.compacted      sled ─▶ sled.replaced      sled.compacted ─▶ sled      remove sled.replaced
//!         until here the old one counts ─┘                      └─ from here on the new one
//! ```
//!
//! Every open settles first what was cut short, under the lock.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::layout::{Layout, sync_directory};

impl Layout {
    /// A directory like this one, for an engine that is to take the place of this one's.
    pub(in crate::store::kv) fn beside(&self) -> Self {
        Self::new(&self.root.join("compacting"))
    }

    fn compacted(&self) -> PathBuf {
        self.root.join("sled.compacted")
    }

    fn replaced(&self) -> PathBuf {
        self.root.join("sled.replaced")
    }

    /// Whether an engine was taken away and the other not yet put in its place.
    pub(super) fn is_between_engines(&self) -> bool {
        !self.engine().exists() && self.compacted().exists()
    }

    /// Puts the engine of [`beside`](Self::beside), which is whole and closed, in the place of this one's, which
    /// is closed as well, and removes the old one.
    pub(in crate::store::kv) fn replace_engine(&self) -> io::Result<()> {
        sync_all_below(&self.beside().engine())?;
        fs::rename(self.beside().engine(), self.compacted())?;
        sync_directory(&self.root)?;
        fs::rename(self.engine(), self.replaced())?;
        sync_directory(&self.root)?;
        self.settle_replacing()
    }

    /// Finishes a replacement from where the old engine was taken away, and undoes it before that.
    pub(super) fn settle_replacing(&self) -> io::Result<()> {
        if self.is_between_engines() {
            fs::rename(self.compacted(), self.engine())?;
            sync_directory(&self.root)?;
            tracing::info!(data = %self.root.display(), "the compacted engine is in place");
        }
        // Without an engine nothing here is known to be left over.
        if !self.engine().exists() {
            return Ok(());
        }
        let mut removed = false;
        for left in [self.beside().root, self.compacted(), self.replaced()] {
            if left.exists() {
                fs::remove_dir_all(&left)?;
                removed = true;
            }
        }
        if removed { sync_directory(&self.root) } else { Ok(()) }
    }
}

fn sync_all_below(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all_below(&path)?;
        } else {
            fs::File::open(&path)?.sync_all()?;
        }
    }
    sync_directory(directory)
}

/// Bytes on the disk of everything below a directory.
pub(in crate::store::kv) fn bytes_below(directory: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes: u64 = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        let more = if found.is_dir() { bytes_below(&entry.path())? } else { found.blocks().saturating_mul(512) };
        bytes = bytes.saturating_add(more);
    }
    Ok(bytes)
}
