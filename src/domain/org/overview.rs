//! How an org stands, as one line of a list of many.

use std::{cmp::Reverse, collections::BTreeSet};

use smallvec::smallvec;

use super::{Context, OrgState};
use crate::{
    bounds::DAY_MS,
    domain::{
        command::{Acquire, GetOverview, Known},
        decision::LimitView,
        ids::{Amounts, Meter, Scope},
        policy::Exemption,
        reply::{Overview, Today},
        rows::{OverrideRow, OverrideSubject},
        scopes::Scopes,
    },
};

impl OrgState {
    pub(in crate::domain) fn overview(&mut self, ask: &GetOverview, ctx: &Context<'_>) -> Option<Box<Overview>> {
        self.is_known().then(|| Box::new(self.as_one_line(ask, ctx)))
    }

    fn as_one_line(&mut self, ask: &GetOverview, ctx: &Context<'_>) -> Overview {
        let exempt = ctx.policy.rate.exempt == Exemption::Always;
        let one = Acquire::of(Scopes::org(), smallvec![(Meter::executions(), 1)]);
        let plain = self.peek(one, Known { balance: None, exempt }, ctx);
        let blocked = plain.reports.denial().is_some();
        let is_spared = |view: &LimitView| exempt && view.label.meter == Meter::calls();
        let of_org = plain.limits.into_iter().filter(|view| !is_spared(view));
        let is_other = |row: &OverrideRow| row.subject != OverrideSubject::Freeze && !row.subject.is_reset();
        let overridden = self.overrides.in_force().any(is_other);
        Overview {
            name: self.name(ctx.org),
            plan: ctx.policy.plan.clone(),
            frozen: self.frozen.is_some(),
            blocked,
            denied: self.denials.lately(self.now).denied > 0,
            exempt,
            overridden,
            fullest: self.fullest(of_org, ask, ctx),
            today: self.today(),
            admitted_total: self.admitted_total,
            at: self.clocks.wall,
        }
    }

    /// The fullest of the org's limits and of those of its scopes, without upstream accounts and
    /// pools.
    fn fullest(
        &mut self,
        of_org: impl Iterator<Item = LimitView>,
        ask: &GetOverview,
        ctx: &Context<'_>,
    ) -> Vec<(LimitView, u64)> {
        let named = ctx.policy.scopes.keys().chain(self.book.scopes());
        let scopes: BTreeSet<Scope> =
            named.filter(|scope| scope.counts_for_org() && !scope.is_org()).cloned().collect();
        let mut fullest: Vec<(LimitView, u64)> = Vec::new();
        let mut add = |view: LimitView| {
            let percent = view.percent_taken().filter(|_| !view.shadow);
            fullest.extend(percent.map(|percent| (view, percent)));
            // Of an org with very many scopes no more is held than twice what is answered.
            if fullest.len() > ask.limits.saturating_mul(2).max(1) {
                keep_fullest(&mut fullest, ask.limits);
            }
        };
        of_org.for_each(&mut add);
        for scope in &scopes {
            self.book.limit_views(ctx.policy, scope, self.now).for_each(&mut add);
        }
        keep_fullest(&mut fullest, ask.limits);
        let near = fullest.partition_point(|(_, percent)| *percent >= ask.from_percent);
        fullest.truncate(near.max(1));
        for (view, _) in fullest.iter_mut().filter(|(view, _)| !view.scope.is_org()) {
            view.resets_at = self.resets_at(view, ctx);
        }
        fullest.iter_mut().for_each(|(view, _)| self.forecast(std::slice::from_mut(view), ctx));
        fullest
    }

    /// As GetStatus has it of the same limit.
    fn resets_at(&mut self, view: &LimitView, ctx: &Context<'_>) -> Option<u64> {
        let ask = Acquire::of(view.scope.clone().into(), Amounts::new());
        let limits = self.peek(ask, Known::default(), ctx).limits;
        let same = limits.into_iter().find(|other| other.scope == view.scope && other.label == view.label);
        same.and_then(|same| same.resets_at)
    }

    fn today(&self) -> Today {
        let days = self.denials.days_until_now(self.admitted_total);
        let Some(day) = days.last().filter(|day| day.start == self.now / DAY_MS * DAY_MS) else {
            return Today::default();
        };
        let sum = |of: fn(&(crate::domain::gate::Gate, u64, u64)) -> u64| {
            day.gates.iter().map(of).fold(0, u64::saturating_add)
        };
        Today {
            allowed: day.allowed,
            denied: sum(|(_, denied, _)| *denied),
            failed_open: sum(|(_, _, failed_open)| *failed_open),
        }
    }
}

/// Of limits that are equally full, those that came first.
fn keep_fullest(limits: &mut Vec<(LimitView, u64)>, most: usize) {
    limits.sort_by_key(|(_, percent)| Reverse(*percent));
    limits.truncate(most);
}
