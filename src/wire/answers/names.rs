//! What orgs are called.

use super::int;
use crate::{
    domain::{
        ids::OrgId,
        outcome::{Renamed, Shown},
        reply::NamesView,
        rows::NamesRow,
    },
    wire::admin::v1 as admin,
};

/// The answer to RenameOrg about the org `id`.
pub fn renamed(done: Shown<Renamed, NamesView>, id: &OrgId) -> admin::RenameOrgResponse {
    let Shown { outcome, replayed, view } = done;
    let row = view.row.as_ref();
    admin::RenameOrgResponse {
        org: id.to_string(),
        before: outcome.before.to_string(),
        name: row.and_then(|row| row.shown(id)).unwrap_or(id).to_string(),
        former_names: row.map(former_names).unwrap_or_default(),
        replayed,
        claimed: false,
    }
}

/// Empty where the org is called as its id.
pub(super) fn name(shown: Option<&OrgId>) -> String {
    shown.map(OrgId::to_string).unwrap_or_default()
}

pub(super) fn former_names(row: &NamesRow) -> Vec<admin::FormerName> {
    let former = row.former.iter();
    former.map(|one| admin::FormerName { name: one.name.to_string(), until_ms: int(one.until) }).collect()
}
