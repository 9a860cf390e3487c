//! The gate of the scopes that a call names: what it has to name, and what it may not.
//!
//! | the call | the gate |
//! | --- | --- |
//! | names none of a family in `require_scopes` | denies SCOPE_REQUIRED |
//! | names a scope of a family that is `deny` and not listed | denies SCOPE_REQUIRED |
//! | the same, where the org cannot be read and may have a budget for it | cannot be evaluated |
//!
//! Usage after the fact passes no gate: what happened is recorded under whatever it names.

use super::{Run, denied};
use crate::domain::{
    gate::{Code, Denial, Fits, Verdict},
    ids::Scope,
    policy::{Family, OrgPolicy},
};

pub(super) fn gate(run: &Run<'_>) -> Verdict {
    let (scopes, policy) = (&run.facts.ask.scopes, run.facts.policy);
    if policy.require_scopes.is_empty() && policy.denied_scopes.is_empty() {
        return Verdict::Skipped;
    }
    if let Some(message) = missing(scopes, policy) {
        return denied(denial(message));
    }
    let Some((scope, rule)) = scopes.iter().find_map(|scope| Some((scope, policy.denies(scope)?))) else {
        return Verdict::Passed;
    };
    match (&run.facts.org, &rule) {
        // A budget may be stored for it, which lists it.
        (Err(cause), Family::Prefix(_)) => Verdict::Unevaluated(*cause),
        (Ok(_), _) | (Err(_), Family::Only(_)) => denied(denial(unlisted(scope, &rule))),
    }
}

fn denial(message: String) -> Denial {
    Denial { code: Code::ScopeRequired, fits: Fits::Never, message, names: Vec::new() }
}

fn missing(scopes: &[Scope], policy: &OrgPolicy) -> Option<String> {
    let missing: Vec<_> = policy.missing_scopes(scopes).map(Family::to_string).collect();
    if missing.is_empty() {
        return None;
    }
    let families = missing.join(", ");
    Some(format!(
        "This org requires a scope of {families} in every call, and this one names none. Name it in `scopes`, or ask \
         the operator about `require_scopes`."
    ))
}

fn unlisted(scope: &Scope, rule: &Family) -> String {
    let scope = scope.shown();
    match rule {
        Family::Only(_) => format!("Scope {scope} may not be used: the operator denies it (scopes.\"{scope}\")."),
        Family::Prefix(_) => format!(
            "Scope {scope} is not known, and new names of {rule} are denied (scopes.\"{rule}\"). Use a listed name, or \
             ask the operator to list this one."
        ),
    }
}
