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
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// After an accept failed (out of file descriptors, mostly), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From the polite GOAWAY of an aged connection to its end.
const AGE_GRACE: Duration = Duration::from_secs(30);

/// One connection, counted as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    io: TcpStream,
    age: Aged,
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

/// Accepts up to `max` connections at a time, each to end at `age`; more wait in the listener's backlog.
pub(super) fn accept(listener: TcpListener, max: u32, age: Duration) -> impl Stream<Item = io::Result<Counted>> {
    let places = Arc::new(Semaphore::new(max as usize));
    futures_util::stream::unfold((listener, places), move |(listener, places)| async move {
        loop {
            let place = places.clone().acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((io, _)) => {
                    let _ = io.set_nodelay(true);
                    let ends = Instant::now() + age;
                    let cut = Box::pin(sleep_until(ends + AGE_GRACE));
                    return Some((Ok(Counted { io, age: Aged(ends), cut, _place: place }), (listener, places)));
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
        Pin::new(&mut self.io).poll_read(cx, buf)
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
