//! When a limit runs out if its org goes on as it did lately.
//!
//! ```text
//! pace      what was used in the last hour, or in the last 10 minutes for windows of at most an hour, from the first
//!           whole minute of that time until now; of the backstop, what its running window has counted
//! taken     used + reserved, less what has left a rolling window by then, plus what the pace adds
//! runs out  the first instant at which taken reaches amount - buffer, before the window ends; a rolling window is
//!           followed for its own length, so nothing that the pace adds has left it by then
//! amount    as it is in force, and from the end of an override or of a grant on as it is without that
//! ```
//!
//! No decision depends on it, and nothing of it is stored.

use super::window::{Millis, Window};
use crate::bounds::{HOUR_MS, MINUTE_MS};

/// Usage of some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// In the unit of the meter.
    pub amount: u64,
    /// In so many milliseconds; never 0.
    pub over: Millis,
}

impl Pace {
    /// What a pace is taken over, for limits with this window.
    pub const fn period(window: Window) -> Millis {
        if window.is_short() { 10 * MINUTE_MS } else { HOUR_MS }
    }

    /// Start of the first minute of that time.
    pub const fn since(window: Window, now: Millis) -> Millis {
        now.saturating_sub(Self::period(window)) / MINUTE_MS * MINUTE_MS
    }

    /// What is used in so much time.
    fn adds(self, time: Millis) -> u64 {
        let amount = u128::from(self.amount) * u128::from(time) / u128::from(self.over);
        u64::try_from(amount).unwrap_or(u64::MAX)
    }

    /// How long it takes to use so much; `None` = forever.
    fn takes(self, amount: u64) -> Option<Millis> {
        let product = u128::from(amount) * u128::from(self.over);
        let time = product.checked_add(u128::from(self.amount).checked_sub(1)?)? / u128::from(self.amount);
        u64::try_from(time).ok()
    }
}

/// A limit and what counts against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Used and reserved.
    pub taken: u64,
    /// The amount without its buffer.
    pub usable: u64,
    /// The same without grants that last until they are spent: what leaves the window above it makes no room.
    pub without: u64,
    /// What is added.
    pub pace: Pace,
    /// When the window ends, or as far as a rolling one is followed; [`Millis::MAX`] = it never
    /// ends.
    pub ends_at: Millis,
}

impl Outlook {
    /// First instant after `now` at which nothing is left. `leaving` is what leaves the window, the
    /// first to leave first. `None` = there is something left for as long as the window runs, or
    /// nothing is left now.
    ///
    /// `changes` is what the limit is by itself from when on, in the form of `usable`, the first change first.
    pub fn runs_out_at(
        &self,
        leaving: impl Iterator<Item = (Millis, u64)>,
        changes: impl IntoIterator<Item = (Millis, u64)>,
        now: Millis,
    ) -> Option<Millis> {
        if self.taken >= self.usable {
            return None;
        }
        let mut before = *self;
        let mut leaving = leaving.peekable();
        let mut from = now;
        for (at, usable) in changes.into_iter().filter(|(at, _)| *at < self.ends_at) {
            let until_then = std::iter::from_fn(|| leaving.next_if(|(leaves_at, _)| *leaves_at < at));
            let (found, taken, left) = Self { ends_at: at, ..before }.runs_out_within(until_then, from, now);
            if found.is_some() {
                return found;
            }
            // What is left of grants that last until they are spent is beside it.
            let more = left.saturating_sub(before.without);
            before = Self { taken, usable: usable.saturating_add(more), without: usable, ..before };
            from = at;
        }
        before.runs_out_within(leaving, from, now).0
    }

    /// The same of one amount, from an instant on at which so much of what is taken at `now` is left. Also that as it is at
    /// the end, and what may be used then.
    fn runs_out_within(
        &self,
        leaving: impl Iterator<Item = (Millis, u64)>,
        from: Millis,
        now: Millis,
    ) -> (Option<Millis>, u64, u64) {
        let (mut taken, mut usable, mut from) = (self.taken, self.usable, from);
        for (until, leaves) in leaving.take_while(|(at, _)| *at < self.ends_at).chain([(self.ends_at, 0)]) {
            let takes = self.pace.takes(usable.saturating_sub(taken));
            let at = takes.map(|takes| now.saturating_add(takes).max(from));
            if let Some(at) = at.filter(|at| *at < until) {
                return (Some(at), taken, usable);
            }
            // As it is right before: what is used in the instant itself finds the room that has come.
            let before = until.saturating_sub(now).saturating_sub(1);
            let over = taken.saturating_add(self.pace.adds(before)).saturating_sub(self.without);
            usable = usable.saturating_sub(over.min(leaves));
            taken = taken.saturating_sub(leaves);
            from = from.max(until);
        }
        (None, taken, usable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::window::Calendar;

    proptest! {
        /// R-EXPL-4: every instant, one after the other.
        #[test]
        fn a_limit_runs_out_when_a_naive_simulation_says(
            slices in prop::collection::vec((0..400_u64, 0..40_u64), 0..8),
            reserved in 0..30_u64,
            usable in 0..200_u64,
            amount in 0..60_u64,
            over in 1..90_u64,
            length in 0..400_u64,
        ) {
            const NOW: Millis = 1_000;
            let mut slices: Vec<_> = slices.into_iter().map(|(after, amount)| (NOW + 1 + after, amount)).collect();
            slices.sort_unstable();
            let used: u64 = slices.iter().map(|(_, amount)| amount).sum();
            let taken_at = |at: Millis| {
                let left: u64 = slices.iter().filter(|(leaves, _)| *leaves <= at).map(|(_, amount)| amount).sum();
                used - left + reserved + amount * (at - NOW) / over
            };
            let ends_at = NOW + length;
            let expected = (NOW + 1..ends_at).find(|at| taken_at(*at) >= usable);
            let expected = expected.filter(|_| taken_at(NOW) < usable && amount > 0);
            let outlook =
                Outlook { taken: used + reserved, usable, without: usable, pace: Pace { amount, over }, ends_at };
            prop_assert_eq!(outlook.runs_out_at(slices.iter().copied(), [], NOW), expected);
        }
    }

    #[test]
    fn without_a_pace_nothing_runs_out_and_no_number_overflows() {
        let outlook = |amount, over| Outlook {
            taken: 0,
            usable: 1,
            without: 1,
            pace: Pace { amount, over },
            ends_at: Millis::MAX,
        };
        assert_eq!(outlook(0, HOUR_MS).runs_out_at([].into_iter(), [], 5), None);
        assert_eq!(outlook(1, HOUR_MS).runs_out_at([].into_iter(), [], 5), Some(5 + HOUR_MS));
        let far = Outlook { usable: u64::MAX, ..outlook(1, u64::MAX) };
        assert_eq!(far.runs_out_at([(7, u64::MAX)].into_iter(), [], 5), None);
    }

    #[test]
    fn a_limit_that_changes_by_itself_runs_out_by_what_it_is_then() {
        let pace = Pace { amount: 1, over: 1 };
        let outlook = |taken, usable| Outlook { taken, usable, without: usable, pace, ends_at: 1_000 };
        let runs_out = |taken, usable, leaving: &[(Millis, u64)], changes: &[(Millis, u64)]| {
            outlook(taken, usable).runs_out_at(leaving.iter().copied(), changes.iter().copied(), 100)
        };
        assert_eq!(runs_out(10, 100, &[], &[]), Some(190));
        assert_eq!(runs_out(10, 100, &[], &[(150, 80)]), Some(170));
        assert_eq!(runs_out(10, 100, &[], &[(150, 50)]), Some(150), "with its end nothing is left");
        assert_eq!(runs_out(10, 100, &[], &[(190, 50)]), Some(190));
        assert_eq!(runs_out(10, 100, &[], &[(150, 200)]), Some(290));
        assert_eq!(runs_out(10, 100, &[(120, 5)], &[(150, 80), (160, 200)]), Some(295));
        assert_eq!(runs_out(10, 100, &[], &[(150, u64::MAX)]), None);
        assert_eq!(runs_out(10, 100, &[], &[(1_500, 5)]), Some(190), "in another window");
    }

    #[test]
    fn a_short_window_is_forecast_from_ten_minutes_and_a_long_one_from_an_hour() {
        let now = 20 * HOUR_MS + 59_999;
        for (window, since) in [
            (Window::Rolling { len: HOUR_MS }, 20 * HOUR_MS - 10 * MINUTE_MS),
            (Window::Aligned { len: HOUR_MS }, 20 * HOUR_MS - 10 * MINUTE_MS),
            (Window::Rolling { len: 2 * HOUR_MS }, 19 * HOUR_MS),
            (Window::Calendar(Calendar::Month), 19 * HOUR_MS),
        ] {
            assert_eq!(Pace::since(window, now), since, "{window}");
        }
        assert_eq!(Pace::since(Window::Once, 3), 0);
    }
}
