//! Since when the engine's files may hold bytes of what was purged: the file `purged`, which is there before a purge is
//! acknowledged and goes with the compaction that leaves them out.

use std::{
    fs, io,
    sync::atomic::{AtomicU64, Ordering},
};

use super::layout::{Layout, sync_directory};
use crate::domain::window::Millis;

/// 0 = they hold none.
#[derive(Debug)]
pub(super) struct Purged(AtomicU64);

impl Purged {
    /// A file that cannot be read was written once: what it stood for is still to be done.
    pub(super) fn load(layout: &Layout) -> io::Result<Self> {
        let since = match fs::read_to_string(layout.purged()) {
            Ok(text) => text.trim().parse().unwrap_or(1).max(1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => 1,
            Err(error) => return Err(error),
        };
        Ok(Self(AtomicU64::new(since)))
    }

    pub(super) fn since(&self) -> Option<Millis> {
        Some(self.0.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    /// On disk when it returns; the first since the last compaction counts.
    pub(super) fn note(&self, layout: &Layout, now: Millis) -> io::Result<()> {
        if self.since().is_some() { Ok(()) } else { self.put(layout, Some(now.max(1))) }
    }

    /// Only what was purged from `later` on is in the files now.
    pub(super) fn compacted(&self, layout: &Layout, later: Option<Millis>) -> io::Result<()> {
        if self.since() == later { Ok(()) } else { self.put(layout, later) }
    }

    fn put(&self, layout: &Layout, since: Option<Millis>) -> io::Result<()> {
        match since {
            Some(since) => {
                let unnamed = layout.root.join("purged.new");
                fs::write(&unnamed, format!("{since}\n"))?;
                fs::File::open(&unnamed)?.sync_all()?;
                fs::rename(unnamed, layout.purged())?;
            }
            None => fs::remove_file(layout.purged())?,
        }
        sync_directory(&layout.root)?;
        self.0.store(since.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}
