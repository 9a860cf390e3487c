//! Pools as they stand, for people. Accounts are masked.

use super::{Context, OrgState};
use crate::domain::{
    book::Standing,
    ids::{Meter, PoolId, Scope},
    limit::Limit,
    pools::{Member, estimate},
    refusal::OrgError,
    reply::{AccountView, PoolSummary, PoolView},
    rows::Reported,
    window::{Calendar, Window},
};

impl OrgState {
    pub(in crate::domain) fn pool(&mut self, id: &PoolId, ctx: &Context<'_>) -> Result<Box<PoolView>, OrgError> {
        self.pools.get(id).ok_or(OrgError::PoolUnknown)?;
        Ok(Box::new(self.pool_view(id, ctx)))
    }

    /// Every pool of the org.
    pub(in crate::domain::org) fn pool_views(&mut self, ctx: &Context<'_>) -> Vec<PoolView> {
        self.pools.ids().iter().map(|id| self.pool_view(id, ctx)).collect()
    }

    pub(in crate::domain::org) fn pool_view(&mut self, id: &PoolId, ctx: &Context<'_>) -> PoolView {
        let accounts = self.account_views(id, ctx);
        let row = self.pools.get(id);
        let (version, settings) = row.map(|row| (row.version, row.settings.clone())).unwrap_or_default();
        let in_force = ctx.policy.pools.in_force(id, &settings);
        PoolView { id: id.clone(), version, summary: self.summary(id, &accounts), accounts, settings, in_force }
    }

    pub(super) fn account_views(&mut self, pool: &PoolId, ctx: &Context<'_>) -> Vec<AccountView> {
        let members = self.pools.members(pool);
        members.iter().filter_map(|member| self.account_view(member, ctx)).collect()
    }

    pub(super) fn account_view(&mut self, member: &Member, ctx: &Context<'_>) -> Option<AccountView> {
        let row = self.pools.account(&member.id)?.clone();
        let rules = self.pools.rules(&row.pool, &ctx.policy.pools);
        let limit = row.limit_in_force(&member.scope, &rules, ctx.policy);
        let Standing { used, ends_at, spending, .. } = self.book.standing(&member.scope, &limit, self.now);
        let standing = self.standing(member, &rules, ctx);
        let runs = self.book.runs(&member.scope, &limit, self.now);
        let reported = if self.now < row.reported.until { row.reported } else { Reported::default() };
        let left = standing.as_ref().map_or(0, |headroom| headroom.left);
        Some(AccountView {
            account: row.id.masked(),
            daily_limit: spending.over_amount(limit.amount).unwrap_or(u64::MAX),
            safety_buffer: limit.buffer,
            window: limit.window(),
            per_minute: row.minute_limit_in_force(&member.scope, &rules, ctx.policy).and_then(|limit| limit.amount),
            used,
            reported,
            last_used_at: row.last_used_at,
            window_ends_at: ends_at.filter(|_| runs).map(|at| self.clocks.due(at)),
            available_at: standing.as_ref().err().and_then(|exhausted| exhausted.until).map(|at| self.clocks.due(at)),
            exhausted: standing.err().map(|exhausted| exhausted.by),
            route: row.route(&self.clocks),
            estimate: estimate(left, used, reported.bytes()),
            left,
        })
    }

    /// R-POOL-6.
    fn summary(&mut self, pool: &PoolId, accounts: &[AccountView]) -> PoolSummary {
        let scope = Scope::from(pool);
        let mut today = |meter| {
            let day = Limit::new(meter, Window::Calendar(Calendar::Day), None);
            self.book.standing(&scope, &day, self.now).used
        };
        let mut sum =
            PoolSummary { total_calls: today(Meter::calls()), bytes: today(Meter::bytes()), ..Default::default() };
        let mut transferred: u64 = 0;
        for account in accounts {
            let is_active = account.exhausted.is_none();
            sum.accounts += 1;
            sum.active += u64::from(is_active);
            sum.avoided += u64::from(is_active && account.route.is_some());
            sum.capacity = sum.capacity.saturating_add(account.daily_limit.saturating_sub(account.safety_buffer));
            sum.used = sum.used.saturating_add(account.used);
            sum.remaining = sum.remaining.saturating_add(account.left);
            sum.failed = sum.failed.saturating_add(account.reported.failed);
            sum.quota_errors = sum.quota_errors.saturating_add(account.reported.quota_errors);
            sum.soonest_reset = sum.soonest_reset.into_iter().chain(account.available_at).min();
            transferred = transferred.saturating_add(account.reported.bytes());
        }
        PoolSummary { estimate: estimate(sum.remaining, sum.used, transferred), ..sum }
    }
}
