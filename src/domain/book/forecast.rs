//! How a limit stands, for a forecast: over the ledgers that it is judged by.

use super::{Book, Standing, fits::counted_leaving};
use crate::{
    bounds::MINUTE_MS,
    domain::{
        forecast::{Outlook, Pace},
        ids::Scope,
        ledger::Ledger,
        limit::Limit,
        policy::OrgPolicy,
        window::Millis,
    },
};

impl Book {
    /// When nothing of the limit is left if usage goes on as it did lately; `None` = not in its
    /// running window, or nothing is left now, or it is unlimited.
    pub(in crate::domain) fn runs_out_at(
        &mut self,
        policy: &OrgPolicy,
        scope: &Scope,
        limit: &Limit,
        now: Millis,
    ) -> Option<Millis> {
        let amount = limit.amount?;
        let others = self.others_of(policy, scope);
        let standing = self.standing_among(scope, others.as_ref(), limit, now);
        let Standing { used, reserved, ends_at, spending, .. } = standing;
        let usable = amount.saturating_add(spending.more()).saturating_sub(limit.buffer);
        let (one, other) = others.as_ref().map_or((scope, None), |others| self.sources(scope, others, limit, now));
        let ledgers = || [Some(one), other].into_iter().flatten().filter_map(|of| self.ledger(of, limit));
        let window = limit.window();
        let since = Pace::since(window, now);
        let lately = ledgers().map(|ledger| ledger.derive(MINUTE_MS, since)).fold(0, u64::saturating_add);
        let pace = Pace { amount: lately, over: (now - since).max(1) };
        let taken = used.saturating_add(reserved);
        let ends_at = match window.trailing() {
            Some(len) => now.saturating_add(len),
            None => ends_at.unwrap_or(Millis::MAX),
        };
        let outlook = Outlook { taken, usable, without: limit.usable(), pace, ends_at };
        let changes = limit.label.origin.changes(amount).map(|(at, then)| (at, then.saturating_sub(limit.buffer)));
        if window.trailing().is_none() {
            return outlook.runs_out_at(std::iter::empty(), changes, now);
        }
        let mut leaving: Vec<_> = ledgers().flat_map(|ledger| counted_leaving(ledger, limit, now)).collect();
        leaving.sort_unstable_by_key(|(at, _)| *at);
        outlook.runs_out_at(leaving.into_iter(), changes, now)
    }

    fn ledger(&self, scope: &Scope, limit: &Limit) -> Option<&Ledger> {
        self.tally(scope, limit.meter()).map(|tally| &tally.ledger)
    }
}
