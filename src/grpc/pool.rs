//! `tollgate.v1.PoolService`.

use tonic::Request;

use super::{Answer, Front};
use crate::{
    domain::command::ReportOutcome,
    service::Ask,
    wire::{
        answers,
        requests::{self, Outcome, Pick},
        v1::{self, pool_service_server::PoolService},
    },
};

#[tonic::async_trait]
impl PoolService for Front {
    async fn configure_pool(&self, request: Request<v1::ConfigurePoolRequest>) -> Answer<v1::ConfigurePoolResponse> {
        self.answer("ConfigurePool", request, |request, call| async move {
            let (org, command) = requests::configure_pool(&request)?;
            let done = self.0.configure_pool(&org, command, &call).await?;
            let warnings = answers::pool_warnings(&done.outcome);
            let pool = Some(answers::pool(*done.outcome, &org));
            Ok(v1::ConfigurePoolResponse { pool, warnings, replayed: done.replayed })
        })
        .await
    }

    async fn get_pool(&self, request: Request<v1::GetPoolRequest>) -> Answer<v1::GetPoolResponse> {
        self.answer("GetPool", request, |request, call| async move {
            let (org, pool) = (requests::org(&request.org)?, requests::pool(&request.pool)?);
            let view = self.0.pool(&org, pool, &call).await?;
            Ok(v1::GetPoolResponse { pool: Some(answers::pool(view, &org)) })
        })
        .await
    }

    async fn pick(&self, request: Request<v1::PickRequest>) -> Answer<v1::PickResponse> {
        self.answer("Pick", request, |request, call| async move {
            let (decision, gated) = match requests::pick(&request)? {
                Pick::Alone(org, command) => (self.0.pick(&org, command, &call).await?, false),
                Pick::Gated(org, acquire) => (self.0.pick_gated(Ask { org, acquire }, &call).await?, true),
            };
            Ok(answers::picked(decision, gated, self.0.node()))
        })
        .await
    }

    async fn report_outcome(&self, request: Request<v1::ReportOutcomeRequest>) -> Answer<v1::ReportOutcomeResponse> {
        self.answer("ReportOutcome", request, |request, call| async move {
            let Outcome { org, pool, account, status, bytes_up, bytes_down, idempotency } =
                requests::report_outcome(&request)?;
            let outcome = self.0.classify(&org, status, &request.error_text);
            let report = ReportOutcome { pool, account, outcome, bytes_up, bytes_down, idempotency };
            let done = self.0.report_outcome(&org, report, &call).await?;
            Ok(answers::outcome(done.outcome.outcome, done.outcome.known, done.replayed))
        })
        .await
    }
}
