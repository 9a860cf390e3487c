//! What an execution is about to do, in the terms of `AcquireRequest`.

use std::time::Duration;

use super::ids;
use crate::wire::v1::{AcquireRequest, Amount, Mode, Operation};

/// What is asked for one execution. The default asks for one of the meter `executions`, in the org itself.
///
/// ```
/// use std::time::Duration;
///
/// use tollgate::client::Ask;
///
/// let ask = Ask::new().scope("workspace/ws_42").scope("agent/a1").reserve("spend", 50_000).ttl(Duration::from_secs(600));
/// # let _ = ask;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Ask {
    request: AcquireRequest,
}

impl Ask {
    /// One execution of the org.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of the org that the execution belongs to, such as `workspace/ws_42`; at most 8 of them, whose limits are all
    /// judged and charged.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.request.scopes.push(scope.into());
        self
    }

    /// Charged at admission, in the meter's unit. Without any it is 1 of `executions`; with some, only they are.
    #[must_use]
    pub fn cost(mut self, meter: impl Into<String>, amount: u64) -> Self {
        self.request.cost.push(self::amount(meter, amount));
        self
    }

    /// Held until the execution is over and says what it used: `spend` in micro-USD, `compute` in milliseconds.
    #[must_use]
    pub fn reserve(mut self, meter: impl Into<String>, amount: u64) -> Self {
        self.request.reserve.push(self::amount(meter, amount));
        self
    }

    /// For how long the reservation holds unless it is extended or settled; at least a second. Default: 5 minutes.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request.reservation_ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// The execution may pause; each continuation is announced with [`Client::resume`](super::Client::resume).
    #[must_use]
    pub fn pausable(mut self) -> Self {
        self.request.operation = Operation::ExecuteWithPause.into();
        self
    }

    /// The pool of upstream accounts that the execution will use.
    #[must_use]
    pub fn pool(mut self, pool: impl Into<String>) -> Self {
        self.request.pool = pool.into();
        self
    }

    /// Charged and judged as always, and always allowed: the code of the admission says what would have happened.
    #[must_use]
    pub fn shadow(mut self) -> Self {
        self.request.mode = Mode::Shadow.into();
        self
    }

    /// An id of the caller's, for work that may be asked for again, such as a message that is delivered twice. It is charged
    /// and completed once for each id; the node remembers it for 10 minutes, with a reservation for 24 hours. Default: a new
    /// UUID of version 7.
    ///
    /// An execution under such an id that fails ends nothing: its reservation stays, and what it reported as used is
    /// recorded, once for each one that failed. A success settles under the id itself, so that a second one is the same
    /// settlement; one that reports other usage is refused, and what was recorded first stands. Work that nobody asks for
    /// again says [`Execution::failed`](super::Execution::failed), which gives its reservation back at once.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request.request_id = id.into();
        self
    }

    pub(super) fn into_question(self, org: &str, plane: &str) -> Question {
        let Self { mut request } = self;
        request.org = org.to_owned();
        request.plane = plane.to_owned();
        let has_own_id = !request.request_id.is_empty();
        if !has_own_id {
            request.request_id = ids::request_id();
        }
        Question { request, has_own_id }
    }
}

/// What is asked of the node.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) request: AcquireRequest,
    /// The id is the caller's: the same work may be asked for again, with the same decision and reservation.
    pub(super) has_own_id: bool,
}

/// More than fits is more than any limit has.
pub(super) fn amount(meter: impl Into<String>, amount: u64) -> Amount {
    Amount { meter: meter.into(), amount: i64::try_from(amount).unwrap_or(i64::MAX) }
}
