//! A socket that says what arrives on it and whether it takes what is written, and that is read in turn with others while
//! calls wait too long for theirs.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::activity::Activity;
use crate::turns::{OfConnection, Turns};

/// After it a connection asks again whether it is read, where nobody has woken it meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// Read at a time while calls wait too long: a few small requests.
const PORTION: usize = 512;
/// A portion doubles, up to here, while no request begins in it.
const PORTION_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Observed {
    io: TcpStream,
    activity: Arc<Activity>,
    reading: Reading,
}

/// How far a connection is read.
#[derive(Debug)]
pub(super) struct Reading {
    turns: Arc<Turns>,
    of: Arc<OfConnection>,
    pause: Option<Pin<Box<Sleep>>>,
    portion: usize,
    /// Requests of the connection when the last portion was read.
    begun: u64,
    /// The poll of the connection in which a whole portion was read last. Within one poll HTTP/2 reads again for each
    /// request that it hands on.
    read_in: Option<u64>,
    /// There was as much to read as the last portion.
    was_full: bool,
}

impl Reading {
    pub(super) fn new(turns: Arc<Turns>, of: Arc<OfConnection>) -> Self {
        Self { turns, of, pause: None, portion: 0, begun: 0, read_in: None, was_full: false }
    }

    /// How many bytes may be read now; later where it is pending.
    fn poll(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Poll<usize> {
        if self.turns.room().is_none() {
            (self.pause, self.read_in, self.was_full) = (None, None, false);
            return Poll::Ready(usize::MAX);
        }
        if self.read_in == Some(activity.polls()) {
            // What was read becomes requests first, and other connections have their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let begun = activity.begun();
        // Its headers, with a token, or its message are more than a portion: there is nothing else to be done for it.
        let is_a_long_one = self.was_full && begun == self.begun;
        while !self.turns.poll_read(&self.of, self.was_full && !is_a_long_one, cx) {
            ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE))).as_mut().poll(cx));
            self.pause = None;
            if self.turns.let_one_read() {
                break;
            }
        }
        self.pause = None;
        self.portion = if is_a_long_one { (self.portion * 2).min(PORTION_MAX) } else { PORTION };
        self.begun = begun;
        Poll::Ready(self.portion)
    }
}

impl Observed {
    pub(super) fn new(io: TcpStream, activity: Arc<Activity>, reading: Reading) -> Self {
        Self { io, activity, reading }
    }

    fn seen<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.sent(written.is_ready());
        written
    }
}

impl AsyncRead for Observed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = ready!(this.reading.poll(&this.activity, cx));
        let before = buf.filled().len();
        let read = if most >= buf.remaining() {
            Pin::new(&mut this.io).poll_read(cx, buf)
        } else {
            let mut portion = ReadBuf::new(buf.initialize_unfilled_to(most));
            let read = Pin::new(&mut this.io).poll_read(cx, &mut portion);
            let bytes = portion.filled().len();
            buf.advance(bytes);
            read
        };
        if read.is_ready() {
            this.activity.hear(buf.filled().len() - before);
        } else {
            this.reading.turns.wake_first();
        }
        this.reading.was_full = buf.filled().len() - before >= most;
        if read.is_ready() && this.reading.was_full {
            this.reading.read_in = Some(this.activity.polls());
        }
        read
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.seen(written)
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
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.seen(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
