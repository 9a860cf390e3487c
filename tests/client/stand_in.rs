//! A server that stands in for a node, on connections that live: its first streams are never answered, and it takes no
//! usage of the org `full`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tollgate::{
    client::{Ask, Client, Decision, Execution},
    wire::v1::{
        AcquireResponse, AcquireStreamRequest, AcquireStreamResponse, RecordRequest, RecordResponse,
        acquire_stream_response::Result as Outcome,
    },
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, StreamingService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt};

use crate::{PATIENCE, eventually, impatient};

/// What is left of the streams that are not answered.
#[derive(Clone)]
struct StandIn {
    silent: Arc<AtomicU32>,
}

impl NamedService for StandIn {
    const NAME: &'static str = "tollgate.v1.GateService";
}

impl Service<http::Request<Body>> for StandIn {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(if request.uri().path().ends_with("/AcquireStream") {
                Grpc::new(ProstCodec::default()).streaming(service, request).await
            } else {
                Grpc::new(ProstCodec::default()).unary(service, request).await
            })
        })
    }
}

impl StreamingService<AcquireStreamRequest> for StandIn {
    type Response = AcquireStreamResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<AcquireStreamResponse, Status>> + Send>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<AcquireStreamRequest>>) -> Self::Future {
        let is_silent = self.silent.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        let asked = request.into_inner();
        let answers = asked.map(|asked| {
            let AcquireStreamRequest { tag, .. } = asked?;
            let decision = AcquireResponse { allowed: true, decision_id: format!("d-{tag}"), ..Default::default() };
            Ok(AcquireStreamResponse { tag, result: Some(Outcome::Decision(decision)) })
        });
        Box::pin(async move {
            let answers: Self::ResponseStream = if is_silent { Box::pin(stream::pending()) } else { Box::pin(answers) };
            Ok(Response::new(answers))
        })
    }
}

impl UnaryService<RecordRequest> for StandIn {
    type Response = RecordResponse;
    type Future = BoxFuture<'static, Result<Response<RecordResponse>, Status>>;

    fn call(&mut self, request: Request<RecordRequest>) -> Self::Future {
        let details = ErrorDetails::with_error_info("LEDGERS_FULL", "tollgate", []);
        let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let answer =
            if request.into_inner().org == "full" { Err(full) } else { Ok(Response::new(RecordResponse::default())) };
        Box::pin(async move { answer })
    }
}

async fn stand_in(silent: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = StandIn { silent: Arc::new(AtomicU32::new(silent)) };
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    url
}

/// R-PIPE-5: what is in between may answer pings of a stream that reaches nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_answered_on_a_live_connection_is_replaced() {
    let client =
        Client::connect(impatient(stand_in(1).await).budget(PATIENCE).attempt(Duration::from_secs(1))).unwrap();
    let calls = (0..20).map(|_| client.acquire("acme", Ask::new()));
    for decided in futures_util::future::join_all(calls).await {
        assert!(matches!(decided, Ok(Decision::Admitted(_))), "{decided:?}");
    }
    assert!(client.stats().streams >= 2);
}

/// An execution of which nobody says that it has ended.
async fn dropped(client: &Client, org: &str, meter: &str) {
    let used = async |execution: &Execution| execution.used(meter, 1);
    crate::dropped(client, org, Ask::new(), used).await;
}

/// What is settled, what waits and what is lost, of one moment.
fn counts(client: &Client) -> (u64, u64, u64) {
    let stats = client.stats();
    (stats.settled, stats.unsettled, stats.lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_that_are_not_taken_do_not_hold_up_others() {
    let client = Client::connect(impatient(stand_in(0).await).budget(PATIENCE)).unwrap();
    futures_util::future::join_all((0..100).map(|_| dropped(&client, "full", "spend"))).await;
    eventually("they wait", async || client.stats().unsettled == 100).await;
    dropped(&client, "acme", "spend").await;
    eventually("the other one is taken", async || counts(&client) == (1, 100, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_panics_ends_nothing_else() {
    let running = crate::node().await;
    let options = crate::patient(crate::url(&running)).on_event(|event| panic!("{event}"));
    let client = Client::connect(options).unwrap();
    dropped(&client, "acme", "No Meter").await;
    eventually("it is refused", async || client.stats().lost == 1).await;
    dropped(&client, "acme", "spend").await;
    eventually("the next one is taken", async || counts(&client) == (1, 0, 1)).await;
}
