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
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    Shared,
    in_turn::{Serve, Waiting, ask},
    registry::Registry,
    spacing::{Held, Spacing},
};
use crate::{
    bounds::EXPORT_BATCH,
    domain::{
        command::{SettleOutbox, TakeOutbox},
        gate::Cause,
        ids::OrgId,
        outbox::{Delivery, OutboxKey, OutboxRow},
    },
    ports::{BillingProvider, Event, Usage},
};

/// Reports under way at once, per org and in all.
const REPORTS_PER_ORG: usize = 8;
const REPORTS: usize = 64;
/// The provider ends every report within its own budget; this is for one that does not.
const REPORT_WITHIN: Duration = Duration::from_secs(20);

/// Delivers for orgs in their turns.
pub(super) fn delivering(registry: Weak<Registry>, provider: Arc<dyn BillingProvider>) -> impl Serve {
    Outbox { registry, provider, reports: Arc::new(Semaphore::new(REPORTS)) }
}

struct Outbox {
    registry: Weak<Registry>,
    provider: Arc<dyn BillingProvider>,
    reports: Arc<Semaphore>,
}

impl Serve for Outbox {
    fn waiting(shared: &Shared) -> &Waiting {
        &shared.exports
    }

    fn serve(&self, org: OrgId) -> impl Future<Output = Option<Duration>> + Send + 'static {
        let spacing = self.registry.upgrade().map(|registry| registry.shared().report_spacing.clone());
        let (registry, provider, reports) = (self.registry.clone(), self.provider.clone(), self.reports.clone());
        async move { Deliverer { org, registry, provider, reports, spacing: spacing? }.run().await }
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
        let rows = ask(&self.registry, &self.org, TakeOutbox { max }).await?;
        if rows.is_empty() {
            return None;
        }
        let outcomes: Vec<(OutboxKey, Delivery)> =
            stream::iter(rows).map(|row| self.report(row)).buffer_unordered(REPORTS_PER_ORG).collect().await;
        let now = self.registry.upgrade()?.shared().clock.now();
        let settled = ask(&self.registry, &self.org, SettleOutbox(outcomes)).await?;
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
