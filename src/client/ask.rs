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

    /// An id of the caller's, for an execution that is asked for again after the plane was restarted. It is charged once
    /// for each id. Default: a new UUID of version 7.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request.request_id = id.into();
        self
    }

    pub(super) fn into_request(self, org: &str, plane: &str) -> AcquireRequest {
        let Self { mut request } = self;
        request.org = org.to_owned();
        request.plane = plane.to_owned();
        if request.request_id.is_empty() {
            request.request_id = ids::request_id();
        }
        request
    }
}

/// More than fits is more than any limit has.
pub(super) fn amount(meter: impl Into<String>, amount: u64) -> Amount {
    Amount { meter: meter.into(), amount: i64::try_from(amount).unwrap_or(i64::MAX) }
}
