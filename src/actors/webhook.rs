//! Delivers events to the webhook, each at least once: those of an org in the order of their numbers.
//!
//! ```text
//! a commit with an event is durable ─▶ undelivered: orgs in turn, one batch each:
//!                                       take what waits ─ deliver one by one ─ say to the org how far ─ again
//! ```
//!
//! The org keeps the number, written behind: what a crash interrupts is found by the org's stored timer and comes
//! again under the id that it had. An org whose events are refused is spaced; a receiver that takes nothing of anybody
//! is asked by one call at a time, less and less often.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::{
    Orgs, Shared,
    in_turn::{Serve, Waiting, ask},
    registry::Registry,
    spacing::Spacing,
};
use crate::{
    bounds::{MINUTE_MS, WEBHOOK_BATCH, WEBHOOK_FOR_MS},
    domain::{
        command::{NoteDelivered, TakeUndelivered},
        events::{EventRow, Undelivered},
        gate::Cause,
        ids::OrgId,
        reply::UndeliveredPage,
        window::Millis,
    },
    ports::{DeliveryFault, Event, NotDelivered, Notice, Webhook},
};

/// A receiver ends every delivery within its own budget; this is for one that does not.
const DELIVER_WITHIN: Duration = Duration::from_secs(60);
/// Failures in a row, of whatever org, after which the receiver is left alone for a while.
const FAILURES: u32 = 8;
/// For so long at first; it doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// An old event is given up only where it has failed so often in a row, and the receiver has taken others in this time: what
/// waits for a receiver that is away is not lost for that.
const ATTEMPTS: u32 = 10;
const TAKES_OTHERS_MS: Millis = 10 * MINUTE_MS;
/// While one call finds out whether it is back.
const PROBED: Duration = Duration::from_secs(1);

/// How the receiver of events does.
#[derive(Debug, Default)]
pub(super) struct Receiver(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    view: ReceiverView,
    /// It is left alone until then.
    until: Option<Instant>,
    /// One call finds out whether it is back, since then.
    probe: Option<Instant>,
}

/// How the receiver of events does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiverView {
    /// Deliveries that failed since the last one that did not.
    pub failures: u32,
    /// What came last instead of a receipt; `None` = a receipt came last.
    pub fault: Option<DeliveryFault>,
    /// Service time of the last receipt; `None` = none came since the start.
    pub delivered_at: Option<Millis>,
}

impl State {
    fn left_alone(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Receiver {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_taken_since(&self, since: Millis) -> bool {
        self.state().view.delivered_at.is_some_and(|at| at >= since)
    }

    /// How long it is left alone; `None` = it is not.
    fn left_alone(&self) -> Option<Duration> {
        self.state().left_alone()
    }

    /// May something be delivered?
    ///
    /// # Errors
    /// How long nothing should be.
    fn enter(&self) -> Result<(), Duration> {
        let mut state = self.state();
        if state.until.is_none() {
            return Ok(());
        }
        if let Some(left) = state.left_alone() {
            return Err(left);
        }
        if state.probe.is_some_and(|since| since.elapsed() < DELIVER_WITHIN) {
            return Err(PROBED);
        }
        state.probe = Some(Instant::now());
        Ok(())
    }

    fn ended(&self, outcome: &Result<(), NotDelivered>, now: Millis) {
        let mut state = self.state();
        match outcome {
            Ok(()) => {
                *state = State::default();
                state.view.delivered_at = Some(now);
            }
            Err(NotDelivered { fault, after }) => {
                state.view.failures = state.view.failures.saturating_add(1);
                state.view.fault = Some(*fault);
                state.probe = None;
                if let Some(doublings) = state.view.failures.checked_sub(FAILURES) {
                    let pause = PAUSE.saturating_mul(1 << doublings.min(16)).max(after.unwrap_or_default());
                    state.until = Some(Instant::now() + pause.min(PAUSE_MAX));
                }
            }
        }
    }
}

impl Orgs {
    /// How the receiver of events does.
    pub fn receiver(&self) -> ReceiverView {
        self.shared.receiver.state().view.clone()
    }

    /// Delivers something that is in no org's log.
    ///
    /// # Errors
    /// How long to wait before it is tried again.
    pub async fn deliver(&self, webhook: &dyn Webhook, notice: Notice<'_>) -> Result<(), Duration> {
        self.shared.receiver.enter()?;
        self.shared.deliver(webhook, notice).await.map_err(|not_delivered| not_delivered.after.unwrap_or(PAUSE))
    }
}

impl Shared {
    async fn deliver(&self, webhook: &dyn Webhook, notice: Notice<'_>) -> Result<(), NotDelivered> {
        let late = |fault| NotDelivered { fault, after: None };
        let delivering = timeout(DELIVER_WITHIN, webhook.deliver(notice));
        let outcome = match AssertUnwindSafe(delivering).catch_unwind().await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(late(DeliveryFault::Timeout)),
            Err(_) => {
                tracing::error!("the webhook panicked");
                Err(late(DeliveryFault::Unreachable))
            }
        };
        self.receiver.ended(&outcome, self.clock.now());
        self.events.happened(Event::Delivered(outcome.as_ref().copied().map_err(|not_delivered| not_delivered.fault)));
        outcome
    }
}

/// Delivers for orgs in their turns.
pub(super) struct Delivering {
    registry: Weak<Registry>,
    webhook: Arc<dyn Webhook>,
    spacing: Arc<Spacing>,
}

impl Delivering {
    pub(super) fn new(registry: Weak<Registry>, webhook: Arc<dyn Webhook>) -> Self {
        Self { registry, webhook, spacing: Arc::default() }
    }
}

impl Serve for Delivering {
    fn waiting(shared: &Shared) -> &Waiting {
        &shared.undelivered
    }

    fn serve(&self, org: OrgId) -> impl Future<Output = Option<Duration>> + Send + 'static {
        let (registry, webhook, spacing) = (self.registry.clone(), self.webhook.clone(), self.spacing.clone());
        async move { Turn { org, registry, webhook, spacing }.run().await }
    }
}

struct Turn {
    org: OrgId,
    registry: Weak<Registry>,
    webhook: Arc<dyn Webhook>,
    spacing: Arc<Spacing>,
}

impl Turn {
    /// Delivers one batch. Answers how long it is until more is due.
    async fn run(&self) -> Option<Duration> {
        let shared = self.registry.upgrade()?.shared().clone();
        if shared.rules.load().webhook_kinds.is_empty() {
            return None;
        }
        if let Some(held) = self.spacing.held(&self.org) {
            return Some(held.left);
        }
        // Before the org is asked, which may have to be loaded for it.
        if let Some(left) = shared.receiver.left_alone() {
            return Some(left);
        }
        let UndeliveredPage { taken, undelivered } =
            ask(&self.registry, &self.org, TakeUndelivered { max: WEBHOOK_BATCH }).await?;
        let (mut delivered, mut pause) = (None, None);
        for notice in &undelivered {
            match self.deliver(&shared, notice).await {
                Ok(()) => delivered = Some(notice.number()),
                Err(left) => {
                    pause = Some(left);
                    break;
                }
            }
        }
        let more = match delivered {
            Some(number) => ask(&self.registry, &self.org, NoteDelivered { taken, number }).await?,
            None => false,
        };
        pause.or_else(|| more.then_some(Duration::ZERO))
    }

    /// Answers how long nothing of the org should be tried, where this was not delivered and is tried again.
    async fn deliver(&self, shared: &Shared, undelivered: &Undelivered) -> Result<(), Duration> {
        shared.receiver.enter()?;
        let began = Instant::now();
        let outcome = shared.deliver(&*self.webhook, Notice::Org(&self.org, undelivered)).await;
        let answered = outcome.as_ref().copied().map_err(|not_delivered| match not_delivered.fault {
            DeliveryFault::Timeout => Cause::Timeout,
            DeliveryFault::Unreachable | DeliveryFault::Refused(_) | DeliveryFault::Unconfigured => {
                Cause::ProviderError
            }
        });
        self.spacing.ended(&self.org, began, answered);
        let Err(NotDelivered { fault, after }) = outcome else { return Ok(()) };
        let (org, number) = (&self.org, undelivered.number());
        let now = shared.clock.now();
        let takes_others = shared.receiver.has_taken_since(now.saturating_sub(TAKES_OTHERS_MS));
        if takes_others && self.spacing.failures(&self.org) >= ATTEMPTS && is_old(undelivered, now) {
            tracing::error!(%org, number, cause = %fault, "the webhook will not have an event: it was tried for too long");
            shared.events.happened(Event::NeverDelivered);
            return Ok(());
        }
        tracing::warn!(%org, number, cause = %fault, "an event was not delivered to the webhook");
        let spaced = self.spacing.held(&self.org).map_or(Duration::ZERO, |held| held.left);
        Err(spaced.max(after.unwrap_or_default()).min(PAUSE_MAX))
    }
}

fn is_old(undelivered: &Undelivered, now: Millis) -> bool {
    let (Undelivered::Event(EventRow { at, .. }) | Undelivered::Missing { at, .. }) = undelivered;
    at.saturating_add(WEBHOOK_FOR_MS) < now
}
