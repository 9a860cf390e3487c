//! Upstream accounts: which of them the next call uses, charged in the same step, and what is learnt of them.
//!
//! ```text
//! pick      the account with the largest part of its limit left, off avoided routes if there is another
//! charge    1 execution in the scope of the account, before the call goes out
//! report    a quota text is evidence until the window ends; a failure only moves the route; a success ends
//!           what was said before its call was picked
//! ```
//!
//! Whether an account is exhausted is derived from its limits, its ledger and that evidence at every query.
//! What was announced of it is an alert of the org.

mod changes;
mod choice;
mod views;

use std::slice;

use super::{Context, OrgState};
use crate::{
    bounds::SETTLEMENT_LEDGERS,
    domain::{
        alerts::Subject,
        command::{ClearAccount, ConfigurePool, Pick, ReportOutcome},
        decision::{Decision, PickedAccount},
        denials::Asked,
        events::Happening,
        folded::Folded,
        gate::Gate,
        ids::{Meter, PoolId, Scope},
        limit::Limit,
        outcome::{AccountCleared, Done, OutcomeReported, Picked, PoolConfigured, Shown},
        policy::PoolRules,
        pools::Member,
        promise::Promise,
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
            let (before, members) = (org.pools.configured(&set.pool), org.pools.members(&set.pool));
            for scope in org.pools.configure(set, &org.clocks) {
                org.budgets.limits_changed(scope);
            }
            org.forget_announced(&set.pool, &members);
            org.news.pools_touched = true;
            let after = org.pools.configured(&set.pool);
            org.operated(Rpc::ConfigurePool.name(), changes::between(&set.pool, &before, &after), ctx);
            Ok(PoolConfigured)
        })?;
        let policy = self.policy_at(self.now, ctx);
        let ctx = &Context { policy: &policy, ..*ctx };
        self.settle_pool(&set.pool, ctx);
        Ok(done.show(Box::new(self.pool_view(&set.pool, ctx))))
    }

    /// Nothing stays announced of what is gone.
    fn forget_announced(&mut self, pool: &PoolId, members: &[Member]) {
        for member in members.iter().filter(|member| self.pools.account(&member.id).is_none()) {
            self.alerts.set(Subject::Account(member.id.clone()), false, self.now);
        }
        if self.pools.get(pool).is_none() {
            self.alerts.set(Subject::Pool(pool.clone()), false, self.now);
        }
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
        let new = ledgers.map(|(scope, meters)| self.book.new_upstream(ctx.policy, &scope, meters)).sum::<usize>();
        let most = SETTLEMENT_LEDGERS * ctx.bounds.ledgers_per_org as usize;
        let full = new > 0 && self.book.upstream_ledgers() + new > most;
        if full { Err(OrgError::TooManyLedgers { most }) } else { Ok(()) }
    }

    /// R-POOL-2: one account and its charge, past the gates of the org. Only a picked account is remembered:
    /// a denial is evaluated afresh.
    pub(in crate::domain) fn pick(&mut self, pick: &Pick, ctx: &Context<'_>) -> Result<Box<Decision>, OrgError> {
        let idempotency = pick.idempotency.as_ref();
        if let Some(Picked { account, .. }) = self.recall(Rpc::Pick, idempotency, Promise::Durable)? {
            let picked_at = self.journal.answered_at(Rpc::Pick, idempotency, self.now);
            let account = Some(self.picked_before(account, picked_at, ctx));
            return Ok(Box::new(Decision { account, replayed: true, ..Decision::allowed(None) }));
        }
        let chosen = self.choose(&pick.pool, ctx)?;
        self.make_room(idempotency, Promise::Durable, ctx)?;
        self.count_call(&pick.pool, ctx);
        Ok(Box::new(match chosen {
            Ok(chosen) => {
                let account = self.charge_account(chosen, ctx);
                let (decision, hold, fail_open) = (None, None, Vec::new());
                self.note(Rpc::Pick, idempotency, Picked { account: account.id.clone(), decision, hold, fail_open });
                Decision { account: Some(account), ..Decision::allowed(None) }
            }
            Err(denial) => {
                let decision = Decision::allowed(None).denied_by(Gate::Accounts, denial, false);
                self.keep_denial(Asked::pick(&pick.pool), &decision, 0, None, ctx);
                self.denied(Gate::Accounts, Scope::of_org(), pick.pool.as_str());
                decision
            }
        }))
    }

    /// Counts a call of the pool, whatever comes of it.
    pub(super) fn count_call(&mut self, pool: &PoolId, ctx: &Context<'_>) {
        self.book.book(ctx.policy, (&[Scope::from(pool)], Folded::NONE), &Meter::calls(), 1, self.now);
        self.news.pools_touched = true;
        self.changed = true;
    }

    /// Counts before the call goes out.
    pub(super) fn charge_account(&mut self, chosen: Chosen, ctx: &Context<'_>) -> PickedAccount {
        let Chosen { member, mut row, last_resort } = chosen;
        let (pool, scope) = (row.pool.clone(), &member.scope);
        let rules = self.pools.rules(&pool, &ctx.policy.pools);
        let limit = row.limit_in_force(scope, &rules, ctx.policy);
        let opens = !self.book.runs(scope, &limit, self.now);
        self.book.book(ctx.policy, (slice::from_ref(scope), Folded::NONE), &Meter::executions(), 1, self.now);
        row.last_used_at = Some(self.now);
        if opens {
            row.reported_until(self.period_end(scope, &limit), self.now);
        }
        self.pools.put(row, None, &self.clocks);
        let standing = self.standing(&member, &rules, ctx);
        if standing.as_ref().is_err_and(Exhausted::lasts) {
            self.settle_pool(&pool, ctx);
        }
        let remaining = standing.map_or(0, |headroom| headroom.left);
        PickedAccount { id: member.id, picked_at: self.now, remaining, last_resort }
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
            let set = &org.pools.get(&report.pool).ok_or(OrgError::PoolUnknown)?.settings;
            let named = report.named_wait();
            let said = (report.status, report.text.as_str());
            let outcome = ctx.policy.pools.classify((&report.pool, set), said, named.is_some());
            let pool = Scope::from(&report.pool);
            org.book.book(ctx.policy, (&[pool], Folded::NONE), &Meter::bytes(), report.bytes(), org.now);
            if report.account.is_none() {
                org.count_call(&report.pool, ctx);
            }
            let row = report.account.as_ref().and_then(|id| org.pools.account(id));
            let row = row.filter(|row| row.pool == report.pool).cloned();
            let known = row.is_some();
            if let Some(row) = row {
                org.learn(row, report, (outcome, named), ctx);
            }
            org.news.pools_touched = true;
            Ok(OutcomeReported { outcome, known })
        })
    }

    /// What the report says of its account, as it was classified, with the time that the upstream named.
    fn learn(
        &mut self,
        mut row: UpstreamAccountRow,
        report: &ReportOutcome,
        (outcome, named): (Upstream, Option<Millis>),
        ctx: &Context<'_>,
    ) {
        let (member, rules) = (Member::of(&row.id), self.pools.rules(&row.pool, &ctx.policy.pools));
        let scope = &member.scope;
        let limit = row.limit_in_force(scope, &rules, ctx.policy);
        self.book.book(ctx.policy, (slice::from_ref(scope), Folded::NONE), &Meter::bytes(), report.bytes(), self.now);
        let used_up = outcome == Upstream::QuotaExhausted;
        let opens = used_up && named.is_none() && !self.book.runs(scope, &limit, self.now);
        if used_up {
            row.evidence = Some(self.evidence(scope, &limit, named));
        }
        if opens || row.reported.until <= self.now {
            row.reported_until(self.period_end(scope, &limit), self.now);
        }
        let seen = &mut row.reported;
        seen.bytes_up = seen.bytes_up.saturating_add(report.bytes_up);
        seen.bytes_down = seen.bytes_down.saturating_add(report.bytes_down);
        match outcome {
            Upstream::Ok => row.went_well(report.picked_at, &self.clocks),
            Upstream::QuotaExhausted => seen.quota_errors += 1,
            Upstream::Failed => seen.failed += 1,
            Upstream::RateLimited => {
                seen.failed += 1;
                row.asked_to_wait(named, report.picked_at, &self.clocks);
            }
            Upstream::Refused => {
                seen.failed += 1;
                row.quarantine = Some(self.avoided(row.quarantine, rules.quarantine, named));
            }
            Upstream::Unavailable => {
                seen.failed += 1;
                row.cooldown = Some(self.avoided(row.cooldown, rules.cooldown, named));
            }
        }
        self.learnt(row, &member, &rules, ctx);
    }

    /// Keeps what is known of an account, and announces what follows.
    fn learnt(&mut self, row: UpstreamAccountRow, member: &Member, rules: &PoolRules, ctx: &Context<'_>) {
        let (pool, announced) = (row.pool.clone(), self.alerts.has(&Subject::Account(row.id.clone())));
        self.pools.put(row, None, &self.clocks);
        if announced || self.standing(member, rules, ctx).is_err_and(|exhausted| exhausted.lasts()) {
            self.settle_pool(&pool, ctx);
        }
    }

    /// For the time that the upstream named, or until the window ends. One begins where none runs: what was
    /// exhausted before its first use is usable again all the same.
    fn evidence(&mut self, scope: &Scope, limit: &Limit, named: Option<Millis>) -> Evidence {
        let until = match named.or_else(|| limit.window().trailing()) {
            Some(len) => self.now.saturating_add(len),
            None => {
                self.book.open(scope, limit, self.now);
                self.period_end(scope, limit)
            }
        };
        Evidence { at: self.now, until, limit: self.said_of(scope, limit) }
    }

    /// The amount that an upstream has said something of: a limit that is raised, or granted more, counts for more than
    /// what was said before.
    fn said_of(&self, scope: &Scope, limit: &Limit) -> u64 {
        let granted = self.book.spending(scope, limit, 0).granted;
        limit.amount.map_or(u64::MAX, |amount| amount.saturating_add(granted))
    }

    /// For the time that the upstream named, or for `length`; as long as it is avoided already where that is
    /// longer than `length`.
    fn avoided(&self, known: Option<Avoided>, length: Millis, named: Option<Millis>) -> Avoided {
        let until = self.clocks.lease.after(named.unwrap_or(length));
        let known = known.map_or(until, |known| known.until.max(until));
        Avoided { since: self.now, until: if named.is_some() { until } else { known } }
    }

    /// R-POOL-4: an operator knows better. What was counted stays.
    pub(in crate::domain) fn clear_account(
        &mut self,
        clear: &ClearAccount,
        ctx: &Context<'_>,
    ) -> Result<Shown<AccountCleared, Box<AccountView>>, OrgError> {
        let done = self.once(Rpc::ClearAccount, Some(&clear.idempotency), ctx, |org| {
            let mut row = org.of_pool(clear)?;
            let was_held = row.clear(&org.clocks);
            let rules = org.pools.rules(&row.pool, &ctx.policy.pools);
            org.learnt(row, &Member::of(&clear.account), &rules, ctx);
            org.news.pools_touched = true;
            org.operated(Rpc::ClearAccount.name(), changes::cleared(clear, was_held), ctx);
            Ok(AccountCleared { was_held })
        })?;
        self.of_pool(clear)?;
        let view = self.account_view(&Member::of(&clear.account), ctx).ok_or(OrgError::AccountUnknown)?;
        Ok(done.show(Box::new(view)))
    }

    fn of_pool(&self, clear: &ClearAccount) -> Result<UpstreamAccountRow, OrgError> {
        self.pools.get(&clear.pool).ok_or(OrgError::PoolUnknown)?;
        let row = self.pools.account(&clear.account).filter(|row| row.pool == clear.pool);
        row.cloned().ok_or(OrgError::AccountUnknown)
    }

    /// Ends what has ended by the org's time, and tells it.
    pub(super) fn roll_pools(&mut self, ctx: &Context<'_>) {
        for pool in self.pools.roll(&self.clocks) {
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
        let (members, rules) = (self.pools.members(pool), self.pools.rules(pool, &ctx.policy.pools));
        let mut all = !members.is_empty();
        for member in members.iter() {
            let exhausted = self.standing(member, &rules, ctx).err().filter(Exhausted::lasts);
            all &= exhausted.is_some();
            let Some(row) = self.pools.account(&member.id).cloned() else { continue };
            let free_at = exhausted.as_ref().and_then(|by| by.until);
            self.pools.look_at(&row, free_at, &self.clocks);
            if !self.alerts.set(Subject::Account(row.id), exhausted.is_some(), self.now) {
                continue;
            }
            self.changed = true;
            let (is_usable, masked) = (exhausted.is_none(), Some(member.id.masked().into()));
            self.announce(Happening::Upstream { pool: pool.clone(), account: masked, is_usable, until: free_at });
            let (pool, account) = (pool.clone(), self.account_view(member, ctx));
            self.news.pools.extend(account.map(|account| match exhausted {
                Some(Exhausted { by, .. }) => PoolNews::AccountExhausted { pool, account, by },
                None => PoolNews::AccountUsable { pool, account },
            }));
        }
        if self.pools.get(pool).is_some() && self.alerts.set(Subject::Pool(pool.clone()), all, self.now) {
            self.changed = true;
            let accounts = if all { self.account_views(pool, ctx) } else { Vec::new() };
            let pool = pool.clone();
            let until = accounts.iter().filter_map(|account| Some(account.available_at?.at)).min();
            self.announce(Happening::Upstream { pool: pool.clone(), account: None, is_usable: !all, until });
            let news = if all { PoolNews::PoolExhausted { pool, accounts } } else { PoolNews::PoolUsable { pool } };
            self.news.pools.push(news);
        }
    }
}
