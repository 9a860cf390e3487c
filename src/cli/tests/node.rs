//! A node in this process with canned answers, by org: `acme` is allowed, `full` is denied, `broken`
//! is an error, `silent` never answers, `vault` wants a token. What it says of billing is in `billing`.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use prost::Name;
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

use super::{NOW_MS, audit, billing, control, events, explain, grants, names, plan, session, snapshot, usage};
use crate::{
    domain::limit::LimitTexts,
    wire::{
        admin::v1::{admin_service_server::*, *},
        json::Json,
        v1::{
            batch_get_status_result::Result as StatusItem, budget_service_server::BudgetServiceServer,
            gate_service_server::*, pool_service_server::PoolServiceServer,
            session_service_server::SessionServiceServer, *,
        },
    },
};

pub(super) type Reply<T> = Result<Response<T>, Status>;

/// What the node was asked: the last Acquire, and the org and request id of every purge,
/// freeze and replay, the size of every page, and as JSON all that was asked of budgets, sessions,
/// pools and audits.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub acquire: Option<AcquireRequest>,
    pub writes: Vec<(String, String)>,
    pub page_sizes: Vec<i32>,
    pub asked: Vec<Value>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Canned(Arc<Mutex<Seen>>);

impl Canned {
    /// Keeps what was asked and hands it out.
    pub(super) fn keep<M: Name>(&self, request: Request<M>) -> M {
        assert!(request.metadata().get("grpc-timeout").is_some(), "every call carries its deadline");
        let message = request.into_inner();
        self.0.lock().unwrap().asked.push(as_json(&message));
        message
    }
}

pub(super) fn as_json(message: &impl Name) -> Value {
    serde_json::to_value(Json::of(message).unwrap()).unwrap()
}

/// A running node; it ends when this is dropped.
pub(super) struct Node {
    pub address: SocketAddr,
    seen: Canned,
    _runtime: Runtime,
}

impl Node {
    pub(super) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Canned::default();
        let serving = Server::builder()
            .add_service(GateServiceServer::new(seen.clone()))
            .add_service(BudgetServiceServer::new(seen.clone()))
            .add_service(SessionServiceServer::new(seen.clone()))
            .add_service(PoolServiceServer::new(seen.clone()))
            .add_service(AdminServiceServer::new(seen.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(serving);
        Self { address, seen, _runtime: runtime }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().unwrap()
    }
}

pub(super) fn rate(used: i64, limiting: bool) -> Limit {
    Limit {
        texts: LimitTexts::new("rate", "calls", "aligned/1h"),
        amount: 1000,
        used,
        remaining: 1000 - used,
        resets_at_ms: NOW_MS + 2_530_000,
        exhausted: used >= 1000,
        limiting,
        blocked: i64::from(limiting),
        ..Limit::default()
    }
}

fn hourly(scope: &str) -> Limit {
    Limit {
        texts: LimitTexts::new("budget/hourly", "spend", "rolling/1h"),
        scope: scope.into(),
        amount: 1_000_000,
        used: 250_000,
        reserved: 50_000,
        remaining: 700_000,
        ..Limit::default()
    }
}

pub(super) fn broken(org: &str) -> Status {
    let reason = ErrorDetails::with_error_info("STORE_FAULT", "tollgate", [("org".to_owned(), org.to_owned())]);
    Status::with_error_details(Code::Unavailable, "the store cannot promise durability", reason)
}

fn require_token<T>(request: &Request<T>) -> Result<(), Status> {
    match request.metadata().get("authorization").map(|token| token.to_str()) {
        Some(Ok("Bearer s3cret")) => Ok(()),
        _ => Err(Status::unauthenticated("a bearer token is needed")),
    }
}

#[tonic::async_trait]
impl GateService for Canned {
    type AcquireStreamStream = BoxStream<AcquireStreamResponse>;

    async fn acquire(&self, request: Request<AcquireRequest>) -> Reply<AcquireResponse> {
        if request.get_ref().org == "vault" {
            require_token(&request)?;
        }
        assert!(request.metadata().get("grpc-timeout").is_some(), "every call carries its deadline");
        let request = request.into_inner();
        self.0.lock().unwrap().acquire = Some(request.clone());
        let answer = match request.org.as_str() {
            "broken" => return Err(broken("broken")),
            "silent" => pending().await,
            "full" => AcquireResponse {
                code: DecisionCode::RateLimited.into(),
                message: "The abuse backstop of 1000 calls per hour is reached.\u{1b}[31m".into(),
                limits: vec![rate(1000, true)],
                retry_after_ms: 2_530_000,
                http_status_hint: 429,
                node: "n1".into(),
                ..AcquireResponse::default()
            },
            _ => AcquireResponse {
                allowed: true,
                code: DecisionCode::Allowed.into(),
                decision_id: "0123456789abcdef0123456789abcdef".into(),
                limits: vec![rate(1, false), hourly("")],
                http_status_hint: 200,
                fail_open: vec![FailOpen { gate: "balance".into(), cause: "timeout".into() }],
                reservation_id: if request.reserve.is_empty() { "" } else { "r1" }.into(),
                reservation_expires_at_ms: NOW_MS + 300_000,
                node: "n1".into(),
                ..AcquireResponse::default()
            },
        };
        Ok(Response::new(answer))
    }

    async fn batch_get_status(&self, request: Request<BatchGetStatusRequest>) -> Reply<BatchGetStatusResponse> {
        let results = request.into_inner().items.into_iter().map(|item| {
            let result = match item.org.as_str() {
                "broken" => StatusItem::Error(ItemError {
                    grpc_code: Code::Unavailable.into(),
                    reason: "STORE_FAULT".into(),
                    message: "the record cannot be read".into(),
                }),
                "full" => StatusItem::Status(GetStatusResponse {
                    org: item.org,
                    code: DecisionCode::RateLimited.into(),
                    limits: vec![rate(1000, true)],
                    retry_after_ms: 2_530_000,
                    message: "The backstop is reached.".into(),
                    ..GetStatusResponse::default()
                }),
                "acmee" => StatusItem::Status(GetStatusResponse {
                    org: item.org,
                    allowed: true,
                    code: DecisionCode::Allowed.into(),
                    unknown: true,
                    ..GetStatusResponse::default()
                }),
                "over" => StatusItem::Status(GetStatusResponse {
                    org: item.org,
                    allowed: true,
                    code: DecisionCode::Allowed.into(),
                    denied_lately: 10,
                    denied_by: vec![explain::lately()],
                    limits: vec![rate(10, false), Limit { blocked: 10, ..explain::daily() }],
                    ..GetStatusResponse::default()
                }),
                _ => StatusItem::Status(GetStatusResponse {
                    org: item.org,
                    allowed: true,
                    code: DecisionCode::Allowed.into(),
                    limits: vec![rate(500, false), hourly(&item.scope)],
                    plan: "free".into(),
                    ..GetStatusResponse::default()
                }),
            };
            BatchGetStatusResult { result: Some(result) }
        });
        Ok(Response::new(BatchGetStatusResponse { results: results.collect() }))
    }

    async fn acquire_batch(&self, _: Request<AcquireBatchRequest>) -> Reply<AcquireBatchResponse> {
        Err(Status::unimplemented(""))
    }

    async fn acquire_stream(&self, _: Request<Streaming<AcquireStreamRequest>>) -> Reply<Self::AcquireStreamStream> {
        Err(Status::unimplemented(""))
    }

    async fn list_reservations(&self, request: Request<ListReservationsRequest>) -> Reply<ListReservationsResponse> {
        self.keep(request);
        let reservations = everything(String::new()).reservations;
        Ok(Response::new(ListReservationsResponse { reservations, next_page_token: String::new() }))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Reply<CommitResponse> {
        self.keep(request);
        let of = |scope: &str, meter: &str, amount| ScopedAmount { scope: scope.into(), meter: meter.into(), amount };
        Ok(Response::new(CommitResponse {
            late: true,
            booked: vec![of("", "spend", 50_000), of("workspace/a", "bytes", 9)],
            released: vec![of("", "spend", 20_000)],
            ..CommitResponse::default()
        }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Reply<ReleaseResponse> {
        let replayed = self.keep(request).request_id == "again";
        Ok(Response::new(ReleaseResponse { replayed }))
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Reply<ExtendResponse> {
        let ttl_ms = self.keep(request).ttl_ms;
        let expires_at_ms = NOW_MS + ttl_ms;
        Ok(Response::new(ExtendResponse { replayed: false, expires_at_ms, remaining_ms: ttl_ms }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Reply<ResumeResponse> {
        self.keep(request);
        Ok(Response::new(ResumeResponse { continuations: 3, counted: true, replayed: false }))
    }

    async fn record(&self, request: Request<RecordRequest>) -> Reply<RecordResponse> {
        self.keep(request);
        Ok(Response::new(RecordResponse::default()))
    }

    async fn report_cumulative(&self, _: Request<ReportCumulativeRequest>) -> Reply<ReportCumulativeResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Reply<GetStatusResponse> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl AdminService for Canned {
    async fn audit(&self, request: Request<AuditRequest>) -> Reply<AuditResponse> {
        audit::found(&self.keep(request)).map(Response::new)
    }

    async fn usage(&self, request: Request<UsageRequest>) -> Reply<UsageResponse> {
        usage::used(&self.keep(request)).map(Response::new)
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Reply<SnapshotResponse> {
        let request = self.keep(request);
        let asked =
            self.0.lock().unwrap().asked.iter().filter(|asked| asked["pageToken"] == request.page_token).count();
        snapshot::sent(&request.page_token, asked).map(Response::new)
    }

    async fn what_if(&self, request: Request<WhatIfRequest>) -> Reply<WhatIfResponse> {
        plan::tried(&self.keep(request)).map(Response::new)
    }

    /// 2500 orgs.
    async fn list_orgs(&self, request: Request<ListOrgsRequest>) -> Reply<ListOrgsResponse> {
        let ListOrgsRequest { page_size, page_token, .. } = request.into_inner();
        self.0.lock().unwrap().page_sizes.push(page_size);
        let from: i32 = if page_token.is_empty() { 0 } else { page_token.parse().unwrap() };
        let to = (from + page_size).min(2500);
        let orgs = (from..to).map(|index| OrgSummary {
            org: format!("org-{index:04}"),
            frozen: index == 1,
            sequence: 7,
            last_change_at_ms: NOW_MS - 185_000,
            ..OrgSummary::default()
        });
        let next_page_token = if to < 2500 { to.to_string() } else { String::new() };
        Ok(Response::new(ListOrgsResponse { orgs: orgs.collect(), next_page_token, ..ListOrgsResponse::default() }))
    }

    async fn get_org(&self, request: Request<GetOrgRequest>) -> Reply<GetOrgResponse> {
        let org = request.into_inner().org;
        match org.as_str() {
            "acme" => Ok(Response::new(everything(org))),
            "quiet" => Ok(Response::new(GetOrgResponse { org, ..GetOrgResponse::default() })),
            _ => Err(Status::not_found(format!("nothing is kept of {org}"))),
        }
    }

    async fn purge_org(&self, request: Request<PurgeOrgRequest>) -> Reply<PurgeOrgResponse> {
        let PurgeOrgRequest { org, request_id, .. } = request.into_inner();
        self.0.lock().unwrap().writes.push((org.clone(), request_id));
        if org == "broken" {
            return Err(broken(&org));
        }
        let receipt = (org == "acme").then(|| DeletionReceipt {
            org: org.clone(),
            rows: [("head", 1), ("slice", 11), ("request_id", 800)].map(|(kind, rows)| (kind.to_owned(), rows)).into(),
            exports_kept: 3,
            deleted_at_ms: NOW_MS - 185_000,
            caller: "ops".into(),
            reason: "they have left".into(),
            request_id: "p-1".into(),
            names: vec!["acme-corp".into()],
            bytes_gone_by_ms: NOW_MS + 86_215_000,
        });
        Ok(Response::new(PurgeOrgResponse { existed: org == "acme" || org == "old", receipt }))
    }

    async fn freeze(&self, request: Request<FreezeRequest>) -> Reply<FreezeResponse> {
        let FreezeRequest { org, request_id, reason, for_ms, .. } = request.into_inner();
        let was_frozen = org == "full";
        self.0.lock().unwrap().writes.push((format!("{org} {reason}"), request_id));
        let until_ms = if for_ms == 0 { 0 } else { NOW_MS + for_ms };
        Ok(Response::new(FreezeResponse { replayed: false, was_frozen, until_ms }))
    }

    async fn set_override(&self, request: Request<SetOverrideRequest>) -> Reply<SetOverrideResponse> {
        control::set_override(&self.keep(request))
    }

    async fn grant(&self, request: Request<GrantRequest>) -> Reply<GrantResponse> {
        Ok(Response::new(grants::grant(&self.keep(request))))
    }

    async fn reset_window(&self, request: Request<ResetWindowRequest>) -> Reply<ResetWindowResponse> {
        Ok(Response::new(grants::reset_window(&self.keep(request))))
    }

    async fn revoke_grant(&self, request: Request<RevokeGrantRequest>) -> Reply<RevokeGrantResponse> {
        Ok(Response::new(grants::revoke_grant(&self.keep(request))))
    }

    async fn rename_org(&self, request: Request<RenameOrgRequest>) -> Reply<RenameOrgResponse> {
        Ok(Response::new(names::renamed(&self.keep(request))))
    }

    async fn clear_override(&self, request: Request<ClearOverrideRequest>) -> Reply<ClearOverrideResponse> {
        Ok(Response::new(control::clear_override(&self.keep(request))))
    }

    async fn list_overrides(&self, request: Request<ListOverridesRequest>) -> Reply<ListOverridesResponse> {
        Ok(Response::new(control::list_overrides(&self.keep(request))))
    }

    async fn set_plan(&self, request: Request<SetPlanRequest>) -> Reply<SetPlanResponse> {
        Ok(Response::new(control::set_plan(&self.keep(request))))
    }

    async fn set_exemption(&self, request: Request<SetExemptionRequest>) -> Reply<SetExemptionResponse> {
        Ok(Response::new(control::set_exemption(&self.keep(request))))
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Reply<RefundResponse> {
        Ok(Response::new(control::refund(&self.keep(request))))
    }

    async fn unfreeze(&self, request: Request<UnfreezeRequest>) -> Reply<UnfreezeResponse> {
        let was_frozen = request.into_inner().org == "full";
        Ok(Response::new(UnfreezeResponse { replayed: false, was_frozen }))
    }

    async fn refresh_balance(&self, request: Request<RefreshBalanceRequest>) -> Reply<RefreshBalanceResponse> {
        match request.into_inner().org.as_str() {
            "broken" => Err(broken("broken")),
            org => Ok(Response::new(billing::balance(org))),
        }
    }

    async fn list_exports(&self, request: Request<ListExportsRequest>) -> Reply<ListExportsResponse> {
        let request = request.into_inner();
        self.0.lock().unwrap().page_sizes.push(request.page_size);
        Ok(Response::new(billing::exports(&request)))
    }

    async fn replay_exports(&self, request: Request<ReplayExportsRequest>) -> Reply<ReplayExportsResponse> {
        let ReplayExportsRequest { org, request_id, key, .. } = request.into_inner();
        self.0.lock().unwrap().writes.push((format!("{org} {key}"), request_id));
        let replayed_rows = match (org.as_str(), key.as_str()) {
            ("broken", _) => return Err(broken(&org)),
            ("quiet", _) => 0,
            (_, "") => 3,
            _ => 1,
        };
        Ok(Response::new(ReplayExportsResponse { replayed_rows }))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Reply<ListEventsResponse> {
        events::listed(&self.keep(request)).map(Response::new)
    }

    type WatchEventsStream = BoxStream<WatchEventsResponse>;

    async fn watch_events(&self, request: Request<WatchEventsRequest>) -> Reply<Self::WatchEventsStream> {
        events::watched(&mut self.0.lock().unwrap(), request.into_inner())
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Reply<ListAuditResponse> {
        events::audited(&self.keep(request)).map(Response::new)
    }

    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Reply<GetClusterResponse> {
        let shard = |number| ClusterShard { number, cell: 1, owner: "n1".into(), epoch: 7 };
        let shards = if request.into_inner().shards { (0..1024).map(shard).collect() } else { Vec::new() };
        let node = |name: &str, state: NodeState, shards| ClusterNode {
            name: name.into(),
            incarnation: "00000000000000a1".into(),
            state: state.into(),
            shards,
            weight: 1,
            version: "0.1.0".into(),
            config: "c0ffee".into(),
            grpc: "10.0.0.1:7070".into(),
            peer: "10.0.0.1:7072".into(),
            cells: vec![1],
            lease_ms: 1_200,
        };
        Ok(Response::new(GetClusterResponse {
            node: "n1".into(),
            nodes: vec![
                node("n1", NodeState::Alive, 1000),
                node("n2", NodeState::Draining, 20),
                node("n3", NodeState::Dead, 4),
            ],
            shards_owned: 1020,
            shards_free: 4,
            shards_total: 1024,
            drift: vec!["n1 (a), n2 (b) differ in their configuration".into()],
            shards_claimed: 1024,
            shards_handed_over: 24,
            shards,
            ..GetClusterResponse::default()
        }))
    }

    async fn list_denials(&self, request: Request<ListDenialsRequest>) -> Reply<ListDenialsResponse> {
        Ok(Response::new(explain::denials(&self.keep(request))))
    }

    async fn explain_decision(&self, request: Request<ExplainDecisionRequest>) -> Reply<ExplainDecisionResponse> {
        explain::explained(&self.keep(request)).map(Response::new)
    }

    async fn why(&self, request: Request<WhyRequest>) -> Reply<WhyResponse> {
        explain::why(&self.keep(request)).map(Response::new)
    }

    async fn drain_node(&self, request: Request<DrainNodeRequest>) -> Reply<DrainNodeResponse> {
        Ok(Response::new(DrainNodeResponse { node: request.into_inner().node }))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Reply<ReloadResponse> {
        Ok(Response::new(ReloadResponse {
            applied: true,
            config_generation: 2,
            needs_restart: vec!["listen.grpc".into(), "node.name".into()],
            warnings: vec!["t.toml:1:8: plans.a is the plan of no org".into()],
            changes: vec![
                ConfigChange { secret: true, ..changed("billing.autumn.secret_key_file", None, None) },
                ConfigChange {
                    needs_restart: true,
                    ..changed("listen.grpc", Some("127.0.0.1:7070"), Some("[::]:7070"))
                },
                ConfigChange { needs_restart: true, ..changed("node.name", None, Some("n2")) },
                changed(
                    "orgs.acme.plan",
                    Some("a-plan-with-a-long-name-that-says-much"),
                    Some("another-plan-with-a-long-name"),
                ),
            ],
            changed: 4,
            ..ReloadResponse::default()
        }))
    }

    async fn get_caller(&self, _: Request<GetCallerRequest>) -> Reply<GetCallerResponse> {
        Ok(Response::new(GetCallerResponse {
            name: "ops".into(),
            role: "viewer".into(),
            orgs: vec!["acme".into(), "beta-*".into()],
            expires_at_ms: NOW_MS + 86_400_000,
            expires_in_ms: 86_400_000,
            authenticated: true,
        }))
    }

    async fn get_node(&self, _: Request<GetNodeRequest>) -> Reply<GetNodeResponse> {
        Ok(Response::new(GetNodeResponse {
            node: "n1".into(),
            version: "0.1.0".into(),
            health: "serving".into(),
            store: "sled".into(),
            started_at_ms: NOW_MS - i64::try_from(Duration::from_secs(3600).as_millis()).unwrap(),
            now_ms: NOW_MS,
            clock: "steady".into(),
            resident_orgs: 3,
            write_behind_ms: 10,
            write_behind_max: 4096,
            bounds: [("org_in_flight".to_owned(), 1024), ("batch_items".to_owned(), 1000)].into(),
            plans: vec!["free".into(), "pro".into()],
            purged_since_ms: NOW_MS - 185_000,
            purged_gone_by_ms: NOW_MS + 86_215_000,
            ..GetNodeResponse::default()
        }))
    }
}

fn changed(key: &str, from: Option<&str>, to: Option<&str>) -> ConfigChange {
    let text = |value: Option<&str>| value.map(str::to_owned);
    ConfigChange { key: key.into(), from: text(from), to: text(to), secret: false, needs_restart: false }
}

fn everything(org: String) -> GetOrgResponse {
    let hour = NOW_MS / 3_600_000 * 3_600_000;
    let spend = |amount| Amount { meter: "spend".into(), amount };
    GetOrgResponse {
        org,
        name: "acme-corp".into(),
        former_names: ["acme", "acme-inc"].map(names::former).into(),
        purged_at_ms: 0,
        plan: "free".into(),
        frozen: true,
        freeze_reason: "unpaid".into(),
        frozen_until_ms: 0,
        overrides: Vec::new(),
        rate: Some(RateRecord { window_id: hour / 3_600_000, window_length_ms: 3_600_000, count: 12, blocked: 3 }),
        limits: vec![rate(12, false)],
        ledgers: vec![Ledger {
            scope: "workspace/w1".into(),
            meter: "spend".into(),
            hours: vec![HourSlice {
                start_ms: hour,
                total: 50,
                minutes: vec![MinuteSlice { start_ms: hour + 60_000, amount: 50 }],
            }],
            reserved: 7,
        }],
        counters: vec![Counter {
            scope: String::new(),
            meter: "compute".into(),
            window: "anchored/1d".into(),
            start_ms: hour,
            used: 3_723_000,
            carried: 0,
        }],
        reservations: vec![Reservation {
            reservation_id: "r1".into(),
            scope: String::new(),
            amounts: vec![spend(50_000)],
            expires_at_ms: NOW_MS + 300_000,
            scopes: Vec::new(),
            remaining_ms: 300_000,
            state: ReservationState::Open.into(),
            reserved_at_ms: NOW_MS - 60_000,
            commit_within_ms: 0,
            folded_scopes: Vec::new(),
        }],
        reservations_expired: 0,
        baselines: vec![Baseline {
            scope: String::new(),
            source: "meter-1".into(),
            meter: "bytes".into(),
            incarnation: "boot-1".into(),
            total: 1_048_576,
            scopes: vec!["agent/7".into(), "workspace/w1".into()],
        }],
        executions: vec![Execution {
            execution_id: "e1".into(),
            continuations: 2,
            last_seen_at_ms: NOW_MS - 60_000,
            admitted: true,
            open: true,
        }],
        disputed: Vec::new(),
        timers: Some(Timers { wake_at_ms: NOW_MS + 1_000, ..Timers::default() }),
        sequence: 42,
        journal_from_sequence: 40,
        remembered_request_ids: 5,
        request_ids_evicted: 0,
        request_id_bytes: 525,
        request_ids_known_from_ms: 1,
        request_ids_forgotten: 0,
        admitted_total: 99,
        exports_pending: 4,
        exports_set_aside: 1,
        executions_uncompleted: 2,
        budgets: vec![
            BudgetLimits {
                scope: String::new(),
                version: 3,
                limits: [("monthly", 5_000_000), ("hourly", 0), ("yearly", 7)]
                    .map(|(period, limit)| (period.to_owned(), limit))
                    .into(),
            },
            BudgetLimits { scope: "workspace/w1".into(), version: 2, ..BudgetLimits::default() },
        ],
        sessions: vec![session::session("s1")],
        trial_ended_at_ms: NOW_MS - 185_000,
        pools: vec![OrgPool {
            pool: "relay".into(),
            summary: Some(PoolSummary {
                capacity: 39_000,
                used: 12,
                remaining: 38_988,
                active: 1,
                accounts: 2,
                ..Default::default()
            }),
        }],
    }
}
