//! Names of orgs. A name and its org may be of different nodes: the owner of the org asks the owner of the name.

use std::collections::BTreeSet;

use super::{
    Answer, permit,
    serve::ask_owner,
    table::{PurgeOrg, RenameOrg},
};
use crate::{
    domain::{
        command::{ClaimName, ForgetNames, FreeName, GetNames, Rename},
        ids::{OrgId, RequestId},
        input::InputError,
    },
    error::ServiceError,
    service::{Call, Service},
    wire::{
        admin::v1 as admin,
        answers,
        requests::{self, PurgeAsk, RenameAsk},
    },
};

pub(super) async fn rename_org(
    service: &Service,
    call: &Call,
    request: &mut admin::RenameOrgRequest,
) -> Answer<admin::RenameOrgResponse> {
    let call = &call.dry(request.dry_run);
    match requests::rename(request)? {
        (name, RenameAsk::Claim(claim)) => {
            of_a_node(call, "claim_for", &request.claim_for)?;
            claim_here(service, call, &name, claim).await
        }
        (org, RenameAsk::Rename(rename)) => {
            permit::org(&call.caller, rename.to.as_str())?;
            renamed(service, call, &org, rename, request).await
        }
    }
}

/// Where a name leads is what its callers may reach, so no caller says it: only the node that carries a renaming or a
/// purge out does, and it says how the caller has named the org. What a caller sends reaches its owner without that.
fn of_a_node(call: &Call, field: &str, given: &str) -> Answer<()> {
    if call.is_forwarded && call.said.is_some() {
        return Ok(());
    }
    Err(InputError::new(field, given, "empty: nodes of a cluster ask each other with it").into())
}

/// A crash after the claim leaves a name that leads to its org: the same call completes it.
async fn renamed(
    service: &Service,
    call: &Call,
    org: &OrgId,
    rename: Box<Rename>,
    request: &admin::RenameOrgRequest,
) -> Answer<admin::RenameOrgResponse> {
    let names = service.ask(org, GetNames, call).await?;
    if !names.is_known {
        return Err(ServiceError::UnknownOrg(org.clone()));
    }
    names.may_become(&rename.to, org).map_err(ServiceError::Org)?;
    let (to, reason) = (rename.to.clone(), rename.reason.clone());
    let is_new = to != *org && claim(service, call, &to, org, request).await?;
    let done = service.operate(org, rename, &reason, call).await;
    if is_new && !call.dry_run && matches!(done, Err(ServiceError::Org(_) | ServiceError::LeadsTo(_))) {
        // Nothing was renamed, so the name is as it was. Where that fails it leads to the org, which fsck says.
        let request_id = RequestId::parse("request_id", &request.request_id)?;
        let _ = free(service, call, &to, org, &request_id).await;
    }
    Ok(answers::renamed(done?, org))
}

/// Claims a name at its owner. Answers whether it was free before.
async fn claim(
    service: &Service,
    call: &Call,
    name: &OrgId,
    org: &OrgId,
    request: &admin::RenameOrgRequest,
) -> Answer<bool> {
    let one = admin::RenameOrgRequest { org: name.to_string(), claim_for: org.to_string(), ..request.clone() };
    let here = |call: Call| async move { claim_here(service, &call, name, ClaimName { of: org.clone() }).await };
    Ok(ask_owner::<RenameOrg, _>(service, &for_name(call, org), name, &one, here).await?.claimed)
}

/// The call with which the owner of a name is asked. What the caller may do to the org it may do to its names.
fn for_name(call: &Call, org: &OrgId) -> Call {
    Call { said: Some(call.said.as_ref().unwrap_or(org).clone()), ..call.anew() }
}

async fn claim_here(
    service: &Service,
    call: &Call,
    name: &OrgId,
    claim: ClaimName,
) -> Answer<admin::RenameOrgResponse> {
    let claimed = service.claim_name(name, claim, call).await?;
    Ok(admin::RenameOrgResponse { claimed, ..admin::RenameOrgResponse::default() })
}

pub(super) async fn purge_org(
    service: &Service,
    call: &Call,
    request: &mut admin::PurgeOrgRequest,
) -> Answer<admin::PurgeOrgResponse> {
    let call = &call.dry(request.dry_run);
    match requests::purge(request)? {
        (name, PurgeAsk::Free(free)) => {
            of_a_node(call, "name_of", &request.name_of)?;
            free_here(service, call, &name, free).await
        }
        (org, PurgeAsk::Purge(request_id)) => purged(service, call, &org, &request_id, &request.reason).await,
    }
}

/// The org goes first, but for its names; then each name is freed, and then the org knows of none. A crash in between
/// leaves an org that knows which names are to be freed, and the same call frees those that are left. The name that the
/// caller has said is freed last: for as long as there is anything to do, the same call finds it.
async fn purged(
    service: &Service,
    call: &Call,
    org: &OrgId,
    request_id: &RequestId,
    reason: &str,
) -> Answer<admin::PurgeOrgResponse> {
    let reason = requests::reason(reason)?;
    let purged = service.purge(org, request_id, &reason, call).await?;
    // With those that lead to it and are not known to it.
    let mut names: BTreeSet<OrgId> = purged.names.iter().cloned().collect();
    names.extend(service.names_leading_to(org, call).await?);
    if !call.dry_run {
        free_all(service, call, &names, org, request_id).await?;
    }
    let receipt = purged.existed.then(|| admin::DeletionReceipt {
        org: org.to_string(),
        rows: purged
            .rows
            .iter()
            .map(|(kind, rows)| (service.kind_name(*kind).to_owned(), answers::int(*rows)))
            .collect(),
        exports_kept: answers::int(purged.billed_later),
        deleted_at_ms: answers::int(purged.at),
        caller: call.caller.name().to_owned(),
        reason: reason.to_string(),
        request_id: request_id.to_string(),
        names: names.iter().map(OrgId::to_string).collect(),
        bytes_gone_by_ms: service.gone_by(purged.at).map_or(0, answers::int),
    });
    Ok(admin::PurgeOrgResponse { existed: purged.existed, receipt })
}

/// The name that the caller has said comes last.
async fn free_all(
    service: &Service,
    call: &Call,
    names: &BTreeSet<OrgId>,
    org: &OrgId,
    request_id: &RequestId,
) -> Answer<()> {
    let is_said = |name: &&OrgId| call.said.as_ref() == Some(*name);
    for name in names.iter().filter(|name| !is_said(name)) {
        free(service, call, name, org, request_id).await?;
    }
    service.ask(org, ForgetNames, call).await?;
    for name in names.iter().filter(is_said) {
        free(service, call, name, org, request_id).await?;
    }
    Ok(())
}

/// Frees a name at its owner. Who may purge the org may free its names.
async fn free(service: &Service, call: &Call, name: &OrgId, org: &OrgId, request_id: &RequestId) -> Answer<()> {
    let request = admin::PurgeOrgRequest {
        org: name.to_string(),
        request_id: request_id.to_string(),
        name_of: org.to_string(),
        ..admin::PurgeOrgRequest::default()
    };
    let call = for_name(call, org);
    let here = |call: Call| async move { free_here(service, &call, name, FreeName { of: org.clone() }).await };
    ask_owner::<PurgeOrg, _>(service, &call, name, &request, here).await.map(drop)
}

async fn free_here(service: &Service, call: &Call, name: &OrgId, free: FreeName) -> Answer<admin::PurgeOrgResponse> {
    let existed = service.ask(name, free, call).await?;
    Ok(admin::PurgeOrgResponse { existed, receipt: None })
}

#[cfg(test)]
mod tests;
