//! Completions that the node has not taken yet: kept in memory, sent again under the same request id until it takes them.
//! What was used is never dropped silently.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tonic::Code;

use super::{
    breaker::Breaker,
    call::within,
    error::{Error, Fault, Remedy},
    events::{Event, Watch, add},
    ids,
    link::Link,
};
use crate::wire::v1::{
    AcquireResponse, CommitRequest, EndSessionRequest, RecordRequest, ReleaseRequest, ResumeRequest,
};

/// Of those that wait, so many are sent at a time.
const AT_ONCE: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// So an outage that is over is noticed within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// One call that says how an execution or a session ended.
#[derive(Debug, Clone)]
pub(super) enum Settlement {
    Commit(CommitRequest),
    Release(ReleaseRequest),
    Record(RecordRequest),
    Resume(ResumeRequest),
    EndSession(EndSessionRequest),
}

impl Settlement {
    fn org(&self) -> &str {
        match self {
            Self::Commit(request) => &request.org,
            Self::Release(request) => &request.org,
            Self::Record(request) => &request.org,
            Self::Resume(request) => &request.org,
            Self::EndSession(request) => &request.org,
        }
    }

    fn call(&self) -> &'static str {
        match self {
            Self::Commit(_) => "Commit",
            Self::Release(_) => "Release",
            Self::Record(_) => "Record",
            Self::Resume(_) => "Resume",
            Self::EndSession(_) => "EndSession",
        }
    }

    pub(super) async fn send(&self, link: &Link, time: Duration) -> Result<(), Fault> {
        let sent = match self {
            Self::Commit(request) => link.gate().commit(within(request, time)).await.map(drop),
            Self::Release(request) => link.gate().release(within(request, time)).await.map(drop),
            Self::Record(request) => link.gate().record(within(request, time)).await.map(drop),
            Self::Resume(request) => link.gate().resume(within(request, time)).await.map(drop),
            Self::EndSession(request) => link.sessions().end_session(within(request, time)).await.map(drop),
        };
        match sent {
            // What is over holds nothing any more, which is what was asked for.
            Err(status)
                if matches!(self, Self::Release(_) | Self::EndSession(_))
                    && matches!(status.code(), Code::NotFound | Code::FailedPrecondition) =>
            {
                Ok(())
            }
            sent => sent.map_err(Fault::from),
        }
    }

    pub(super) fn lost(&self, cause: String) -> Event {
        Event::Lost { org: self.org().to_owned(), call: self.call(), cause }
    }
}

/// Takes settlements from wherever an execution ends, also from a destructor.
#[derive(Debug, Clone)]
pub(super) struct Settler {
    queue: mpsc::UnboundedSender<Settlement>,
    waiting: watch::Sender<usize>,
    most: usize,
    watch: Arc<Watch>,
}

impl Settler {
    pub(super) fn new(most: usize, watch: Arc<Watch>) -> (Self, mpsc::UnboundedReceiver<Settlement>) {
        let (queue, taken) = mpsc::unbounded_channel();
        (Self { queue, waiting: watch::Sender::new(0), most, watch }, taken)
    }

    /// Keeps it until the node has taken it.
    pub(super) fn push(&self, settlement: Settlement) {
        let has_room = self.waiting.send_if_modified(|waiting| {
            let has_room = *waiting < self.most;
            *waiting += usize::from(has_room);
            has_room
        });
        if !has_room {
            self.watch.happened(&settlement.lost(format!("{} completions wait already", self.most)));
            return;
        }
        add(&self.watch.counters.unsettled);
        if let Err(unsent) = self.queue.send(settlement) {
            self.over();
            self.watch.happened(&unsent.0.lost("the runtime of the client has ended".to_owned()));
        }
    }

    /// Gives back what was reserved for somebody who does not wait any more.
    pub(super) fn release_late(&self, org: &str, admission: &AcquireResponse) {
        if !admission.allowed || admission.reservation_id.is_empty() {
            return;
        }
        add(&self.watch.counters.released_late);
        self.push(Settlement::Release(ReleaseRequest {
            org: org.to_owned(),
            reservation_id: admission.reservation_id.clone(),
            request_id: ids::request_id(),
        }));
    }

    /// Waits until the node has taken all of them; false where it has not within that time.
    pub(super) async fn flushed(&self, within: Duration) -> bool {
        let mut waiting = self.waiting.subscribe();
        timeout(within, waiting.wait_for(|waiting| *waiting == 0)).await.is_ok()
    }

    fn over(&self) {
        self.watch.counters.unsettled.fetch_sub(1, Relaxed);
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

/// What the task of a client needs to send them.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) link: Link,
    pub(super) breaker: Arc<Breaker>,
    pub(super) settler: Settler,
    pub(super) attempt: Duration,
}

/// One of them between two attempts.
#[derive(Debug)]
struct Unsettled {
    settlement: Settlement,
    /// After the next attempt, if that fails.
    pause: Duration,
}

/// An attempt that was not taken.
#[derive(Debug)]
struct Again {
    unsettled: Unsettled,
    rest: Duration,
    /// The node answers and does not take this one: others may go before it. One that was not answered keeps its place, so
    /// that an outage does not make as many attempts as completions wait.
    is_answered: bool,
}

/// Sends what is taken until there is nothing more, and nobody who could bring more.
pub(super) async fn run(
    settling: Settling,
    mut taken: mpsc::UnboundedReceiver<Settlement>,
    over: watch::Receiver<bool>,
) {
    let mut waiting = VecDeque::new();
    let (mut sending, mut resting, mut kept) = (FuturesUnordered::new(), FuturesUnordered::new(), 0);
    let mut over = Some(over);
    loop {
        while sending.len() + kept < AT_ONCE
            && let Some(unsettled) = waiting.pop_front()
        {
            sending.push(settling.settle(unsettled));
        }
        tokio::select! {
            Some(settlement) = taken.recv() => waiting.push_back(Unsettled { settlement, pause: FIRST_PAUSE }),
            Some(attempted) = sending.next() => if let Some(again) = attempted {
                kept += usize::from(!again.is_answered);
                resting.push(async {
                    sleep(again.rest).await;
                    again
                });
            },
            Some(again) = resting.next() => {
                kept -= usize::from(!again.is_answered);
                waiting.push_back(again.unsettled);
            }
            // The client and all of its executions were dropped.
            () = gone(over.as_mut()), if over.is_some() => {
                over = None;
                taken.close();
            }
            else => return,
        }
    }
}

async fn gone(over: Option<&mut watch::Receiver<bool>>) {
    if let Some(over) = over {
        // Nothing is ever sent: the error is that the sender is gone.
        while over.changed().await.is_ok() {}
    }
}

impl Settling {
    async fn settle(&self, unsettled: Unsettled) -> Option<Again> {
        let Unsettled { settlement, pause } = unsettled;
        let watch = &self.settler.watch;
        let sent = timeout(self.attempt, settlement.send(&self.link, self.attempt)).await;
        let fault = match sent {
            Ok(Ok(())) => {
                add(&watch.counters.settled);
                self.answered(watch);
                self.settler.over();
                return None;
            }
            Ok(Err(fault)) => fault,
            Err(_) => Fault::silence(),
        };
        let rest = match fault.remedy() {
            Remedy::Correct => {
                watch.happened(&settlement.lost(refusal(&fault.into_error(1))));
                self.answered(watch);
                self.settler.over();
                return None;
            }
            Remedy::Retry(asked) => ids::jittered(pause).max(asked),
            Remedy::GiveUp => LONGEST_PAUSE,
        };
        let unsettled = Unsettled { settlement, pause: (pause * 2).min(LONGEST_PAUSE) };
        Some(Again { unsettled, rest, is_answered: fault.is_answer() })
    }

    fn answered(&self, watch: &Watch) {
        if self.breaker.answered().is_some() {
            watch.happened(&Event::BreakerClosed);
        }
    }
}

pub(super) fn refusal(error: &Error) -> String {
    error.to_string()
}
