//! What operators set over everything else, for a while or until they clear it: it holds from the next command on.

use std::sync::Arc;

use super::{Context, OrgState};
use crate::{
    bounds::{LIMITS_PER_SCOPE, OVERRIDE_LONGEST_MS},
    domain::{
        command::{Acquire, End, Freeze, Known, ListOverrides, SetOverride, Unfreeze},
        decision::LimitView,
        events::{Change, Happening, OverrideEnded},
        ids::{Amounts, Reason, Scope},
        limit::{Limit, LimitSource},
        outcome::{Done, Frozen, OverrideSet, Shown},
        policy::{BalanceSource, OrgPolicy},
        refusal::OrgError,
        reply::{OverrideChange, OverrideView, Standing},
        request::{Idempotency, Rpc},
        rows::{OverrideRow, OverrideSubject, Setting},
        scopes::Scopes,
        window::{Millis, iso},
        words,
    },
};

impl OrgState {
    /// What is configured for the org, or what it has by the plan that an operator set.
    pub(super) fn base(&mut self, ctx: &Context<'_>) -> Arc<OrgPolicy> {
        let (base, is_plan_missing) = self.overrides.base(ctx);
        self.news.plan_missing |= is_plan_missing;
        base
    }

    /// The policy that is in force at `at`: with everything that was set at run time, and without what has ended by then.
    pub(super) fn policy_at(&mut self, at: Millis, ctx: &Context<'_>) -> Arc<OrgPolicy> {
        // What no policy in service is applied by ends nothing either.
        while let Some((when, ended)) = ctx.policy_since.and_then(|_| self.overrides.end_next(at)) {
            let any_limit = ended.iter().any(|row| row.subject.changes_limits());
            for row in ended {
                self.override_ended(row);
            }
            if !any_limit {
                self.changed = true;
                self.budgets.all_limits_changed();
                continue;
            }
            // By what was configured at that time, where that is known.
            let before = self.counted_by.clone().filter(|_| ctx.policy_since.is_some_and(|since| when < since));
            self.overrides_changed(when, &Context { policy: before.as_ref().unwrap_or(ctx.policy), ..*ctx });
        }
        self.in_force_at(at, ctx)
    }

    /// The same of what has not ended yet.
    fn in_force_at(&mut self, at: Millis, ctx: &Context<'_>) -> Arc<OrgPolicy> {
        let base = self.base(ctx);
        let policy = self.budgets.in_force(&base, &self.pools, &self.overrides, at);
        self.spend_by(&policy, at);
        policy
    }

    /// From `since` on other limits are in force: what carries goes on by them.
    pub(super) fn overrides_changed(&mut self, since: Millis, ctx: &Context<'_>) {
        (self.changed, self.limits_changed) = (true, true);
        self.budgets.all_limits_changed();
        let policy = self.in_force_at(since, ctx);
        self.book.settle_windows(&policy, since, self.now);
    }

    /// One has ended by itself. This is the one place that announces it.
    pub(super) fn override_ended(&mut self, row: OverrideRow) {
        if row.subject == OverrideSubject::Freeze {
            self.frozen = None;
        }
        // The window has let go of everything that did not count.
        if row.subject.is_reset() {
            return;
        }
        self.happened(Happening::OverrideEnded(Box::new(OverrideEnded {
            scope: row.scope.clone(),
            subject: row.subject.as_str().into(),
            setting: set_to(&row).into(),
            set_at: row.set_at,
            until: row.until.filter(|_| !row.is_spent()).unwrap_or(self.now),
            reason: row.reason.clone(),
        })));
        self.news.overrides_ended.push(row);
    }

    /// R-CTRL-1. The policy of `ctx` is the configured one.
    pub(in crate::domain) fn set_override(
        &mut self,
        set: &SetOverride,
        ctx: &Context<'_>,
    ) -> Result<Shown<OverrideSet, Box<OverrideChange>>, OrgError> {
        let before = self.standing_of(&set.scope, &set.subject, ctx);
        let done = self.once(set.rpc, Some(&set.idempotency), ctx, |org| {
            let old = org.overrides.get(&set.scope, &set.subject).cloned();
            org.change_override(set, ctx)?;
            let new = org.overrides.get(&set.scope, &set.subject).cloned();
            let ctx = &Context { reason: &set.reason, ..*ctx };
            org.operated(set.rpc.name(), changes(set, old.as_ref(), new.as_ref()), ctx);
            Ok(OverrideSet)
        })?;
        let after = self.standing_of(&set.scope, &set.subject, ctx);
        let now = self.overrides.get(&set.scope, &set.subject).cloned();
        let now = now.map(|row| self.override_view(row, &after));
        let before = (!done.replayed).then_some(before);
        Ok(done.show(Box::new(OverrideChange { now, before, after })))
    }

    /// What the org has of the subject now.
    pub(super) fn standing_of(
        &mut self,
        scope: &Scope,
        subject: &OverrideSubject,
        configured: &Context<'_>,
    ) -> Standing {
        let policy = self.policy_at(self.now, configured);
        let ctx = &Context { policy: &policy, ..*configured };
        let limit = self.limit_named(scope, subject, ctx);
        Standing { limit, plan: policy.plan.clone(), exempt: policy.rate.exempt }
    }

    /// The limit that the subject says something of, as it stands.
    fn limit_named(&mut self, scope: &Scope, subject: &OverrideSubject, ctx: &Context<'_>) -> Option<LimitView> {
        let name = subject.limit_name()?;
        let scopes = if scope.is_org() { Scopes::org() } else { Scopes::from(scope.clone()) };
        let views = self.peek(Acquire::of(scopes, Amounts::new()), Known::default(), ctx).limits;
        views.into_iter().find(|view| view.scope == *scope && view.name() == name)
    }

    fn change_override(&mut self, set: &SetOverride, ctx: &Context<'_>) -> Result<(), OrgError> {
        let old = self.overrides.get(&set.scope, &set.subject).cloned();
        let version = old.as_ref().map_or(0, |row| row.version);
        if set.expected_version.is_some_and(|expected| expected != version) {
            return Err(OrgError::OverrideVersion { current: version });
        }
        let Some(setting) = &set.setting else {
            if self.overrides.end(&set.scope, &set.subject, self.now) {
                self.overrides_changed(self.now, ctx);
            }
            return Ok(());
        };
        let until = set.end.map(|end| self.believed_end(end)).transpose()?;
        self.check_limit(set, setting, ctx)?;
        let row = OverrideRow {
            scope: set.scope.clone(),
            subject: set.subject.clone(),
            version: version + 1,
            setting: setting.clone(),
            set_at: self.now,
            until,
            ended_at: None,
            reason: set.reason.clone(),
        };
        self.put_override(row, ctx)
    }

    pub(super) fn put_override(&mut self, row: OverrideRow, ctx: &Context<'_>) -> Result<(), OrgError> {
        let most = ctx.bounds.overrides_per_org;
        let known = self.overrides.get(&row.scope, &row.subject).is_some();
        if !known && !self.overrides.has_room(most as usize) {
            return Err(OrgError::TooManyOverrides { most });
        }
        self.overrides.put(row, most as usize);
        self.overrides_changed(self.now, ctx);
        Ok(())
    }

    /// The instant of an end, if it is believed.
    pub(super) fn believed_end(&self, end: End) -> Result<Millis, OrgError> {
        let latest = self.now.saturating_add(OVERRIDE_LONGEST_MS);
        let given = match end {
            End::After(length) => self.now.saturating_add(length),
            End::At(at) => at,
        };
        let is_then = self.now < given && given <= latest;
        if is_then { Ok(given) } else { Err(OrgError::EndNotThen { given, after: self.now, latest }) }
    }

    /// Whether the scope has the limit, or it can be made.
    fn check_limit(&mut self, set: &SetOverride, setting: &Setting, ctx: &Context<'_>) -> Result<(), OrgError> {
        let OverrideSubject::Limit(name) = &set.subject else { return Ok(()) };
        if set.subject.is_rate() || set.subject.is_sessions() {
            return Ok(());
        }
        let policy = self.policy_at(self.now, ctx);
        if set.subject.is_balance() {
            let is_kept_here = matches!(policy.balance.source, BalanceSource::Included { .. });
            return if is_kept_here { Ok(()) } else { Err(OrgError::LimitUnknown) };
        }
        // What an override alone has made is no ground for another setting.
        if self.is_made_without(set, ctx) {
            return Ok(());
        }
        let can_make = matches!(setting, Setting::Amount(_)) && Limit::named_so(name).is_some();
        if !can_make || !set.scope.counts_for_org() {
            return Err(OrgError::LimitUnknown);
        }
        let limits = policy.limits_of(&set.scope);
        let is_new = limits.iter().all(|limit| limit.name() != &**name);
        let most = LIMITS_PER_SCOPE;
        if is_new && limits.len() >= most { Err(OrgError::TooManyLimits { most }) } else { Ok(()) }
    }

    /// Whether the scope would have the limit without the override.
    fn is_made_without(&mut self, set: &SetOverride, ctx: &Context<'_>) -> bool {
        let configured = &self.base(ctx);
        let limits = self.budgets.limits_of(&set.scope, configured, self.now);
        let limits = self.pools.over(&set.scope, limits, &configured.pools);
        limits.iter().any(|limit| limit.name() == set.subject.as_str())
    }

    pub(in crate::domain) fn list_overrides(&mut self, list: &ListOverrides, ctx: &Context<'_>) -> Vec<OverrideView> {
        let mut views = self.override_views(ctx);
        views.retain(|view| list.ended || view.row.is_in_force());
        views
    }

    pub(super) fn override_views(&mut self, ctx: &Context<'_>) -> Vec<OverrideView> {
        let rows: Vec<_> = self.overrides.rows().filter(|row| !row.subject.is_reset()).cloned().collect();
        let view = |row: OverrideRow| {
            let limit = self.limit_named(&row.scope, &row.subject, ctx);
            let standing = Standing { limit, plan: ctx.policy.plan.clone(), exempt: ctx.policy.rate.exempt };
            self.override_view(row, &standing)
        };
        rows.into_iter().map(view).collect()
    }

    pub(super) fn override_view(&self, row: OverrideRow, standing: &Standing) -> OverrideView {
        let is_ignored = row.is_in_force()
            && match &row.subject {
                OverrideSubject::Limit(_) => !standing.limit.as_ref().is_some_and(is_overridden) && !is_lifted(&row),
                OverrideSubject::Plan => self.overrides.is_plan_missing(),
                OverrideSubject::Grant(_) => !standing.limit.as_ref().is_some_and(|limit| is_granted(limit, &row)),
                OverrideSubject::Exemption | OverrideSubject::Freeze | OverrideSubject::Reset(_) => false,
            };
        OverrideView { row, is_ignored }
    }

    /// The policy of `ctx` is the configured one.
    pub(in crate::domain) fn freeze(
        &mut self,
        freeze: &Freeze,
        ctx: &Context<'_>,
    ) -> Result<Shown<Frozen, Option<Millis>>, OrgError> {
        let ctx = &Context { reason: &freeze.reason, ..*ctx };
        let done = self.once(Rpc::Freeze, Some(&freeze.idempotency), ctx, |org| {
            let until = freeze.end.map(|end| org.believed_end(end)).transpose()?;
            match until {
                Some(_) => org.put_override(org.end_of_freeze(until, &freeze.reason), ctx)?,
                None => org.forget_end_of_freeze(),
            }
            let old = org.frozen.replace(freeze.reason.clone());
            let mut changes = frozen(old.as_ref(), Some(&freeze.reason));
            changes.extend(until.map(|at| Change::new("frozen until", "", &iso(at))));
            org.operated("Freeze", changes, ctx);
            Ok(Frozen { was_frozen: old.is_some() })
        })?;
        let until = self.frozen_until();
        Ok(done.show(until))
    }

    fn end_of_freeze(&self, until: Option<Millis>, reason: &Reason) -> OverrideRow {
        let old = self.overrides.get(Scope::of_org(), &OverrideSubject::Freeze);
        OverrideRow {
            scope: Scope::org(),
            subject: OverrideSubject::Freeze,
            version: old.map_or(0, |row| row.version) + 1,
            setting: Setting::Ends,
            set_at: self.now,
            until,
            ended_at: None,
            reason: reason.clone(),
        }
    }

    fn forget_end_of_freeze(&mut self) {
        self.changed |= self.overrides.end(Scope::of_org(), &OverrideSubject::Freeze, self.now);
    }

    /// When the freeze ends by itself; `None` = an operator ends it, or there is none.
    pub(super) fn frozen_until(&self) -> Option<Millis> {
        self.frozen.as_ref()?;
        self.overrides.holds(&OverrideSubject::Freeze)?.until
    }

    pub(in crate::domain) fn unfreeze(
        &mut self,
        unfreeze: &Unfreeze,
        ctx: &Context<'_>,
    ) -> Result<Done<Frozen>, OrgError> {
        let asked: &Idempotency = &unfreeze.idempotency;
        self.once(Rpc::Unfreeze, Some(asked), ctx, |org| {
            org.forget_end_of_freeze();
            let old = org.frozen.take();
            org.operated("Unfreeze", frozen(old.as_ref(), None), ctx);
            Ok(Frozen { was_frozen: old.is_some() })
        })
    }
}

/// Whether a limit is as an override has it.
fn is_overridden(limit: &LimitView) -> bool {
    limit.label.origin.source == LimitSource::Override
}

/// Whether grants add to a limit.
fn is_granted(limit: &LimitView, row: &OverrideRow) -> bool {
    if row.setting.is_until_spent() { limit.spending.granted > 0 } else { limit.label.origin.granted > 0 }
}

/// Whether no limit is what was asked for: sessions without a maximum are not shown.
fn is_lifted(row: &OverrideRow) -> bool {
    row.setting == Setting::Unlimited && row.subject.is_sessions()
}

/// How a freeze is shown: that it is one, and why.
fn frozen(old: Option<&Reason>, new: Option<&Reason>) -> Vec<Change> {
    let shown = |reason: Option<&Reason>| match reason.map(Reason::as_str) {
        None => "no".to_owned(),
        Some("") => "yes".to_owned(),
        Some(reason) => format!("yes: {reason}"),
    };
    Change::between("frozen", &shown(old), &shown(new)).into_iter().collect()
}

/// What is set of the subject, from what to what.
fn changes(set: &SetOverride, old: Option<&OverrideRow>, new: Option<&OverrideRow>) -> Vec<Change> {
    let field = field(&set.scope, &set.subject);
    let shown =
        |row: Option<&OverrideRow>| row.filter(|row| row.is_in_force()).map_or("as configured".to_owned(), set_to);
    Change::between(&field, &shown(old), &shown(new)).into_iter().collect()
}

/// `budget/daily of workspace/a`.
pub(super) fn field(scope: &Scope, subject: &OverrideSubject) -> String {
    if scope.is_org() { subject.to_string() } else { format!("{subject} of {}", scope.shown()) }
}

pub(super) fn set_to(row: &OverrideRow) -> String {
    let what = match &row.setting {
        Setting::Amount(amount) => row.subject.meter().map_or(String::new(), |meter| words::amount(&meter, *amount)),
        Setting::Unlimited => "unlimited".to_owned(),
        Setting::Shadow => "only watched".to_owned(),
        Setting::Plan(plan) if plan.is_empty() => "no plan".to_owned(),
        Setting::Plan(plan) => plan.clone(),
        Setting::Exempt(true) => "always".to_owned(),
        Setting::Exempt(false) => "never".to_owned(),
        Setting::Ends | Setting::CountsFrom { .. } => "ends by itself".to_owned(),
        Setting::Extra(amount) | Setting::UntilSpent { granted: amount, .. } => {
            let lasts = if row.setting.is_until_spent() { " until it is spent" } else { "" };
            row.subject.meter().map_or(String::new(), |meter| format!("+{}{lasts}", words::amount(&meter, *amount)))
        }
    };
    let or = if row.setting.is_until_spent() { ", or" } else { "" };
    row.until.map_or_else(|| what.clone(), |at| format!("{what}{or} until {}", iso(at)))
}
