//! Upstream accounts: which of them the next call uses, charged in the same step, and what is learnt of them.
//!
//! ```text
//! pick      the account with the largest part of its limit left, off avoided routes if there is another
//! charge    1 execution in the scope of the account, before the call goes out
//! report    a quota text is evidence until the window ends; a failure only moves the route
//! ```
//!
//! Whether an account is exhausted is derived from its limits, its ledger and that evidence at every query.
//! `announced` in its row says only that the change was announced.

mod choice;
mod views;

use super::{Context, OrgState};
use crate::{
    bounds::SETTLEMENT_LEDGERS,
    domain::{
        command::{ConfigurePool, Pick, ReportOutcome},
        decision::{Decision, PickedAccount},
        gate::Gate,
        ids::{Meter, PoolId, Scope},
        limit::Limit,
        outcome::{Done, OutcomeReported, Picked, PoolConfigured, Shown},
        pools::Member,
        refusal::OrgError,
        reply::{AccountView, Exhaustion, PoolView},
        request::Rpc,
        rows::{Avoided, Evidence, UpstreamAccountRow},
        upstream::Upstream,
        window::Millis,
    },
};

use choice::Exhausted;

pub(super) use choice::Chosen;

/// What has become of upstream accounts; each change is announced once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolNews {
    /// An account that was usable is exhausted.
    AccountExhausted {
        /// Its pool.
        pool: PoolId,
        /// The account after the change.
        account: AccountView,
        /// Why it is exhausted.
        by: Exhaustion,
    },
    /// An account that was exhausted is usable again.
    AccountUsable {
        /// Its pool.
        pool: PoolId,
        /// The account after the change.
        account: AccountView,
    },
    /// All of them.
    PoolExhausted {
        /// The pool without a usable account.
        pool: PoolId,
        /// Each of its accounts, with when it is usable again.
        accounts: Vec<AccountView>,
    },
    /// A pool that was exhausted has a usable account again.
    PoolUsable {
        /// The pool.
        pool: PoolId,
    },
}

impl OrgState {
    /// The policy of `ctx` is the configured one.
    pub(in crate::domain) fn configure_pool(
        &mut self,
        set: &ConfigurePool,
        ctx: &Context<'_>,
    ) -> Result<Shown<PoolConfigured, Box<PoolView>>, OrgError> {
        let done = self.once(Rpc::ConfigurePool, Some(&set.idempotency), ctx, |org| {
            org.check_pool(set, ctx)?;
            for scope in org.pools.configure(set) {
                org.budgets.limits_changed(scope);
            }
            org.news.pools_touched = true;
            Ok(PoolConfigured)
        })?;
        let policy = self.budgets.in_force(ctx.policy, &self.pools, self.now);
        let ctx = &Context { policy: &policy, ..*ctx };
        self.settle_pool(&set.pool, ctx);
        Ok(done.show(Box::new(self.pool_view(&set.pool, ctx))))
    }

    /// Everything that could refuse it, before anything changes.
    fn check_pool(&self, set: &ConfigurePool, ctx: &Context<'_>) -> Result<(), OrgError> {
        let current = self.pools.get(&set.pool).map_or(0, |row| row.version);
        if set.expected_version.is_some_and(|expected| expected != current) {
            return Err(OrgError::PoolVersion { current });
        }
        let elsewhere = |id| self.pools.account(id).is_some_and(|row| row.pool != set.pool);
        if let Some(index) = set.accounts.iter().position(|new| elsewhere(&new.id)) {
            return Err(OrgError::AccountInOtherPool { index });
        }
        if set.accounts.len() > ctx.bounds.accounts_per_pool as usize {
            return Err(OrgError::TooManyAccounts { most: ctx.bounds.accounts_per_pool });
        }
        if current == 0 && !set.accounts.is_empty() && self.pools.len() >= ctx.bounds.pools_per_org as usize {
            return Err(OrgError::TooManyPools { most: ctx.bounds.pools_per_org });
        }
        // Calls and bytes of each, and of the pool: no pick and no report is ever refused a ledger. Those of
        // accounts that have left stay until their time.
        let of_account = [Meter::executions(), Meter::bytes()];
        let of_pool = [Meter::calls(), Meter::bytes()];
        let accounts = set.accounts.iter().map(|new| (Scope::from(&new.id), &of_account));
        let ledgers = accounts.chain([(Scope::from(&set.pool), &of_pool)]);
        let new = |(scope, meters): (Scope, &[Meter; 2])| self.book.new_ledgers(ctx.policy, &scope, meters.iter());
        self.check_room_for(ledgers.map(new).sum(), SETTLEMENT_LEDGERS * ctx.bounds.ledgers_per_org as usize)
    }

    /// R-POOL-2: one account and its charge, past the gates of the org. Only a picked account is remembered:
    /// a denial is evaluated afresh.
    pub(in crate::domain) fn pick(&mut self, pick: &Pick, ctx: &Context<'_>) -> Result<Box<Decision>, OrgError> {
        let idempotency = pick.idempotency.as_ref();
        if let Some(Picked { account, .. }) = self.recall(Rpc::Pick, idempotency)? {
            let account = Some(self.picked_before(account, ctx));
            return Ok(Box::new(Decision { account, replayed: true, ..Decision::allowed(None) }));
        }
        let chosen = self.choose(&pick.pool, ctx)?;
        self.make_room(idempotency, ctx)?;
        self.count_call(&pick.pool, ctx);
        Ok(Box::new(match chosen {
            Ok(chosen) => {
                let account = self.charge_account(chosen, ctx);
                let (decision, hold, fail_open) = (None, None, Vec::new());
                self.note(Rpc::Pick, idempotency, Picked { account: account.id.clone(), decision, hold, fail_open });
                Decision { account: Some(account), ..Decision::allowed(None) }
            }
            Err(denial) => Decision::allowed(None).denied_by(Gate::Accounts, denial, false),
        }))
    }

    /// Counts a call of the pool, whatever comes of it.
    pub(super) fn count_call(&mut self, pool: &PoolId, ctx: &Context<'_>) {
        self.book.book(ctx.policy, &Scope::from(pool), &Meter::calls(), 1, self.now);
        self.news.pools_touched = true;
        self.changed = true;
    }

    /// Counts before the call goes out.
    pub(super) fn charge_account(&mut self, chosen: Chosen, ctx: &Context<'_>) -> PickedAccount {
        let Chosen { member, mut row, last_resort } = chosen;
        let (pool, scope) = (row.pool.clone(), &member.scope);
        let limit = row.limit(&ctx.policy.pools);
        let opens = !self.book.runs(scope, &limit, self.now);
        self.book.book(ctx.policy, scope, &Meter::executions(), 1, self.now);
        row.last_used_at = Some(self.now);
        if opens {
            row.reported_until(self.period_end(scope, &limit), self.now);
        }
        self.pools.put(row, None);
        let standing = self.standing(&member, ctx);
        if standing.is_err() {
            self.settle_pool(&pool, ctx);
        }
        let remaining = standing.map_or(0, |headroom| headroom.left);
        PickedAccount { id: member.id, remaining, last_resort }
    }

    /// The end of the running window. A rolling one has none: its reports are of whole lengths from the
    /// epoch.
    fn period_end(&mut self, scope: &Scope, limit: &Limit) -> Millis {
        match limit.window().trailing() {
            Some(len) => (self.now / len + 1) * len,
            None => self.book.standing(scope, limit, self.now).ends_at.unwrap_or(self.now),
        }
    }

    /// R-POOL-4, R-POOL-7: what really happened is always booked.
    pub(in crate::domain) fn report_outcome(
        &mut self,
        report: &ReportOutcome,
        ctx: &Context<'_>,
    ) -> Result<Done<OutcomeReported>, OrgError> {
        self.once(Rpc::ReportOutcome, report.idempotency.as_ref(), ctx, |org| {
            org.pools.get(&report.pool).ok_or(OrgError::PoolUnknown)?;
            org.book.book(ctx.policy, &Scope::from(&report.pool), &Meter::bytes(), report.bytes(), org.now);
            if report.account.is_none() {
                org.count_call(&report.pool, ctx);
            }
            let row = report.account.as_ref().and_then(|id| org.pools.account(id));
            let row = row.filter(|row| row.pool == report.pool).cloned();
            let known = row.is_some();
            if let Some(row) = row {
                org.learn(row, report, ctx);
            }
            org.news.pools_touched = true;
            Ok(OutcomeReported { outcome: report.outcome, known })
        })
    }

    fn learn(&mut self, mut row: UpstreamAccountRow, report: &ReportOutcome, ctx: &Context<'_>) {
        let (member, pools) = (Member::of(&row.id), &ctx.policy.pools);
        let scope = &member.scope;
        let limit = row.limit(pools);
        self.book.book(ctx.policy, scope, &Meter::bytes(), report.bytes(), self.now);
        let used_up = report.outcome == Upstream::QuotaExhausted;
        let opens = used_up && !self.book.runs(scope, &limit, self.now);
        if used_up {
            row.evidence = Some(self.evidence(scope, &limit));
        }
        if opens || row.reported.until <= self.now {
            row.reported_until(self.period_end(scope, &limit), self.now);
        }
        let seen = &mut row.reported;
        seen.bytes_up = seen.bytes_up.saturating_add(report.bytes_up);
        seen.bytes_down = seen.bytes_down.saturating_add(report.bytes_down);
        match report.outcome {
            Upstream::Ok => {}
            Upstream::QuotaExhausted => seen.quota_errors += 1,
            Upstream::Failed => seen.failed += 1,
            Upstream::Refused => {
                seen.failed += 1;
                row.quarantine = Some(self.avoided(row.quarantine, pools.quarantine));
            }
            Upstream::Unavailable => {
                seen.failed += 1;
                row.cooldown = Some(self.avoided(row.cooldown, pools.cooldown));
            }
        }
        let (pool, announced) = (row.pool.clone(), row.announced);
        self.pools.put(row, None);
        if announced || self.standing(&member, ctx).is_err() {
            self.settle_pool(&pool, ctx);
        }
    }

    /// Until the window ends. One begins where none runs: what was exhausted before its first use is usable
    /// again all the same.
    fn evidence(&mut self, scope: &Scope, limit: &Limit) -> Evidence {
        self.book.open(scope, limit, self.now);
        let until = match limit.window().trailing() {
            Some(len) => self.now.saturating_add(len),
            None => self.period_end(scope, limit),
        };
        Evidence { at: self.now, until, limit: limit.amount.unwrap_or(u64::MAX) }
    }

    /// From now on, or as long as it is avoided already where that is longer.
    fn avoided(&self, known: Option<Avoided>, length: Millis) -> Avoided {
        let new = Avoided { since: self.now, until: self.now.saturating_add(length) };
        known.filter(|known| known.until > new.until).unwrap_or(new)
    }

    /// Ends what has ended by the org's time, and tells it.
    pub(super) fn roll_pools(&mut self, ctx: &Context<'_>) {
        for pool in self.pools.roll(self.now) {
            self.settle_pool(&pool, ctx);
            self.news.pools_touched = true;
            self.changed = true;
        }
    }

    pub(super) fn settle_pools(&mut self, ctx: &Context<'_>) {
        self.pools.ids().iter().for_each(|pool| self.settle_pool(pool, ctx));
    }

    /// Announces what has changed in every pool, and answers all of them.
    pub(in crate::domain) fn roll_all_pools(&mut self, ctx: &Context<'_>) -> Vec<PoolView> {
        self.settle_pools(ctx);
        self.pool_views(ctx)
    }

    /// Announces which accounts have become exhausted or usable since the last time, and whether any is left.
    pub(super) fn settle_pool(&mut self, pool: &PoolId, ctx: &Context<'_>) {
        let members = self.pools.members(pool);
        let mut all = !members.is_empty();
        for member in members.iter() {
            let exhausted = self.standing(member, ctx).err();
            all &= exhausted.is_some();
            let Some(mut row) = self.pools.account(&member.id).cloned() else { continue };
            let free_at = exhausted.as_ref().and_then(|by| by.until);
            if row.announced == exhausted.is_some() {
                self.pools.look_at(&row, free_at);
                continue;
            }
            row.announced = exhausted.is_some();
            self.pools.put(row, free_at);
            self.changed = true;
            let (pool, account) = (pool.clone(), self.account_view(member, ctx));
            self.news.pools.extend(account.map(|account| match exhausted {
                Some(Exhausted { by, .. }) => PoolNews::AccountExhausted { pool, account, by },
                None => PoolNews::AccountUsable { pool, account },
            }));
        }
        if self.pools.get(pool).is_some_and(|row| row.announced != all) {
            self.pools.tell(pool, all);
            self.changed = true;
            let accounts = if all { self.account_views(pool, ctx) } else { Vec::new() };
            let pool = pool.clone();
            let news = if all { PoolNews::PoolExhausted { pool, accounts } } else { PoolNews::PoolUsable { pool } };
            self.news.pools.push(news);
        }
    }
}
