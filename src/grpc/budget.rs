//! `tollgate.v1.BudgetService`.

use tonic::Request;

use super::{Answer, Front};
use crate::{
    domain::{command::SetBudget, ids::OrgId},
    error::ServiceError,
    service::Call,
    wire::{
        answers, requests,
        v1::{self, budget_service_server::BudgetService},
    },
};

#[tonic::async_trait]
impl BudgetService for Front {
    async fn get_budget(&self, request: Request<v1::GetBudgetRequest>) -> Answer<v1::GetBudgetResponse> {
        self.answer("GetBudget", request, |request, call| async move {
            let (org, scope) = (requests::org(&request.org)?, requests::scope(&request.scope)?);
            let budget = self.0.budget(&org, scope.clone(), &call).await?;
            Ok(v1::GetBudgetResponse { budget: Some(answers::budget(budget, &org, &scope)) })
        })
        .await
    }

    async fn update_budget(&self, request: Request<v1::UpdateBudgetRequest>) -> Answer<v1::UpdateBudgetResponse> {
        self.answer("UpdateBudget", request, |request, call| async move {
            let (budget, replayed) = self.set(requests::update_budget(&request)?, call).await?;
            Ok(v1::UpdateBudgetResponse { budget: Some(budget), replayed })
        })
        .await
    }

    async fn replace_budget(&self, request: Request<v1::ReplaceBudgetRequest>) -> Answer<v1::ReplaceBudgetResponse> {
        self.answer("ReplaceBudget", request, |request, call| async move {
            let (budget, replayed) = self.set(requests::replace_budget(&request)?, call).await?;
            Ok(v1::ReplaceBudgetResponse { budget: Some(budget), replayed })
        })
        .await
    }
}

impl Front {
    async fn set(&self, (org, set): (OrgId, SetBudget), call: Call) -> Result<(v1::Budget, bool), ServiceError> {
        let scope = set.scope.clone();
        let done = self.0.set_budget(&org, set, &call).await?;
        Ok((answers::budget(done.outcome, &org, &scope), done.replayed))
    }
}
