//! Which account of a pool is used next.
//!
//! Of those that are not exhausted: a healthy route before one that has failed before one that was refused;
//! then the largest part of its limit left, so that accounts of any size are used up together; then the
//! most calls left, and the one that was used longest ago.

use std::cmp::Reverse;

use super::{Context, OrgState};
use crate::domain::{
    book::Standing,
    decision::PickedAccount,
    gate::{Code, Denial},
    ids::{AccountId, Meter, PoolId, Scope},
    pipeline,
    pools::Member,
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
        let announced = self.pools.get(pool).ok_or(OrgError::PoolUnknown)?.announced;
        if let Some(denial) = pipeline::pool_limits(&mut self.book, &Scope::from(pool), ctx.policy, self.now) {
            return Ok(Err(denial));
        }
        let members = self.pools.members(pool);
        let mut best: Option<(Headroom, &Member)> = None;
        let mut soonest: Option<Millis> = None;
        for member in members.iter() {
            match self.standing(member, ctx) {
                Ok(headroom) if best.is_none_or(|(best, _)| headroom.is_better_than(&best)) => {
                    best = Some((headroom, member));
                }
                Ok(_) => {}
                Err(Exhausted { until, .. }) => soonest = soonest.into_iter().chain(until).min(),
            }
        }
        let stale =
            best.map_or(!announced, |(_, member)| self.pools.account(&member.id).is_some_and(|row| row.announced));
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
        let when = soonest.map_or_else(
            || "None will be usable by itself: raise a limit, or add an account.".to_owned(),
            |at| {
                let wait = words::duration(at.saturating_sub(self.now));
                format!("The first is usable again at {} (in {wait}).", iso(at))
            },
        );
        let all = if count == 1 { "The account".to_owned() } else { format!("All {count} accounts") };
        let are = if count == 1 { "is" } else { "are" };
        Denial {
            code: Code::AccountsExhausted,
            retry_after: soonest.map_or(0, |at| at.saturating_sub(self.now)),
            message: format!("{all} of pool {pool} {are} exhausted. {when}"),
        }
    }

    /// What an account has left, from its limits, its ledger and what its upstream said.
    pub(in crate::domain::org) fn standing(
        &mut self,
        member: &Member,
        ctx: &Context<'_>,
    ) -> Result<Headroom, Exhausted> {
        let row = self.pools.account(&member.id);
        let amount = row.map_or(0, |row| row.daily_limit.unwrap_or(ctx.policy.pools.daily_limit));
        let evidence = row.and_then(|row| row.evidence);
        let evidence = evidence.filter(|evidence| self.now < evidence.until && amount <= evidence.limit);
        let route = row.and_then(|row| row.route(self.now));
        let last_used_at = row.and_then(|row| row.last_used_at);
        let mut headroom = Headroom { left: u64::MAX, part: (u64::MAX, u64::MAX), route, last_used_at };
        let mut full: Option<Option<Millis>> = None;
        let limits = ctx.policy.limits_of(&member.scope).iter().filter(|limit| !limit.shadow);
        for (limit, amount) in limits.filter_map(|limit| Some((limit, limit.amount?))) {
            let Standing { used, reserved, .. } = self.book.standing(&member.scope, limit, self.now);
            let counts_calls = limit.meter().as_str() == Meter::EXECUTIONS;
            let asked = u64::from(counts_calls);
            if !limit.admits(used, reserved, asked) {
                let fits = self.book.fits_at(&member.scope, limit, asked, self.now);
                full = Some(full.map_or(fits, |until| until.zip(fits).map(|(a, b)| a.max(b))));
                continue;
            }
            let usable = amount.saturating_sub(limit.buffer);
            let part = (usable.saturating_sub(used).saturating_sub(reserved), usable);
            if share(part, headroom.part) < share(headroom.part, part) {
                headroom.part = part;
            }
            if counts_calls {
                headroom.left = headroom.left.min(part.0);
            }
        }
        match (evidence, full) {
            (None, None) => Ok(headroom),
            (Some(said), None) => Err(Exhausted { by: Exhaustion::Upstream, until: Some(said.until) }),
            (None, Some(until)) => Err(Exhausted { by: Exhaustion::Limit, until }),
            (Some(said), Some(until)) => {
                Err(Exhausted { by: Exhaustion::Upstream, until: until.map(|until| until.max(said.until)) })
            }
        }
    }

    /// The account of an earlier answer, as it stands now.
    pub(in crate::domain::org) fn picked_before(&mut self, id: AccountId, ctx: &Context<'_>) -> PickedAccount {
        let member = Member::of(&id);
        let known = self.pools.account(&member.id).is_some();
        let standing = self.standing(&member, ctx).ok().filter(|_| known);
        PickedAccount { remaining: standing.map_or(0, |headroom| headroom.left), last_resort: false, id }
    }
}
