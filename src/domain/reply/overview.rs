//! One org as a line of a list.

use crate::domain::{decision::LimitView, ids::OrgId, window::Millis};

/// How an org stands, without what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// What the org is called; `None` = as its id.
    pub name: Option<OrgId>,
    /// Name of the plan in force; empty without one.
    pub plan: String,
    /// An operator froze it.
    pub frozen: bool,
    /// An Acquire of one execution would be denied now, by what the org itself knows: the billing
    /// provider is not asked.
    pub blocked: bool,
    /// Calls were denied lately.
    pub denied: bool,
    /// The rate backstop spares it.
    pub exempt: bool,
    /// Something is overridden, other than the end of a freeze.
    pub overridden: bool,
    /// Its enforced limits, those of its scopes included, and how much of each is taken, in
    /// percent: the fullest one, and the others that were asked for, the fullest first.
    pub fullest: Vec<(LimitView, u64)>,
    /// Of this day of UTC.
    pub today: Today,
    /// Acquires that were allowed and charged since the org was first seen.
    pub admitted_total: u64,
    /// The wall clock of the answer.
    pub at: Millis,
}

/// What was decided on the running day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Today {
    /// Acquires that were allowed and charged.
    pub allowed: u64,
    /// Calls that a gate denied.
    pub denied: u64,
    /// Gates that were let through without having been evaluated, over all calls.
    pub failed_open: u64,
}
