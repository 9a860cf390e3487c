//! Usage on its way to the billing provider: the outbox of an org.
//!
//! A row is written in the commit of the ledger entry it reports, under a key that depends on nothing
//! but what it stands for, and leaves when the provider has it. A repeat after a crash carries the
//! same key, so the provider counts it once.

use std::{fmt, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    gate::Cause,
    ids::{DecisionId, Meter, OrgId},
    input::InputError,
    request::Rpc,
    scopes::Scopes,
    window::Millis,
};
use crate::bounds::{EXPORT_BACKOFF_MAX_MS, EXPORT_BACKOFF_MS, EXPORT_GRACE_MS, EXPORT_RETRY_MS};

/// Names one amount of usage for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxKey(pub u128);

impl OutboxKey {
    /// The first 128 bits of SHA-256 over the parts, each with its length: environment, org, scopes as one
    /// text, meter, rpc, and the request id or else the decision id. A completion has none, whatever scopes
    /// told it; what a session books is named by its decision and all that it has booked.
    pub fn of(environment: &str, org: &OrgId, scopes: &Scopes, meter: &Meter, rpc: Rpc, id: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [environment, org.as_str(), &scopes.text(), meter.as_str(), rpc.name(), id] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte)))
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        let id = DecisionId::parse(field, text);
        id.map(|id| Self(id.0)).map_err(|_| InputError::new(field, text, "32 lower-case hexadecimal digits"))
    }
}

impl fmt::Display for OutboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// As it is written everywhere else.
impl fmt::Debug for OutboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The provider has it now.
    Delivered,
    /// The provider had it already.
    Duplicate,
    /// Not now; not before `after` where the provider says so.
    Retry {
        /// Why it was not delivered.
        cause: Cause,
        /// How long the provider asked to wait; `None` = it did not say.
        after: Option<Duration>,
    },
    /// Never like this: an operator has to look.
    Rejected(Cause),
    /// Nothing was sent, and nothing of the row has changed: reports fail just now, of the org or of everybody.
    NotTried {
        /// Why there was no attempt.
        cause: Cause,
        /// How long there will be none; zero where that is not known.
        left: Duration,
    },
}

/// Why a row is no longer tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadCause {
    /// The provider does not accept it.
    Rejected,
    /// It was tried for as long as the provider recognises repeats.
    Expired,
    /// The outbox was full; amounts of the same scopes and meter are added up in one row.
    Full,
}

impl DeadCause {
    /// As operators see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Full => "full",
        }
    }
}

/// One row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The same for every attempt.
    pub key: OutboxKey,
    /// Where the usage was recorded, besides the org.
    pub scopes: Scopes,
    /// What was used.
    pub meter: Meter,
    /// In the unit of the meter.
    pub units: u64,
    /// When it was booked.
    pub at: Millis,
    /// Attempts since then count towards the time they may take: `at`, or when an operator asked for a replay.
    pub tried_since: Millis,
    /// Attempts in which something was sent.
    pub attempts: u32,
    /// Not tried before, once it has been tried.
    pub due_at: Millis,
    /// Why the last attempt failed; `None` = none has.
    pub last_error: Option<Cause>,
    /// Set aside for an operator.
    pub dead: Option<DeadCause>,
    /// It corrects what was reported: its units are given back.
    pub is_refund: bool,
}

impl OutboxRow {
    /// A row that was not tried yet; it is due 30 seconds after `at`, if its commit did not deliver it.
    pub fn new(key: OutboxKey, scopes: Scopes, meter: Meter, units: u64, at: Millis) -> Self {
        // It goes out with the commit; the timer is for what got lost on the way.
        let due_at = at.saturating_add(EXPORT_GRACE_MS);
        Self {
            key,
            scopes,
            meter,
            units,
            at,
            tried_since: at,
            attempts: 0,
            due_at,
            last_error: None,
            dead: None,
            is_refund: false,
        }
    }

    /// Whether an attempt at `at` could be one that the provider takes for new usage.
    pub fn is_late(&self, at: Millis) -> bool {
        at >= self.tried_since.saturating_add(EXPORT_RETRY_MS)
    }

    /// As it stands after an attempt; a delivered one is as it was.
    #[must_use]
    pub fn after(mut self, delivery: Delivery, now: Millis) -> Self {
        match delivery {
            Delivery::Delivered | Delivery::Duplicate | Delivery::NotTried { .. } => return self,
            Delivery::Rejected(cause) => {
                self.attempts = self.attempts.saturating_add(1);
                self.last_error = Some(cause);
                self.dead = Some(DeadCause::Rejected);
            }
            Delivery::Retry { cause, after } => {
                self.attempts = self.attempts.saturating_add(1);
                self.last_error = Some(cause);
                self.due_at = now.saturating_add(self.backoff().max(pause(after.unwrap_or_default())));
                if self.is_late(self.due_at) {
                    self.dead = Some(DeadCause::Expired);
                }
            }
        }
        self
    }

    /// When it is asked for again after it was not tried for `left`: not at once where nobody knows how long that is.
    pub fn asked_again_at(&self, left: Duration, now: Millis) -> Millis {
        now.saturating_add(self.spread(EXPORT_BACKOFF_MS).max(pause(left)))
    }

    /// Doubles with every attempt up to a maximum; between half of it and all of it, by the key, so
    /// that rows which failed together do not come back together.
    fn backoff(&self) -> Millis {
        let doublings = self.attempts.saturating_sub(1).min(20);
        self.spread((EXPORT_BACKOFF_MS << doublings).min(EXPORT_BACKOFF_MAX_MS))
    }

    fn spread(&self, full: Millis) -> Millis {
        let spread = u64::try_from((self.key.0 >> (self.attempts % 64)) & 0xffff).unwrap_or(0);
        full / 2 + full / 2 * spread / 0xffff
    }
}

/// A pause that somebody asks for, as far as it is granted.
fn pause(asked: Duration) -> Millis {
    u64::try_from(asked.as_millis()).unwrap_or(u64::MAX).min(EXPORT_BACKOFF_MAX_MS)
}
