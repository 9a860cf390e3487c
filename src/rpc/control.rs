//! What operators set at run time: `tollgate.admin.v1.AdminService`.

use super::Answer;
use crate::{
    service::{Call, Service},
    wire::{admin::v1 as admin, answers, requests},
};

pub(super) async fn set_override(
    service: &Service,
    call: &Call,
    request: &mut admin::SetOverrideRequest,
) -> Answer<admin::SetOverrideResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::set_override(request)?;
    Ok(answers::override_set(service.set_override(&org, command, call).await?, service.now()))
}

pub(super) async fn clear_override(
    service: &Service,
    call: &Call,
    request: &mut admin::ClearOverrideRequest,
) -> Answer<admin::ClearOverrideResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::clear_override(request)?;
    Ok(answers::override_cleared(service.set_override(&org, command, call).await?, service.now()))
}

pub(super) async fn list_overrides(
    service: &Service,
    call: &Call,
    request: &mut admin::ListOverridesRequest,
) -> Answer<admin::ListOverridesResponse> {
    let (org, list) = requests::list_overrides(request)?;
    let views = service.ask(&org, list, call).await?;
    Ok(admin::ListOverridesResponse { overrides: answers::overrides(&views, service.now()) })
}

pub(super) async fn set_plan(
    service: &Service,
    call: &Call,
    request: &mut admin::SetPlanRequest,
) -> Answer<admin::SetPlanResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::set_plan(request)?;
    Ok(answers::plan_set(service.set_override(&org, command, call).await?, service.now()))
}

pub(super) async fn set_exemption(
    service: &Service,
    call: &Call,
    request: &mut admin::SetExemptionRequest,
) -> Answer<admin::SetExemptionResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::set_exemption(request)?;
    Ok(answers::exemption_set(service.set_override(&org, command, call).await?, service.now()))
}

pub(super) async fn refund(
    service: &Service,
    call: &Call,
    request: &mut admin::RefundRequest,
) -> Answer<admin::RefundResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command, reason) = requests::refund(request)?;
    Ok(answers::refunded(service.refund(&org, command, &reason, call).await?, service.now()))
}

pub(super) async fn grant(
    service: &Service,
    call: &Call,
    request: &mut admin::GrantRequest,
) -> Answer<admin::GrantResponse> {
    let call = &call.dry(request.dry_run);
    let (org, grant) = requests::grant(request)?;
    let reason = grant.reason.clone();
    Ok(answers::granted(service.operate(&org, grant, &reason, call).await?, service.now()))
}

pub(super) async fn revoke_grant(
    service: &Service,
    call: &Call,
    request: &mut admin::RevokeGrantRequest,
) -> Answer<admin::RevokeGrantResponse> {
    let call = &call.dry(request.dry_run);
    let (org, revoke) = requests::revoke_grant(request)?;
    let reason = revoke.reason.clone();
    Ok(answers::grant_revoked(service.operate(&org, revoke, &reason, call).await?, service.now()))
}

pub(super) async fn reset_window(
    service: &Service,
    call: &Call,
    request: &mut admin::ResetWindowRequest,
) -> Answer<admin::ResetWindowResponse> {
    let call = &call.dry(request.dry_run);
    let (org, reset) = requests::reset_window(request)?;
    let reason = reset.reason.clone();
    Ok(answers::window_reset(service.operate(&org, reset, &reason, call).await?, service.now()))
}
