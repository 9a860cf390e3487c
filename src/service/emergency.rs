//! The emergency cap: what "fail open" can mean while nothing that bounds an org can be evaluated.
//!
//! Then this node counts the org's calls in its own memory, against the amount of
//! [`OrgPolicy::emergency`](crate::domain::policy::OrgPolicy::emergency), so that an outage is not an open
//! door. Past it the answer is RATE_LIMITED and names the outage. Never applied to Resume.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::{ids::OrgId, policy::RateLimit, rate::RateRecord, window::Millis};

#[derive(Debug, Default)]
struct Counts {
    orgs: HashMap<OrgId, RateRecord>,
    /// Shared by all orgs past the bound: strict, but never unbounded.
    others: Option<RateRecord>,
}

#[derive(Debug, Default)]
pub(super) struct EmergencyCap(Mutex<Counts>);

impl EmergencyCap {
    /// Counts one call; one that does not `consume` only asks. `Err` is the record that has reached the cap.
    pub(super) fn count(
        &self,
        org: &OrgId,
        limit: &RateLimit,
        consume: bool,
        max_orgs: u32,
        now: Millis,
    ) -> Result<(), RateRecord> {
        let Some(amount) = limit.amount else { return Ok(()) };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !counts.orgs.contains_key(org) && counts.orgs.len() >= max_orgs as usize {
            counts.orgs.retain(|_, record| record.window_end() > now);
        }
        let known = counts.orgs.contains_key(org) || counts.orgs.len() < max_orgs as usize;
        let current = if known { counts.orgs.get(org).copied() } else { counts.others };
        let record = RateRecord::at(current, limit, now);
        if record.count >= amount {
            return Err(record);
        }
        let counted = RateRecord { count: record.count + u64::from(consume), ..record };
        if known {
            counts.orgs.insert(org.clone(), counted);
        } else {
            counts.others = Some(counted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::HOUR_MS;

    fn org(name: &str) -> OrgId {
        OrgId::parse("org", name).unwrap()
    }

    #[test]
    fn a_peek_takes_nothing_of_it() {
        let cap = EmergencyCap::default();
        let limit = RateLimit { amount: Some(1), ..RateLimit::default() };
        let count = |consume| cap.count(&org("a"), &limit, consume, 2, 5).is_ok();
        assert_eq!([count(false), count(false), count(true), count(false)], [true, true, true, false]);
    }

    #[test]
    fn it_admits_the_amount_per_org_and_window_and_stays_bounded() {
        let cap = EmergencyCap::default();
        let limit = RateLimit { amount: Some(2), ..RateLimit::default() };
        let count = |name: &str, now| cap.count(&org(name), &limit, true, 2, now).map_err(RateRecord::window_end);
        assert_eq!((count("a", 5), count("a", 5), count("a", 5)), (Ok(()), Ok(()), Err(HOUR_MS)));
        assert_eq!(count("a", HOUR_MS), Ok(()), "R-RATE-4: a new window unblocks");
        assert_eq!(count("b", HOUR_MS), Ok(()));
        assert_eq!((count("c", HOUR_MS), count("d", HOUR_MS), count("e", HOUR_MS)), (Ok(()), Ok(()), Err(2 * HOUR_MS)));
        assert_eq!(count("e", 2 * HOUR_MS), Ok(()), "orgs of past windows made room");
    }
}
