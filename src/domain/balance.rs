//! What a billing provider says of an org, and what an operator wants done with it.
//!
//! *Not metered is not exhausted*: unlimited and overage-allowed balances never deny, and a feature
//! that the plan does not name is a verdict of its own, with a policy of its own.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    decision::Cause,
    ids::Meter,
    limit::{Limit, OnIndeterminate},
    window::{Calendar, Millis, Window},
};

/// The provider's word on one balance, obtained outside the org's actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalanceVerdict {
    Allowed(Balance),
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
    pub granted: Option<u64>,
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
}

impl Balance {
    /// Units that bound what may be admitted; `None` where nothing does.
    pub fn bound(&self) -> Option<u64> {
        self.remaining.filter(|_| !self.unlimited && !self.overage)
    }
}

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

/// Where an org's balance is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BalanceSource {
    /// Nothing is metered: the gate always allows.
    #[default]
    None,
    /// In the org's own ledger, against what the plan includes.
    Included { limit: Limit, overage: bool },
    /// Nowhere, though balances are kept: the plan does not include the feature.
    NotIncluded,
    /// At a provider that has to be asked.
    Provider,
}

impl BalanceSource {
    /// The name of the balance among an org's limits.
    pub const LIMIT: &'static str = "balance";

    /// `amount` executions per `period`, `None` = unlimited; with `overage` more than that is counted
    /// and let through.
    pub fn included(amount: Option<u64>, period: Calendar, overage: bool) -> Self {
        let limit = Limit::new(Meter::executions(), Window::Calendar(period), amount);
        Self::Included { limit: Limit { name: Self::LIMIT.into(), ..limit }, overage }
    }
}

/// When usage goes to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportWhen {
    #[default]
    Never,
    /// With the Commit, or the Record that names the decision.
    Completed,
    /// With the admission.
    Admitted,
}

/// What an operator decided about the balance gate and the export of usage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BalancePolicy {
    pub source: BalanceSource,
    /// The feature is not in the org's plan.
    pub on_no_entitlement: OnIndeterminate,
    /// The provider does not know the org.
    pub on_unknown_customer: OnIndeterminate,
    /// Anything else that kept the provider from answering.
    pub on_indeterminate: OnIndeterminate,
    /// Where an org gets more; empty says nothing.
    pub upgrade_url: Arc<str>,
    pub export: ExportWhen,
    /// Names the installation in the keys of exported usage.
    pub environment: Arc<str>,
    /// Meters that are exported, and the provider's name for each.
    pub features: Arc<BTreeMap<Meter, Arc<str>>>,
}

impl BalancePolicy {
    pub fn exports(&self, meter: &Meter) -> bool {
        self.export != ExportWhen::Never && self.features.contains_key(meter)
    }
}

/// Whether the rate backstop spares an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exemption {
    #[default]
    Never,
    Always,
    /// Where the provider says that it pays. Asked only when the backstop is reached.
    IfPaying,
}
