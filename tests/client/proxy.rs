//! A connection between a client and its node that fails as networks do: it holds, loses, delays, refuses, or answers
//! something else.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Forward,
    /// Passes nothing on for as long as it lasts.
    Hold,
    /// Passes requests on, and loses the answers.
    Lose,
    /// Passes answers on so much later.
    Delay(Duration),
    /// Ends every connection at once.
    Refuse,
    /// Answers what no gRPC server would.
    Garbage,
}

/// What the connections do now.
#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections that were opened at a smaller number end. It is changed with the mode, in one step: bytes that a mode
    /// was to lose are not passed on by the next one.
    age: u64,
}

/// The proxy, which lives as long as the test.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    upstream: Arc<Mutex<SocketAddr>>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            state: watch::Sender::new(State { mode: Mode::Forward, age: 0 }),
            upstream: Arc::new(Mutex::new(upstream)),
        };
        let (state, upstream) = (proxy.state.subscribe(), proxy.upstream.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = *upstream.lock().unwrap();
                let (state, mut ends) = (state.clone(), state.clone());
                let opened = *state.borrow();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(client, to, opened, state) => {}
                        _ = ends.wait_for(|now| now.age != opened.age) => {}
                    }
                });
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that have lost bytes, or are to end, end.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| {
            let ends = matches!(state.mode, Mode::Lose | Mode::Garbage) || matches!(mode, Mode::Refuse | Mode::Garbage);
            *state = State { mode, age: state.age + u64::from(ends) };
        });
    }

    pub fn cut(&self) {
        self.state.send_modify(|state| state.age += 1);
    }

    /// Where new connections go.
    pub fn lead(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap() = upstream;
    }
}

async fn connection(mut client: TcpStream, upstream: SocketAddr, opened: State, state: watch::Receiver<State>) {
    match opened.mode {
        Mode::Refuse => return,
        Mode::Garbage => {
            let _ = client.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
            let _ = client.read(&mut [0; 1024]).await;
            return;
        }
        Mode::Forward | Mode::Hold | Mode::Lose | Mode::Delay(_) => {}
    }
    let Ok(node) = TcpStream::connect(upstream).await else { return };
    let ((from_client, to_client), (from_node, to_node)) = (client.into_split(), node.into_split());
    tokio::select! {
        () = requests(from_client, to_node, state.clone()) => {}
        () = answers(from_node, to_client, opened.age, state) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let _ = state.wait_for(|now| now.mode != Mode::Hold).await;
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, age: u64, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let now = *state.wait_for(|now| now.mode != Mode::Hold).await.unwrap();
        if now.age != age {
            return;
        }
        match now.mode {
            Mode::Lose => continue,
            Mode::Delay(time) => tokio::time::sleep(time).await,
            Mode::Forward | Mode::Hold | Mode::Refuse | Mode::Garbage => {}
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
