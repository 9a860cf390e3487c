//! What operators see of a book.

use super::{Book, Standing, Tally};
use crate::domain::{
    decision::LimitView,
    ids::{Meter, Scope},
    lease::Now,
    policy::OrgPolicy,
    rate::Counter,
    reply::{LedgerView, ReservationView},
    window::{Millis, Window},
};

impl Book {
    /// Scopes in which something was used, or is held.
    pub(in crate::domain) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.keys()
    }

    /// The limits of a scope as they stand, without the instants at which they reset.
    pub(in crate::domain) fn limit_views(
        &mut self,
        policy: &OrgPolicy,
        scope: &Scope,
        now: Millis,
    ) -> impl Iterator<Item = LimitView> {
        let others = self.others_of(policy, scope);
        policy.limits_of(scope).iter().map(move |limit| {
            let standing = self.standing_among(scope, others.as_ref(), limit, now);
            let Standing { used, carried, reserved, spending, .. } = standing;
            LimitView { carried, ..LimitView::of(limit, scope, used, reserved).with(spending) }
        })
    }

    pub(in crate::domain) fn ledger_views(&self) -> Vec<LedgerView> {
        let kept = self.tallies().filter(|(_, tally)| tally.ledger.is_used());
        let view = |(scope, tally): (&Scope, &Tally)| LedgerView {
            scope: scope.clone(),
            meter: tally.meter.clone(),
            hours: tally.ledger.hours().cloned().collect(),
            reserved: tally.ledger.reserved,
        };
        kept.map(view).collect()
    }

    pub(in crate::domain) fn counter_views(&self) -> Vec<(Scope, Meter, Window, Counter)> {
        let mut views = Vec::new();
        for (scope, tally) in self.tallies() {
            let mut records: Vec<_> = tally.records().collect();
            records.sort_unstable_by_key(|(window, _)| *window);
            let of_tally = records.into_iter();
            views.extend(of_tally.map(|(window, counter)| (scope.clone(), tally.meter.clone(), window, counter)));
        }
        views
    }

    pub(in crate::domain) fn reservation_views(&self, now: &Now) -> Vec<ReservationView> {
        let open = self.reservations.iter().map(|(_, row)| row).filter(|row| row.is_open());
        open.map(|row| ReservationView::of(row, now)).collect()
    }
}
