//! Delivers usage to the billing provider, at least once.
//!
//! ```text
//! an org's commit is durable ─▶ Waiting ─▶ orgs in turn, one batch each:
//!                                 take what is due ─ report each ─ tell the org, durably ─ again
//! ```
//!
//! The org keeps the rows; nothing here has to survive. What a crash interrupts is found by the org's
//! stored timer and goes out again under the same key, which the provider knows. A caller never waits
//! for any of this. An org whose reports keep failing has its turns spaced, with one report each, so that
//! it takes no place from the others.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::{Instant, sleep_until, timeout},
};

use super::{
    registry::Registry,
    spacing::{Held, Spacing},
};
use crate::{
    bounds::EXPORT_BATCH,
    domain::{
        command::{SettleOutbox, TakeOutbox},
        commands::Ask,
        gate::Cause,
        ids::OrgId,
        outbox::{Delivery, OutboxKey, OutboxRow},
    },
    ports::{BillingProvider, Event, Usage},
};

/// Orgs delivered for at once, and reports under way at once, per org and in all.
const ORGS_AT_ONCE: usize = 32;
const REPORTS_PER_ORG: usize = 8;
const REPORTS: usize = 64;
/// Orgs that wait for their turn or their next attempt; any further one is found by its timer.
const WAITING_MAX: usize = 100_000;
/// The provider ends every report within its own budget; this is for one that does not.
const REPORT_WITHIN: Duration = Duration::from_secs(20);
/// What the org may take to answer; with the store at a stop, its timer tries again.
const ORG_WITHIN: Duration = Duration::from_secs(30);

/// Orgs whose outbox has something to deliver now, each once, in the order in which they were noted.
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

/// Runs until the registry is gone.
pub(super) async fn run(registry: Weak<Registry>, provider: Arc<dyn BillingProvider>) {
    let Some(shared) = registry.upgrade().map(|registry| registry.shared().clone()) else { return };
    let (done, mut finished) = mpsc::channel::<Done>(ORGS_AT_ONCE);
    let reports = Arc::new(Semaphore::new(REPORTS));
    let mut busy = HashSet::new();
    let mut later = Later::default();
    loop {
        while busy.len() < ORGS_AT_ONCE
            && !shared.stopping.is_cancelled()
            && let Some(org) = shared.exports.next(&busy)
        {
            busy.insert(org.clone());
            let delivery = Deliverer {
                org,
                registry: registry.clone(),
                provider: provider.clone(),
                reports: reports.clone(),
                spacing: shared.report_spacing.clone(),
            };
            let done = done.clone();
            tokio::spawn(async move {
                let again = delivery.run().await;
                let _ = done.send(Done { org: delivery.org, again }).await;
            });
        }
        let soonest = later.soonest();
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = shared.exports.some.notified() => {}
            () = async { sleep_until(soonest.unwrap_or_else(Instant::now)).await }, if soonest.is_some() => {
                if let Some(org) = later.pop() {
                    shared.exports.note(&org);
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

/// One org's turn.
struct Deliverer {
    org: OrgId,
    registry: Weak<Registry>,
    provider: Arc<dyn BillingProvider>,
    reports: Arc<Semaphore>,
    spacing: Arc<Spacing>,
}

impl Deliverer {
    /// Delivers one batch. Answers how long it is until more is due: what is due at once waits for the
    /// orgs that have not had their turn.
    async fn run(&self) -> Option<Duration> {
        if let Some(held) = self.spacing.held(&self.org) {
            return Some(held.left);
        }
        // One report shows whether the next ones will do better.
        let max = if self.spacing.is_spaced(&self.org) { 1 } else { EXPORT_BATCH };
        let rows = self.ask(TakeOutbox { max }).await?;
        if rows.is_empty() {
            return None;
        }
        let outcomes: Vec<(OutboxKey, Delivery)> =
            stream::iter(rows).map(|row| self.report(row)).buffer_unordered(REPORTS_PER_ORG).collect().await;
        let now = self.registry.upgrade()?.shared().clock.now();
        let settled = self.ask(SettleOutbox(outcomes)).await?;
        let due = settled.next_due.map(|due| Duration::from_millis(due.saturating_sub(now)))?;
        Some(self.spacing.held(&self.org).map_or(due, |held| due.max(held.left)))
    }

    async fn report(&self, row: OutboxRow) -> (OutboxKey, Delivery) {
        if let Some(Held { cause, left }) = self.spacing.held(&self.org) {
            return (row.key, Delivery::NotTried { cause, left });
        }
        let began = Instant::now();
        let delivery = self.try_report(&row).await;
        if let Some(answered) = answered(delivery) {
            self.spacing.ended(&self.org, began, answered);
        }
        self.tell(Event::Reported(delivery));
        if let Delivery::Retry { cause, .. } | Delivery::Rejected(cause) = delivery {
            tracing::warn!(
                org = %self.org, key = %row.key, meter = %row.meter, cause = cause.name(), attempts = row.attempts + 1,
                "usage could not be reported"
            );
        }
        (row.key, delivery)
    }

    async fn try_report(&self, row: &OutboxRow) -> Delivery {
        let later = |cause| Delivery::Retry { cause, after: None };
        let policy = self.registry.upgrade().map(|registry| registry.shared().rules.load().policies.policy(&self.org));
        // It was written under another configuration; with the right one it goes out.
        let feature = policy.and_then(|policy| policy.balance.features.get(&row.meter).cloned());
        let Some(feature) = feature else { return later(Cause::UnknownFeature) };
        let Ok(_permit) = self.reports.acquire().await else {
            return Delivery::NotTried { cause: Cause::Overloaded, left: Duration::ZERO };
        };
        let (key, org, units, is_refund, at) = (row.key, self.org.clone(), row.units, row.is_refund, row.at);
        let usage = Usage { key, org, feature, units, is_refund, at };
        let reporting = async { timeout(REPORT_WITHIN, self.provider.report(usage)).await };
        match AssertUnwindSafe(reporting).catch_unwind().await {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(_)) => later(Cause::Timeout),
            Err(_) => {
                tracing::error!(org = %self.org, "the billing provider panicked");
                later(Cause::ProviderError)
            }
        }
    }

    fn tell(&self, event: Event) {
        if let Some(registry) = self.registry.upgrade() {
            registry.shared().events.happened(event);
        }
    }

    async fn ask<C: Ask>(&self, command: C) -> Option<C::Answer> {
        let registry = self.registry.upgrade()?;
        timeout(ORG_WITHIN, registry.ask(&self.org, command)).await.ok()?
    }
}

/// Whether the provider took usage of the org, or why it did not; `None` where it is no matter of the org. What
/// it refuses for good is an answer.
fn answered(delivery: Delivery) -> Option<Result<(), Cause>> {
    match delivery {
        Delivery::Delivered | Delivery::Duplicate | Delivery::Rejected(_) => Some(Ok(())),
        // One feature of the configuration: the org may have usage of others.
        Delivery::Retry { cause: Cause::UnknownFeature, .. } | Delivery::NotTried { .. } => None,
        Delivery::Retry { cause, .. } => Some(Err(cause)),
    }
}
