//! Orgs of which something has to be carried out of the node, each in its turn: so that no org takes the place of the
//! others, and one that has to wait is served again in time.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    future::Future,
    sync::{Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until, timeout},
};

use super::{Shared, registry::Registry};
use crate::domain::{commands::Ask, ids::OrgId};

/// Orgs served at once.
pub(super) const AT_ONCE: usize = 32;
/// Orgs that wait for their turn or their next attempt; any further one is found by its timer.
const WAITING_MAX: usize = 100_000;

/// What the org may take to answer; with the store at a stop, its timer tries again.
const ORG_WITHIN: Duration = Duration::from_secs(30);

/// What is done for an org in its turn.
pub(super) trait Serve: Send + Sync + 'static {
    /// Those that have something now.
    fn waiting(shared: &Shared) -> &Waiting;

    /// One turn. Answers how long it is until the org has more; `None` = it has nothing, as far as is known. What it has
    /// at once waits for the orgs that have not had their turn.
    fn serve(&self, org: OrgId) -> impl Future<Output = Option<Duration>> + Send + 'static;
}

/// Orgs that have something now, each once, in the order in which they were noted.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    line: Mutex<Line>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Line {
    order: VecDeque<OrgId>,
    members: HashSet<OrgId>,
}

impl Waiting {
    pub(super) fn note(&self, org: &OrgId) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.order.len() < WAITING_MAX && line.members.insert(org.clone()) {
            line.order.push_back(org.clone());
            self.some.notify_one();
        }
    }

    fn next(&self, busy: &HashSet<OrgId>) -> Option<OrgId> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let first = line.order.iter().position(|org| !busy.contains(org))?;
        let org = line.order.remove(first)?;
        line.members.remove(&org);
        Some(org)
    }
}

/// When orgs are served again, each once and as soon as any of its rows is due.
#[derive(Debug, Default)]
struct Later {
    order: BTreeSet<(Instant, OrgId)>,
    of: HashMap<OrgId, Instant>,
}

impl Later {
    fn add(&mut self, org: OrgId, at: Instant) {
        match self.of.get(&org) {
            Some(known) if *known <= at => return,
            None if self.of.len() >= WAITING_MAX => return,
            Some(known) => drop(self.order.remove(&(*known, org.clone()))),
            None => {}
        }
        self.of.insert(org.clone(), at);
        self.order.insert((at, org));
    }

    fn soonest(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    fn pop(&mut self) -> Option<OrgId> {
        let (_, org) = self.order.pop_first()?;
        self.of.remove(&org);
        Some(org)
    }
}

/// An org is done for now; `again` says when its next row is due.
struct Done {
    org: OrgId,
    again: Option<Duration>,
}

/// Asks an org in its turn; `None` = it has not answered, and its timer finds what is left.
pub(super) async fn ask<C: Ask>(registry: &Weak<Registry>, org: &OrgId, command: C) -> Option<C::Answer> {
    let registry = registry.upgrade()?;
    timeout(ORG_WITHIN, registry.ask(org, command)).await.ok()?
}

/// Runs until the registry is gone.
pub(super) async fn run<S: Serve>(registry: Weak<Registry>, server: S) {
    let Some(shared) = registry.upgrade().map(|registry| registry.shared().clone()) else { return };
    let waiting = S::waiting(&shared);
    let (done, mut finished) = mpsc::channel::<Done>(AT_ONCE);
    let mut busy = HashSet::new();
    let mut later = Later::default();
    loop {
        while busy.len() < AT_ONCE
            && !shared.stopping.is_cancelled()
            && let Some(org) = waiting.next(&busy)
        {
            busy.insert(org.clone());
            let (turn, done) = (server.serve(org.clone()), done.clone());
            tokio::spawn(async move {
                let again = turn.await;
                let _ = done.send(Done { org, again }).await;
            });
        }
        let soonest = later.soonest();
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = waiting.some.notified() => {}
            () = async { sleep_until(soonest.unwrap_or_else(Instant::now)).await }, if soonest.is_some() => {
                if let Some(org) = later.pop() {
                    waiting.note(&org);
                }
            }
            Some(Done { org, again }) = finished.recv() => {
                busy.remove(&org);
                if let Some(again) = again {
                    later.add(org, Instant::now() + again);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::org;

    #[test]
    fn who_was_noted_first_is_first_and_a_busy_org_is_passed_over() {
        let waiting = Waiting::default();
        for name in ["c", "a", "b", "a"] {
            waiting.note(&org(name));
        }
        let busy = HashSet::from([org("c")]);
        assert_eq!(
            [waiting.next(&busy), waiting.next(&busy), waiting.next(&busy)],
            [Some(org("a")), Some(org("b")), None]
        );
        assert_eq!(waiting.next(&HashSet::new()), Some(org("c")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_org_is_looked_at_again_once_and_at_its_soonest() {
        let (now, mut later) = (tokio::time::Instant::now(), Later::default());
        for (name, seconds) in [("a", 5), ("a", 2), ("a", 9), ("b", 3)] {
            later.add(org(name), now + Duration::from_secs(seconds));
        }
        assert_eq!(later.soonest(), Some(now + Duration::from_secs(2)));
        assert_eq!([later.pop(), later.pop(), later.pop()], [Some(org("a")), Some(org("b")), None]);
    }
}
