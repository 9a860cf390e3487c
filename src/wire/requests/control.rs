//! What operators set at run time over what is configured.

use super::{Meaning, Parsed, amount, amounts, any_scope, optional, org, reason, required_id, scopes};
use crate::{
    bounds::{AMOUNT_MAX, OVERRIDE_LONGEST_MS, OVERRIDE_SHORTEST_MS},
    domain::{
        command::{End, ListOverrides, Refund, RefundOf, SetOverride},
        ids::{DecisionId, OrgId, Reason, Scope},
        input::InputError,
        request::Rpc,
        rows::{OverrideSubject, Setting},
        window::Millis,
    },
    wire::admin::v1 as admin,
};

/// One limit, and what it is for a while.
pub fn set_override(request: &admin::SetOverrideRequest) -> Parsed<(OrgId, Box<SetOverride>)> {
    let (scope, subject) = limit(&request.scope, &request.limit)?;
    let setting = setting(request)?;
    let end = end(request.for_ms, request.until_ms)?;
    let expected_version = version(request.expected_version)?;
    let reason = reason(&request.reason)?;
    let meaning = Meaning::default().text(2, scope.as_str()).text(4, subject.as_str());
    let meaning = meaning.number(5, number(&setting)).optional(6, amount_of(&setting));
    let meaning = ends(meaning, (7, 8), end).optional(9, expected_version);
    let idempotency = required_id(&request.request_id, &meaning)?;
    let set = SetOverride {
        rpc: Rpc::SetOverride,
        scope,
        subject,
        setting: Some(setting),
        end,
        expected_version,
        reason,
        idempotency,
    };
    Ok((org(&request.org)?, Box::new(set)))
}

/// One limit that is as it was before.
pub fn clear_override(request: &admin::ClearOverrideRequest) -> Parsed<(OrgId, Box<SetOverride>)> {
    let (scope, subject) = limit(&request.scope, &request.limit)?;
    let expected_version = version(request.expected_version)?;
    let reason = reason(&request.reason)?;
    let meaning = Meaning::default().text(2, scope.as_str()).text(4, subject.as_str());
    let meaning = meaning.optional(5, expected_version);
    let idempotency = required_id(&request.request_id, &meaning)?;
    let set = SetOverride {
        rpc: Rpc::ClearOverride,
        scope,
        subject,
        setting: None,
        end: None,
        expected_version,
        reason,
        idempotency,
    };
    Ok((org(&request.org)?, Box::new(set)))
}

/// The plan of the org, which may not be configured.
pub fn set_plan(request: &admin::SetPlanRequest) -> Parsed<(OrgId, Box<SetOverride>)> {
    known(request.change, admin::PlanChange::try_from(request.change).is_ok(), "change")?;
    let named = !request.plan.is_empty();
    let (change, setting) = match request.change() {
        admin::PlanChange::Unspecified | admin::PlanChange::Set if named => {
            (0, Some(Setting::Plan(request.plan.clone())))
        }
        admin::PlanChange::Unspecified | admin::PlanChange::Set => {
            return Err(InputError::new("plan", "", "the name of a plan; or PLAN_CHANGE_NONE or PLAN_CHANGE_CLEAR"));
        }
        admin::PlanChange::None if !named => (2, Some(Setting::Plan(String::new()))),
        admin::PlanChange::Clear if !named => (3, None),
        admin::PlanChange::None | admin::PlanChange::Clear => {
            return Err(InputError::new("plan", &request.plan, "only with PLAN_CHANGE_SET"));
        }
    };
    let end = end(request.for_ms, request.until_ms)?;
    no_end_of_nothing(setting.as_ref(), end)?;
    let expected_version = version(request.expected_version)?;
    let reason = reason(&request.reason)?;
    let meaning = ends(Meaning::default().number(3, change).text(4, &request.plan), (5, 6), end);
    let meaning = meaning.optional(7, expected_version);
    let idempotency = required_id(&request.request_id, &meaning)?;
    let (scope, subject) = (Scope::org(), OverrideSubject::Plan);
    let set = SetOverride { rpc: Rpc::SetPlan, scope, subject, setting, end, expected_version, reason, idempotency };
    Ok((org(&request.org)?, Box::new(set)))
}

/// Whether the backstop spares the org.
pub fn set_exemption(request: &admin::SetExemptionRequest) -> Parsed<(OrgId, Box<SetOverride>)> {
    let setting = match request.change() {
        admin::ExemptionChange::Exempt => Some(Setting::Exempt(true)),
        admin::ExemptionChange::NotExempt => Some(Setting::Exempt(false)),
        admin::ExemptionChange::Clear => None,
        admin::ExemptionChange::Unspecified => {
            let allowed = "EXEMPTION_CHANGE_EXEMPT, EXEMPTION_CHANGE_NOT_EXEMPT or EXEMPTION_CHANGE_CLEAR";
            return Err(InputError::new("change", request.change, allowed));
        }
    };
    let end = end(request.for_ms, request.until_ms)?;
    no_end_of_nothing(setting.as_ref(), end)?;
    let expected_version = version(request.expected_version)?;
    let reason = reason(&request.reason)?;
    let change = u64::try_from(request.change).unwrap_or(0);
    let meaning = ends(Meaning::default().number(3, change), (4, 5), end);
    let meaning = meaning.optional(6, expected_version);
    let idempotency = required_id(&request.request_id, &meaning)?;
    let (scope, subject) = (Scope::org(), OverrideSubject::Exemption);
    let set =
        SetOverride { rpc: Rpc::SetExemption, scope, subject, setting, end, expected_version, reason, idempotency };
    Ok((org(&request.org)?, Box::new(set)))
}

/// What is overridden of an org.
pub fn list_overrides(request: &admin::ListOverridesRequest) -> Parsed<(OrgId, ListOverrides)> {
    Ok((org(&request.org)?, ListOverrides { ended: request.ended }))
}

/// What is given back, and why.
pub fn refund(request: &admin::RefundRequest) -> Parsed<(OrgId, Box<Refund>, Reason)> {
    let decision = optional(&request.decision_id, |text| DecisionId::parse("decision_id", text))?;
    let (of, meaning) = match decision {
        Some(id) => {
            no_usage_beside(request)?;
            (RefundOf::Decision { id, recent: None }, Meaning::default().id(3, id))
        }
        None => refunded_usage(request)?,
    };
    let idempotency = required_id(&request.request_id, &meaning)?;
    let reason = reason(&request.reason)?;
    Ok((org(&request.org)?, Box::new(Refund { of, idempotency }), reason))
}

fn refunded_usage(request: &admin::RefundRequest) -> Parsed<(RefundOf, Meaning)> {
    let amounts = amounts("amounts", &request.amounts)?;
    if amounts.is_empty() {
        return Err(InputError::new("amounts", "", "1 to 16 amounts, or none with a decision_id"));
    }
    if let Some(index) = amounts.iter().position(|(_, amount)| *amount == 0) {
        return Err(InputError::new(format!("amounts[{index}].amount"), 0, format!("1 to {AMOUNT_MAX}")));
    }
    let scopes = scopes(&request.scope, &request.scopes)?;
    let at = u64::try_from(request.at_ms)
        .map_err(|_| InputError::new("at_ms", request.at_ms, "0 for now, or milliseconds since 1970"))?;
    let meaning = Meaning::default().amounts(4, &amounts).scopes((5, 8), &scopes).number(6, at);
    Ok((RefundOf::Usage { scopes, amounts, at: Some(at).filter(|at| *at > 0) }, meaning))
}

/// A decision says itself what it has charged, where and when.
fn no_usage_beside(request: &admin::RefundRequest) -> Parsed<()> {
    let allowed = "nothing beside decision_id";
    if let Some(amount) = request.amounts.first() {
        return Err(InputError::new("amounts", &amount.meter, allowed));
    }
    if !request.scope.is_empty() {
        return Err(InputError::new("scope", &request.scope, allowed));
    }
    if let Some(scope) = request.scopes.first() {
        return Err(InputError::new("scopes", scope, allowed));
    }
    if request.at_ms == 0 { Ok(()) } else { Err(InputError::new("at_ms", request.at_ms, allowed)) }
}

/// A limit of the org is of no scope.
pub(super) fn limit(scope: &str, name: &str) -> Parsed<(Scope, OverrideSubject)> {
    let (scope, subject) = (any_scope(scope)?, OverrideSubject::limit("limit", name)?);
    if subject.is_of_org() && !scope.is_org() {
        return Err(InputError::new("scope", scope.shown(), format!("empty: {subject} is a limit of the org")));
    }
    Ok((scope, subject))
}

fn setting(request: &admin::SetOverrideRequest) -> Parsed<Setting> {
    known(request.setting, admin::OverrideSetting::try_from(request.setting).is_ok(), "setting")?;
    let word = match (request.setting(), request.amount) {
        (admin::OverrideSetting::Unspecified | admin::OverrideSetting::Amount, Some(given)) => {
            return amount("amount", given, "in the unit of the meter").map(Setting::Amount);
        }
        (admin::OverrideSetting::Unspecified | admin::OverrideSetting::Amount, None) => {
            let allowed = "an amount; or OVERRIDE_SETTING_UNLIMITED or OVERRIDE_SETTING_SHADOW";
            return Err(InputError::new("amount", "", allowed));
        }
        (admin::OverrideSetting::Unlimited, None) => Setting::Unlimited,
        (admin::OverrideSetting::Shadow, None) => Setting::Shadow,
        (admin::OverrideSetting::Grant, _) => {
            let allowed = "OVERRIDE_SETTING_AMOUNT, OVERRIDE_SETTING_UNLIMITED or OVERRIDE_SETTING_SHADOW";
            return Err(InputError::new("setting", request.setting, allowed));
        }
        (admin::OverrideSetting::Unlimited | admin::OverrideSetting::Shadow, Some(given)) => {
            return Err(InputError::new("amount", given, "only with OVERRIDE_SETTING_AMOUNT"));
        }
    };
    Ok(word)
}

/// An enum of a newer caller is refused: taken for its default it would mean something else.
fn known(given: i32, is_known: bool, field: &str) -> Parsed<()> {
    if is_known { Ok(()) } else { Err(InputError::new(field, given, "a value that this node knows")) }
}

/// As the enum of the request has it; an amount is the default.
fn number(setting: &Setting) -> u64 {
    match setting {
        Setting::Unlimited => 2,
        Setting::Shadow => 3,
        Setting::Amount(_)
        | Setting::Plan(_)
        | Setting::Exempt(_)
        | Setting::Ends
        | Setting::Extra(_)
        | Setting::UntilSpent { .. }
        | Setting::CountsFrom { .. } => 0,
    }
}

fn amount_of(setting: &Setting) -> Option<u64> {
    if let Setting::Amount(amount) = setting { Some(*amount) } else { None }
}

/// What is cleared has no end.
fn no_end_of_nothing(setting: Option<&Setting>, end: Option<End>) -> Parsed<()> {
    let field = match end {
        Some(End::After(_)) => "for_ms",
        Some(End::At(_)) => "until_ms",
        None => return Ok(()),
    };
    if setting.is_some() { Ok(()) } else { Err(InputError::new(field, "given", "0: what is cleared has no end")) }
}

/// When something ends by itself, in milliseconds; 0 is not given.
pub(super) fn end(for_ms: i64, until_ms: i64) -> Parsed<Option<End>> {
    let allowed = OVERRIDE_SHORTEST_MS..=OVERRIDE_LONGEST_MS;
    match (for_ms, until_ms) {
        (0, 0) => Ok(None),
        (0, until) => {
            let at =
                Millis::try_from(until).map_err(|_| InputError::new("until_ms", until, "0 or more milliseconds"))?;
            Ok(Some(End::At(at)))
        }
        (length, 0) => {
            let length = Millis::try_from(length).ok().filter(|length| allowed.contains(length));
            let rule = format!("{OVERRIDE_SHORTEST_MS} to {OVERRIDE_LONGEST_MS} milliseconds");
            length.map(|length| Some(End::After(length))).ok_or_else(|| InputError::new("for_ms", for_ms, rule))
        }
        (_, until) => Err(InputError::new("until_ms", until, "not together with for_ms")),
    }
}

/// Adds an end to what a call means, under the numbers of its two fields.
pub(super) fn ends(meaning: Meaning, (length, at): (u8, u8), end: Option<End>) -> Meaning {
    match end {
        None => meaning,
        Some(End::After(given)) => meaning.number(length, given),
        Some(End::At(given)) => meaning.number(at, given),
    }
}

fn version(given: Option<i64>) -> Parsed<Option<u64>> {
    let version = given.map(u64::try_from).transpose();
    version.map_err(|_| InputError::new("expected_version", given.unwrap_or_default(), "0 or more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1;

    fn request() -> admin::SetOverrideRequest {
        admin::SetOverrideRequest {
            org: "acme".into(),
            scope: "workspace/a".into(),
            request_id: "r".into(),
            limit: "budget/daily".into(),
            amount: Some(7),
            ..Default::default()
        }
    }

    #[test]
    fn an_override_is_an_amount_or_a_word_for_as_long_as_is_said() {
        let set = |change: fn(&mut admin::SetOverrideRequest)| {
            let mut request = request();
            change(&mut request);
            set_override(&request).map(|(_, set)| (set.setting, set.end))
        };
        assert_eq!(set(|_| {}).unwrap(), (Some(Setting::Amount(7)), None));
        let blocked = set(|request| (request.amount, request.for_ms) = (Some(0), 3_600_000));
        assert_eq!(blocked.unwrap(), (Some(Setting::Amount(0)), Some(End::After(3_600_000))));
        let lifted = set(|r| (r.amount, r.setting, r.until_ms) = (None, admin::OverrideSetting::Unlimited.into(), 9));
        assert_eq!(lifted.unwrap(), (Some(Setting::Unlimited), Some(End::At(9))));
        let shadow = set(|r| (r.amount, r.setting) = (None, admin::OverrideSetting::Shadow.into()));
        assert_eq!(shadow.unwrap().0, Some(Setting::Shadow));
    }

    #[test]
    fn what_is_refused_is_named_with_what_is_allowed() {
        let refused = |change: fn(&mut admin::SetOverrideRequest)| {
            let mut request = request();
            change(&mut request);
            let error = set_override(&request).unwrap_err();
            (error.field.clone(), error.to_string())
        };
        for (change, field, allowed) in [
            ((|r| r.amount = None) as fn(&mut admin::SetOverrideRequest), "amount", "OVERRIDE_SETTING_UNLIMITED"),
            (|r| r.setting = admin::OverrideSetting::Shadow.into(), "amount", "only with OVERRIDE_SETTING_AMOUNT"),
            (|r| r.setting = 77, "setting", "this node knows"),
            (|r| r.setting = admin::OverrideSetting::Grant.into(), "setting", "OVERRIDE_SETTING_AMOUNT"),
            (|r| r.amount = Some(-1), "amount", "0 to 10000000000000000"),
            (|r| r.limit = "daily".into(), "limit", "budget/daily"),
            (|r| r.limit = String::new(), "limit", "budget/daily"),
            (|r| r.limit = "rate".into(), "scope", "a limit of the org"),
            (|r| r.scope = "a b".into(), "scope", "printable"),
            (|r| r.for_ms = 999, "for_ms", "1000 to 315360000000"),
            (|r| r.for_ms = -1, "for_ms", "1000 to"),
            (|r| r.until_ms = -1, "until_ms", "0 or more"),
            (|r| (r.for_ms, r.until_ms) = (5_000, 5), "until_ms", "not together with for_ms"),
            (|r| r.expected_version = Some(-1), "expected_version", "0 or more"),
            (|r| r.reason = "x".repeat(257), "reason", "256"),
            (|r| r.request_id = String::new(), "request_id", "printable"),
        ] {
            let (named, text) = refused(change);
            assert_eq!(named, field, "{text}");
            assert!(text.contains(allowed), "{text}");
        }
    }

    fn given_back() -> admin::RefundRequest {
        let amounts = vec![v1::Amount { meter: "spend".into(), amount: 5 }];
        admin::RefundRequest { org: "acme".into(), request_id: "r".into(), amounts, ..Default::default() }
    }

    #[test]
    fn what_is_given_back_is_a_decision_or_amounts() {
        let id = "0123456789abcdef0123456789abcdef";
        let of_decision = admin::RefundRequest { decision_id: id.into(), amounts: vec![], ..given_back() };
        let of = |request: &admin::RefundRequest| refund(request).map(|(_, refund, _)| refund.of);
        assert!(matches!(of(&of_decision), Ok(RefundOf::Decision { recent: None, .. })));
        assert!(matches!(of(&given_back()), Ok(RefundOf::Usage { at: None, .. })));
        for (change, field, allowed) in [
            (
                (|r| r.amounts[0].amount = 0) as fn(&mut admin::RefundRequest),
                "amounts[0].amount",
                "1 to 10000000000000000",
            ),
            (|r| r.amounts.clear(), "amounts", "1 to 16 amounts, or none with a decision_id"),
            (|r| r.amounts[0].meter = "Spend".into(), "amounts[0].meter", "a letter first"),
            (|r| r.at_ms = -1, "at_ms", "0 for now"),
            (|r| r.scopes = vec!["a//b".into()], "scopes[0]", ""),
            (|r| r.decision_id = "x".into(), "decision_id", "32 lower-case"),
            (|r| r.reason = "x".repeat(257), "reason", "256"),
            (|r| r.request_id.clear(), "request_id", "printable"),
        ] {
            let mut request = given_back();
            change(&mut request);
            let error = refund(&request).unwrap_err();
            assert_eq!(error.field, field, "{error}");
            assert!(error.to_string().contains(allowed), "{error}");
        }
        for (change, field) in [
            ((|r| r.amounts = given_back().amounts) as fn(&mut admin::RefundRequest), "amounts"),
            (|r| r.scope = "a".into(), "scope"),
            (|r| r.scopes = vec!["a".into()], "scopes"),
            (|r| r.at_ms = 5, "at_ms"),
        ] {
            let mut request = of_decision.clone();
            change(&mut request);
            let error = refund(&request).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().contains("nothing beside decision_id"), "{error}");
        }
    }

    #[test]
    fn a_plan_and_an_exemption_are_set_or_cleared_and_only_what_is_set_has_an_end() {
        let plan = admin::SetPlanRequest { org: "acme".into(), request_id: "r".into(), ..Default::default() };
        let set = |request: admin::SetPlanRequest| set_plan(&request).map(|(_, set)| set.setting);
        let pro = admin::SetPlanRequest { plan: "pro".into(), for_ms: 5_000, ..plan.clone() };
        assert_eq!(set(pro.clone()).unwrap(), Some(Setting::Plan("pro".into())));
        let none = admin::SetPlanRequest { change: admin::PlanChange::None.into(), ..plan.clone() };
        assert_eq!(set(none).unwrap(), Some(Setting::Plan(String::new())));
        let clear = admin::SetPlanRequest { change: admin::PlanChange::Clear.into(), ..plan.clone() };
        assert_eq!(set(clear.clone()).unwrap(), None);
        assert_eq!(set(plan.clone()).unwrap_err().field, "plan");
        assert_eq!(set(admin::SetPlanRequest { change: clear.change, ..pro.clone() }).unwrap_err().field, "plan");
        assert_eq!(set(admin::SetPlanRequest { change: 77, ..pro }).unwrap_err().field, "change");
        assert_eq!(set(admin::SetPlanRequest { for_ms: 5_000, ..clear }).unwrap_err().field, "for_ms");
        let exemption = |change: admin::ExemptionChange| admin::SetExemptionRequest {
            org: "acme".into(),
            request_id: "r".into(),
            change: change.into(),
            ..Default::default()
        };
        let set = |change| set_exemption(&exemption(change)).map(|(_, set)| set.setting);
        assert_eq!(set(admin::ExemptionChange::NotExempt).unwrap(), Some(Setting::Exempt(false)));
        assert_eq!(set(admin::ExemptionChange::Clear).unwrap(), None);
        assert_eq!(set(admin::ExemptionChange::Unspecified).unwrap_err().field, "change");
        let ends = admin::SetExemptionRequest { until_ms: 7, ..exemption(admin::ExemptionChange::Clear) };
        assert_eq!(set_exemption(&ends).unwrap_err().field, "until_ms");
    }
}
