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

use super::{Accounts, LedgerKey, charged_scopes};
use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::{Meter, Scope},
        reply::Audit,
        window::{Millis, Window},
    },
};

impl Accounts {
    /// Where a number that is kept is not what the rows add up to.
    pub(in crate::domain) fn audit(&mut self, now: Millis) -> Audit {
        let mut audit = self.audit_rows();
        for ((scope, meter), ledger) in &self.ledgers {
            for (window, kept, derived) in ledger.sums(now) {
                audit.check(scope, meter, format!("sum of {window}"), kept, (derived, derived));
            }
        }
        let counters: Vec<_> = self.counters.iter().map(|(key, counter)| (key.clone(), *counter)).collect();
        for ((scope, meter, window), counter) in counters {
            let running = window.end(counter.start).is_some_and(|end| now < end);
            let Some(ledger) = self.ledgers.get(&(scope.clone(), meter.clone())).filter(|_| running) else { continue };
            let (start, what) = (counter.start, window.to_string());
            // What was used in the very instant in which an anchored window began may have come before it.
            let certain = start.saturating_add(u64::from(matches!(window, Window::Anchored { .. })));
            audit.check(
                &scope,
                &meter,
                what,
                counter.used,
                (ledger.at_least_since(certain), ledger.at_most_since(start)),
            );
        }
        audit
    }

    /// The part of an audit that needs no time: what is stored must fit together. Cheap enough for every
    /// load.
    pub(in crate::domain) fn audit_rows(&self) -> Audit {
        let mut audit = Audit::default();
        let mut held: BTreeMap<LedgerKey, u64> = BTreeMap::new();
        for (_, row) in self.reservations.iter() {
            for (meter, amount) in &row.amounts {
                for scope in charged_scopes(&row.scope) {
                    let sum = held.entry((scope, meter.clone())).or_default();
                    *sum = sum.saturating_add(*amount);
                }
            }
        }
        let mut scoped: BTreeMap<(&Meter, Millis), u64> = BTreeMap::new();
        for ((scope, meter), ledger) in &self.ledgers {
            let expected = held.get(&(scope.clone(), meter.clone())).copied().unwrap_or(0);
            audit.check(scope, meter, "reserved".into(), ledger.reserved, (expected, expected));
            audit.checked += u64::try_from(ledger.hours().count()).unwrap_or(u64::MAX);
            for (what, kept, derived) in ledger.slice_drift() {
                audit.note(scope, meter, what, kept, (derived, derived));
            }
            for hour in ledger.hours().filter(|_| !scope.is_org() && scope.counts_for_org()) {
                let sum = scoped.entry((meter, hour.start)).or_default();
                *sum = sum.saturating_add(hour.total);
            }
        }
        for ((meter, start), least) in scoped {
            let org = self.ledgers.get(&(Scope::org(), meter.clone()));
            let kept = org.and_then(|org| org.hours().find(|hour| hour.start == start)).map_or(0, |hour| hour.total);
            audit.check(
                &Scope::org(),
                meter,
                format!("hour {}, with its scopes", start / HOUR_MS),
                kept,
                (least, u64::MAX),
            );
        }
        audit
    }
}
