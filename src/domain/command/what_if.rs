//! What is asked about limits that are not in force.

use crate::domain::{
    ids::{Meter, Scope},
    what_if::Trial,
    window::Millis,
};

/// What each of these limits would have denied, out of the hours that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryLimits {
    /// Whose usage is replayed; empty is the org itself.
    pub scope: Scope,
    /// What the limits are on.
    pub meter: Meter,
    /// Each by itself.
    pub limits: Vec<Trial>,
    /// What is denied earlier is not answered.
    pub from: Millis,
}
