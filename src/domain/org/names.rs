//! Names of orgs. An org keeps the names that it has, and each of them, which is the id of no other org, where it leads.
//!
//! ```text
//! claim   at the name   leads to the org        nothing else is kept of it
//! rename  at the org    called so from now on   the name that it had stays
//! purge   at the org    everything but names    then each name is freed, then the names go
//! ```
//!
//! Each is a commit of one id, and in this order nothing is lost between two: a name that was claimed leads to its org
//! before the org knows of it, and an org that was purged knows the names that are to be freed.

use super::{Context, OrgState};
use crate::{
    bounds::FORMER_NAMES,
    domain::{
        command::{ClaimName, FreeName, Rename},
        events::Change,
        ids::OrgId,
        outcome::{Renamed, Shown},
        refusal::OrgError,
        reply::{Claimed, NamesView},
        request::Rpc,
        rows::{FormerName, Keeper, LeadsToRow, NamesRow, Row, RowKey, RowsByKind},
        table::Table,
        window::Millis,
    },
};

/// At most one row of each: an id is an org, or leads to one.
#[derive(Debug, Default)]
pub(super) struct Names {
    leads_to: Table<(), LeadsToRow>,
    names: Table<(), NamesRow>,
}

impl Names {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let leads_to = rows.leads_to.pop().map(|row| ((), row));
        let names = rows.names.pop().map(|row| ((), row));
        Self { leads_to: Table::load(leads_to), names: Table::load(names) }
    }

    pub(super) fn leads_to(&self) -> Option<&OrgId> {
        self.leads_to.get(&()).map(|row| &row.org)
    }

    pub(super) fn row(&self) -> Option<&NamesRow> {
        self.names.get(&())
    }

    /// What of them stays when everything of the org goes: the names that are to be freed, if there are any.
    pub(super) fn kept_over_a_wipe(&self, org: &OrgId, now: Millis) -> Self {
        let mut kept = Self::default();
        if let Some(row) = self.row().filter(|row| row.claimed(org).next().is_some()) {
            let purged_at = Some(row.purged_at.unwrap_or(now));
            kept.names.put((), NamesRow { purged_at, ..row.clone() });
        }
        kept
    }
}

impl Keeper for Names {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.leads_to.take_rows(puts, dels, |(), row| Row::LeadsTo(row), |()| RowKey::LeadsTo);
        self.names.take_rows(puts, dels, |(), row| Row::Names(row), |()| RowKey::Names);
    }

    fn is_spent(&self) -> bool {
        self.leads_to.is_empty() && self.names.is_empty()
    }
}

impl NamesRow {
    /// After one more renaming of the org `org`.
    fn renamed(row: Option<&Self>, org: &OrgId, to: &OrgId, now: Millis) -> Result<Self, OrgError> {
        let (name, mut former) =
            row.map_or_else(|| (org.clone(), Vec::new()), |row| (row.name.clone(), row.former.clone()));
        former.retain(|former| former.name != *to);
        if name != *to {
            former.push(FormerName { name, until: now });
        }
        if former.len() > FORMER_NAMES {
            return Err(OrgError::TooManyNames { most: FORMER_NAMES });
        }
        Ok(Self { name: to.clone(), former, purged_at: None })
    }
}

impl OrgState {
    /// The org that this id is a name of; `None` = it is an org itself.
    pub fn leads_to(&self) -> Option<&OrgId> {
        self.names.leads_to()
    }

    /// R-CTRL-8.
    pub(in crate::domain) fn rename(
        &mut self,
        rename: &Rename,
        ctx: &Context<'_>,
    ) -> Result<Shown<Renamed, NamesView>, OrgError> {
        let done = self.once(Rpc::RenameOrg, Some(&rename.idempotency), ctx, |org| {
            org.may_be_renamed(&rename.to, ctx.org)?;
            let before = org.names.row().map_or(ctx.org, |row| &row.name).clone();
            let mut changes = Vec::new();
            if before != rename.to {
                let row = NamesRow::renamed(org.names.row(), ctx.org, &rename.to, org.now)?;
                org.names.names.put((), row);
                changes.push(Change::new("name", before.as_str(), rename.to.as_str()));
            }
            org.operated("RenameOrg", changes, &Context { reason: &rename.reason, ..*ctx });
            Ok(Renamed { before })
        })?;
        Ok(done.show(self.names_view()))
    }

    /// Whether the org could be called so now: asked before the name is claimed.
    ///
    /// # Errors
    /// Why it cannot.
    fn may_be_renamed(&self, to: &OrgId, id: &OrgId) -> Result<(), OrgError> {
        if !self.is_known() {
            return Err(OrgError::OrgUnknown);
        }
        self.names_view().may_become(to, id)
    }

    pub(in crate::domain) fn claim_name(&mut self, claim: &ClaimName) -> Claimed {
        match self.names.leads_to() {
            Some(org) if *org == claim.of => Claimed::Before,
            Some(org) => Claimed::IsNameOf(org.clone()),
            None if self.is_known() => Claimed::IsOrg,
            None => {
                self.names.leads_to.put((), LeadsToRow { org: claim.of.clone(), since: self.now });
                self.changed = true;
                Claimed::Now
            }
        }
    }

    /// Answers whether it led to the org until now.
    pub(in crate::domain) fn free_name(&mut self, free: &FreeName) -> bool {
        let is_freed = self.names.leads_to() == Some(&free.of);
        if is_freed {
            self.names.leads_to.remove(&());
            (self.changed, self.purged) = (true, true);
        }
        is_freed
    }

    /// Nothing where the org was not purged since it has these names.
    pub(in crate::domain) fn forget_names(&mut self) {
        if self.names.row().is_some_and(|row| row.purged_at.is_some()) {
            self.names.names.remove(&());
            (self.changed, self.purged) = (true, true);
        }
    }

    /// What the org is called, where that is not its id.
    pub(super) fn name(&self, id: &OrgId) -> Option<OrgId> {
        self.names.row().and_then(|row| row.shown(id)).cloned()
    }

    pub(in crate::domain) fn names_view(&self) -> NamesView {
        NamesView { is_known: self.is_known(), row: self.names.row().cloned() }
    }
}

impl NamesView {
    /// Whether an org of these names, whose own id is `id`, may be called `to`.
    ///
    /// # Errors
    /// Why not.
    pub fn may_become(&self, to: &OrgId, id: &OrgId) -> Result<(), OrgError> {
        if self.row.as_ref().is_some_and(|row| row.purged_at.is_some()) {
            return Err(OrgError::BeingPurged);
        }
        NamesRow::renamed(self.row.as_ref(), id, to, 0).map(|_| ())
    }
}
