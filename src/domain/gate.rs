//! The gates of the pipeline, and what each of them says of one call.
//!
//! A gate passes, denies, could not be evaluated, or has nothing to say. Everything that a decision tells
//! its caller follows from these reports; they stay with it, so that it can be explained.

use std::fmt;

use super::window::Millis;

/// The verdict of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// No gate denied.
    Allowed,
    /// The backstop, or the emergency cap, has no call left in this window.
    RateLimited,
    /// The balance does not let the org execute.
    BalanceExhausted,
    /// A rolling limit would be exceeded.
    BudgetExceeded,
    /// Any other limit would be exceeded.
    QuotaExceeded,
    /// As many sessions run as may at once.
    SessionLimitReached,
    /// No account of the pool can be picked.
    AccountsExhausted,
    /// An operator froze the org.
    Frozen,
    /// The call names no scope of a family that it must name, or one that is not listed.
    ScopeRequired,
    /// A gate could not be evaluated, and its policy denies then.
    Indeterminate,
}

impl Code {
    /// The HTTP status a plane may show for it.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Allowed => 200,
            Self::BalanceExhausted | Self::BudgetExceeded | Self::QuotaExceeded => 402,
            Self::Frozen | Self::ScopeRequired => 403,
            Self::RateLimited | Self::SessionLimitReached => 429,
            Self::AccountsExhausted | Self::Indeterminate => 503,
        }
    }

    /// As metrics and logs have it.
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
            Self::ScopeRequired => "SCOPE_REQUIRED",
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
    /// An operator's freeze.
    Freeze,
    /// Scopes that a call must name, and those that it may not.
    Scopes,
    /// Upstream accounts of the pool that a call names.
    Accounts,
    /// The rate backstop.
    Rate,
    /// Sessions at once; asked by sessions alone, like the next.
    Concurrency,
    /// Quota on compute for the first slice of a session.
    SessionQuota,
    /// Limits of the org and of its scopes: budgets and quotas.
    Budgets,
    /// What the billing provider, or the plan, leaves.
    Balance,
    /// The largest part of a limit that one reservation may hold.
    Reserve,
}

impl Gate {
    /// Every gate, in the order of the pipeline.
    pub const ALL: [Self; 9] = [
        Self::Freeze,
        Self::Scopes,
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
            Self::Freeze | Self::Scopes | Self::Accounts | Self::Reserve => false,
        }
    }

    /// Whether its denial stands alone: it is about the call or the org, not about an amount, and no time ends it.
    pub fn stands_alone(self) -> bool {
        matches!(self, Self::Freeze | Self::Scopes)
    }

    /// Whether its denials count as blocked: those of the backstop and of what comes behind it.
    pub fn is_blocking(self) -> bool {
        self >= Self::Rate
    }

    /// As decisions and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Scopes => "scopes",
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
    /// The store has failed, or the org's state cannot be read.
    StoreFault,
    /// There was no answer in time.
    Timeout,
    /// The provider answered with a fault of its own (5xx).
    ProviderError,
    /// It could not be reached, or the connection broke.
    ProviderUnreachable,
    /// It let the call through without looking, and said so.
    ProviderFailedOpen,
    /// The provider asks for fewer questions (429).
    ProviderRateLimited,
    /// Our key is not accepted.
    ProviderUnauthorized,
    /// It does not accept what we ask.
    ProviderRefused,
    /// Its answer cannot be read.
    ProviderBadAnswer,
    /// It failed for too many orgs just now and is left alone for a while.
    CircuitOpen,
    /// Too many questions to it are under way.
    Overloaded,
    /// The provider does not know the org.
    UnknownCustomer,
    /// The provider does not know the feature that is configured.
    UnknownFeature,
    /// The feature is not in the org's plan.
    NoEntitlement,
    /// A limit is stored that cannot be understood.
    MalformedLimit,
}

impl Cause {
    /// Every cause, in the order of the variants.
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

    /// Whether nothing was said of the org, so that what was said before may still be true.
    pub fn is_silence(self) -> bool {
        match self {
            Self::Timeout
            | Self::ProviderError
            | Self::ProviderUnreachable
            | Self::ProviderFailedOpen
            | Self::ProviderRateLimited
            | Self::ProviderUnauthorized
            | Self::ProviderRefused
            | Self::ProviderBadAnswer
            | Self::CircuitOpen
            | Self::Overloaded => true,
            Self::StoreFault
            | Self::UnknownCustomer
            | Self::UnknownFeature
            | Self::NoEntitlement
            | Self::MalformedLimit => false,
        }
    }

    /// As decisions and metrics have it.
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
    /// The gate that was let through.
    pub gate: Gate,
    /// Why it could not be evaluated.
    pub cause: Cause,
}

/// Why a call is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The verdict of the decision.
    pub code: Code,
    /// When the gate lets the call through, if nothing else happens.
    pub fits: Fits,
    /// Names the limit, its value, and what to do next.
    pub message: String,
    /// What denies, as the sentence of another limit names it, that of `message` first; empty where no other sentence
    /// is to name it.
    pub names: Vec<String>,
}

impl Denial {
    /// In milliseconds from now; 0 = never, or nobody knows.
    pub fn retry_after(&self) -> Millis {
        match self.fits {
            Fits::After(wait) => wait,
            Fits::Unknown | Fits::Never => 0,
        }
    }
}

/// When a call that is denied fits, if nothing else happens; in the order in which they hold a call up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fits {
    /// When somebody acts.
    Unknown,
    /// After so many milliseconds.
    After(Millis),
    /// Not while the limit stands.
    Never,
}

/// What one gate says of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Nothing is configured for it, the call does not concern it, or another gate denied before it and this one is
    /// not known to deny as well.
    #[default]
    Skipped,
    /// Evaluated, and the call fits.
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
pub struct Reports {
    verdicts: [Verdict; Gate::ALL.len()],
    /// Which gates denied, and which could not be evaluated: a bit each, so that the usual answer needs no
    /// walk over the verdicts.
    denied: u16,
    unevaluated: u16,
}

impl Reports {
    /// What is remembered of an admission.
    pub fn of_admission(fail_open: &[FailOpen]) -> Self {
        let mut reports = Self::default();
        for open in fail_open {
            reports.set(open.gate, Verdict::Unevaluated(open.cause));
        }
        reports
    }

    /// What this gate said.
    pub fn of(&self, gate: Gate) -> &Verdict {
        &self.verdicts[gate as usize]
    }

    /// Replaces what this gate said.
    pub fn set(&mut self, gate: Gate, verdict: Verdict) {
        let bit = 1 << gate as usize;
        let bit_if = |it: bool| if it { bit } else { 0 };
        self.denied = self.denied & !bit | bit_if(matches!(verdict, Verdict::Denied(_)));
        self.unevaluated = self.unevaluated & !bit | bit_if(matches!(verdict, Verdict::Unevaluated(_)));
        self.verdicts[gate as usize] = verdict;
    }

    /// Every gate with what it said, in the order of the pipeline.
    pub fn iter(&self) -> impl Iterator<Item = (Gate, &Verdict)> {
        Gate::ALL.into_iter().zip(&self.verdicts)
    }

    /// Whether every gate could be evaluated, and none denied.
    pub fn is_plain(&self) -> bool {
        self.denied | self.unevaluated == 0
    }

    /// The first gate that denied.
    pub fn denial(&self) -> Option<(Gate, &Denial)> {
        if self.denied == 0 {
            return None;
        }
        self.denials().next()
    }

    /// Every gate that denied, in the order of the pipeline.
    pub fn denials(&self) -> impl Iterator<Item = (Gate, &Denial)> {
        self.iter().filter_map(|(gate, verdict)| match verdict {
            Verdict::Denied(denial) => Some((gate, &**denial)),
            Verdict::Skipped | Verdict::Passed | Verdict::Unevaluated(_) => None,
        })
    }

    /// Whether this gate denied with this code.
    pub fn denies(&self, gate: Gate, code: Code) -> bool {
        matches!(self.of(gate), Verdict::Denied(denial) if denial.code == code)
    }

    /// Gates that were let through unevaluated, in the order of the pipeline.
    pub fn fail_open(&self) -> Vec<FailOpen> {
        self.unevaluated().map(|(gate, cause)| FailOpen { gate, cause }).collect()
    }

    /// The same as pairs, without a copy.
    pub fn unevaluated(&self) -> impl Iterator<Item = (Gate, Cause)> {
        let reports = (self.unevaluated != 0).then(|| self.iter());
        reports.into_iter().flatten().filter_map(|(gate, verdict)| match verdict {
            Verdict::Unevaluated(cause) => Some((gate, *cause)),
            Verdict::Skipped | Verdict::Passed | Verdict::Denied(_) => None,
        })
    }

    /// Whether nothing holds the org to an amount any more: of the gates that bound it, some could not be
    /// evaluated and none was, or both the backstop and the balance could not be.
    pub fn is_unbounded(&self) -> bool {
        if self.unevaluated == 0 {
            return false;
        }
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
