//! Usage of one scope: for each meter its ledger, and the counters beside it.
//!
//! The limits of the scope are bound to the page once per change of the policy. From then on each of them
//! has a [`Place`]: the numbers of its ledger and of its counter, so that nothing is looked up by name.

mod refund;

use super::COUNTER_SLACK_MS;
use crate::domain::{
    ids::{Meter, Scope},
    ledger::Ledger,
    limit::{Limit, Limits},
    rate::Counter,
    rows::{CounterRow, Row, RowKey, SliceRow},
    spending::Spending,
    window::{Millis, Window},
};

/// What counts against a limit, and when its running window ends; a rolling one does not. Of what is used, `carried`
/// is from the windows before; `spending` is how grants on top of it stand that last until they are spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::domain) struct Standing {
    pub(in crate::domain) used: u64,
    pub(in crate::domain) carried: u64,
    pub(in crate::domain) reserved: u64,
    pub(in crate::domain) ends_at: Option<Millis>,
    pub(in crate::domain) spending: Spending,
}

impl Standing {
    /// Of a limit against which nothing counts yet.
    pub(in crate::domain) fn unused(window: Window, now: Millis) -> Self {
        Self { ends_at: window.end(window.start(now)), ..Self::default() }
    }
}

#[derive(Debug)]
pub(in crate::domain) struct Page {
    pub(super) scope: Scope,
    /// In the order of their meters.
    tallies: Vec<Tally>,
    limits: Limits,
    /// One for each of the limits.
    places: Vec<Place>,
}

/// Where a limit finds what it is judged over.
#[derive(Debug, Clone, Copy)]
struct Place {
    tally: usize,
    /// `None` where it is a sum of the ledger.
    counter: Option<usize>,
}

/// Usage of one meter.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) meter: Meter,
    pub(super) ledger: Ledger,
    counters: Vec<Counted>,
    /// A limit is bound to it.
    limited: bool,
}

/// The counter of one window.
#[derive(Debug)]
struct Counted {
    window: Window,
    record: Option<Counter>,
    /// A limit is bound to it. The limit of another was taken away, and may come back while the window runs.
    limited: bool,
    /// Of that limit: above this, usage goes on into the next window.
    over: Option<u64>,
    /// Not as it is stored.
    changed: bool,
}

impl Counted {
    fn new(window: Window, record: Option<Counter>, changed: bool) -> Self {
        Self { window, record, limited: false, over: None, changed }
    }
}

impl Page {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, tallies: Vec::new(), limits: Limits::default(), places: Vec::new() }
    }

    pub(super) fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    pub(super) fn tallies_mut(&mut self) -> &mut [Tally] {
        &mut self.tallies
    }

    pub(super) fn ledger_count(&self) -> usize {
        self.tallies.iter().filter(|tally| tally.ledger.is_used()).count()
    }

    /// Where the tally of a meter is; `Err`: where it would be.
    fn position(&self, meter: &Meter) -> Result<usize, usize> {
        self.tallies.binary_search_by(|tally| tally.meter.cmp(meter))
    }

    pub(super) fn tally(&self, meter: &Meter) -> Option<&Tally> {
        self.tallies.get(self.position(meter).ok()?)
    }

    pub(super) fn known_tally_mut(&mut self, meter: &Meter) -> Option<&mut Tally> {
        let at = self.position(meter).ok()?;
        self.tallies.get_mut(at)
    }

    /// The tally of a meter, made where there is none.
    pub(super) fn tally_mut(&mut self, meter: &Meter) -> &mut Tally {
        let known = self.position(meter);
        if let Err(at) = known {
            self.tallies.insert(at, Tally::new(meter.clone()));
            self.place_limits();
        }
        let (Ok(at) | Err(at)) = known;
        &mut self.tallies[at]
    }

    /// Binds the limits that are in force for the scope.
    pub(super) fn bind(&mut self, limits: &Limits) -> &mut Self {
        if !limits.is_same(&self.limits) {
            self.limits = limits.clone();
            self.place_limits();
        }
        self
    }

    /// Gives every limit its place: after a change of the limits, and of what they are judged over.
    fn place_limits(&mut self) {
        for tally in &mut self.tallies {
            tally.limited = false;
            tally.counters.iter_mut().for_each(|counted| (counted.limited, counted.over) = (false, None));
        }
        let limits = self.limits.clone();
        for limit in limits.iter() {
            if let Err(at) = self.position(limit.meter()) {
                self.tallies.insert(at, Tally::new(limit.meter().clone()));
            }
        }
        self.places.clear();
        // Every meter is there now, so no place moves any more.
        for limit in limits.iter() {
            let (Ok(tally) | Err(tally)) = self.position(limit.meter());
            let counter = self.tallies[tally].limit_by(limit);
            self.places.push(Place { tally, counter });
        }
    }

    /// What counts against the limit with this number among those that are bound.
    pub(in crate::domain) fn standing(&mut self, limit: usize, now: Millis) -> Standing {
        let (Some(place), Some(limit)) = (self.places.get(limit), self.limits.get(limit)) else {
            return Standing::default();
        };
        let tally = &mut self.tallies[place.tally];
        let record = place.counter.and_then(|counter| tally.counters[counter].record);
        tally.standing_over(record, limit, now)
    }

    /// Everything changed since the last call. What holds nothing any more and no limit needs goes.
    pub(super) fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        let mut is_tidy = true;
        for tally in &mut self.tallies {
            is_tidy &= tally.take_changes(&self.scope, puts, dels);
        }
        if !is_tidy {
            self.tallies.retain(|tally| tally.limited || !tally.is_empty());
            self.place_limits();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tallies.iter().all(Tally::is_empty)
    }
}

impl Tally {
    fn new(meter: Meter) -> Self {
        Self { meter, ledger: Ledger::default(), counters: Vec::new(), limited: false }
    }

    /// A counter as stored.
    pub(super) fn load_counter(&mut self, window: Window, stored: Counter) {
        self.counters.push(Counted::new(window, Some(stored), false));
    }

    /// Marks what a limit is judged by, and answers the number of its counter.
    fn limit_by(&mut self, limit: &Limit) -> Option<usize> {
        self.limited = true;
        if !limit.is_counted() {
            return None;
        }
        let window = limit.window();
        let known = self.counters.iter().position(|counted| counted.window == window);
        let at = known.unwrap_or_else(|| {
            self.counters.push(Counted::new(window, None, false));
            self.counters.len() - 1
        });
        let counted = &mut self.counters[at];
        (counted.limited, counted.over) = (true, counted.over.or(limit.over()));
        Some(at)
    }

    /// What counts against any limit, whether it is bound or not.
    pub(super) fn standing(&mut self, limit: &Limit, now: Millis) -> Standing {
        self.standing_over(self.record(limit.window()), limit, now)
    }

    fn standing_over(&mut self, record: Option<Counter>, limit: &Limit, now: Millis) -> Standing {
        let (window, reserved) = (limit.window(), self.ledger.reserved);
        if !limit.is_counted() {
            let (used, ends_at) = self.ledger.used(window, now);
            let since = limit.slices_from(window.start(now));
            let counted = |(first, skipped)| self.ledger.derive(window.slice(), first).saturating_sub(skipped);
            let used = since.map_or(used, counted);
            return Standing { used, reserved, ends_at, ..Standing::default() };
        }
        let counter = self.ledger.counted(record, window, now);
        let carried = if limit.carries { counter.carried } else { 0 };
        let skipped = limit.counts_from.filter(|from| counter.start <= from.at).map_or(0, |from| from.skipped);
        Standing {
            used: counter.used.saturating_add(carried).saturating_sub(skipped),
            carried,
            reserved,
            ends_at: counter.ends_at(window, now),
            spending: Spending::default(),
        }
    }

    /// When the window that runs at `now` began.
    pub(super) fn started(&self, window: Window, now: Millis) -> Millis {
        let counter = window.is_counted().then(|| self.ledger.counted(self.record(window), window, now));
        counter.map_or_else(|| window.start(now), |counter| counter.start)
    }

    pub(super) fn record(&self, window: Window) -> Option<Counter> {
        self.counters.iter().find(|counted| counted.window == window)?.record
    }

    /// Counters that are kept, with their windows.
    pub(super) fn records(&self) -> impl Iterator<Item = (Window, Counter)> {
        self.counters.iter().filter_map(|counted| Some((counted.window, counted.record?)))
    }

    /// Sets the counter of a window.
    pub(super) fn put(&mut self, window: Window, record: Counter) {
        match self.counters.iter_mut().find(|counted| counted.window == window) {
            Some(counted) => counted.put(record),
            None => self.counters.push(Counted::new(window, Some(record), true)),
        }
    }

    /// Adds to the ledger and to the counters: those of limits, and those whose limit was taken away and may
    /// come back while their window runs. Once it has ended they go: the ledger tells a limit that comes back
    /// later what it missed.
    pub(super) fn book(&mut self, amount: u64, now: Millis) {
        for counted in &mut self.counters {
            if counted.counts(now) {
                let counter = self.ledger.counted(counted.record, counted.window, now);
                let used = counter.used.saturating_add(amount);
                counted.put(Counter { used, over: counted.goes_over(), ..counter });
            } else {
                counted.remove();
            }
        }
        self.ledger.add(now, amount);
    }

    /// Adds what happened at `at`, which may lie before what is booked already: it counts in the windows that it
    /// happened in.
    pub(super) fn backdate(&mut self, amount: u64, at: Millis, now: Millis) {
        for counted in &mut self.counters {
            let window = counted.window;
            if !counted.counts(now) {
                continue;
            }
            if window.begins_with_use() {
                let since = || self.ledger.at_least_since(at.saturating_add(1));
                if let Some(record) = Counter::used_at(counted.record, window, amount, at, since) {
                    counted.put(record);
                }
                continue;
            }
            let present = Counter { over: counted.goes_over(), ..self.ledger.counted(counted.record, window, now) };
            let is_within = present.start <= at || window.end(present.start).is_none();
            let carried = if is_within { 0 } else { self.ledger.late_carry(window, present, amount, at) };
            // A new counter begins before the amount is in the slices, which say only about when it was.
            let is_new = counted.record.is_none_or(|record| record.start != present.start);
            if is_within || carried > 0 || is_new {
                counted.put(Counter {
                    start: if is_within { present.start.min(window.start(at)) } else { present.start },
                    used: present.used.saturating_add(if is_within { amount } else { 0 }),
                    carried: present.carried.saturating_add(carried),
                    over: present.over,
                });
            }
        }
        self.ledger.backdate(at, amount, now);
    }

    /// Removes what no window can see any more. Answers the days of which the slices have gone, each with its start.
    pub(super) fn purge(&mut self, now: Millis) -> Vec<(Millis, u64)> {
        self.ledger.roll_up(now);
        let days = self.ledger.purge(now);
        for counted in &mut self.counters {
            if counted.dies_at().is_some_and(|at| at <= now) {
                // What is over is kept until it is worked off.
                let present = counted.record.map(|record| Counter::at(Some(record), counted.window, now, |_| 0));
                match present.filter(|present| present.carried > 0) {
                    Some(present) => counted.put(present),
                    None => counted.remove(),
                }
            }
        }
        days
    }

    /// When something of it can be purged.
    pub(super) fn next_purge(&self) -> Option<Millis> {
        let counters = self.counters.iter().filter_map(Counted::dies_at);
        self.ledger.next_purge().into_iter().chain(counters).min()
    }

    /// Everything changed since the last call. False where a counter has gone, or all of the tally should go.
    fn take_changes(&mut self, scope: &Scope, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) -> bool {
        let meter = &self.meter;
        for (start, slice) in self.ledger.take_dirty() {
            let (scope, meter) = (scope.clone(), meter.clone());
            match slice {
                Some(slice) => puts.push(Row::Slice(SliceRow { scope, meter, slice })),
                None => dels.push(RowKey::Slice { scope, meter, start }),
            }
        }
        for counted in &mut self.counters {
            if !std::mem::take(&mut counted.changed) {
                continue;
            }
            let (scope, meter, window) = (scope.clone(), meter.clone(), counted.window);
            match counted.record {
                Some(counter) => puts.push(Row::Counter(CounterRow { scope, meter, window, counter })),
                None => dels.push(RowKey::Counter { scope, meter, window }),
            }
        }
        let count = self.counters.len();
        self.counters.retain(|counted| counted.limited || counted.record.is_some());
        self.counters.len() == count && (self.limited || !self.is_empty())
    }

    /// Nothing booked, nothing held, nothing counted.
    pub(super) fn is_empty(&self) -> bool {
        self.ledger.is_empty() && self.counters.iter().all(|counted| counted.record.is_none())
    }
}

impl Counted {
    fn put(&mut self, record: Counter) {
        self.record = Some(record);
        self.changed = true;
    }

    /// Whether usage counts in it: a limit is bound to it, or its window runs, or it has something carried.
    fn counts(&self, now: Millis) -> bool {
        let lasts = |record: Counter| {
            record.runs(self.window, now) || Counter::at(Some(record), self.window, now, |_| 0).carried > 0
        };
        self.limited || self.record.is_some_and(lasts)
    }

    /// Above what its usage goes on: without a limit as before, until it is settled by the policy.
    fn goes_over(&self) -> Option<u64> {
        if self.limited { self.over } else { self.record.and_then(|record| record.over) }
    }

    fn remove(&mut self) {
        self.changed |= self.record.take().is_some();
    }

    /// One more window after its own: as long as that one runs, the counter tells that a slice on
    /// the border of the two was counted before. What never ends is never forgotten.
    fn dies_at(&self) -> Option<Millis> {
        let start = self.record?.start;
        let end = self.window.end(start)?;
        Some(end.saturating_add((end - start).max(COUNTER_SLACK_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounds::{DAY_MS, HOUR_MS},
        domain::limit::Limit,
    };

    const NOW: Millis = 495_000 * HOUR_MS;
    const HOURLY: Window = Window::Rolling { len: HOUR_MS };
    const CLOCK_DAY: Window = Window::Aligned { len: DAY_MS };

    fn limits(of: &[(Meter, Window)]) -> Limits {
        of.iter().map(|(meter, window)| Limit::new(meter.clone(), *window, Some(100))).collect()
    }

    fn used(page: &mut Page) -> Vec<u64> {
        (0..page.limits.len()).map(|limit| page.standing(limit, NOW).used).collect()
    }

    fn write(page: &mut Page) -> (usize, usize) {
        let (mut puts, mut dels) = (Vec::new(), Vec::new());
        page.take_changes(&mut puts, &mut dels);
        (puts.len(), dels.len())
    }

    #[test]
    fn a_limit_keeps_its_place_whatever_comes_and_goes_around_it() {
        let mut page = Page::new(Scope::org());
        page.bind(&limits(&[(Meter::spend(), HOURLY), (Meter::spend(), CLOCK_DAY)]));
        page.tally_mut(&Meter::spend()).book(5, NOW);
        assert_eq!(used(&mut page), [5, 5]);
        // A meter that sorts before it, which nothing limits: there, and gone with the next commit.
        page.tally_mut(&Meter::bytes()).ledger.reserved = 3;
        assert_eq!(used(&mut page), [5, 5]);
        page.tally_mut(&Meter::bytes()).ledger.reserved = 0;
        assert_eq!(write(&mut page), (2, 0), "an hour and a counter");
        assert_eq!((page.tallies().len(), used(&mut page)), (1, vec![5, 5]));
    }

    #[test]
    fn new_limits_take_the_place_of_others_and_find_what_was_used() {
        let mut page = Page::new(Scope::org());
        page.bind(&limits(&[(Meter::spend(), CLOCK_DAY)]));
        page.tally_mut(&Meter::spend()).book(5, NOW);
        page.bind(&limits(&[(Meter::executions(), HOURLY), (Meter::spend(), HOURLY)]));
        assert_eq!(used(&mut page), [0, 5]);
        // The counter of the limit that went stays as long as its window runs.
        page.tally_mut(&Meter::spend()).book(2, NOW);
        page.bind(&limits(&[(Meter::spend(), CLOCK_DAY)]));
        assert_eq!(used(&mut page), [7]);
    }

    #[test]
    fn a_page_on_which_nothing_is_used_is_empty_whatever_limits_it_has() {
        let mut page = Page::new(Scope::org());
        page.bind(&limits(&[(Meter::spend(), HOURLY), (Meter::executions(), CLOCK_DAY)]));
        assert_eq!((used(&mut page), page.is_empty(), write(&mut page)), (vec![0, 0], true, (0, 0)));
    }
}
