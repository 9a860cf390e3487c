//! The only list of rpcs. Fronts, metrics, health, authorization, and later peers, read it and keep no list of their
//! own. A test compares it with the descriptors: an rpc in a proto without a row here fails.
//!
//! Each row is a value ([`Rpc`], in [`ALL`]) for code that needs no types, and a type ([`Method`]) for code
//! that does. A front implements [`Reader`] once for all rpcs, and [`read`] calls it with the row: of one request and one response
//! as a value, whose messages are bytes to a front ([`UnaryRpc`]), of streams as a type.

use std::{future::Future, sync::Arc};

use futures_util::Stream;
use prost::Name;

use super::{
    Answer, admin, budget, caller, cluster, control, envoy, events, explain, gate, names, orgs, permit, pool, session,
    snapshot, usage, watch, what_if,
};
pub use super::{
    method::{AnyRequest, Method, Named, Orgs, Reader, Streamed, Unary, UnaryRpc, Watched},
    row::{CALL_BYTES, Kind, OrgField, Rpc, Size},
};
use crate::{
    auth::{Access, Principal},
    domain::ids::OrgId,
    error::ServiceError,
    service::{Call, Service},
    wire::{admin::v1 as admin_v1, envoy::service::ratelimit::v3 as rls, v1},
};

/// Turns the rows into one type each, [`ALL`], and [`read`].
macro_rules! rpcs {
    ($($service:literal {
        $($kind:ident $name:ident($request:ty) -> $response:ty = $handler:path,
            org: $org:tt, $access:ident $(, $trait:ident)*;)+
    })+) => {
        $($(
            #[doc = concat!("`", $service, "/", stringify!($name), "`")]
            #[derive(Debug)]
            pub struct $name;

            impl Method for $name {
                type Request = $request;
                type Response = $response;
                const RPC: &'static Rpc = &Rpc {
                    name: concat!($service, "/", stringify!($name)),
                    service: $service,
                    method: stringify!($name),
                    kind: rpcs!(@kind $kind),
                    org: rpcs!(@field $org),
                    access: Access::$access,
                    has_scopes: rpcs!(@scoped $org),
                    size: rpcs!(@size $($trait)*),
                    settles: rpcs!(@settles $($trait)*),
                    always: rpcs!(@always $($trait)*),
                    request: <$request as Name>::full_name,
                    response: <$response as Name>::full_name,
                };

                fn orgs(request: &$request) -> Orgs<'_> {
                    rpcs!(@orgs request $org)
                }

                fn permit(caller: &Principal, request: &mut $request) -> Result<(), ServiceError> {
                    rpcs!(@permit caller request $org)
                }

                fn lead(request: &mut $request, org: &OrgId) {
                    rpcs!(@lead request org $org)
                }
            }

            rpcs!(@handle $kind $name $handler);
        )+)+

        /// Every rpc.
        pub static ALL: &[&Rpc] = &[$($(<$name as Method>::RPC),+),+];

        /// Hands the reader the row that it names.
        pub fn read<R: Reader>(reader: R) -> R::Answer {
            match reader.name() {
                $($(concat!($service, "/", stringify!($name)) => rpcs!(@read $kind $name reader),)+)+
                _ => reader.unknown(),
            }
        }
    };

    (@size) => { Size::Call };
    (@size long $($other:ident)*) => { Size::Message };
    (@size $first:ident $($other:ident)*) => { rpcs!(@size $($other)*) };

    (@settles) => { false };
    (@settles settles $($other:ident)*) => { true };
    (@settles $first:ident $($other:ident)*) => { rpcs!(@settles $($other)*) };

    (@always) => { false };
    (@always always $($other:ident)*) => { true };
    (@always $first:ident $($other:ident)*) => { rpcs!(@always $($other)*) };

    (@kind unary) => { Kind::Unary };
    (@kind stream) => { Kind::Stream };
    (@kind watch) => { Kind::Watch };

    (@field [none]) => { OrgField::None };
    (@field [node]) => { OrgField::Node };
    (@field [perhaps $field:ident]) => { OrgField::Perhaps(stringify!($field)) };
    (@field [one $field:ident $(with scopes)?]) => { OrgField::One(stringify!($field)) };
    (@field [each $list:ident $field:ident with scopes]) => {
        OrgField::Each(stringify!($list), stringify!($field))
    };

    (@scoped [one $field:ident with scopes]) => { true };
    (@scoped [each $list:ident $field:ident with scopes]) => { true };
    (@scoped $other:tt) => { false };

    (@permit $caller:ident $request:ident [none]) => {{
        let (_, _) = ($caller, $request);
        Ok(())
    }};
    (@permit $caller:ident $request:ident [node]) => { { let _ = $request; permit::node($caller) } };
    (@permit $caller:ident $request:ident [perhaps $field:ident]) => { permit::any_org($caller, &$request.$field) };
    (@permit $caller:ident $request:ident [one $field:ident]) => { permit::org($caller, &$request.$field) };
    (@permit $caller:ident $request:ident [one $field:ident with scopes]) => { permit::scoped($caller, $request) };
    (@permit $caller:ident $request:ident [each $list:ident $field:ident with scopes]) => {{
        let (_, _) = ($caller, $request);
        Ok(())
    }};

    (@lead $request:ident $to:ident [perhaps $field:ident]) => { $request.$field = $to.to_string() };
    (@lead $request:ident $to:ident [one $field:ident]) => { $request.$field = $to.to_string() };
    (@lead $request:ident $to:ident [one $field:ident with scopes]) => { permit::Scoped::lead($request, $to) };
    (@lead $request:ident $to:ident $other:tt) => {{ let (_, _) = ($request, $to); }};

    (@orgs $request:ident [none]) => {{
        let _ = $request;
        Orgs::None
    }};
    (@orgs $request:ident [node]) => {{
        let _ = $request;
        Orgs::None
    }};
    (@orgs $request:ident [perhaps $field:ident]) => {
        if $request.$field.is_empty() { Orgs::None } else { Orgs::One(&$request.$field) }
    };
    (@orgs $request:ident [one $field:ident $(with scopes)?]) => { Orgs::One(&$request.$field) };
    (@orgs $request:ident [each $list:ident $field:ident with scopes]) => {
        Orgs::Each($request.$list.iter().map(|item| item.$field.as_str()).collect())
    };

    (@handle unary $name:ident $handler:path) => {
        impl Unary for $name {
            fn handle(
                service: &Service,
                call: &Call,
                request: &mut Self::Request,
            ) -> impl Future<Output = Answer<Self::Response>> + Send {
                $handler(service, call, request)
            }
        }
    };
    (@handle stream $name:ident $handler:path) => {
        impl Streamed for $name {
            fn handle(
                service: Arc<Service>,
                call: Call,
                requests: Vec<Self::Request>,
            ) -> impl Stream<Item = Self::Response> + Send + 'static {
                $handler(service, call, requests)
            }
        }
    };

    (@handle watch $name:ident $handler:path) => {
        impl Watched for $name {
            fn handle(
                service: Arc<Service>,
                call: Call,
                request: Self::Request,
            ) -> impl Stream<Item = Answer<Self::Response>> + Send + 'static {
                $handler(service, call, request)
            }
        }
    };

    (@read unary $name:ident $reader:ident) => { $reader.unary(UnaryRpc::of::<$name>()) };
    (@read stream $name:ident $reader:ident) => { $reader.stream::<$name>() };
    (@read watch $name:ident $reader:ident) => { $reader.watch::<$name>() };
}

rpcs! {
    "tollgate.v1.GateService" {
        unary Acquire(v1::AcquireRequest) -> v1::AcquireResponse = gate::acquire,
            org: [one org with scopes], Executes;
        unary AcquireBatch(v1::AcquireBatchRequest) -> v1::AcquireBatchResponse = gate::acquire_batch,
            org: [each items org with scopes], Executes, long;
        stream AcquireStream(v1::AcquireStreamRequest) -> v1::AcquireStreamResponse = gate::acquire_stream,
            org: [each acquire org with scopes], Executes;
        unary Commit(v1::CommitRequest) -> v1::CommitResponse = gate::commit,
            org: [one org], Executes, settles;
        unary Release(v1::ReleaseRequest) -> v1::ReleaseResponse = gate::release,
            org: [one org], Executes, settles;
        unary Extend(v1::ExtendRequest) -> v1::ExtendResponse = gate::extend,
            org: [one org], Executes, settles;
        unary ListReservations(v1::ListReservationsRequest) -> v1::ListReservationsResponse
            = gate::list_reservations,
            org: [one org], Reads;
        unary Resume(v1::ResumeRequest) -> v1::ResumeResponse = gate::resume,
            org: [one org], Executes, settles, always;
        unary Record(v1::RecordRequest) -> v1::RecordResponse = gate::record,
            org: [one org with scopes], Reports, settles;
        unary ReportCumulative(v1::ReportCumulativeRequest) -> v1::ReportCumulativeResponse
            = gate::report_cumulative,
            org: [one org with scopes], Reports, settles;
        unary GetStatus(v1::GetStatusRequest) -> v1::GetStatusResponse = gate::get_status,
            org: [one org with scopes], Reads;
        unary BatchGetStatus(v1::BatchGetStatusRequest) -> v1::BatchGetStatusResponse
            = gate::batch_get_status,
            org: [each items org with scopes], Reads, long;
    }
    "tollgate.v1.BudgetService" {
        unary GetBudget(v1::GetBudgetRequest) -> v1::GetBudgetResponse = budget::get_budget,
            org: [one org], Views;
        unary UpdateBudget(v1::UpdateBudgetRequest) -> v1::UpdateBudgetResponse = budget::update_budget,
            org: [one org], Operates;
        unary ReplaceBudget(v1::ReplaceBudgetRequest) -> v1::ReplaceBudgetResponse = budget::replace_budget,
            org: [one org], Operates;
    }
    "tollgate.v1.SessionService" {
        unary StartSession(v1::StartSessionRequest) -> v1::StartSessionResponse = session::start_session,
            org: [one org with scopes], Executes;
        unary Heartbeat(v1::HeartbeatRequest) -> v1::HeartbeatResponse = session::heartbeat,
            org: [one org], Reports, settles;
        unary EndSession(v1::EndSessionRequest) -> v1::EndSessionResponse = session::end_session,
            org: [one org], Executes, settles;
        unary GetSession(v1::GetSessionRequest) -> v1::GetSessionResponse = session::get_session,
            org: [one org], Reads;
        unary ListSessions(v1::ListSessionsRequest) -> v1::ListSessionsResponse = session::list_sessions,
            org: [one org], Reads;
        unary BatchStatus(v1::BatchStatusRequest) -> v1::BatchStatusResponse = session::batch_status,
            org: [each items org with scopes], Reads, long;
    }
    "tollgate.v1.PoolService" {
        unary ConfigurePool(v1::ConfigurePoolRequest) -> v1::ConfigurePoolResponse = pool::configure_pool,
            org: [one org], Operates, long;
        unary GetPool(v1::GetPoolRequest) -> v1::GetPoolResponse = pool::get_pool,
            org: [one org], Views;
        unary Pick(v1::PickRequest) -> v1::PickResponse = pool::pick,
            org: [one org with scopes], Executes;
        unary ReportOutcome(v1::ReportOutcomeRequest) -> v1::ReportOutcomeResponse = pool::report_outcome,
            org: [one org], Reports, long, settles;
        unary ClearAccount(v1::ClearAccountRequest) -> v1::ClearAccountResponse = pool::clear_account,
            org: [one org], Operates;
    }
    "tollgate.admin.v1.AdminService" {
        unary ListOrgs(admin_v1::ListOrgsRequest) -> admin_v1::ListOrgsResponse = orgs::list_orgs,
            org: [perhaps org], Views;
        unary GetOrg(admin_v1::GetOrgRequest) -> admin_v1::GetOrgResponse = admin::get_org,
            org: [one org], Views;
        unary Audit(admin_v1::AuditRequest) -> admin_v1::AuditResponse = admin::audit,
            org: [one org], Views;
        unary PurgeOrg(admin_v1::PurgeOrgRequest) -> admin_v1::PurgeOrgResponse = names::purge_org,
            org: [one org], Operates;
        unary RenameOrg(admin_v1::RenameOrgRequest) -> admin_v1::RenameOrgResponse = names::rename_org,
            org: [one org], Operates;
        unary Freeze(admin_v1::FreezeRequest) -> admin_v1::FreezeResponse = admin::freeze,
            org: [one org], Operates;
        unary Unfreeze(admin_v1::UnfreezeRequest) -> admin_v1::UnfreezeResponse = admin::unfreeze,
            org: [one org], Operates;
        unary RefreshBalance(admin_v1::RefreshBalanceRequest) -> admin_v1::RefreshBalanceResponse
            = admin::refresh_balance,
            org: [one org], Operates;
        unary ListExports(admin_v1::ListExportsRequest) -> admin_v1::ListExportsResponse = admin::list_exports,
            org: [one org], Views;
        unary ReplayExports(admin_v1::ReplayExportsRequest) -> admin_v1::ReplayExportsResponse
            = admin::replay_exports,
            org: [one org], Operates;
        unary GetCaller(admin_v1::GetCallerRequest) -> admin_v1::GetCallerResponse = caller::get_caller,
            org: [none], Knows;
        unary GetNode(admin_v1::GetNodeRequest) -> admin_v1::GetNodeResponse = admin::get_node,
            org: [none], Views;
        unary GetCluster(admin_v1::GetClusterRequest) -> admin_v1::GetClusterResponse = cluster::get_cluster,
            org: [none], Views;
        unary DrainNode(admin_v1::DrainNodeRequest) -> admin_v1::DrainNodeResponse = cluster::drain_node,
            org: [node], Operates;
        unary ListDenials(admin_v1::ListDenialsRequest) -> admin_v1::ListDenialsResponse = explain::list_denials,
            org: [one org], Views;
        unary ExplainDecision(admin_v1::ExplainDecisionRequest) -> admin_v1::ExplainDecisionResponse
            = explain::explain_decision,
            org: [one org], Views;
        unary Why(admin_v1::WhyRequest) -> admin_v1::WhyResponse = explain::why,
            org: [one org], Views;
        unary Usage(admin_v1::UsageRequest) -> admin_v1::UsageResponse = usage::usage,
            org: [one org], Views;
        unary WhatIf(admin_v1::WhatIfRequest) -> admin_v1::WhatIfResponse = what_if::what_if,
            org: [one org], Views, long;
        unary Reload(admin_v1::ReloadRequest) -> admin_v1::ReloadResponse = admin::reload,
            org: [node], Operates;
        unary ListEvents(admin_v1::ListEventsRequest) -> admin_v1::ListEventsResponse = events::list_events,
            org: [one org], Views;
        unary ListAudit(admin_v1::ListAuditRequest) -> admin_v1::ListAuditResponse = events::list_audit,
            org: [one org], Views;
        unary SetOverride(admin_v1::SetOverrideRequest) -> admin_v1::SetOverrideResponse = control::set_override,
            org: [one org], Operates;
        unary ClearOverride(admin_v1::ClearOverrideRequest) -> admin_v1::ClearOverrideResponse
            = control::clear_override,
            org: [one org], Operates;
        unary ListOverrides(admin_v1::ListOverridesRequest) -> admin_v1::ListOverridesResponse
            = control::list_overrides,
            org: [one org], Views;
        unary SetPlan(admin_v1::SetPlanRequest) -> admin_v1::SetPlanResponse = control::set_plan,
            org: [one org], Operates;
        unary SetExemption(admin_v1::SetExemptionRequest) -> admin_v1::SetExemptionResponse
            = control::set_exemption,
            org: [one org], Operates;
        watch WatchEvents(admin_v1::WatchEventsRequest) -> admin_v1::WatchEventsResponse = watch::watch_events,
            org: [perhaps org], Views;
        unary Snapshot(admin_v1::SnapshotRequest) -> admin_v1::SnapshotResponse = snapshot::snapshot,
            org: [one org], Operates;
        unary Refund(admin_v1::RefundRequest) -> admin_v1::RefundResponse = control::refund,
            org: [one org with scopes], Operates;
        unary Grant(admin_v1::GrantRequest) -> admin_v1::GrantResponse = control::grant,
            org: [one org], Operates;
        unary RevokeGrant(admin_v1::RevokeGrantRequest) -> admin_v1::RevokeGrantResponse = control::revoke_grant,
            org: [one org], Operates;
        unary ResetWindow(admin_v1::ResetWindowRequest) -> admin_v1::ResetWindowResponse = control::reset_window,
            org: [one org], Operates;
    }
    "envoy.service.ratelimit.v3.RateLimitService" {
        unary ShouldRateLimit(rls::RateLimitRequest) -> rls::RateLimitResponse = envoy::should_rate_limit,
            org: [none], Executes;
    }
}

/// The services of the table, each once.
pub fn services() -> impl Iterator<Item = &'static str> {
    let first_of_its = |at: usize| ALL[..at].iter().all(|rpc| rpc.service != ALL[at].service);
    (0..ALL.len()).filter(move |at| first_of_its(*at)).map(|at| ALL[at].service)
}
