//! What operators have set at run time.

use super::{int, limit, scopes, until};
use crate::{
    domain::{
        decision::{LimitView, LimitViews},
        outcome::{GivenBack, Granted, OverrideSet, Refunded, Shown},
        policy::Exemption,
        reply::{OverrideChange, OverrideView, RefundView, Standing, WindowChange},
        rows::Setting,
        window::Millis,
    },
    wire::{admin::v1 as admin, v1},
};

type Changed = Shown<OverrideSet, Box<OverrideChange>>;

/// The answer to SetOverride, given at `now`.
pub fn override_set(changed: Changed, now: Millis) -> admin::SetOverrideResponse {
    let Shown { replayed, view, .. } = changed;
    admin::SetOverrideResponse {
        current: view.now.as_ref().map(|current| overridden(current, now)),
        before: view.before.as_ref().and_then(|before| limit_of(before, now)),
        after: limit_of(&view.after, now),
        replayed,
    }
}

/// The answer to ClearOverride, given at `now`.
pub fn override_cleared(changed: Changed, now: Millis) -> admin::ClearOverrideResponse {
    let admin::SetOverrideResponse { current, before, after, replayed } = override_set(changed, now);
    admin::ClearOverrideResponse { current, before, after, replayed }
}

/// The answer to SetPlan, given at `now`.
pub fn plan_set(changed: Changed, now: Millis) -> admin::SetPlanResponse {
    let Shown { replayed, view, .. } = changed;
    let OverrideChange { now: current, before, after } = *view;
    admin::SetPlanResponse {
        current: current.as_ref().map(|current| overridden(current, now)),
        plan_before: before.map(|before| before.plan).unwrap_or_default(),
        plan: after.plan,
        replayed,
    }
}

/// The answer to SetExemption, given at `now`.
pub fn exemption_set(changed: Changed, now: Millis) -> admin::SetExemptionResponse {
    let Shown { replayed, view, .. } = changed;
    admin::SetExemptionResponse {
        current: view.now.as_ref().map(|current| overridden(current, now)),
        before: view.before.as_ref().map_or(admin::Exempt::Unspecified, |before| exempt(before.exempt)).into(),
        after: exempt(view.after.exempt).into(),
        replayed,
    }
}

/// The answer to Refund, given at `now`.
pub fn refunded(done: Shown<Refunded, Box<RefundView>>, now: Millis) -> admin::RefundResponse {
    let Shown { outcome, replayed, view } = done;
    let given = |of: GivenBack| admin::RefundedAmount {
        meter: of.meter.to_string(),
        asked: int(of.asked),
        given: int(of.given),
    };
    let limits = |views: &LimitViews| views.iter().map(|view| limit(view, now)).collect();
    admin::RefundResponse {
        amounts: outcome.amounts.into_iter().map(given).collect(),
        scopes: scopes(&outcome.scopes),
        before: view.before.as_ref().map(limits).unwrap_or_default(),
        after: limits(&view.after),
        replayed,
    }
}

/// The answer to Grant, given at `now`.
pub fn granted(granted: Shown<Granted, Box<OverrideChange>>, now: Millis) -> admin::GrantResponse {
    let Shown { replayed, view, .. } = granted;
    let changed = override_set(Shown { outcome: OverrideSet, replayed, view }, now);
    let admin::SetOverrideResponse { current, before, after, replayed } = changed;
    admin::GrantResponse { current, before, after, replayed }
}

/// The answer to RevokeGrant, given at `now`.
pub fn grant_revoked(changed: Changed, now: Millis) -> admin::RevokeGrantResponse {
    let admin::SetOverrideResponse { current, before, after, replayed } = override_set(changed, now);
    admin::RevokeGrantResponse { current, before, after, replayed }
}

/// The answer to ResetWindow, given at `now`.
pub fn window_reset(reset: Shown<OverrideSet, WindowChange>, now: Millis) -> admin::ResetWindowResponse {
    let Shown { replayed, view, .. } = reset;
    let shown = |view: Option<&LimitView>| view.map(|view| limit(view, now));
    admin::ResetWindowResponse { before: shown(view.before.as_ref()), after: shown(view.after.as_ref()), replayed }
}

fn exempt(exempt: Exemption) -> admin::Exempt {
    match exempt {
        Exemption::Never => admin::Exempt::Never,
        Exemption::IfPaying => admin::Exempt::IfPaying,
        Exemption::Always => admin::Exempt::Always,
    }
}

fn limit_of(standing: &Standing, now: Millis) -> Option<v1::Limit> {
    standing.limit.as_ref().map(|view| limit(view, now))
}

/// Each as it is at `now`.
pub fn overrides(views: &[OverrideView], now: Millis) -> Vec<admin::Override> {
    views.iter().map(|view| overridden(view, now)).collect()
}

/// Those of them that hold.
pub(super) fn in_force(views: &[OverrideView], now: Millis) -> Vec<admin::Override> {
    views.iter().filter(|view| view.row.is_in_force()).map(|view| overridden(view, now)).collect()
}

fn overridden(view: &OverrideView, now: Millis) -> admin::Override {
    let row = &view.row;
    let mut shown = admin::Override {
        scope: row.scope.shown().into_owned(),
        limit: row.subject.limit_name().unwrap_or(row.subject.as_str()).to_owned(),
        meter: row.subject.meter().map(|meter| meter.to_string()).unwrap_or_default(),
        version: int(row.version),
        set_at_ms: int(row.set_at),
        until_ms: int(row.until.unwrap_or(0)),
        ended_at_ms: int(row.ended_at.unwrap_or(0)),
        reason: row.reason.to_string(),
        ignored: view.is_ignored,
        grant: int(row.subject.grant().unwrap_or(0)),
        ends_in_ms: if row.is_in_force() { until(row.until, now) } else { 0 },
        ..admin::Override::default()
    };
    match &row.setting {
        Setting::Amount(amount) => {
            shown.set_setting(admin::OverrideSetting::Amount);
            shown.amount = Some(int(*amount));
        }
        Setting::Unlimited => shown.set_setting(admin::OverrideSetting::Unlimited),
        Setting::Shadow => shown.set_setting(admin::OverrideSetting::Shadow),
        Setting::Plan(plan) => shown.plan.clone_from(plan),
        Setting::Exempt(exempt) => shown.exempt = *exempt,
        Setting::Ends | Setting::CountsFrom { .. } => {}
        Setting::Extra(amount) => {
            shown.set_setting(admin::OverrideSetting::Grant);
            shown.amount = Some(int(*amount));
        }
        Setting::UntilSpent { granted, spent } => {
            shown.set_setting(admin::OverrideSetting::Grant);
            (shown.amount, shown.spent) = (Some(int(*granted)), Some(int(*spent)));
        }
    }
    shown
}
