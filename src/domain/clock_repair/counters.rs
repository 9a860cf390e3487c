//! Counters that have gone on to a window of the time that did not come yet, and the backstop: each
//! is derived again for the window that runs now, from the slices. Of what these do not have, the
//! counter's own number stands, and where the slices are coarser than a window, it counts more and
//! not less. So does a counter of the window that runs now: it and the slices stay of one mind.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{Meter, Scope},
        ledger::{HourSlice, Ledger},
        rate::{Counter, RateRecord},
        rows::Row,
        window::{Millis, Window},
    },
};

/// The ledgers of an org, by scope and meter.
#[derive(Debug, Default)]
pub(super) struct Ledgers(BTreeMap<(Scope, Meter), Ledger>);

impl Ledgers {
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut slices: BTreeMap<(Scope, Meter), Vec<HourSlice>> = BTreeMap::new();
        for row in rows {
            if let Row::Slice(row) = row {
                slices.entry((row.scope.clone(), row.meter.clone())).or_default().push(row.slice.clone());
            }
        }
        Self(slices.into_iter().map(|(key, slices)| (key, Ledger::load(slices))).collect())
    }

    fn get(&self, scope: &Scope, meter: &Meter) -> Cow<'_, Ledger> {
        self.0.get(&(scope.clone(), meter.clone())).map_or_else(Cow::default, Cow::Borrowed)
    }
}

/// `before` and `after` are the ledgers before and after their slices were brought back.
pub(super) fn derive(rows: &mut [Row], before: &Ledgers, after: &Ledgers, now: Millis) {
    for row in rows {
        if let Row::Counter(row) = row {
            let (before, after) = (before.get(&row.scope, &row.meter), after.get(&row.scope, &row.meter));
            let (window, counter) = (row.window, &mut row.counter);
            if counter.start > now {
                *counter = counter_at(window, *counter, (&before, &after), now);
            } else if counter.runs(window, now) {
                // It has counted all. An hour whose minutes are lost has more that may be of this window.
                counter.used = counter.used.max(after.at_least_in(window, *counter));
            }
        } else if let Row::Head(head) = row {
            let executions = after.get(Scope::of_org(), &Meter::executions());
            head.rate = backstop_at(head.rate, &executions, now);
        }
    }
}

/// The counter of the window that runs at `now`, where it has gone on to a `later` one.
fn counter_at(window: Window, later: Counter, (before, after): (&Ledger, &Ledger), now: Millis) -> Counter {
    if window.begins_with_use() {
        let begun = replayed(window, after).filter(|counter| counter.runs(window, now));
        let begun = begun.unwrap_or(Counter { start: now, ..later });
        return Counter { used: begun.used.max(later.used), ..begun };
    }
    let start = window.start(now);
    let carried = before.carried_into(window, start, later);
    Counter { start, used: after.used_since(start, now).max(later.used), carried, ..later }
}

/// The last window that begins with its use, as the slices say when that was.
fn replayed(window: Window, ledger: &Ledger) -> Option<Counter> {
    let used = ledger.finest();
    used.fold(None, |counter, (at, amount)| Counter::used_at(counter, window, amount, at, || 0))
}

/// The backstop counts calls, which have no slices: of those of a window that it has left, the
/// executions are known. A record that was removed since is made again, for an hour.
fn backstop_at(record: Option<RateRecord>, executions: &Ledger, now: Millis) -> Option<RateRecord> {
    let len = record.map_or(HOUR_MS, |record| record.len.max(1));
    let window_id = now / len;
    if record.is_some_and(|record| record.window_id <= window_id) {
        return record;
    }
    let known = record.unwrap_or(RateRecord { len, ..RateRecord::default() });
    let count = executions.used_since(window_id.saturating_mul(len), now).max(known.count);
    (record.is_some() || count > 0).then_some(RateRecord { window_id, count, ..known })
}
