//! What makes a call safe to repeat: its rpc, its id, and a fingerprint of what it means.

use super::ids::RequestId;

/// The namespace of a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rpc {
    Acquire,
    Commit,
    Release,
    Extend,
    Resume,
    Record,
    ReportCumulative,
    Freeze,
    Unfreeze,
    UpdateBudget,
    ReplaceBudget,
    StartSession,
    Heartbeat,
    EndSession,
    ConfigurePool,
    Pick,
    ReportOutcome,
}

impl Rpc {
    pub fn name(self) -> &'static str {
        match self {
            Self::Acquire => "Acquire",
            Self::Commit => "Commit",
            Self::Release => "Release",
            Self::Extend => "Extend",
            Self::Resume => "Resume",
            Self::Record => "Record",
            Self::ReportCumulative => "ReportCumulative",
            Self::Freeze => "Freeze",
            Self::Unfreeze => "Unfreeze",
            Self::UpdateBudget => "UpdateBudget",
            Self::ReplaceBudget => "ReplaceBudget",
            Self::StartSession => "StartSession",
            Self::Heartbeat => "Heartbeat",
            Self::EndSession => "EndSession",
            Self::ConfigurePool => "ConfigurePool",
            Self::Pick => "Pick",
            Self::ReportOutcome => "ReportOutcome",
        }
    }
}

/// A request id with the fingerprint of the body it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub id: RequestId,
    /// Of everything else in the request.
    pub fingerprint: u64,
}
