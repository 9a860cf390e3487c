//! Names of orgs: what is claimed and freed where a name is, and which of the ids that are stored are names.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout_at;

use super::{Call, Service};
use crate::{
    auth::Principal,
    domain::{
        command::{ClaimName, GetNames},
        ids::OrgId,
        reply::Claimed,
        rows::{Head, NamesRow, Row, RowKind},
        shard::ShardSet,
    },
    error::{ServiceError, Taken},
    ports::{OrgStore, StoreFault},
};

/// Orgs whose names are read at once for one page of a list.
const READ_AT_ONCE: usize = 16;
/// Names that are listed at a time.
const READ_AT_A_TIME: usize = 256;

/// An org of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedOrg {
    /// Its id.
    pub org: OrgId,
    /// As stored.
    pub head: Head,
    /// What it is called; `None` = it was never renamed.
    pub names: Option<NamesRow>,
}

impl ListedOrg {
    /// What it is called, where that is not its id.
    pub fn name(&self) -> Option<&OrgId> {
        self.names.as_ref().and_then(|names| names.shown(&self.org))
    }

    /// How the caller may name it; `None` = by no name of it.
    pub fn reached_as(&self, caller: &Principal) -> Option<OrgId> {
        self.all_names().find(|name| caller.orgs().covers(name.as_str())).cloned()
    }

    /// Its id and every name that it has or had.
    pub fn all_names(&self) -> impl Iterator<Item = &OrgId> {
        std::iter::once(&self.org).chain(self.names.iter().flat_map(NamesRow::all))
    }
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgPage {
    /// In the order of the store. There may be none where others follow.
    pub orgs: Vec<ListedOrg>,
    /// The next page is behind this; `None` = there is none.
    pub next: Option<OrgId>,
}

impl Service {
    /// Orgs with stored state from behind `after`, in the store's order, out of at most `max` ids: those that are another
    /// name of an org are left out.
    pub async fn list(&self, after: Option<&OrgId>, max: usize, call: &Call) -> Result<OrgPage, ServiceError> {
        let listed = timeout_at(call.deadline.at, page(&*self.store, after, max)).await;
        listed.map_err(|_| ServiceError::TimedOut)?.map_err(ServiceError::Store)
    }

    /// The same with the ids that are another name of an org: everything that is stored.
    pub async fn list_ids(
        &self,
        after: Option<&OrgId>,
        max: usize,
        call: &Call,
    ) -> Result<Vec<(OrgId, Head)>, ServiceError> {
        let listed = timeout_at(call.deadline.at, self.store.list(&ShardSet::all(), after, max)).await;
        listed.map_err(|_| ServiceError::TimedOut)?.map_err(ServiceError::Store)
    }

    /// Whether this is no other name of an org, asked before anybody else is asked about it. Where that cannot be known
    /// at once it is taken for an org.
    ///
    /// # Errors
    /// [`ServiceError::LeadsTo`] alone.
    pub async fn is_no_name(&self, org: &OrgId, call: &Call) -> Result<(), ServiceError> {
        let until = call.deadline.within(self.orgs.rules().bounds.rate_budget_ms);
        match self.orgs.ask(org, GetNames, call.until(until)).await {
            Err(leads @ ServiceError::LeadsTo(_)) => Err(leads),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Every id that leads to the org now, also where the org does not know of it: the name of an unfinished renaming.
    pub async fn names_leading_to(&self, org: &OrgId, call: &Call) -> Result<Vec<OrgId>, ServiceError> {
        let names = timeout_at(call.deadline.at, leading_to(&*self.store, org)).await;
        names.map_err(|_| ServiceError::TimedOut)?.map_err(ServiceError::Store)
    }

    /// From now on `name`, which this node owns, leads to the org. Answers whether it was free before.
    ///
    /// # Errors
    /// [`ServiceError::NameTaken`] where it is anything else.
    pub async fn claim_name(&self, name: &OrgId, claim: ClaimName, call: &Call) -> Result<bool, ServiceError> {
        let taken = |by| Err(ServiceError::NameTaken { name: name.clone(), by });
        if self.orgs.rules().policies.lists(name) {
            return taken(Taken::Configured);
        }
        match self.ask(name, claim, call).await? {
            Claimed::Now => Ok(true),
            Claimed::Before => Ok(false),
            Claimed::IsOrg => taken(Taken::Org),
            Claimed::IsNameOf(org) => taken(Taken::NameOf(org)),
        }
    }
}

async fn leading_to(store: &dyn OrgStore, org: &OrgId) -> Result<Vec<OrgId>, StoreFault> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.having(RowKind::LeadsTo, &ShardSet::all(), after.as_ref(), READ_AT_A_TIME).await?;
        let is_last = page.len() < READ_AT_A_TIME;
        after = page.last().cloned().or(after);
        let read = stream::iter(page).map(|name| async move {
            let stored = store.some(&name, &[RowKind::LeadsTo]).await?;
            let leads = stored.rows.iter().any(|row| matches!(row, Row::LeadsTo(row) if row.org == *org));
            Ok(leads.then_some(name))
        });
        let names: Vec<OrgId> =
            read.buffered(READ_AT_ONCE).try_filter_map(|name| async { Ok(name) }).try_collect().await?;
        found.extend(names);
        if is_last {
            return Ok(found);
        }
    }
}

async fn page(store: &dyn OrgStore, after: Option<&OrgId>, max: usize) -> Result<OrgPage, StoreFault> {
    let stored = store.list(&ShardSet::all(), after, max).await?;
    let next = stored.last().filter(|_| stored.len() == max).map(|(org, _)| org.clone());
    let mut orgs = without_names(store, stored, after, max).await?;
    let mut names = names_of(store, after, max).await?;
    for listed in &mut orgs {
        listed.names = names.remove(&listed.org);
    }
    Ok(OrgPage { orgs, next })
}

/// A page of the store that begins behind `after`, without the ids that are another name of an org.
pub async fn without_names(
    store: &dyn OrgStore,
    page: Vec<(OrgId, Head)>,
    after: Option<&OrgId>,
    max: usize,
) -> Result<Vec<ListedOrg>, StoreFault> {
    // In the same order, and no more of them than there are in the page.
    let leading = store.having(RowKind::LeadsTo, &ShardSet::all(), after, max).await?;
    let mut leading = leading.into_iter().peekable();
    let orgs = page.into_iter().filter_map(|(org, head)| {
        let is_name = leading.next_if(|name| *name == org).is_some();
        (!is_name).then_some(ListedOrg { org, head, names: None })
    });
    Ok(orgs.collect())
}

/// The names of the orgs that were renamed, of at most `max` from behind `after`.
async fn names_of(
    store: &dyn OrgStore,
    after: Option<&OrgId>,
    max: usize,
) -> Result<BTreeMap<OrgId, NamesRow>, StoreFault> {
    let renamed = store.having(RowKind::Names, &ShardSet::all(), after, max).await?;
    let read = stream::iter(renamed).map(|org| async move {
        let stored = store.some(&org, &[RowKind::Names]).await?;
        let names = stored.rows.into_iter().find_map(|row| if let Row::Names(row) = row { Some(row) } else { None });
        Ok(names.map(|names| (org, names)))
    });
    read.buffer_unordered(READ_AT_ONCE).try_filter_map(|named| async { Ok(named) }).try_collect().await
}
