//! Newcomers: orgs of which nothing is stored. Whoever may call can name as many as it likes, and each takes memory
//! and disk, so this is where a name becomes an org or does not.
//!
//! ```text
//! admitted by the configuration? ─ room on the disk? ─ not too many new ones in this minute, of all, of this caller?
//! ```
//!
//! An org that the configuration lists by its name is no invention of the caller's, and not counted.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Headroom, Rules};
use crate::{
    bounds::{Bound, MINUTE_MS},
    domain::ids::OrgId,
    error::ServiceError,
};

const MINUTE: Duration = Duration::from_millis(MINUTE_MS);
/// Callers that are counted one by one; further ones share one count.
const CALLERS: usize = 1_024;

/// How many new orgs there were in a minute that began with the first of them.
#[derive(Debug, Clone, Copy)]
struct Minute {
    began: Instant,
    count: u32,
}

impl Minute {
    fn at(of: Option<Self>, now: Instant) -> Self {
        of.filter(|minute| !minute.is_over(now)).unwrap_or(Self { began: now, count: 0 })
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= MINUTE
    }

    /// One more, unless there are as many as `bound` allows.
    fn one_more(self, bound: Bound, most: u32, now: Instant) -> Result<Self, ServiceError> {
        if self.count >= most {
            let retry_in = MINUTE.saturating_sub(now.saturating_duration_since(self.began));
            return Err(ServiceError::NewOrgs { bound, most, retry_in });
        }
        Ok(Self { count: self.count + 1, ..self })
    }
}

#[derive(Debug, Default)]
struct Counts {
    node: Option<Minute>,
    callers: HashMap<String, Minute>,
    others: Option<Minute>,
}

/// Counts the new orgs of a minute, of all callers and of each.
#[derive(Debug, Default)]
pub(super) struct Newcomers(Mutex<Counts>);

impl Newcomers {
    /// Lets an org in of which nothing is stored, and counts it.
    ///
    /// # Errors
    /// Where the configuration does not admit it, where the disk has no room for it, and where there are too many
    /// new ones.
    pub(super) fn let_in(
        &self,
        org: &OrgId,
        caller: &str,
        rules: &Rules,
        headroom: &Headroom,
    ) -> Result<(), ServiceError> {
        if !rules.policies.admits(org) {
            return Err(ServiceError::NotAdmitted(org.clone()));
        }
        headroom.check()?;
        if rules.policies.lists(org) {
            return Ok(());
        }
        self.count(caller, rules.bounds.new_orgs_per_minute, rules.bounds.new_orgs_per_caller)
    }

    fn count(&self, caller: &str, most: u32, most_of_caller: u32) -> Result<(), ServiceError> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !counts.callers.contains_key(caller) && counts.callers.len() >= CALLERS {
            counts.callers.retain(|_, minute| !minute.is_over(now));
        }
        let is_known = counts.callers.contains_key(caller);
        let is_own = is_known || counts.callers.len() < CALLERS;
        let own = if is_own { counts.callers.get(caller).copied() } else { counts.others };
        let own = Minute::at(own, now).one_more(Bound::new_orgs_per_caller, most_of_caller, now)?;
        let node = Minute::at(counts.node, now).one_more(Bound::new_orgs_per_minute, most, now)?;
        counts.node = Some(node);
        match counts.callers.get_mut(caller) {
            Some(known) => *known = own,
            None if is_own => drop(counts.callers.insert(caller.to_owned(), own)),
            None => counts.others = Some(own),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(refused: Result<(), ServiceError>) -> Option<Bound> {
        match refused {
            Ok(()) => None,
            Err(ServiceError::NewOrgs { bound, .. }) => Some(bound),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_its_share_and_a_minute_later_again() {
        let newcomers = Newcomers::default();
        let new_org = |caller: &str| bound(newcomers.count(caller, 5, 3));
        assert_eq!([new_org("a"), new_org("a"), new_org("a")], [None; 3]);
        assert_eq!(new_org("a"), Some(Bound::new_orgs_per_caller));
        assert_eq!([new_org("b"), new_org("b")], [None; 2]);
        assert_eq!(new_org("b"), Some(Bound::new_orgs_per_minute), "all of the node together");
        tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
        let refused = newcomers.count("a", 5, 3);
        let retry_in = Duration::from_millis(1);
        assert_eq!(refused, Err(ServiceError::NewOrgs { bound: Bound::new_orgs_per_caller, most: 3, retry_in }));
        tokio::time::advance(retry_in).await;
        assert_eq!([new_org("a"), new_org("b")], [None; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_nobody_can_remember_share_one_count() {
        let newcomers = Newcomers::default();
        let new_org = |caller: usize| bound(newcomers.count(&caller.to_string(), u32::MAX, 1));
        assert!((0..CALLERS).all(|caller| new_org(caller).is_none()));
        assert_eq!(new_org(CALLERS), None);
        assert_eq!(new_org(CALLERS + 1), Some(Bound::new_orgs_per_caller));
        tokio::time::advance(MINUTE).await;
        assert_eq!(new_org(CALLERS + 1), None, "those of past minutes made room");
        assert_eq!(newcomers.0.lock().unwrap().callers.len(), 1);
    }
}
