//! A change of the policy: windows that ended before it went over the limits before it, and go on by those after it.

use super::{Book, page::Tally};
use crate::domain::{
    limit::Limit,
    policy::OrgPolicy,
    rate::Counter,
    window::{Millis, Window},
};

impl Book {
    /// Counts by the policy that is in force since then. Answers whether a counter changed.
    pub(in crate::domain) fn settle_windows(&mut self, policy: &OrgPolicy, since: Millis, now: Millis) -> bool {
        let mut any = false;
        for page in self.pages_mut() {
            let limits = policy.limits_of(&page.scope);
            for tally in page.tallies_mut() {
                any |= tally.settle(limits, since, now);
            }
        }
        any
    }
}

impl Tally {
    /// Lets every counter go on by the limits that are in force since then: what ended before went over the limits
    /// before. Answers whether one changed.
    fn settle(&mut self, limits: &[Limit], since: Millis, now: Millis) -> bool {
        let of_meter = || limits.iter().filter(|limit| *limit.meter() == self.meter);
        let mut settled: Vec<(Window, Counter)> = Vec::new();
        for (window, record) in self.records() {
            let over = of_meter().filter(|limit| limit.window() == window).find_map(Limit::over);
            if record.over != over {
                let then = Counter::at(Some(record), window, since.max(record.start).min(now), |_| 0);
                settled.push((window, Counter { over, ..then }));
            }
        }
        for limit in of_meter().filter(|limit| limit.carries && self.record(limit.window()).is_none()) {
            let begun = Counter { over: limit.over(), ..self.ledger.begun(limit.window(), since, now) };
            let present = Counter::at(Some(begun), limit.window(), now, |_| 0);
            if present.used > 0 || present.carried > 0 {
                settled.push((limit.window(), present));
            }
        }
        let any = !settled.is_empty();
        for (window, counter) in settled {
            self.put(window, counter);
        }
        any
    }
}
