//! What operators grant on top of limits, and the windows that they reset.

use super::{
    Meaning, Parsed, amount,
    control::{end, ends, limit},
    org, reason, required_id,
};
use crate::{
    domain::{
        command::{Grant, Lasts, ResetWindow, RevokeGrant},
        ids::OrgId,
        input::InputError,
    },
    wire::admin::v1 as admin,
};

/// So much more of one limit, for a while.
pub fn grant(request: &admin::GrantRequest) -> Parsed<(OrgId, Box<Grant>)> {
    let (scope, limit) = limit(&request.scope, &request.limit)?;
    let amount = granted(request.amount)?;
    let end = end(request.for_ms, request.until_ms)?;
    let reason = reason(&request.reason)?;
    let meaning = Meaning::default().text(2, scope.as_str()).text(4, limit.as_str()).number(5, amount);
    let until_spent = request.until_spent;
    let meaning = ends(meaning, (6, 7), end).added(5, |meaning| meaning.number(9, until_spent.into()));
    let idempotency = required_id(&request.request_id, &meaning)?;
    let lasts = match (until_spent, end) {
        (true, end) => Lasts::UntilSpent(end),
        (false, Some(end)) => Lasts::To(end),
        (false, None) => Lasts::Window,
    };
    let grant = Grant { scope, limit, amount, lasts, reason, idempotency };
    Ok((org(&request.org)?, Box::new(grant)))
}

/// A grant that ends now.
pub fn revoke_grant(request: &admin::RevokeGrantRequest) -> Parsed<(OrgId, Box<RevokeGrant>)> {
    let number = u64::try_from(request.grant).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| InputError::new("grant", request.grant, "1 or more: the number of a grant"))?;
    let reason = reason(&request.reason)?;
    let idempotency = required_id(&request.request_id, &Meaning::default().number(3, number))?;
    Ok((org(&request.org)?, Box::new(RevokeGrant { number, reason, idempotency })))
}

/// One limit of which nothing is used from now on.
pub fn reset_window(request: &admin::ResetWindowRequest) -> Parsed<(OrgId, Box<ResetWindow>)> {
    let (scope, limit) = limit(&request.scope, &request.limit)?;
    let reason = reason(&request.reason)?;
    let meaning = Meaning::default().text(2, scope.as_str()).text(4, limit.as_str());
    let idempotency = required_id(&request.request_id, &meaning)?;
    Ok((org(&request.org)?, Box::new(ResetWindow { scope, limit, reason, idempotency })))
}

fn granted(given: i64) -> Parsed<u64> {
    let amount = amount("amount", given, "in the unit of the meter")?;
    if amount > 0 { Ok(amount) } else { Err(InputError::new("amount", given, "1 or more, in the unit of the meter")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::End;

    fn request() -> admin::GrantRequest {
        admin::GrantRequest {
            org: "acme".into(),
            scope: "workspace/a".into(),
            request_id: "r".into(),
            limit: "budget/daily".into(),
            amount: 5,
            for_ms: 3_600_000,
            ..Default::default()
        }
    }

    #[test]
    fn a_grant_lasts_for_a_time_or_for_the_window() {
        let lasts = |change: fn(&mut admin::GrantRequest)| {
            let mut request = request();
            change(&mut request);
            grant(&request).map(|(_, grant)| grant.lasts)
        };
        assert_eq!(lasts(|_| {}), Ok(Lasts::To(End::After(3_600_000))));
        assert_eq!(lasts(|request| (request.for_ms, request.until_ms) = (0, 9)), Ok(Lasts::To(End::At(9))));
        assert_eq!(lasts(|request| request.for_ms = 0), Ok(Lasts::Window));
        let until_spent = lasts(|request| (request.for_ms, request.until_spent) = (0, true));
        assert_eq!(until_spent, Ok(Lasts::UntilSpent(None)));
        assert_eq!(lasts(|request| request.until_spent = true), Ok(Lasts::UntilSpent(Some(End::After(3_600_000)))));
    }

    #[test]
    fn until_it_is_spent_is_another_call_than_for_the_window() {
        let of = |until_spent| {
            let request = admin::GrantRequest { for_ms: 0, until_spent, ..request() };
            grant(&request).unwrap().1.idempotency
        };
        assert_ne!(of(true), of(false));
        assert_eq!(of(true), of(true));
    }

    #[test]
    fn what_is_refused_is_named_with_what_is_allowed() {
        type Change = fn(&mut admin::GrantRequest);
        for (change, field, allowed) in [
            ((|r| r.amount = 0) as Change, "amount", "1 or more"),
            (|r| r.amount = -1, "amount", "0 to 10000000000000000"),
            (|r| r.limit = "daily".into(), "limit", "budget/daily"),
            (|r| r.limit = "rate".into(), "scope", "a limit of the org"),
            (|r| r.for_ms = 999, "for_ms", "1000 to 315360000000"),
            (|r| r.until_ms = 5, "until_ms", "not together with for_ms"),
            (|r| r.reason = "x".repeat(257), "reason", "256"),
            (|r| r.request_id = String::new(), "request_id", "printable"),
            (|r| r.org = String::new(), "org", "1 to"),
        ] {
            let mut request = request();
            change(&mut request);
            let error = grant(&request).unwrap_err();
            assert_eq!(error.field, field, "{error}");
            assert!(error.to_string().contains(allowed), "{error}");
        }
        let revoke = admin::RevokeGrantRequest { org: "acme".into(), request_id: "r".into(), ..Default::default() };
        for number in [0, -1] {
            let refused = revoke_grant(&admin::RevokeGrantRequest { grant: number, ..revoke.clone() }).unwrap_err();
            assert_eq!(refused.field, "grant", "{number}");
        }
        assert_eq!(revoke_grant(&admin::RevokeGrantRequest { grant: 3, ..revoke }).unwrap().1.number, 3);
    }
}
