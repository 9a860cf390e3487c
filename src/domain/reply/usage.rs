//! What an org answers about usage of the past.

use crate::domain::rows::{UsageDayRow, UsageKeptRow};

/// Usage of days of which there are slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicedUsage {
    /// In the order of [`UsagePlace`](crate::domain::usage::UsagePlace).
    pub days: Vec<UsageDayRow>,
    /// There are more behind the last one.
    pub is_cut: bool,
    /// What there is on disk. Where it is another one in the next answer, days have gone there meanwhile.
    pub kept: UsageKeptRow,
}
