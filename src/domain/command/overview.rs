//! What is asked of an org that is one line of a list.

/// How the org stands, with its fullest limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetOverview {
    /// Only limits of which at least so much is taken, in percent; the fullest one in any case.
    pub from_percent: u64,
    /// The most limits.
    pub limits: usize,
}
