//! Peers that do not speak, or not to the end.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    beside_another,
    client::plain,
    node::{Node, Setup},
    poll,
};

/// The client's half of the beginning of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A HEADERS frame that announces 64 bytes and brings none.
const CUT_HEADERS: &[u8] = &[0, 0, 64, 1, 4, 0, 0, 0, 1];
const EACH: usize = 100;

async fn say(node: &Node, words: &[&[u8]]) -> TcpStream {
    let mut stream = TcpStream::connect(node.grpc).await.unwrap();
    for word in words {
        stream.write_all(word).await.unwrap();
    }
    stream
}

async fn hundred_calls(node: &Node) -> Duration {
    let mut gate = node.gate().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let began = Instant::now();
        let answer = gate.acquire(plain("calm", "")).await.unwrap().into_inner();
        assert!(answer.allowed && answer.fail_open.is_empty(), "{answer:?}");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_half_open_connections_disturb_nobody() {
    let _beside = beside_another().await;
    let dir = TempDir::new().unwrap();
    let node = Setup::at(dir.path()).set("RATE__AMOUNT", 1_000_000).start().await;
    let before = hundred_calls(&node).await;
    let beginnings: [&[&[u8]]; 5] = [
        &[],
        &[&PREFACE[..10]],
        &[PREFACE],
        &[PREFACE, EMPTY_SETTINGS, CUT_HEADERS],
        &[b"GET / HTTP/1.1\r\nHost: x\r\n"],
    ];
    let mut open = Vec::new();
    for words in beginnings {
        for _ in 0..EACH {
            open.push(say(&node, words).await);
        }
    }
    let beside = hundred_calls(&node).await;
    println!("hostile: {} connections; slowest of 100 calls {before:?} before, {beside:?} beside them", open.len());
    assert!(node.is_serving().await);
    let garbage = say(&node, &[&[0xff; 4096]]).await;
    assert!(is_closed(garbage).await, "what is not HTTP/2 is shown the door");
    drop(open);
    node.terminate().await;
}

/// Whether the peer closes within a bound, whatever it says before.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut heard = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await.is_ok()
}

/// Silence is ended by the age of the connection; until then it only takes a place.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_in_time_while_silent_connections_are_open() {
    let _beside = beside_another().await;
    let dir = TempDir::new().unwrap();
    let setup = Setup::at(dir.path()).set("BOUNDS__DRAIN_NOTICE_MS", 100).set("BOUNDS__DRAIN_MS", 1_000);
    let node = setup.start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(say(&node, &[]).await);
        silent.push(say(&node, &[PREFACE, EMPTY_SETTINGS]).await);
    }
    hundred_calls(&node).await;
    let began = Instant::now();
    node.terminate().await;
    println!("hostile: stopped in {:?} with {} silent connections", began.elapsed(), silent.len());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Past `bounds.connections` new ones wait in the backlog; a place that becomes free is given away.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_a_freed_place_is_used() {
    let _beside = beside_another().await;
    let dir = TempDir::new().unwrap();
    let node = Setup::at(dir.path()).set("BOUNDS__CONNECTIONS", 8).start().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(say(&node, &[PREFACE, EMPTY_SETTINGS]).await);
    }
    for stream in &mut open {
        // The node's own settings: this connection has a place.
        let mut first = [0; 9];
        timeout(Duration::from_secs(10), stream.read_exact(&mut first)).await.unwrap().unwrap();
    }
    let mut waiting = say(&node, &[PREFACE, EMPTY_SETTINGS]).await;
    let mut first = [0; 9];
    assert!(
        timeout(Duration::from_millis(300), waiting.read_exact(&mut first)).await.is_err(),
        "the ninth has to wait"
    );
    assert_eq!(node.get("/livez").await.unwrap().0, 200, "the HTTP port is apart");
    drop(open);
    timeout(Duration::from_secs(10), waiting.read_exact(&mut first)).await.unwrap().unwrap();
    drop(waiting);
    poll("a call is served again", Duration::from_secs(10), || async { node.is_serving().await.then_some(()) }).await;
}
