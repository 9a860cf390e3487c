//! A client for planes in Rust: ask before every execution, run, complete.
//!
//! ```no_run
//! use tollgate::client::{Ask, Client, Guarded, OnUnavailable, Options};
//!
//! # async fn run() -> Result<u64, std::io::Error> { Ok(1) }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Options::new("http://127.0.0.1:7070", OnUnavailable::Open).plane("eu-1"))?;
//! let answer = client.guard("acme", Ask::new(), |_execution| run()).await?;
//! if let Guarded::Denied(denial) = &answer {
//!     println!("{}: {}", denial.http_status(), denial.text());
//! }
//! println!("{:?}", client.stats());
//! # Ok(())
//! # }
//! ```
//!
//! Four rules make this safe:
//!
//! - **A denial is an answer, an error is not.** What the node denied never runs, whatever fails afterwards.
//! - **Without a decision the same call is sent again under the same request id**, all attempts within one budget of time.
//!   The node charges an id once, whichever attempt arrives.
//! - **Failing open is a choice** ([`OnUnavailable`]), it is counted and announced, and a mistake of the caller never does.
//! - **What was used is reported.** A completion that the node does not answer is sent until it does ([`Settled::Waiting`]).
//!
//! Acquires of all tasks share one stream on one HTTP/2 connection; everything else is a call of its own on the same one. A
//! [`Client`] is cheap to clone, and a process needs one for each node or balancer.
//!
//! With `default-features = false, features = ["client"]` the crate compiles this module and the messages alone.

mod ask;
mod breaker;
mod call;
mod clock;
mod decision;
mod error;
mod events;
mod execution;
mod guard;
mod heartbeats;
mod ids;
mod in_flight;
mod link;
mod options;
mod questions;
mod session;
mod settle;
mod stream;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

pub use self::{
    ask::Ask,
    decision::{Admission, Decision, Denial},
    error::{Error, NoDecision, Refused},
    events::{Event, Stats},
    execution::{Admitted, Execution, Settled},
    guard::{GuardError, Guarded},
    options::{Misconfigured, OnUnavailable, Options},
    questions::{BudgetChange, Resumed},
    session::{Session, SessionAsk, SessionDenial, Signal, Start},
};
use self::{
    breaker::Breaker,
    events::Watch,
    link::Link,
    settle::{Settler, Settling},
    stream::{Asked, Streams},
};
pub use crate::wire::v1::{Budget, DecisionCode, GetStatusResponse, Limit};
pub use tonic::Code;

/// A connection to a node, or to a balancer in front of nodes.
#[derive(Debug, Clone)]
pub struct Client {
    core: Arc<Core>,
}

/// What all clones of a client, and all of its executions, share.
struct Core {
    options: Options,
    link: Link,
    watch: Arc<Watch>,
    breaker: Arc<Breaker>,
    asks: mpsc::Sender<Asked>,
    settler: Settler,
    /// Dropped with this: the task that settles learns by it that nothing more will come.
    _alive: watch::Sender<bool>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with these options. It connects with the first call, and again whenever the connection was lost: a plane may
    /// start before its node. Call it within a tokio runtime that runs for as long as the client is used; its tasks run there.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn connect(options: Options) -> Result<Self, Misconfigured> {
        options.check()?;
        let link = Link::new(&options)?;
        let watch = Arc::new(Watch::new(options.clone()));
        let breaker = Arc::new(Breaker::new(options.breaker_failures, options.breaker_open));
        let (settler, taken) = Settler::new(options.unsettled_max, watch.clone());
        let (alive, over) = watch::channel(true);
        let (asks, asked) = stream::queue();
        let (attempt, budget) = (options.attempt, options.budget);
        let streams = Streams { link: link.clone(), watch: watch.clone(), settler: settler.clone(), attempt, budget };
        tokio::spawn(stream::run(streams, asked));
        let settling = Settling { link: link.clone(), breaker: breaker.clone(), settler: settler.clone(), attempt };
        tokio::spawn(settle::run(settling, taken, over));
        Ok(Self { core: Arc::new(Core { options, link, watch, breaker, asks, settler, _alive: alive }) })
    }

    /// What was counted since [`Client::connect`].
    pub fn stats(&self) -> Stats {
        self.core.watch.counters.read()
    }

    /// Whether calls are sent: false while the node is left alone because it does not answer.
    pub fn is_asking(&self) -> bool {
        self.core.breaker.is_closed()
    }

    /// Waits until the node has taken every completion; false where it has not within that time. What is left then is sent
    /// for as long as the runtime lasts.
    pub async fn close(self, within: Duration) -> bool {
        self.core.settler.flushed(within).await
    }
}
