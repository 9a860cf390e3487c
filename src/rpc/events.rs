//! What `tollgate.admin.v1.AdminService` says of the log of an org.

use super::Answer;
use crate::{
    domain::{command::ListEvents, ids::OrgId},
    error::ServiceError,
    service::{Call, Service},
    wire::{admin::v1 as admin, answers, requests},
};

pub(super) async fn list_events(
    service: &Service,
    call: &Call,
    request: admin::ListEventsRequest,
) -> Answer<admin::ListEventsResponse> {
    list(service, call, requests::list_events(&request)?).await
}

pub(super) async fn list_audit(
    service: &Service,
    call: &Call,
    request: admin::ListAuditRequest,
) -> Answer<admin::ListAuditResponse> {
    let admin::ListEventsResponse { events, next_after_number, .. } =
        list(service, call, requests::list_audit(&request)?).await?;
    Ok(admin::ListAuditResponse { events, next_after_number })
}

async fn list(service: &Service, call: &Call, (org, list): (OrgId, ListEvents)) -> Answer<admin::ListEventsResponse> {
    let max = list.max;
    let page = service.ask(&org, list, call).await?.ok_or_else(|| ServiceError::UnknownOrg(org.clone()))?;
    Ok(answers::events(&org, &page, max))
}
