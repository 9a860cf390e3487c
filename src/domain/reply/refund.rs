//! What an org shows of a refund.

use crate::domain::{decision::LimitViews, window::Millis};

/// The limits that a refund concerns, before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundView {
    /// In the order of `after`; `None` in a replay.
    pub before: Option<LimitViews>,
    /// As they are now, also in a replay.
    pub after: LimitViews,
    /// The wall clock of the answer.
    pub at: Millis,
}
