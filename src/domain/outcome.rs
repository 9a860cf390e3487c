//! What was answered to a call, kept so that it can be answered again.

use super::{
    decision::{Hold, SessionGrant},
    gate::FailOpen,
    ids::{AccountId, DecisionId},
    promise::Promise,
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

/// What a call was answered, and whether it was answered before under the same request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    pub outcome: T,
    pub replayed: bool,
}

/// The same, with what is shown of the org after it. The view is never remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<T, V> {
    pub outcome: T,
    pub replayed: bool,
    pub view: V,
}

impl<T> Done<T> {
    pub fn show<V>(self, view: V) -> Shown<T, V> {
        Shown { outcome: self.outcome, replayed: self.replayed, view }
    }
}

/// A plain Acquire that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    pub decision: DecisionId,
    pub hold: Option<Hold>,
    pub fail_open: Vec<FailOpen>,
}

/// A session that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub decision: DecisionId,
    pub grant: SessionGrant,
    pub fail_open: Vec<FailOpen>,
}

/// An upstream account that was picked. `decision` is of the gates of the org, where they were asked as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    pub account: AccountId,
    pub decision: Option<DecisionId>,
    pub hold: Option<Hold>,
    pub fail_open: Vec<FailOpen>,
}

/// A reservation that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub reservation: DecisionId,
    pub how: Settlement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    pub expires_at: Millis,
}

/// 0 = not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    pub continuations: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    pub increment: u64,
    pub reset: bool,
    pub disputed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    pub was_frozen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSet;

/// Milliseconds that a heartbeat booked, and that it reported and were not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beaten {
    pub booked: u64,
    pub disputed: u64,
}

/// The session that ended, by the decision that admitted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnded {
    pub decision: DecisionId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfigured;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeReported {
    pub outcome: Upstream,
    /// The account is in the pool.
    pub known: bool,
}

/// An outcome that is remembered under a request id, so that it can be answered again.
pub trait Remembered: Clone + Into<Outcome> {
    /// `None` where it is the outcome of another kind of call.
    fn of(outcome: &Outcome) -> Option<Self>;
}

macro_rules! outcomes {
    ($($name:ident),* $(,)?) => {
        /// Any outcome, as the journal keeps it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Outcome {
            $($name($name),)*
        }

        $(
            impl From<$name> for Outcome {
                fn from(outcome: $name) -> Self {
                    Self::$name(outcome)
                }
            }

            impl Remembered for $name {
                fn of(outcome: &Outcome) -> Option<Self> {
                    if let Outcome::$name(outcome) = outcome { Some(outcome.clone()) } else { None }
                }
            }
        )*
    };
}

outcomes! {
    Admitted,
    Started,
    Picked,
    Settled,
    Extended,
    Resumed,
    Recorded,
    Reported,
    Frozen,
    BudgetSet,
    Beaten,
    SessionEnded,
    PoolConfigured,
    OutcomeReported,
}

impl Outcome {
    /// What its reply promised.
    pub fn promise(&self) -> Promise {
        match self {
            Self::Admitted(Admitted { hold: None, .. }) | Self::Resumed(_) => Promise::WrittenBehind,
            Self::Admitted(Admitted { hold: Some(_), .. })
            | Self::Started(_)
            | Self::Picked(_)
            | Self::Settled(_)
            | Self::Extended(_)
            | Self::Recorded(_)
            | Self::Reported(_)
            | Self::Frozen(_)
            | Self::BudgetSet(_)
            | Self::Beaten(_)
            | Self::SessionEnded(_)
            | Self::PoolConfigured(_)
            | Self::OutcomeReported(_) => Promise::Durable,
        }
    }
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
