//! What happens to this node and to no org.

use std::sync::PoisonError;

use super::Service;
use crate::domain::{
    command::ListEvents,
    events::{NodeEventPage, Part},
};

impl Service {
    /// A part of this node is in trouble, for this reason, or well again: an event where that is new.
    pub fn node_is(&self, part: Part, trouble: Option<&str>) {
        self.node_log.lock().unwrap_or_else(PoisonError::into_inner).is(part, trouble, self.clock.now());
    }

    /// Events of this node since its start.
    pub fn node_events(&self, list: &ListEvents) -> NodeEventPage {
        self.node_log.lock().unwrap_or_else(PoisonError::into_inner).page(list)
    }
}
