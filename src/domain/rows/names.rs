//! The names of an org beside its id: at the org the names that it has, and at each name where it leads.

use crate::domain::{ids::OrgId, window::Millis};

/// At an id that is another name of an org: every call about it is one about that org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadsToRow {
    /// The id of the org: never another name.
    pub org: OrgId,
    /// When the name was claimed.
    pub since: Millis,
}

/// At an org that was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesRow {
    /// What the org is called; its id where it was renamed back.
    pub name: OrgId,
    /// What it was called before, each name once, the last one last. All of them lead to it.
    pub former: Vec<FormerName>,
    /// When the org was purged. Its names are freed before this row goes. `None` = it was not.
    pub purged_at: Option<Millis>,
}

/// A name that an org had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerName {
    /// The id of the org, or a name of it.
    pub name: OrgId,
    /// When it got another one.
    pub until: Millis,
}

impl NamesRow {
    /// What the org `id` is called, where that is another name; one that was purged has none.
    pub fn shown(&self, id: &OrgId) -> Option<&OrgId> {
        (self.purged_at.is_none() && self.name != *id).then_some(&self.name)
    }

    /// Every name, the id of the org among them if it had another one.
    pub fn all(&self) -> impl Iterator<Item = &OrgId> {
        std::iter::once(&self.name).chain(self.former.iter().map(|former| &former.name))
    }

    /// The ids of others that are names of this org, whose own id is `org`.
    pub fn claimed<'a>(&'a self, org: &'a OrgId) -> impl Iterator<Item = &'a OrgId> {
        self.all().filter(move |name| *name != org)
    }
}
