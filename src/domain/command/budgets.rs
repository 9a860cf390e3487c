//! What is asked about limits that are set at run time.

use crate::domain::{
    ids::Scope,
    request::{Idempotency, Rpc},
};

/// Sets or clears limits on spend of a scope, from the next command on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetBudget {
    /// Empty is the org itself.
    pub scope: Scope,
    /// Nothing of what was set before stays.
    pub replace: bool,
    /// Micro-USD by the name of a period; `None` clears.
    pub periods: Vec<(&'static str, Option<u64>)>,
    /// Refused where the budget has another version.
    pub expected_version: Option<u64>,
    /// The request id, with what the call means.
    pub idempotency: Idempotency,
}

impl SetBudget {
    pub(in crate::domain) fn rpc(&self) -> Rpc {
        if self.replace { Rpc::ReplaceBudget } else { Rpc::UpdateBudget }
    }
}
