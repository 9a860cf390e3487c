//! The ledger of one (scope, meter): sparse hour slices, the younger of them with minute detail.
//!
//! Every number a rolling or calendar limit shows or enforces is a sum over these slices. Sums are
//! kept beside them so that a decision costs no walk; [`Ledger::derive`] is the walk itself, used
//! when a window moves on and by audits.

mod carry;

use std::collections::{BTreeSet, VecDeque};

use super::{
    rate::Counter,
    window::{HOUR_RETENTION_MS, Millis, Span, Window},
};
use crate::bounds::{DAY_MS, HOUR_MS, MINUTE_MS, MINUTE_RETENTION_MS};

/// One hour of usage. Sums of amounts saturate: a full counter denies, it never wraps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HourSlice {
    /// Start of the hour.
    pub start: Millis,
    /// What was used in the hour, in the unit of the meter.
    pub total: u64,
    /// (minute of the hour, amount), ascending; empty once rolled up.
    pub minutes: Vec<(u8, u64)>,
    /// Of the first slice: the ledger was opened [late](Ledger::late).
    pub late: bool,
}

impl HourSlice {
    /// What comes from before the youngest minute counts in that one.
    fn add(&mut self, now: Millis, amount: u64) {
        self.total = self.total.saturating_add(amount);
        let minute = u8::try_from(now.saturating_sub(self.start) / MINUTE_MS).unwrap_or(u8::MAX);
        match self.minutes.last_mut() {
            Some((last, sum)) if *last >= minute => *sum = sum.saturating_add(amount),
            _ => self.minutes.push((minute, amount)),
        }
    }

    /// Adds to a minute wherever it lies among the others.
    pub(super) fn add_minute(&mut self, minute: u8, amount: u64) {
        if amount == 0 {
            return;
        }
        match self.minutes.binary_search_by_key(&minute, |(of, _)| *of) {
            Ok(at) => self.minutes[at].1 = self.minutes[at].1.saturating_add(amount),
            Err(at) => self.minutes.insert(at, (minute, amount)),
        }
    }

    fn take_back(&mut self, at: Millis, amount: u64) -> Vec<Taken> {
        let amount = amount.min(self.total);
        self.total -= amount;
        if self.minutes.is_empty() {
            return vec![Taken { start: self.start, len: HOUR_MS, amount }];
        }
        let minute = u8::try_from(at.saturating_sub(self.start) / MINUTE_MS).unwrap_or(u8::MAX);
        let behind = self.minutes.partition_point(|(of, _)| *of <= minute);
        let (mut left, mut taken) = (amount, Vec::new());
        for place in (0..behind).rev().chain(behind..self.minutes.len()) {
            let (of, sum) = &mut self.minutes[place];
            let amount = left.min(*sum);
            (left, *sum) = (left - amount, *sum - amount);
            if amount > 0 {
                taken.push(Taken { start: self.start + u64::from(*of) * MINUTE_MS, len: MINUTE_MS, amount });
            }
        }
        self.minutes.retain(|(_, sum)| *sum > 0);
        taken
    }

    /// What the minutes add up to; the total, once they are rolled up.
    pub fn of_minutes(&self) -> u64 {
        if self.minutes.is_empty() { self.total } else { self.minutes_from(0) }
    }

    fn minutes_from(&self, from: Millis) -> u64 {
        let counts = |minute: u8| self.start + u64::from(minute) * MINUTE_MS >= from;
        self.minutes
            .iter()
            .filter(|(minute, _)| counts(*minute))
            .fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }
}

/// What was taken out of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Start of the slice.
    pub start: Millis,
    /// Its length: a minute, or an hour.
    pub len: Millis,
    /// In the unit of the meter.
    pub amount: u64,
}

/// When the slices of the day that `start` is in are purged.
pub fn dies_at(start: Millis) -> Millis {
    start / DAY_MS * DAY_MS + DAY_MS + HOUR_RETENTION_MS
}

/// A window's sum, valid while the window still starts where it did.
#[derive(Debug, Clone)]
struct Sum {
    window: Window,
    span: Span,
    total: u64,
}

/// Usage of one scope and meter, and what its reservations hold.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Ascending by start.
    hours: VecDeque<HourSlice>,
    /// Amounts held by reservations.
    pub reserved: u64,
    /// It was opened while scopes shared a ledger in which its own scope may have used something before. The
    /// first slice says so on disk.
    pub late: bool,
    sums: Vec<Sum>,
    /// Hours whose stored row is out of date.
    dirty: BTreeSet<Millis>,
}

impl Ledger {
    /// A ledger as stored.
    pub fn load(mut slices: Vec<HourSlice>) -> Self {
        slices.sort_by_key(|slice| slice.start);
        let late = slices.iter().any(|slice| slice.late);
        Self { hours: slices.into(), late, ..Self::default() }
    }

    /// Books `amount` in the slices of `now`. `now` never goes backwards.
    pub fn add(&mut self, now: Millis, amount: u64) {
        let start = now / HOUR_MS * HOUR_MS;
        if self.hours.back().is_none_or(|hour| hour.start < start) {
            let late = self.late && self.hours.is_empty();
            self.hours.push_back(HourSlice { start, late, ..HourSlice::default() });
        }
        if let Some(hour) = self.hours.back_mut() {
            hour.add(now, amount);
            self.dirty.insert(hour.start);
        }
        for sum in &mut self.sums {
            sum.total = sum.total.saturating_add(amount);
        }
    }

    /// Books `amount` in the slices of `at`, wherever they lie among the others: an hour that was rolled up has no
    /// minutes.
    pub fn backdate(&mut self, at: Millis, amount: u64, now: Millis) {
        let start = at / HOUR_MS * HOUR_MS;
        let place = self.hours.partition_point(|hour| hour.start < start);
        if self.hours.get(place).is_none_or(|hour| hour.start != start) {
            let late = self.late && place == 0;
            self.hours.insert(place, HourSlice { start, late, ..HourSlice::default() });
        }
        if let Some(hour) = self.hours.get_mut(place) {
            let is_young = hour.total == 0 && start + HOUR_MS + MINUTE_RETENTION_MS > now;
            hour.total = hour.total.saturating_add(amount);
            if is_young || !hour.minutes.is_empty() {
                let minute = u8::try_from(at.saturating_sub(start) / MINUTE_MS).unwrap_or(u8::MAX);
                hour.add_minute(minute, amount);
            }
        }
        self.dirty.insert(start);
        self.sums.clear();
    }

    /// Takes up to `amount` out of the hour of `at`: out of the minute of `at` first, then of those before it, then of
    /// those behind it. Answers what was taken, by slice.
    pub fn take_back(&mut self, at: Millis, amount: u64) -> Vec<Taken> {
        let start = at / HOUR_MS * HOUR_MS;
        let found = self.hours.binary_search_by_key(&start, |hour| hour.start);
        let Some(hour) = found.ok().and_then(|place| self.hours.get_mut(place)) else { return Vec::new() };
        self.dirty.insert(start);
        self.sums.clear();
        hour.take_back(at, amount)
    }

    /// What counts in `window` at `now`, and when the window ends.
    pub fn used(&mut self, window: Window, now: Millis) -> (u64, Option<Millis>) {
        let kept = self.sums.iter().position(|sum| sum.window == window);
        if let Some(sum) = kept.and_then(|at| self.sums.get(at)).filter(|sum| sum.span.is_at(now)) {
            return (sum.total, sum.span.ends_at);
        }
        let span = window.span(now);
        let total = self.derive(window.slice(), span.start);
        let sum = Sum { window, span, total };
        match kept.and_then(|at| self.sums.get_mut(at)) {
            Some(stale) => *stale = sum,
            None => self.sums.push(sum),
        }
        (total, span.ends_at)
    }

    /// The counter of `window` as it stands at `now`. A new one begins with what is known here of its window;
    /// what was used before one that begins with its use does not count.
    pub fn counted(&self, record: Option<Counter>, window: Window, now: Millis) -> Counter {
        let seed = |start| if window.begins_with_use() { 0 } else { self.used_since(start, now) };
        Counter::at(record, window, now, seed)
    }

    /// The same number, summed afresh over slices of length `slice` that start at or after `from`.
    pub fn derive(&self, slice: Millis, from: Millis) -> u64 {
        let hours = self.hours.iter().rev().take_while(|hour| hour.start + HOUR_MS > from);
        let counted = hours.map(|hour| match slice {
            MINUTE_MS => hour.minutes_from(from),
            _ if hour.start >= from => hour.total,
            _ => 0,
        });
        counted.fold(0, u64::saturating_add)
    }

    /// Everything since `start`, whole slices, finest that are kept: never less than what was
    /// really used since then.
    pub fn used_since(&self, start: Millis, now: Millis) -> u64 {
        if now.saturating_sub(start) <= HOUR_MS {
            self.derive(MINUTE_MS, start / MINUTE_MS * MINUTE_MS)
        } else {
            self.derive(HOUR_MS, start / HOUR_MS * HOUR_MS)
        }
    }

    /// A counter that begins with the window that `since` lies in: where that has ended by `now`, with what whole
    /// hours say of it.
    pub fn begun(&self, window: Window, since: Millis, now: Millis) -> Counter {
        let start = window.start(since);
        match window.end(start).filter(|end| *end <= now) {
            Some(end) => {
                let used = self.derive(HOUR_MS, start).saturating_sub(self.derive(HOUR_MS, end));
                Counter { start, used, ..Counter::default() }
            }
            None => self.counted(None, window, now),
        }
    }

    /// When the slices that count in a rolling `window` at `now` leave it, the first to leave first.
    pub fn leaving(&self, window: Window, now: Millis) -> impl Iterator<Item = (Millis, u64)> + '_ {
        let slices = self.slices(window.slice(), window.start(now));
        slices.filter_map(move |(start, amount)| Some((window.slice_leaves_at(start)?, amount)))
    }

    /// Slices of one length from `from` on, oldest first.
    fn slices(&self, slice: Millis, from: Millis) -> impl Iterator<Item = (Millis, u64)> + '_ {
        let of_hour = move |hour: &HourSlice| -> Vec<(Millis, u64)> {
            if slice == HOUR_MS {
                return vec![(hour.start, hour.total)];
            }
            hour.minutes.iter().map(|(minute, amount)| (hour.start + u64::from(*minute) * MINUTE_MS, *amount)).collect()
        };
        self.hours.iter().flat_map(of_hour).filter(move |(start, _)| *start >= from)
    }

    /// Everything that is kept, each amount with the start of its minute, or of its hour once that is rolled up.
    pub fn finest(&self) -> impl Iterator<Item = (Millis, u64)> + '_ {
        self.hours.iter().flat_map(|hour| {
            let whole = hour.minutes.is_empty().then_some((hour.start, hour.total));
            let minute = |(minute, amount): &(u8, u64)| (hour.start + u64::from(*minute) * MINUTE_MS, *amount);
            whole.into_iter().chain(hour.minutes.iter().map(minute))
        })
    }

    /// The sums that would be used at `now`: of which window, as kept, and as the slices add up. Others are
    /// summed afresh before they are used.
    pub fn sums(&self, now: Millis) -> impl Iterator<Item = (Window, u64, u64)> + '_ {
        let current = self.sums.iter().filter(move |sum| sum.span.is_at(now));
        current.map(|sum| (sum.window, sum.total, self.derive(sum.window.slice(), sum.span.start)))
    }

    /// Whole slices since `start`: what was used since then, or less.
    pub fn at_least_since(&self, start: Millis) -> u64 {
        let whole = |hour: &HourSlice| if hour.start >= start { hour.total } else { hour.minutes_from(start) };
        self.hours.iter().map(whole).fold(0, u64::saturating_add)
    }

    /// What the counter of a window has at least: what these slices have since it began. What was used in the very
    /// instant in which a window began may have come before it, where it begins with its use.
    pub fn at_least_in(&self, window: Window, counter: Counter) -> u64 {
        self.at_least_since(counter.start.saturating_add(u64::from(window.begins_with_use())))
    }

    /// Every hour that `start` or what follows it lies in: what was used since then, or more.
    pub fn at_most_since(&self, start: Millis) -> u64 {
        self.derive(HOUR_MS, start / HOUR_MS * HOUR_MS)
    }

    /// What a counter has at most: what every hour has that its window touches. The ledger has forgotten what was used
    /// before its retention.
    pub fn at_most_in(&self, counter: Counter, now: Millis) -> u64 {
        let is_kept = now.saturating_sub(counter.start) < HOUR_RETENTION_MS;
        if is_kept { self.at_most_since(counter.start) } else { u64::MAX }
    }

    /// Drops minute detail past its retention; the rows change when they are next written.
    pub fn roll_up(&mut self, now: Millis) {
        for hour in &mut self.hours {
            if hour.start + HOUR_MS + MINUTE_RETENTION_MS <= now && !hour.minutes.is_empty() {
                hour.minutes = Vec::new();
                self.dirty.insert(hour.start);
            }
        }
    }

    /// Removes slices past the retention: those of a day at once, so that a day has all of its slices or none. Answers
    /// the days with what was used on each.
    pub fn purge(&mut self, now: Millis) -> Vec<(Millis, u64)> {
        let mut days: Vec<(Millis, u64)> = Vec::new();
        while let Some(hour) = self.hours.pop_front_if(|hour| dies_at(hour.start) <= now) {
            self.dirty.insert(hour.start);
            let day = hour.start / DAY_MS * DAY_MS;
            match days.last_mut() {
                Some((last, amount)) if *last == day => *amount = amount.saturating_add(hour.total),
                _ => days.push((day, hour.total)),
            }
        }
        if let Some(first) = self.hours.front_mut().filter(|first| self.late && !first.late) {
            first.late = true;
            self.dirty.insert(first.start);
        }
        days.retain(|(_, amount)| *amount > 0);
        days
    }

    /// What was used on each day of which there are slices, from `from` to before `to`, the oldest first.
    pub fn days(&self, from: Millis, to: Millis) -> impl Iterator<Item = (Millis, u64)> + '_ {
        let within =
            self.hours.iter().skip_while(move |hour| hour.start < from).take_while(move |hour| hour.start < to);
        let mut within = within.peekable();
        std::iter::from_fn(move || {
            let first = within.next()?;
            let (day, mut amount) = (first.start / DAY_MS * DAY_MS, first.total);
            while let Some(hour) = within.next_if(|hour| hour.start / DAY_MS * DAY_MS == day) {
                amount = amount.saturating_add(hour.total);
            }
            Some((day, amount))
        })
        .filter(|(_, amount)| *amount > 0)
    }

    /// When the next slice can be purged or rolled up.
    pub fn next_purge(&self) -> Option<Millis> {
        let roll = self.hours.iter().find(|hour| !hour.minutes.is_empty());
        let roll = roll.map(|hour| hour.start + HOUR_MS + MINUTE_RETENTION_MS);
        self.hours.front().map(|hour| dies_at(hour.start)).into_iter().chain(roll).min()
    }

    /// Slices changed since the last call: the hour's start, and the slice unless it is gone.
    pub fn take_dirty(&mut self) -> Vec<(Millis, Option<HourSlice>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|start| (start, self.hour(start).cloned())).collect()
    }

    /// The slice that begins at `start`; `None` = nothing was used then, or it is forgotten.
    pub fn hour(&self, start: Millis) -> Option<&HourSlice> {
        let at = self.hours.binary_search_by_key(&start, |hour| hour.start).ok()?;
        self.hours.get(at)
    }

    /// Every slice that is kept, the oldest first.
    pub fn hours(&self) -> impl Iterator<Item = &HourSlice> {
        self.hours.iter()
    }

    /// The end of the first slice that is kept: what was used before it was not counted here, or is forgotten.
    /// `None` = nothing was used yet.
    pub fn opened_by(&self) -> Option<Millis> {
        let first = self.hours.front()?;
        let minute = first.minutes.first().map(|(minute, _)| (u64::from(*minute) + 1) * MINUTE_MS);
        Some(first.start + minute.unwrap_or(HOUR_MS))
    }

    /// Something is booked or held.
    pub fn is_used(&self) -> bool {
        !self.hours.is_empty() || self.reserved > 0
    }

    /// Nothing booked and nothing held, also not on disk.
    pub fn is_empty(&self) -> bool {
        !self.is_used() && self.dirty.is_empty()
    }
}

#[cfg(test)]
impl Ledger {
    /// The oldest hour goes, and the sums are not told.
    pub fn lose_an_hour(&mut self) {
        self.hours.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURLY: Window = Window::Rolling { len: HOUR_MS };
    const DAILY: Window = Window::Rolling { len: DAY_MS };
    const T0: Millis = 495_000 * HOUR_MS + 90_000;

    #[test]
    fn sums_follow_the_window_and_equal_the_walk() {
        let mut ledger = Ledger::default();
        ledger.add(T0, 5);
        ledger.add(T0 + 30 * MINUTE_MS, 7);
        assert_eq!(ledger.used(HOURLY, T0 + 30 * MINUTE_MS).0, 12);
        let later = T0 + 62 * MINUTE_MS;
        assert_eq!(ledger.used(HOURLY, later).0, 7);
        assert_eq!(ledger.used(DAILY, later).0, 12);
        assert_eq!(ledger.derive(HOURLY.slice(), HOURLY.start(later)), 7);
    }

    #[test]
    fn every_slice_leaves_at_the_first_instant_at_which_it_does_not_count() {
        let mut ledger = Ledger::default();
        ledger.add(T0, 5);
        ledger.add(T0 + 30 * MINUTE_MS, 7);
        let leaving: Vec<_> = ledger.leaving(HOURLY, T0 + 31 * MINUTE_MS).collect();
        assert_eq!(leaving.iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [5, 7]);
        let mut left = 12;
        for (at, amount) in leaving {
            assert_eq!(ledger.used(HOURLY, at - 1).0, left);
            left -= amount;
            assert_eq!(ledger.used(HOURLY, at).0, left);
        }
    }

    #[test]
    fn roll_up_keeps_totals_and_purge_keeps_every_live_slice() {
        let mut ledger = Ledger::default();
        ledger.add(T0, 5);
        ledger.take_dirty();
        let later = T0 + 4 * HOUR_MS;
        ledger.roll_up(later);
        assert_eq!(ledger.take_dirty().len(), 1);
        assert_eq!(ledger.used(DAILY, later).0, 5);
        let (day, day_ends) = (T0 / DAY_MS * DAY_MS, T0.next_multiple_of(DAY_MS));
        assert_eq!(ledger.days(0, Millis::MAX).collect::<Vec<_>>(), [(day, 5)]);
        assert_eq!(ledger.purge(day_ends + HOUR_RETENTION_MS - 1), []);
        assert_eq!(ledger.hours().count(), 1, "R-BUD-8");
        assert_eq!(ledger.purge(day_ends + HOUR_RETENTION_MS), [(day, 5)]);
        assert_eq!(ledger.take_dirty(), vec![(T0 / HOUR_MS * HOUR_MS, None)]);
        assert!(ledger.is_empty());
    }
}
