//! Usage that is given back where it counts: in each ledger of its charge the same amount, out of the hour in which it was
//! charged, and never more than any of them has there.

use super::Book;
use crate::{
    bounds::{DAY_MS, HOUR_MS},
    domain::{
        folded::Folded,
        ids::{Meter, Scope},
        policy::OrgPolicy,
        window::Millis,
    },
};

impl Book {
    /// Takes `amount` back of what was used in the hour of `at`, everywhere it counts: at most what is
    /// [there](Self::refundable). Answers how much that was.
    pub(in crate::domain) fn refund(
        &mut self,
        policy: &OrgPolicy,
        (scopes, folded): (&[Scope], &Folded),
        (meter, amount): (&Meter, u64),
        at: Millis,
        now: Millis,
    ) -> u64 {
        let given = amount.min(self.refundable((scopes, folded), meter, at));
        if given > 0 {
            self.charge(policy, (scopes, folded), meter, |tally| tally.refund(given, at, now));
        }
        given
    }

    /// How much of what was used in the hour of `at` can be given back to a charge that named these scopes: what each
    /// of its ledgers has, and in the org what no other scope has used of it.
    pub(in crate::domain) fn refundable(
        &self,
        (scopes, folded): (&[Scope], &Folded),
        meter: &Meter,
        at: Millis,
    ) -> u64 {
        let charged: Vec<&Scope> = folded.charged(scopes, meter).collect();
        let of = |scope: &&Scope| self.used_in_hour(scope, meter, at);
        let least = charged.iter().map(of).min().unwrap_or(0);
        if !charged.iter().any(|scope| scope.is_org()) {
            return least;
        }
        let is_other = |scope: &&Scope| scope.counts_for_org() && !charged.contains(scope);
        let others = self.scopes.keys().filter(is_other).map(|scope| of(&scope)).max().unwrap_or(0);
        least.min(self.used_in_hour(Scope::of_org(), meter, at).saturating_sub(others))
    }

    /// What the ledger of a scope has in the hour of `at`.
    pub(in crate::domain) fn used_in_hour(&self, scope: &Scope, meter: &Meter, at: Millis) -> u64 {
        let hour = self.tally(scope, meter).and_then(|tally| tally.ledger.hour(at / HOUR_MS * HOUR_MS));
        hour.map_or(0, |hour| hour.total)
    }

    /// What the org has used on the day of `at`.
    pub(in crate::domain) fn used_on_day(&self, meter: &Meter, at: Millis) -> u64 {
        let day = at / DAY_MS * DAY_MS;
        let days = self.tally(Scope::of_org(), meter).map(|tally| tally.ledger.days(day, day.saturating_add(DAY_MS)));
        days.into_iter().flatten().map(|(_, amount)| amount).fold(0, u64::saturating_add)
    }
}
