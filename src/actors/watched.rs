//! Who waits for events of an org: that it has something new is all that is said, however many
//! events there are. What they are is read from the org.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::Orgs;
use crate::domain::{ids::OrgId, rows::Row};

/// By org, as many as somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Watched {
    orgs: Mutex<HashMap<OrgId, watch::Sender<u64>>>,
    /// As many as there are above: nobody waits for most commits.
    count: AtomicUsize,
}

impl Watched {
    /// Whether a commit has to say what it has.
    pub(super) fn concerns(&self, puts: &[Row]) -> bool {
        self.count.load(Ordering::Acquire) > 0 && puts.iter().any(|row| matches!(row, Row::Event(_)))
    }

    /// Events of the org are on disk.
    pub(super) fn note(&self, org: &OrgId) {
        if let Some(sender) = self.orgs.lock().unwrap_or_else(PoisonError::into_inner).get(org) {
            sender.send_modify(|noted| *noted = noted.wrapping_add(1));
        }
    }

    fn subscribe(&self, org: &OrgId) -> watch::Receiver<u64> {
        let mut orgs = self.orgs.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for any more go when somebody comes: there are no more than
        // `bounds.watches`.
        orgs.retain(|_, sender| !sender.is_closed());
        let receiver = orgs.entry(org.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe();
        self.count.store(orgs.len(), Ordering::Release);
        receiver
    }
}

impl Orgs {
    /// Changes when events of the org are on disk, as far as this node wrote them.
    pub fn watch_events(&self, org: &OrgId) -> watch::Receiver<u64> {
        self.shared.watched.subscribe(org)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::org;

    #[test]
    fn many_events_are_one_wake_up_and_nobody_is_kept_who_has_gone() {
        let watched = Watched::default();
        let mut receiver = watched.subscribe(&org("a"));
        assert!(!receiver.has_changed().unwrap());
        (0..1000).for_each(|_| watched.note(&org("a")));
        watched.note(&org("b"));
        assert!(receiver.has_changed().unwrap());
        receiver.mark_unchanged();
        assert!(!receiver.has_changed().unwrap());
        drop(receiver);
        let _other = watched.subscribe(&org("b"));
        assert_eq!(watched.count.load(Ordering::Acquire), 1);
    }
}
