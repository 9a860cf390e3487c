//! What an operator decided about each org: configuration, read and ready to be evaluated.

mod balance;
mod limited;
mod plans;
mod pools;
mod scopes;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use super::{
    ids::{Meter, Scope},
    limit::{Limit, LimitSource, Limits, Origin},
    window::Millis,
};
use crate::bounds::HOUR_MS;

pub use self::{
    balance::{BalancePolicy, BalanceSource, Exemption, ExportWhen, JudgedBalance},
    limited::Limited,
    plans::{NoPlans, Plans},
    pools::{PoolPolicy, PoolRules, PoolSettings, Profile},
    scopes::Family,
    sessions::SessionPolicy,
};

/// What happens when a gate could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnIndeterminate {
    /// The call is let through, and flagged as a fail-open.
    #[default]
    Allow,
    /// The call is denied: INDETERMINATE, or BALANCE_EXHAUSTED where the plan lacks the feature.
    Deny,
}

/// What becomes of usage over a limit when its window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overrun {
    /// The next window begins with nothing used.
    #[default]
    Forget,
    /// It is the first usage of the next window.
    Carry,
}

/// The rate backstop: calls per aligned window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// `None` = switched off by an operator.
    pub amount: Option<u64>,
    /// Length of the window in milliseconds.
    pub len: Millis,
    /// Whole windows without a call after which the record is removed.
    pub idle_windows: u64,
    /// What happens where the store has failed, or took too long.
    pub on_indeterminate: OnIndeterminate,
    /// Whether the backstop spares the org.
    pub exempt: Exemption,
    /// Evaluated and reported, never denying.
    pub shadow: bool,
    /// Where the amount comes from.
    pub origin: Origin,
    /// Grants that last until they are spent add to the amount, by what is counted over it.
    pub until_spent: bool,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            amount: Some(1000),
            len: HOUR_MS,
            idle_windows: 2,
            on_indeterminate: OnIndeterminate::Allow,
            exempt: Exemption::Never,
            shadow: false,
            origin: Origin::default(),
            until_spent: false,
        }
    }
}

/// Calls per hour and org that a node lets through while nothing that bounds the org can be evaluated,
/// where neither `[emergency]` nor the backstop says how many.
const EMERGENCY_AMOUNT: u64 = 1000;

/// What an org's policy is from some instant on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Service time from which on it holds.
    pub from: Millis,
    /// Takes the place of the whole policy.
    pub policy: Arc<OrgPolicy>,
}

/// Everything an operator decided about one org.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgPolicy {
    /// Name of the plan, empty without one.
    pub plan: String,
    /// The rate backstop.
    pub rate: RateLimit,
    /// Calls per hour under the emergency cap; `None` = as many as the backstop lets through.
    pub emergency_amount: Option<u64>,
    /// Limits of the org itself, in pipeline order.
    pub limits: Limits,
    /// Limits of its scopes by exact name.
    pub scopes: BTreeMap<Scope, Limits>,
    /// Limits of every scope that starts with the text, where no exact name matches; the longest
    /// matching text wins.
    pub scope_prefixes: BTreeMap<String, Limits>,
    /// Scopes that have their limits from such a text, and something over them that was set at run time.
    pub over_patterns: BTreeSet<Scope>,
    /// Of each a call must name one.
    pub require_scopes: Vec<Family>,
    /// Names that no call may use, but those of a family that are listed by themselves. Each has its entry,
    /// without limits, above.
    pub denied_scopes: BTreeSet<Family>,
    /// The balance gate, and the export of usage.
    pub balance: BalancePolicy,
    /// What becomes of usage over limits of which one window follows the other.
    pub overrun: Overrun,
    /// How many sessions may run, and how each is watched.
    pub sessions: SessionPolicy,
    /// What happens where limits could not be evaluated, or a stored one cannot be understood.
    pub budgets_on_indeterminate: OnIndeterminate,
    /// Shared, because it is the same for all orgs.
    pub pools: Arc<PoolPolicy>,
    /// A trial that ends: the plan after it.
    pub then: Option<Successor>,
}

impl OrgPolicy {
    /// What is in force at `now`: computed at every look, so nobody has to move an org from one plan to
    /// the next in time.
    pub fn at(self: &Arc<Self>, now: Millis) -> &Arc<Self> {
        match &self.then {
            Some(then) if then.from <= now => then.policy.at(now),
            _ => self,
        }
    }

    /// Since when it has been in force at `now`, where it was configured at `since`: a trial ends by itself.
    pub(super) fn in_force_since(&self, since: Millis, now: Millis) -> Millis {
        match &self.then {
            Some(then) if then.from <= now => then.policy.in_force_since(since.max(then.from), now),
            _ => since,
        }
    }

    /// The same of a plan that ends at `until`: what comes from the plan does.
    #[must_use]
    pub(super) fn ending(mut self, until: Millis) -> Self {
        let of_plan = Origin::of(LimitSource::Plan);
        let ends = Origin { until: Some(until), ..of_plan };
        let moved = |limits: &Limits| -> Limits {
            let end = |limit: &Limit| match limit.label.origin == of_plan {
                true => limit.clone().with_origin(ends),
                false => limit.clone(),
            };
            limits.iter().map(end).collect()
        };
        self.limits = moved(&self.limits);
        for limits in self.scopes.values_mut().chain(self.scope_prefixes.values_mut()) {
            *limits = moved(limits);
        }
        for origin in [&mut self.rate.origin, &mut self.sessions.origin] {
            if *origin == of_plan {
                *origin = ends;
            }
        }
        if let BalanceSource::Included { limit, .. } = &mut self.balance.source
            && limit.label.origin == of_plan
        {
            *limit = limit.clone().with_origin(ends);
        }
        self
    }

    /// The emergency cap: what an operator said, per hour; else the backstop itself; else a default per hour.
    pub fn emergency(&self) -> RateLimit {
        if self.emergency_amount.is_none() && self.rate.amount.is_some() {
            return self.rate.clone();
        }
        let amount = self.emergency_amount.unwrap_or(EMERGENCY_AMOUNT);
        RateLimit { amount: Some(amount), len: HOUR_MS, ..self.rate.clone() }
    }

    /// The same with other limits on one scope, over those of `configured`: it is listed by its name only
    /// where they are other ones.
    pub(super) fn set_limits(&mut self, scope: &Scope, limits: Vec<Limit>, configured: &Self) {
        let known = configured.limits_of(scope);
        if scope.is_org() {
            self.limits = limits.into();
        } else if configured.scopes.contains_key(scope) || *limits != **known || !known.is_from_where(&limits) {
            self.scopes.insert(scope.clone(), limits.into());
            if configured.pattern_of(scope).is_some() {
                self.over_patterns.insert(scope.clone());
            }
        } else {
            self.scopes.remove(scope);
            self.over_patterns.remove(scope);
        }
    }

    /// The limits of one scope; of the org itself where `scope` is empty.
    pub fn limits_of(&self, scope: &Scope) -> &Limits {
        static NONE: LazyLock<Limits> = LazyLock::new(Limits::default);
        if scope.is_org() {
            return &self.limits;
        }
        if scope.is_shared() {
            let pattern = scope.shared_by().and_then(|prefix| self.scope_prefixes.get(prefix));
            return pattern.unwrap_or(&NONE);
        }
        if let Some(limits) = self.scopes.get(scope) {
            return limits;
        }
        self.prefix_of(scope).map_or(&NONE, |(_, limits)| limits)
    }

    /// The limit of the book that is called so: one of the scope, or what the plan of the org includes.
    pub(super) fn limit_named(&self, scope: &Scope, name: &str) -> Option<&Limit> {
        let included = match &self.balance.source {
            BalanceSource::Included { limit, .. } => Some(limit).filter(|_| scope.is_org()),
            BalanceSource::None | BalanceSource::NotIncluded | BalanceSource::Provider => None,
        };
        self.limits_of(scope).iter().chain(included).find(|limit| limit.name() == name)
    }

    /// What the scope begins with, where its limits are those of a pattern and not of its full name: also where
    /// something was set over them at run time.
    pub(super) fn pattern_of(&self, scope: &Scope) -> Option<(&str, &Limits)> {
        let is_named = || self.scopes.contains_key(scope) && !self.over_patterns.contains(scope);
        if scope.is_org() || scope.is_shared() || is_named() {
            return None;
        }
        self.prefix_of(scope).map(|(prefix, limits)| (prefix.as_str(), limits))
    }

    /// The longest prefix that matches, with what holds behind it.
    fn prefix_of(&self, scope: &Scope) -> Option<(&String, &Limits)> {
        let matching = self.scope_prefixes.iter().filter(|(prefix, _)| scope.as_str().starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len())
    }

    /// What of the families that a call must name none of its scopes is in.
    pub(super) fn missing_scopes(&self, scopes: &[Scope]) -> impl Iterator<Item = &Family> {
        self.require_scopes.iter().filter(|family| !scopes.iter().any(|scope| family.covers(scope)))
    }

    /// The rule by which a scope may not be named.
    pub(super) fn denies(&self, scope: &Scope) -> Option<Family> {
        if self.denied_scopes.is_empty() {
            return None;
        }
        let rule = match self.scopes.contains_key(scope) {
            true => Family::Only(scope.clone()),
            false => Family::Prefix(self.prefix_of(scope)?.0.clone()),
        };
        self.denied_scopes.contains(&rule).then_some(rule)
    }

    /// Whether a limit of exactly this scope counts `meter`. There are as many such pairs as the
    /// configuration names; scopes behind a prefix have no end.
    pub fn names(&self, scope: &Scope, meter: &Meter) -> bool {
        let limits = if scope.is_org() { Some(&self.limits) } else { self.scopes.get(scope) };
        limits.is_some_and(|limits| limits.count(meter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::Window;

    #[test]
    fn an_exact_scope_wins_over_the_longest_prefix() {
        let limit =
            |amount| [Limit::new(Meter::spend(), Window::Rolling { len: HOUR_MS }, Some(amount))].into_iter().collect();
        let scope = |text| Scope::parse("scope", text).unwrap();
        let policy = OrgPolicy {
            scopes: [(scope("workspace/a"), limit(1))].into(),
            scope_prefixes: [("workspace/".into(), limit(2)), ("workspace/b".into(), limit(3))].into(),
            ..OrgPolicy::default()
        };
        let amount = |text| policy.limits_of(&scope(text)).first().and_then(|l| l.amount);
        assert_eq!(amount("workspace/a"), Some(1));
        assert_eq!(amount("workspace/bee"), Some(3));
        assert_eq!(amount("workspace/c"), Some(2));
        assert_eq!(amount("account/c"), None);
    }
}
