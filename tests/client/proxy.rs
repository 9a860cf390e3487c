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

/// The proxy, which lives as long as the test.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections of an older number are cut.
    age: watch::Sender<u64>,
    upstream: Arc<Mutex<SocketAddr>>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            mode: watch::Sender::new(Mode::Forward),
            age: watch::Sender::new(0),
            upstream: Arc::new(Mutex::new(upstream)),
        };
        let (mode, age, upstream) = (proxy.mode.subscribe(), proxy.age.subscribe(), proxy.upstream.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mode, mut age) = (mode.clone(), age.clone());
                let to = *upstream.lock().unwrap();
                age.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(client, to, mode) => {}
                        _ = age.changed() => {}
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
        let before = self.mode.send_replace(mode);
        if matches!(before, Mode::Lose | Mode::Garbage) || matches!(mode, Mode::Refuse | Mode::Garbage) {
            self.cut();
        }
    }

    pub fn cut(&self) {
        self.age.send_modify(|age| *age += 1);
    }

    /// Where new connections go.
    pub fn lead(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap() = upstream;
    }
}

async fn connection(mut client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<Mode>) {
    let now = *mode.borrow();
    match now {
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
        () = requests(from_client, to_node, mode.clone()) => {}
        () = answers(from_node, to_client, mode.clone()) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let _ = mode.wait_for(|mode| *mode != Mode::Hold).await;
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let now = *mode.wait_for(|mode| *mode != Mode::Hold).await.unwrap();
        match now {
            Mode::Lose => continue,
            Mode::Delay(time) => tokio::time::sleep(time).await,
            Mode::Forward | Mode::Hold | Mode::Refuse | Mode::Garbage => {}
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
