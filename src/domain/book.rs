//! Usage and holds of every (scope, meter) of an org: ledgers, the counters beside them, and the
//! reservations that hold amounts.
//!
//! A charge counts in its scope and in the org, except in `account/*` and `pool/*`, which stand
//! beside it.

mod audit;
mod fits;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ids::{DecisionId, Meter, Scope},
    ledger::{HourSlice, Ledger},
    limit::Limit,
    policy::OrgPolicy,
    rate::Counter,
    reply::LedgerView,
    rows::{CounterRow, Keeper, ReservationRow, Row, RowKey, RowsByKind, SliceRow},
    table::Table,
    window::{Millis, Window},
};
use crate::bounds::{COUNTER_SLACK_MS, RESERVATION_TTL_MAX_MS};

type LedgerKey = (Scope, Meter);
type CounterKey = (Scope, Meter, Window);

#[derive(Debug, Default)]
pub(super) struct Book {
    ledgers: BTreeMap<LedgerKey, Ledger>,
    counters: Table<CounterKey, Counter>,
    reservations: Table<DecisionId, ReservationRow>,
    /// (expiry, reservation), soonest first.
    expiries: BTreeSet<(Millis, DecisionId)>,
    /// What of a reservation is booked, not given back, when it expires.
    prepaid: BTreeMap<DecisionId, u64>,
}

/// The scopes in which a charge to `scope` counts.
pub(super) fn charged_scopes(scope: &Scope) -> impl Iterator<Item = Scope> {
    let org = (!scope.is_org() && scope.counts_for_org()).then(Scope::org);
    std::iter::once(scope.clone()).chain(org)
}

impl Book {
    pub(super) fn load(rows: &mut RowsByKind, now: Millis) -> Self {
        let mut by_ledger: BTreeMap<LedgerKey, Vec<HourSlice>> = BTreeMap::new();
        for SliceRow { scope, meter, slice } in std::mem::take(&mut rows.slices) {
            by_ledger.entry((scope, meter)).or_default().push(slice);
        }
        let counters = std::mem::take(&mut rows.counters).into_iter();
        let counters = counters.map(|row| ((row.scope, row.meter, row.window), row.counter));
        let reservations = std::mem::take(&mut rows.reservations);
        let mut accounts = Self {
            ledgers: by_ledger.into_iter().map(|(key, slices)| (key, Ledger::load(slices, now))).collect(),
            counters: Table::load(counters),
            ..Self::default()
        };
        accounts.reservations = Table::load(reservations.iter().map(|row| (row.id, row.clone())));
        accounts.bring_back(now);
        for row in &reservations {
            accounts.hold(row);
        }
        accounts.expiries = accounts.reservations.iter().map(|(id, row)| (row.expires_at, *id)).collect();
        accounts
    }

    /// What lies in the future (the clock was repaired) starts now, and holds end as if they were
    /// made now: nothing is lost, and nothing stays taken longer than a window or a hold lasts.
    fn bring_back(&mut self, now: Millis) {
        let ahead = |(key, counter): (&CounterKey, &Counter)| (counter.start > now).then(|| (key.clone(), *counter));
        let counters: Vec<_> = self.counters.iter().filter_map(ahead).collect();
        for (key, counter) in counters {
            let start = key.2.start(now);
            self.counters.put(key, Counter { start, ..counter });
        }
        let last = now.saturating_add(RESERVATION_TTL_MAX_MS);
        let late = |(id, row): (&DecisionId, &ReservationRow)| (row.expires_at > last).then(|| (*id, row.clone()));
        let held: Vec<_> = self.reservations.iter().filter_map(late).collect();
        for (id, row) in held {
            self.reservations.put(id, ReservationRow { expires_at: last, ..row });
        }
    }

    /// What counts against `limit` of `scope` at `now`: used and reserved.
    pub(super) fn usage(&mut self, scope: &Scope, limit: &Limit, now: Millis) -> (u64, u64) {
        let ledger = self.ledgers.get_mut(&(scope.clone(), limit.meter.clone()));
        let reserved = ledger.as_ref().map_or(0, |ledger| ledger.reserved);
        if limit.window.is_counted() {
            return (self.counter(scope, &limit.meter, limit.window, now).used, reserved);
        }
        (ledger.map_or(0, |ledger| ledger.used(limit.window, now)), reserved)
    }

    fn counter(&self, scope: &Scope, meter: &Meter, window: Window, now: Millis) -> Counter {
        let record = self.counters.get(&(scope.clone(), meter.clone(), window)).copied();
        Counter::at(record, window, now, |start| match window {
            // It begins with the next use; usage before it is not counted.
            Window::Anchored { .. } => 0,
            Window::Aligned { .. }
            | Window::Rolling { .. }
            | Window::Calendar(_)
            | Window::Provider
            | Window::Concurrent => {
                let ledger = self.ledgers.get(&(scope.clone(), meter.clone()));
                ledger.map_or(0, |ledger| ledger.used_since(start, now))
            }
        })
    }

    /// Whether a window of the limit runs: an anchored one does once it was used, any other always.
    pub(super) fn runs(&self, scope: &Scope, limit: &Limit, now: Millis) -> bool {
        let Window::Anchored { .. } = limit.window else { return true };
        let record = self.counters.get(&(scope.clone(), limit.meter.clone(), limit.window));
        record.is_some_and(|counter| counter.runs(limit.window, now))
    }

    /// Begins an anchored window without using any of it, unless one runs.
    pub(super) fn open(&mut self, scope: &Scope, limit: &Limit, now: Millis) {
        if !self.runs(scope, limit, now) {
            let key = (scope.clone(), limit.meter.clone(), limit.window);
            self.counters.put(key, Counter { start: now, used: 0 });
        }
    }

    /// Books what happened, everywhere it counts.
    pub(super) fn book(&mut self, policy: &OrgPolicy, scope: &Scope, meter: &Meter, amount: u64, now: Millis) {
        if amount == 0 {
            return;
        }
        for charged in charged_scopes(scope) {
            self.count(policy.limits_of(&charged), &charged, meter, amount, now);
            self.ledgers.entry((charged, meter.clone())).or_default().add(now, amount);
        }
    }

    /// Adds to the counters of `limits`, and to those whose limit was taken away and may come back
    /// while their window runs. Once it has ended they go: the ledger tells a limit that comes back
    /// later what it missed.
    fn count(&mut self, limits: &[Limit], scope: &Scope, meter: &Meter, amount: u64, now: Millis) {
        let of_meter = limits.iter().filter(|limit| limit.meter == *meter && limit.window.is_counted());
        // Several limits may look at one window.
        let limited: BTreeSet<Window> = of_meter.map(|limit| limit.window).collect();
        let first = (scope.clone(), meter.clone(), Window::Aligned { len: 0 });
        let kept = self.counters.iter_from(&first).take_while(|((s, m, _), _)| s == scope && m == meter);
        let kept = kept.map(|((_, _, window), counter)| (*window, *counter));
        let orphans: Vec<_> = kept.filter(|(window, _)| !limited.contains(window)).collect();
        for (window, counter) in orphans {
            let key = (scope.clone(), meter.clone(), window);
            if counter.runs(window, now) {
                let used = counter.used.saturating_add(amount);
                self.counters.put(key, Counter { used, ..counter });
            } else {
                self.counters.remove(&key);
            }
        }
        for window in limited {
            let counter = self.counter(scope, meter, window, now);
            let used = counter.used.saturating_add(amount);
            self.counters.put((scope.clone(), meter.clone(), window), Counter { used, ..counter });
        }
    }

    /// Books what happened at `at`, which may lie before what is booked already.
    pub(super) fn backdate(&mut self, scope: &Scope, meter: &Meter, amount: u64, at: Millis, now: Millis) {
        if amount == 0 {
            return;
        }
        for charged in charged_scopes(scope) {
            let saw_it = |((s, m, window), counter): &(&CounterKey, &Counter)| {
                *s == charged && m == meter && counter.runs(*window, now) && counter.start <= at
            };
            let counters: Vec<_> =
                self.counters.iter().filter(saw_it).map(|(key, each)| (key.clone(), *each)).collect();
            for (key, counter) in counters {
                self.counters.put(key, Counter { used: counter.used.saturating_add(amount), ..counter });
            }
            self.ledgers.entry((charged, meter.clone())).or_default().backdate(at, amount);
        }
    }

    pub(super) fn reserve(&mut self, row: ReservationRow) {
        self.hold(&row);
        self.expiries.insert((row.expires_at, row.id));
        self.reservations.put(row.id, row);
    }

    /// When the reservation expires, up to `paid` of it will be booked and not given back.
    pub(super) fn prepay(&mut self, id: DecisionId, paid: u64) {
        let paid = paid.min(self.held(id));
        if paid > 0 {
            self.prepaid.insert(id, paid);
        }
    }

    /// What a reservation holds, of all meters.
    pub(super) fn held(&self, id: DecisionId) -> u64 {
        let amounts = self.reservations.get(&id).map_or(&[][..], |row| row.amounts.as_slice());
        amounts.iter().map(|(_, amount)| *amount).fold(0, u64::saturating_add)
    }

    /// Takes a reservation out and gives its amounts back.
    pub(super) fn settle(&mut self, id: DecisionId) -> Option<ReservationRow> {
        let row = self.reservations.remove(&id)?;
        self.prepaid.remove(&id);
        self.expiries.remove(&(row.expires_at, id));
        self.each_held(&row, |ledger, amount| ledger.reserved = ledger.reserved.saturating_sub(amount));
        Some(row)
    }

    pub(super) fn reservation_scope(&self, id: DecisionId) -> Option<Scope> {
        self.reservations.get(&id).map(|row| row.scope.clone())
    }

    /// Moves an expiry later; an earlier one changes nothing. Answers the expiry in force.
    pub(super) fn extend(&mut self, id: DecisionId, expires_at: Millis) -> Option<Millis> {
        let mut row = self.reservations.get(&id)?.clone();
        if expires_at > row.expires_at {
            self.expiries.remove(&(row.expires_at, id));
            self.expiries.insert((expires_at, id));
            row.expires_at = expires_at;
            self.reservations.put(id, row);
            return Some(expires_at);
        }
        Some(row.expires_at)
    }

    /// The next reservation whose time is up.
    pub(super) fn expired(&self, now: Millis) -> Option<DecisionId> {
        self.expiries.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    fn hold(&mut self, row: &ReservationRow) {
        self.each_held(row, |ledger, amount| ledger.reserved = ledger.reserved.saturating_add(amount));
    }

    fn each_held(&mut self, row: &ReservationRow, mut change: impl FnMut(&mut Ledger, u64)) {
        for (meter, amount) in row.amounts.iter().filter(|(_, amount)| *amount > 0) {
            for charged in charged_scopes(&row.scope) {
                change(self.ledgers.entry((charged, meter.clone())).or_default(), *amount);
            }
        }
    }

    /// How many ledgers a call on `scope` with these meters would add, other than those that a limit
    /// names: these always have a place.
    pub(super) fn new_ledgers<'a>(
        &self,
        policy: &OrgPolicy,
        scope: &Scope,
        meters: impl Iterator<Item = &'a Meter>,
    ) -> usize {
        let named = meters.flat_map(|meter| charged_scopes(scope).map(move |charged| (charged, meter.clone())));
        // A meter may be named by the cost and by the reserve of one call.
        let added = named.filter(|(scope, meter)| !policy.names(scope, meter));
        added.filter(|key| !self.ledgers.contains_key(key)).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn ledger_count(&self) -> usize {
        self.ledgers.len()
    }

    pub(super) fn reservation_count(&self) -> usize {
        self.reservations.len()
    }

    /// Removes what no window can see any more.
    pub(super) fn purge(&mut self, now: Millis) {
        for ledger in self.ledgers.values_mut() {
            ledger.roll_up(now);
            ledger.purge(now);
        }
        self.counters.purge(|(_, _, window), counter| Self::counter_dies_at(*window, *counter) <= now);
    }

    /// One more window after its own: as long as that one runs, the counter tells that a slice on
    /// the border of the two was counted before.
    fn counter_dies_at(window: Window, counter: Counter) -> Millis {
        let end = window.end(counter.start).unwrap_or(counter.start);
        end.saturating_add((end - counter.start).max(COUNTER_SLACK_MS))
    }

    pub(super) fn ledger_views(&self) -> Vec<LedgerView> {
        let view = |((scope, meter), ledger): (&LedgerKey, &Ledger)| LedgerView {
            scope: scope.clone(),
            meter: meter.clone(),
            hours: ledger.hours().cloned().collect(),
            reserved: ledger.reserved,
        };
        self.ledgers.iter().map(view).collect()
    }

    pub(super) fn counter_views(&self) -> Vec<(Scope, Meter, Window, Counter)> {
        self.counters.iter().map(|((s, m, w), counter)| (s.clone(), m.clone(), *w, *counter)).collect()
    }

    pub(super) fn reservation_views(&self) -> Vec<ReservationRow> {
        self.reservations.iter().map(|(_, row)| row.clone()).collect()
    }
}

impl Keeper for Book {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        for ((scope, meter), ledger) in &mut self.ledgers {
            for (start, slice) in ledger.take_dirty() {
                let (scope, meter) = (scope.clone(), meter.clone());
                match slice {
                    Some(slice) => puts.push(Row::Slice(SliceRow { scope, meter, slice })),
                    None => dels.push(RowKey::Slice { scope, meter, start }),
                }
            }
        }
        self.ledgers.retain(|_, ledger| !ledger.is_empty());
        self.counters.take_rows(
            puts,
            dels,
            |(scope, meter, window), counter| Row::Counter(CounterRow { scope, meter, window, counter }),
            |(scope, meter, window)| RowKey::Counter { scope, meter, window },
        );
        self.reservations.take_rows(puts, dels, |_, row| Row::Reservation(row), |id| RowKey::Reservation { id });
    }

    fn is_spent(&self) -> bool {
        self.ledgers.values().all(Ledger::is_empty) && self.counters.is_empty() && self.reservations.is_empty()
    }

    /// When a hold expires, or something can be purged.
    fn next_wake(&self) -> Option<Millis> {
        let counters = self.counters.iter().map(|((_, _, window), counter)| Self::counter_dies_at(*window, *counter));
        self.ledgers.values().filter_map(Ledger::next_purge).chain(counters).chain(self.next_expiry()).min()
    }
}
