//! Orgs whose rows are read as of one commit, for a snapshot.
//!
//! ```text
//! hold ─▶ the actor commits what waits, and loads the org: this is the commit ─▶ rows beside it, page by page ─▶ let go
//! ```
//!
//! From the first to the last step no commit removes a row that is not loaded with the org, so what was there is found,
//! however long the reader takes; decisions go on meanwhile. A hold has an end of its own: a reader that is too slow
//! finds its hold over, and begins again. Where the org is purged meanwhile, or its shard goes to another node, the hold
//! is over as well.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Orgs, Shared, Terms, org::OrgMsg};
use crate::{
    bounds::Bound,
    cluster::table::Standing,
    domain::{
        commands::Lane,
        ids::OrgId,
        rows::OrgRows,
        shard::{Epoch, Shard},
    },
    error::ServiceError,
};

/// The longest that the rows of an org are held.
const HELD_FOR: Duration = Duration::from_secs(600);

/// The holds of the node. Asked before every commit, so the usual answer takes no lock.
#[derive(Debug, Default)]
pub(super) struct Holding {
    count: AtomicUsize,
    holds: Mutex<Vec<Arc<Hold>>>,
}

#[derive(Debug)]
struct Hold {
    org: OrgId,
    until: Instant,
    /// The rows are not those of the commit any more.
    is_broken: AtomicBool,
}

impl Holding {
    fn holds(&self) -> MutexGuard<'_, Vec<Arc<Hold>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, org: &OrgId) -> Arc<Hold> {
        let hold =
            Arc::new(Hold { org: org.clone(), until: Instant::now() + HELD_FOR, is_broken: AtomicBool::new(false) });
        let mut holds = self.holds();
        holds.push(hold.clone());
        self.count.store(holds.len(), Ordering::Release);
        hold
    }

    fn end(&self, hold: &Arc<Hold>) {
        let mut holds = self.holds();
        holds.retain(|other| !Arc::ptr_eq(other, hold));
        self.count.store(holds.len(), Ordering::Release);
    }

    /// Whether no row beside those in memory may be removed now.
    pub(super) fn has(&self, org: &OrgId) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let now = Instant::now();
        self.holds().iter().any(|hold| hold.org == *org && now < hold.until)
    }

    /// Every row of the org is about to be removed.
    pub(super) fn wiped(&self, org: &OrgId) {
        if self.count.load(Ordering::Acquire) > 0 {
            let holds = self.holds();
            let of_org = holds.iter().filter(|hold| hold.org == *org);
            of_org.for_each(|hold| hold.is_broken.store(true, Ordering::Release));
        }
    }
}

/// What is held of an org until this is dropped.
#[derive(Debug)]
pub struct Held {
    hold: Arc<Hold>,
    shared: Weak<Shared>,
    epoch: Epoch,
}

impl Held {
    /// Whether what was read until now is what was there at the commit.
    pub fn is_whole(&self) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let standing = shared.table.standing(Shard::of(&self.hold.org), self.epoch);
        let is_over = Instant::now() >= self.hold.until || self.hold.is_broken.load(Ordering::Acquire);
        standing == Standing::Owned && !is_over
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.holding.end(&self.hold);
        }
    }
}

impl Orgs {
    /// Makes what the org has decided durable, and answers its rows as they are stored then; no rows where it is not known.
    /// Rows that are read by name stay where they are until what is held is dropped. An org that was not in memory
    /// leaves it again.
    pub async fn hold(&self, org: &OrgId, terms: impl Into<Terms<'_>>) -> Result<(OrgRows, Held), ServiceError> {
        let Terms { deadline, .. } = terms.into();
        let shared = &self.shared;
        let most = shared.rules.load().bounds.node_in_flight;
        let entered = shared.in_flight.enter(Lane::Admit, 1, most);
        let _node_permit = entered.ok_or(ServiceError::NodeBusy { bound: Bound::node_in_flight, most })?;
        let epoch = shared.store.epoch(org).ok_or(ServiceError::Moved)?;
        let held = Held { hold: shared.holding.begin(org), shared: Arc::downgrade(shared), epoch };
        let (reply, rows) = oneshot::channel();
        let asked = async {
            let _org_permit = self.registry.send(org, Lane::Admit, OrgMsg::Load(reply)).await?;
            rows.await.map_err(|_| ServiceError::Interrupted)?
        };
        let rows = timeout_at(deadline, asked).await.map_err(|_| ServiceError::TimedOut)??;
        if held.is_whole() || rows.rows.is_empty() { Ok((rows, held)) } else { Err(ServiceError::Moved) }
    }
}
