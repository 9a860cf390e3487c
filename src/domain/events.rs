//! What happened to an org and is kept in its log, in the order in which it happened: one row for each event, in the
//! commit of the change that it speaks of.
//!
//! Numbers of an org's log begin at 1 and have no gap. Rows end after their time or where there are too many of them,
//! the oldest first; those of operators have a time and a bound of their own, and those of sessions a bound, so that no flood of one
//! kind removes the others.

mod happening;
mod kinds;
mod node;

use std::sync::Arc;

use super::window::Millis;
use crate::bounds::{EVENT_CHANGES, EVENT_TEXT_BYTES};

pub(super) use kinds::Class;

pub use happening::{DenialsEvent, Happening, LimitEvent, OverrideEnded, SessionChange};
pub use kinds::{EventKind, EventKinds};
pub use node::{NodeEvent, NodeEventPage, NodeLog, Part};

/// One event of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// One more than that of the event before it; the first of a log is 1.
    pub number: u64,
    /// Service time.
    pub at: Millis,
    /// What happened.
    pub what: Happening,
}

/// A value that was changed, as people read it. Names of upstream accounts are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was changed: `daily`, `workspace/ws_42 daily`, `account sk-a…9f3c`.
    pub field: Arc<str>,
    /// Empty = there was none.
    pub old: Arc<str>,
    /// Empty = there is none now.
    pub new: Arc<str>,
}

impl Change {
    /// A change of `field`. Longer texts than [`EVENT_TEXT_BYTES`] are cut.
    pub fn new(field: &str, old: &str, new: &str) -> Self {
        let [field, old, new] = [field, old, new].map(|text| Arc::from(cut(text)));
        Self { field, old, new }
    }

    /// The same; `None` where both texts say the same.
    pub fn between(field: &str, old: &str, new: &str) -> Option<Self> {
        (old != new).then(|| Self::new(field, old, new))
    }
}

impl std::fmt::Display for Change {
    /// `daily: $5.00 -> $10.00`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |text: &Arc<str>| if text.is_empty() { Arc::from("none") } else { text.clone() };
        write!(f, "{}: {} -> {}", self.field, shown(&self.old), shown(&self.new))
    }
}

/// At most so many bytes of it, whole characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(EVENT_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// As many as a row keeps; the last says how many are missing.
pub(super) fn bounded(mut changes: Vec<Change>) -> Vec<Change> {
    if changes.len() > EVENT_CHANGES {
        let missing = changes.len() - (EVENT_CHANGES - 1);
        changes.truncate(EVENT_CHANGES - 1);
        changes.push(Change::new(&format!("{missing} more"), "", "changed"));
    }
    changes
}

/// `daily: $5.00 -> $10.00; weekly: none -> $30.00`.
pub fn listed(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Some events of an org, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventPage {
    /// In the order of their numbers.
    pub rows: Vec<EventRow>,
    /// The number of the oldest event that is kept, of any kind; 0 = none is.
    pub oldest: u64,
    /// That of the newest one; 0 = none is.
    pub newest: u64,
}

/// Something of a log that a webhook does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// An event that is wanted.
    Event(EventRow),
    /// Events that are not kept any more; they may have been of any kind.
    Missing {
        /// The first number.
        from: u64,
        /// The last one.
        to: u64,
        /// When the event behind them happened, in service time.
        at: Millis,
    },
}

impl Undelivered {
    /// The number up to which everything is delivered with it.
    pub fn number(&self) -> u64 {
        match self {
            Self::Event(row) => row.number,
            Self::Missing { to, .. } => *to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_a_bounded_number_of_bounded_texts() {
        let long = "é".repeat(EVENT_TEXT_BYTES);
        let change = Change::new(&long, "", &long);
        assert!(change.field.len() <= EVENT_TEXT_BYTES && !change.field.is_empty());
        let most = bounded(vec![change.clone(); EVENT_CHANGES]);
        assert!(most.iter().all(|kept| *kept == change), "as many as fit");
        let more = bounded(vec![change; EVENT_CHANGES + 1]);
        assert_eq!((more.len(), &*more[EVENT_CHANGES - 1].field), (EVENT_CHANGES, "2 more"));
    }
}
