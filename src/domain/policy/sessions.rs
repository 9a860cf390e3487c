//! What an operator decided about sessions.

use crate::{
    bounds::SECOND_MS,
    domain::{limit::Origin, window::Millis},
};

/// How many sessions of an org may run, and how each is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    /// At once; `None` = unlimited.
    pub max: Option<u64>,
    /// How many run is reported and never denies.
    pub shadow: bool,
    /// Where that number comes from.
    pub origin: Origin,
    /// False only watches: usage accrues, and neither the number of sessions nor their quota denies.
    pub enforce: bool,
    /// Sessions stop without a grace when the quota is used up, and that is announced once.
    pub trial: bool,
    /// Compute that a start reserves; a session is not stopped before it has used it.
    pub first_slice: Millis,
    /// Time between two heartbeats.
    pub heartbeat: Millis,
    /// A session that missed so many, and then the grace, has expired.
    pub missed: u64,
    /// Time to save and end after a stop.
    pub grace: Millis,
    /// Most that one heartbeat books; what is beyond is disputed.
    pub clamp: Millis,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            max: None,
            shadow: false,
            origin: Origin::default(),
            enforce: true,
            trial: false,
            first_slice: 180 * SECOND_MS,
            heartbeat: 30 * SECOND_MS,
            missed: 3,
            grace: 30 * SECOND_MS,
            clamp: 300 * SECOND_MS,
        }
    }
}

impl SessionPolicy {
    /// From the last heartbeat of a session to its expiry, in milliseconds.
    pub fn lease(&self) -> Millis {
        self.missed.saturating_mul(self.heartbeat).saturating_add(self.grace)
    }
}
