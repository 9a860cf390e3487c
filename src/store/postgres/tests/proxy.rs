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
    /// Nobody gets through.
    is_closed: Arc<AtomicBool>,
    /// As a pooler does that does not know what a client asks for when it connects.
    refuses_options: Arc<AtomicBool>,
    /// Grows with every cut; connections from before end.
    cuts: watch::Sender<u32>,
}

const OPTION: &[u8] = b"statement_timeout=";

/// What PgBouncer says.
fn refusal() -> Vec<u8> {
    let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    [&b"E"[..], &length.to_be_bytes(), fields].concat()
}

impl Proxy {
    pub(super) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self {
            port,
            loses_answer: Arc::default(),
            is_closed: Arc::default(),
            refuses_options: Arc::default(),
            cuts: watch::Sender::new(0),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if accepting.is_closed.load(Ordering::SeqCst) {
                    continue;
                }
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

    /// Ends every connection and lets no other one through, until it is opened again.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub(super) fn open(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
    }

    pub(super) fn refuse_options(&self) {
        self.refuses_options.store(true, Ordering::SeqCst);
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
                // What is sent after a cut is not passed on.
                biased;
                _ = cuts.changed() => {
                    // The server's end stays open, so that what it has been asked runs on.
                    let mut rest = Vec::new();
                    drop(client);
                    let _ = server.read_to_end(&mut rest).await;
                    return;
                }
                Ok(count) = client.read(&mut asked) => {
                    let text = &asked[..count];
                    let has_options = text.windows(OPTION.len()).any(|part| part == OPTION);
                    if has_options && self.refuses_options.load(Ordering::SeqCst) {
                        let _ = client.write_all(&refusal()).await;
                        return;
                    }
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
                else => return,
            }
        }
    }
}
