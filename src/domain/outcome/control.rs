//! What was answered to commands of operators.

use crate::domain::ids::OrgId;

/// An override that was set or cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverrideSet;

/// A grant that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Names it within its org.
    pub number: u64,
}

/// An org that was given a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// What it was called before.
    pub before: OrgId,
}
