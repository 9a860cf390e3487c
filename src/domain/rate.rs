//! The rate backstop: one `{window_id, count}` record per org, and the counter of any other
//! window that keeps one.

use std::sync::{Arc, LazyLock};

use super::{
    ids::Meter,
    limit::{Label, Origin},
    policy::RateLimit,
    window::{Millis, Window},
};
use crate::bounds::HOUR_MS;

/// What the backstop is called in answers; those of clock hours share one.
pub fn backstop_label(len: Millis, origin: Origin) -> Arc<Label> {
    static CLOCK_HOUR: LazyLock<Arc<Label>> = LazyLock::new(|| of_length(HOUR_MS));
    let mut label = if len == HOUR_MS { CLOCK_HOUR.clone() } else { of_length(len) };
    if label.origin != origin {
        Arc::make_mut(&mut label).origin = origin;
    }
    label
}

fn of_length(len: Millis) -> Arc<Label> {
    Label::new("rate", Meter::calls(), Window::Aligned { len })
}

/// Calls of one org in one aligned window. Only `count` decides; `blocked` shows how far over an
/// org runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateRecord {
    /// floor(now / len).
    pub window_id: u64,
    /// Length of the window in milliseconds.
    pub len: Millis,
    /// Admitted calls.
    pub count: u64,
    /// Calls denied by this or a later gate; saturating.
    pub blocked: u64,
}

impl RateRecord {
    /// The record as it stands at `now`: itself, or an empty one where its window has passed. A
    /// record from the future (the clock was repaired) counts in the present window. Where an
    /// operator changed the length in mid-window, the count is carried over, so that no change of
    /// configuration reopens a spent window.
    #[must_use]
    pub fn at(record: Option<Self>, limit: &RateLimit, now: Millis) -> Self {
        let fresh = Self { window_id: now / limit.len, len: limit.len, ..Self::default() };
        match record {
            Some(old) if old.window_id >= now / old.len => Self { count: old.count, blocked: old.blocked, ..fresh },
            _ => fresh,
        }
    }

    /// First instant after the window.
    pub fn window_end(self) -> Millis {
        self.window_id.saturating_add(1).saturating_mul(self.len)
    }

    /// When the record is removed if no further call comes.
    pub fn purge_at(self, idle_windows: u64) -> Millis {
        self.window_end().saturating_add(idle_windows.saturating_mul(self.len))
    }
}

/// The counter of one (scope, meter) in a window that is no sum of slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// When the window began.
    pub start: Millis,
    /// In the unit of the meter, since then.
    pub used: u64,
    /// What the window before had over its limit: it counts as used.
    pub carried: u64,
    /// Above this the total goes on into the next window; `None` = nothing does.
    pub over: Option<u64>,
}

impl Counter {
    /// Whether its window has not ended.
    pub fn runs(self, window: Window, now: Millis) -> bool {
        window.end(self.start).is_none_or(|end| now < end)
    }

    /// When the window that runs at `now` ends, as this counter has it.
    pub fn ends_at(self, window: Window, now: Millis) -> Option<Millis> {
        window.end(if window.begins_with_use() { self.start } else { window.start(now) })
    }

    /// The counter of a window that begins with its use, with what was used at `at`; `None` = that lies before the
    /// window. One that begins with it has also what was used `since`, before there was a limit for it.
    pub fn used_at(
        record: Option<Self>,
        window: Window,
        amount: u64,
        at: Millis,
        since: impl FnOnce() -> u64,
    ) -> Option<Self> {
        match record {
            Some(record) if at < record.start => None,
            Some(record) if record.runs(window, at) => {
                Some(Self { used: record.used.saturating_add(amount), ..record })
            }
            _ => Some(Self { start: at, used: amount.saturating_add(since()), ..Self::default() }),
        }
    }

    /// What is left of the total after so many windows in which nothing more was used.
    fn carried_on(self, windows: u64) -> u64 {
        let Some(over) = self.over else { return 0 };
        let total = u128::from(self.used) + u128::from(self.carried);
        let left = total.saturating_sub(u128::from(over) * u128::from(windows));
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// The counter as it stands at `now`. Without a record it begins with `seed(start)`, what the
    /// ledger knows of the window, so that a limit added in mid-window sees what came before it.
    #[must_use]
    pub fn at(record: Option<Self>, window: Window, now: Millis, seed: impl FnOnce(Millis) -> u64) -> Self {
        let start = window.start(now);
        let Some(old) = record else { return Self { start, used: seed(start), ..Self::default() } };
        if old.runs(window, now) {
            return Self { start: old.start.min(start), ..old };
        }
        let windows = window.number(start).saturating_sub(window.number(old.start)).max(1);
        Self { start, used: 0, carried: old.carried_on(windows), over: old.over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 495_000 * HOUR_MS + 17;
    const ALIGNED: Window = Window::Aligned { len: HOUR_MS };

    fn limit(len: Millis) -> RateLimit {
        RateLimit { len, ..RateLimit::default() }
    }

    #[test]
    fn a_call_in_another_window_starts_afresh() {
        let record = RateRecord { window_id: 495_000, len: HOUR_MS, count: 7, blocked: 3 };
        assert_eq!(RateRecord::at(Some(record), &limit(HOUR_MS), NOW), record);
        let next = RateRecord::at(Some(record), &limit(HOUR_MS), NOW + HOUR_MS);
        assert_eq!((next.window_id, next.count, next.blocked), (495_001, 0, 0));
        assert_eq!(record.purge_at(2), 495_003 * HOUR_MS, "R-RATE-2: two whole windows later");
    }

    #[test]
    fn a_changed_length_does_not_reopen_a_spent_window() {
        let record = RateRecord { window_id: 495_000, len: HOUR_MS, count: 7, blocked: 0 };
        let shorter = RateRecord::at(Some(record), &limit(HOUR_MS / 2), NOW);
        assert_eq!((shorter.count, shorter.len), (7, HOUR_MS / 2));
        let longer = RateRecord::at(Some(record), &limit(2 * HOUR_MS), NOW);
        assert_eq!((longer.count, longer.window_id), (7, 247_500));
    }

    #[test]
    fn a_record_from_the_future_counts_now_and_ends_with_the_window() {
        let record = RateRecord { window_id: 900_000, len: HOUR_MS, count: 7, blocked: 0 };
        let repaired = RateRecord::at(Some(record), &limit(HOUR_MS), NOW);
        assert_eq!((repaired.window_id, repaired.count), (495_000, 7));
        assert_eq!(RateRecord::at(Some(repaired), &limit(HOUR_MS), NOW + HOUR_MS).count, 0);
    }

    #[test]
    fn an_anchored_window_starts_at_first_use_and_ends_one_length_later() {
        let window = Window::Anchored { len: HOUR_MS };
        let counter = Counter { start: NOW, used: 4, ..Counter::default() };
        assert_eq!(Counter::at(Some(counter), window, NOW + HOUR_MS - 1, |_| 0), counter);
        let next = Counter { start: NOW + HOUR_MS, used: 0, ..counter };
        assert_eq!(Counter::at(Some(counter), window, NOW + HOUR_MS, |_| 9), next);
    }

    #[test]
    fn what_is_over_goes_on_until_every_window_has_had_its_part_of_it() {
        let start = ALIGNED.start(NOW);
        let carries = Counter { start, used: 350, carried: 150, over: Some(100) };
        let carried = |hours: u64| Counter::at(Some(carries), ALIGNED, NOW + hours * HOUR_MS, |_| 0).carried;
        assert_eq!([0, 1, 2, 4, 5, 1_000_000].map(carried), [150, 400, 300, 100, 0, 0]);
        let forgets = Counter { over: None, ..carries };
        assert_eq!(Counter::at(Some(forgets), ALIGNED, NOW + HOUR_MS, |_| 0).carried, 0);
        let blocked = Counter { over: Some(0), used: u64::MAX, ..carries };
        assert_eq!(Counter::at(Some(blocked), ALIGNED, NOW + HOUR_MS, |_| 0).carried, u64::MAX, "it saturates");
    }

    #[test]
    fn a_new_counter_begins_with_what_the_ledger_knows() {
        assert_eq!(Counter::at(None, ALIGNED, NOW, |start| start % HOUR_MS + 6).used, 6);
    }
}
