//! What is asked of the log of an org.

use crate::domain::{events::EventKind, window::Millis};

/// Events of the log in the order of their numbers, from behind `after`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEvents {
    /// Empty = of every kind.
    pub kinds: Vec<EventKind>,
    /// 0 = from the first.
    pub after: u64,
    /// Not before this service time; `None` = of any time.
    pub since: Option<Millis>,
    /// Before this service time; `None` = of any time.
    pub until: Option<Millis>,
    /// The most events in the answer.
    pub max: usize,
    /// Answered when all of it is on disk.
    pub durable: bool,
}
