//! Keeps one stream to one node: opened when a call needs it, and again after it has ended, with pauses where that fails.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{FRAME_BYTES, KEEP_ALIVE, Node, Options, other_protocol, waiting::Waiting};
use crate::{
    causes,
    net::{Dial, To},
    wire::peer::v1::{
        Answer, ExchangeRequest, ExchangeResponse, Hello, exchange_request, exchange_response::Frame,
        peer_service_client::PeerServiceClient,
    },
};

/// Of requests: `:authority`. Where the connection goes is the matter of [`Dial`].
const AUTHORITY: &str = "http://peer.tollgate.internal";
/// Bytes that are under way on one stream, each way.
const WINDOW: u32 = 4 << 20;
/// A stream that was open for as long was a good one: the next may be opened at once.
const GOOD: Duration = Duration::from_secs(1);

/// Why a stream is over.
struct Over {
    why: Arc<str>,
    /// The other node has answered all that it took.
    served: bool,
}

/// Runs until it is aborted.
pub(super) async fn keep(options: Arc<Options>, dial: Arc<dyn Dial>, to: Node, waiting: Arc<Waiting>) {
    let (least, most) = options.pauses;
    let mut pause = least;
    loop {
        waiting.wanted().await;
        let opened = timeout(options.open_within, open(&options, &dial, &to, &waiting)).await;
        let opened = opened.unwrap_or_else(|_| Err(format!("no stream within {:?}", options.open_within)));
        let began = Instant::now();
        match opened {
            Ok(mut opened) => {
                waiting.open();
                tracing::debug!(node = %to.name, address = %to.address, "a stream to another node is open");
                let Over { why, served } = read(&mut opened.frames, &waiting).await;
                tracing::info!(node = %to.name, address = %to.address, %why, "the stream to another node has ended");
                if began.elapsed() >= GOOD {
                    pause = least;
                    waiting.end(&why, served);
                    continue;
                }
                waiting.end(&why, served);
                waiting.pause(&why);
            }
            Err(why) => {
                let why = format!("node {} at {}: {why}", to.name, to.address);
                tracing::warn!(%why, "no stream to another node");
                waiting.pause(&why.into());
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(most);
        waiting.resume();
    }
}

/// A stream on which both sides have said hello.
struct Opened {
    frames: Streaming<ExchangeResponse>,
    /// The connection lasts at least as long.
    _client: PeerServiceClient<Channel>,
}

async fn open(options: &Options, dial: &Arc<dyn Dial>, to: &Node, waiting: &Arc<Waiting>) -> Result<Opened, String> {
    let endpoint = Endpoint::from_static(AUTHORITY)
        .http2_keep_alive_interval(KEEP_ALIVE.interval)
        .keep_alive_timeout(KEEP_ALIVE.timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let connected = endpoint.connect_with_connector(To::new(dial.clone(), to.address.clone())).await;
    let channel = connected.map_err(|error| causes::chain(&error))?;
    let mut client = PeerServiceClient::new(channel).max_decoding_message_size(options.response_bytes + FRAME_BYTES);
    let hello = exchange_request::Frame::Hello(options.hello());
    let outgoing = Outgoing { hello: Some(hello), stream: waiting.stream(), waiting: waiting.clone() };
    let refused = |status: tonic::Status| status.message().to_owned();
    let mut frames = client.exchange(outgoing).await.map_err(refused)?.into_inner();
    match frames.message().await.map_err(refused)?.and_then(|first| first.frame) {
        Some(Frame::Hello(hello)) => greeted(&hello, options, to)?,
        _ => return Err("its first frame is no hello".into()),
    }
    Ok(Opened { frames, _client: client })
}

/// Whether it is the node that was meant.
fn greeted(hello: &Hello, options: &Options, to: &Node) -> Result<(), String> {
    if let Some(other) = other_protocol(hello, &options.own.id()) {
        return Err(other);
    }
    if *hello.node != *to.name {
        let (found, meant) = (&hello.node, &to.name);
        return Err(format!("this is node {found}, and node {meant} was meant: the address is another node's now"));
    }
    Ok(())
}

/// Hands out answers until the stream ends.
async fn read(frames: &mut Streaming<ExchangeResponse>, waiting: &Waiting) -> Over {
    loop {
        let why = match frames.message().await {
            Ok(Some(ExchangeResponse { frame: Some(Frame::Answer(Answer { id, outcome: Some(outcome) })) })) => {
                waiting.answer(id, outcome);
                continue;
            }
            Ok(Some(ExchangeResponse { frame: Some(Frame::Farewell(_)) })) => {
                return Over { why: "the node stops".into(), served: true };
            }
            Ok(Some(_)) => "the node has sent a frame that is no answer".into(),
            Ok(None) => "the node has closed the stream".into(),
            Err(status) => status.message().into(),
        };
        return Over { why, served: false };
    }
}

/// What is sent on one stream: the hello, then calls as they come.
struct Outgoing {
    hello: Option<exchange_request::Frame>,
    stream: u64,
    waiting: Arc<Waiting>,
}

impl Stream for Outgoing {
    type Item = ExchangeRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ExchangeRequest>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(ExchangeRequest { frame: Some(hello) }));
        }
        let call = self.waiting.poll_next(self.stream, cx);
        call.map(|call| call.map(|call| ExchangeRequest { frame: Some(exchange_request::Frame::Call(call)) }))
    }
}
