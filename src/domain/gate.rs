//! The gates of the pipeline, and what each of them says of one call.
//!
//! A gate passes, denies, could not be evaluated, or has nothing to say. Everything that a decision tells
//! its caller follows from these reports; they stay with it, so that it can be explained.

use std::fmt;

use super::window::Millis;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    Allowed,
    RateLimited,
    BalanceExhausted,
    BudgetExceeded,
    QuotaExceeded,
    SessionLimitReached,
    AccountsExhausted,
    Frozen,
    Indeterminate,
}

impl Code {
    /// The HTTP status a plane may show for it.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Allowed => 200,
            Self::BalanceExhausted | Self::BudgetExceeded | Self::QuotaExceeded => 402,
            Self::Frozen => 403,
            Self::RateLimited | Self::SessionLimitReached => 429,
            Self::AccountsExhausted | Self::Indeterminate => 503,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::RateLimited => "RATE_LIMITED",
            Self::BalanceExhausted => "BALANCE_EXHAUSTED",
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::SessionLimitReached => "SESSION_LIMIT_REACHED",
            Self::AccountsExhausted => "ACCOUNTS_EXHAUSTED",
            Self::Frozen => "FROZEN",
            Self::Indeterminate => "INDETERMINATE",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One check of the pipeline, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    Freeze,
    /// Upstream accounts of the pool that a call names.
    Accounts,
    Rate,
    /// Sessions at once; asked by sessions alone, like the next.
    Concurrency,
    SessionQuota,
    Budgets,
    Balance,
    Reserve,
}

impl Gate {
    pub const ALL: [Self; 8] = [
        Self::Freeze,
        Self::Accounts,
        Self::Rate,
        Self::Concurrency,
        Self::SessionQuota,
        Self::Budgets,
        Self::Balance,
        Self::Reserve,
    ];

    /// Whether it holds the org to an amount. Where none of these can be evaluated, nothing bounds the org.
    pub fn bounds_org(self) -> bool {
        match self {
            Self::Rate | Self::Concurrency | Self::SessionQuota | Self::Budgets | Self::Balance => true,
            Self::Freeze | Self::Accounts | Self::Reserve => false,
        }
    }

    /// Whether its denials count as blocked: those of the backstop and of what comes behind it.
    pub fn is_blocking(self) -> bool {
        self >= Self::Rate
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Accounts => "accounts",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::SessionQuota => "session_quota",
            Self::Budgets => "budgets",
            Self::Balance => "balance",
            Self::Reserve => "reserve",
        }
    }
}

/// Why a gate could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    StoreFault,
    Timeout,
    /// The provider answered with a fault of its own (5xx).
    ProviderError,
    /// It could not be reached, or the connection broke.
    ProviderUnreachable,
    /// It let the call through without looking, and said so.
    ProviderFailedOpen,
    ProviderRateLimited,
    /// Our key is not accepted.
    ProviderUnauthorized,
    /// It does not accept what we ask.
    ProviderRefused,
    /// Its answer cannot be read.
    ProviderBadAnswer,
    /// It failed too often just now and is left alone for a while.
    CircuitOpen,
    /// Too many questions to it are under way.
    Overloaded,
    UnknownCustomer,
    UnknownFeature,
    /// The feature is not in the org's plan.
    NoEntitlement,
    /// A limit is stored that cannot be understood.
    MalformedLimit,
}

impl Cause {
    pub const ALL: [Self; 15] = [
        Self::StoreFault,
        Self::Timeout,
        Self::ProviderError,
        Self::ProviderUnreachable,
        Self::ProviderFailedOpen,
        Self::ProviderRateLimited,
        Self::ProviderUnauthorized,
        Self::ProviderRefused,
        Self::ProviderBadAnswer,
        Self::CircuitOpen,
        Self::Overloaded,
        Self::UnknownCustomer,
        Self::UnknownFeature,
        Self::NoEntitlement,
        Self::MalformedLimit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::StoreFault => "store_fault",
            Self::Timeout => "timeout",
            Self::ProviderError => "provider_error",
            Self::ProviderUnreachable => "provider_unreachable",
            Self::ProviderFailedOpen => "provider_failed_open",
            Self::ProviderRateLimited => "provider_rate_limited",
            Self::ProviderUnauthorized => "provider_unauthorized",
            Self::ProviderRefused => "provider_refused",
            Self::ProviderBadAnswer => "provider_bad_answer",
            Self::CircuitOpen => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::UnknownCustomer => "unknown_customer",
            Self::UnknownFeature => "unknown_feature",
            Self::NoEntitlement => "no_entitlement",
            Self::MalformedLimit => "malformed_limit",
        }
    }
}

/// A gate that was let through unevaluated, by its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailOpen {
    pub gate: Gate,
    pub cause: Cause,
}

/// Why a call is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub code: Code,
    pub retry_after: Millis,
    pub message: String,
}

/// What one gate says of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Nothing is configured for it, the call does not concern it, or another gate denied before it.
    #[default]
    Skipped,
    Passed,
    /// Known exhaustion.
    Denied(Box<Denial>),
    /// It could not be evaluated, and its policy let the call through.
    Unevaluated(Cause),
}

impl Verdict {
    /// Whether something is away that would have had an answer. That a plan does not name the feature is an
    /// answer: there is nothing to exhaust.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unevaluated(cause) if *cause != Cause::NoEntitlement)
    }
}

/// What every gate said of one call, in pipeline order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reports([Verdict; Gate::ALL.len()]);

impl Reports {
    /// What is remembered of an admission.
    pub fn of_admission(fail_open: &[FailOpen]) -> Self {
        let mut reports = Self::default();
        for open in fail_open {
            reports.set(open.gate, Verdict::Unevaluated(open.cause));
        }
        reports
    }

    pub fn of(&self, gate: Gate) -> &Verdict {
        &self.0[gate as usize]
    }

    pub fn set(&mut self, gate: Gate, verdict: Verdict) {
        self.0[gate as usize] = verdict;
    }

    pub fn iter(&self) -> impl Iterator<Item = (Gate, &Verdict)> {
        Gate::ALL.into_iter().zip(&self.0)
    }

    /// The first gate that denied.
    pub fn denial(&self) -> Option<(Gate, &Denial)> {
        self.iter().find_map(|(gate, verdict)| match verdict {
            Verdict::Denied(denial) => Some((gate, &**denial)),
            Verdict::Skipped | Verdict::Passed | Verdict::Unevaluated(_) => None,
        })
    }

    pub fn denies(&self, gate: Gate, code: Code) -> bool {
        matches!(self.of(gate), Verdict::Denied(denial) if denial.code == code)
    }

    pub fn fail_open(&self) -> Vec<FailOpen> {
        self.unevaluated().map(|(gate, cause)| FailOpen { gate, cause }).collect()
    }

    pub fn unevaluated(&self) -> impl Iterator<Item = (Gate, Cause)> {
        self.iter().filter_map(|(gate, verdict)| match verdict {
            Verdict::Unevaluated(cause) => Some((gate, *cause)),
            Verdict::Skipped | Verdict::Passed | Verdict::Denied(_) => None,
        })
    }

    /// Whether nothing holds the org to an amount any more: of the gates that bound it, some could not be
    /// evaluated and none was, or both the backstop and the balance could not be.
    pub fn is_unbounded(&self) -> bool {
        let bounds =
            |wanted: fn(&Verdict) -> bool| self.iter().any(|(gate, verdict)| gate.bounds_org() && wanted(verdict));
        let evaluated = bounds(|verdict| *verdict == Verdict::Passed);
        let blind = bounds(Verdict::is_outage);
        let both = [Gate::Rate, Gate::Balance].iter().all(|gate| self.of(*gate).is_outage());
        both || blind && !evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unbounded(verdicts: &[(Gate, Verdict)]) -> bool {
        let mut reports = Reports::default();
        for (gate, verdict) in verdicts {
            reports.set(*gate, verdict.clone());
        }
        reports.is_unbounded()
    }

    #[test]
    fn an_org_is_unbounded_where_what_bounds_it_is_away_and_nothing_else_does() {
        use Verdict::{Passed, Skipped, Unevaluated};
        let fault = || Unevaluated(Cause::StoreFault);
        let down = || Unevaluated(Cause::ProviderError);
        for (verdicts, expected) in [
            (vec![], false),
            (vec![(Gate::Freeze, fault())], false),
            (vec![(Gate::Budgets, fault())], true),
            (vec![(Gate::Rate, Passed), (Gate::Budgets, fault())], false),
            (vec![(Gate::Rate, fault()), (Gate::Balance, Passed)], false),
            (vec![(Gate::Rate, fault()), (Gate::Budgets, Passed), (Gate::Balance, down())], true),
            (vec![(Gate::Rate, Skipped), (Gate::Balance, down())], true),
            (vec![(Gate::Rate, Skipped), (Gate::Balance, Unevaluated(Cause::NoEntitlement))], false),
            (vec![(Gate::Rate, fault()), (Gate::Balance, Unevaluated(Cause::NoEntitlement))], true),
        ] {
            assert_eq!(unbounded(&verdicts), expected, "R-PIPE-2: {verdicts:?}");
        }
    }
}
