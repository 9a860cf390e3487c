//! What `tollgate.admin.v1.AdminService` says of the log of an org, or of this node.

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
    request: &mut admin::ListEventsRequest,
) -> Answer<admin::ListEventsResponse> {
    let (org, asked) = requests::list_events(request)?;
    match org {
        Some(org) => list_of_org(service, call, &org, asked).await,
        None => Ok(answers::node_events(service.node(), &service.node_events(&asked), asked.max)),
    }
}

pub(super) async fn list_audit(
    service: &Service,
    call: &Call,
    request: &mut admin::ListAuditRequest,
) -> Answer<admin::ListAuditResponse> {
    let (org, asked) = requests::list_audit(request)?;
    let admin::ListEventsResponse { events, next_after_number, .. } = list_of_org(service, call, &org, asked).await?;
    Ok(admin::ListAuditResponse { events, next_after_number })
}

pub(super) async fn list_of_org(
    service: &Service,
    call: &Call,
    org: &OrgId,
    list: ListEvents,
) -> Answer<admin::ListEventsResponse> {
    let max = list.max;
    let page = service.ask(org, list, call).await?.ok_or_else(|| ServiceError::UnknownOrg(org.clone()))?;
    Ok(answers::events(org, &page, max))
}
