//! Usage and holds of every (scope, meter) of an org: a page of ledgers and counters for each scope, and the
//! reservations that hold amounts.
//!
//! A charge counts in each of its scopes and once in the org, except where all of them are `account/*` or
//! `pool/*`, which stand beside it. Where there is no room for the ledger of a scope, it counts in one that scopes
//! share.

mod audit;
mod expired;
mod fits;
mod fold;
mod forecast;
mod page;
mod past;
mod refund;
mod settle;
mod spending;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    folded::Folded,
    ids::{DecisionId, Meter, Scope},
    lease::{LeaseTime, Now},
    ledger::{HourSlice, Ledger},
    limit::{Limit, Limits},
    policy::OrgPolicy,
    rate::Counter,
    rows::{CounterRow, Keeper, ReservationRow, Row, RowKey, RowsByKind, SliceRow},
    table::Table,
    window::Millis,
};
use crate::bounds::{COUNTER_SLACK_MS, HOUR_MS, LATE_COMMIT_MS};

use expired::Expired;
use fold::Ledgers;
use page::{Page, Tally};

pub(super) use {page::Standing, spending::Spent};

type LedgerKey = (Scope, Meter);

#[derive(Debug)]
pub(super) struct Book {
    /// Of the org itself; every call asks for it.
    org: Page,
    /// Of its scopes, each from its first usage on.
    scopes: BTreeMap<Scope, Page>,
    ledgers: Ledgers,
    /// Open ones, and those that expired within a day.
    reservations: Table<DecisionId, ReservationRow>,
    /// (expiry, reservation) of those that are open, soonest first.
    expiries: BTreeSet<(LeaseTime, DecisionId)>,
    expired: Expired,
    /// Slices of sessions that are open, and what of each is booked, not given back, when it expires.
    prepaid: BTreeMap<DecisionId, u64>,
    /// Limits with grants that last until they are spent.
    spending: Vec<spending::Granted>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            org: Page::new(Scope::org()),
            scopes: BTreeMap::new(),
            ledgers: Ledgers::default(),
            reservations: Table::default(),
            expiries: BTreeSet::new(),
            expired: Expired::default(),
            prepaid: BTreeMap::new(),
            spending: Vec::new(),
        }
    }
}

impl Book {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let mut by_ledger: BTreeMap<LedgerKey, Vec<HourSlice>> = BTreeMap::new();
        for SliceRow { scope, meter, slice } in std::mem::take(&mut rows.slices) {
            by_ledger.entry((scope, meter)).or_default().push(slice);
        }
        let reservations = std::mem::take(&mut rows.reservations);
        let mut book = Self::default();
        for ((scope, meter), slices) in by_ledger {
            book.page_mut(&scope).tally_mut(&meter).ledger = Ledger::load(slices);
        }
        for CounterRow { scope, meter, window, counter } in std::mem::take(&mut rows.counters) {
            book.page_mut(&scope).tally_mut(&meter).load_counter(window, counter);
        }
        book.ledgers = book.count_ledgers();
        book.reservations = Table::load(reservations.iter().map(|row| (row.id, row.clone())));
        for row in reservations.iter().filter(|row| row.is_open()) {
            book.hold(row);
        }
        book.suspect_holds();
        let open = book.reservations.iter().filter(|(_, row)| row.is_open());
        book.expiries = open.map(|(id, row)| (row.expires_at, *id)).collect();
        for (_, row) in book.reservations.iter() {
            book.expired.add(row);
        }
        book
    }

    /// Changes the tally of a pair, made where there is none; with limits, these are bound to its page.
    fn change(&mut self, scope: &Scope, limits: Option<&Limits>, meter: &Meter, change: impl FnOnce(&mut Tally)) {
        let page = self.page_mut(scope);
        if let Some(limits) = limits {
            page.bind(limits);
        }
        let tally = page.tally_mut(meter);
        let was = tally.ledger.is_used();
        change(tally);
        let is = tally.ledger.is_used();
        tally.ledger.late &= is;
        self.ledgers.changed(scope, was, is);
    }

    fn page(&self, scope: &Scope) -> Option<&Page> {
        if scope.is_org() { Some(&self.org) } else { self.scopes.get(scope) }
    }

    /// The page of a scope, made where there is none.
    fn page_mut(&mut self, scope: &Scope) -> &mut Page {
        if scope.is_org() {
            return &mut self.org;
        }
        self.scopes.entry(scope.clone()).or_insert_with(|| Page::new(scope.clone()))
    }

    fn pages(&self) -> impl Iterator<Item = &Page> {
        std::iter::once(&self.org).chain(self.scopes.values())
    }

    fn pages_mut(&mut self) -> impl Iterator<Item = &mut Page> {
        std::iter::once(&mut self.org).chain(self.scopes.values_mut())
    }

    fn tally(&self, scope: &Scope, meter: &Meter) -> Option<&Tally> {
        self.page(scope)?.tally(meter)
    }

    /// The page of a scope; `None` where nothing was ever used.
    fn known_page_mut(&mut self, scope: &Scope) -> Option<&mut Page> {
        if scope.is_org() { Some(&mut self.org) } else { self.scopes.get_mut(scope) }
    }

    /// The same with the limits of the scope bound.
    pub(super) fn bound(&mut self, scope: &Scope, limits: &Limits) -> Option<&mut Page> {
        self.known_page_mut(scope).map(|page| page.bind(limits))
    }

    /// What counts against any limit of `scope` at `now`, whether it is in force or not.
    pub(super) fn standing(&mut self, scope: &Scope, limit: &Limit, now: Millis) -> Standing {
        let tally = self.known_page_mut(scope).and_then(|page| page.known_tally_mut(limit.meter()));
        let standing = tally.map_or_else(|| Standing::unused(limit.window(), now), |tally| tally.standing(limit, now));
        self.with_spending(scope, limit, standing)
    }

    /// What the slices have from the one on that begins at `slice`.
    pub(super) fn used_since(&self, scope: &Scope, limit: &Limit, slice: Millis) -> u64 {
        let tally = self.tally(scope, limit.meter());
        tally.map_or(0, |tally| tally.ledger.derive(limit.window().slice(), slice))
    }

    fn record(&self, scope: &Scope, limit: &Limit) -> Option<Counter> {
        self.tally(scope, limit.meter())?.record(limit.window())
    }

    /// Whether a window of the limit runs: one that begins with its use does once it was used, any other always.
    pub(super) fn runs(&self, scope: &Scope, limit: &Limit, now: Millis) -> bool {
        let window = limit.window();
        !window.begins_with_use() || self.record(scope, limit).is_some_and(|counter| counter.runs(window, now))
    }

    /// Begins a window that begins with its use, without using any of it, unless one runs.
    pub(super) fn open(&mut self, scope: &Scope, limit: &Limit, now: Millis) {
        if !self.runs(scope, limit, now) {
            let tally = self.page_mut(scope).tally_mut(limit.meter());
            tally.put(limit.window(), Counter { start: now, ..Counter::default() });
        }
    }

    /// Books what happened, everywhere it counts.
    pub(super) fn book(
        &mut self,
        policy: &OrgPolicy,
        (scopes, folded): (&[Scope], &Folded),
        meter: &Meter,
        amount: u64,
        now: Millis,
    ) {
        if amount > 0 {
            self.charge(policy, (scopes, folded), meter, |tally| tally.book(amount, now));
        }
    }

    /// Books what happened at `at`, which may lie before what is booked already.
    pub(super) fn backdate(
        &mut self,
        policy: &OrgPolicy,
        (scopes, folded): (&[Scope], &Folded),
        (meter, amount): (&Meter, u64),
        at: Millis,
        now: Millis,
    ) {
        if amount > 0 {
            self.charge(policy, (scopes, folded), meter, |tally| tally.backdate(amount, at, now));
        }
    }

    /// Changes every tally in which a charge counts.
    fn charge(
        &mut self,
        policy: &OrgPolicy,
        (scopes, folded): (&[Scope], &Folded),
        meter: &Meter,
        charge: impl Fn(&mut Tally),
    ) {
        for scope in folded.charged(scopes, meter) {
            let late = folded.is_late(scope, meter);
            self.change(scope, Some(policy.limits_of(scope)), meter, |tally| {
                tally.ledger.late |= late;
                charge(tally);
            });
        }
    }

    /// `folded` says where the amounts of the row were found to count, which the row keeps.
    pub(super) fn reserve(&mut self, row: ReservationRow, folded: &Folded) {
        let row = ReservationRow { folded: folded.of_amounts(&row.amounts), ..row };
        self.each_held(&row, |scope, meter, ledger, amount| {
            ledger.reserved = ledger.reserved.saturating_add(amount);
            ledger.late |= folded.is_late(scope, meter);
        });
        self.expiries.insert((row.expires_at, row.id));
        self.reservations.put(row.id, row);
    }

    /// The reservation is what is left of a session's slice: when it expires, up to `paid` of it will be booked
    /// and not given back.
    pub(super) fn prepay(&mut self, id: DecisionId, paid: u64) {
        let held = self.held(id);
        if held > 0 {
            self.prepaid.insert(id, paid.min(held));
        }
    }

    /// What a reservation holds, of all meters.
    pub(super) fn held(&self, id: DecisionId) -> u64 {
        let open = self.reservations.get(&id).filter(|row| row.is_open());
        let amounts = open.map_or(&[][..], |row| row.amounts.as_slice());
        amounts.iter().map(|(_, amount)| *amount).fold(0, u64::saturating_add)
    }

    /// Takes a reservation out and gives its amounts back, unless it has expired: then it holds none.
    pub(super) fn settle(&mut self, id: DecisionId) -> Option<ReservationRow> {
        let row = self.reservations.remove(&id)?;
        self.expired.remove(&row);
        if row.is_open() {
            self.give_back(&row);
        }
        Some(row)
    }

    /// Gives back what a reservation holds, whose time is over. What it was is remembered, so that a Commit can
    /// still record what happened.
    pub(super) fn expire(&mut self, id: DecisionId, now: Millis) {
        let Some(row) = self.reservations.get(&id).filter(|row| row.is_open()).cloned() else { return };
        self.give_back(&row);
        let row = ReservationRow { expired_at: Some(now), ..row };
        self.expired.add(&row);
        self.reservations.put(id, row);
    }

    /// Forgets reservations that expired a day ago, and from `bytes` on the oldest. Answers how many were
    /// forgotten before their time.
    pub(super) fn forget_expired(&mut self, now: Millis, bytes: u64) -> u64 {
        let mut early = 0;
        while let Some((at, id)) = self.expired.first() {
            let in_time = at.saturating_add(LATE_COMMIT_MS) <= now;
            if !in_time && self.expired.bytes <= bytes {
                break;
            }
            early += u64::from(!in_time);
            self.settle(id);
        }
        early
    }

    fn give_back(&mut self, row: &ReservationRow) {
        self.prepaid.remove(&row.id);
        self.expiries.remove(&(row.expires_at, row.id));
        self.each_held(row, |_, _, ledger, amount| ledger.reserved = ledger.reserved.saturating_sub(amount));
    }

    /// A reservation that is open, or expired less than a day ago.
    pub(super) fn reservation(&self, id: DecisionId, now: Millis) -> Option<&ReservationRow> {
        let known = |row: &&ReservationRow| row.expired_at.is_none_or(|at| now < at.saturating_add(LATE_COMMIT_MS));
        self.reservations.get(&id).filter(known)
    }

    /// Every reservation that is known, in the order of their ids, from behind `after`.
    pub(super) fn reservations_behind(&self, after: Option<DecisionId>) -> impl Iterator<Item = &ReservationRow> {
        let from = after.unwrap_or(DecisionId(0));
        let rows = self.reservations.rows_from(from);
        rows.filter(move |row| after != Some(row.id))
    }

    /// Moves an expiry later; an earlier one changes nothing. Answers the expiry in force.
    pub(super) fn extend(&mut self, id: DecisionId, expires_at: LeaseTime) -> Option<LeaseTime> {
        let mut row = self.reservations.get(&id).filter(|row| row.is_open())?.clone();
        if expires_at > row.expires_at {
            self.expiries.remove(&(row.expires_at, id));
            self.expiries.insert((expires_at, id));
            row.expires_at = expires_at;
            self.reservations.put(id, row);
            return Some(expires_at);
        }
        Some(row.expires_at)
    }

    /// The next reservation whose time is up, and since when.
    pub(super) fn next_expired(&self, now: LeaseTime) -> Option<(LeaseTime, DecisionId)> {
        self.expiries.first().filter(|(at, _)| *at <= now).copied()
    }

    pub(super) fn next_expiry(&self) -> Option<LeaseTime> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// When a hold ends by itself; `None` where it has ended.
    pub(super) fn expires_at(&self, id: DecisionId) -> Option<LeaseTime> {
        self.reservations.get(&id).filter(|row| row.is_open()).map(|row| row.expires_at)
    }

    fn hold(&mut self, row: &ReservationRow) {
        self.each_held(row, |_, _, ledger, amount| ledger.reserved = ledger.reserved.saturating_add(amount));
    }

    fn each_held(&mut self, row: &ReservationRow, mut change: impl FnMut(&Scope, &Meter, &mut Ledger, u64)) {
        for (meter, amount) in row.amounts.iter().filter(|(_, amount)| *amount > 0) {
            for scope in row.folded.charged(&row.scopes, meter) {
                self.change(scope, None, meter, |tally| change(scope, meter, &mut tally.ledger, *amount));
            }
        }
    }

    fn has_ledger(&self, scope: &Scope, meter: &Meter) -> bool {
        self.tally(scope, meter).is_some_and(|tally| tally.ledger.is_used())
    }

    /// Every tally with its scope, in order.
    fn tallies(&self) -> impl Iterator<Item = (&Scope, &Tally)> {
        self.pages().flat_map(|page| page.tallies().iter().map(|tally| (&page.scope, tally)))
    }

    /// Reservations that are open.
    pub(super) fn open_reservations(&self) -> usize {
        self.expiries.len()
    }

    /// Those of them that are no slices of sessions.
    pub(super) fn open_holds(&self) -> u64 {
        let holds = self.expiries.len().saturating_sub(self.prepaid.len());
        u64::try_from(holds).unwrap_or(u64::MAX)
    }

    /// Reservations that expired within a day, and can still be committed.
    pub(super) fn expired_reservations(&self) -> usize {
        self.reservations.len() - self.expiries.len()
    }
}

impl Keeper for Book {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        for page in self.pages_mut() {
            page.take_changes(puts, dels);
        }
        self.scopes.retain(|_, page| !page.is_empty());
        self.reservations.take_rows(puts, dels, |_, row| Row::Reservation(row), |id| RowKey::Reservation { id });
    }

    fn is_spent(&self) -> bool {
        self.pages().all(Page::is_empty) && self.reservations.is_empty()
    }

    /// When a hold expires, or something can be purged.
    fn next_wake(&self, now: &Now) -> Option<Millis> {
        let purges = self.tallies().filter_map(|(_, tally)| tally.next_purge());
        // Whether one can still be committed is checked each time; removing it is put off to the full hour.
        let forgotten =
            self.expired.first().map(|(at, _)| at.saturating_add(LATE_COMMIT_MS).div_ceil(HOUR_MS) * HOUR_MS);
        let expiry = self.next_expiry().map(|at| now.wake(at));
        purges.chain(expiry).chain(forgotten).min()
    }
}
