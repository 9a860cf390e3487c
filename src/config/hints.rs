//! What is allowed, or nearly, and most likely not what was meant.

use std::collections::BTreeSet;

use super::{
    billing::{BillingPolicy, Choice},
    mistake::{Findings, Place, join},
    reader::Section,
};
use crate::domain::ids::OrgId;

/// What somebody writes under `[orgs]` who means all of them.
pub(super) const EVERY_ORG: [&str; 3] = ["*", "default", "defaults"];

/// Refuses a section of `[orgs]` that is meant for every org, with the key to use.
pub(super) fn refuses_every_org(section: &mut Section<'_>, name: &str, at: &Place) -> bool {
    let is_refused = EVERY_ORG.contains(&name);
    if is_refused {
        let path = join(section.path(), name);
        let text = "is not allowed: a section of [orgs] is about one org, by its id. What holds for every org \
                    belongs into [plans.NAME]; the key defaults.plan = \"NAME\" gives that plan to every org \
                    that names none";
        section.findings.add(at, format!("{path} {text}"));
    }
    is_refused
}

/// An org that the provider cannot have: Autumn names its customers by letters, digits, `_` and `-`.
pub(super) fn warn_of_stranger(section: &mut Section<'_>, org: &OrgId, at: &Place, billing: &BillingPolicy) {
    if billing.provider == Choice::Autumn && !org.is_bare() {
        let path = join(section.path(), org.as_str());
        let text = "cannot be a customer of Autumn, whose ids are letters, digits, _ and -; \
                    billing.on_unknown_customer decides for this org";
        section.findings.warn(at, format!("{path} {text}"));
    }
}

/// Plans that are written, limit something, and are no org's.
pub(super) fn warn_of_unused_plans<'p>(
    findings: &mut Findings,
    written: impl Iterator<Item = (&'p str, &'p Place)>,
    named: &BTreeSet<&str>,
) {
    if !findings.is_whole() {
        // It may be named in a part of the file that was unreadable.
        return;
    }
    for (name, at) in written.filter(|(name, _)| !named.contains(name)) {
        let path = join("plans", name);
        let text =
            "is the plan of no org: neither defaults.plan, nor the plan of an org, nor `then` of a plan names it";
        findings.warn(at, format!("{path} {text}"));
    }
}
