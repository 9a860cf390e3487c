//! What an org is held to, by kind, so that a change of the configuration can be seen to take a kind away.

use std::collections::BTreeSet;

use super::{BalanceSource, OrgPolicy};
use crate::domain::{
    ids::Meter,
    limit::{Limit, Limits},
};

/// What limits an org, but for the backstop: now, or after its trial.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limited {
    /// Meters with a limit of the org itself.
    org: BTreeSet<Meter>,
    /// Meters with a limit of the org or of a scope.
    anywhere: BTreeSet<Meter>,
    /// Sessions at once.
    sessions: bool,
    /// Scopes that a call must name, or may not.
    scopes: bool,
}

impl Limited {
    /// By this policy.
    pub fn by(policy: &OrgPolicy) -> Self {
        let mut limited = policy.then.as_ref().map(|then| Self::by(&then.policy)).unwrap_or_default();
        limited.org.extend(meters(&policy.limits));
        if let BalanceSource::Included { limit, overage: false } = &policy.balance.source
            && denies(limit)
        {
            limited.org.insert(limit.meter().clone());
        }
        let of_scopes = policy.scopes.values().chain(policy.scope_prefixes.values());
        limited.anywhere.extend(limited.org.iter().cloned());
        limited.anywhere.extend(of_scopes.flat_map(meters));
        limited.sessions |= policy.sessions.max.is_some();
        limited.scopes |= !policy.require_scopes.is_empty() || !policy.denied_scopes.is_empty();
        limited
    }

    /// The kinds of limits that `new` has no longer, by meter or key.
    pub fn lost_in(&self, new: &Self) -> Vec<String> {
        let of_org = self.org.difference(&new.org);
        let of_scopes = self.anywhere.difference(&new.anywhere).filter(|meter| !self.org.contains(*meter));
        let mut lost: Vec<String> = of_org.map(ToString::to_string).collect();
        lost.extend(of_scopes.map(|meter| format!("{meter} of scopes")));
        lost.extend((self.sessions && !new.sessions).then(|| "max_sessions".to_owned()));
        lost.extend((self.scopes && !new.scopes).then(|| "rules of scopes".to_owned()));
        lost
    }
}

fn meters(limits: &Limits) -> impl Iterator<Item = Meter> {
    limits.iter().filter(|limit| denies(limit)).map(|limit| limit.meter().clone())
}

/// One in shadow only reports.
fn denies(limit: &Limit) -> bool {
    limit.amount.is_some() && !limit.shadow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounds::HOUR_MS,
        domain::{ids::Scope, window::Window},
    };

    fn limit(meter: Meter) -> Limit {
        Limit::new(meter, Window::Rolling { len: HOUR_MS }, Some(5))
    }

    fn on_org(limit: Limit) -> OrgPolicy {
        OrgPolicy { limits: [limit].into_iter().collect(), ..OrgPolicy::default() }
    }

    fn on_scope(limit: Limit) -> OrgPolicy {
        let scope = Scope::parse("scope", "ws/1").unwrap();
        OrgPolicy { scopes: [(scope, [limit].into_iter().collect())].into(), ..OrgPolicy::default() }
    }

    #[test]
    fn a_kind_of_limit_is_lost_where_no_other_limit_of_the_kind_takes_its_place() {
        let shadow = Limit { shadow: true, ..limit(Meter::executions()) };
        let unlimited = Limit { amount: None, ..limit(Meter::executions()) };
        for (old, new, lost) in [
            (on_org(limit(Meter::executions())), on_org(limit(Meter::executions())), vec![]),
            (on_org(limit(Meter::executions())), on_org(limit(Meter::bytes())), vec!["executions"]),
            (on_org(limit(Meter::executions())), on_org(shadow.clone()), vec!["executions"]),
            (on_org(limit(Meter::executions())), on_org(unlimited), vec!["executions"]),
            (on_org(limit(Meter::executions())), on_scope(limit(Meter::executions())), vec!["executions"]),
            (on_org(limit(Meter::executions())), OrgPolicy::default(), vec!["executions"]),
            (on_scope(limit(Meter::executions())), OrgPolicy::default(), vec!["executions of scopes"]),
            (on_scope(limit(Meter::executions())), on_org(limit(Meter::executions())), vec![]),
            (on_org(shadow), OrgPolicy::default(), vec![]),
            (OrgPolicy::default(), on_org(limit(Meter::bytes())), vec![]),
        ] {
            assert_eq!(Limited::by(&old).lost_in(&Limited::by(&new)), lost, "R-OPS-11: {old:?} {new:?}");
        }
    }
}
