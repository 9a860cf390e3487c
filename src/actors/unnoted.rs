//! Decisions that were made without the state of their org, and how many admissions left memory
//! with an org whose commits were not durable: kept in memory until the org can be asked to keep
//! them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Orgs, Registry, Shared};
use crate::{
    bounds::{UNNOTED_ORGS, UNNOTED_PER_ORG},
    domain::{command::NoteDenials, denials::DenialRow, ids::OrgId},
    error::ServiceError,
    ports::{Event, OrgStore},
};

/// How often orgs are asked again.
const EVERY: Duration = Duration::from_secs(1);
/// Time for one org.
const WITHIN: Duration = Duration::from_secs(2);
/// Orgs that are asked in one turn.
const ORGS_PER_TURN: usize = 256;

/// What waits, by org.
#[derive(Debug, Default)]
pub(super) struct Unnoted(Mutex<HashMap<OrgId, Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    rows: Vec<DenialRow>,
    /// Admissions that are not stored.
    unstored: u64,
}

fn place<'a>(waiting: &'a mut HashMap<OrgId, Waiting>, org: &OrgId) -> Option<&'a mut Waiting> {
    if !waiting.contains_key(org) && waiting.len() >= UNNOTED_ORGS {
        return None;
    }
    Some(waiting.entry(org.clone()).or_default())
}

impl Unnoted {
    /// Keeps one, or counts it with one that is like it. Answers whether there was room.
    fn add(&self, org: &OrgId, row: DenialRow) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Waiting { rows, .. }) = place(&mut waiting, org) else { return false };
        if let Some(known) = rows.iter_mut().find(|known| known.is_like(&row)) {
            known.add(row);
            return true;
        }
        let has_room = rows.len() < UNNOTED_PER_ORG;
        if has_room {
            rows.push(row);
        }
        has_room
    }

    /// So many admissions more. Answers whether there was room.
    fn add_unstored(&self, org: &OrgId, calls: u64) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place(&mut waiting, org);
        place.map(|place| place.unstored = place.unstored.saturating_add(calls)).is_some()
    }

    fn take(&self, store: &dyn OrgStore) -> Vec<(OrgId, Waiting)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extract_if(|org, _| store.fault(org).is_none()).take(ORGS_PER_TURN).collect()
    }
}

impl Shared {
    /// Keeps a decision that was made without the state of the org until the org can be asked.
    pub(super) fn keep_unnoted(&self, org: &OrgId, row: DenialRow) {
        let calls = row.count;
        if !self.unnoted.add(org, row) {
            self.events.happened(Event::DenialsUnkept(calls));
        }
    }

    /// Keeps how many admissions of an org were not stored until the org can be asked.
    pub(super) fn keep_unstored(&self, org: &OrgId, calls: u64) {
        if calls > 0 && !self.unnoted.add_unstored(org, calls) {
            tracing::error!(%org, calls, "calls were admitted and are not counted");
        }
    }
}

impl Orgs {
    /// Name of this node.
    pub fn node(&self) -> &Arc<str> {
        &self.shared.node
    }

    /// Keeps a decision that was made without the state of the org until the org can be asked to.
    pub fn keep_unnoted(&self, org: &OrgId, row: DenialRow) {
        self.shared.keep_unnoted(org, row);
    }
}

/// Hands over what waits, until the registry is gone.
pub(super) async fn run(registry: Weak<Registry>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(registry) = registry.upgrade() else { return };
        let shared = registry.shared().clone();
        for (org, Waiting { rows, unstored }) in shared.unnoted.take(&*shared.store) {
            // Another node answers for it now.
            if !shared.table.owns(&org) {
                shared.events.happened(Event::DenialsUnkept(rows.iter().map(|row| row.count).sum()));
                if unstored > 0 {
                    tracing::error!(%org, calls = unstored, "calls were admitted and are not counted");
                }
                continue;
            }
            let noted = timeout(WITHIN, registry.try_ask(&org, NoteDenials { rows: rows.clone(), unstored })).await;
            let org = match noted {
                Ok(Ok(())) => continue,
                // It could not be known that it is another name.
                Ok(Err(ServiceError::LeadsTo(id))) => id,
                Ok(Err(_)) | Err(_) => org,
            };
            rows.into_iter().for_each(|row| shared.keep_unnoted(&org, row));
            shared.keep_unstored(&org, unstored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            decision::Decision,
            denials::Asked,
            gate::{Cause, FailOpen, Gate, Reports},
            lease::Now,
        },
        testing::{acquire, org},
    };

    fn row(at: u64, cause: Cause) -> DenialRow {
        let reports = Reports::of_admission(&[FailOpen { gate: Gate::Rate, cause }]);
        DenialRow::of(
            Asked::of(&acquire()),
            &Decision::judged(None, reports, false),
            0,
            None,
            &Now::at(at),
            &"n".into(),
        )
    }

    #[test]
    fn those_that_are_alike_are_counted_together_and_the_bounds_hold() {
        let unnoted = Unnoted::default();
        for at in 1..=3 {
            assert!(unnoted.add(&org("a"), row(at, Cause::Timeout)));
        }
        assert!(unnoted.add(&org("a"), row(4, Cause::StoreFault)));
        let waiting = unnoted.0.lock().unwrap();
        let counts: Vec<_> = waiting[&org("a")].rows.iter().map(|row| (row.count, row.first_at, row.last_at)).collect();
        assert_eq!(counts, [(3, 1, 3), (1, 4, 4)], "R-PIPE-9");
        drop(waiting);
        for number in 1..UNNOTED_ORGS {
            assert!(unnoted.add(&org(&format!("o{number}")), row(1, Cause::Timeout)));
        }
        assert!(!unnoted.add(&org("one-more"), row(1, Cause::Timeout)));
        assert!(unnoted.add(&org("a"), row(5, Cause::Timeout)), "one that is there has its place");
    }
}
