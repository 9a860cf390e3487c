//! What happens to this node and to no org, and who watches what happens.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::sleep;

use super::Service;
use crate::{
    auth::Principal,
    bounds::Bound,
    domain::{
        command::ListEvents,
        events::{NodeEventPage, Part},
    },
    error::ServiceError,
    ports::{Notice, Webhook},
};

/// How many streams of answers are open, of each caller.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<HashMap<Arc<str>, u32>>);

impl Watches {
    fn of_callers(&self) -> MutexGuard<'_, HashMap<Arc<str>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> u32 {
        self.of_callers().values().sum()
    }
}

/// The place of one open stream of answers among those that there may be.
#[derive(Debug)]
pub struct WatchPlace {
    watches: Arc<Watches>,
    caller: Arc<str>,
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.watches.of_callers().entry(self.caller.clone()) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

impl Service {
    /// A part of this node is in trouble, for this reason, or well again: an event where that is
    /// new.
    pub fn node_is(&self, part: Part, trouble: Option<&str>) {
        if self.node_log.lock().unwrap_or_else(PoisonError::into_inner).is(part, trouble, self.clock.now()) {
            self.node_news.notify_one();
        }
    }

    /// Delivers events of this node, in the order of their numbers, as long as the node runs. They are in memory alone: a
    /// restart forgets what was not delivered.
    pub async fn deliver_node_events(self: Arc<Self>, webhook: Arc<dyn Webhook>) {
        let mut after = 0;
        loop {
            let next = ListEvents { kinds: Vec::new(), after, since: None, until: None, max: 1, durable: false };
            let Some(event) = self.node_events(&next).rows.pop() else {
                self.node_news.notified().await;
                continue;
            };
            if self.orgs.rules().webhook_kinds.has(event.kind)
                && let Err(left) = self.orgs.deliver(&*webhook, Notice::Node(&self.node, &event)).await
            {
                sleep(left).await;
                continue;
            }
            after = event.number;
        }
    }

    /// Events of this node since its start.
    pub fn node_events(&self, list: &ListEvents) -> NodeEventPage {
        self.node_log.lock().unwrap_or_else(PoisonError::into_inner).page(list)
    }

    /// A place for one more stream of answers.
    ///
    /// # Errors
    /// Where there are as many as `bounds.watches` or `bounds.watches_per_caller` allows.
    pub fn watch_place(&self, caller: &Principal) -> Result<WatchPlace, ServiceError> {
        let rules = self.orgs.rules();
        let busy = |bound: Bound| ServiceError::NodeBusy { bound, most: rules.bounds.get(bound) };
        let mut open = self.watches.of_callers();
        if open.values().sum::<u32>() >= rules.bounds.watches {
            return Err(busy(Bound::watches));
        }
        let caller = caller.shared_name().clone();
        let of_caller = open.get(&caller).copied().unwrap_or(0);
        if of_caller >= rules.bounds.watches_per_caller {
            return Err(busy(Bound::watches_per_caller));
        }
        open.insert(caller.clone(), of_caller + 1);
        drop(open);
        Ok(WatchPlace { watches: self.watches.clone(), caller })
    }

    /// Streams of answers that are open.
    pub fn open_watches(&self) -> u32 {
        self.watches.open()
    }
}
