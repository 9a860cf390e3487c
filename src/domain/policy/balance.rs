//! What an operator decided about the balance gate, the export of usage, and who is exempt from the backstop.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::OnIndeterminate;
use crate::domain::{
    balance::{BalanceVerdict, DenyReason},
    gate::Cause,
    ids::Meter,
    limit::Limit,
    window::{Calendar, Window},
};

/// Where an org's balance is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BalanceSource {
    /// Nothing is metered: the gate always allows.
    #[default]
    None,
    /// In the org's own ledger, against what the plan includes.
    Included {
        /// Executions per calendar period.
        limit: Limit,
        /// More than the amount is counted and let through.
        overage: bool,
    },
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
        Self::Included { limit: Self::limit(amount, period), overage }
    }

    /// What a plan includes, as a limit of the org's own ledger.
    pub fn limit(amount: Option<u64>, period: Calendar) -> Limit {
        Limit::named(Self::LIMIT, Meter::executions(), Window::Calendar(period), amount)
    }
}

/// When usage goes to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportWhen {
    /// Usage stays here.
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
    /// Where the balance is kept.
    pub source: BalanceSource,
    /// The feature is not in the org's plan.
    pub on_no_entitlement: OnIndeterminate,
    /// The provider does not know the org.
    pub on_unknown_customer: OnIndeterminate,
    /// Anything else that kept the provider from answering.
    pub on_indeterminate: OnIndeterminate,
    /// How long a denial stands beyond its time while the provider cannot answer; zero = not at all.
    pub deny_stale: Duration,
    /// Where an org gets more; empty says nothing.
    pub upgrade_url: Arc<str>,
    /// When usage goes to the provider.
    pub export: ExportWhen,
    /// Names the installation in the keys of exported usage.
    pub environment: Arc<str>,
    /// Meters that are exported, and the provider's name for each.
    pub features: Arc<BTreeMap<Meter, Arc<str>>>,
}

/// What a provider says of an org, and what follows from it for the org's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedBalance {
    /// What the provider says.
    pub verdict: BalanceVerdict,
    /// Whether the balance lets the org execute.
    pub allowed: bool,
    /// The key of the policy that says so; `None` where the provider does.
    pub decided_by: Option<&'static str>,
}

impl BalancePolicy {
    /// What follows from the provider's word for the calls of an org.
    pub fn judge(&self, verdict: BalanceVerdict) -> JudgedBalance {
        let cause = match verdict {
            BalanceVerdict::Allowed(_) => return JudgedBalance { verdict, allowed: true, decided_by: None },
            BalanceVerdict::Denied(DenyReason::NoEntitlement, _) => Cause::NoEntitlement,
            BalanceVerdict::Denied(..) => return JudgedBalance { verdict, allowed: false, decided_by: None },
            BalanceVerdict::Unknown(cause) => cause,
        };
        let (decides, key) = self.without_answer(cause);
        JudgedBalance { verdict, allowed: decides == OnIndeterminate::Allow, decided_by: Some(key) }
    }

    /// What happens to a call where there is no balance to judge it by, and the key that says so.
    pub fn without_answer(&self, cause: Cause) -> (OnIndeterminate, &'static str) {
        if cause == Cause::NoEntitlement {
            (self.on_no_entitlement, "billing.on_no_entitlement")
        } else if cause == Cause::UnknownCustomer {
            (self.on_unknown_customer, "billing.on_unknown_customer")
        } else {
            (self.on_indeterminate, "billing.on_indeterminate")
        }
    }

    /// Whether usage of this meter goes to the provider.
    pub fn exports(&self, meter: &Meter) -> bool {
        self.export != ExportWhen::Never && self.features.contains_key(meter)
    }
}

/// Whether the rate backstop spares an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exemption {
    /// The backstop counts it like any other.
    #[default]
    Never,
    /// The backstop does not count it.
    Always,
    /// Where the provider says that it pays. Asked only when the backstop is reached.
    IfPaying,
}
