//! What happens in a client that nobody sees in an answer: counted, and handed to the hook.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{error::NoDecision, options::Options};

/// Something that an operator wants to know. Every one is also counted in [`Stats`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// An execution runs without a decision ([`OnUnavailable::Open`](super::OnUnavailable::Open)).
    FailedOpen {
        /// Whose execution.
        org: String,
        /// The id under which the node was asked.
        request_id: String,
        /// Why there was no decision.
        cause: NoDecision,
    },
    /// So many calls in a row were not answered that none is sent for a while.
    BreakerOpened,
    /// The node answers again.
    BreakerClosed,
    /// A completion will not arrive at the node: it was refused, or too many wait, or the client was closed before.
    Lost {
        /// Whose execution.
        org: String,
        /// The rpc: `Commit`, `Release`, `Record`, `Resume` or `EndSession`.
        call: &'static str,
        /// Why.
        cause: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedOpen { org, request_id, cause } => {
                write!(f, "an execution of {org} ({request_id}) runs without a decision: {cause}")
            }
            Self::BreakerOpened => f.write_str("the node does not answer; calls are not sent for a while"),
            Self::BreakerClosed => f.write_str("the node answers again"),
            Self::Lost { org, call, cause } => write!(f, "a {call} of {org} is lost: {cause}"),
        }
    }
}

/// What a client has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Executions that the node allowed.
    pub admitted: u64,
    /// Executions that the node denied. None of them ran.
    pub denied: u64,
    /// Executions on which nobody decided in time.
    pub undecided: u64,
    /// Of these, the executions that ran all the same.
    pub failed_open: u64,
    /// Calls that the node refused because they were wrong.
    pub refused: u64,
    /// Attempts after the first one of a call.
    pub retries: u64,
    /// Times that calls were not sent any more because none had been answered.
    pub breaker_opened: u64,
    /// Streams of acquires that were opened; each after the first one is a reconnection.
    pub streams: u64,
    /// Admissions that were answered when nobody waited for them any more, and whose reservation was given back.
    pub released_late: u64,
    /// Completions that the node has taken, at once or later.
    pub settled: u64,
    /// Completions that wait for the node to answer again, now.
    pub unsettled: u64,
    /// Completions that will not arrive ([`Event::Lost`]).
    pub lost: u64,
}

macro_rules! counters {
    ($($name:ident),+) => {
        /// The same while it is counted.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)+
        }

        impl Counters {
            pub(super) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)+ }
            }
        }
    };
}

counters!(
    admitted,
    denied,
    undecided,
    failed_open,
    refused,
    retries,
    breaker_opened,
    streams,
    released_late,
    settled,
    unsettled,
    lost
);

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Counts, and calls the hook.
pub(super) struct Watch {
    pub(super) counters: Counters,
    options: Options,
}

impl Watch {
    pub(super) fn new(options: Options) -> Self {
        Self { counters: Counters::default(), options }
    }

    pub(super) fn happened(&self, event: &Event) {
        match event {
            Event::FailedOpen { .. } => add(&self.counters.failed_open),
            Event::BreakerOpened => add(&self.counters.breaker_opened),
            Event::Lost { .. } => add(&self.counters.lost),
            Event::BreakerClosed => {}
        }
        if let Some(hook) = &self.options.hook {
            called(|| hook(event));
        }
    }
}

/// Calls a function of whoever uses the client; `None` where it panics. The task that calls it goes on.
pub(super) fn called<T>(function: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(function)).ok()
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("counters", &self.counters).finish_non_exhaustive()
    }
}
