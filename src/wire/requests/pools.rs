//! Pools of upstream accounts. An account is a secret: no error repeats one.

use std::{collections::BTreeSet, sync::Arc};

use super::{Meaning, Parsed, acquire, amount, gate, optional, optional_id, org, required_id};
use crate::{
    domain::{
        command::{self, Acquire, ConfigurePool, Mode, NewAccount, PoolAsk},
        ids::{AccountId, OrgId, PoolId},
        input::InputError,
        request::Idempotency,
        window::{WINDOW_RULE, Window},
    },
    wire::v1,
};

/// Reads the field `pool`.
pub fn pool(text: &str) -> Parsed<PoolId> {
    PoolId::parse("pool", text)
}

fn account(text: &str) -> Parsed<AccountId> {
    AccountId::parse("account", text)
}

/// All accounts of the pool, each once; an error shows an account masked.
pub fn configure_pool(request: &v1::ConfigurePoolRequest) -> Parsed<(OrgId, ConfigurePool)> {
    let mut seen = BTreeSet::new();
    let mut accounts = Vec::with_capacity(request.accounts.len());
    for (index, given) in request.accounts.iter().enumerate() {
        let at = || format!("accounts[{index}]");
        let new = new_account(given).map_err(|error| error.within(at()))?;
        if !seen.insert(new.id.clone()) {
            return Err(InputError::new("account", new.id.masked(), "each account once").within(at()));
        }
        accounts.push(new);
    }
    let version = |given| {
        u64::try_from(given).map_err(|_| InputError::new("expected_version", given, "0 or more; 0 = no such pool"))
    };
    let pool = pool(&request.pool)?;
    let expected_version = request.expected_version.map(version).transpose()?;
    let meaning =
        Meaning::default().text(2, pool.as_str()).set(3, accounts.iter().map(of_account)).optional(5, expected_version);
    let idempotency = required_id(&request.request_id, &meaning)?;
    let set = ConfigurePool { pool, accounts, expected_version, idempotency };
    Ok((org(&request.org)?, set))
}

fn new_account(given: &v1::PoolAccount) -> Parsed<NewAccount> {
    let window = |text: &str| Window::parse(text).ok_or_else(|| InputError::new("window", text, WINDOW_RULE));
    Ok(NewAccount {
        id: account(&given.account)?,
        daily_limit: given.daily_limit.map(|limit| amount("daily_limit", limit, "")).transpose()?,
        safety_buffer: given.safety_buffer.map(|buffer| amount("safety_buffer", buffer, "")).transpose()?,
        window: optional(&given.window, window)?,
    })
}

/// `PoolAccount` of the proto.
fn of_account(new: &NewAccount) -> Meaning {
    Meaning::default()
        .text(1, new.id.as_str())
        .optional(2, new.daily_limit)
        .optional(3, new.safety_buffer)
        .text(4, &new.window.map(|window| window.to_string()).unwrap_or_default())
}

/// A pick with or without the gates of the org.
#[derive(Debug)]
pub enum Pick {
    /// Without the gates of the org.
    Alone(OrgId, command::Pick),
    /// With them: the Acquire, which also picks.
    Gated(OrgId, Arc<Acquire>),
}

/// An `acquire` in it is one with the gates of the org; what it repeats must be the same.
pub fn pick(request: &v1::PickRequest) -> Parsed<Pick> {
    let (org, pool) = (org(&request.org)?, pool(&request.pool)?);
    let meaning = Meaning::default().text(2, pool.as_str());
    let Some(inner) = &request.acquire else {
        let idempotency = optional_id(&request.request_id, || meaning)?;
        return Ok(Pick::Alone(org, command::Pick { pool, idempotency }));
    };
    let ask = gated(request, inner).map_err(|error| error.within("acquire"))?;
    let idempotency = optional_id(&request.request_id, || meaning.message(4, &gate::meaning(&ask)))?;
    let ask = Acquire { idempotency, pool: Some(PoolAsk { pool, pick: true }), ..ask };
    Ok(Pick::Gated(org, Arc::new(ask)))
}

/// What an Acquire says for itself has to be what the pick says around it, and is left to the pick.
fn gated(request: &v1::PickRequest, inner: &v1::AcquireRequest) -> Parsed<Acquire> {
    let same = [
        ("org", &inner.org, &request.org),
        ("pool", &inner.pool, &request.pool),
        ("request_id", &inner.request_id, &request.request_id),
    ];
    for (field, given, outer) in same {
        if !given.is_empty() && given != outer {
            return Err(InputError::new(field, given, format!("empty, or the {field} of the pick")));
        }
    }
    let mut alone = v1::AcquireRequest { org: request.org.clone(), ..inner.clone() };
    alone.pool.clear();
    alone.request_id.clear();
    let (_, ask) = acquire(&alone)?;
    if ask.mode != Mode::Normal {
        return Err(InputError::new("mode", inner.mode().as_str_name(), "MODE_NORMAL: a pick takes an account"));
    }
    Ok(Arc::unwrap_or_clone(ask))
}

/// How a call went, as it was reported.
#[derive(Debug)]
pub struct Outcome {
    /// Whose pool it is.
    pub org: OrgId,
    /// The pool that was picked from.
    pub pool: PoolId,
    /// `None` = the report names none: it counts for the pool alone.
    pub account: Option<AccountId>,
    /// 0 = there was none.
    pub status: u16,
    /// Bytes sent to the upstream.
    pub bytes_up: u64,
    /// Bytes received from the upstream.
    pub bytes_down: u64,
    /// `None` = a retry counts again.
    pub idempotency: Option<Idempotency>,
}

/// The status is 100 to 599, or 0 where there was no answer. The service reads the text.
pub fn report_outcome(request: &v1::ReportOutcomeRequest) -> Parsed<Outcome> {
    let status = u16::try_from(request.status).ok().filter(|status| *status == 0 || (100..=599).contains(status));
    let org = org(&request.org)?;
    let pool = pool(&request.pool)?;
    let account = optional(&request.account, account)?;
    let status = status
        .ok_or_else(|| InputError::new("status", request.status, "100 to 599, or 0 where there was no answer"))?;
    let bytes_up = amount("bytes_up", request.bytes_up, "")?;
    let bytes_down = amount("bytes_down", request.bytes_down, "")?;
    let idempotency = optional_id(&request.request_id, || {
        Meaning::default()
            .text(2, pool.as_str())
            .text(3, account.as_ref().map_or("", AccountId::as_str))
            .number(4, status.into())
            .text(5, &request.error_text)
            .number(6, bytes_up)
            .number(7, bytes_down)
    })?;
    Ok(Outcome { org, pool, account, status, bytes_up, bytes_down, idempotency })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-secret-0123456789-9f3c";

    fn configured() -> v1::ConfigurePoolRequest {
        let accounts = vec![v1::PoolAccount { account: SECRET.into(), ..Default::default() }];
        let (org, pool, request_id) = ("acme".into(), "p".into(), "r".into());
        v1::ConfigurePoolRequest { org, pool, accounts, request_id, ..Default::default() }
    }

    fn refused(change: impl FnOnce(&mut v1::ConfigurePoolRequest)) -> InputError {
        let mut request = configured();
        change(&mut request);
        configure_pool(&request).unwrap_err()
    }

    #[test]
    fn every_bad_field_of_a_configuration_is_named_and_no_account_is_repeated() {
        let cases = [
            ("accounts[0].account", refused(|r| r.accounts[0].account = format!("{SECRET} "))),
            ("accounts[0].daily_limit", refused(|r| r.accounts[0].daily_limit = Some(-1))),
            ("accounts[0].safety_buffer", refused(|r| r.accounts[0].safety_buffer = Some(i64::MAX))),
            ("accounts[0].window", refused(|r| r.accounts[0].window = "daily".into())),
            ("accounts[1].account", refused(|r| r.accounts.push(r.accounts[0].clone()))),
            ("pool", refused(|r| r.pool = "a b".into())),
            ("org", refused(|r| r.org = String::new())),
            ("request_id", refused(|r| r.request_id = String::new())),
            ("expected_version", refused(|r| r.expected_version = Some(-1))),
        ];
        for (field, error) in cases {
            assert_eq!(error.field, field);
            assert!(!error.to_string().contains("0123456789"), "{error}");
        }
        assert!(configure_pool(&configured()).is_ok());
    }

    fn picked(inner: v1::AcquireRequest) -> Parsed<Pick> {
        let (org, pool, request_id) = ("acme".into(), "p".into(), "r".into());
        pick(&v1::PickRequest { org, pool, request_id, acquire: Some(inner) })
    }

    #[test]
    fn an_acquire_inside_a_pick_says_nothing_else_than_the_pick() {
        let field = |inner| picked(inner).unwrap_err().field;
        assert_eq!(field(v1::AcquireRequest { org: "other".into(), ..Default::default() }), "acquire.org");
        assert_eq!(field(v1::AcquireRequest { pool: "q".into(), ..Default::default() }), "acquire.pool");
        assert_eq!(field(v1::AcquireRequest { request_id: "s".into(), ..Default::default() }), "acquire.request_id");
        assert_eq!(field(v1::AcquireRequest { scope: "//".into(), ..Default::default() }), "acquire.scope");
        let mode = v1::Mode::CheckOnly.into();
        assert_eq!(field(v1::AcquireRequest { mode, ..Default::default() }), "acquire.mode");
        let same =
            v1::AcquireRequest { org: "acme".into(), pool: "p".into(), request_id: "r".into(), ..Default::default() };
        let Ok(Pick::Gated(_, ask)) = picked(same) else { panic!("refused") };
        assert!(ask.idempotency.is_some() && ask.pool.as_ref().is_some_and(|ask| ask.pick));
    }

    #[test]
    fn every_bad_field_of_an_outcome_is_named() {
        let report = v1::ReportOutcomeRequest { org: "acme".into(), pool: "p".into(), ..Default::default() };
        let field = |change: fn(&mut v1::ReportOutcomeRequest)| {
            let mut request = report.clone();
            change(&mut request);
            report_outcome(&request).unwrap_err().field
        };
        for status in [-1, 1, 99, 600, i32::MAX] {
            let request = v1::ReportOutcomeRequest { status, ..report.clone() };
            assert_eq!(report_outcome(&request).unwrap_err().field, "status");
        }
        assert_eq!(field(|r| r.bytes_up = -1), "bytes_up");
        assert_eq!(field(|r| r.bytes_down = i64::MAX), "bytes_down");
        assert_eq!(field(|r| r.account = "a b".into()), "account");
        assert_eq!(field(|r| r.pool = String::new()), "pool");
        assert!(report_outcome(&report).is_ok_and(|outcome| outcome.account.is_none()));
    }
}
