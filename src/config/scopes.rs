//! Scopes of an org: the limits of each, which names a call may use, and which it must.
//!
//! ```toml
//! require_scopes = ["agent/*"]
//! scopes."agent/*" = { spend = { daily = "$5" } }    # what holds for every name that no other rule has
//! scopes."agent/7" = { spend = { daily = "$50" } }   # by its full name
//! scopes."team/*" = "deny"                           # only listed names
//! ```

use super::{
    limits::limits,
    mistake::{Place, join},
    policies::over,
    reader::{Parsed, Section},
    tree::{Entry, Value},
};
use crate::{
    bounds::SCOPES_PER_CALL,
    domain::{
        ids::{Meter, Scope},
        input::InputError,
        limit::{Limit, LimitSource, Limits},
        policy::{Family, OrgPolicy},
    },
};

const DENY: &str = "deny";

/// Adds the section `scopes` of a plan or an org to what its base says, pattern by pattern.
pub(super) fn read(mut section: Section<'_>, policy: &mut OrgPolicy, source: LimitSource) {
    for (pattern, entry) in section.take_named() {
        let Some(family) = family(&mut section, &entry.key_at, &pattern) else { continue };
        let Entry { key_at, value, .. } = entry.clone();
        match value {
            Value::Table(entries) => {
                policy.denied_scopes.remove(&family);
                read_limits(section.open(&pattern, key_at, entries), family, policy, source);
            }
            Value::Text(text) if text == DENY => deny(&mut section, &key_at, family, policy),
            _ => {
                let path = join(section.path(), &pattern);
                let allowed = "a table of limits { … }, or \"deny\"";
                section.findings.refuse(&entry.value_at, &path, entry.shown(), allowed);
            }
        }
    }
}

/// One scope or all that begin alike; what is neither is noted.
fn family(section: &mut Section<'_>, at: &Place, pattern: &str) -> Option<Family> {
    let path = section.path().to_owned();
    match parse(&path, pattern) {
        Ok(Some(family)) => Some(family),
        Ok(None) => {
            let allowed = "a scope such as \"workspace/w1\", or a prefix such as \"workspace/*\"; limits of the org \
                           itself belong beside `scopes`";
            section.findings.refuse(at, &path, pattern, allowed);
            None
        }
        Err(error) => {
            section.findings.add(at, format!("{error}; a `*` at the end marks a prefix"));
            None
        }
    }
}

/// `None` is the org itself.
fn parse(field: &str, pattern: &str) -> Result<Option<Family>, InputError> {
    if let Some(prefix) = pattern.strip_suffix('*') {
        let is_one = Scope::parse(field, prefix)?.shared_by().is_none();
        let twice = || InputError::new(field, pattern, "one `*`, at the end");
        return if is_one { Ok(Some(Family::Prefix(prefix.to_owned()))) } else { Err(twice()) };
    }
    let scope = Scope::parse_chosen(field, pattern)?;
    Ok((!scope.is_org()).then_some(Family::Only(scope)))
}

fn read_limits(mut section: Section<'_>, family: Family, policy: &mut OrgPolicy, source: LimitSource) {
    let own = limits(&mut section, source);
    warn_of_uncounted(&mut section, &family, &own);
    let kept = match family {
        Family::Prefix(prefix) => policy.scope_prefixes.entry(prefix).or_default(),
        Family::Only(scope) => policy.scopes.entry(scope).or_default(),
    };
    *kept = over(&mut section, kept, own).into();
}

/// Takes the place of the limits that the base has there: what is denied uses nothing.
fn deny(section: &mut Section<'_>, at: &Place, family: Family, policy: &mut OrgPolicy) {
    if family.is_upstream() {
        let path = join(section.path(), &family.to_string());
        let allowed = "a table of limits { … }: no call names an upstream account or a pool";
        section.findings.refuse(at, &path, DENY, allowed);
        return;
    }
    match &family {
        Family::Prefix(prefix) => drop(policy.scope_prefixes.insert(prefix.clone(), Limits::default())),
        Family::Only(scope) => drop(policy.scopes.insert(scope.clone(), Limits::default())),
    }
    policy.denied_scopes.insert(family);
}

/// `require_scopes = ["agent/*"]`: what an org says takes the place of what its plan says.
pub(super) fn required(entry: &Entry) -> Parsed<Vec<Family>> {
    let rule = || {
        format!(
            "a list of at most {SCOPES_PER_CALL} scopes such as \"team/core\", or families such as \"agent/*\", of which \
             every call names one each; not account/... or pool/..., which no call names"
        )
    };
    let Value::List(entries) = &entry.value else { return Err(rule().into()) };
    let named = |entry: &Entry| {
        let family = parse("require_scopes", entry.text()?).ok()??;
        Some(family).filter(|family| !family.is_upstream())
    };
    let families: Option<Vec<_>> = entries.iter().map(named).collect();
    families.filter(|families| families.len() <= SCOPES_PER_CALL).ok_or_else(|| rule().into())
}

/// A limit of an upstream account or a pool on what is never counted there. 0 blocks all the same.
fn warn_of_uncounted(section: &mut Section<'_>, family: &Family, own: &[Limit]) {
    let Some(counted) = family.meters() else { return };
    for limit in own {
        if limit.amount.is_some_and(|amount| amount > 0) && !counted.contains(limit.meter()) {
            let (at, path) = (section.at().clone(), join(section.path(), limit.meter().as_str()));
            let counted = counted.each_ref().map(Meter::as_str).join(" and ");
            let text = format!("{path} limits nothing: only {counted} are counted there");
            section.findings.warn(&at, text);
        }
    }
}
