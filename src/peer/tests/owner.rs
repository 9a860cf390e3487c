//! A whole node behind a pipe: calls that are forwarded to it, against the same calls made to it.

use std::sync::atomic::Ordering::SeqCst;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Server};

use super::*;
use crate::{
    net::Peer,
    peer::server::{self, Serving},
    rpc::{
        self, Asking,
        table::{self, Method},
    },
    testing::{self, rate_of},
    wire::{
        peer::v1::{self as frames, peer_service_client::PeerServiceClient, peer_service_server::PeerServiceServer},
        status, v1,
    },
};

struct Pair {
    owner: testing::Node,
    peers: Peers,
    pipes: Arc<Pipes>,
    stop: CancellationToken,
}

async fn pair() -> Pair {
    let owner = testing::node(rate_of(10)).await;
    let (pipes, accepted) = Pipes::new();
    let stop = CancellationToken::new();
    let exchanges = server::exchanges(serving(&owner, stop.clone()));
    let from_here = |mut request: Request<()>| {
        request.extensions_mut().insert(Peer { address: [127, 0, 0, 1].into(), certificate: None });
        Ok::<_, Status>(request)
    };
    let server = Server::builder().add_service(PeerServiceServer::with_interceptor(exchanges, from_here));
    tokio::spawn(server.serve_with_incoming(accepted));
    Pair { owner, peers: Peers::new(options(), pipes.clone()), pipes, stop }
}

fn serving(owner: &testing::Node, stop: CancellationToken) -> Serving {
    let options = Options { in_flight: 64, ..Options::of(Arc::new(id("b"))) };
    Serving { service: owner.service.clone(), owns: owned(), options: Arc::new(options), nodes: None, stop }
}

impl Pair {
    async fn forwarded(&self, call: Forward) -> Result<Answered, NotForwarded> {
        self.peers.forward(&at("b", "b:1"), call).await
    }

    async fn acquire(&self, caller: &Arc<Principal>, request: &v1::AcquireRequest) -> Answered {
        self.forwarded(forward(ACQUIRE, request, caller)).await.unwrap()
    }

    /// The same call, made to the owner itself.
    async fn local(
        &self,
        caller: &Arc<Principal>,
        request: &v1::AcquireRequest,
    ) -> Result<v1::AcquireResponse, ServiceError> {
        let request = rpc::Taken::made::<table::Acquire>(request.clone());
        let answered = rpc::serve(&self.owner.service, caller.clone(), Asking::default(), request).await?;
        rpc::response::<table::Acquire>(answered.bytes)
    }
}

const ACQUIRE: &str = "tollgate.v1.GateService/Acquire";
const GET_STATUS: &str = "tollgate.v1.GateService/GetStatus";

fn acquire(org: &str, request_id: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { org: org.into(), request_id: request_id.into(), ..Default::default() }
}

fn relayed(answered: Answered) -> Relayed {
    answered.response.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_forwarded_is_the_same_call() {
    let pair = pair().await;
    let caller = plane(&["acme"], &[], &["agent/7"]);
    let request = acquire("acme", "r");
    let answered = pair.acquire(&caller, &request).await;
    let decision: v1::AcquireResponse = response(&answered);
    assert_eq!((&*answered.node, decision.allowed, decision.node.as_str()), ("b", true, "test"));
    let retry = pair.local(&caller, &request).await.unwrap();
    assert!(retry.replayed && !decision.replayed, "the owner knows its id");
    assert_eq!(v1::AcquireResponse { replayed: false, ..retry }, decision);
    let other = pair.local(&caller, &acquire("acme", "s")).await.unwrap();
    assert_eq!(other.limits[0].used, 2, "and has counted it once");
    let metrics = pair.owner.metrics.render(pair.owner.service.readings());
    assert!(
        metrics.contains("rpc_server_call_duration_seconds_count{rpc_method=\"tollgate.v1.GateService/Acquire\",rpc_system_name=\"grpc\"} 3"),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_may_not_do_it_may_not_do_through_another_node() {
    let pair = pair().await;
    let in_scope = |scope: &str| v1::AcquireRequest { scope: scope.into(), ..acquire("acme", "") };
    let acme = plane(&["acme"], &["agent/*"], &[]);
    let viewer = Grant { role: Role::Viewer, orgs: vec!["*".into()], scopes: vec![], bind: vec![] };
    let viewer = Arc::new(viewer.to("token:viewer", None).unwrap());
    for (caller, request, reason) in [
        (&acme, acquire("beta", ""), "ORG_NOT_ALLOWED"),
        (&acme, in_scope("prod"), "SCOPE_NOT_ALLOWED"),
        (&acme, in_scope(""), "SCOPE_MISSING"),
        (&viewer, acquire("acme", ""), "ROLE_NOT_ALLOWED"),
        (
            &acme,
            v1::AcquireRequest { cost: vec![v1::Amount { meter: "A b".into(), amount: 1 }], ..in_scope("agent/7") },
            "INVALID_FIELD",
        ),
    ] {
        let found = relayed(pair.acquire(caller, &request).await);
        assert_eq!(found.reason, reason, "{found:?}");
        let own = match reason {
            "ROLE_NOT_ALLOWED" => rpc::permit_rpc(&pair.owner.service, table::Acquire::RPC, caller).unwrap_err(),
            _ => pair.local(caller, &request).await.unwrap_err(),
        };
        let (own_status, own_item) = (status::to_status(&own), status::to_item(&own));
        let found = ServiceError::Relayed(Box::new(found));
        let status = status::to_status(&found);
        assert_eq!(
            (status.code(), status.message(), status.details()),
            (own_status.code(), own_status.message(), own_status.details()),
            "byte for byte"
        );
        assert_eq!(status::to_item(&found), own_item);
    }
    assert!(relayed(pair.acquire(&acme, &acquire("beta", "")).await).message.contains("may not reach"));
    assert!(pair.acquire(&acme, &in_scope("agent/7")).await.response.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_own_an_org_does_nothing_and_says_so() {
    let pair = pair().await;
    let wrong = Err(NotForwarded::WrongOwner(WrongOwner { epoch: Some(Epoch(3)) }));
    let of = |org: &str| forward(ACQUIRE, &acquire(org, "r"), &anybody());
    assert_eq!(pair.forwarded(of("elsewhere")).await, wrong);
    assert_eq!(pair.forwarded(Forward { epoch: Some(Epoch(2)), ..of("acme") }).await, wrong);
    let items = vec![acquire("acme", "r"), acquire("elsewhere", "r")];
    let batch = v1::AcquireBatchRequest { items };
    let batch = forward("tollgate.v1.GateService/AcquireBatch", &batch, &anybody());
    assert_eq!(pair.forwarded(batch).await, wrong, "none of a batch");
    let first = pair.forwarded(Forward { epoch: Some(Epoch(3)), ..of("acme") }).await.unwrap();
    assert!(!response::<v1::AcquireResponse>(&first).replayed, "nothing was done under this id before");
}

#[tokio::test(start_paused = true)]
async fn what_this_version_does_not_know_is_an_answer_and_no_end() {
    let pair = pair().await;
    let of = |rpc| forward(rpc, &acquire("acme", ""), &anybody());
    let unknown = relayed(pair.forwarded(of("tollgate.v1.GateService/Novel")).await.unwrap());
    assert_eq!((unknown.code, unknown.reason.as_str()), (12, "INTERNAL"), "{unknown:?}");
    let streamed = relayed(pair.forwarded(of("tollgate.v1.GateService/AcquireStream")).await.unwrap());
    assert!(streamed.code == 12 && streamed.message.contains("its items cross"), "{streamed:?}");
    let malformed = Forward { request: bytes("\u{7f}\u{7f}"), ..of(ACQUIRE) };
    let malformed = relayed(pair.forwarded(malformed).await.unwrap());
    assert_eq!((malformed.code, malformed.reason.as_str()), (3, "INVALID_FIELD"), "{malformed:?}");
    assert!(pair.acquire(&anybody(), &acquire("acme", "")).await.response.is_ok());
    assert_eq!(pair.pipes.dialed.load(SeqCst), 1, "all on one stream");
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_holds_at_the_owner_too() {
    let pair = pair().await;
    pair.owner.store.stall_loads();
    let began = tokio::time::Instant::now();
    let slow = v1::GetStatusRequest { org: "acme".into(), ..Default::default() };
    let within = Duration::from_millis(400);
    let ended = pair.forwarded(Forward { within, ..forward(GET_STATUS, &slow, &anybody()) }).await.unwrap();
    assert_eq!(relayed(ended).reason, "NO_ANSWER_IN_TIME", "the owner says it before the caller gives up");
    assert!(began.elapsed() < within, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn calls_overtake_one_that_waits() {
    let pair = pair().await;
    pair.owner.store.stall_loads();
    let slow = v1::GetStatusRequest { org: "slow".into(), ..Default::default() };
    let slow = pair.forwarded(forward(GET_STATUS, &slow, &anybody()));
    let quick = pair.forwarded(forward("tollgate.admin.v1.AdminService/GetNode", &(), &anybody()));
    tokio::pin!(slow);
    tokio::select! {
        biased;
        _ = &mut slow => panic!("its org cannot be loaded"),
        answered = quick => assert!(answered.unwrap().response.is_ok()),
    }
    pair.owner.store.resume_loads();
    assert!(slow.await.unwrap().response.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_answers_what_it_has_taken_and_takes_nothing_more() {
    let pair = pair().await;
    pair.owner.store.stall_loads();
    let request = v1::GetStatusRequest { org: "slow".into(), ..Default::default() };
    let taken = pair.forwarded(forward(GET_STATUS, &request, &anybody()));
    tokio::pin!(taken);
    let is_taken = testing::until(|| pair.owner.orgs.in_flight() > 0);
    tokio::select! {
        _ = &mut taken => panic!("its org cannot be loaded"),
        () = is_taken => {}
    }
    pair.stop.cancel();
    let late = pair.forwarded(forward(ACQUIRE, &acquire("acme", ""), &anybody()));
    tokio::pin!(late);
    tokio::select! {
        biased;
        _ = &mut late => panic!("nobody has taken it, and the stream goes on"),
        () = tokio::task::yield_now() => {}
    }
    pair.owner.store.resume_loads();
    let (taken, late) = tokio::join!(taken, late);
    assert!(taken.unwrap().response.is_ok());
    assert_eq!(late, Err(NotForwarded::Gone { is_sent: false, why: "the node stops".into() }));
}

/// A stream of the node's own making.
async fn raw(pair: &Pair, sent: Vec<frames::ExchangeRequest>) -> Vec<Result<frames::ExchangeResponse, Status>> {
    let endpoint = tonic::transport::Endpoint::from_static("http://b");
    let to = crate::net::To::new(pair.pipes.clone(), "b:1".into());
    let mut client = PeerServiceClient::new(endpoint.connect_with_connector(to).await.unwrap());
    match client.exchange(stream::iter(sent)).await {
        Ok(answers) => answers.into_inner().collect().await,
        Err(status) => vec![Err(status)],
    }
}

fn first(hello: frames::Hello) -> frames::ExchangeRequest {
    frames::ExchangeRequest { frame: Some(frames::exchange_request::Frame::Hello(hello)) }
}

fn of_call(id: u64, caller: Bytes) -> frames::ExchangeRequest {
    let call = frames::Call {
        id,
        rpc: "tollgate.admin.v1.AdminService/GetNode".into(),
        within_ms: 1_000,
        caller,
        ..Default::default()
    };
    frames::ExchangeRequest { frame: Some(frames::exchange_request::Frame::Call(call)) }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_no_node_sends_ends_its_stream_and_no_other() {
    let pair = pair().await;
    assert!(pair.acquire(&anybody(), &acquire("acme", "")).await.response.is_ok());
    let hello = options().hello();
    let anybody = super::caller::encoded(&anybody());
    let novel = frames::Hello { protocol: PROTOCOL + 1, ..hello.clone() };
    for (sent, code, text) in [
        (vec![first(novel)], tonic::Code::FailedPrecondition, "speaks version 2 of the protocol"),
        (vec![of_call(1, anybody.clone())], tonic::Code::FailedPrecondition, "the first frame has to be a hello"),
        (vec![], tonic::Code::FailedPrecondition, "the first frame has to be a hello"),
        (vec![first(hello.clone()), first(hello.clone())], tonic::Code::InvalidArgument, "a frame that is no call"),
        (
            vec![first(hello.clone()), of_call(1, anybody.clone()), frames::ExchangeRequest { frame: None }],
            tonic::Code::InvalidArgument,
            "a frame that is no call",
        ),
    ] {
        let had_calls = sent.len() > 2;
        let mut answers = raw(&pair, sent).await;
        let end = answers.pop().unwrap().unwrap_err();
        assert!(end.code() == code && end.message().contains(text), "{end:?}");
        assert_eq!(answers.iter().flatten().count() == 2, had_calls, "what was taken before is answered: {answers:?}");
    }
    assert!(pair.forwarded(forward(ACQUIRE, &acquire("acme", ""), &super::anybody())).await.is_ok());
    let unknown = vec![first(hello.clone()), of_call(9, bytes("\u{7f}"))];
    let answers = raw(&pair, unknown).await;
    let Some(Ok(frames::ExchangeResponse { frame: Some(frames::exchange_response::Frame::Answer(answer)) })) =
        answers.last()
    else {
        panic!("{answers:?}")
    };
    let Some(frames::answer::Outcome::Error(error)) = &answer.outcome else { panic!("{answer:?}") };
    assert!(answer.id == 9 && error.message.contains("does not understand who calls"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_reads_no_answers_has_no_more_calls_here_than_places() {
    const PLACES: usize = 64;
    let owner = testing::node(rate_of(10)).await;
    let caller = super::caller::encoded(&anybody());
    let read = Arc::new(AtomicUsize::new(0));
    let calls = {
        let read = read.clone();
        stream::iter((0..10 * PLACES as u64).map(move |id| of_call(id, caller.clone()))).map(move |frame| {
            read.fetch_add(1, SeqCst);
            Ok(frame)
        })
    };
    let mut answers = server::begin(serving(&owner, CancellationToken::new()), None, calls);
    for _ in 0..20 * PLACES {
        tokio::task::yield_now().await;
    }
    assert_eq!(read.load(SeqCst), PLACES);
    let hello = answers.next().await;
    assert!(matches!(
        hello,
        Some(Ok(frames::ExchangeResponse { frame: Some(frames::exchange_response::Frame::Hello(_)) }))
    ));
    let mut ids: Vec<u64> = Vec::new();
    while let Some(Ok(frames::ExchangeResponse { frame: Some(frames::exchange_response::Frame::Answer(answer)) })) =
        answers.next().await
    {
        assert!(matches!(answer.outcome, Some(frames::answer::Outcome::Response(_))));
        ids.push(answer.id);
        assert!(read.load(SeqCst) <= PLACES + ids.len() + 1);
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..10 * PLACES as u64).collect::<Vec<_>>(), "each is answered once");
}
