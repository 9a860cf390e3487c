//! What may be changed of a budget, also in its older form: one limit, which is that of the month.

use super::{Meaning, Parsed, amount, any_scope, org, required_id};
use crate::{
    bounds::{AMOUNT_MAX, MICROS_PER_CENT},
    domain::{
        command::SetBudget,
        ids::{OrgId, Scope},
        input::InputError,
        window::{LEGACY_PERIOD, named_period, period_names},
    },
    wire::v1,
};

/// Micro-USD by the name of a period; `None` clears.
type Periods = Vec<(&'static str, Option<u64>)>;

/// A patch in micro-USD; periods that it does not name stay as they are.
pub fn update_budget(request: &v1::UpdateBudgetRequest) -> Parsed<(OrgId, SetBudget)> {
    let mut periods = Periods::new();
    for (name, patch) in &request.periods {
        let period = known("periods", name)?;
        match (patch.limit, patch.clear) {
            (Some(limit), false) => {
                periods.push((period, Some(amount(&format!("periods[{name}].limit"), limit, "micro-USD")?)))
            }
            (None, true) => periods.push((period, None)),
            (None, false) => {}
            (Some(limit), true) => {
                return Err(InputError::new(format!("periods[{name}].limit"), limit, "either a limit or clear"));
            }
        }
    }
    let older = older(request.budget_limit, request.budget_limit_cents, request.clear_budget_limit)?;
    let periods = with_older(periods, older)?;
    let scope = scope(&request.scope, &periods)?;
    let expected_version = version(request.expected_version)?;
    let idempotency = required_id(&request.request_id, &meaning(&scope, &periods, expected_version))?;
    Ok((org(&request.org)?, SetBudget { scope, replace: false, periods, expected_version, idempotency }))
}

/// A whole budget in micro-USD; periods that it does not name are cleared.
pub fn replace_budget(request: &v1::ReplaceBudgetRequest) -> Parsed<(OrgId, SetBudget)> {
    let mut periods = Periods::new();
    for (name, limit) in &request.limits {
        periods.push((known("limits", name)?, Some(amount(&format!("limits[{name}]"), *limit, "micro-USD")?)));
    }
    let older = older(request.budget_limit, request.budget_limit_cents, false)?;
    let periods = with_older(periods, older)?;
    let scope = scope(&request.scope, &periods)?;
    let expected_version = version(request.expected_version)?;
    let idempotency = required_id(&request.request_id, &meaning(&scope, &periods, expected_version))?;
    Ok((org(&request.org)?, SetBudget { scope, replace: true, periods, expected_version, idempotency }))
}

/// Spend is never recorded in an upstream account or a pool, so an amount would limit nothing there.
/// 0 blocks, and a limit that is stored can be cleared.
fn scope(text: &str, periods: &Periods) -> Parsed<Scope> {
    let scope = any_scope(text)?;
    let limits_spend = periods.iter().any(|(_, limit)| limit.is_some_and(|limit| limit > 0));
    if limits_spend && !scope.counts_for_org() {
        let allowed = "any other scope: no spend is recorded in account/... and pool/..., so a budget \
                       there is 0, which blocks, or cleared";
        return Err(InputError::new("scope", scope.shown(), allowed));
    }
    Ok(scope)
}

/// Of an update and of a replacement: both number these fields alike. The older fields say a period.
fn meaning(scope: &Scope, periods: &Periods, expected_version: Option<u64>) -> Meaning {
    Meaning::default().text(2, scope.as_str()).set(4, periods.iter().map(of_period)).optional(5, expected_version)
}

/// An entry of the map: the name, and its limit; a period without one is cleared.
fn of_period((name, limit): &(&str, Option<u64>)) -> Meaning {
    Meaning::default().text(1, name).optional(2, *limit)
}

/// R-BUD-2: the error names those that are allowed.
fn known(field: &str, name: &str) -> Parsed<&'static str> {
    let found = named_period(name).map(|(known, _)| known);
    found.ok_or_else(|| InputError::new(field, name, format!("one of {}", period_names())))
}

fn version(given: Option<i64>) -> Parsed<Option<u64>> {
    let version = given.map(u64::try_from).transpose();
    version.map_err(|_| InputError::new("expected_version", given.unwrap_or_default(), "0 or more"))
}

/// The limit of the month as older callers say it: the field that says it, as given, and what it means.
struct Older {
    field: &'static str,
    shown: String,
    limit: Option<u64>,
}

fn older(micros: Option<i64>, cents: Option<i64>, clear: bool) -> Parsed<Option<Older>> {
    let of_micros = micros.map(|micros| {
        let limit = Some(amount("budget_limit", micros, "micro-USD")?);
        Ok(Older { field: "budget_limit", shown: micros.to_string(), limit })
    });
    let of_cents = cents.map(|cents| {
        let limit = Some(in_micros(cents)?);
        Ok(Older { field: "budget_limit_cents", shown: cents.to_string(), limit })
    });
    let of_clear = clear.then(|| Ok(Older { field: "clear_budget_limit", shown: "true".to_owned(), limit: None }));
    let mut said: Vec<Older> = [of_micros, of_cents, of_clear].into_iter().flatten().collect::<Parsed<_>>()?;
    let last = said.pop();
    match (last, said.pop()) {
        (Some(last), Some(other)) => {
            Err(InputError::new(last.field, last.shown, format!("not together with {}", other.field)))
        }
        (last, _) => Ok(last),
    }
}

fn in_micros(cents: i64) -> Parsed<u64> {
    let micros = cents.checked_mul(MICROS_PER_CENT).and_then(|micros| u64::try_from(micros).ok());
    let most = AMOUNT_MAX / MICROS_PER_CENT.unsigned_abs();
    let refused = || InputError::new("budget_limit_cents", cents, format!("0 to {most} cents"));
    micros.filter(|micros| *micros <= AMOUNT_MAX).ok_or_else(refused)
}

fn with_older(mut periods: Periods, older: Option<Older>) -> Parsed<Periods> {
    if let Some(Older { field, shown, limit }) = older {
        if periods.iter().any(|(period, _)| *period == LEGACY_PERIOD) {
            let allowed = format!("not together with {LEGACY_PERIOD}: it is the same limit");
            return Err(InputError::new(field, shown, allowed));
        }
        periods.push((LEGACY_PERIOD, limit));
    }
    Ok(periods)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(limit: Option<i64>, clear: bool) -> v1::PeriodPatch {
        v1::PeriodPatch { limit, clear }
    }

    fn update(periods: &[(&str, v1::PeriodPatch)]) -> v1::UpdateBudgetRequest {
        let periods = periods.iter().map(|(name, patch)| ((*name).to_owned(), *patch)).collect();
        v1::UpdateBudgetRequest { org: "acme".into(), request_id: "r".into(), periods, ..Default::default() }
    }

    fn set(request: &v1::UpdateBudgetRequest) -> Periods {
        update_budget(request).unwrap().1.periods
    }

    #[test]
    fn a_patch_sets_clears_or_leaves_each_period() {
        let request =
            update(&[("hourly", patch(Some(0), false)), ("daily", patch(None, true)), ("weekly", patch(None, false))]);
        assert_eq!(set(&request), [("daily", None), ("hourly", Some(0))]);
    }

    #[test]
    fn the_older_single_limit_is_that_of_the_month_in_either_unit() {
        for (micros, cents, clear, expected) in [
            (Some(7), None, false, Some(Some(7))),
            (None, Some(5), false, Some(Some(50_000))),
            (None, None, true, Some(None)),
            (None, None, false, None),
        ] {
            let older = v1::UpdateBudgetRequest {
                budget_limit: micros,
                budget_limit_cents: cents,
                clear_budget_limit: clear,
                ..update(&[])
            };
            let expected: Periods = expected.map(|limit| ("monthly", limit)).into_iter().collect();
            assert_eq!(set(&older), expected);
        }
    }

    #[test]
    fn what_is_refused_is_named_with_what_is_allowed() {
        let over = i64::try_from(AMOUNT_MAX).unwrap() + 1;
        for (request, field, allowed) in [
            (update(&[("fortnightly", patch(Some(1), false))]), "periods", "one of hourly, daily"),
            (update(&[("daily", patch(Some(-1), false))]), "periods[daily].limit", "0 to 10000000000000000 micro-USD"),
            (update(&[("daily", patch(Some(over), false))]), "periods[daily].limit", "micro-USD"),
            (update(&[("daily", patch(Some(1), true))]), "periods[daily].limit", "either a limit or clear"),
            (v1::UpdateBudgetRequest { budget_limit: Some(-1), ..update(&[]) }, "budget_limit", "0 to"),
            (v1::UpdateBudgetRequest { budget_limit_cents: Some(-1), ..update(&[]) }, "budget_limit_cents", "0 to"),
            (
                v1::UpdateBudgetRequest { budget_limit_cents: Some(i64::MAX), ..update(&[]) },
                "budget_limit_cents",
                "1000000000000 cents",
            ),
            (
                v1::UpdateBudgetRequest { budget_limit: Some(1), budget_limit_cents: Some(1), ..update(&[]) },
                "budget_limit_cents",
                "not together",
            ),
            (
                v1::UpdateBudgetRequest { budget_limit: Some(1), clear_budget_limit: true, ..update(&[]) },
                "clear_budget_limit",
                "not together with budget_limit",
            ),
            (
                v1::UpdateBudgetRequest { budget_limit: Some(1), ..update(&[("monthly", patch(Some(1), false))]) },
                "budget_limit",
                "not together with monthly",
            ),
            (v1::UpdateBudgetRequest { expected_version: Some(-1), ..update(&[]) }, "expected_version", "0 or more"),
            (v1::UpdateBudgetRequest { request_id: String::new(), ..update(&[]) }, "request_id", "printable"),
        ] {
            let error = update_budget(&request).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.allowed.contains(allowed), "{error}");
        }
    }

    #[test]
    fn a_budget_where_no_spend_is_recorded_blocks_or_is_cleared() {
        for (limit, is_set) in
            [(patch(Some(0), false), true), (patch(None, true), true), (patch(Some(1), false), false)]
        {
            for scope in ["account/k1", "pool/p"] {
                let request = v1::UpdateBudgetRequest { scope: scope.into(), ..update(&[("daily", limit)]) };
                assert_eq!(update_budget(&request).is_ok(), is_set, "{request:?}");
            }
        }
        let replace = v1::ReplaceBudgetRequest {
            org: "acme".into(),
            scope: "account/k1".into(),
            request_id: "r".into(),
            budget_limit_cents: Some(1),
            ..Default::default()
        };
        assert_eq!(replace_budget(&replace).unwrap_err().field, "scope");
    }

    #[test]
    fn equal_bodies_have_equal_fingerprints_and_others_do_not() {
        let names = ["hourly", "daily", "weekly", "monthly"];
        let id = |request: &v1::UpdateBudgetRequest| update_budget(request).unwrap().1.idempotency;
        let forwards: Vec<_> = names.iter().map(|name| (*name, patch(Some(1), false))).collect();
        let backwards: Vec<_> = forwards.iter().rev().copied().collect();
        assert_eq!(id(&update(&forwards)), id(&update(&backwards)));
        assert_ne!(id(&update(&forwards)), id(&update(&forwards[1..])));
    }
}
