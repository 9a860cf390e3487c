//! Who receives events outside of this program.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::domain::{
    events::{NodeEvent, Undelivered},
    ids::OrgId,
};

/// What is delivered at once.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// Of the log of an org.
    Org(&'a OrgId, &'a Undelivered),
    /// Of the node of this name.
    Node(&'a str, &'a NodeEvent),
}

/// Why something is not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDelivered {
    /// What came instead of a receipt.
    pub fault: DeliveryFault,
    /// The least that the receiver wants to be left alone.
    pub after: Option<Duration>,
}

/// What came instead of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryFault {
    /// Nothing, within the time there is.
    Timeout,
    /// No connection.
    Unreachable,
    /// Another status than 2xx.
    Refused(u16),
    /// There is no webhook any more.
    Unconfigured,
}

impl DeliveryFault {
    /// In metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused(_) => "refused",
            Self::Unconfigured => "unconfigured",
        }
    }
}

impl fmt::Display for DeliveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::Unreachable => f.write_str("it cannot be reached"),
            Self::Refused(status) => write!(f, "it answered {status}"),
            Self::Unconfigured => f.write_str("there is none"),
        }
    }
}

/// Takes events, each at least once, under one id however often it comes.
pub trait Webhook: Send + Sync + fmt::Debug {
    /// Tries once. `Ok` is a receipt.
    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), NotDelivered>>;
}
