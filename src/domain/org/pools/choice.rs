//! Which account of a pool is used next.
//!
//! Of those that are not exhausted: a healthy route before one that has failed before one that was refused,
//! of which the profile `llm` keeps those that were refused, or asked to wait, until their time; then the largest part of its limit left, so that accounts of any size are used up together; then the
//! most calls left, and the one that was used longest ago.

use std::cmp::Reverse;

use super::{Context, OrgState};
use crate::domain::{
    alerts::Subject,
    book::Standing,
    decision::PickedAccount,
    gate::{Code, Denial, Fits},
    ids::{AccountId, Meter, PoolId, Scope},
    pipeline,
    policy::PoolRules,
    pools::{CLOCK_MINUTE, Member},
    refusal::OrgError,
    reply::{Exhaustion, Route},
    rows::UpstreamAccountRow,
    window::{Millis, iso},
    words,
};

/// Why an account cannot be used, and until when; `None` = it will not be usable by itself.
#[derive(Debug)]
pub(in crate::domain::org) struct Exhausted {
    pub(super) by: Exhaustion,
    pub(super) until: Option<Millis>,
    /// Nothing but a limit per minute does it.
    within_a_minute: bool,
}

impl Exhausted {
    /// Whether it is announced: what passes by itself in a moment comes and goes too often.
    pub(super) fn lasts(&self) -> bool {
        !self.within_a_minute && self.by != Exhaustion::RateLimited
    }
}

/// What an account has left.
#[derive(Debug, Clone, Copy)]
pub(in crate::domain::org) struct Headroom {
    /// Calls.
    pub(super) left: u64,
    /// Of the limit of which the smallest part is left, whatever it counts: what is left, and the whole.
    part: (u64, u64),
    route: Option<Route>,
    last_used_at: Option<Millis>,
}

impl Headroom {
    /// 0 = healthy.
    fn avoided(&self) -> u8 {
        self.route.map_or(0, |route| if route.refused { 2 } else { 1 })
    }

    fn is_better_than(&self, other: &Self) -> bool {
        let rank = |this: &Self, of: &Self| {
            let part = share(this.part, of.part);
            (Reverse(this.avoided()), part, this.left, Reverse(this.last_used_at.unwrap_or(0)))
        };
        rank(self, other) > rank(other, self)
    }
}

/// Grows with the part that is left; only good for holding it against that of `other`.
fn share((left, _): (u64, u64), (_, other): (u64, u64)) -> u128 {
    u128::from(left) * u128::from(other)
}

/// An account that is not charged yet.
#[derive(Debug)]
pub(in crate::domain::org) struct Chosen {
    pub(super) member: Member,
    pub(super) row: UpstreamAccountRow,
    pub(super) last_resort: bool,
}

impl OrgState {
    /// The account that is used next, or why there is none. Inside is the answer of the pool.
    pub(in crate::domain::org) fn choose(
        &mut self,
        pool: &PoolId,
        ctx: &Context<'_>,
    ) -> Result<Result<Chosen, Denial>, OrgError> {
        self.pools.get(pool).ok_or(OrgError::PoolUnknown)?;
        if let Some(denial) = pipeline::pool_limits(&mut self.book, &Scope::from(pool), ctx.policy, &self.clocks) {
            return Ok(Err(denial));
        }
        let (members, rules) = (self.pools.members(pool), self.pools.rules(pool, &ctx.policy.pools));
        let mut all_last = true;
        let mut best: Option<(Headroom, &Member)> = None;
        let mut soonest: Option<Millis> = None;
        for member in members.iter() {
            match self.standing(member, &rules, ctx) {
                Ok(headroom) if best.is_none_or(|(best, _)| headroom.is_better_than(&best)) => {
                    best = Some((headroom, member));
                }
                Ok(_) => {}
                Err(exhausted) => {
                    all_last &= exhausted.lasts();
                    soonest = soonest.into_iter().chain(exhausted.until).min();
                }
            }
        }
        let stale = match best {
            Some((_, member)) => self.alerts.has(&Subject::Account(member.id.clone())),
            None => all_last && !self.alerts.has(&Subject::Pool(pool.clone())),
        };
        if stale {
            self.settle_pool(pool, ctx);
        }
        let chosen = best.and_then(|(headroom, member)| {
            let row = self.pools.account(&member.id)?.clone();
            Some(Chosen { member: member.clone(), row, last_resort: headroom.avoided() > 0 })
        });
        Ok(chosen.ok_or_else(|| self.all_exhausted(pool, members.len(), soonest)))
    }

    /// R-POOL-3. Names no account.
    fn all_exhausted(&self, pool: &PoolId, count: usize, soonest: Option<Millis>) -> Denial {
        let (when, short) = soonest.map_or_else(
            || {
                let when = "None will be usable by itself: raise a limit, or add an account.".to_owned();
                (when, "none usable by itself".to_owned())
            },
            |at| {
                let wait = words::duration(self.clocks.until(at));
                let when = format!("The first is usable again at {} (in {wait}).", iso(at));
                (when, format!("the first usable again in {wait}"))
            },
        );
        let all = if count == 1 { "The account".to_owned() } else { format!("All {count} accounts") };
        let are = if count == 1 { "is" } else { "are" };
        Denial {
            code: Code::AccountsExhausted,
            fits: soonest.map_or(Fits::Never, |at| Fits::After(self.clocks.until(at))),
            message: format!("{all} of pool {pool} {are} exhausted. {when}"),
            names: vec![format!("the accounts of pool {pool} (exhausted, {short})")],
        }
    }

    /// What an account has left, from its limits, its ledger and what its upstream said.
    pub(in crate::domain::org) fn standing(
        &mut self,
        member: &Member,
        rules: &PoolRules,
        ctx: &Context<'_>,
    ) -> Result<Headroom, Exhausted> {
        let row = self.pools.account(&member.id);
        let withheld = row.and_then(|row| row.withheld(rules.profile, &self.clocks));
        let limit = row.map(|row| row.limit_in_force(&member.scope, rules, ctx.policy));
        let amount = limit.map_or(0, |limit| self.said_of(&member.scope, &limit));
        let evidence = row.and_then(|row| row.evidence);
        let evidence = evidence.filter(|evidence| self.now < evidence.until && amount <= evidence.limit);
        let route = row.and_then(|row| row.route(&self.clocks));
        let last_used_at = row.and_then(|row| row.last_used_at);
        let mut headroom = Headroom { left: u64::MAX, part: (u64::MAX, u64::MAX), route, last_used_at };
        let mut full: Option<Option<Millis>> = None;
        let mut within_a_minute = true;
        let limits = ctx.policy.limits_of(&member.scope).iter().filter(|limit| !limit.shadow);
        for (limit, amount) in limits.filter_map(|limit| Some((limit, limit.amount?))) {
            let Standing { used, reserved, spending, .. } = self.book.standing(&member.scope, limit, self.now);
            let counts_calls = limit.meter().as_str() == Meter::EXECUTIONS;
            let asked = u64::from(counts_calls);
            if !limit.admits(spending.more(), used, reserved, asked) {
                let fits = self.book.fits_at(&member.scope, None, limit, asked, &self.clocks);
                full = Some(full.map_or(fits, |until| until.zip(fits).map(|(a, b)| a.max(b))));
                within_a_minute &= limit.window() == CLOCK_MINUTE && fits.is_some();
                continue;
            }
            let usable = amount.saturating_add(spending.more()).saturating_sub(limit.buffer);
            let part = (usable.saturating_sub(used).saturating_sub(reserved), usable);
            if share(part, headroom.part) < share(headroom.part, part) {
                headroom.part = part;
            }
            if counts_calls {
                headroom.left = headroom.left.min(part.0);
            }
        }
        let said = evidence.map(|said| (Exhaustion::Upstream, said.until));
        match (said.or(withheld), full) {
            (None, None) => Ok(headroom),
            (None, Some(until)) => Err(Exhausted { by: Exhaustion::Limit, until, within_a_minute }),
            (Some((by, at)), full) => {
                let at = withheld.map_or(at, |(_, until)| until.max(at));
                let until = full.map_or(Some(at), |until| until.map(|until| until.max(at)));
                Err(Exhausted { by, until, within_a_minute: false })
            }
        }
    }

    /// The account of an earlier answer, as it stands now.
    pub(in crate::domain::org) fn picked_before(
        &mut self,
        id: AccountId,
        picked_at: Option<Millis>,
        ctx: &Context<'_>,
    ) -> PickedAccount {
        let member = Member::of(&id);
        let rules = self.pools.account(&id).map(|row| self.pools.rules(&row.pool, &ctx.policy.pools));
        let standing = rules.and_then(|rules| self.standing(&member, &rules, ctx).ok());
        let remaining = standing.map_or(0, |headroom| headroom.left);
        PickedAccount { picked_at: picked_at.unwrap_or(0), remaining, last_resort: false, id }
    }
}
