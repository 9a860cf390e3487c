//! The body of an answer, and whether it waits for the peer to take it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Frame, SizeHint};

use super::activity::Flight;

/// An answer waits for the peer from when it is there, and after each of its frames, until the next one is asked
/// for: HTTP asks as soon as there is room. While it has nothing to say itself (a stream), nobody waits for the peer.
#[derive(Debug)]
pub(super) struct Leaving<B> {
    body: B,
    flight: Flight,
    /// The counter in which it waits.
    waits: Option<usize>,
}

impl<B> Leaving<B> {
    pub(super) fn new(body: B, flight: Flight) -> Self {
        let waits = Some(flight.wait());
        Self { body, flight, waits }
    }

    fn go_on(&mut self) {
        if let Some(waits) = self.waits.take() {
            self.flight.go_on(waits);
        }
    }
}

impl<B: Body + Unpin> Body for Leaving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        this.go_on();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if frame.is_some() {
            this.waits = Some(this.flight.wait());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Leaving<B> {
    fn drop(&mut self) {
        self.go_on();
    }
}
