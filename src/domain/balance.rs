//! What a billing provider says of an org.
//!
//! *Not metered is not exhausted*: unlimited and overage-allowed balances never deny, and a feature
//! that the plan does not name is a verdict of its own, with a policy of its own.

use super::{gate::Cause, window::Millis};

/// The provider's word on one balance, obtained outside the org's actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalanceVerdict {
    /// The balance lets the org execute.
    Allowed(Balance),
    /// It does not, for this reason.
    Denied(DenyReason, Balance),
    /// No word: the gate is indeterminate.
    Unknown(Cause),
}

impl BalanceVerdict {
    /// Known without asking: the org's plan does not name the feature.
    pub fn not_included() -> Self {
        Self::Denied(DenyReason::NoEntitlement, Balance::default())
    }
}

/// A balance as last seen. Amounts are whole units, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// What the plan includes in one period; `None` = not said.
    pub granted: Option<u64>,
    /// What is left of it; `None` = not said.
    pub remaining: Option<u64>,
    /// `remaining` means nothing.
    pub unlimited: bool,
    /// Usage beyond `remaining` is charged for, not refused.
    pub overage: bool,
    /// What was said holds until then at most.
    pub resets_at: Option<Millis>,
    /// The provider's own state, not an estimate from something that lags behind it. Only an
    /// authoritative word is remembered.
    pub authoritative: bool,
    /// Why this is the last answer and no new one: the provider could not be asked again. `None` = it is new,
    /// or still holds.
    pub stale: Option<Cause>,
}

impl Balance {
    /// Units that bound what may be admitted; `None` where nothing does.
    pub fn bound(&self) -> Option<u64> {
        self.remaining.filter(|_| !self.unlimited && !self.overage)
    }
}

/// Why a balance does not let the org execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenyReason {
    /// What the plan includes is used up.
    Exhausted,
    /// Overage is allowed and has met its cap.
    SpendCap,
    /// A usage limit is met although a balance remains.
    UsageCap,
    /// The plan does not include the feature, or there is no plan: not metered, which is not exhausted.
    NoEntitlement,
    /// The provider denies because a payment is due.
    PastDue,
}

impl DenyReason {
    /// As operators see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::SpendCap => "spend_cap",
            Self::UsageCap => "usage_cap",
            Self::NoEntitlement => "no_entitlement",
            Self::PastDue => "past_due",
        }
    }
}
