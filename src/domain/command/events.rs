//! What is asked of the log of an org.

use crate::domain::{events::EventKind, ids::DecisionId, window::Millis};

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

/// Hands out events of the log that the webhook does not have yet, in the order of their numbers. Answered when all of
/// it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeUndelivered {
    /// The most in the answer.
    pub max: usize,
}

/// The webhook has something of what was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteDelivered {
    /// Of the answer that handed it out: a log that has begun again meanwhile is another one.
    pub taken: DecisionId,
    /// All up to here, as [`Undelivered::number`](crate::domain::events::Undelivered::number).
    pub number: u64,
}
