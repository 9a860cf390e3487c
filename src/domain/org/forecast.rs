//! Which limits run out, and when, if the org goes on as it did lately: for those who ask, never
//! for a decision.

use std::sync::Arc;

use super::{Context, OrgState};
use crate::{
    bounds::MINUTE_MS,
    domain::{
        decision::LimitView,
        forecast::{Outlook, Pace},
        limit::Limit,
        policy::{BalanceSource, Exemption, OrgPolicy},
        rate::RateRecord,
        window::Millis,
    },
};

impl OrgState {
    /// Adds to limits as they stand now when they run out. Of a balance of the provider's and of
    /// the number of sessions nothing is known: what they count is in no ledger.
    pub(super) fn forecast(&mut self, views: &mut [LimitView], ctx: &Context<'_>) {
        let rate = self.rate_now(ctx);
        for view in views.iter_mut().filter(|view| view.amount.is_some()) {
            let is_rate = self.rate_label.as_ref().is_some_and(|label| Arc::ptr_eq(label, &view.label));
            view.runs_out_at = match limit_of(view, ctx.policy) {
                _ if is_rate => self.backstop_runs_out_at(rate, ctx),
                Some(limit) => self.book.runs_out_at(ctx.policy, &view.scope, limit, self.now),
                None => None,
            };
        }
    }

    /// The backstop counts calls, of which there is no ledger: its pace is that of its running
    /// window.
    fn backstop_runs_out_at(&self, record: RateRecord, ctx: &Context<'_>) -> Option<Millis> {
        let rate = &ctx.policy.rate;
        if rate.exempt == Exemption::Always {
            return None;
        }
        let began_at = record.window_end().saturating_sub(record.len);
        let over = self.now.saturating_sub(began_at).max(MINUTE_MS.min(record.len));
        let pace = Pace { amount: record.count, over };
        let amount = rate.amount?;
        let usable = amount.saturating_add(self.rate_spending(ctx).more());
        let outlook = Outlook { taken: record.count, usable, without: amount, pace, ends_at: record.window_end() };
        outlook.runs_out_at(std::iter::empty(), rate.origin.changes(amount), self.now)
    }
}

/// The limit that a view shows, if the org's own book counts it.
fn limit_of<'p>(view: &LimitView, policy: &'p OrgPolicy) -> Option<&'p Limit> {
    let included = match &policy.balance.source {
        BalanceSource::Included { limit, .. } => Some(limit),
        BalanceSource::None | BalanceSource::NotIncluded | BalanceSource::Provider => None,
    };
    let mut limits = policy.limits_of(&view.scope).iter().chain(included);
    limits.find(|limit| Arc::ptr_eq(&limit.label, &view.label))
}
