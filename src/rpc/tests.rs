//! The table against the descriptors, read by a front of its own, and calls on their way through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MethodDescriptor, ReflectMessage, Value};

use super::{
    Answer, serve, serve_stream,
    table::{self, ALL, Kind, OrgField, Reader, Rpc, Streamed, Unary},
};
use crate::{
    bounds::Bounds,
    error::ServiceError,
    service::Service,
    testing::{Node, node, rate_of, rules},
    wire::{json::descriptors, v1},
};

fn methods() -> BTreeMap<String, MethodDescriptor> {
    let services = descriptors().unwrap().services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| (format!("{}/{}", method.parent_service().full_name(), method.name()), method)).collect()
}

/// The names of the messages that a row has.
struct Types(&'static str);

impl Reader for Types {
    type Answer = Option<(String, String, Kind)>;

    fn name(&self) -> &str {
        self.0
    }

    fn unary<R: Unary>(self) -> Self::Answer {
        Some((R::Request::full_name(), R::Response::full_name(), Kind::Unary))
    }

    fn stream<R: Streamed>(self) -> Self::Answer {
        Some((R::Request::full_name(), R::Response::full_name(), Kind::Stream))
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
            other => panic!("{}: no kind for {other:?}", rpc.name),
        };
        assert_eq!(rpc.kind, kind, "{}", rpc.name);
        let types = (method.input().full_name().to_owned(), method.output().full_name().to_owned(), kind);
        assert_eq!(table::read(Types(rpc.name)), Some(types), "{}", rpc.name);
    }
    assert_eq!(table::read(Types("tollgate.v1.GateService/Novel")), None);
    let services: BTreeSet<_> = table::services().map(str::to_owned).collect();
    assert_eq!(services, descriptors().unwrap().services().map(|service| service.full_name().to_owned()).collect());
}

#[test]
fn a_metric_is_of_one_rpc() {
    let labels: BTreeSet<_> = ALL.iter().map(|rpc| rpc.method).collect();
    assert_eq!(labels.len(), ALL.len());
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
            OrgField::None => {
                assert!(request.descriptor().fields().all(|field| !names_an_org(&field)), "{}", rpc.name);
                vec![]
            }
            OrgField::One(field) => {
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
        assert_eq!((rpc.orgs)(&request.encode_to_vec()).unwrap(), expected, "{}", rpc.name);
    }
    assert!((ALL[0].orgs)(b"\xff").is_err(), "what is no request has no org");
}

/// A front that knows no types: bytes in, bytes out.
struct Bytes {
    service: Arc<Service>,
    name: &'static str,
    request: Vec<u8>,
}

impl Reader for Bytes {
    type Answer = Option<Pin<Box<dyn Future<Output = Answer<Vec<u8>>>>>>;

    fn name(&self) -> &str {
        self.name
    }

    fn unary<R: Unary>(self) -> Self::Answer {
        Some(Box::pin(async move {
            let request = R::Request::decode(&*self.request).unwrap();
            serve::<R>(&self.service, None, request).await.map(|response| response.encode_to_vec())
        }))
    }

    fn stream<R: Streamed>(self) -> Self::Answer {
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
    if rpc.method == "ClearAccount" {
        request.set_field_by_name("account", text("a"));
    }
    request.encode_to_vec()
}

#[tokio::test(start_paused = true)]
async fn every_unary_rpc_is_served_by_name_measured_and_its_errors_counted() {
    let node = node(rate_of(10)).await;
    for rpc in ALL {
        let Some(answered) = through_bytes(&node, rpc, Vec::new()).await else {
            assert_eq!(rpc.kind, Kind::Stream, "{}", rpc.name);
            continue;
        };
        let may_be_empty = ["ListOrgs", "GetNode", "Audit", "Reload"].contains(&rpc.method);
        assert_eq!(answered.is_ok(), may_be_empty, "{}: {answered:?}", rpc.name);
        let metrics = node.metrics.render(node.service.readings());
        let measured = format!("tollgate_rpc_seconds_count{{rpc=\"{}\"}} 1", rpc.method);
        assert!(metrics.contains(&measured), "{measured} is not in {metrics}");
        let counted = format!("tollgate_rpc_errors_total{{rpc=\"{}\",reason=\"INVALID_FIELD\"}} 1", rpc.method);
        assert_eq!(metrics.contains(&counted), !may_be_empty, "{counted} in {metrics}");
    }
}

/// What already runs has a lane of its own. Resume has it too, and answers whatever happens.
const SETTLEMENT: [&str; 8] =
    ["Commit", "Release", "Extend", "Record", "ReportCumulative", "Heartbeat", "EndSession", "ReportOutcome"];

#[tokio::test(start_paused = true)]
async fn a_flood_of_admissions_keeps_no_settlement_out() {
    let node = node(rate_of(10)).await;
    let bounds = Bounds { node_in_flight: 1, ..Bounds::default() };
    node.orgs.reload(rules(node.policies.clone(), bounds, 1));
    node.store.stall_loads();
    // Of these the first three take no place, and the last answers whatever happens.
    let uncounted = ["ListOrgs", "GetNode", "RefreshBalance", "Resume"];
    for rpc in ALL.iter().filter(|rpc| !uncounted.contains(&rpc.method) && matches!(rpc.org, OrgField::One(_))) {
        // The one place of the admission lane is taken until this call's own deadline.
        let service = node.service.clone();
        let waiting = v1::GetStatusRequest { org: "slow".into(), ..Default::default() };
        let held = tokio::spawn(async move { serve::<table::GetStatus>(&service, None, waiting).await });
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
    let ask = |request| serve::<table::Acquire>(&node.service, None, request);
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
    let requests = stream::iter([item(1, "acme"), item(2, ""), item(3, "other"), Err("reset by peer")]);
    let answers = serve_stream::<table::AcquireStream, _>(node.service.clone(), requests, std::future::pending());
    let answers: Vec<_> = answers.collect().await;
    let (answered, faults): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(faults, [Err("reset by peer")]);
    let mut answered: Vec<_> = answered.into_iter().flatten().map(|answer| (answer.tag, answer.result)).collect();
    answered.sort_by_key(|(tag, _)| *tag);
    let [(1, Some(first)), (2, Some(second)), (3, Some(third))] = &answered[..] else { panic!("{answered:?}") };
    use v1::acquire_stream_response::Result as Outcome;
    assert!(matches!(first, Outcome::Decision(decision) if decision.allowed));
    assert!(matches!(second, Outcome::Error(error) if error.reason == "INVALID_FIELD"));
    assert!(matches!(third, Outcome::Decision(decision) if decision.allowed));
    let metrics = node.metrics.render(node.service.readings());
    for line in [
        "tollgate_rpc_seconds_count{rpc=\"AcquireStream\"} 1",
        "tollgate_rpc_errors_total{rpc=\"AcquireStream\",reason=\"INVALID_FIELD\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_connection_and_with_the_node() {
    let node = node(rate_of(10)).await;
    let silent = || stream::pending::<Result<v1::AcquireStreamRequest, ()>>();
    let open = |over: bool| {
        serve_stream::<table::AcquireStream, _>(node.service.clone(), silent(), async move {
            if !over {
                std::future::pending::<()>().await;
            }
        })
    };
    assert_eq!(open(true).count().await, 0, "with its connection");
    node.service.closing().cancel();
    assert_eq!(open(false).count().await, 0, "with the node");
}
