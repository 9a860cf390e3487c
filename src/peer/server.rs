//! What other nodes call: the stream on which they hand on the calls of their callers.
//!
//! A frame is read only where there is a place for its call, so what is too much waits with the node that sends it. Each
//! call is a task of its own, and holds its place until its answer leaves: a node that reads no answers has as many
//! calls here as there are places, and no more. Calls are served while the node stops, and then the stream says farewell.

mod call;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::AbortHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status, Streaming,
    codegen::{Service as Tower, http},
};

use super::{FRAME_BYTES, Options, Owns, caller::Callers, other_protocol};
use crate::{
    auth,
    net::{Arriving, ClientCertificate, Door, OfNodes, Peer},
    service::Service,
    wire::peer::v1::{
        Answer, Call, ExchangeRequest, ExchangeResponse, Farewell, Hello,
        answer::Outcome,
        exchange_request,
        exchange_response::Frame,
        peer_service_server::{PeerService, PeerServiceServer},
    },
};

/// How long the hello of a node may take.
const HELLO_WITHIN: Duration = Duration::from_secs(2);

/// What every stream serves calls with.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Carries calls out.
    pub service: Arc<Service>,
    /// Says which orgs are this node's.
    pub owns: Arc<dyn Owns>,
    /// What streams go by.
    pub options: Arc<Options>,
    /// What tells the certificate of a node; without it nodes of this machine call in the clear, and nobody else.
    pub nodes: Option<OfNodes>,
    /// No call is taken from then on.
    pub stop: CancellationToken,
}

/// Serves other nodes until it is stopped, then what is in flight.
pub fn serve(serving: Serving, door: Door) -> impl Future<Output = ()> + Send + 'static {
    let (stop, longest) = (serving.stop.clone(), serving.options.request_bytes + FRAME_BYTES);
    let server = PeerServiceServer::new(exchanges(serving)).max_decoding_message_size(longest);
    door.serve(Front(server), stop)
}

/// What is served, whatever carries it.
pub(super) fn exchanges(serving: Serving) -> Exchanges {
    Exchanges(serving)
}

/// Nothing but the streams of nodes.
#[derive(Debug, Clone)]
struct Front(PeerServiceServer<Exchanges>);

impl Tower<http::Request<Arriving>> for Front {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Tower::<http::Request<Arriving>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: http::Request<Arriving>) -> Self::Future {
        self.0.call(request.map(|body| body.of_grpc()))
    }
}

#[derive(Debug)]
pub(super) struct Exchanges(Serving);

#[tonic::async_trait]
impl PeerService for Exchanges {
    type ExchangeStream = Outgoing;

    async fn exchange(&self, request: Request<Streaming<ExchangeRequest>>) -> Result<Response<Outgoing>, Status> {
        let shown = self.admitted(request.extensions().get())?;
        let mut frames = request.into_inner();
        let hello = timeout(HELLO_WITHIN, self.greeted(&mut frames)).await;
        let hello = hello.map_err(|_| Status::deadline_exceeded(format!("no hello within {HELLO_WITHIN:?}")))??;
        tracing::debug!(node = hello.node, version = hello.version, "a node forwards calls");
        Ok(Response::new(begin(self.0.clone(), shown, frames)))
    }
}

/// The stream of a node that has said hello, and shown this certificate where nodes have one.
pub(super) fn begin(
    serving: Serving,
    shown: Option<Arc<ClientCertificate>>,
    frames: impl Stream<Item = Result<ExchangeRequest, Status>> + Send + Unpin + 'static,
) -> Outgoing {
    let places = serving.options.in_flight;
    let (leaving, answers) = mpsc::channel(places + 2);
    let hello = ExchangeResponse { frame: Some(Frame::Hello(serving.options.hello())) };
    // There is room: it is the first.
    let _ = leaving.try_send((Ok(hello), None));
    let reading = Reading {
        serving,
        shown,
        callers: Callers::default(),
        places: Arc::new(Semaphore::new(places)),
        leaving,
        calls: TaskTracker::new(),
    };
    let reading = tokio::spawn(reading.run(frames)).abort_handle();
    Outgoing { answers, reading }
}

impl Exchanges {
    /// Whether it is another node that calls; by its certificate, which its CA has vouched for in the handshake.
    fn admitted(&self, peer: Option<&Peer>) -> Result<Option<Arc<ClientCertificate>>, Status> {
        let Some(OfNodes { name, .. }) = self.0.nodes else {
            let is_local = peer.is_some_and(|peer| peer.address.is_loopback());
            let why = "in the clear only nodes of this machine may call";
            return if is_local { Ok(None) } else { Err(Status::unauthenticated(why)) };
        };
        match peer.and_then(|peer| peer.certificate.as_ref()) {
            Some(shown) if shown.has_name(name) && shown.is_trusted() => Ok(Some(shown.clone())),
            _ => Err(Status::unauthenticated(format!(
                "only nodes of this cluster may call: the certificate that was shown has not the DNS name {name}"
            ))),
        }
    }

    async fn greeted(&self, frames: &mut Streaming<ExchangeRequest>) -> Result<Hello, Status> {
        let Some(exchange_request::Frame::Hello(hello)) = frames.message().await?.and_then(|first| first.frame) else {
            return Err(Status::failed_precondition("the first frame has to be a hello"));
        };
        match other_protocol(&hello, &self.0.options.own.id()) {
            Some(other) => Err(Status::failed_precondition(other)),
            None => Ok(hello),
        }
    }
}

/// What leaves next, and the place that is free then.
type Leaving = (Result<ExchangeResponse, Status>, Option<OwnedSemaphorePermit>);

/// One stream, from its hello to its end.
struct Reading {
    serving: Serving,
    shown: Option<Arc<ClientCertificate>>,
    callers: Callers,
    places: Arc<Semaphore>,
    leaving: mpsc::Sender<Leaving>,
    /// Where the stream is cut they go on: each has its deadline, and a retry finds what it did.
    calls: TaskTracker,
}

impl Reading {
    async fn run(mut self, mut frames: impl Stream<Item = Result<ExchangeRequest, Status>> + Unpin) {
        let last = self.read(&mut frames).await;
        self.calls.close();
        self.calls.wait().await;
        // An error would be that nobody reads answers any more.
        match last {
            Ok(Some(last)) => drop(self.leaving.send((Ok(ExchangeResponse { frame: Some(last) }), None)).await),
            Ok(None) => {}
            Err(fault) => drop(self.leaving.send((Err(fault), None)).await),
        }
    }

    /// Takes calls until none comes any more. What is said last.
    async fn read(
        &mut self,
        frames: &mut (impl Stream<Item = Result<ExchangeRequest, Status>> + Unpin),
    ) -> Result<Option<Frame>, Status> {
        let stop = self.serving.stop.clone();
        loop {
            // An error would be that of a semaphore that was closed, which nobody does.
            let next = async {
                let place = self.places.clone().acquire_owned().await.ok();
                (frames.next().await, place)
            };
            let (frame, place) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => return Ok(Some(Frame::Farewell(Farewell {}))),
            };
            let Some(frame) = frame else { return Ok(None) };
            let Some(exchange_request::Frame::Call(call)) = frame?.frame else {
                return Err(Status::invalid_argument("a frame that is no call"));
            };
            self.is_still_admitted()?;
            self.begin(call, place);
        }
    }

    fn is_still_admitted(&self) -> Result<(), Status> {
        let Some(shown) = &self.shown else { return Ok(()) };
        if shown.is_trusted() && !auth::until(shown.not_after_ms()).is_over() {
            return Ok(());
        }
        Err(Status::unauthenticated("the certificate of this node has ended, or its CA is not trusted any more"))
    }

    fn begin(&mut self, call: Call, place: Option<OwnedSemaphorePermit>) {
        let answering = Answering { id: call.id, leaving: self.leaving.clone(), place };
        match self.callers.get(&call.caller) {
            Ok(caller) => call::begin(&self.serving, call, caller, answering, &self.calls),
            Err(why) => {
                drop(self.calls.spawn(answering.send(Outcome::Error(call::unknown_caller(&why)))));
            }
        }
    }
}

/// The way back of one call.
struct Answering {
    id: u64,
    leaving: mpsc::Sender<Leaving>,
    place: Option<OwnedSemaphorePermit>,
}

impl Answering {
    /// Others may be served while this answer is held back.
    fn free_place(&mut self) {
        self.place = None;
    }

    async fn send(self, outcome: Outcome) {
        let answer = Answer { id: self.id, outcome: Some(outcome) };
        // An error would be that nobody reads answers any more.
        let _ = self.leaving.send((Ok(ExchangeResponse { frame: Some(Frame::Answer(answer)) }), self.place)).await;
    }
}

/// Answers as they are ready. Reading ends with it.
#[derive(Debug)]
pub(super) struct Outgoing {
    answers: mpsc::Receiver<Leaving>,
    reading: AbortHandle,
}

impl Stream for Outgoing {
    type Item = Result<ExchangeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.answers.poll_recv(cx).map(|leaving| leaving.map(|(frame, _)| frame))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
