//! Limits and the policy of an org: what configuration has decided, ready to be evaluated.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    balance::{BalancePolicy, Exemption},
    ids::{Meter, Scope},
    upstream::PoolPolicy,
    window::{Millis, Window},
};
use crate::bounds::{HOUR_MS, SECOND_MS};

/// Meter + window + amount + safety buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub name: Arc<str>,
    pub meter: Meter,
    pub window: Window,
    /// `None` = unlimited, `Some(0)` = block all.
    pub amount: Option<u64>,
    /// Held back from the amount; at or above it, nothing is usable.
    pub buffer: u64,
    /// Evaluated and reported, never denying.
    pub shadow: bool,
}

impl Limit {
    /// A limit under its standard name.
    pub fn new(meter: Meter, window: Window, amount: Option<u64>) -> Self {
        Self { name: Self::standard_name(&meter, window).into(), meter, window, amount, buffer: 0, shadow: false }
    }

    /// `budget/hourly` for a named period of `spend`, `budget/bytes/hourly` for one of another
    /// meter, `budget/bytes/rolling/12h` for an unnamed one; `quota/executions` for the calendar
    /// month, `quota/executions/aligned/1h` otherwise.
    fn standard_name(meter: &Meter, window: Window) -> String {
        match (window.period(), window) {
            (Some(period), _) if meter.as_str() == "spend" => format!("budget/{period}"),
            (Some(period), _) => format!("budget/{meter}/{period}"),
            (None, Window::Rolling { .. }) => format!("budget/{meter}/{window}"),
            (None, Window::Calendar(super::window::Calendar::Month)) => format!("quota/{meter}"),
            (None, _) => format!("quota/{meter}/{window}"),
        }
    }

    /// Where a limit stands in the pipeline: budgets before quotas, then by meter, the shortest window first.
    pub fn rank(&self) -> (bool, &Meter, Window) {
        (!self.is_budget(), &self.meter, self.window)
    }

    /// Whether `asked` more fits. What is pre-counted has to leave the buffer; where nothing is asked,
    /// something has to be left.
    pub fn admits(&self, used: u64, reserved: u64, asked: u64) -> bool {
        let Some(amount) = self.amount else { return true };
        let taken = used.saturating_add(reserved);
        match asked {
            0 => taken < amount,
            asked => taken.saturating_add(asked) <= amount.saturating_sub(self.buffer),
        }
    }

    /// Rolling limits are budgets, all others quotas; they deny with different codes.
    pub fn is_budget(&self) -> bool {
        matches!(self.window, Window::Rolling { .. })
    }
}

/// What happens when a gate could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnIndeterminate {
    #[default]
    Allow,
    Deny,
}

/// The rate backstop: calls per aligned window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// `None` = switched off by an operator.
    pub amount: Option<u64>,
    pub len: Millis,
    /// Whole windows without a call after which the record is removed.
    pub idle_windows: u64,
    pub on_indeterminate: OnIndeterminate,
    pub exempt: Exemption,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            amount: Some(1000),
            len: HOUR_MS,
            idle_windows: 2,
            on_indeterminate: OnIndeterminate::Allow,
            exempt: Exemption::Never,
        }
    }
}

/// How many sessions of an org may run, and how each is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    /// At once; `None` = unlimited.
    pub max: Option<u64>,
    /// False only watches: usage accrues, and neither the number of sessions nor their quota denies.
    pub enforce: bool,
    /// Sessions stop without a grace when the quota is used up, and that is told once.
    pub trial: bool,
    /// Compute that a start reserves; a session is not stopped before it has used it.
    pub first_slice: Millis,
    /// Time between two heartbeats.
    pub heartbeat: Millis,
    /// A session that missed so many, and then the grace, has expired.
    pub missed: u64,
    /// Time to save and end after a stop.
    pub grace: Millis,
    /// Most that one heartbeat books; what is beyond is disputed.
    pub clamp: Millis,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            max: None,
            enforce: true,
            trial: false,
            first_slice: 180 * SECOND_MS,
            heartbeat: 30 * SECOND_MS,
            missed: 3,
            grace: 30 * SECOND_MS,
            clamp: 300 * SECOND_MS,
        }
    }
}

impl SessionPolicy {
    /// From the last word of a session to its expiry.
    pub fn lease(&self) -> Millis {
        self.missed.saturating_mul(self.heartbeat).saturating_add(self.grace)
    }
}

/// What an org's policy is from some instant on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    pub from: Millis,
    pub policy: Arc<OrgPolicy>,
}

/// Everything an operator decided about one org.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgPolicy {
    /// Name of the plan, empty without one.
    pub plan: String,
    pub rate: RateLimit,
    /// Limits of the org itself, in pipeline order.
    pub limits: Vec<Limit>,
    /// Limits of its scopes by exact name.
    pub scopes: BTreeMap<Scope, Vec<Limit>>,
    /// Limits of every scope that starts with the text, where no exact name matches; the longest
    /// matching text wins.
    pub scope_prefixes: BTreeMap<String, Vec<Limit>>,
    pub balance: BalancePolicy,
    pub sessions: SessionPolicy,
    /// What happens where a stored limit can not be understood.
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

    /// The same with other limits on one scope.
    pub(super) fn set_limits(&mut self, scope: &Scope, limits: Vec<Limit>) {
        if scope.is_org() {
            self.limits = limits;
        } else {
            self.scopes.insert(scope.clone(), limits);
        }
    }

    /// The limits of one scope; of the org itself where `scope` is empty.
    pub fn limits_of(&self, scope: &Scope) -> &[Limit] {
        if scope.is_org() {
            return &self.limits;
        }
        if let Some(limits) = self.scopes.get(scope) {
            return limits;
        }
        let matching = |prefix: &&String| scope.as_str().starts_with(prefix.as_str());
        let longest = self.scope_prefixes.keys().filter(matching).max_by_key(|prefix| prefix.len());
        longest.and_then(|prefix| self.scope_prefixes.get(prefix)).map_or(&[], Vec::as_slice)
    }

    /// Whether a limit of exactly this scope counts `meter`. There are as many such pairs as the
    /// configuration names; scopes behind a prefix have no end.
    pub fn names(&self, scope: &Scope, meter: &Meter) -> bool {
        let limits = if scope.is_org() { Some(&self.limits) } else { self.scopes.get(scope) };
        limits.is_some_and(|limits| limits.iter().any(|limit| limit.meter == *meter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bounds::DAY_MS, domain::window::Calendar};

    #[test]
    fn names_are_the_public_ones() {
        let bytes = Meter::parse("meter", "bytes").unwrap();
        for (meter, window, name) in [
            (Meter::spend(), Window::Rolling { len: HOUR_MS }, "budget/hourly"),
            (bytes, Window::Rolling { len: DAY_MS }, "budget/bytes/daily"),
            (Meter::spend(), Window::Rolling { len: 2 * DAY_MS }, "budget/spend/rolling/2d"),
            (Meter::executions(), Window::Calendar(Calendar::Month), "quota/executions"),
            (Meter::executions(), Window::Anchored { len: DAY_MS }, "quota/executions/anchored/1d"),
        ] {
            assert_eq!(&*Limit::new(meter, window, None).name, name);
        }
    }

    #[test]
    fn an_exact_scope_wins_over_the_longest_prefix() {
        let limit = |amount| vec![Limit::new(Meter::spend(), Window::Rolling { len: HOUR_MS }, Some(amount))];
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
