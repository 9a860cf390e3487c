//! `tollgate.admin.v1.AdminService`.

use std::pin::pin;

use futures_util::{StreamExt, stream};

use super::{
    Answer,
    serve::{ask_owner, item_error},
    table::Audit,
};
use crate::{
    domain::ids::OrgId,
    service::{Call, ConfigChange, ListedOrg, OrgPage, ReceiverView, Service},
    wire::{admin::v1 as admin, answers, requests},
};

/// Orgs of one page that are audited at once.
const AUDITS_AT_ONCE: usize = 16;

pub(super) async fn get_org(
    service: &Service,
    call: &Call,
    request: &mut admin::GetOrgRequest,
) -> Answer<admin::GetOrgResponse> {
    let org = requests::org(&request.org)?;
    Ok(answers::snapshot(service.inspect(&org, call).await?, &org))
}

pub(super) async fn audit(
    service: &Service,
    call: &Call,
    request: &mut admin::AuditRequest,
) -> Answer<admin::AuditResponse> {
    let (one, size, after) = requests::audit(request)?;
    if let Some(org) = one {
        return audit_here(service, call, &org).await;
    }
    let OrgPage { orgs, next } = service.list(after.as_ref(), size, call).await?;
    let next_page_token = next.map(|org| org.to_string());
    let audits = stream::iter(orgs).map(|ListedOrg { org, .. }| async move {
        let one = admin::AuditRequest { org: org.to_string(), ..admin::AuditRequest::default() };
        let here = |call: Call| async { audit_here(service, &{ call }, &org).await };
        let audit = ask_owner::<Audit, _>(service, call, &org, &one, here).await;
        (org, audit)
    });
    let mut audits = pin!(audits.buffered(AUDITS_AT_ONCE));
    let mut all = admin::AuditResponse { next_page_token: next_page_token.unwrap_or_default(), ..Default::default() };
    while let Some((org, audit)) = audits.next().await {
        match audit {
            Ok(one) => answers::add_audit(&mut all, one),
            Err(error) => {
                let error = Some(item_error(service, call, &error));
                all.failures.push(admin::AuditFailure { org: org.to_string(), error });
            }
        }
    }
    Ok(all)
}

async fn audit_here(service: &Service, call: &Call, org: &OrgId) -> Answer<admin::AuditResponse> {
    Ok(answers::audit(org, &service.audit(org, call).await?))
}

pub(super) async fn freeze(
    service: &Service,
    call: &Call,
    request: &mut admin::FreezeRequest,
) -> Answer<admin::FreezeResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::freeze(request)?;
    let reason = command.reason.clone();
    let done = service.operate(&org, command, &reason, call).await?;
    let (replayed, was_frozen) = (done.replayed, done.outcome.was_frozen);
    Ok(admin::FreezeResponse { replayed, was_frozen, until_ms: answers::int(done.view.unwrap_or(0)) })
}

pub(super) async fn unfreeze(
    service: &Service,
    call: &Call,
    request: &mut admin::UnfreezeRequest,
) -> Answer<admin::UnfreezeResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::unfreeze(request)?;
    let done = service.operate(&org, command, &requests::reason(&request.reason)?, call).await?;
    Ok(admin::UnfreezeResponse { replayed: done.replayed, was_frozen: done.outcome.was_frozen })
}

pub(super) async fn refresh_balance(
    service: &Service,
    call: &Call,
    request: &mut admin::RefreshBalanceRequest,
) -> Answer<admin::RefreshBalanceResponse> {
    let org = requests::org(&request.org)?;
    Ok(answers::balance(
        service.refresh_balance(&org, &requests::reason(&request.reason)?, call).await?,
        &service.clock().read(),
    ))
}

pub(super) async fn list_exports(
    service: &Service,
    call: &Call,
    request: &mut admin::ListExportsRequest,
) -> Answer<admin::ListExportsResponse> {
    let (org, list) = requests::exports_page(request)?;
    let size = list.max;
    let rows = service.ask(&org, list, call).await?;
    let next = rows.last().filter(|_| rows.len() == size).map(|row| row.key.to_string());
    Ok(admin::ListExportsResponse {
        exports: rows.iter().map(answers::export).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

pub(super) async fn replay_exports(
    service: &Service,
    call: &Call,
    request: &mut admin::ReplayExportsRequest,
) -> Answer<admin::ReplayExportsResponse> {
    let call = &call.dry(request.dry_run);
    let (org, command) = requests::replay_exports(request)?;
    let replayed = service.operate(&org, command, &requests::reason(&request.reason)?, call).await?;
    Ok(admin::ReplayExportsResponse { replayed_rows: answers::size(replayed.count) })
}

pub(super) async fn get_node(
    service: &Service,
    _: &Call,
    _: &mut admin::GetNodeRequest,
) -> Answer<admin::GetNodeResponse> {
    let view = service.view();
    Ok(admin::GetNodeResponse {
        node: view.node,
        version: env!("CARGO_PKG_VERSION").into(),
        health: view.health,
        store: view.store.into(),
        started_at_ms: answers::int(view.started_at),
        now_ms: answers::int(view.now),
        clock: view.clock,
        resident_orgs: answers::size(view.resident),
        in_flight: view.in_flight.into(),
        commit_group: answers::int(view.groups),
        write_behind_ms: answers::int(view.write_behind.0),
        write_behind_max: answers::int(view.write_behind.1),
        bounds: view.bounds.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        config_generation: answers::int(view.generation),
        needs_restart: view.reloaded.needs_restart.clone(),
        reload_mistakes: view.reloaded.mistakes.clone(),
        disk_free_bytes: view.disk.map_or(0, |disk| answers::int(disk.free)),
        disk_size_bytes: view.disk.map_or(0, |disk| answers::int(disk.size)),
        plans: view.plans,
        webhook: view.receiver.map(webhook_state),
        purged_since_ms: view.purged.map_or(0, |purged| answers::int(purged.since)),
        purged_gone_by_ms: view.purged.map_or(0, |purged| answers::int(purged.gone_by)),
    })
}

fn webhook_state(view: ReceiverView) -> admin::WebhookState {
    let ReceiverView { failures, fault, delivered_at } = view;
    admin::WebhookState {
        delivered_at_ms: answers::int(delivered_at.unwrap_or(0)),
        failures: failures.into(),
        trouble: fault.map(|fault| fault.to_string()).unwrap_or_default(),
    }
}

pub(super) async fn reload(
    service: &Service,
    call: &Call,
    _: &mut admin::ReloadRequest,
) -> Answer<admin::ReloadResponse> {
    let reloaded = service.reload(call).await?;
    Ok(admin::ReloadResponse {
        applied: reloaded.mistakes.is_empty(),
        config_generation: answers::int(reloaded.generation),
        needs_restart: reloaded.needs_restart.clone(),
        mistakes: reloaded.mistakes.clone(),
        warnings: reloaded.warnings.clone(),
        changes: reloaded.changes.iter().cloned().map(config_change).collect(),
        changed: answers::size(reloaded.changed),
    })
}

fn config_change(change: ConfigChange) -> admin::ConfigChange {
    let ConfigChange { key, from, to, is_secret: secret, needs_restart } = change;
    admin::ConfigChange { key, from, to, secret, needs_restart }
}
