//! Connections in their bounds: at most so many, each with Nagle off and with an end.
//!
//! Tonic asks a connection to go away at its age. Nothing makes a caller obey, and an open stream
//! would hold the connection for ever, so our own streams end at that age as well, and what is left
//! after a grace is cut here. (Tonic's own grace skips the asking and only cuts.)

use std::{
    future::{Future, pending},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// After an accept failed (out of file descriptors, mostly), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every HTTP/2 client says first, and how long it may take: before it no keepalive watches the
/// connection, so a silent one would hold its place until its age.
const PREFACE_BYTES: usize = 24;
const PREFACE_WITHIN: Duration = Duration::from_secs(10);

/// From the polite GOAWAY of an aged connection to its end.
const AGE_GRACE: Duration = Duration::from_secs(30);

/// One connection, counted as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    io: TcpStream,
    age: Aged,
    /// Bytes still missing of the preface.
    silent: usize,
    /// When the preface is late; after it, when the connection is.
    cut: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// When the connection of a request is asked to go away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aged(Instant);

impl Aged {
    /// Resolves when the connection has reached its age; never where the age is not known.
    pub(super) async fn reached(age: Option<Self>) {
        match age {
            Some(Self(at)) => sleep_until(at).await,
            None => pending().await,
        }
    }
}

/// Where connections come in, for several that take them in turn: the lock is fair.
#[derive(Debug)]
pub(super) struct Door {
    listener: Mutex<TcpListener>,
    places: Arc<Semaphore>,
}

impl Door {
    /// Up to `max` connections at a time; more wait in the listener's backlog.
    pub(super) fn new(listener: TcpListener, max: u32) -> Arc<Self> {
        Arc::new(Self { listener: Mutex::new(listener), places: Arc::new(Semaphore::new(max as usize)) })
    }
}

/// Accepts connections that end at `age`.
pub(super) fn accept(door: Arc<Door>, age: Duration) -> impl Stream<Item = io::Result<Counted>> {
    futures_util::stream::unfold(door, move |door| async move {
        loop {
            // The others queue up first, or one of them would take all that wait after a start.
            tokio::task::yield_now().await;
            let turn = door.listener.lock().await;
            let place = door.places.clone().acquire_owned().await.ok()?;
            match turn.accept().await {
                Ok((io, _)) => {
                    let _ = io.set_nodelay(true);
                    let now = Instant::now();
                    let cut = Box::pin(sleep_until(now + PREFACE_WITHIN.min(age + AGE_GRACE)));
                    let (age, silent) = (Aged(now + age), PREFACE_BYTES);
                    drop(turn);
                    return Some((Ok(Counted { io, age, silent, cut, _place: place }), door));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

impl Connected for Counted {
    type ConnectInfo = Aged;

    fn connect_info(&self) -> Aged {
        self.age
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.silent > 0 {
            self.silent = self.silent.saturating_sub(buf.filled().len() - before);
            if self.silent == 0 {
                let cut = self.age.0 + AGE_GRACE;
                self.cut.as_mut().reset(cut);
            }
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Connects, says `said`, and answers whether the accepted end was cut within `waited`.
    async fn is_cut(said: &[u8], waited: Duration) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, said).await.unwrap();
        let mut accepted = Box::pin(accept(Door::new(listener, 1), Duration::from_secs(600)));
        let mut server = accepted.next().await.unwrap().unwrap();
        let mut heard = vec![0; said.len()];
        server.read_exact(&mut heard).await.unwrap();
        tokio::time::pause();
        let read = tokio::time::timeout(waited, server.read_u8()).await;
        tokio::time::resume();
        matches!(read, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_preface_is_cut_soon_and_one_with_it_at_its_age() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert!(is_cut(b"", Duration::from_secs(11)).await);
        assert!(is_cut(&preface[..23], Duration::from_secs(11)).await);
        assert!(!is_cut(preface, Duration::from_secs(600)).await);
        assert!(is_cut(preface, Duration::from_secs(631)).await);
    }

    #[tokio::test]
    async fn connections_take_turns_at_the_ages_and_share_the_places() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        // All at once, as after a restart.
        for _ in 0..5 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let door = Door::new(listener, 4);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let servers = [1, 2, 3].map(|age| {
            let (accepted, tell) = (accept(door.clone(), Duration::from_secs(age)), tell.clone());
            accepted.for_each(move |counted| {
                tell.send((age, counted.unwrap())).unwrap();
                std::future::ready(())
            })
        });
        tokio::spawn(futures_util::future::join_all(servers));
        let (mut ages, mut held) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let (age, counted) = told.recv().await.unwrap();
            ages.push(age);
            held.push(counted);
        }
        assert_eq!(ages, [1, 2, 3, 1]);
        tokio::task::yield_now().await;
        assert!(told.try_recv().is_err(), "four places among all of them");
        held.pop();
        assert_eq!(told.recv().await.unwrap().0, 2);
    }
}
