//! When bytes of what was purged leave the disk.
//!
//! The engine's files keep what was removed until they are compacted. That begins after half of
//! `bounds.purged_within_ms`, so that one compaction is for many purges, and one that fails has time for another.

use std::sync::Arc;

use super::Service;
use crate::{
    domain::window::Millis,
    ports::{Compacted, MayGoOn, StoreFault},
};

/// Purges of which the files may have bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgedView {
    /// The first of them, in service time.
    pub since: Millis,
    /// When the files have to be without it.
    pub gone_by: Millis,
}

impl PurgedView {
    /// From when on the files are compacted.
    #[must_use]
    pub fn compact_from(self) -> Millis {
        self.since.saturating_add(self.gone_by.saturating_sub(self.since) / 2)
    }
}

impl Service {
    /// Purges of which the files may have bytes; `None` where they have none, or nobody knows.
    pub fn purged(&self) -> Option<PurgedView> {
        let since = self.engine.purged_since()?;
        Some(PurgedView { since, gone_by: since.saturating_add(self.purged_within()) })
    }

    /// When the bytes of what is purged at `at` have left the files; `None` where the engine gives no time for it.
    pub fn gone_by(&self, at: Millis) -> Option<Millis> {
        self.engine.compacts().then(|| at.saturating_add(self.purged_within()))
    }

    fn purged_within(&self) -> Millis {
        self.orgs.rules().bounds.purged_within_ms.into()
    }

    /// Whether the files have had bytes of a purge for longer than they may.
    pub(super) fn is_purged_late(&self) -> bool {
        self.purged().is_some_and(|purged| purged.gone_by < self.clock.now())
    }

    /// Compacts the files, as long as that leaves the disk twice the room below which nothing new is admitted.
    ///
    /// # Errors
    /// Why they are as they were.
    pub async fn compact(self: &Arc<Self>) -> Result<Compacted, StoreFault> {
        let service = Arc::clone(self);
        let may_go_on: MayGoOn = Arc::new(move || service.orgs.headroom().is_twice());
        self.engine.compact(may_go_on).await
    }
}
