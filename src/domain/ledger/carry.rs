//! What windows carry on over their limits, told from the slices where a counter does not say it:
//! by whole hours, which count in the window in which they begin.

use super::Ledger;
use crate::{
    bounds::HOUR_MS,
    domain::{
        rate::Counter,
        window::{Millis, Window},
    },
};

impl Ledger {
    /// How much more a window begins with that was carried `counter.carried`, for an amount that
    /// was used at `at` in one before it: what the windows since then did not use has room for it.
    pub fn late_carry(&self, window: Window, counter: Counter, amount: u64, at: Millis) -> u64 {
        let Some(over) = counter.over.map(i128::from) else { return 0 };
        let (late, present) = (window.number(at), window.number(counter.start));
        let windows = self.by_window(window, counter.start);
        let first = windows.first().map_or(late, |(first, _)| late.min(*first));
        // What was carried into the first of them, so that this one begins as it does.
        let before = into_first(&windows, (first, present), over, counter.carried).unwrap_or(0);
        let (room, _) = unused(&windows, (first, present), over, before, late);
        u64::try_from(i128::from(amount) - room).unwrap_or(0)
    }

    /// How much less a window begins with that was carried `counter.carried`, once `amount` of what was used at `at` in
    /// one before it is given back. By what the slices say before that.
    pub fn carry_given_back(&self, window: Window, counter: Counter, amount: u64, at: Millis) -> u64 {
        let Some(over) = counter.over.map(i128::from) else { return 0 };
        let (of, present) = (window.number(at / HOUR_MS * HOUR_MS), window.number(counter.start));
        let mut windows = self.by_window(window, counter.start);
        let Some((first, _)) = windows.first().copied() else { return 0 };
        let range = (first, present);
        let before = into_first(&windows, range, over, counter.carried).unwrap_or(0);
        let (_, with) = unused(&windows, range, over, before, first);
        if let Some((_, used)) = windows.iter_mut().find(|(number, _)| *number == of) {
            *used = (*used - i128::from(amount)).max(0);
        }
        let (_, without) = unused(&windows, range, over, before, first);
        u64::try_from(with - without).unwrap_or(0).min(counter.carried)
    }

    /// What was carried into the window that began at `start`, where its counter has gone on to a
    /// `later` window: what follows from that one; where all of it was worked off in between, what
    /// the windows before it had over.
    pub fn carried_into(&self, window: Window, start: Millis, later: Counter) -> u64 {
        let Some(over) = later.over.map(i128::from) else { return 0 };
        let (at, to) = (window.number(start), window.number(later.start));
        let windows = self.by_window(window, later.start);
        let (before, since) = windows.split_at(windows.partition_point(|(number, _)| *number < at));
        let carried = into_first(since, (at, to), over, later.carried).unwrap_or_else(|| {
            let first = before.first().map_or(at, |(first, _)| *first);
            let (_, carried) = unused(before, (first, at), over, 0, first);
            carried.min(at_most(since, (at, to), over, later.carried))
        });
        u64::try_from(carried).unwrap_or(u64::MAX)
    }

    /// What each window used of which a slice is known, by its number, of those before `end`.
    fn by_window(&self, window: Window, end: Millis) -> Vec<(u64, i128)> {
        let mut windows: Vec<(u64, i128)> = Vec::new();
        for hour in self.hours.iter().filter(|hour| hour.start < end) {
            let number = window.number(hour.start);
            match windows.last_mut().filter(|(last, _)| *last == number) {
                Some((_, used)) => *used += i128::from(hour.total),
                None => windows.push((number, hour.total.into())),
            }
        }
        windows
    }
}

/// What was carried into the window `first` where `present` was carried `carried`; `None` where
/// nothing of it was left on the way.
fn into_first(windows: &[(u64, i128)], range: (u64, u64), over: i128, carried: u64) -> Option<i128> {
    let (_, of_none) = unused(windows, range, over, 0, range.0);
    (of_none < i128::from(carried)).then(|| at_most(windows, range, over, carried))
}

/// The most that can have been carried into the window `first`, so that `present` was carried no
/// more than it was.
fn at_most(windows: &[(u64, i128)], (first, present): (u64, u64), over: i128, carried: u64) -> i128 {
    let used: i128 = windows.iter().map(|(_, used)| *used).sum();
    (i128::from(carried) - used + over * i128::from(present.saturating_sub(first))).max(0)
}

/// What windows from `first` up to `present` leave unused of `over` each, from `since` on, and what
/// the last one carries on, where `carried` came into the first. Windows that are not named used
/// nothing.
fn unused(
    windows: &[(u64, i128)],
    (first, present): (u64, u64),
    over: i128,
    mut carried: i128,
    since: u64,
) -> (i128, i128) {
    let (mut unused, mut next) = (0, first);
    for (number, used) in windows.iter().copied().chain([(present, 0)]) {
        for (from, to) in [(next, number.min(since)), (next.max(since), number)] {
            if from < to {
                let room = over * i128::from(to - from);
                unused += if from >= since { (room - carried).max(0) } else { 0 };
                carried = (carried - room).max(0);
            }
        }
        if number < present {
            let total = carried + used;
            unused += if number >= since { (over - total).max(0) } else { 0 };
            carried = (total - over).max(0);
        }
        next = number + 1;
    }
    (unused, carried)
}
