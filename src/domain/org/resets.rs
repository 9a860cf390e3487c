//! Windows that operators reset: nothing of one is used from then on, and the ledger stays as it is.

use super::{Context, OrgState, control::field};
use crate::domain::{
    command::ResetWindow,
    events::Change,
    ids::{Meter, Scope},
    limit::Limit,
    outcome::{OverrideSet, Shown},
    policy::OrgPolicy,
    rate::RateRecord,
    refusal::{NoReset, OrgError},
    reply::WindowChange,
    request::Rpc,
    rows::{OverrideRow, OverrideSubject, Setting},
    window::Millis,
    words,
};

impl OrgState {
    /// R-CTRL-6. The policy of `ctx` is the configured one.
    pub(in crate::domain) fn reset_window(
        &mut self,
        reset: &ResetWindow,
        ctx: &Context<'_>,
    ) -> Result<Shown<OverrideSet, WindowChange>, OrgError> {
        let before = self.standing_of(&reset.scope, &reset.limit, ctx).limit;
        let done = self.once(Rpc::ResetWindow, Some(&reset.idempotency), ctx, |org| {
            let used = org.reset(reset, ctx)?;
            let meter = reset.limit.meter().ok_or(OrgError::NoReset(NoReset::NoLimit))?;
            let what = format!("used of {}", field(&reset.scope, &reset.limit));
            let change = Change::between(&what, &words::amount(&meter, used), &words::amount(&meter, 0));
            let ctx = &Context { reason: &reset.reason, ..*ctx };
            org.operated("ResetWindow", change.into_iter().collect(), ctx);
            Ok(OverrideSet)
        })?;
        let after = self.standing_of(&reset.scope, &reset.limit, ctx).limit;
        let before = before.filter(|_| !done.replayed);
        Ok(done.show(WindowChange { before, after }))
    }

    /// Answers what was used.
    fn reset(&mut self, reset: &ResetWindow, ctx: &Context<'_>) -> Result<u64, OrgError> {
        let policy = self.policy_at(self.now, ctx);
        if reset.limit.is_sessions() {
            return Err(OrgError::NoReset(NoReset::Concurrent));
        }
        if reset.limit.is_rate() {
            let record = RateRecord::at(self.rate, &policy.rate, self.now);
            self.rate = Some(RateRecord { count: 0, ..record });
            self.mark_spending(self.now);
            (self.changed, self.limits_changed) = (true, true);
            return Ok(record.count);
        }
        let limit = policy.limit_named(&reset.scope, reset.limit.as_str());
        let limit = limit.ok_or(OrgError::NoReset(NoReset::NoLimit))?.clone();
        if limit.carries {
            return Err(OrgError::NoReset(NoReset::Carries));
        }
        let used = self.book.standing(&reset.scope, &limit, self.now).used;
        let (skipped, until) = self.left_out(reset, &limit);
        let subject = OverrideSubject::reset(&reset.limit);
        let old = self.overrides.get(&reset.scope, &subject);
        let row = OverrideRow {
            scope: reset.scope.clone(),
            version: old.map_or(0, |row| row.version) + 1,
            subject,
            setting: Setting::CountsFrom { skipped, window: limit.window() },
            set_at: self.now,
            until,
            ended_at: None,
            reason: reset.reason.clone(),
        };
        self.put_override(row, ctx)?;
        // A reset gives nothing back of a grant.
        self.mark_spending(self.now);
        Ok(used)
    }

    /// What of the slice of now, or of the running window, does not count from now on; and when nothing of what does not is
    /// in the window any more.
    fn left_out(&mut self, reset: &ResetWindow, limit: &Limit) -> (u64, Option<Millis>) {
        let window = limit.window();
        let skipped = self.left_out_at(&reset.scope, limit, self.now);
        if limit.is_counted() {
            return (skipped, self.book.standing(&reset.scope, limit, self.now).ends_at);
        }
        let slice = self.now / window.slice() * window.slice();
        (skipped, window.slice_leaves_at(slice).or_else(|| window.end(window.start(self.now))))
    }

    /// The resets of limits on this meter that still leave something out, with what there is of the slice, or of the
    /// window, out of which they do.
    pub(super) fn resets_of(&mut self, meter: &Meter, policy: &OrgPolicy) -> Vec<ResetOf> {
        let rows: Vec<_> = self.overrides.in_force().filter(|row| row.subject.is_reset()).cloned().collect();
        let of_limit = |row: OverrideRow| {
            let name = row.subject.limit_name()?;
            let limit = policy.limit_named(&row.scope, name).filter(|limit| limit.meter() == meter)?.clone();
            let there = self.left_out_at(&row.scope, &limit, row.set_at);
            Some(ResetOf { row, limit, there })
        };
        rows.into_iter().filter_map(of_limit).collect()
    }

    /// Usage was given back. What came from before a reset was left out already and makes no room, and no reset leaves
    /// out more than there is.
    pub(super) fn refunded_before_resets(&mut self, resets: Vec<ResetOf>, at: Millis, configured: &Context<'_>) {
        for ResetOf { row, limit, there } in resets {
            let Setting::CountsFrom { skipped, window } = row.setting else { continue };
            let left = self.left_out_at(&row.scope, &limit, row.set_at);
            let less = if at < row.set_at { there.saturating_sub(left) } else { 0 };
            let remains = skipped.saturating_sub(less).min(left);
            if remains != skipped {
                self.overrides
                    .put(OverrideRow { setting: Setting::CountsFrom { skipped: remains, window }, ..row }, usize::MAX);
                self.overrides_changed(self.now, configured);
            }
        }
    }

    /// What there is of the slice in which a window is reset at this time, or of the running window.
    fn left_out_at(&mut self, scope: &Scope, limit: &Limit, at: Millis) -> u64 {
        if limit.is_counted() {
            let all = Limit { counts_from: None, ..limit.clone() };
            return self.book.standing(scope, &all, self.now).used;
        }
        let slice = limit.window().slice();
        let first = at / slice * slice;
        let since = |from: Millis| self.book.used_since(scope, limit, from);
        since(first).saturating_sub(since(first.saturating_add(slice)))
    }
}

/// A reset, the limit whose window it was, and what there is of what it leaves out.
#[derive(Debug)]
pub(super) struct ResetOf {
    row: OverrideRow,
    limit: Limit,
    there: u64,
}
