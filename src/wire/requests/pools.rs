//! Pools of upstream accounts. An account is a secret: no error repeats one.

use std::{collections::BTreeSet, sync::Arc};

use super::{Meaning, Parsed, acquire, amount, gate, optional, optional_id, org, required_id};
use crate::{
    bounds::{QUOTA_TEXT_BYTES, QUOTA_TEXTS, ROUTE_AVOIDED_MAX_MS, SECOND_MS},
    domain::{
        command::{self, Acquire, ClearAccount, ConfigurePool, Mode, NewAccount, PoolAsk, ReportOutcome},
        ids::{AccountId, OrgId, PoolId},
        input::InputError,
        policy::{PoolSettings, Profile},
        window::{Millis, WINDOW_RULE, Window},
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
    let settings = request.settings.as_ref().map(settings).transpose();
    let settings = settings.map_err(|error| error.within("settings"))?;
    let meaning =
        Meaning::default().text(2, pool.as_str()).set(3, accounts.iter().map(of_account)).optional(5, expected_version);
    let meaning = meaning.added(3, |meaning| match &settings {
        Some(settings) => meaning.message(6, &of_settings(settings)),
        None => meaning,
    });
    let idempotency = required_id(&request.request_id, &meaning)?;
    let set = ConfigurePool { pool, accounts, settings, expected_version, idempotency };
    Ok((org(&request.org)?, set))
}

fn new_account(given: &v1::PoolAccount) -> Parsed<NewAccount> {
    Ok(NewAccount {
        id: account(&given.account)?,
        daily_limit: calls("daily_limit", given.daily_limit)?,
        safety_buffer: calls("safety_buffer", given.safety_buffer)?,
        window: optional(&given.window, window)?,
        per_minute: calls("per_minute", given.per_minute)?,
    })
}

fn calls(field: &str, given: Option<i64>) -> Parsed<Option<u64>> {
    given.map(|given| amount(field, given, "calls")).transpose()
}

fn window(text: &str) -> Parsed<Window> {
    Window::parse(text).ok_or_else(|| InputError::new("window", text, WINDOW_RULE))
}

fn settings(given: &v1::PoolSettings) -> Parsed<PoolSettings> {
    let profile = match v1::PoolProfile::try_from(given.profile) {
        Ok(v1::PoolProfile::Unspecified) => None,
        Ok(v1::PoolProfile::Relay) => Some(Profile::Relay),
        Ok(v1::PoolProfile::Llm) => Some(Profile::Llm),
        Err(_) => return Err(InputError::new("profile", given.profile, "POOL_PROFILE_RELAY or POOL_PROFILE_LLM")),
    };
    Ok(PoolSettings {
        profile,
        daily_limit: calls("daily_limit", given.daily_limit)?,
        safety_buffer: calls("safety_buffer", given.safety_buffer)?,
        window: optional(&given.window, window)?,
        per_minute: calls("per_minute", given.per_minute)?,
        cooldown: wait("cooldown_ms", given.cooldown_ms, SECOND_MS)?,
        quarantine: wait("quarantine_ms", given.quarantine_ms, SECOND_MS)?,
        quota_texts: quota_texts(&given.quota_texts)?,
    })
}

/// In lower case; none = those of the profile.
fn quota_texts(given: &[String]) -> Parsed<Option<Vec<String>>> {
    let rule = format!("at most {QUOTA_TEXTS} texts of 1 to {QUOTA_TEXT_BYTES} bytes");
    if given.len() > QUOTA_TEXTS {
        return Err(InputError::new("quota_texts", format!("{} texts", given.len()), rule));
    }
    let is_bad = |text: &&String| text.trim().is_empty() || text.len() > QUOTA_TEXT_BYTES;
    if let Some(bad) = given.iter().find(is_bad) {
        return Err(InputError::new("quota_texts", bad, rule));
    }
    Ok((!given.is_empty()).then(|| given.iter().map(|text| text.to_lowercase()).collect()))
}

/// Milliseconds from `least` to the longest time that a route is avoided.
fn wait(field: &str, given: Option<i64>, least: Millis) -> Parsed<Option<Millis>> {
    let allowed = least..=ROUTE_AVOIDED_MAX_MS;
    let read = |given| {
        let wait = Millis::try_from(given).ok().filter(|wait| allowed.contains(wait));
        let rule = || format!("{least} to {ROUTE_AVOIDED_MAX_MS} milliseconds");
        wait.ok_or_else(|| InputError::new(field, given, rule()))
    };
    given.map(read).transpose()
}

/// `PoolSettings` of the proto.
fn of_settings(settings: &PoolSettings) -> Meaning {
    let profile = settings.profile.map_or(0, |profile| match profile {
        Profile::Relay => 1,
        Profile::Llm => 2,
    });
    let texts = settings.quota_texts.iter().flatten();
    Meaning::default()
        .number(1, profile)
        .optional(2, settings.daily_limit)
        .optional(3, settings.safety_buffer)
        .text(4, &settings.window.map(|window| window.to_string()).unwrap_or_default())
        .optional(5, settings.per_minute)
        .optional(6, settings.cooldown)
        .optional(7, settings.quarantine)
        .set(8, texts.map(|text| Meaning::default().text(1, text)))
}

/// `PoolAccount` of the proto.
fn of_account(new: &NewAccount) -> Meaning {
    Meaning::default()
        .text(1, new.id.as_str())
        .optional(2, new.daily_limit)
        .optional(3, new.safety_buffer)
        .text(4, &new.window.map(|window| window.to_string()).unwrap_or_default())
        .added(3, |meaning| meaning.optional(5, new.per_minute))
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

/// The status is 100 to 599, or 0 where there was no answer. The org reads the text.
pub fn report_outcome(request: &v1::ReportOutcomeRequest) -> Parsed<(OrgId, ReportOutcome)> {
    let status = u16::try_from(request.status).ok().filter(|status| *status == 0 || (100..=599).contains(status));
    let org = org(&request.org)?;
    let pool = pool(&request.pool)?;
    let account = optional(&request.account, account)?;
    let status = status
        .ok_or_else(|| InputError::new("status", request.status, "100 to 599, or 0 where there was no answer"))?;
    let bytes_up = amount("bytes_up", request.bytes_up, "")?;
    let bytes_down = amount("bytes_down", request.bytes_down, "")?;
    let retry_after = wait("retry_after_ms", request.retry_after_ms, 0)?;
    let instant = |given| {
        let rule = "milliseconds since the Unix epoch, as Pick returned them";
        Millis::try_from(given).map_err(|_| InputError::new("picked_at_ms", given, rule))
    };
    let picked_at = request.picked_at_ms.map(instant).transpose()?;
    let idempotency = optional_id(&request.request_id, || {
        Meaning::default()
            .text(2, pool.as_str())
            .text(3, account.as_ref().map_or("", AccountId::as_str))
            .number(4, status.into())
            .text(5, &request.error_text)
            .number(6, bytes_up)
            .number(7, bytes_down)
            .added(3, |meaning| meaning.optional(9, retry_after).optional(10, picked_at))
    })?;
    let text = request.error_text.clone();
    let report =
        ReportOutcome { pool, account, status, text, retry_after, picked_at, bytes_up, bytes_down, idempotency };
    Ok((org, report))
}

/// The account whose evidence and route are forgotten.
pub fn clear_account(request: &v1::ClearAccountRequest) -> Parsed<(OrgId, ClearAccount)> {
    let (org, pool, account) = (org(&request.org)?, pool(&request.pool)?, account(&request.account)?);
    let meaning = Meaning::default().text(2, pool.as_str()).text(3, account.as_str());
    let idempotency = required_id(&request.request_id, &meaning)?;
    Ok((org, ClearAccount { pool, account, idempotency }))
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

    fn of_settings(change: impl FnOnce(&mut v1::PoolSettings)) -> InputError {
        refused(|r| change(r.settings.insert(v1::PoolSettings::default())))
    }

    #[test]
    fn every_bad_field_of_a_configuration_is_named_and_no_account_is_repeated() {
        let cases = [
            ("accounts[0].account", refused(|r| r.accounts[0].account = format!("{SECRET} "))),
            ("accounts[0].daily_limit", refused(|r| r.accounts[0].daily_limit = Some(-1))),
            ("accounts[0].safety_buffer", refused(|r| r.accounts[0].safety_buffer = Some(i64::MAX))),
            ("accounts[0].window", refused(|r| r.accounts[0].window = "daily".into())),
            ("accounts[0].per_minute", refused(|r| r.accounts[0].per_minute = Some(-1))),
            ("accounts[1].account", refused(|r| r.accounts.push(r.accounts[0].clone()))),
            ("settings.profile", refused(|r| r.settings = Some(v1::PoolSettings { profile: 9, ..Default::default() }))),
            ("settings.daily_limit", of_settings(|s| s.daily_limit = Some(-1))),
            ("settings.safety_buffer", of_settings(|s| s.safety_buffer = Some(-1))),
            ("settings.window", of_settings(|s| s.window = "daily".into())),
            ("settings.per_minute", of_settings(|s| s.per_minute = Some(i64::MAX))),
            ("settings.cooldown_ms", of_settings(|s| s.cooldown_ms = Some(999))),
            ("settings.quarantine_ms", of_settings(|s| s.quarantine_ms = Some(i64::MAX))),
            ("settings.quota_texts", of_settings(|s| s.quota_texts = vec![" ".into()])),
            ("settings.quota_texts", of_settings(|s| s.quota_texts = vec!["x".repeat(129)])),
            ("settings.quota_texts", of_settings(|s| s.quota_texts = vec!["x".into(); 65])),
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
        for wait in [-1, 2_592_000_001, i64::MAX] {
            let request = v1::ReportOutcomeRequest { retry_after_ms: Some(wait), ..report.clone() };
            assert_eq!(report_outcome(&request).unwrap_err().field, "retry_after_ms");
        }
        assert_eq!(field(|r| r.picked_at_ms = Some(-1)), "picked_at_ms");
        assert_eq!(field(|r| r.account = "a b".into()), "account");
        assert_eq!(field(|r| r.pool = String::new()), "pool");
        assert!(report_outcome(&report).is_ok_and(|(_, outcome)| outcome.account.is_none()));
    }
}
