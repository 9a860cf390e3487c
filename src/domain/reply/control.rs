//! Views of what an operator has set at run time.

use crate::domain::{decision::LimitView, policy::Exemption, rows::OverrideRow};

/// What an org has of the subject of an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The limit; `None` where there is none, or the subject is no limit.
    pub limit: Option<LimitView>,
    /// Name of the plan; empty without one.
    pub plan: String,
    /// Whether the backstop spares the org.
    pub exempt: Exemption,
}

/// One override as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideView {
    /// As it is stored.
    pub row: OverrideRow,
    /// It names a plan that is not configured, or a limit that the scope does not have: nothing follows from it.
    pub is_ignored: bool,
}

/// An override after a change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideChange {
    /// `None` where there never was one.
    pub now: Option<OverrideView>,
    /// What was in force before the change; `None` in a replay.
    pub before: Option<Standing>,
    /// What is in force now, also in a replay.
    pub after: Standing,
}

/// A limit whose running window was reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowChange {
    /// Before the reset; `None` in a replay.
    pub before: Option<LimitView>,
    /// As it is now, also in a replay; `None` where there is none any more.
    pub after: Option<LimitView>,
}
