//! `tollgate.v1.BudgetService`.

use super::Answer;
use crate::{
    domain::{
        command::{GetBudget, SetBudget},
        ids::OrgId,
    },
    service::{Call, Service},
    wire::{answers, requests, v1},
};

pub(super) async fn get_budget(
    service: &Service,
    call: &Call,
    request: &mut v1::GetBudgetRequest,
) -> Answer<v1::GetBudgetResponse> {
    let (org, scope) = (requests::org(&request.org)?, requests::any_scope(&request.scope)?);
    let budget = service.ask(&org, GetBudget { scope: scope.clone() }, call).await?;
    Ok(v1::GetBudgetResponse { budget: Some(answers::budget(*budget, &org, &scope)) })
}

pub(super) async fn update_budget(
    service: &Service,
    call: &Call,
    request: &mut v1::UpdateBudgetRequest,
) -> Answer<v1::UpdateBudgetResponse> {
    let call = &call.dry(request.dry_run);
    let (budget, replayed) = set(service, call, requests::update_budget(request)?, &request.reason).await?;
    Ok(v1::UpdateBudgetResponse { budget: Some(budget), replayed })
}

pub(super) async fn replace_budget(
    service: &Service,
    call: &Call,
    request: &mut v1::ReplaceBudgetRequest,
) -> Answer<v1::ReplaceBudgetResponse> {
    let call = &call.dry(request.dry_run);
    let (budget, replayed) = set(service, call, requests::replace_budget(request)?, &request.reason).await?;
    Ok(v1::ReplaceBudgetResponse { budget: Some(budget), replayed })
}

async fn set(
    service: &Service,
    call: &Call,
    (org, set): (OrgId, SetBudget),
    reason: &str,
) -> Answer<(v1::Budget, bool)> {
    let scope = set.scope.clone();
    let done = service.operate(&org, Box::new(set), &requests::reason(reason)?, call).await?;
    Ok((answers::budget(done.view, &org, &scope), done.replayed))
}
