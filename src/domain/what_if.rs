//! What a limit that is not in force would have denied: the slices that are kept, replayed against it.
//!
//! ```text
//! hour      the finest that is known of the past: what was used in one is one amount, at its beginning
//! admitted  what of it fits beside what was admitted before in the window; it counts from then on
//! denied    the rest, which is what would have been refused; it does not count further
//! ```
//!
//! Nothing is changed by it, and nothing is known of calls that would have come again.

use std::collections::VecDeque;

use super::{
    input::InputError,
    window::{Calendar, Millis, WINDOW_MAX_MS, Window},
};
use crate::bounds::HOUR_MS;

/// A limit to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Its period, a whole number of hours long.
    pub window: Window,
    /// In the unit of the meter.
    pub amount: u64,
}

/// What a limit would have denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Start of the first hour in which something would have been denied.
    pub first: Millis,
    /// End of the last one.
    pub last: Millis,
    /// In how many hours.
    pub hours: u64,
    /// How much in all of them, in the unit of the meter.
    pub amount: u64,
}

impl Trial {
    /// Refuses a window that is no sum of the hours that are kept.
    pub fn parse(field: &str, window: Window, amount: u64) -> Result<Self, InputError> {
        let rule =
            "hourly, daily, weekly, monthly, or rolling, aligned or of the calendar in whole hours, a month at most";
        if is_sum_of_hours(window) { Ok(Self { window, amount }) } else { Err(InputError::new(field, window, rule)) }
    }

    /// Replays hours, the oldest first, each with its start; answers what is denied from `from` on.
    pub fn replay(&self, hours: impl Iterator<Item = (Millis, u64)>, from: Millis) -> Option<Denied> {
        let (mut admitted, mut used) = (VecDeque::new(), 0_u64);
        let mut denied: Option<Denied> = None;
        for (start, amount) in hours {
            let begins = self.window.start(start);
            while let Some((_, gone)) = admitted.pop_front_if(|(at, _)| *at < begins) {
                used = used.saturating_sub(gone);
            }
            let fits = amount.min(self.amount.saturating_sub(used));
            admitted.push_back((start, fits));
            used = used.saturating_add(fits);
            let over = amount - fits;
            if over > 0 && start >= from {
                let known = denied.get_or_insert(Denied { first: start, last: start, hours: 0, amount: 0 });
                known.last = start + HOUR_MS;
                known.hours += 1;
                known.amount = known.amount.saturating_add(over);
            }
        }
        denied
    }
}

/// Of a month at most: what is kept says what counted in it.
fn is_sum_of_hours(window: Window) -> bool {
    if let Window::Rolling { len } | Window::Aligned { len } = window {
        len.is_multiple_of(HOUR_MS) && len <= WINDOW_MAX_MS
    } else if let Window::Calendar(unit) = window {
        unit != Calendar::Year
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::DAY_MS;

    /// 2026-06-01, a Monday.
    const T0: Millis = 1_780_272_000_000;

    fn window() -> impl Strategy<Value = Window> {
        prop::sample::select(vec![
            Window::Rolling { len: HOUR_MS },
            Window::Rolling { len: DAY_MS },
            Window::Rolling { len: 30 * DAY_MS },
            Window::Aligned { len: 6 * HOUR_MS },
            Window::Calendar(Calendar::Day),
            Window::Calendar(Calendar::Week),
            Window::Calendar(Calendar::Month),
        ])
    }

    /// Hours of the window that `at` is in, by what the requirements say of it (R-BUD-4).
    fn is_in(window: Window, hour: Millis, at: Millis) -> bool {
        match window {
            Window::Rolling { len } => hour + len >= at && hour <= at,
            Window::Aligned { len } => hour / len == at / len,
            Window::Calendar(Calendar::Day) => hour / DAY_MS == at / DAY_MS,
            // 1970-01-01 was a Thursday.
            Window::Calendar(Calendar::Week) => (hour / DAY_MS + 3) / 7 == (at / DAY_MS + 3) / 7,
            // June, and July from its first day on.
            _ => (hour >= T0 + 30 * DAY_MS) == (at >= T0 + 30 * DAY_MS),
        }
    }

    proptest! {
        #[test]
        fn what_would_have_been_denied_is_what_a_naive_replay_denies(
            gaps in prop::collection::vec((0..60_u64, 0..50_u64), 1..120),
            amount in 0..200_u64,
            window in window(),
            from in 0..35 * 24_u64,
        ) {
            let (mut hours, mut at) = (Vec::new(), T0);
            for (gap, used) in gaps {
                at += HOUR_MS * (1 + gap % 12);
                if at < T0 + 60 * DAY_MS {
                    hours.push((at, used));
                }
            }
            let from = T0 + from * HOUR_MS;
            let mut admitted: Vec<(Millis, u64)> = Vec::new();
            let mut over: Vec<(Millis, u64)> = Vec::new();
            for (at, used) in &hours {
                let before: u64 = admitted.iter().filter(|(hour, _)| is_in(window, *hour, *at)).map(|(_, used)| used).sum();
                let fits = (*used).min(amount.saturating_sub(before));
                admitted.push((*at, fits));
                if fits < *used && *at >= from {
                    over.push((*at, used - fits));
                }
            }
            let expected = over.first().map(|(first, _)| Denied {
                first: *first,
                last: over[over.len() - 1].0 + HOUR_MS,
                hours: over.len() as u64,
                amount: over.iter().map(|(_, over)| over).sum(),
            });
            let trial = Trial::parse("limit", window, amount).unwrap();
            prop_assert_eq!(trial.replay(hours.into_iter(), from), expected, "R-EXPL-4: {}", window);
        }
    }

    #[test]
    fn a_window_that_hours_do_not_add_up_to_is_refused() {
        for window in ["anchored/1d", "rolling/1m", "aligned/90m", "calendar/year", "calendar/day@Asia/Kolkata"] {
            let window = Window::parse(window).unwrap();
            assert!(Trial::parse("limit", window, 1).is_err(), "{window}");
        }
    }
}
