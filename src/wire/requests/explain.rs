//! What is asked of denials.

use super::{Parsed, any_scope, optional, org, page_size};
use crate::{
    domain::{
        command::{Explain, ListDenials},
        denials::DenialFilter,
        gate::Gate,
        ids::{DecisionId, OrgId, Scope},
        input::InputError,
        window::{Millis, digits},
    },
    wire::admin::v1 as admin,
};

/// Without times, all that are kept; without a gate, those of all.
pub fn denials(request: &admin::ListDenialsRequest) -> Parsed<(OrgId, ListDenials)> {
    let number = |text: &str| digits(text).ok_or_else(|| InputError::new("page_token", text, "that of another page"));
    let filter = DenialFilter {
        before: optional(&request.page_token, number)?,
        max: page_size(request.page_size)?,
        scope: any_scope(&request.scope)?,
        gate: optional(&request.gate, gate)?,
        since: instant("since_ms", request.since_ms)?,
        until: match instant("until_ms", request.until_ms)? {
            0 => Millis::MAX,
            until => until,
        },
        let_through: request.let_through,
    };
    Ok((org(&request.org)?, ListDenials(filter)))
}

/// A decision or a time; without either, the last one that was denied.
pub fn explain(request: &admin::ExplainDecisionRequest) -> Parsed<(OrgId, Explain)> {
    let org = org(&request.org)?;
    let (by_id, at) = (!request.decision_id.is_empty(), instant("at_ms", request.at_ms)?);
    if by_id && at > 0 {
        return Err(InputError::new("at_ms", at, "0 with a decision_id: one of both"));
    }
    if by_id {
        return Ok((org, Explain::Decision(DecisionId::parse("decision_id", &request.decision_id)?)));
    }
    let scope = any_scope(&request.scope)?;
    Ok((org, if at == 0 { Explain::Last(scope) } else { Explain::At(at, scope) }))
}

/// Without a time, as it is now.
pub fn why(request: &admin::WhyRequest) -> Parsed<(OrgId, Scope, Option<Millis>)> {
    let at = instant("at_ms", request.at_ms)?;
    Ok((org(&request.org)?, any_scope(&request.scope)?, Some(at).filter(|at| *at > 0)))
}

fn gate(text: &str) -> Parsed<Gate> {
    let named = Gate::ALL.into_iter().find(|gate| gate.name() == text);
    named.ok_or_else(|| InputError::new("gate", text, Gate::ALL.map(Gate::name).join(", ")))
}

fn instant(field: &'static str, at: i64) -> Parsed<Millis> {
    u64::try_from(at).map_err(|_| InputError::new(field, at, "0 for none, or milliseconds since 1970"))
}
