//! What an org is called: a name of its own, at whichever id that is.

use crate::domain::{
    ids::{OrgId, Reason},
    request::Idempotency,
};

/// The org is called so from now on, and by its former names as well. The name was claimed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The new name, or the id of the org.
    pub to: OrgId,
    /// For the log; may be empty.
    pub reason: Reason,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

/// From now on the id that is asked leads to this org. Refused where anything is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimName {
    /// The id of an org, and no name.
    pub of: OrgId,
}

/// The id that is asked leads nowhere any more, if it has led to this org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeName {
    /// The id of an org.
    pub of: OrgId,
}

/// What an org is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetNames;

/// The names of an org that was purged are free: it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgetNames;
