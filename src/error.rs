//! Why a call was not carried out, from the actors up to the fronts.
//!
//! None of these is a verdict about a limit; `wire::status` is the one table to gRPC and HTTP.

use std::fmt;

use crate::{
    bounds::Bound,
    domain::{ids::OrgId, input::InputError, refusal::OrgError},
    ports::StoreFault,
};

/// Why no decision was made, or a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceError {
    /// A field of the request is not allowed.
    Input(InputError),
    /// The state of the org does not permit the call.
    Org(OrgError),
    /// The store has failed, and nothing was recorded.
    Store(StoreFault),
    /// Shed before anything happened: too many calls in flight, of the org or of the node.
    OrgBusy {
        /// How many calls of one org may be in flight.
        most: u32,
    },
    /// Shed before anything happened: too many calls of all orgs in flight.
    NodeBusy {
        /// How many calls of the node may be in flight.
        most: u32,
    },
    /// No answer in time; the command may or may not have been carried out.
    TimedOut,
    /// The actor ended before it answered; the command may or may not have been carried out.
    Interrupted,
    /// The answer was not that of the command: a defect here, never the caller's.
    Bug,
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
            Self::OrgBusy { most } => {
                let bound = Bound::org_in_flight;
                write!(
                    f,
                    "this org has {most} calls in flight, as many as {bound} allows; this is overload, not a quota"
                )
            }
            Self::NodeBusy { most } => {
                let bound = Bound::node_in_flight;
                write!(
                    f,
                    "this node has {most} calls in flight, as many as {bound} allows; this is overload, not a quota"
                )
            }
            Self::TimedOut => {
                f.write_str("no answer in time; the call may have been carried out: retry with the same request_id")
            }
            Self::Interrupted => {
                f.write_str("interrupted; the call may have been carried out: retry with the same request_id")
            }
            Self::Bug => {
                f.write_str("an internal error; the call may have been carried out: retry with the same request_id")
            }
            Self::Draining => f.write_str("this node is draining and admits nothing new; ask another or try again"),
            Self::UnknownOrg(org) => write!(f, "nothing is kept of org {org}"),
        }
    }
}

impl std::error::Error for ServiceError {}
