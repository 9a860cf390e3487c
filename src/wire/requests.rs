//! Proto → domain. What gets past here is valid; what does not names the field, its value and what
//! is allowed.

mod budgets;
mod pools;
mod sessions;

use std::sync::Arc;

use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use super::{admin::v1 as admin, v1};
use crate::{
    bounds::{AMOUNT_MAX, METERS_PER_CALL, RESERVATION_TTL_MAX_MS, RESERVATION_TTL_MIN_MS},
    domain::{
        command::{
            Acquire, Commit, Extend, Freeze, ListOutbox, Mode, PoolAsk, Purge, Record, Release, ReplayOutbox,
            ReportCumulative, Resume, Run, Unfreeze,
        },
        ids::{Amounts, DecisionId, ExecutionId, Incarnation, Meter, OrgId, Plane, Reason, RequestId, Scope, Source},
        input::InputError,
        outbox::OutboxKey,
        request::Idempotency,
        window::Millis,
    },
};

pub use self::{
    budgets::{replace_budget, update_budget},
    pools::{Outcome, Pick, configure_pool, pick, pool, report_outcome},
    sessions::{end_session, heartbeat, session, sessions_page, start_session},
};

type Parsed<T> = Result<T, InputError>;

pub fn org(text: &str) -> Parsed<OrgId> {
    OrgId::parse("org", text)
}

pub fn scope(text: &str) -> Parsed<Scope> {
    Scope::parse("scope", text)
}

pub fn acquire(request: &v1::AcquireRequest) -> Parsed<(OrgId, Arc<Acquire>)> {
    let mut cost = amounts("cost", &request.cost)?;
    if request.cost.is_empty() {
        cost.push((Meter::executions(), 1));
    }
    let reserve = amounts("reserve", &request.reserve)?;
    let reservation_ttl = match request.reservation_ttl_ms {
        0 => 0,
        given => ttl("reservation_ttl_ms", given)?,
    };
    let acquire = Acquire {
        run: Run::Execution,
        scope: scope(&request.scope)?,
        plane: Plane::parse("plane", &request.plane)?,
        idempotency: optional_id(&request.request_id, request)?,
        cost,
        reserve,
        reservation_ttl,
        mode: mode(request.mode)?,
        explain: request.explain,
        with_pause: with_pause(request.operation)?,
        pool: optional(&request.pool, pool)?.map(|pool| PoolAsk { pool, pick: false }),
        balance: None,
        exempt: None,
    };
    Ok((org(&request.org)?, Arc::new(acquire)))
}

pub fn commit(request: &v1::CommitRequest) -> Parsed<(OrgId, Commit)> {
    let reservation = DecisionId::parse("reservation_id", &request.reservation_id)?;
    let actual = amounts("actual", &request.actual)?;
    let idempotency = required_id(&request.request_id, request)?;
    Ok((org(&request.org)?, Commit { reservation, actual, idempotency }))
}

pub fn release(request: &v1::ReleaseRequest) -> Parsed<(OrgId, Release)> {
    let reservation = DecisionId::parse("reservation_id", &request.reservation_id)?;
    let idempotency = required_id(&request.request_id, request)?;
    Ok((org(&request.org)?, Release { reservation, idempotency }))
}

pub fn extend(request: &v1::ExtendRequest) -> Parsed<(OrgId, Extend)> {
    let reservation = DecisionId::parse("reservation_id", &request.reservation_id)?;
    let idempotency = required_id(&request.request_id, request)?;
    let ttl = ttl("ttl_ms", request.ttl_ms)?;
    Ok((org(&request.org)?, Extend { reservation, ttl, idempotency }))
}

pub fn resume(request: &v1::ResumeRequest) -> Parsed<(OrgId, Resume)> {
    let execution = ExecutionId::parse("execution_id", &request.execution_id)?;
    let idempotency = optional_id(&request.request_id, request)?;
    Ok((org(&request.org)?, Resume { execution, idempotency }))
}

pub fn record(request: &v1::RecordRequest) -> Parsed<(OrgId, Record)> {
    let usage = amounts("usage", &request.usage)?;
    if usage.is_empty() {
        return Err(InputError::new("usage", "", "1 to 16 amounts"));
    }
    let decision = match request.decision_id.as_str() {
        "" => None,
        text => Some(DecisionId::parse("decision_id", text)?),
    };
    let idempotency = required_id(&request.request_id, request)?;
    Ok((org(&request.org)?, Record { scope: scope(&request.scope)?, usage, decision, idempotency }))
}

pub fn report_cumulative(request: &v1::ReportCumulativeRequest) -> Parsed<(OrgId, ReportCumulative)> {
    let total = u64::try_from(request.total).map_err(|_| InputError::new("total", request.total, "0 or more"))?;
    let report = ReportCumulative {
        scope: scope(&request.scope)?,
        source: Source::parse("source", &request.source)?,
        incarnation: Incarnation::parse("incarnation", &request.incarnation)?,
        meter: Meter::parse("meter", &request.meter)?,
        total,
        idempotency: required_id(&request.request_id, request)?,
    };
    Ok((org(&request.org)?, report))
}

pub fn freeze(request: &admin::FreezeRequest) -> Parsed<(OrgId, Freeze)> {
    let reason = Reason::parse("reason", &request.reason)?;
    let idempotency = required_id(&request.request_id, request)?;
    Ok((org(&request.org)?, Freeze { reason, idempotency }))
}

pub fn unfreeze(request: &admin::UnfreezeRequest) -> Parsed<(OrgId, Unfreeze)> {
    let idempotency = required_id(&request.request_id, request)?;
    Ok((org(&request.org)?, Unfreeze { idempotency }))
}

/// A purge forgets request ids as well, so the id only has to be well formed; repeating it is
/// harmless.
pub fn purge(request: &admin::PurgeOrgRequest) -> Parsed<(OrgId, Purge)> {
    RequestId::parse("request_id", &request.request_id)?;
    Ok((org(&request.org)?, Purge))
}

/// A replay happens once for every time it is asked for; the id only has to be well formed.
pub fn replay_exports(request: &admin::ReplayExportsRequest) -> Parsed<(OrgId, ReplayOutbox)> {
    RequestId::parse("request_id", &request.request_id)?;
    let key = optional(&request.key, |text| OutboxKey::parse("key", text))?;
    Ok((org(&request.org)?, ReplayOutbox { key }))
}

/// Page size and the org to go on behind.
pub fn page(request: &admin::ListOrgsRequest) -> Parsed<(usize, Option<OrgId>)> {
    let after = optional(&request.page_token, |text| OrgId::parse("page_token", text))?;
    Ok((page_size(request.page_size)?, after))
}

/// Which rows of the outbox.
pub fn exports_page(request: &admin::ListExportsRequest) -> Parsed<(OrgId, ListOutbox)> {
    let after = optional(&request.page_token, |text| OutboxKey::parse("page_token", text))?;
    let (max, set_aside) = (page_size(request.page_size)?, request.set_aside);
    Ok((org(&request.org)?, ListOutbox { after, max, set_aside }))
}

/// One org, or all of them a page at a time.
pub fn audit(request: &admin::AuditRequest) -> Parsed<(Option<OrgId>, usize, Option<OrgId>)> {
    let one = optional(&request.org, org)?;
    let after = optional(&request.page_token, |text| OrgId::parse("page_token", text))?;
    Ok((one, page_size(request.page_size)?, after))
}

fn page_size(given: i32) -> Parsed<usize> {
    match given {
        0 => Ok(100),
        1..=1000 => Ok(usize::try_from(given).unwrap_or(100)),
        _ => Err(InputError::new("page_size", given, "1 to 1000, or 0 for 100")),
    }
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// A batch within its bound.
pub fn batch<T>(items: &[T], max: u32) -> Parsed<()> {
    if items.is_empty() || items.len() > max as usize {
        return Err(InputError::new("items", items.len(), format!("1 to {max} items")));
    }
    Ok(())
}

fn amounts(field: &str, given: &[v1::Amount]) -> Parsed<Amounts> {
    if given.len() > METERS_PER_CALL {
        return Err(InputError::new(field, format!("{} amounts", given.len()), "at most 16 amounts"));
    }
    let mut amounts = Amounts::with_capacity(given.len());
    for (index, item) in given.iter().enumerate() {
        let at = || format!("{field}[{index}]");
        let meter = Meter::parse("meter", &item.meter).map_err(|error| error.within(at()))?;
        if amounts.iter().any(|(other, _)| *other == meter) {
            return Err(InputError::new("meter", &item.meter, "each meter at most once").within(at()));
        }
        amounts.push((meter, amount("amount", item.amount, "").map_err(|error| error.within(at()))?));
    }
    Ok(amounts)
}

/// An amount in the meter's unit; `unit` is said where only one is meant.
fn amount(field: &str, given: i64, unit: &str) -> Parsed<u64> {
    let amount = u64::try_from(given).ok().filter(|amount| *amount <= AMOUNT_MAX);
    amount.ok_or_else(|| InputError::new(field, given, format!("0 to {AMOUNT_MAX} {unit}").trim_end()))
}

fn ttl(field: &str, given: i64) -> Parsed<Millis> {
    let allowed = RESERVATION_TTL_MIN_MS..=RESERVATION_TTL_MAX_MS;
    let ttl = u64::try_from(given).ok().filter(|ttl| allowed.contains(ttl));
    ttl.ok_or_else(|| InputError::new(field, given, "1000 to 86400000 milliseconds"))
}

fn mode(given: i32) -> Parsed<Mode> {
    match v1::Mode::try_from(given) {
        Ok(v1::Mode::Unspecified | v1::Mode::Normal) => Ok(Mode::Normal),
        Ok(v1::Mode::CheckOnly) => Ok(Mode::CheckOnly),
        Ok(v1::Mode::Shadow) => Ok(Mode::Shadow),
        Err(_) => Err(InputError::new("mode", given, "MODE_NORMAL, MODE_CHECK_ONLY or MODE_SHADOW")),
    }
}

fn with_pause(given: i32) -> Parsed<bool> {
    match v1::Operation::try_from(given) {
        Ok(v1::Operation::Unspecified | v1::Operation::Execute) => Ok(false),
        Ok(v1::Operation::ExecuteWithPause) => Ok(true),
        Err(_) => Err(InputError::new("operation", given, "OPERATION_EXECUTE or OPERATION_EXECUTE_WITH_PAUSE")),
    }
}

/// The id with a fingerprint of the whole request, by which another body under the same id shows.
fn required_id(id: &str, request: &impl Message) -> Parsed<Idempotency> {
    let id = RequestId::parse("request_id", id)?;
    Ok(Idempotency { id, fingerprint: xxh3_64(&request.encode_to_vec()) })
}

fn optional_id(id: &str, request: &impl Message) -> Parsed<Option<Idempotency>> {
    if id.is_empty() { Ok(None) } else { required_id(id, request).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::AcquireRequest {
        v1::AcquireRequest { org: "acme".into(), ..Default::default() }
    }

    fn amount(meter: &str, amount: i64) -> v1::Amount {
        v1::Amount { meter: meter.into(), amount }
    }

    #[test]
    fn the_default_cost_is_one_execution() {
        let (org, acquire) = super::acquire(&request()).unwrap();
        assert_eq!((org.as_str(), acquire.cost.as_slice()), ("acme", &[(Meter::executions(), 1)][..]));
    }

    #[test]
    fn every_bad_field_is_named() {
        let with = |change: fn(&mut v1::AcquireRequest)| {
            let mut request = request();
            change(&mut request);
            super::acquire(&request).unwrap_err().field
        };
        for (field, got) in [
            ("org", with(|r| r.org = "../..".into())),
            ("scope", with(|r| r.scope = "a//b".into())),
            ("request_id", with(|r| r.request_id = "a\nb".into())),
            ("cost[0].amount", with(|r| r.cost = vec![amount("spend", -1)])),
            ("cost[1].meter", with(|r| r.cost = vec![amount("spend", 1), amount("spend", 1)])),
            ("reserve[0].meter", with(|r| r.reserve = vec![amount("Spend", 1)])),
            ("reserve[0].amount", with(|r| r.reserve = vec![amount("spend", i64::MAX)])),
            ("cost", with(|r| r.cost = vec![amount("spend", 1); 17])),
            ("reservation_ttl_ms", with(|r| r.reservation_ttl_ms = 999)),
            ("mode", with(|r| r.mode = 9)),
            ("operation", with(|r| r.operation = -1)),
            ("plane", with(|r| r.plane = "x".repeat(65))),
        ] {
            assert_eq!(got, field);
        }
    }

    #[test]
    fn another_body_has_another_fingerprint() {
        let id = |request: &v1::AcquireRequest| super::acquire(request).unwrap().1.idempotency.clone().unwrap();
        let first = v1::AcquireRequest { request_id: "r1".into(), ..request() };
        let second = v1::AcquireRequest { explain: true, ..first.clone() };
        assert_eq!(id(&first), id(&first.clone()));
        assert_ne!(id(&first), id(&second));
    }
}
