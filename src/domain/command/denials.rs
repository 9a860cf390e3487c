//! What is asked of denials.

use super::Known;
use crate::domain::{
    denials::{DenialFilter, DenialRow},
    ids::{DecisionId, Scope},
    window::Millis,
};

/// Denials that are kept, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListDenials(pub DenialFilter);

/// What each gate said of one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explain {
    /// Of this one.
    Decision(DecisionId),
    /// Of the last one that was denied in the scope.
    Last(Scope),
    /// Of the last one that was denied at this time, or within ten minutes before it, in the scope.
    At(Millis, Scope),
}

/// Why calls of the org are denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskWhy {
    /// Of calls that name it; the org itself = all.
    pub scope: Scope,
    /// As it was then; `None` = now.
    pub at: Option<Millis>,
    /// What the billing provider says of the org.
    pub known: Known,
}

/// Decisions that were made where the org could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteDenials {
    /// What was denied, or let through without an evaluated gate.
    pub rows: Vec<DenialRow>,
    /// Calls that were admitted from memory while the store did not take them.
    pub unstored: u64,
}
