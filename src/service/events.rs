//! What happens to this node and to no org, and who watches what happens.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use super::Service;
use crate::{
    bounds::Bound,
    domain::{
        command::ListEvents,
        events::{NodeEventPage, Part},
    },
    error::ServiceError,
};

/// The place of one open stream of answers among those that there may be.
#[derive(Debug)]
pub struct WatchPlace(Arc<AtomicU32>);

impl Drop for WatchPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Service {
    /// A part of this node is in trouble, for this reason, or well again: an event where that is
    /// new.
    pub fn node_is(&self, part: Part, trouble: Option<&str>) {
        self.node_log.lock().unwrap_or_else(PoisonError::into_inner).is(part, trouble, self.clock.now());
    }

    /// Events of this node since its start.
    pub fn node_events(&self, list: &ListEvents) -> NodeEventPage {
        self.node_log.lock().unwrap_or_else(PoisonError::into_inner).page(list)
    }

    /// A place for one more stream of answers.
    ///
    /// # Errors
    /// Where there are as many as `bounds.watches` allows.
    pub fn watch_place(&self) -> Result<WatchPlace, ServiceError> {
        let (bound, most) = (Bound::watches, self.orgs.rules().bounds.watches);
        let taken =
            self.watches.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < most).then(|| open + 1));
        taken.map(|_| WatchPlace(self.watches.clone())).map_err(|_| ServiceError::NodeBusy { bound, most })
    }

    /// Streams of answers that are open.
    pub fn open_watches(&self) -> u32 {
        self.watches.load(Ordering::Acquire)
    }
}
