//! The node that forwards, against one that a test plays.

use std::{pin::Pin, sync::atomic::Ordering::SeqCst};

use futures_util::stream::FuturesUnordered;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::*;
use crate::wire::peer::v1::{
    Answer, Call, ExchangeRequest, ExchangeResponse, Farewell, Hello,
    answer::Outcome,
    exchange_request,
    exchange_response::Frame,
    peer_service_server::{PeerService, PeerServiceServer},
};

/// The streams that are opened, as the test has them.
struct Played(mpsc::UnboundedSender<Opened>);

struct Opened {
    frames: Streaming<ExchangeRequest>,
    answers: mpsc::UnboundedSender<Result<ExchangeResponse, Status>>,
}

#[tonic::async_trait]
impl PeerService for Played {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<ExchangeResponse, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (answers, leaving) = mpsc::unbounded_channel();
        self.0.send(Opened { frames: request.into_inner(), answers }).unwrap();
        let leaving = stream::unfold(leaving, |mut leaving| async { Some((leaving.recv().await?, leaving)) });
        Ok(Response::new(Box::pin(leaving)))
    }
}

impl Opened {
    fn say(&self, frame: Frame) {
        self.answers.send(Ok(ExchangeResponse { frame: Some(frame) })).unwrap();
    }

    fn answer(&self, id: u64, outcome: Outcome) {
        self.say(Frame::Answer(Answer { id, outcome: Some(outcome) }));
    }

    async fn next(&mut self) -> Option<exchange_request::Frame> {
        self.frames.message().await.ok()??.frame
    }

    async fn call(&mut self) -> Call {
        match self.next().await {
            Some(exchange_request::Frame::Call(call)) => call,
            other => panic!("{other:?}"),
        }
    }
}

struct Cluster {
    peers: Peers,
    pipes: Arc<Pipes>,
    opened: mpsc::UnboundedReceiver<Opened>,
}

fn cluster(options: Options) -> Cluster {
    let (pipes, accepted) = Pipes::new();
    let (played, opened) = mpsc::unbounded_channel();
    let server = Server::builder().add_service(PeerServiceServer::new(Played(played)));
    tokio::spawn(server.serve_with_incoming(accepted));
    Cluster { peers: Peers::new(options, pipes.clone()), pipes, opened }
}

fn hello(name: &str) -> Hello {
    Hello { protocol: PROTOCOL, node: name.into(), incarnation: 7, version: "test".into() }
}

impl Cluster {
    /// Calls with this text; the answer comes by itself.
    fn ask(&self, text: &'static str, within_ms: u64) -> tokio::task::JoinHandle<Result<Answered, NotForwarded>> {
        let peers = self.peers.clone();
        let within = Duration::from_millis(within_ms);
        let call = Forward { request: bytes(text), within, ..forward("rpc", &(), &anybody()) };
        tokio::spawn(async move { peers.forward(&at("b", "b:1"), call).await })
    }

    /// The stream that is opened next, after its first frame.
    async fn begun(&mut self) -> Opened {
        let mut opened = self.opened.recv().await.unwrap();
        let Some(exchange_request::Frame::Hello(first)) = opened.next().await else { panic!("no hello") };
        assert_eq!((first.protocol, first.node.as_str(), first.incarnation), (PROTOCOL, "a", 7));
        opened
    }

    /// The same, with the hello of node b.
    async fn greeted(&mut self) -> Opened {
        let opened = self.begun().await;
        opened.say(Frame::Hello(hello("b")));
        opened
    }

    fn kept(&self) -> usize {
        self.peers.kept(&at("b", "b:1")).0
    }
}

fn gone(ended: Result<Answered, NotForwarded>) -> (bool, String) {
    match ended {
        Err(NotForwarded::Gone { is_sent, why }) => (is_sent, why.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_share_one_stream_and_are_answered_in_any_order() {
    let mut cluster = cluster(options());
    let peers = cluster.peers.clone();
    let asked: FuturesUnordered<_> = (0..64_u64)
        .map(|number| {
            let peers = peers.clone();
            let call = Forward { request: number.encode_to_vec().into(), ..forward("rpc", &(), &anybody()) };
            tokio::spawn(async move { (number, peers.forward(&at("b", "b:1"), call).await) })
        })
        .collect();
    let mut opened = cluster.greeted().await;
    let mut calls = Vec::new();
    while calls.len() < 64 {
        calls.push(opened.call().await);
    }
    for call in calls.iter().rev() {
        opened.answer(call.id, Outcome::Response(call.request.clone()));
    }
    let answered: Vec<_> = asked.collect().await;
    for (number, ended) in answered.into_iter().map(Result::unwrap) {
        let Answered { node, response } = ended.unwrap();
        assert_eq!((&*node, u64::decode(response.unwrap()).unwrap()), ("b", number));
    }
    assert_eq!((cluster.pipes.dialed.load(SeqCst), cluster.kept()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_timed_out_is_forgotten_and_its_late_answer_is_nobodys() {
    let mut cluster = cluster(options());
    let late = cluster.ask("late", 100);
    let mut opened = cluster.greeted().await;
    let call = opened.call().await;
    assert_eq!(call.within_ms, 100);
    assert_eq!(late.await.unwrap(), Err(NotForwarded::TimedOut { is_sent: true }));
    assert_eq!(cluster.kept(), 0);
    opened.answer(call.id, Outcome::Response(bytes("late")));
    let next = cluster.ask("next", 100);
    let call = opened.call().await;
    opened.answer(call.id, Outcome::Response(bytes("next")));
    assert_eq!(next.await.unwrap().unwrap().response, Ok(bytes("next")));
    let no_time = cluster.ask("none", 0);
    assert_eq!(no_time.await.unwrap(), Err(NotForwarded::TimedOut { is_sent: false }));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_has_gone_is_not_sent() {
    let mut cluster = cluster(options());
    let (given_up, timed_out, kept) =
        (cluster.ask("given up", 500), cluster.ask("timed out", 100), cluster.ask("kept", 500));
    let mut opened = cluster.begun().await;
    assert_eq!(cluster.kept(), 3);
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    assert_eq!(timed_out.await.unwrap(), Err(NotForwarded::TimedOut { is_sent: false }));
    assert_eq!(cluster.kept(), 1);
    opened.say(Frame::Hello(hello("b")));
    let call = opened.call().await;
    assert_eq!(call.request, bytes("kept"));
    opened.answer(call.id, Outcome::Response(bytes("")));
    assert!(kept.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn where_a_stream_is_cut_its_calls_fail_and_say_whether_they_were_sent() {
    let mut cluster = cluster(options());
    let unsent = cluster.ask("unsent", 900);
    drop(cluster.begun().await);
    assert!(!gone(unsent.await.unwrap()).0, "no hello came back, so nothing was sent");
    tokio::time::advance(Duration::from_secs(2)).await;
    let sent = cluster.ask("sent", 900);
    let mut opened = cluster.greeted().await;
    opened.call().await;
    drop(opened);
    assert!(gone(sent.await.unwrap()).0, "it may have been carried out");
    assert_eq!(cluster.kept(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_says_farewell_has_not_taken_what_it_has_not_answered() {
    let mut cluster = cluster(options());
    let (first, second) = (cluster.ask("first", 900), cluster.ask("second", 900));
    let mut opened = cluster.greeted().await;
    let call = opened.call().await;
    opened.call().await;
    opened.answer(call.id, Outcome::Response(bytes("done")));
    opened.say(Frame::Farewell(Farewell {}));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.unwrap().response, Ok(bytes("done")));
    assert_eq!(gone(second), (false, "the node stops".into()));
}

#[tokio::test(start_paused = true)]
async fn calls_on_their_way_to_one_node_are_bounded_and_those_to_another_are_not_affected() {
    let mut cluster = cluster(Options { in_flight: 2, ..options() });
    let held = [cluster.ask("1", 900), cluster.ask("2", 900)];
    let mut opened = cluster.greeted().await;
    let first = opened.call().await;
    assert_eq!(cluster.ask("3", 900).await.unwrap(), Err(NotForwarded::Busy { most: 2 }));
    let peers = cluster.peers.clone();
    let call = Forward { within: Duration::from_millis(10), ..forward("rpc", &(), &anybody()) };
    let elsewhere = peers.forward(&at("c", "c:1"), call).await;
    assert_eq!(elsewhere, Err(NotForwarded::TimedOut { is_sent: false }), "it waits for a stream of its own");
    opened.answer(first.id, Outcome::Response(bytes("")));
    let [first, second] = held;
    assert!(first.await.unwrap().is_ok());
    let fourth = cluster.ask("4", 900);
    let ids = [opened.call().await.id, opened.call().await.id];
    ids.into_iter().for_each(|id| opened.answer(id, Outcome::Response(bytes(""))));
    assert!(second.await.unwrap().is_ok() && fourth.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_nothing_keeps_no_more_than_may_be_in_flight() {
    let mut cluster = cluster(Options { in_flight: 8, ..options() });
    let mut opened = Vec::new();
    for _ in 0..50 {
        let given_up: Vec<_> = (0..8).map(|_| cluster.ask("x", 900)).collect();
        if opened.is_empty() {
            opened.push(cluster.begun().await);
        }
        while cluster.kept() < 8 {
            tokio::task::yield_now().await;
        }
        given_up.iter().for_each(tokio::task::JoinHandle::abort);
        for ended in given_up {
            let _ = ended.await;
        }
        let (calls, queued) = cluster.peers.kept(&at("b", "b:1"));
        assert!(calls == 0 && queued <= 2 * 8, "{calls} {queued}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_protocol_another_node_and_no_hello_are_refused_with_a_reason() {
    let novel = Hello { protocol: PROTOCOL + 1, ..hello("b") };
    for (first, reason) in [
        (Frame::Hello(novel), "node b (version test) speaks version 2 of the protocol between nodes"),
        (Frame::Hello(hello("c")), "this is node c, and node b was meant"),
        (Frame::Farewell(Farewell {}), "its first frame is no hello"),
    ] {
        let mut cluster = cluster(options());
        let asked = cluster.ask("x", 900);
        let opened = cluster.begun().await;
        opened.say(first);
        let (is_sent, why) = gone(asked.await.unwrap());
        assert!(!is_sent && why.contains(reason), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_reached_is_tried_again_after_pauses_and_calls_fail_at_once_meanwhile() {
    let mut cluster = cluster(options());
    cluster.pipes.refuses.store(true, SeqCst);
    for attempts in 1..=4 {
        let (is_sent, why) = gone(cluster.ask("x", 900).await.unwrap());
        assert!(!is_sent && why.starts_with("node b at b:1: ") && why.contains("nobody listens"), "{why}");
        let began = tokio::time::Instant::now();
        gone(cluster.ask("x", 900).await.unwrap());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(cluster.pipes.dialed.load(SeqCst), attempts, "nobody dials during a pause");
        tokio::time::advance(Duration::from_secs(1)).await;
        // The pause ends by itself.
        tokio::task::yield_now().await;
    }
    cluster.pipes.refuses.store(false, SeqCst);
    let asked = cluster.ask("x", 900);
    let mut opened = cluster.greeted().await;
    let call = opened.call().await;
    opened.answer(call.id, Outcome::Response(bytes("")));
    assert!(asked.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_stream_to_a_node_that_is_no_member_any_more_is_ended() {
    let mut cluster = cluster(options());
    let asked = cluster.ask("x", 900);
    let mut opened = cluster.greeted().await;
    opened.call().await;
    cluster.peers.keep_only(&[at("b", "b:1")].into());
    assert!(!asked.is_finished());
    cluster.peers.keep_only(&[at("b", "b:2"), at("c", "b:1")].into());
    let (is_sent, why) = gone(asked.await.unwrap());
    assert!(is_sent && why.contains("not a member"), "{why}");
    assert_eq!(opened.next().await, None, "the other node sees its end");
    let again = cluster.ask("x", 900);
    let mut opened = cluster.greeted().await;
    opened.call().await;
    drop(again);
    let Cluster { peers, pipes, .. } = cluster;
    drop(peers);
    // The call's own clone goes with its deadline.
    assert_eq!(opened.next().await, None);
    assert_eq!(pipes.dialed.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_ends_the_stream() {
    for frame in [Some(Frame::Hello(hello("b"))), Some(Frame::Answer(Answer::default())), None] {
        let mut cluster = cluster(options());
        let asked = cluster.ask("x", 900);
        let mut opened = cluster.greeted().await;
        opened.call().await;
        opened.answers.send(Ok(ExchangeResponse { frame })).unwrap();
        assert_eq!(gone(asked.await.unwrap()), (true, "the node has sent a frame that is no answer".into()));
        assert_eq!(opened.next().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_not_sent_and_leaves_the_stream_alone() {
    let cluster = cluster(Options { request_bytes: 4, ..options() });
    let (is_sent, why) = gone(cluster.ask("12345", 900).await.unwrap());
    assert!(!is_sent && why.contains("5 bytes"), "{why}");
    assert_eq!(cluster.pipes.dialed.load(SeqCst), 0);
}
