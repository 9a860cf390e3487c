//! What was answered to a call, kept so that it can be answered again.

mod control;

use super::{
    decision::{Hold, SessionGrant},
    gate::FailOpen,
    ids::{AccountId, Amounts, DecisionId, Meter},
    promise::Promise,
    refund::Charge,
    request::{Idempotency, Rpc},
    scopes::Scopes,
    upstream::Upstream,
    window::Millis,
};
use crate::bounds::{LONG_MEMORY_MS, SHORT_MEMORY_MS};

pub use super::refund::{GivenBack, Refunded};
pub use control::{Granted, OverrideSet, Renamed};

/// How a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// By a Commit, which recorded what was used.
    Committed,
    /// By a Release, which recorded nothing.
    Released,
    /// By itself, when its time to live was over.
    Expired,
    /// By a Refund, which gave back what its decision had charged.
    Refunded,
}

/// What a call was answered, and whether it was answered before under the same request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    /// What was answered, as it is remembered.
    pub outcome: T,
    /// It was answered before, and nothing happened now.
    pub replayed: bool,
}

/// The same, with what is shown of the org after it. The view is never remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<T, V> {
    /// What was answered, as it is remembered.
    pub outcome: T,
    /// It was answered before, and nothing happened now.
    pub replayed: bool,
    /// The org as it is now, also in a replay.
    pub view: V,
}

impl<T> Done<T> {
    /// Adds what is shown of the org now.
    pub fn show<V>(self, view: V) -> Shown<T, V> {
        Shown { outcome: self.outcome, replayed: self.replayed, view }
    }
}

/// A plain Acquire that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Names the admission.
    pub decision: DecisionId,
    /// What was reserved; `None` = nothing.
    pub hold: Option<Hold>,
    /// Gates that were let through unevaluated.
    pub fail_open: Vec<FailOpen>,
}

/// A session that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Names the admission, and the reservation of the first slice.
    pub decision: DecisionId,
    /// Slice, heartbeat and expiry.
    pub grant: SessionGrant,
    /// Gates that were let through unevaluated.
    pub fail_open: Vec<FailOpen>,
}

/// An upstream account that was picked. `decision` is of the gates of the org, where they were asked as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The account that was charged.
    pub account: AccountId,
    /// `None` = the gates of the org were not asked.
    pub decision: Option<DecisionId>,
    /// What was reserved with it; `None` = nothing.
    pub hold: Option<Hold>,
    /// Gates that were let through unevaluated.
    pub fail_open: Vec<FailOpen>,
}

/// A reservation that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The decision that reserved.
    pub reservation: DecisionId,
    /// How it ended.
    pub how: Settlement,
}

/// A reservation that ended with what was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The decision that reserved.
    pub reservation: DecisionId,
    /// It had expired.
    pub late: bool,
    /// Where it was reserved and is recorded.
    pub scopes: Scopes,
    /// Recorded as usage, in the units of the meters.
    pub booked: Amounts,
    /// What had been reserved.
    pub reserved: Amounts,
}

impl Committed {
    /// What of the hold was not used and was given back. One that had expired held nothing.
    pub fn released(&self) -> Amounts {
        if self.late { Amounts::new() } else { beyond(&self.reserved, &self.booked) }
    }

    /// What was used beyond what had been reserved.
    pub fn overrun(&self) -> Amounts {
        beyond(&self.booked, &self.reserved)
    }
}

/// By how much each amount exceeds the other of its meter; what does not is left out.
fn beyond(amounts: &Amounts, others: &Amounts) -> Amounts {
    let of = |meter: &Meter| others.iter().find(|(named, _)| named == meter).map_or(0, |(_, amount)| *amount);
    let excess = amounts.iter().map(|(meter, amount)| (meter.clone(), amount.saturating_sub(of(meter))));
    excess.filter(|(_, amount)| *amount > 0).collect()
}

/// A reservation that holds longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    /// When it ends by itself now.
    pub expires_at: Millis,
}

/// 0 = not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Continuations of the execution, this one included.
    pub continuations: u64,
}

/// Usage that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded;

/// What a total of a cumulative source came to, in the unit of its meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// What was recorded as usage.
    pub increment: u64,
    /// The source counts from 0 again: a new incarnation, or a lower total.
    pub reset: bool,
    /// What of the total is above what is believed; it is not recorded as usage.
    pub disputed: u64,
}

/// A freeze that was set or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// The org was frozen before.
    pub was_frozen: bool,
}

/// A budget that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSet;

/// Milliseconds that a heartbeat booked, and that it reported and were not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beaten {
    /// Recorded as compute.
    pub booked: u64,
    /// Reported and not recorded: more than one heartbeat may record.
    pub disputed: u64,
}

/// The session that ended, by the decision that admitted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnded {
    /// Names the session, also after its id was used again.
    pub decision: DecisionId,
}

/// A pool that was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfigured;

/// An account of which evidence and route were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountCleared {
    /// There was something to forget.
    pub was_held: bool,
}

/// A report of how a call of an upstream account went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeReported {
    /// What its status and text were taken for.
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
        #[allow(missing_docs, reason = "each variant has the struct of its name")]
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
        )*
    };
}

macro_rules! remembered {
    ($($name:ident),* $(,)?) => {
        $(
            impl Remembered for $name {
                fn of(outcome: &Outcome) -> Option<Self> {
                    if let Outcome::$name(outcome) = outcome { Some(outcome.clone()) } else { None }
                }
            }
        )*
    };
}

/// Older entries say no more than that it was committed.
impl Remembered for Committed {
    fn of(outcome: &Outcome) -> Option<Self> {
        if let Outcome::Committed(committed) = outcome {
            return Some(committed.clone());
        }
        let (reservation, how) = outcome.settlement()?;
        (how == Settlement::Committed).then(|| Self {
            reservation,
            late: false,
            scopes: Scopes::org(),
            booked: Amounts::new(),
            reserved: Amounts::new(),
        })
    }
}

remembered! {
    Admitted, Started, Picked, Settled, Extended, Resumed, Recorded, Reported, Frozen, BudgetSet, Beaten, SessionEnded,
    PoolConfigured, OutcomeReported, AccountCleared, OverrideSet, Refunded, Granted, Renamed,
}

outcomes! {
    Admitted,
    Started,
    Picked,
    Settled,
    Committed,
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
    AccountCleared,
    OverrideSet,
    Refunded,
    Granted,
    Renamed,
}

impl Outcome {
    /// The reservation that ended with it, and how.
    pub fn settlement(&self) -> Option<(DecisionId, Settlement)> {
        if let Self::Settled(Settled { reservation, how }) = self {
            return Some((*reservation, *how));
        }
        if let Self::Committed(Committed { reservation, .. }) = self {
            return Some((*reservation, Settlement::Committed));
        }
        if let Self::Refunded(Refunded { decision: Some(decision), .. }) = self {
            return Some((*decision, Settlement::Refunded));
        }
        None
    }

    /// What it takes in a store, in bytes, with its numbers as long as they usually are.
    pub fn bytes(&self) -> usize {
        const ID: usize = 18;
        const TIME: usize = 9;
        const FAIL_OPEN: usize = 2;
        let hold = |hold: &Option<Hold>| if hold.is_some() { ID + TIME } else { 0 };
        match self {
            Self::Admitted(Admitted { hold: held, fail_open, .. }) => ID + hold(held) + FAIL_OPEN * fail_open.len(),
            Self::Started(Started { fail_open, .. }) => ID + 2 * TIME + FAIL_OPEN * fail_open.len(),
            Self::Picked(Picked { account, hold: held, fail_open, .. }) => {
                ID + account.as_str().len() + hold(held) + FAIL_OPEN * fail_open.len()
            }
            Self::Committed(Committed { scopes, booked, reserved, .. }) => {
                let amounts = booked.iter().chain(reserved).map(|(meter, _)| meter.as_str().len() + TIME);
                ID + scopes.text().len() + amounts.sum::<usize>()
            }
            Self::Refunded(Refunded { scopes, amounts, .. }) => {
                let amounts = amounts.iter().map(|of| of.meter.as_str().len() + 2 * TIME);
                ID + scopes.text().len() + amounts.sum::<usize>()
            }
            Self::Renamed(Renamed { before }) => before.as_str().len(),
            Self::Settled(_) | Self::SessionEnded(_) => ID,
            Self::Extended(_) | Self::Resumed(_) | Self::Reported(_) | Self::Beaten(_) | Self::Granted(_) => TIME,
            Self::Recorded(_)
            | Self::Frozen(_)
            | Self::BudgetSet(_)
            | Self::PoolConfigured(_)
            | Self::OutcomeReported(_)
            | Self::AccountCleared(_)
            | Self::OverrideSet(_) => 1,
        }
    }

    /// What its reply promised.
    pub fn promise(&self) -> Promise {
        match self {
            Self::Admitted(Admitted { hold: None, .. }) | Self::Resumed(_) => Promise::WrittenBehind,
            Self::Admitted(Admitted { hold: Some(_), .. })
            | Self::Started(_)
            | Self::Picked(_)
            | Self::Settled(_)
            | Self::Committed(_)
            | Self::Extended(_)
            | Self::Recorded(_)
            | Self::Reported(_)
            | Self::Frozen(_)
            | Self::BudgetSet(_)
            | Self::Beaten(_)
            | Self::SessionEnded(_)
            | Self::PoolConfigured(_)
            | Self::OutcomeReported(_)
            | Self::AccountCleared(_)
            | Self::OverrideSet(_)
            | Self::Refunded(_)
            | Self::Granted(_)
            | Self::Renamed(_) => Promise::Durable,
        }
    }
}

/// One remembered outcome. Without a request id it only names a settled reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When the call was carried out.
    pub at: Millis,
    /// What was called: request ids are unique per rpc.
    pub rpc: Rpc,
    /// `None` = it is found by its reservation alone.
    pub idempotency: Option<Idempotency>,
    /// Remembered for a day instead of ten minutes.
    pub long: bool,
    /// What a retry is answered.
    pub outcome: Outcome,
    /// What the decision had charged that it settles: for the row of how that ended, and kept nowhere else.
    pub charge: Option<Box<Charge>>,
}

impl Entry {
    /// When it is forgotten.
    pub fn expires_at(&self) -> Millis {
        self.at.saturating_add(if self.long { LONG_MEMORY_MS } else { SHORT_MEMORY_MS })
    }
}
