//! What is asked of the outbox of an org.

use crate::domain::outbox::{Delivery, OutboxKey};

/// Hands out outbox rows that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeOutbox {
    /// The most rows in the answer.
    pub max: usize,
}

/// What became of rows that were handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleOutbox(pub Vec<(OutboxKey, Delivery)>);

/// Rows of the outbox in the order of their keys, from behind `after`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOutbox {
    /// `None` = from the first.
    pub after: Option<OutboxKey>,
    /// The most rows in the answer.
    pub max: usize,
    /// Only what was set aside.
    pub set_aside: bool,
}

/// Tries again what was set aside: one row, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayOutbox {
    /// `None` = all.
    pub key: Option<OutboxKey>,
}
