//! What ledgers say of past days, and what becomes of it when its slices go.

use super::Book;
use crate::domain::{
    command::GetUsage,
    ids::{Meter, Scope},
    ledger::HourSlice,
    rows::UsageDayRow,
    window::Millis,
};

impl Book {
    /// Removes what no window can see any more. Answers the days of which the slices have gone.
    pub(in crate::domain) fn purge(&mut self, now: Millis) -> Vec<UsageDayRow> {
        let mut days = Vec::new();
        for page in self.pages_mut() {
            let scope = page.scope.clone();
            for tally in page.tallies_mut() {
                let gone = tally.purge(now);
                let row = |(start, amount)| UsageDayRow::new(scope.clone(), tally.meter.clone(), start, amount);
                days.extend(gone.into_iter().map(row));
            }
        }
        self.ledgers = self.count_ledgers();
        days
    }

    /// Usage by day, of what a query names, in no order.
    pub(in crate::domain) fn days(&self, ask: &GetUsage) -> impl Iterator<Item = UsageDayRow> {
        let (from, to) = (ask.from, ask.to);
        let of_scope = self.pages().filter(|page| ask.scope.as_ref().is_none_or(|scope| *scope == page.scope));
        let tallies = of_scope.flat_map(|page| page.tallies().iter().map(move |tally| (&page.scope, tally)));
        let named = tallies.filter(|(_, tally)| ask.meter.as_ref().is_none_or(|meter| *meter == tally.meter));
        named.flat_map(move |(scope, tally)| {
            let row = |(start, amount)| UsageDayRow::new(scope.clone(), tally.meter.clone(), start, amount);
            tally.ledger.days(from, to).map(row)
        })
    }

    /// The hours of a ledger, the oldest first; none where nothing was used.
    pub(in crate::domain) fn hours(&self, scope: &Scope, meter: &Meter) -> impl Iterator<Item = &HourSlice> {
        self.tally(scope, meter).into_iter().flat_map(|tally| tally.ledger.hours())
    }

    /// The start of the oldest slice; `None` = there is none.
    pub(in crate::domain) fn sliced_from(&self) -> Option<Millis> {
        self.tallies().filter_map(|(_, tally)| tally.ledger.hours().next()).map(|hour| hour.start).min()
    }
}
