//! What an org is called.

use crate::domain::{ids::OrgId, rows::NamesRow};

/// The names of an org, and whether there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesView {
    /// Something is kept of the org.
    pub is_known: bool,
    /// `None` = it was never renamed.
    pub row: Option<NamesRow>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The id leads to the org from now on.
    Now,
    /// It did before.
    Before,
    /// Something is kept of it, so it is an org itself.
    IsOrg,
    /// It is a name of this other org.
    IsNameOf(OrgId),
}
