//! Denials: listed, explained, and what blocks an org.

use super::Answer;
use crate::{
    domain::window::Millis,
    service::{Call, Explanation, Service},
    wire::{admin::v1 as admin, answers, requests},
};

pub(super) async fn list_denials(
    service: &Service,
    call: &Call,
    request: &mut admin::ListDenialsRequest,
) -> Answer<admin::ListDenialsResponse> {
    let (org, list) = requests::denials(request)?;
    let size = list.0.max;
    Ok(answers::denials(&service.ask(&org, list, call).await?, size))
}

pub(super) async fn explain_decision(
    service: &Service,
    call: &Call,
    request: &mut admin::ExplainDecisionRequest,
) -> Answer<admin::ExplainDecisionResponse> {
    let (org, asked) = requests::explain(request)?;
    let now: Millis = service.now();
    Ok(match service.explain(&org, asked, call).await? {
        Explanation::Kept(explained) => answers::explained(&explained, &org, now),
        Explanation::Allowed(admission) => answers::admission(&admission.row, &admission.decision),
    })
}

pub(super) async fn why(service: &Service, call: &Call, request: &mut admin::WhyRequest) -> Answer<admin::WhyResponse> {
    let (org, scope, at) = requests::why(request)?;
    Ok(answers::why(&service.why(&org, scope, at, call).await?, &org))
}
