//! Health follows the disk: while a commit group waits for it longer than `bounds.store_stall_ms`, the node
//! is NOT_SERVING, and SERVING again as soon as the group is answered.
//!
//! A disk that hangs is no fault: nothing is lost, and nobody knows whether it goes on in a second or never.
//! What waits for it runs into its own deadline; health keeps new callers away meanwhile.

use std::{sync::Arc, time::Duration};

use crate::{grpc::server::Health, ports::StoreEngine, service::Service};

/// How often the store is asked which group it is at.
const EVERY: Duration = Duration::from_millis(100);

/// How long the same group was seen unanswered. It is counted in looks and not read from a clock: a
/// process that was stopped for a minute has not waited for its disk.
#[derive(Debug, Default)]
struct Oldest {
    group: Option<u64>,
    waited: Duration,
}

impl Oldest {
    fn seen(&mut self, group: Option<u64>, since_last: Duration) -> Duration {
        let same = group.is_some() && group == self.group;
        self.waited = if same { self.waited.saturating_add(since_last) } else { Duration::ZERO };
        self.group = group;
        self.waited
    }
}

/// Runs as long as the node.
pub(super) async fn watch(service: Arc<Service>, engine: Arc<dyn StoreEngine>, health: Health) {
    let mut oldest = Oldest::default();
    let mut stalled: Option<u64> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let waited = oldest.seen(engine.unanswered(), EVERY);
        service.group_waits(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        let now = service.stalled_ms();
        match (stalled, now) {
            (None, Some(millis)) => {
                service.metrics().store_stall();
                tracing::error!(millis, "the store does not answer a commit group: NOT_SERVING until it does");
                health.set_serving(service.is_serving()).await;
            }
            (Some(millis), None) => {
                tracing::warn!(millis, "the store answers again");
                health.set_serving(service.is_serving()).await;
            }
            _ => {}
        }
        stalled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_stays_the_same_grows_old() {
        let mut oldest = Oldest::default();
        let mut seen = |group| oldest.seen(group, EVERY);
        assert_eq!([seen(Some(1)), seen(Some(1)), seen(Some(1))], [Duration::ZERO, EVERY, 2 * EVERY]);
        assert_eq!([seen(Some(2)), seen(Some(2))], [Duration::ZERO, EVERY], "the next group begins anew");
        assert_eq!([seen(None), seen(None)], [Duration::ZERO; 2], "nothing waits, however long");
        assert_eq!(seen(Some(2)), Duration::ZERO);
    }
}
