//! The errors that reach a caller: bad input, and why a call was not carried out.
//!
//! None of these is a verdict about a limit; `wire::status` is the one table to gRPC and HTTP.

use std::fmt;

use crate::{
    domain::{command::OrgError, ids::OrgId},
    ports::StoreFault,
};

/// How much of a refused value is repeated in the error.
const SHOWN_CHARS: usize = 64;

/// A field was refused. The value is escaped and cut, so it is safe in logs and terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    pub field: String,
    pub value: String,
    pub allowed: String,
}

impl InputError {
    pub fn new(field: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        let text = value.to_string();
        let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect();
        if text.chars().nth(SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        Self { field: field.into(), value: shown, allowed: allowed.into() }
    }

    /// The same error, seen from one level further out: `limit` becomes `items[3].limit`.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\" is not allowed: {}", self.field, self.value, self.allowed)
    }
}

impl std::error::Error for InputError {}

/// Why no decision was made, or a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceError {
    Input(InputError),
    Org(OrgError),
    Store(StoreFault),
    OrgBusy,
    NodeBusy,
    TimedOut,
    Interrupted,
    /// The node is going away and admits nothing new.
    Draining,
    /// Nothing is kept of this org.
    UnknownOrg(OrgId),
}

impl From<InputError> for ServiceError {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Org(error) => error.fmt(f),
            Self::Store(_) => f.write_str("the store has failed; nothing was recorded"),
            Self::OrgBusy => f.write_str("too many calls of this org are in flight; this is overload, not a quota"),
            Self::NodeBusy => f.write_str("too many calls are in flight on this node; this is overload, not a quota"),
            Self::TimedOut => {
                f.write_str("no answer in time; the call may have been carried out: retry with the same request_id")
            }
            Self::Interrupted => {
                f.write_str("interrupted; the call may have been carried out: retry with the same request_id")
            }
            Self::Draining => f.write_str("this node is draining and admits nothing new; ask another or try again"),
            Self::UnknownOrg(org) => write!(f, "nothing is kept of org {org}"),
        }
    }
}

impl std::error::Error for ServiceError {}
