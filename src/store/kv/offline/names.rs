//! Names of orgs: what a crash has left of a renaming or a purge, and names that lead nowhere.

use super::{FINDINGS_KEPT, Finding, Report};
use crate::{
    domain::{
        ids::OrgId,
        rows::{NamesRow, Row, RowKey, RowKind},
    },
    ports::StoreFault,
    store::kv::{
        keyspace::Keyspace,
        read::{self, ReadError},
    },
};

/// That of an id which is another name of an org, and that of an org which has names.
pub(super) fn check(from: &impl Keyspace, org: &OrgId, rows: &[Row], report: &mut Report) -> Result<(), StoreFault> {
    for row in rows {
        match row {
            Row::LeadsTo(row) => {
                if rows.iter().any(|row| !matches!(row.key(), RowKey::LeadsTo | RowKey::Head)) {
                    report.note(Some(org), format!("it is a name of org {}, and has rows of its own", row.org));
                }
                let names = names_of(from, &row.org)?;
                if !names.is_some_and(|names| names.all().any(|name| name == org)) {
                    report.is_unfinished(org, unfinished(&row.org, org));
                }
            }
            Row::Names(row) if row.purged_at.is_some() => {
                report.is_unfinished(org, "it was purged, and its names are not all free: PurgeOrg once more".into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn unfinished(org: &OrgId, name: &OrgId) -> String {
    format!(
        "it leads to org {org}, which does not know of this name: a renaming was not completed. RenameOrg of {org} to \
         {name} completes it"
    )
}

/// `None` where there are none, or where they cannot be read: that is a finding of its own.
fn names_of(from: &impl Keyspace, org: &OrgId) -> Result<Option<NamesRow>, StoreFault> {
    match read::some(from, org, &[RowKind::Names]) {
        Ok(rows) => Ok(rows.rows.into_iter().find_map(|row| if let Row::Names(row) = row { Some(row) } else { None })),
        Err(ReadError::Engine(fault)) => Err(fault),
        Err(ReadError::Row(_)) => Ok(None),
    }
}

impl Report {
    fn is_unfinished(&mut self, org: &OrgId, what: String) {
        if self.unfinished.len() < FINDINGS_KEPT {
            self.unfinished.push(Finding { org: Some(org.clone()), what });
        }
    }
}
