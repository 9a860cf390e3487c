//! What an operator sets over everything else: a limit, the plan, the exemption, for a while or until it is cleared.
//!
//! ```text
//! defaults  <  plan  <  the org's section  <  budgets set at run time, limits of pools  <  overrides
//! ```
//!
//! A grant is a row of the same kind: it sets nothing, and adds its amount to what is in force without it.
//!
//! An override ends at an instant of service time, as a window does: whether the node was up meanwhile makes no
//! difference, so it is no lease. What has ended stays with its version until another one needs the room.

mod spent;

use std::sync::Arc;

use super::{
    ids::Scope,
    lease::Now,
    limit::{CountsFrom, Limit, LimitSource, Origin},
    org::Context,
    policy::{BalanceSource, Exemption, OrgPolicy},
    rows::{Keeper, OverrideRow, OverrideSubject, RATE, Row, RowKey, RowsByKind, SESSIONS, Setting},
    table::Table,
    window::Millis,
};
use crate::bounds::AMOUNT_MAX;

type Key = (Scope, OverrideSubject);

#[derive(Debug, Default)]
pub(super) struct Overrides {
    rows: Table<Key, OverrideRow>,
    /// How many hold.
    in_force: usize,
    /// When the next of them ends by itself.
    next_end: Option<Millis>,
    /// One of them is a grant that lasts until it is spent.
    until_spent: bool,
    /// The policy of the plan that was set.
    plan: Option<OtherPlan>,
}

/// What an org has by a plan that was set at run time.
#[derive(Debug)]
struct OtherPlan {
    /// Over which configuration that was found.
    configured: Arc<OrgPolicy>,
    /// `None` where that configuration has no such plan.
    policy: Option<Arc<OrgPolicy>>,
}

impl Overrides {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let rows = std::mem::take(&mut rows.overrides).into_iter();
        let rows = Table::load(rows.map(|row| ((row.scope.clone(), row.subject.clone()), row)));
        let mut overrides = Self { rows, ..Self::default() };
        overrides.changed();
        overrides
    }

    /// What follows from the rows is found anew.
    fn changed(&mut self) {
        self.in_force = self.in_force().count();
        self.next_end = self.in_force().filter_map(|row| row.until).min();
        let until_spent = self.in_force().any(|row| row.setting.is_until_spent());
        self.until_spent = until_spent;
        self.plan = None;
    }

    /// Those that hold now.
    pub(super) fn in_force(&self) -> impl Iterator<Item = &OverrideRow> {
        self.rows().filter(|row| row.is_in_force())
    }

    /// When limits last became others by one of them that is kept: windows went on from there by what held since.
    pub(super) fn limits_changed_at(&self) -> Millis {
        let changed = self.rows().filter(|row| row.subject.changes_limits());
        changed.map(|row| row.ended_at.unwrap_or(row.set_at)).max().unwrap_or(0)
    }

    /// Also those that have ended.
    pub(super) fn rows(&self) -> impl Iterator<Item = &OverrideRow> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// Of one subject, also where it has ended.
    pub(super) fn get(&self, scope: &Scope, subject: &OverrideSubject) -> Option<&OverrideRow> {
        self.rows.get(&(scope.clone(), subject.clone()))
    }

    /// The same where it holds.
    pub(super) fn holds(&self, subject: &OverrideSubject) -> Option<&OverrideRow> {
        if self.is_empty() {
            return None;
        }
        self.get(Scope::of_org(), subject).filter(|row| row.is_in_force())
    }

    /// Whether there is room for one more: where `max` are kept, one that has ended gives way.
    pub(super) fn has_room(&self, max: usize) -> bool {
        let last = self.last_grant();
        self.kept(last) < max || self.rows().any(|row| gives_way(row, last))
    }

    pub(super) fn put(&mut self, row: OverrideRow, max: usize) {
        let key = (row.scope.clone(), row.subject.clone());
        let last = self.last_grant().max(row.subject.grant().unwrap_or(0));
        while self.rows.get(&key).is_none() && self.kept(last) >= max {
            let first = self.rows().filter(|row| gives_way(row, last)).min_by_key(|row| row.ended_at);
            let Some(first) = first.map(|first| (first.scope.clone(), first.subject.clone())) else { break };
            self.rows.remove(&first);
        }
        self.rows.put(key, row);
        self.changed();
    }

    /// How many are kept, without the last grant where it has ended: that one stays beside them for its number, which no
    /// other grant may have.
    fn kept(&self, last: u64) -> usize {
        let is_number = |row: &OverrideRow| !row.is_in_force() && row.subject.grant() == Some(last);
        self.rows.len().saturating_sub(self.rows().filter(|row| is_number(row)).count())
    }

    /// The number of the last grant; 0 = there was none.
    pub(super) fn last_grant(&self) -> u64 {
        self.rows().filter_map(|row| row.subject.grant()).max().unwrap_or(0)
    }

    /// The grant of this number, also where it has ended.
    pub(super) fn grant(&self, number: u64) -> Option<&OverrideRow> {
        self.rows().find(|row| row.subject.grant() == Some(number))
    }

    /// Ends one that holds; answers whether there was one.
    pub(super) fn end(&mut self, scope: &Scope, subject: &OverrideSubject, at: Millis) -> bool {
        let Some(row) = self.get(scope, subject).filter(|row| row.is_in_force()).cloned() else { return false };
        self.put(OverrideRow { version: row.version + 1, ended_at: Some(at), ..row }, usize::MAX);
        true
    }

    /// Ends those that end first, if that is by `now`, and answers them.
    pub(super) fn end_next(&mut self, now: Millis) -> Option<(Millis, Vec<OverrideRow>)> {
        let at = self.next_end.filter(|at| *at <= now)?;
        let ended: Vec<_> = self.in_force().filter(|row| row.until == Some(at)).cloned().collect();
        for row in &ended {
            self.end(&row.scope, &row.subject, at);
        }
        Some((at, ended))
    }

    /// What the org is configured to have, or what it has by the plan that was set. The second answer: that plan is
    /// not configured any more, which was not known before.
    pub(super) fn base(&mut self, ctx: &Context<'_>) -> (Arc<OrgPolicy>, bool) {
        let Some(row) = self.holds(&OverrideSubject::Plan) else { return (ctx.policy.clone(), false) };
        if let Some(known) = self.plan.as_ref().filter(|known| Arc::ptr_eq(&known.configured, ctx.policy)) {
            return (known.policy.as_ref().unwrap_or(ctx.policy).clone(), false);
        }
        let Setting::Plan(name) = &row.setting else { return (ctx.policy.clone(), false) };
        let policy = ctx.plans.with_plan(ctx.org, name).map(|policy| match row.until {
            None => policy,
            Some(until) => Arc::new(OrgPolicy::clone(&policy).ending(until)),
        });
        let found = OtherPlan { configured: ctx.policy.clone(), policy };
        let found = self.plan.insert(found);
        (found.policy.as_ref().unwrap_or(ctx.policy).clone(), found.policy.is_none())
    }

    /// Whether the plan that was set is not configured any more.
    pub(super) fn is_plan_missing(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.policy.is_none())
    }

    /// Whether limits of scopes, the backstop or sessions are not what they are without.
    pub(super) fn is_empty(&self) -> bool {
        self.in_force == 0
    }

    /// The scopes with limits of which one is overridden, or has a grant.
    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.in_force().filter(|row| row.subject.limit_name().is_some()).map(|row| row.scope.clone())
    }

    /// `limits` of a scope, as they are with what is set over them.
    pub(super) fn over(&self, scope: &Scope, mut limits: Vec<Limit>) -> Vec<Limit> {
        if self.is_empty() {
            return limits;
        }
        let of_scope = self.in_force().filter(|row| row.scope == *scope && !row.subject.is_of_org());
        for row in of_scope.filter(|row| matches!(row.subject, OverrideSubject::Limit(_))) {
            let mut named = limits.iter_mut().filter(|limit| limit.name() == row.subject.as_str()).peekable();
            if named.peek().is_none() {
                drop(named);
                limits.extend(added(row));
                continue;
            }
            named.for_each(|limit| row.sets(limit));
        }
        for limit in &mut limits {
            self.add_grants(scope, limit);
            self.reset(scope, limit);
        }
        limits.sort_by(|a, b| a.rank().cmp(&b.rank()));
        limits
    }

    /// Adds what grants have of a limit to it, where it has an amount and is enforced.
    fn add_grants(&self, scope: &Scope, limit: &mut Limit) {
        let label = limit.label.clone();
        let origin = self.add_granted(scope, label.name(), (&mut limit.amount, limit.shadow), label.origin);
        *limit = limit.clone().with_origin(origin);
        // What is over such a limit goes on into its next window, and would be paid for twice.
        limit.until_spent = !limit.carries && self.adds_until_spent(scope, limit.name(), (limit.amount, limit.shadow));
    }

    /// Leaves out what of the running window does not count any more.
    fn reset(&self, scope: &Scope, limit: &mut Limit) {
        let is_of = |row: &&OverrideRow| row.subject.is_reset() && row.scope == *scope;
        // What is over such a limit goes on into its next window, with or without a reset.
        if limit.carries {
            return;
        }
        let reset = self.in_force().filter(is_of).find(|row| row.subject.limit_name() == Some(limit.name()));
        let Some(OverrideRow { set_at: at, setting: Setting::CountsFrom { skipped, window }, .. }) = reset else {
            return;
        };
        if *window != limit.window() {
            return;
        }
        limit.counts_from = Some(CountsFrom { at: *at, skipped: *skipped });
        let origin = Origin { counts_from: Some(*at), ..limit.label.origin };
        *limit = limit.clone().with_origin(origin);
    }

    /// The same of an amount. Answers where it comes from.
    fn add_granted(
        &self,
        scope: &Scope,
        name: &str,
        (amount, shadow): (&mut Option<u64>, bool),
        origin: Origin,
    ) -> Origin {
        let Some(amount) = amount.as_mut().filter(|_| !shadow) else { return origin };
        let is_of = |row: &&OverrideRow| row.subject.grant().is_some() && row.scope == *scope;
        let grants = self.in_force().filter(is_of).filter(|row| row.subject.limit_name() == Some(name));
        let mut origin = origin;
        for row in grants {
            let extra = row.setting.extra();
            origin.granted = origin.granted.saturating_add(extra);
            let until = row.until.filter(|_| !row.setting.is_until_spent());
            origin.granted_ends = match (until, origin.granted_until) {
                (Some(until), Some(first)) if until == first => origin.granted_ends.saturating_add(extra),
                (Some(until), first) if first.is_none_or(|first| until < first) => extra,
                _ => origin.granted_ends,
            };
            origin.granted_until = origin.granted_until.into_iter().chain(until).min();
        }
        *amount = amount.saturating_add(origin.granted).min(AMOUNT_MAX.max(*amount));
        origin
    }

    /// What is set over the backstop, the number of sessions, the exemption, and what the plan includes.
    pub(super) fn apply(&self, policy: &mut OrgPolicy) {
        for row in self.in_force().filter(|row| row.scope.is_org()) {
            match (&row.subject, &row.setting) {
                (OverrideSubject::Exemption, Setting::Exempt(exempt)) => {
                    policy.rate.exempt = if *exempt { Exemption::Always } else { Exemption::Never };
                }
                (subject, _) if subject.is_rate() => {
                    let rate = &mut policy.rate;
                    rate.origin = row.origin(rate.amount);
                    (rate.amount, rate.shadow) = row.setting.over(rate.amount, rate.shadow);
                }
                (subject, _) if subject.is_sessions() => {
                    let sessions = &mut policy.sessions;
                    sessions.origin = row.origin(sessions.max);
                    (sessions.max, sessions.shadow) = row.setting.over(sessions.max, sessions.shadow);
                }
                (subject, _) if subject.is_balance() => {
                    if let BalanceSource::Included { limit, overage } = &mut policy.balance.source {
                        row.sets(limit);
                        *overage |= limit.shadow;
                    }
                }
                (
                    OverrideSubject::Limit(_)
                    | OverrideSubject::Plan
                    | OverrideSubject::Exemption
                    | OverrideSubject::Freeze
                    | OverrideSubject::Grant(_)
                    | OverrideSubject::Reset(_),
                    _,
                ) => {}
            }
        }
        let OrgPolicy { rate, sessions, balance, .. } = policy;
        let org = Scope::of_org();
        rate.origin = self.add_granted(org, RATE, (&mut rate.amount, rate.shadow), rate.origin);
        let is_spared = rate.exempt == Exemption::Always;
        rate.until_spent = !is_spared && self.adds_until_spent(org, RATE, (rate.amount, rate.shadow));
        sessions.origin = self.add_granted(org, SESSIONS, (&mut sessions.max, sessions.shadow), sessions.origin);
        if let BalanceSource::Included { limit, .. } = &mut balance.source {
            self.add_grants(org, limit);
            self.reset(org, limit);
        }
    }
}

/// Whether one makes room for another, where this is the number of the last grant.
fn gives_way(row: &OverrideRow, last: u64) -> bool {
    !row.is_in_force() && row.subject.grant() != Some(last)
}

/// A limit that there is by an override alone.
fn added(row: &OverrideRow) -> Option<Limit> {
    let Setting::Amount(amount) = row.setting else { return None };
    let (meter, window) = Limit::named_so(row.subject.as_str())?;
    Some(Limit::new(meter, window, Some(amount)).with_origin(row.origin(None)))
}

impl Setting {
    /// Amount and shadow of a limit that has these without it.
    fn over(&self, amount: Option<u64>, shadow: bool) -> (Option<u64>, bool) {
        match self {
            Self::Amount(amount) => (Some(*amount), false),
            Self::Unlimited => (None, shadow),
            Self::Shadow => (amount, true),
            Self::Plan(_)
            | Self::Exempt(_)
            | Self::Ends
            | Self::Extra(_)
            | Self::UntilSpent { .. }
            | Self::CountsFrom { .. } => (amount, shadow),
        }
    }

    /// What a grant adds.
    pub(in crate::domain) fn extra(&self) -> u64 {
        if let Self::Extra(amount) = self { *amount } else { 0 }
    }
}

impl OverrideRow {
    /// Of a limit that has this amount without it.
    fn origin(&self, without: Option<u64>) -> Origin {
        let then = self.until.map(|_| without.unwrap_or(u64::MAX));
        Origin { until: self.until, then, ..Origin::of(LimitSource::Override) }
    }

    fn sets(&self, limit: &mut Limit) {
        let origin = self.origin(limit.amount);
        (limit.amount, limit.shadow) = self.setting.over(limit.amount, limit.shadow);
        *limit = limit.clone().with_origin(origin);
    }
}

impl Keeper for Overrides {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        let gone = |(scope, subject)| RowKey::Override { scope, subject };
        self.rows.take_rows(puts, dels, |_, row| Row::Override(row), gone);
    }

    /// Nothing holds; versions of what has ended may be remembered.
    fn is_spent(&self) -> bool {
        self.is_empty()
    }

    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        self.next_end
    }
}
