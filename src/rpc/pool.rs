//! `tollgate.v1.PoolService`.

use super::Answer;
use crate::{
    domain::command::{GetPool, ReportOutcome},
    service::{Ask, Call, Service},
    wire::{
        answers,
        requests::{self, Outcome, Pick},
        v1,
    },
};

pub(super) async fn configure_pool(
    service: &Service,
    call: &Call,
    request: v1::ConfigurePoolRequest,
) -> Answer<v1::ConfigurePoolResponse> {
    let (org, command) = requests::configure_pool(&request)?;
    let done = service.configure_pool(&org, command, call).await?;
    let warnings = answers::pool_warnings(&done.view);
    let pool = Some(answers::pool(*done.view, &org));
    Ok(v1::ConfigurePoolResponse { pool, warnings, replayed: done.replayed })
}

pub(super) async fn get_pool(
    service: &Service,
    call: &Call,
    request: v1::GetPoolRequest,
) -> Answer<v1::GetPoolResponse> {
    let (org, id) = (requests::org(&request.org)?, requests::pool(&request.pool)?);
    let view = service.ask(&org, GetPool { id }, call).await?;
    Ok(v1::GetPoolResponse { pool: Some(answers::pool(*view, &org)) })
}

pub(super) async fn pick(service: &Service, call: &Call, request: v1::PickRequest) -> Answer<v1::PickResponse> {
    let (decision, gated) = match requests::pick(&request)? {
        Pick::Alone(org, command) => (service.pick(&org, command, call).await?, false),
        Pick::Gated(org, acquire) => (service.pick_gated(Ask { org, acquire }, call).await?, true),
    };
    Ok(answers::picked(&decision, gated, service.node()))
}

pub(super) async fn report_outcome(
    service: &Service,
    call: &Call,
    request: v1::ReportOutcomeRequest,
) -> Answer<v1::ReportOutcomeResponse> {
    let Outcome { org, pool, account, status, bytes_up, bytes_down, idempotency } = requests::report_outcome(&request)?;
    let outcome = service.classify(&org, status, &request.error_text);
    let report = ReportOutcome { pool, account, outcome, bytes_up, bytes_down, idempotency };
    let done = service.report_outcome(&org, report, call).await?;
    Ok(answers::outcome(done.outcome.outcome, done.outcome.known, done.replayed))
}
