//! What an operator gives back.

use crate::domain::{
    ids::{Amounts, DecisionId},
    refund::Charge,
    request::Idempotency,
    scopes::Scopes,
    window::Millis,
};

/// Usage that is to count no more, where it counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// What is given back.
    pub of: RefundOf,
    /// Names the call.
    pub idempotency: Idempotency,
}

/// Which usage that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOf {
    /// Everything that one decision has charged.
    Decision {
        /// The decision.
        id: DecisionId,
        /// What the node remembers of it; the org's own record stands over it.
        recent: Option<Box<Charge>>,
    },
    /// Amounts that were used in these scopes, in the hour of UTC that a time lies in.
    Usage {
        /// As the charge named them; none is the org itself.
        scopes: Scopes,
        /// At most, in the units of their meters.
        amounts: Amounts,
        /// `None` = now.
        at: Option<Millis>,
    },
}
