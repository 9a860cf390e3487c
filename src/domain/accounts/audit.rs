//! Every number that is kept, derived again.
//!
//! ```text
//! sum of a window       the slices in it
//! reserved              the open reservations
//! hour                  its minutes, as long as they are kept
//! hour of the org       at least the same hour of all scopes that count in it
//! counter of a window   between the slices that lie in it, and those that touch it
//! ```

use std::collections::BTreeMap;

use super::{Accounts, CounterKey, LedgerKey, charged_scopes};
use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{Meter, Scope},
        rate::Counter,
        reply::Audit,
        window::{Millis, Window},
    },
};

impl Accounts {
    /// Where a number that is kept is not what the rows add up to.
    pub(in crate::domain) fn audit(&self, now: Millis) -> Audit {
        let mut audit = self.audit_rows();
        for ((scope, meter), ledger) in &self.ledgers {
            for (window, kept, derived) in ledger.sums(now) {
                audit.check((scope, meter), kept, derived..=derived, || format!("sum of {window}"));
            }
        }
        let running =
            |(_, _, window): &CounterKey, counter: &Counter| window.end(counter.start).is_some_and(|end| now < end);
        for ((scope, meter, window), counter) in self.counters.iter().filter(|(key, counter)| running(key, counter)) {
            let ledger = self.ledgers.get(&(scope.clone(), meter.clone()));
            // What was used in the very instant in which an anchored window began may have come before it.
            let certain = counter.start.saturating_add(u64::from(matches!(window, Window::Anchored { .. })));
            let least = ledger.map_or(0, |ledger| ledger.at_least_since(certain));
            let most = ledger.map_or(0, |ledger| ledger.at_most_since(counter.start));
            audit.check((scope, meter), counter.used, least..=most, || window.to_string());
        }
        audit
    }

    /// The part of an audit that needs no time: what is stored must fit together. One pass over the rows,
    /// for every load.
    pub(in crate::domain) fn audit_rows(&self) -> Audit {
        let mut audit = Audit::default();
        let held = self.held_by_ledger();
        for ((scope, meter), ledger) in &self.ledgers {
            let expected = held.get(&(scope.clone(), meter.clone())).copied().unwrap_or(0);
            audit.check((scope, meter), ledger.reserved, expected..=expected, || "reserved".to_owned());
            for hour in ledger.hours() {
                let minutes = hour.of_minutes();
                audit.check((scope, meter), hour.total, minutes..=minutes, || format!("hour {}", hour.start / HOUR_MS));
            }
        }
        for ((meter, start), least) in self.scoped_hours() {
            let org = self.ledgers.get(&(Scope::org(), meter.clone()));
            let kept = org.and_then(|org| org.hour(start)).map_or(0, |hour| hour.total);
            let what = || format!("hour {}, with its scopes", start / HOUR_MS);
            audit.check((&Scope::org(), meter), kept, least..=u64::MAX, what);
        }
        audit
    }

    fn held_by_ledger(&self) -> BTreeMap<LedgerKey, u64> {
        let mut held: BTreeMap<LedgerKey, u64> = BTreeMap::new();
        for (_, row) in self.reservations.iter() {
            for (meter, amount) in &row.amounts {
                for scope in charged_scopes(&row.scope) {
                    let sum = held.entry((scope, meter.clone())).or_default();
                    *sum = sum.saturating_add(*amount);
                }
            }
        }
        held
    }

    /// Hours of all scopes that count in the org, together.
    fn scoped_hours(&self) -> BTreeMap<(&Meter, Millis), u64> {
        let mut scoped: BTreeMap<(&Meter, Millis), u64> = BTreeMap::new();
        let counting = self.ledgers.iter().filter(|((scope, _), _)| !scope.is_org() && scope.counts_for_org());
        for ((_, meter), ledger) in counting {
            for hour in ledger.hours() {
                let sum = scoped.entry((meter, hour.start)).or_default();
                *sum = sum.saturating_add(hour.total);
            }
        }
        scoped
    }
}
