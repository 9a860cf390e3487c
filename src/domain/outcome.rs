//! What was answered to a call, kept so that it can be answered again.

use super::{
    decision::{Hold, SessionGrant},
    gate::FailOpen,
    ids::{AccountId, DecisionId},
    request::{Idempotency, Rpc},
    upstream::Upstream,
    window::Millis,
};
use crate::bounds::{LONG_MEMORY_MS, SHORT_MEMORY_MS};

/// How a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Committed,
    Released,
    Expired,
}

/// What was answered, so that it can be answered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Admitted {
        decision: DecisionId,
        hold: Option<Hold>,
        fail_open: Vec<FailOpen>,
    },
    Settled {
        reservation: DecisionId,
        how: Settlement,
    },
    Extended {
        expires_at: Millis,
    },
    Resumed {
        continuations: u64,
    },
    Recorded,
    Reported {
        increment: u64,
        reset: bool,
        disputed: u64,
    },
    Frozen {
        was_frozen: bool,
    },
    BudgetSet,
    Started {
        decision: DecisionId,
        grant: SessionGrant,
        fail_open: Vec<FailOpen>,
    },
    Beat {
        booked: u64,
        disputed: u64,
    },
    SessionEnded {
        decision: DecisionId,
    },
    PoolConfigured,
    /// `decision` is of the gates of the org, where they were asked as well.
    Picked {
        account: AccountId,
        decision: Option<DecisionId>,
        hold: Option<Hold>,
        fail_open: Vec<FailOpen>,
    },
    OutcomeReported {
        outcome: Upstream,
        known: bool,
    },
}

/// One remembered outcome. Without a request id it only names a settled reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: Millis,
    pub rpc: Rpc,
    pub idempotency: Option<Idempotency>,
    /// Remembered for a day instead of ten minutes.
    pub long: bool,
    pub outcome: Outcome,
}

impl Entry {
    pub fn expires_at(&self) -> Millis {
        self.at.saturating_add(if self.long { LONG_MEMORY_MS } else { SHORT_MEMORY_MS })
    }
}
