//! What an operator sets at run time, for a while or until it is cleared.

use crate::domain::{
    ids::{Reason, Scope},
    request::{Idempotency, Rpc},
    rows::{OverrideSubject, Setting},
    window::Millis,
};

/// When something ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// So many milliseconds from now.
    After(Millis),
    /// At this instant of service time.
    At(Millis),
}

/// Sets or ends an override, from the next command on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOverride {
    /// Under which the request id is remembered.
    pub rpc: Rpc,
    /// Whose limit it is; empty is the org itself.
    pub scope: Scope,
    /// What it is about.
    pub subject: OverrideSubject,
    /// `None` ends what is set.
    pub setting: Option<Setting>,
    /// `None` = it does not end by itself.
    pub end: Option<End>,
    /// Refused where the override has another version; 0 = there is none yet.
    pub expected_version: Option<u64>,
    /// Kept with it; may be empty.
    pub reason: Reason,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// Adds to the amount of a limit, on top of what it has, from the next command on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose limit it is; empty is the org itself.
    pub scope: Scope,
    /// The limit.
    pub limit: OverrideSubject,
    /// At least 1, in the unit of its meter.
    pub amount: u64,
    /// For how long.
    pub lasts: Lasts,
    /// Kept with it; may be empty.
    pub reason: Reason,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// How long a grant lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// For a time, or until an instant.
    To(End),
    /// To the end of the window of its limit that runs now; of a rolling one, for its length.
    Window,
    /// Until usage over its limit has spent it, and at most until this end.
    UntilSpent(Option<End>),
}

/// Ends a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeGrant {
    /// The number of the grant.
    pub number: u64,
    /// For the log; may be empty.
    pub reason: Reason,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// From now on nothing of the running window of a limit is used; what is held stays held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetWindow {
    /// Whose limit it is; empty is the org itself.
    pub scope: Scope,
    /// The limit.
    pub limit: OverrideSubject,
    /// Kept with it; may be empty.
    pub reason: Reason,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// What is set for an org at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListOverrides {
    /// Also what has ended, as far as it is kept.
    pub ended: bool,
}

/// Denies every Acquire until an Unfreeze, or until it ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Shown in denials; may be empty.
    pub reason: Reason,
    /// `None` = an Unfreeze ends it.
    pub end: Option<End>,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// Ends a freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfreeze {
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}
