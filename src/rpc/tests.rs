//! The table against the descriptors, read by a front of its own, and calls on their way through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use prost::Message;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind as FieldKind, MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};
use tokio::time::Instant;

use super::{
    Answer, Asking, Taken,
    method::Of,
    permit_rpc, response, serve, serve_stream,
    table::{self, ALL, Kind, Named, OrgField, Orgs, Reader, Rpc, Streamed, Unary, UnaryRpc, Watched},
};
use crate::{
    auth::{Grant, Principal, Refused, Role},
    bounds::Bounds,
    domain::{
        commands::{self, Lane},
        refusal::OrgError,
    },
    error::ServiceError,
    service::Service,
    testing::{Node, node, org, rate_of, record, rules, until},
    wire::{admin::v1 as admin_v1, json::descriptors, v1},
};

fn methods() -> BTreeMap<String, MethodDescriptor> {
    let services = descriptors().unwrap().services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| (format!("{}/{}", method.parent_service().full_name(), method.name()), method)).collect()
}

/// The row that has a name, and how it is read.
struct Found(&'static str);

impl Reader for Found {
    type Answer = Option<(&'static str, Kind)>;

    fn name(&self) -> &str {
        self.0
    }

    fn unary(self, row: UnaryRpc) -> Self::Answer {
        Some((row.rpc.name, Kind::Unary))
    }

    fn stream<R: Streamed>(self) -> Self::Answer {
        Some((R::RPC.name, Kind::Stream))
    }

    fn watch<R: Watched>(self) -> Self::Answer {
        Some((R::RPC.name, Kind::Watch))
    }

    fn unknown(self) -> Self::Answer {
        None
    }
}

#[test]
fn the_table_is_that_of_the_protos() {
    let methods = methods();
    let names: Vec<String> = ALL.iter().map(|rpc| rpc.name.to_owned()).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(unique.len(), names.len(), "no row stands twice");
    assert_eq!(unique, methods.keys().cloned().collect(), "a row for every rpc, and no other");
    for rpc in ALL {
        let method = &methods[rpc.name];
        assert_eq!(rpc.name, format!("{}/{}", rpc.service, rpc.method));
        let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => Kind::Unary,
            (true, true) => Kind::Stream,
            (false, true) => Kind::Watch,
            other => panic!("{}: no kind for {other:?}", rpc.name),
        };
        assert_eq!(rpc.kind, kind, "{}", rpc.name);
        assert_eq!((rpc.request)(), method.input().full_name(), "{}", rpc.name);
        assert_eq!((rpc.response)(), method.output().full_name(), "{}", rpc.name);
        assert_eq!(table::read(Found(rpc.name)), Some((rpc.name, kind)), "{}", rpc.name);
    }
    assert_eq!(table::read(Found("tollgate.v1.GateService/Novel")), None);
    let services: BTreeSet<_> = table::services().map(str::to_owned).collect();
    assert_eq!(services, descriptors().unwrap().services().map(|service| service.full_name().to_owned()).collect());
}

#[test]
fn a_metric_is_of_one_rpc() {
    let labels: BTreeSet<_> = ALL.iter().map(|rpc| rpc.method).collect();
    assert_eq!(labels.len(), ALL.len());
}

/// Why a stream of these tests ends.
#[derive(Debug, PartialEq)]
enum Fault {
    Reset,
    Refused(ServiceError),
}

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        Self::Refused(error)
    }
}

pub(super) fn anybody() -> Arc<Principal> {
    Arc::new(Principal::anybody())
}

fn names_an_org(field: &FieldDescriptor) -> bool {
    field.name() == "org" || field.kind().as_message().is_some_and(|message| message.fields().any(|f| names_an_org(&f)))
}

#[test]
fn the_org_of_a_call_is_found_in_its_bytes() {
    for rpc in ALL {
        let mut request = DynamicMessage::new(methods()[rpc.name].input());
        let named = |message: &mut DynamicMessage, field: &str| {
            message.try_set_field_by_name(field, Value::String("acme".into())).unwrap();
        };
        let expected = match rpc.org {
            OrgField::None | OrgField::Node => {
                assert!(request.descriptor().fields().all(|field| !names_an_org(&field)), "{}", rpc.name);
                vec![]
            }
            OrgField::One(field) | OrgField::Perhaps(field) => {
                assert_eq!(field, "org", "{}", rpc.name);
                named(&mut request, field);
                vec!["acme"]
            }
            OrgField::Each(list, field) => {
                assert_eq!(field, "org", "{}", rpc.name);
                let list = request.descriptor().get_field_by_name(list).unwrap();
                let FieldKind::Message(item) = list.kind() else { panic!("{}", rpc.name) };
                let mut item = DynamicMessage::new(item);
                named(&mut item, field);
                let item = Value::Message(item);
                let many = list.is_list();
                request.set_field(&list, if many { Value::List(vec![item.clone(), item]) } else { item });
                vec!["acme"; if many { 2 } else { 1 }]
            }
        };
        assert_eq!(table::read(Naming(rpc.name, &request.encode_to_vec())), expected, "{}", rpc.name);
    }
}

/// The orgs that an encoded request names.
struct Naming<'a>(&'static str, &'a [u8]);

fn texts(orgs: Orgs<'_>) -> Vec<String> {
    match orgs {
        Orgs::None => vec![],
        Orgs::One(org) => vec![org.to_owned()],
        Orgs::Each(orgs) => orgs.into_iter().map(str::to_owned).collect(),
    }
}

impl Reader for Naming<'_> {
    type Answer = Vec<String>;

    fn name(&self) -> &str {
        self.0
    }

    fn unary(self, row: UnaryRpc) -> Vec<String> {
        texts(row.decode(self.1).unwrap().orgs())
    }

    fn stream<R: Streamed>(self) -> Vec<String> {
        texts(R::orgs(&R::Request::decode(self.1).unwrap()))
    }

    fn watch<R: Watched>(self) -> Vec<String> {
        texts(R::orgs(&R::Request::decode(self.1).unwrap()))
    }

    fn unknown(self) -> Vec<String> {
        panic!("{} has no row", self.0)
    }
}

/// Puts an org into a request, in the place of another name of it.
struct Leading(&'static str, Vec<u8>);

impl Leading {
    fn lead<R: table::Method>(self) -> Vec<u8> {
        let mut request = Of::<R>(R::Request::decode(&*self.1).unwrap());
        request.lead(&org("id"));
        request.0.encode_to_vec()
    }
}

impl Reader for Leading {
    type Answer = Vec<u8>;

    fn name(&self) -> &str {
        self.0
    }

    fn unary(self, row: UnaryRpc) -> Vec<u8> {
        let mut request = row.decode(&self.1).unwrap();
        request.lead(&org("id"));
        request.encoded().into()
    }

    fn stream<R: Streamed>(self) -> Vec<u8> {
        self.lead::<R>()
    }

    fn watch<R: Watched>(self) -> Vec<u8> {
        self.lead::<R>()
    }

    fn unknown(self) -> Vec<u8> {
        panic!("{} has no row", self.0)
    }
}

#[test]
fn a_request_under_another_name_becomes_one_about_the_org() {
    for rpc in ALL.iter().filter(|rpc| matches!(rpc.org, OrgField::One(_) | OrgField::Perhaps(_))) {
        let led = table::read(Leading(rpc.name, valid(rpc)));
        assert_eq!(table::read(Naming(rpc.name, &led)), ["id"], "{}", rpc.name);
        let mut request = DynamicMessage::decode(methods()[rpc.name].input(), &*led).unwrap();
        request.set_field_by_name("org", Value::String("acme".into()));
        let expected = DynamicMessage::decode(methods()[rpc.name].input(), &*valid(rpc)).unwrap();
        assert_eq!(request, expected, "{}: and nothing else", rpc.name);
    }
    let pick = v1::PickRequest { org: "acme".into(), acquire: Some(acquire("blue", false)), ..Default::default() };
    let led = table::read(Leading("tollgate.v1.PoolService/Pick", pick.encode_to_vec()));
    assert_eq!(v1::PickRequest::decode(&*led).unwrap().acquire.unwrap().org, "id");
}

/// A front that knows no types: bytes in, bytes out.
struct Bytes {
    service: Arc<Service>,
    name: &'static str,
    request: Vec<u8>,
}

/// What a caller gets.
pub(super) async fn asked<R: Unary>(
    service: &Service,
    caller: Arc<Principal>,
    request: R::Request,
) -> Answer<R::Response> {
    let reply = serve(service, caller, Asking::default(), Taken::made::<R>(request)).await?;
    response::<R>(reply.bytes)
}

impl Reader for Bytes {
    type Answer = Option<Pin<Box<dyn Future<Output = Answer<Vec<u8>>>>>>;

    fn name(&self) -> &str {
        self.name
    }

    fn unary(self, row: UnaryRpc) -> Self::Answer {
        Some(Box::pin(async move {
            let request = Taken::of(row, self.request.into(), false).unwrap();
            serve(&self.service, anybody(), Asking::default(), request).await.map(|reply| reply.bytes.into())
        }))
    }

    fn stream<R: Streamed>(self) -> Self::Answer {
        None
    }

    fn watch<R: Watched>(self) -> Self::Answer {
        None
    }

    fn unknown(self) -> Self::Answer {
        panic!("{} has no row", self.name)
    }
}

async fn through_bytes(node: &Node, rpc: &Rpc, request: Vec<u8>) -> Option<Answer<Vec<u8>>> {
    let call = table::read(Bytes { service: node.service.clone(), name: rpc.name, request })?;
    Some(call.await)
}

/// A valid request: every field that a call may need has a value that fits all of them.
fn valid(rpc: &Rpc) -> Vec<u8> {
    let mut request = DynamicMessage::new(methods()[rpc.name].input());
    let text = |text: &str| Value::String(text.into());
    let amount = v1::Amount { meter: "spend".into(), amount: 1 };
    let mut usage = DynamicMessage::new(descriptors().unwrap().get_message_by_name("tollgate.v1.Amount").unwrap());
    usage.transcode_from(&amount).unwrap();
    for (field, value) in [
        ("org", text("acme")),
        ("request_id", text("r")),
        ("session_id", text("s")),
        ("identity", text("i")),
        ("incarnation", text("b")),
        ("total_seconds", Value::I64(1)),
        ("reservation_id", text("56026a878e5d70eb0000000000000001")),
        ("execution_id", text("e")),
        ("source", text("s")),
        ("meter", text("spend")),
        ("usage", Value::List(vec![Value::Message(usage)])),
        ("ttl_ms", Value::I64(1_000)),
    ] {
        let _ = request.try_set_field_by_name(field, value);
    }
    // Accounts of pools are names as well, but only these two say which pool.
    if rpc.service == "tollgate.v1.PoolService" {
        request.set_field_by_name("pool", text("p"));
    }
    if rpc.method == "WhatIf" {
        let limit = admin_v1::WhatIfLimit { period: "daily".into(), amount: 1 };
        let of_limits = descriptors().unwrap().get_message_by_name("tollgate.admin.v1.WhatIfLimit").unwrap();
        let mut limits = DynamicMessage::new(of_limits);
        limits.transcode_from(&limit).unwrap();
        request.set_field_by_name("limits", Value::List(vec![Value::Message(limits)]));
    }
    if rpc.method == "ClearAccount" {
        request.set_field_by_name("account", text("a"));
    }
    if ["SetOverride", "ClearOverride", "Grant", "ResetWindow"].contains(&rpc.method) {
        request.set_field_by_name("limit", text("rate"));
    }
    if ["SetOverride", "Grant"].contains(&rpc.method) {
        request.set_field_by_name("amount", Value::I64(1));
    }
    if rpc.method == "Refund" {
        request.set_field_by_name("decision_id", text("56026a878e5d70eb0000000000000001"));
    }
    if rpc.method == "RenameOrg" {
        request.set_field_by_name("to", text("acme-corp"));
    }
    if rpc.method == "RevokeGrant" {
        request.set_field_by_name("grant", Value::I64(1));
    }
    if ["SetPlan", "SetExemption"].contains(&rpc.method) {
        // As it is configured.
        request.set_field_by_name("change", Value::EnumNumber(3));
    }
    request.encode_to_vec()
}

#[tokio::test(start_paused = true)]
async fn every_unary_rpc_is_served_by_name_measured_and_its_errors_counted() {
    let node = node(rate_of(10)).await;
    for rpc in ALL {
        let Some(answered) = through_bytes(&node, rpc, Vec::new()).await else {
            assert_ne!(rpc.kind, Kind::Unary, "{}", rpc.name);
            continue;
        };
        let may_be_empty =
            ["ListOrgs", "GetCaller", "GetNode", "GetCluster", "Audit", "Usage", "Reload", "ListEvents", "Snapshot"]
                .contains(&rpc.method);
        assert_eq!(answered.is_ok(), may_be_empty, "{}: {answered:?}", rpc.name);
        let metrics = node.metrics.render(node.service.readings());
        let measured =
            format!("rpc_server_call_duration_seconds_count{{rpc_method=\"{}\",rpc_system_name=\"grpc\"}} 1", rpc.name);
        assert!(metrics.contains(&measured), "{measured} is not in {metrics}");
        // The node is alone.
        let reason = if rpc.method == "DrainNode" { "NODE_UNKNOWN" } else { "INVALID_FIELD" };
        let counted = format!("tollgate_rpc_errors_total{{rpc=\"{}\",reason=\"{reason}\"}} 1", rpc.method);
        assert_eq!(metrics.contains(&counted), !may_be_empty, "{counted} in {metrics}");
    }
}

/// What already runs has a lane of its own. Resume has it too, and answers whatever happens.
const SETTLEMENT: [&str; 8] =
    ["Commit", "Release", "Extend", "Record", "ReportCumulative", "Heartbeat", "EndSession", "ReportOutcome"];

/// Before a request is decoded its row says in which lane it is; then its command does.
#[test]
fn what_settles_has_the_lane_of_settlement() {
    let settles: BTreeSet<_> = ALL.iter().filter(|rpc| rpc.settles).map(|rpc| rpc.method).collect();
    // The node asks with these itself.
    let own = ["TakeOutbox", "SettleOutbox", "TakeUndelivered", "NoteDelivered"];
    let lanes = commands::LANES.iter().filter(|(name, lane)| *lane == Lane::Settle && !own.contains(name));
    assert_eq!(settles, lanes.map(|(name, _)| *name).collect());
    assert_eq!(settles, SETTLEMENT.into_iter().chain(["Resume"]).collect());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_admissions_keeps_no_settlement_out() {
    let node = node(rate_of(10)).await;
    let bounds = Bounds { node_in_flight: 1, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    node.store.stall_loads();
    // Of these the first three take no place, and the last answers whatever happens.
    let uncounted = ["ListOrgs", "GetNode", "RefreshBalance", "Resume"];
    let takes_a_place = |rpc: &&&Rpc| {
        rpc.kind == Kind::Unary && !uncounted.contains(&rpc.method) && matches!(rpc.org, OrgField::One(_))
    };
    for rpc in ALL.iter().filter(takes_a_place) {
        // The one place of the admission lane is taken until this call's own deadline.
        let service = node.service.clone();
        let waiting = v1::GetStatusRequest { org: "slow".into(), ..Default::default() };
        let held = tokio::spawn(async move { asked::<table::GetStatus>(&service, anybody(), waiting).await });
        while node.orgs.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        let found = through_bytes(&node, rpc, valid(rpc)).await.unwrap();
        let full = matches!(found, Err(ServiceError::NodeBusy { .. }));
        assert_eq!(full, !SETTLEMENT.contains(&rpc.method), "I7: {}: {found:?}", rpc.name);
        assert_eq!(held.await.unwrap(), Err(ServiceError::TimedOut));
    }
}

fn acquire(plane: &str, explain: bool) -> v1::AcquireRequest {
    v1::AcquireRequest {
        org: "acme".into(),
        request_id: "r".into(),
        plane: plane.into(),
        explain,
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_another_label_is_the_same_call() {
    let node = node(rate_of(10)).await;
    let ask = |request| asked::<table::Acquire>(&node.service, anybody(), request);
    let first = ask(acquire("blue", false)).await.unwrap();
    for retry in [acquire("green", false), acquire("blue", true), acquire("", false)] {
        let again = ask(retry).await.unwrap();
        assert_eq!((again.replayed, &again.decision_id), (true, &first.decision_id), "R-PIPE-6");
        assert_eq!(again.limits[0].used, 1, "charged once");
    }
    let other = v1::AcquireRequest { scope: "s".into(), ..acquire("blue", false) };
    assert_eq!(ask(other).await, Err(ServiceError::Org(crate::domain::refusal::OrgError::RequestIdReused)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_answers_what_came_before_its_fault_and_counts_the_errors_of_its_items() {
    let node = node(rate_of(10)).await;
    let item = |tag, org: &str| {
        let acquire = Some(v1::AcquireRequest { org: org.into(), ..Default::default() });
        Ok(v1::AcquireStreamRequest { tag, acquire })
    };
    let requests = stream::iter([item(1, "acme"), item(2, ""), item(3, "other"), Err(Fault::Reset)]);
    let answers = serve_stream::<table::AcquireStream, _>(
        node.service.clone(),
        (anybody(), None),
        requests,
        std::future::pending(),
    );
    let answers: Vec<_> = answers.collect().await;
    let (answered, faults): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(faults, [Err(Fault::Reset)]);
    let mut answered: Vec<_> = answered.into_iter().flatten().map(|answer| (answer.tag, answer.result)).collect();
    answered.sort_by_key(|(tag, _)| *tag);
    let [(1, Some(first)), (2, Some(second)), (3, Some(third))] = &answered[..] else { panic!("{answered:?}") };
    use v1::acquire_stream_response::Result as Outcome;
    assert!(matches!(first, Outcome::Decision(decision) if decision.allowed));
    assert!(matches!(second, Outcome::Error(error) if error.reason == "INVALID_FIELD"));
    assert!(matches!(third, Outcome::Decision(decision) if decision.allowed));
    let metrics = node.metrics.render(node.service.readings());
    for line in [
        "rpc_server_call_duration_seconds_count{rpc_method=\"tollgate.v1.GateService/AcquireStream\",rpc_system_name=\"grpc\"} 1",
        "tollgate_rpc_errors_total{rpc=\"AcquireStream\",reason=\"INVALID_FIELD\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_read_no_further_than_its_answers_allow() {
    let node = node(rate_of(10_000)).await;
    node.store.hold();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let requests = stream::iter(0..5_000).map(move |tag| {
        counted.fetch_add(1, Ordering::Relaxed);
        let reserve = vec![v1::Amount { meter: "spend".into(), amount: 1 }];
        let acquire =
            v1::AcquireRequest { org: "acme".into(), request_id: tag.to_string(), reserve, ..Default::default() };
        Ok::<_, Fault>(v1::AcquireStreamRequest { tag, acquire: Some(acquire) })
    });
    let over = std::future::pending();
    let answers = serve_stream::<table::AcquireStream, _>(node.service.clone(), (anybody(), None), requests, over);
    let answers = tokio::spawn(answers.count());
    // 1024 in flight, and the requests that wait for their place.
    until(|| node.store.pending() > 0 && read.load(Ordering::Relaxed) >= 1_024).await;
    assert!(read.load(Ordering::Relaxed) <= 1_024 + 256, "R-LOAD-2: {}", read.load(Ordering::Relaxed));
    node.store.release();
    assert_eq!(answers.await.unwrap(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_connection_and_with_the_node() {
    let node = node(rate_of(10)).await;
    let silent = || stream::pending::<Result<v1::AcquireStreamRequest, Fault>>();
    let open = |over: bool| {
        serve_stream::<table::AcquireStream, _>(node.service.clone(), (anybody(), None), silent(), async move {
            if !over {
                std::future::pending::<()>().await;
            }
        })
    };
    assert_eq!(open(true).count().await, 0, "with its connection");
    node.service.closing().cancel();
    assert_eq!(open(false).count().await, 0, "with the node");
}

#[tokio::test]
async fn a_stream_ends_with_its_first_fault_however_many_follow() {
    let node = node(rate_of(10)).await;
    let endless = stream::iter(std::iter::repeat_with(|| Err(Fault::Reset)));
    let over = std::future::pending();
    let answers = serve_stream::<table::AcquireStream, _>(node.service.clone(), (anybody(), None), endless, over);
    assert_eq!(answers.collect::<Vec<_>>().await, [Err(Fault::Reset)]);
}

pub(super) fn caller(role: Role, orgs: &str, scopes: &[&str], bind: &[&str]) -> Arc<Principal> {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let grant = Grant { role, orgs: vec![orgs.into()], scopes: texts(scopes), bind: texts(bind) };
    Arc::new(grant.to("test", None).unwrap())
}

#[test]
fn a_request_with_scopes_is_bound_to_those_of_its_caller() {
    let has_scopes = |message: &MessageDescriptor| message.get_field_by_name("scopes").is_some_and(|it| it.is_list());
    let inner = |field: FieldDescriptor| field.kind().as_message().is_some_and(has_scopes);
    for rpc in ALL {
        let request = methods()[rpc.name].input();
        let expected = has_scopes(&request) || request.fields().any(inner);
        assert_eq!(rpc.has_scopes, expected, "{}", rpc.name);
    }
}

#[tokio::test]
async fn only_whom_the_table_names_may_call_an_rpc() {
    let node = node(rate_of(10)).await;
    for rpc in ALL {
        for role in Role::ALL {
            let permitted = permit_rpc(&node.service, rpc, &caller(role, "*", &[], &[]));
            assert_eq!(permitted.is_ok(), rpc.access.roles().contains(&role), "{} by {role}", rpc.name);
        }
    }
    let may = |method: &str| ALL.iter().find(|rpc| rpc.method == method).unwrap().access.roles();
    assert!(!may("UpdateBudget").contains(&Role::Reporter) && !may("Pick").contains(&Role::Viewer));
    assert!(ALL.iter().all(|rpc| !rpc.access.roles().contains(&Role::Peer)), "no rpc is for nodes alone");
}

#[tokio::test]
async fn a_stream_ends_with_the_credential_of_its_caller() {
    let node = node(rate_of(10)).await;
    let plane = caller(Role::Plane, "acme", &[], &[]);
    let item = |org: &str| {
        let acquire = Some(v1::AcquireRequest { org: org.into(), ..Default::default() });
        Ok(v1::AcquireStreamRequest { tag: 1, acquire })
    };
    let open = |requests: Vec<Result<v1::AcquireStreamRequest, Fault>>| {
        let over = std::future::pending();
        serve_stream::<table::AcquireStream, _>(
            node.service.clone(),
            (plane.clone(), None),
            stream::iter(requests),
            over,
        )
    };
    use v1::acquire_stream_response::Result as Outcome;
    let answers: Vec<_> = open(vec![item("acme")]).collect().await;
    let [Ok(v1::AcquireStreamResponse { result: Some(Outcome::Decision(_)), .. })] = &answers[..] else {
        panic!("{answers:?}")
    };
    let answers: Vec<_> = open(vec![item("other")]).collect().await;
    let [Ok(v1::AcquireStreamResponse { result: Some(Outcome::Error(error)), .. })] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(error.reason, "ORG_NOT_ALLOWED");
    plane.revoke();
    let answers: Vec<_> = open(vec![item("acme")]).collect().await;
    assert_eq!(answers, [Err(Fault::Refused(ServiceError::Unauthenticated(Refused::Invalid)))]);
}

#[tokio::test]
async fn what_was_begun_in_scopes_of_others_is_not_there() {
    let node = node(rate_of(10)).await;
    let mine = caller(Role::Plane, "acme", &["agent/*"], &[]);
    let others = caller(Role::Plane, "acme", &[], &["team/t"]);
    let reserve = v1::AcquireRequest {
        org: "acme".into(),
        scope: "agent/a".into(),
        reserve: vec![v1::Amount { meter: "spend".into(), amount: 5 }],
        request_id: "r".into(),
        ..Default::default()
    };
    let begun = asked::<table::Acquire>(&node.service, mine.clone(), reserve).await.unwrap();
    let list = v1::ListReservationsRequest { org: "acme".into(), ..Default::default() };
    let seen = |caller: &Arc<Principal>| asked::<table::ListReservations>(&node.service, caller.clone(), list.clone());
    assert_eq!(seen(&mine).await.unwrap().reservations.len(), 1);
    assert_eq!(seen(&others).await.unwrap().reservations.len(), 0);
    let commit = |caller: &Arc<Principal>| {
        let request = v1::CommitRequest {
            org: "acme".into(),
            reservation_id: begun.decision_id.clone(),
            request_id: "c".into(),
            ..Default::default()
        };
        asked::<table::Commit>(&node.service, caller.clone(), request)
    };
    let refused = commit(&others).await.unwrap_err();
    assert_eq!(refused, ServiceError::Org(OrgError::ReservationNotFound));
    assert!(commit(&mine).await.is_ok());
}

/// Callers in other languages read it too: tests/clients/test_access.py.
#[test]
fn the_documentation_has_the_table_of_who_may_call_what() {
    let row = |rpc: &&Rpc| {
        let may = Role::ALL.map(|role| if rpc.access.roles().contains(&role) { "yes" } else { "–" });
        format!("| `{}` | {} |\n", rpc.name, may.join(" | "))
    };
    let expected: String = ALL.iter().map(row).collect();
    let documented = include_str!("../../docs/security.md");
    assert!(documented.contains(&expected), "docs/security.md has not these rows:\n{expected}");
}

#[tokio::test(start_paused = true)]
async fn an_audit_of_every_org_comes_in_pages() {
    let node = node(rate_of(1000)).await;
    for name in ["a", "b", "c"] {
        node.orgs.ask(&org(name), record("r", 5), Instant::now() + Duration::from_secs(1)).await.unwrap();
    }
    let page = async |page_token: String| {
        let request = admin_v1::AuditRequest { page_size: 2, page_token, ..Default::default() };
        asked::<table::Audit>(&node.service, anybody(), request).await.unwrap()
    };
    let first = page(String::new()).await;
    assert_eq!((first.orgs, first.drifted, first.next_page_token.as_str()), (2, 0, "b"));
    let rest = page(first.next_page_token).await;
    assert_eq!((rest.orgs, rest.next_page_token.as_str()), (1, ""));
    assert!(first.failures.is_empty() && rest.failures.is_empty());
}
