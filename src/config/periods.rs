//! What an org has per month, and what a trial has once.
//!
//! ```toml
//! [orgs."acme"]
//! billing_anchor = 15       # its month begins on that day, or on the last one of a shorter month
//! [plans.trial]
//! trial = true
//! compute = { calendar_month = "5h" }   # once: not again on the first of a month
//! ```
//!
//! Plans are written for the calendar month. Here what they say becomes what one org has: its own
//! month for what is included and for quotas on executions and compute, and no month for the compute of a
//! trial.

use super::{limits::in_pipeline_order, reader::Section, values::whole};
use crate::domain::{
    ids::Meter,
    limit::{Limit, Limits},
    policy::{BalanceSource, OrgPolicy},
    window::{Calendar, Window},
};

/// The month of an org: the calendar's, or one that begins on a day of its own.
pub(super) fn month(section: &mut Section<'_>) -> Calendar {
    let anchor = section.read("billing_anchor", |entry| whole(entry, 1, 31));
    // The first is the calendar month.
    let day = anchor.and_then(|day| u8::try_from(day).ok()).filter(|day| *day > 1);
    day.map_or(Calendar::Month, Calendar::MonthFrom)
}

/// Counts by `month` what is written for the calendar month, and the compute of a trial once.
pub(super) fn apply(policy: &mut OrgPolicy, month: Calendar) {
    if let BalanceSource::Included { limit, .. } = &mut policy.balance.source {
        *limit = BalanceSource::limit(limit.amount, month).with_origin(limit.label.origin);
    }
    let month = Window::Calendar(month);
    // What a trial includes is what it gives the org; its scopes share that, month by month.
    let compute = if policy.sessions.trial { Window::Once } else { month };
    count_by(&mut policy.limits, compute, month);
    for limits in policy.scopes.values_mut().chain(policy.scope_prefixes.values_mut()) {
        count_by(limits, month, month);
    }
}

/// Quotas of a calendar month, each by the window of its meter, in the zone that it names. Limits that stay as they
/// are stay the same.
fn count_by(limits: &mut Limits, compute: Window, executions: Window) {
    let window = |limit: &Limit| {
        let zone = match limit.window() {
            Window::Calendar(Calendar::Month) => None,
            Window::Zoned { unit: Calendar::Month, zone } => Some(zone),
            other => return other,
        };
        let counted = match limit.meter().as_str() {
            Meter::COMPUTE => compute,
            Meter::EXECUTIONS => executions,
            _ => return limit.window(),
        };
        counted.in_zone(zone).unwrap_or(counted)
    };
    if limits.iter().any(|limit| window(limit) != limit.window()) {
        let counted = |limit: &Limit| {
            let Limit { amount, buffer, shadow, .. } = *limit;
            let counted = Limit::new(limit.meter().clone(), window(limit), amount).with_origin(limit.label.origin);
            Limit { buffer, shadow, ..counted }
        };
        *limits = in_pipeline_order(limits.iter().map(counted).collect()).into();
    }
}
