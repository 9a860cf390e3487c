//! Budgets, and what an audit found.

use super::{int, source};
use crate::{
    bounds::MICROS_PER_CENT,
    domain::{
        ids::{OrgId, Scope},
        reply::{Audit, BudgetView, Drift, PeriodView},
        rows::BudgetRow,
        window::LEGACY_PERIOD,
    },
    wire::{admin::v1 as admin, v1},
};

/// Amounts in micro-USD; the older fields have those of the month, also in cents.
pub fn budget(view: BudgetView, org: &OrgId, scope: &Scope) -> v1::Budget {
    let period = |period: &PeriodView| v1::BudgetPeriod {
        limit: period.limit.map(int),
        spend: int(period.used),
        remaining: period.remaining,
        reserved: int(period.reserved),
        set: period.set,
        previous_limit: period.previous.map(int),
        source: period.limit.map_or(v1::LimitSource::Unspecified, |_| source(period.origin.source)).into(),
        source_until_ms: int(period.origin.until.filter(|_| period.limit.is_some()).unwrap_or(0)),
    };
    let legacy = view.periods.iter().find(|period| period.period == LEGACY_PERIOD).map(period).unwrap_or_default();
    v1::Budget {
        org: org.to_string(),
        scope: scope.shown().into_owned(),
        periods: view.periods.iter().map(|each| (each.period.to_owned(), period(each))).collect(),
        version: int(view.version),
        budget_limit: legacy.limit,
        monthly_spend: legacy.spend,
        budget_remaining: legacy.remaining,
        budget_limit_cents: legacy.limit.map(cents_down),
        monthly_spend_cents: cents_up(legacy.spend),
        budget_remaining_cents: legacy.remaining.map(cents_down),
        malformed: view.malformed.iter().map(|(name, amount)| format!("{name}={amount}")).collect(),
    }
}

fn cents_down(micros: i64) -> i64 {
    micros.div_euclid(MICROS_PER_CENT)
}

/// Never negative.
fn cents_up(micros: i64) -> i64 {
    micros / MICROS_PER_CENT + i64::from(micros % MICROS_PER_CENT > 0)
}

/// The limits that are set in one scope, in micro-USD, by the name of the period.
pub fn budget_limits(row: &BudgetRow) -> admin::BudgetLimits {
    admin::BudgetLimits {
        scope: row.scope.shown().into_owned(),
        version: int(row.version),
        limits: row.limits.iter().map(|(name, amount)| (name.to_string(), int(*amount))).collect(),
    }
}

/// What was found of an org.
pub fn audit(org: &OrgId, audit: &Audit) -> admin::AuditResponse {
    admin::AuditResponse {
        orgs: 1,
        numbers: int(audit.checked),
        drifted: int(audit.drifted),
        drift: audit.drift.iter().map(|each| drift(org, each)).collect(),
        ..Default::default()
    }
}

/// One more of a page.
pub fn add_audit(page: &mut admin::AuditResponse, one: admin::AuditResponse) {
    page.orgs = page.orgs.saturating_add(one.orgs);
    page.numbers = page.numbers.saturating_add(one.numbers);
    page.drifted = page.drifted.saturating_add(one.drifted);
    page.drift.extend(one.drift);
}

fn drift(org: &OrgId, drift: &Drift) -> admin::Drift {
    admin::Drift {
        org: org.to_string(),
        scope: drift.scope.shown().into_owned(),
        meter: drift.meter.to_string(),
        what: drift.what.clone(),
        kept: int(drift.kept),
        derived_least: int(drift.derived.0),
        derived_most: int(drift.derived.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_never_promise_more_than_there_is() {
        assert_eq!([0, 1, 9_999, 10_000, 10_001].map(cents_up), [0, 1, 1, 1, 2]);
        assert_eq!([-10_001, -1, 0, 9_999, 10_000].map(cents_down), [-2, -1, 0, 0, 1]);
    }
}
