//! Usage of one meter that is given back: it leaves the slices, and the counters of the windows that it counts in.

use super::Tally;
use crate::domain::{ledger::Taken, rate::Counter, window::Millis};

impl Tally {
    /// Takes back up to `amount` of what was used in the hour of `at`, also in the windows that it counts in.
    pub(in crate::domain::book) fn refund(&mut self, amount: u64, at: Millis, now: Millis) {
        let mut changed = Vec::new();
        for (place, counted) in self.counters.iter().enumerate() {
            let Some(record) = counted.record.filter(|_| counted.counts(now)) else { continue };
            let window = counted.window;
            if window.begins_with_use() && !record.runs(window, now) {
                continue;
            }
            let present = Counter { over: counted.goes_over(), ..self.ledger.counted(Some(record), window, now) };
            let is_before = at < present.start;
            let carried = if is_before { self.ledger.carry_given_back(window, present, amount, at) } else { 0 };
            changed.push((place, Counter { carried: present.carried - carried, ..present }));
        }
        let taken = self.ledger.take_back(at, amount);
        for (place, present) in changed {
            let counted = &mut self.counters[place];
            // A slice in which the window begins: the time says on which side of it.
            let is_within =
                |of: &&Taken| of.start >= present.start || at >= present.start && of.start + of.len > present.start;
            let less = taken.iter().filter(is_within).map(|of| of.amount).fold(0, u64::saturating_add);
            let used = present.used.saturating_sub(less);
            let most = self.ledger.at_most_in(present, now);
            let used = used.max(self.ledger.at_least_in(counted.window, present)).min(most);
            counted.put(Counter { used, ..present });
        }
    }
}
