//! Every number that is kept, derived again.
//!
//! ```text
//! sum of a window       the slices in it
//! reserved              the open reservations
//! hour                  its minutes, as long as they are kept
//! hour of the org       at least the same hour of each scope that counts in it
//! counter of a window   between the slices that lie in it, and those that touch it; what is older than slices
//!                       is only in the counter
//! ```

use std::collections::BTreeMap;

use super::{Book, LedgerKey, Page, Tally};
use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{Meter, Scope},
        reply::Audit,
        window::Millis,
    },
};

impl Book {
    /// Where a number that is kept is not what the rows add up to.
    pub(in crate::domain) fn audit(&self, now: Millis) -> Audit {
        let mut audit = self.audit_rows();
        for (scope, Tally { meter, ledger, .. }) in self.tallies() {
            for (window, kept, derived) in ledger.sums(now) {
                audit.check((scope, meter), kept, derived..=derived, || format!("sum of {window}"));
            }
        }
        for (scope, tally) in self.tallies() {
            for (window, counter) in tally.records().filter(|(window, counter)| counter.runs(*window, now)) {
                let least = tally.ledger.at_least_in(window, counter);
                let most = tally.ledger.at_most_in(counter, now);
                audit.check((scope, &tally.meter), counter.used, least..=most, || window.to_string());
            }
        }
        audit
    }

    /// The part of an audit that needs no time: what is stored must fit together. One pass over the rows,
    /// for every load.
    pub(in crate::domain) fn audit_rows(&self) -> Audit {
        let mut audit = Audit::default();
        let held = self.held_by_ledger();
        for (scope, Tally { meter, ledger, .. }) in self.tallies() {
            let expected = held.get(&(scope.clone(), meter.clone())).copied().unwrap_or(0);
            audit.check((scope, meter), ledger.reserved, expected..=expected, || "reserved".to_owned());
            for hour in ledger.hours() {
                let minutes = hour.of_minutes();
                audit.check((scope, meter), hour.total, minutes..=minutes, || format!("hour {}", hour.start / HOUR_MS));
            }
        }
        for ((meter, start), least) in self.scoped_hours() {
            let org = self.org.tally(meter);
            let kept = org.and_then(|org| org.ledger.hour(start)).map_or(0, |hour| hour.total);
            let what = || format!("hour {}, with its scopes", start / HOUR_MS);
            audit.check((&Scope::org(), meter), kept, least..=u64::MAX, what);
        }
        audit
    }

    fn held_by_ledger(&self) -> BTreeMap<LedgerKey, u64> {
        let mut held: BTreeMap<LedgerKey, u64> = BTreeMap::new();
        for row in self.reservations.iter().map(|(_, row)| row).filter(|row| row.is_open()) {
            for (meter, amount) in &row.amounts {
                for scope in row.folded.charged(&row.scopes, meter) {
                    let sum = held.entry((scope.clone(), meter.clone())).or_default();
                    *sum = sum.saturating_add(*amount);
                }
            }
        }
        held
    }

    /// For each hour, the most that a scope has which counts in the org. Not all of them together: one charge
    /// may name several.
    fn scoped_hours(&self) -> BTreeMap<(&Meter, Millis), u64> {
        let mut scoped: BTreeMap<(&Meter, Millis), u64> = BTreeMap::new();
        let counting = self.scopes.values().filter(|page| page.scope.counts_for_org());
        for Tally { meter, ledger, .. } in counting.flat_map(Page::tallies) {
            for hour in ledger.hours() {
                let most = scoped.entry((meter, hour.start)).or_default();
                *most = hour.total.max(*most);
            }
        }
        scoped
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::{
        bounds::DAY_MS,
        domain::{
            folded::Folded,
            ids::DecisionId,
            lease::LeaseTime,
            ledger::{HourSlice, Ledger},
            limit::Limit,
            policy::OrgPolicy,
            rate::Counter,
            rows::ReservationRow,
            scopes::Scopes,
            window::Window,
        },
    };

    type Case = (&'static str, fn(&mut Book));

    const T0: Millis = 495_000 * HOUR_MS;
    const DAILY: Window = Window::Rolling { len: DAY_MS };
    const CLOCK_DAY: Window = Window::Aligned { len: DAY_MS };

    fn key(scope: &str) -> LedgerKey {
        (Scope::parse("scope", scope).unwrap(), Meter::spend())
    }

    /// Usage in two hours, a hold, and a limit of either kind that has been asked for.
    fn book() -> Book {
        let limits = [DAILY, CLOCK_DAY].map(|window| Limit::new(Meter::spend(), window, Some(100)));
        let policy = OrgPolicy { limits: limits.into_iter().collect(), ..OrgPolicy::default() };
        let mut book = Book::default();
        let (scope, meter) = key("workspace/a");
        let scopes = Scopes::from(scope);
        let folded = Folded::NONE;
        book.book(&policy, (&scopes, folded), &meter, 5, T0);
        book.book(&policy, (&scopes, folded), &meter, 7, T0 + HOUR_MS);
        let amounts = smallvec![(meter, 3)];
        let (id, expires_at) = (DecisionId(1), LeaseTime(T0 + DAY_MS));
        book.reserve(ReservationRow::open(id, scopes, amounts, T0, expires_at), Folded::NONE);
        for limit in policy.limits.iter() {
            let standing = book.standing(&Scope::org(), limit, T0 + HOUR_MS);
            assert_eq!((standing.used, standing.reserved), (12, 3));
        }
        book
    }

    /// Usage of `spend` by the org itself.
    fn tally(book: &mut Book) -> &mut Tally {
        book.org.tally_mut(&Meter::spend())
    }

    #[test]
    fn every_kind_of_number_is_found_where_it_is_not_what_the_ledger_says() {
        let untouched = book().audit(T0 + HOUR_MS);
        assert_eq!((untouched.drifted, untouched.drift.len()), (0, 0));
        assert!(untouched.checked >= 8, "{}", untouched.checked);
        let cases: [Case; 4] = [
            ("reserved", |it| tally(it).ledger.reserved += 1),
            ("sum of rolling/1d", |it| tally(it).ledger.lose_an_hour()),
            ("hour 495000, with its scopes", |it| tally(it).ledger.lose_an_hour()),
            ("aligned/1d", |it| {
                let counter = tally(it).record(CLOCK_DAY).unwrap();
                tally(it).put(CLOCK_DAY, Counter { used: 13, ..counter });
            }),
        ];
        for (what, change) in cases {
            let mut changed = book();
            change(&mut changed);
            let audit = changed.audit(T0 + HOUR_MS);
            let found =
                audit.drift.iter().find(|drift| drift.what == what).unwrap_or_else(|| panic!("{what}: {audit:?}"));
            assert_eq!((found.scope.clone(), found.meter.clone()), key(""), "R-BUD-3: {what}");
        }
    }

    #[test]
    fn minutes_that_are_not_their_hour_are_found_in_the_rows_alone() {
        let mut book = book();
        let changed = |hour: &HourSlice| HourSlice { total: hour.total + 1, ..hour.clone() };
        let slices = tally(&mut book).ledger.hours().map(changed).collect();
        tally(&mut book).ledger = Ledger::load(slices);
        let audit = book.audit_rows();
        assert!(
            audit.drift.iter().any(|drift| drift.what == "hour 495000" && (drift.kept, drift.derived) == (6, (5, 5)))
        );
    }
}
