//! `tollgate.v1.PoolService`.

use super::Answer;
use crate::{
    domain::command::GetPool,
    service::{Ask, Call, Service},
    wire::{
        answers,
        requests::{self, Pick},
        v1,
    },
};

pub(super) async fn configure_pool(
    service: &Service,
    call: &Call,
    request: &mut v1::ConfigurePoolRequest,
) -> Answer<v1::ConfigurePoolResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::configure_pool(request)?;
    let done = service.operate(&org, Box::new(command), &requests::reason(&request.reason)?, call).await?;
    let warnings = answers::pool_warnings(&done.view);
    let pool = Some(answers::pool(*done.view, &org));
    Ok(v1::ConfigurePoolResponse { pool, warnings, replayed: done.replayed })
}

pub(super) async fn get_pool(
    service: &Service,
    call: &Call,
    request: &mut v1::GetPoolRequest,
) -> Answer<v1::GetPoolResponse> {
    let (org, id) = (requests::org(&request.org)?, requests::pool(&request.pool)?);
    let view = service.ask(&org, GetPool { id }, call).await?;
    Ok(v1::GetPoolResponse { pool: Some(answers::pool(*view, &org)) })
}

pub(super) async fn pick(service: &Service, call: &Call, request: &mut v1::PickRequest) -> Answer<v1::PickResponse> {
    let (decision, gated) = match requests::pick(request)? {
        Pick::Alone(org, command) => (service.pick(&org, command, call).await?, false),
        Pick::Gated(org, acquire) => (service.pick_gated(Ask { org, acquire }, call).await?, true),
    };
    Ok(answers::picked(&decision, gated, service.node()))
}

pub(super) async fn report_outcome(
    service: &Service,
    call: &Call,
    request: &mut v1::ReportOutcomeRequest,
) -> Answer<v1::ReportOutcomeResponse> {
    let (org, report) = requests::report_outcome(request)?;
    let done = service.report_outcome(&org, report, call).await?;
    Ok(answers::outcome(done.outcome.outcome, done.outcome.known, done.replayed))
}

pub(super) async fn clear_account(
    service: &Service,
    call: &Call,
    request: &mut v1::ClearAccountRequest,
) -> Answer<v1::ClearAccountResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::clear_account(request)?;
    let done = service.operate(&org, Box::new(command), &requests::reason(&request.reason)?, call).await?;
    let account = Some(answers::account(&done.view));
    Ok(v1::ClearAccountResponse { account, cleared: done.outcome.was_held, replayed: done.replayed })
}
