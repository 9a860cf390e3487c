//! `tollgate.admin.v1.AdminService`.

use tonic::Request;

use super::{Answer, Front};
use crate::wire::{
    admin::v1::{self as admin, admin_service_server::AdminService},
    answers, requests, status,
};

#[tonic::async_trait]
impl AdminService for Front {
    async fn list_orgs(&self, request: Request<admin::ListOrgsRequest>) -> Answer<admin::ListOrgsResponse> {
        self.answer("ListOrgs", request, |request, call| async move {
            let (size, after) = requests::page(&request)?;
            let orgs = self.0.list(after.as_ref(), size, &call).await?;
            let full = orgs.len() == size;
            let next = orgs.last().filter(|_| full).map(|(org, _)| org.to_string()).unwrap_or_default();
            Ok(admin::ListOrgsResponse {
                orgs: orgs.into_iter().map(answers::summary).collect(),
                next_page_token: next,
            })
        })
        .await
    }

    async fn get_org(&self, request: Request<admin::GetOrgRequest>) -> Answer<admin::GetOrgResponse> {
        self.answer("GetOrg", request, |request, call| async move {
            let org = requests::org(&request.org)?;
            Ok(answers::snapshot(self.0.inspect(&org, &call).await?, &org))
        })
        .await
    }

    async fn audit(&self, request: Request<admin::AuditRequest>) -> Answer<admin::AuditResponse> {
        self.answer("Audit", request, |request, call| async move {
            let (one, size, after) = requests::audit(&request)?;
            if let Some(org) = one {
                let audit = self.0.audit(&org, &call).await?;
                return Ok(answers::audit(&[(org, audit)]));
            }
            let (found, next) = self.0.audit_page(after.as_ref(), size, &call).await?;
            let (mut audits, mut failures) = (Vec::new(), Vec::new());
            for (org, found) in found {
                match found {
                    Ok(audit) => audits.push((org, audit)),
                    Err(error) => {
                        let error = Some(status::to_item(&error));
                        failures.push(admin::AuditFailure { org: org.to_string(), error });
                    }
                }
            }
            let next_page_token = next.map(|org| org.to_string()).unwrap_or_default();
            Ok(admin::AuditResponse { failures, next_page_token, ..answers::audit(&audits) })
        })
        .await
    }

    async fn purge_org(&self, request: Request<admin::PurgeOrgRequest>) -> Answer<admin::PurgeOrgResponse> {
        self.answer("PurgeOrg", request, |request, call| async move {
            let (org, command) = requests::purge(&request)?;
            let purged = self.0.operate(&org, command, &call).await?;
            Ok(admin::PurgeOrgResponse { existed: purged.existed })
        })
        .await
    }

    async fn freeze(&self, request: Request<admin::FreezeRequest>) -> Answer<admin::FreezeResponse> {
        self.answer("Freeze", request, |request, call| async move {
            let (org, command) = requests::freeze(&request)?;
            let done = self.0.operate(&org, command, &call).await?;
            Ok(admin::FreezeResponse { replayed: done.replayed, was_frozen: done.outcome.was_frozen })
        })
        .await
    }

    async fn unfreeze(&self, request: Request<admin::UnfreezeRequest>) -> Answer<admin::UnfreezeResponse> {
        self.answer("Unfreeze", request, |request, call| async move {
            let (org, command) = requests::unfreeze(&request)?;
            let done = self.0.operate(&org, command, &call).await?;
            Ok(admin::UnfreezeResponse { replayed: done.replayed, was_frozen: done.outcome.was_frozen })
        })
        .await
    }

    async fn refresh_balance(
        &self,
        request: Request<admin::RefreshBalanceRequest>,
    ) -> Answer<admin::RefreshBalanceResponse> {
        self.answer("RefreshBalance", request, |request, call| async move {
            let org = requests::org(&request.org)?;
            Ok(answers::balance(self.0.refresh_balance(&org, &call).await?))
        })
        .await
    }

    async fn list_exports(&self, request: Request<admin::ListExportsRequest>) -> Answer<admin::ListExportsResponse> {
        self.answer("ListExports", request, |request, call| async move {
            let (org, list) = requests::exports_page(&request)?;
            let size = list.max;
            let rows = self.0.outbox(&org, list, &call).await?;
            let next = rows.last().filter(|_| rows.len() == size).map(|row| row.key.to_string());
            Ok(admin::ListExportsResponse {
                exports: rows.iter().map(answers::export).collect(),
                next_page_token: next.unwrap_or_default(),
            })
        })
        .await
    }

    async fn replay_exports(
        &self,
        request: Request<admin::ReplayExportsRequest>,
    ) -> Answer<admin::ReplayExportsResponse> {
        self.answer("ReplayExports", request, |request, call| async move {
            let (org, command) = requests::replay_exports(&request)?;
            let replayed = self.0.operate(&org, command, &call).await?;
            Ok(admin::ReplayExportsResponse { replayed_rows: i64::try_from(replayed.count).unwrap_or(i64::MAX) })
        })
        .await
    }

    async fn get_node(&self, request: Request<admin::GetNodeRequest>) -> Answer<admin::GetNodeResponse> {
        self.answer("GetNode", request, |_, _| async move {
            let view = self.0.view();
            let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            Ok(admin::GetNodeResponse {
                node: view.node,
                version: env!("CARGO_PKG_VERSION").into(),
                health: view.health,
                store: view.store.into(),
                started_at_ms: int(view.started_at),
                now_ms: int(view.now),
                clock: view.clock,
                resident_orgs: i64::try_from(view.resident).unwrap_or(i64::MAX),
                in_flight: view.in_flight.into(),
                commit_group: int(view.groups),
                write_behind_ms: int(view.write_behind.0),
                write_behind_max: int(view.write_behind.1),
                bounds: view.bounds.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
                config_generation: int(view.generation),
            })
        })
        .await
    }
}
