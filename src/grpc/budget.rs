//! `tollgate.v1.BudgetService`.

use tonic::{Request, Response, Status};

use super::Front;
use crate::wire::{
    answers, requests,
    v1::{GetBudgetRequest, GetBudgetResponse, budget_service_server::BudgetService},
};

#[tonic::async_trait]
impl BudgetService for Front {
    async fn get_budget(&self, request: Request<GetBudgetRequest>) -> Result<Response<GetBudgetResponse>, Status> {
        self.answer("GetBudget", request, |request, deadline| async move {
            let (org, scope) = (requests::org(&request.org)?, requests::scope(&request.scope)?);
            let status = self.0.status(&org, scope.clone(), deadline).await?;
            Ok(GetBudgetResponse { budget: Some(answers::budget(status, &org, &scope)) })
        })
        .await
    }
}
