//! A wire to the server that a test can cut where it hurts.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) port: u16,
    /// The next answer is not passed on, and its connection ends.
    loses_answer: Arc<AtomicBool>,
    /// Grows with every cut; connections from before end.
    cuts: watch::Sender<u32>,
}

impl Proxy {
    pub(super) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, loses_answer: Arc::default(), cuts: watch::Sender::new(0) };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(accepting.clone().pass(client, server));
                }
            }
        });
        proxy
    }

    pub(super) fn lose_answer(&self) {
        self.loses_answer.store(true, Ordering::SeqCst);
    }

    /// Ends every connection. The server notices only when it has something to say.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    async fn pass(self, mut client: TcpStream, mut server: TcpStream) {
        let (mut asked, mut answered) = ([0; 16_384], [0; 16_384]);
        let mut cuts = self.cuts.subscribe();
        loop {
            tokio::select! {
                Ok(count) = client.read(&mut asked) => {
                    if count == 0 || server.write_all(&asked[..count]).await.is_err() {
                        return;
                    }
                }
                Ok(count) = server.read(&mut answered) => {
                    let is_lost = self.loses_answer.swap(false, Ordering::SeqCst);
                    if count == 0 || is_lost || client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                _ = cuts.changed() => {
                    // The server's end stays open, so that what it has been asked runs on.
                    let mut rest = Vec::new();
                    drop(client);
                    let _ = server.read_to_end(&mut rest).await;
                    return;
                }
                else => return,
            }
        }
    }
}
