//! What time it is at the provider.
//!
//! Every answer says so, to the second and as it was before the answer was on its way. Between two
//! answers the time runs on by this machine's monotonic clock, which no correction moves and which stands
//! still while the machine is suspended. So the time here may be behind the provider's and is never
//! ahead of it.

use std::{
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::domain::window::Millis;

/// The last date that was said, and when it arrived.
#[derive(Debug, Default)]
pub(super) struct ProviderClock(Mutex<Option<(Millis, Instant)>>);

impl ProviderClock {
    pub(super) fn learn(&self, date: SystemTime) {
        let Ok(since) = date.duration_since(UNIX_EPOCH) else { return };
        let date = Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
    }

    /// `None` before the first answer.
    pub(super) fn now(&self) -> Option<Millis> {
        let (date, learned) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let elapsed = Millis::try_from(learned.elapsed().as_millis()).unwrap_or(0);
        Some(date.saturating_add(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_unknown_before_the_first_answer_and_runs_on_between_two() {
        let clock = ProviderClock::default();
        assert_eq!(clock.now(), None);
        clock.learn(UNIX_EPOCH + Duration::from_secs(1_000));
        tokio::time::advance(Duration::from_millis(2_500)).await;
        assert_eq!(clock.now(), Some(1_002_500));
        // The last answer counts, also where its server is behind the one before.
        clock.learn(UNIX_EPOCH + Duration::from_secs(1_001));
        assert_eq!(clock.now(), Some(1_001_000));
    }
}
