//! What makes a call safe to repeat: its rpc, its id, and a fingerprint of what it means.

use super::{ids::RequestId, promise::Promise};

/// The namespace of a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rpc {
    /// GateService/Acquire, also as an item of a batch or stream.
    Acquire,
    /// GateService/Commit.
    Commit,
    /// GateService/Release.
    Release,
    /// GateService/Extend.
    Extend,
    /// GateService/Resume.
    Resume,
    /// GateService/Record.
    Record,
    /// GateService/ReportCumulative.
    ReportCumulative,
    /// AdminService/Freeze.
    Freeze,
    /// AdminService/Unfreeze.
    Unfreeze,
    /// BudgetService/UpdateBudget.
    UpdateBudget,
    /// BudgetService/ReplaceBudget.
    ReplaceBudget,
    /// SessionService/StartSession.
    StartSession,
    /// SessionService/Heartbeat; also what a session reports to the billing provider.
    Heartbeat,
    /// SessionService/EndSession.
    EndSession,
    /// PoolService/ConfigurePool.
    ConfigurePool,
    /// PoolService/Pick.
    Pick,
    /// PoolService/ReportOutcome.
    ReportOutcome,
    /// PoolService/ClearAccount.
    ClearAccount,
    /// AdminService/SetOverride.
    SetOverride,
    /// AdminService/ClearOverride.
    ClearOverride,
    /// AdminService/SetPlan.
    SetPlan,
    /// AdminService/SetExemption.
    SetExemption,
    /// AdminService/Refund.
    Refund,
    /// AdminService/Grant.
    Grant,
    /// AdminService/RevokeGrant.
    RevokeGrant,
    /// AdminService/ResetWindow.
    ResetWindow,
    /// AdminService/RenameOrg.
    RenameOrg,
}

impl Rpc {
    /// Every namespace.
    pub const ALL: &[Self] = &[
        Self::Acquire,
        Self::Commit,
        Self::Release,
        Self::Extend,
        Self::Resume,
        Self::Record,
        Self::ReportCumulative,
        Self::Freeze,
        Self::Unfreeze,
        Self::UpdateBudget,
        Self::ReplaceBudget,
        Self::StartSession,
        Self::Heartbeat,
        Self::EndSession,
        Self::ConfigurePool,
        Self::Pick,
        Self::ReportOutcome,
        Self::ClearAccount,
        Self::SetOverride,
        Self::ClearOverride,
        Self::SetPlan,
        Self::SetExemption,
        Self::Refund,
        Self::Grant,
        Self::RevokeGrant,
        Self::ResetWindow,
        Self::RenameOrg,
    ];

    /// The name of the rpc; part of the keys of exported usage, so it never changes.
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
            Self::ClearAccount => "ClearAccount",
            Self::SetOverride => "SetOverride",
            Self::ClearOverride => "ClearOverride",
            Self::SetPlan => "SetPlan",
            Self::SetExemption => "SetExemption",
            Self::Refund => "Refund",
            Self::Grant => "Grant",
            Self::RevokeGrant => "RevokeGrant",
            Self::ResetWindow => "ResetWindow",
            Self::RenameOrg => "RenameOrg",
        }
    }
}

impl Rpc {
    /// What a reply to a call promises that has no way to promise less.
    pub(super) fn promise(self) -> Promise {
        if self == Self::Resume { Promise::WrittenBehind } else { Promise::Durable }
    }
}

/// Version of the lists of fields that fingerprints are taken of, see `wire::requests::meaning`. A call that sets a
/// field which was added later has the version of that field.
pub const VERSION: u8 = 2;
/// The last version that this build knows.
const LATEST: u8 = 5;

/// The upper half of every fingerprint, with the version added: `tgf`, and the version.
const MARK: u64 = 0x7467_6600;

/// A request id with the fingerprint of what its call means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's name for the call.
    pub id: RequestId,
    /// The mark of the version, and 32 bits of a hash.
    pub fingerprint: u64,
}

impl Idempotency {
    /// `meaning` is a hash of everything that the call means.
    pub fn new(id: RequestId, meaning: u64) -> Self {
        Self::of_version(VERSION, id, meaning)
    }

    /// The same of a call that sets a field which was added with `version`.
    pub fn of_version(version: u8, id: RequestId, meaning: u64) -> Self {
        let mark = MARK | u64::from(version);
        Self { id, fingerprint: (mark << 32) | (meaning & u64::from(u32::MAX)) }
    }

    /// Whether `asked`, which has the same id, is a retry of this call.
    ///
    /// Fingerprints of different versions cannot be compared, so between versions the id alone decides: a
    /// retry after an upgrade, or through a node of another version, is answered again. Only what does not set
    /// a field that was set before, and that this build knows, is certainly another call. Version 1 hashed
    /// the whole request and wrote no mark. An id is remembered for a day at most, so a day after an upgrade
    /// every fingerprint has the mark.
    pub fn is_repeated_by(&self, asked: &Self) -> bool {
        if self.mark() == asked.mark() {
            return self.fingerprint == asked.fingerprint;
        }
        let (of_this, of_asked) = (self.version(), asked.version());
        !(of_this <= Some(LATEST) && of_this > of_asked && of_asked.is_some())
    }

    fn mark(&self) -> u64 {
        self.fingerprint >> 32
    }

    /// `None` before version 2.
    fn version(&self) -> Option<u8> {
        let version = self.mark().checked_sub(MARK)?;
        u8::try_from(version).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fingerprint: u64) -> Idempotency {
        Idempotency { id: RequestId::parse("request_id", "r").unwrap(), fingerprint }
    }

    fn of(meaning: u64) -> Idempotency {
        Idempotency::new(asked(0).id, meaning)
    }

    #[test]
    fn within_a_version_the_meaning_decides_and_between_versions_the_id() {
        assert!(of(7).is_repeated_by(&of(7)));
        assert!(!of(7).is_repeated_by(&of(8)), "R-PIPE-6");
        for other in [0, 0xa3b1_c2d3_0000_0007, 0x7467_6606_0000_0008] {
            assert!(asked(other).is_repeated_by(&of(7)), "{other:x}: written by another version");
            assert!(of(7).is_repeated_by(&asked(other)), "{other:x}: asked through another version");
        }
    }

    #[test]
    fn a_call_without_a_field_that_was_set_before_is_another_call() {
        let with_it = Idempotency::of_version(LATEST, asked(0).id, 7);
        assert!(with_it.is_repeated_by(&with_it));
        assert!(!with_it.is_repeated_by(&of(7)), "R-PIPE-6");
        assert!(of(7).is_repeated_by(&with_it), "a node before may have left the field out");
    }

    #[test]
    fn the_stored_form_of_a_fingerprint_is_for_ever() {
        assert_eq!(of(0xffff_ffff_1234_5678).fingerprint, 0x7467_6602_1234_5678);
    }
}
