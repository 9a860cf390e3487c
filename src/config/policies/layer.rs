//! One layer over another: what a section of a plan or of an org says over what it begins with.

use std::collections::BTreeSet;

use super::{
    super::{
        balances,
        billing::BillingPolicy,
        limits::{in_pipeline_order, limits},
        overrun,
        reader::Section,
        scopes, sessions,
        values::{truth, whole},
    },
    aligned_window,
};
use crate::{
    bounds::{AMOUNT_MAX, LIMITS_PER_SCOPE},
    domain::{
        limit::{Limit, LimitSource, Origin},
        policy::{Exemption, OrgPolicy, RateLimit},
    },
};

/// What stands in `section`, over `base`.
pub(super) fn layer(
    mut section: Section<'_>,
    base: &OrgPolicy,
    billing: &BillingPolicy,
    source: LimitSource,
) -> OrgPolicy {
    let mut policy = base.clone();
    read_rate(section.section("rate"), &mut policy.rate, source);
    if let Some(exempt) = section.read("exempt", truth) {
        policy.rate.exempt = if exempt { Exemption::Always } else { billing.exempt };
    }
    scopes::read(section.section("scopes"), &mut policy, source);
    if let Some(required) = section.read("require_scopes", scopes::required) {
        policy.require_scopes = required;
    }
    balances::read(&mut section, &mut policy.balance.source, billing, source);
    if let Some(overrun) = section.read("overrun", overrun::overrun) {
        policy.overrun = overrun;
    }
    sessions::read(&mut section, &mut policy.sessions, source);
    let own = limits(&mut section, source);
    policy.limits = over(&mut section, &policy.limits, own).into();
    policy
}

fn read_rate(mut section: Section<'_>, rate: &mut RateLimit, source: LimitSource) {
    if let Some(amount) = section.read("amount", |entry| whole(entry, 1, AMOUNT_MAX)) {
        (rate.amount, rate.origin) = (Some(amount), Origin::of(source));
    }
    if let Some(len) = aligned_window(&mut section) {
        (rate.len, rate.origin) = (len, Origin::of(source));
    }
}

/// `own` limits over those of `base`.
pub(in crate::config) fn over(section: &mut Section<'_>, base: &[Limit], own: Vec<Limit>) -> Vec<Limit> {
    if own.is_empty() {
        return base.to_vec();
    }
    let replaced: BTreeSet<_> = own.iter().map(|limit| (limit.meter(), limit.window())).collect();
    let is_kept = |old: &&Limit| !replaced.contains(&(old.meter(), old.window()));
    let kept: Vec<_> = base.iter().filter(is_kept).cloned().collect();
    let all = in_pipeline_order(kept.into_iter().chain(own).collect());
    if all.len() > LIMITS_PER_SCOPE && base.len() <= LIMITS_PER_SCOPE {
        let (at, path) = (section.at().clone(), section.path().to_owned());
        let allowed = format!("at most {LIMITS_PER_SCOPE} limits on one org or scope, those of the plan included");
        section.findings.refuse(&at, &path, format_args!("{} limits", all.len()), allowed);
    }
    all
}
