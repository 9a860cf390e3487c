//! The body of a request: each message in it has a time to arrive, and what has arrived of messages that are not
//! whole yet shares one budget of the node.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// gRPC announces every message by a flag and its length.
const PREFIX: usize = 5;

/// The bytes of all messages that are arriving, on every connection of the node.
#[derive(Debug)]
pub struct Unread {
    bytes: AtomicUsize,
    most: usize,
    /// What a request is answered that does not fit.
    refusal: Status,
}

impl Unread {
    /// Up to `most` bytes; a request that does not fit is answered with `refusal`.
    pub fn new(most: u32, refusal: Status) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), most: most as usize, refusal })
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let fits = before.saturating_add(bytes) <= self.most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// A stream of gRPC messages.
    Grpc(Announced),
    /// One message, as long as the body, which is due.
    Whole,
}

/// How far the message that arrives has come.
#[derive(Debug, Clone, Copy, Default)]
struct Announced {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have arrived.
    known: usize,
    /// Bytes of the message that have not.
    missing: usize,
}

impl Announced {
    /// Goes on by these bytes. How many of them belong to a message that is not whole yet, and whether one became
    /// whole before it.
    fn go_on(&mut self, mut data: &[u8]) -> (usize, bool) {
        let (mut kept, mut whole) = (0, false);
        while !data.is_empty() {
            if self.known < PREFIX {
                let more = data.len().min(PREFIX - self.known);
                self.prefix[self.known..self.known + more].copy_from_slice(&data[..more]);
                self.known += more;
                kept += more;
                data = &data[more..];
                if self.known == PREFIX {
                    let [_, length @ ..] = self.prefix;
                    self.missing = u32::from_be_bytes(length) as usize;
                }
            } else {
                let more = data.len().min(self.missing);
                self.missing -= more;
                kept += more;
                data = &data[more..];
            }
            if self.known == PREFIX && self.missing == 0 {
                (self.known, kept, whole) = (0, 0, true);
            }
        }
        (kept, whole)
    }

    fn is_between(&self) -> bool {
        self.known == 0
    }
}

/// See the module.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    framing: Framing,
    within: Duration,
    /// Runs while a message is awaited that does not come.
    late: Option<Pin<Box<Sleep>>>,
    unread: Arc<Unread>,
    /// Taken of the budget.
    bytes: usize,
}

impl Arriving {
    pub(super) fn new(body: Incoming, unread: Arc<Unread>, within: Duration) -> Self {
        let (framing, late) = (Framing::Whole, None);
        Self { body, framing, within, late, unread, bytes: 0 }
    }

    /// It is a stream of gRPC messages, which come when the caller has them.
    #[must_use]
    pub fn of_grpc(mut self) -> Self {
        self.framing = Framing::Grpc(Announced::default());
        self
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Status> {
        if !self.unread.take(data.len()) {
            return Err(self.unread.refusal.clone());
        }
        self.bytes += data.len();
        let Framing::Grpc(announced) = &mut self.framing else { return Ok(()) };
        let (kept, whole) = announced.go_on(data);
        if whole {
            self.late = None;
            self.give_back(self.bytes.saturating_sub(kept));
        }
        Ok(())
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.unread.give_back(bytes);
    }

    /// Whether the caller owes bytes now.
    fn is_due(&self) -> bool {
        match &self.framing {
            Framing::Grpc(announced) => !announced.is_between(),
            Framing::Whole => true,
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_due() {
            return false;
        }
        let within = self.within;
        self.late.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(cx).is_ready()
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let taken = frame.data_ref().map_or(Ok(()), |data| this.take(data));
                Poll::Ready(Some(taken.map(|()| frame).map_err(Into::into)))
            }
            Poll::Ready(other) => Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
            Poll::Pending if this.is_late(cx) => {
                let within = this.within;
                let late = format!("the request did not arrive within {within:?} (bounds.request_ms)");
                Poll::Ready(Some(Err(Status::deadline_exceeded(late).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX + length, 7);
        bytes
    }

    proptest! {
        /// However the bytes are cut, what is kept is what came of the last message.
        #[test]
        fn messages_are_found_however_they_are_cut(
            lengths in prop::collection::vec(0_usize..40, 0..8),
            cuts in prop::collection::vec(1_usize..20, 1..200),
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let ends: Vec<usize> = lengths
                .iter()
                .scan(0, |end, length| { *end += PREFIX + length; Some(*end) })
                .collect();
            let (mut announced, mut at, mut held) = (Announced::default(), 0, 0);
            for cut in cuts {
                let next = (at + cut).min(bytes.len());
                let (kept, whole) = announced.go_on(&bytes[at..next]);
                held = if whole { kept } else { held + kept };
                let last_end = ends.iter().copied().filter(|end| *end <= next).max().unwrap_or(0);
                prop_assert_eq!(whole, ends.iter().any(|end| *end > at && *end <= next));
                prop_assert_eq!(held, next - last_end);
                prop_assert_eq!(announced.is_between(), next == last_end);
                at = next;
            }
        }
    }

    #[test]
    fn the_budget_refuses_what_does_not_fit_and_has_everything_back() {
        let unread = Unread::new(10, Status::resource_exhausted("full"));
        assert!(unread.take(7));
        assert!(!unread.take(4));
        assert!(unread.take(3));
        unread.give_back(10);
        assert!(unread.take(10));
    }
}
