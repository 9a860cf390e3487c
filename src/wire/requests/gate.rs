//! Acquires, and what settles and reports them.

use std::sync::Arc;

use smallvec::smallvec;

use super::{
    Meaning, Parsed, amounts, optional, optional_id, org, page_size, plane, pool, required_id, scope, scopes, ttl,
};
use crate::{
    bounds::RESERVATION_TTL_DEFAULT_MS,
    domain::{
        command::{
            Acquire, Commit, Extend, ListReservations, Mode, PoolAsk, Record, Release, ReportCumulative, Resume, Run,
        },
        ids::{Amounts, DecisionId, ExecutionId, Incarnation, Meter, OrgId, Source},
        input::InputError,
    },
    wire::v1,
};

/// Without a cost, one execution is charged. A TTL of 0 is the default where something is reserved.
pub fn acquire(request: &v1::AcquireRequest) -> Parsed<(OrgId, Arc<Acquire>)> {
    let mut cost = amounts("cost", &request.cost)?;
    if request.cost.is_empty() {
        cost = default_cost();
    }
    let reserve = amounts("reserve", &request.reserve)?;
    let reservation_ttl = match request.reservation_ttl_ms {
        0 => 0,
        given => ttl("reservation_ttl_ms", given)?,
    };
    let mut acquire = Acquire {
        run: Run::Execution,
        scopes: scopes(&request.scope, &request.scopes)?,
        plane: plane(&request.plane)?,
        trace: None,
        idempotency: None,
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
    acquire.idempotency = optional_id(&request.request_id, || meaning(&acquire))?;
    Ok((org(&request.org)?, Arc::new(acquire)))
}

fn default_cost() -> Amounts {
    smallvec![(Meter::executions(), 1)]
}

/// Of the fields of an `AcquireRequest`.
pub(super) fn meaning(ask: &Acquire) -> Meaning {
    let mut meaning = Meaning::default().scopes((2, 12), &ask.scopes);
    if ask.with_pause {
        meaning = meaning.number(3, v1::Operation::ExecuteWithPause as u64);
    }
    if ask.cost != default_cost() {
        meaning = meaning.amounts(5, &ask.cost);
    }
    meaning = meaning.amounts(6, &ask.reserve);
    // A node with a lower maximum shortens the default, whichever way it is said.
    if ask.reservation_ttl != RESERVATION_TTL_DEFAULT_MS {
        meaning = meaning.number(7, ask.reservation_ttl);
    }
    let mode = match ask.mode {
        Mode::Normal => v1::Mode::Unspecified,
        Mode::CheckOnly => v1::Mode::CheckOnly,
        Mode::Shadow => v1::Mode::Shadow,
    };
    meaning.number(8, mode as u64).text(11, ask.pool.as_ref().map_or("", |ask| ask.pool.as_str()))
}

/// Amounts in the units of their meters; without any, the reservation ends and nothing is recorded.
pub fn commit(request: &v1::CommitRequest) -> Parsed<(OrgId, Commit)> {
    let reservation = DecisionId::parse("reservation_id", &request.reservation_id)?;
    let actual = amounts("actual", &request.actual)?;
    let meaning = Meaning::default().id(2, reservation).amounts(4, &actual);
    let idempotency = required_id(&request.request_id, &meaning)?;
    Ok((org(&request.org)?, Commit { reservation, actual, idempotency }))
}

/// The id of the reservation is that of its decision.
pub fn release(request: &v1::ReleaseRequest) -> Parsed<(OrgId, Release)> {
    let reservation = DecisionId::parse("reservation_id", &request.reservation_id)?;
    let meaning = Meaning::default().id(2, reservation);
    let idempotency = required_id(&request.request_id, &meaning)?;
    Ok((org(&request.org)?, Release { reservation, idempotency }))
}

/// The TTL is in milliseconds, counted from the call.
pub fn extend(request: &v1::ExtendRequest) -> Parsed<(OrgId, Extend)> {
    let reservation = DecisionId::parse("reservation_id", &request.reservation_id)?;
    let ttl = ttl("ttl_ms", request.ttl_ms)?;
    let meaning = Meaning::default().id(2, reservation).number(4, ttl);
    let idempotency = required_id(&request.request_id, &meaning)?;
    Ok((org(&request.org)?, Extend { reservation, ttl, idempotency }))
}

/// All states where none is named; any scope where it is empty.
pub fn list_reservations(request: &v1::ListReservationsRequest) -> Parsed<(OrgId, ListReservations)> {
    let (mut open, mut expired) = (request.states.is_empty(), request.states.is_empty());
    for (index, state) in request.states.iter().enumerate() {
        match v1::ReservationState::try_from(*state) {
            Ok(v1::ReservationState::Open) => open = true,
            Ok(v1::ReservationState::Expired) => expired = true,
            Ok(v1::ReservationState::Unspecified) | Err(_) => {
                let allowed = "RESERVATION_STATE_OPEN or RESERVATION_STATE_EXPIRED";
                return Err(InputError::new(format!("states[{index}]"), *state, allowed));
            }
        }
    }
    let older_than = u64::try_from(request.min_age_ms);
    let list = ListReservations {
        after: optional(&request.page_token, |text| DecisionId::parse("page_token", text))?,
        max: page_size(request.page_size)?,
        open,
        expired,
        scope: optional(&request.scope, scope)?,
        older_than: older_than.map_err(|_| InputError::new("min_age_ms", request.min_age_ms, "0 or more"))?,
    };
    Ok((org(&request.org)?, list))
}

/// Without a request id, a retry counts one more continuation.
pub fn resume(request: &v1::ResumeRequest) -> Parsed<(OrgId, Resume)> {
    let execution = ExecutionId::parse("execution_id", &request.execution_id)?;
    let idempotency = optional_id(&request.request_id, || Meaning::default().text(2, execution.as_str()))?;
    Ok((org(&request.org)?, Resume { execution, idempotency }))
}

/// Usage is 1 to 16 amounts in the units of their meters; the decision may be empty.
pub fn record(request: &v1::RecordRequest) -> Parsed<(OrgId, Record)> {
    let usage = amounts("usage", &request.usage)?;
    let decision = optional(&request.decision_id, |text| DecisionId::parse("decision_id", text))?;
    if usage.is_empty() && decision.is_none() {
        return Err(InputError::new("usage", "", "1 to 16 amounts, or none with a decision_id, which it completes"));
    }
    let scopes = scopes(&request.scope, &request.scopes)?;
    let occurred_at = u64::try_from(request.occurred_at_ms).map_err(|_| {
        InputError::new("occurred_at_ms", request.occurred_at_ms, "0 for now, or milliseconds since 1970")
    })?;
    let mut meaning = Meaning::default().scopes((2, 6), &scopes).amounts(3, &usage);
    if let Some(decision) = decision {
        meaning = meaning.id(5, decision);
    }
    let meaning = meaning.added(3, |meaning| meaning.number(7, occurred_at));
    let idempotency = required_id(&request.request_id, &meaning)?;
    let occurred_at = Some(occurred_at).filter(|at| *at > 0);
    Ok((org(&request.org)?, Record { scopes, usage, decision, occurred_at, idempotency }))
}

/// The total is in the unit of the meter.
pub fn report_cumulative(request: &v1::ReportCumulativeRequest) -> Parsed<(OrgId, ReportCumulative)> {
    let total = u64::try_from(request.total).map_err(|_| InputError::new("total", request.total, "0 or more"))?;
    let scopes = scopes(&request.scope, &request.scopes)?;
    let source = Source::parse("source", &request.source)?;
    let incarnation = Incarnation::parse("incarnation", &request.incarnation)?;
    let meter = Meter::parse("meter", &request.meter)?;
    let meaning = Meaning::default()
        .scopes((2, 8), &scopes)
        .text(3, source.as_str())
        .text(4, incarnation.as_str())
        .text(5, meter.as_str())
        .number(6, total);
    let idempotency = required_id(&request.request_id, &meaning)?;
    let report = ReportCumulative { scopes, source, incarnation, meter, total, idempotency };
    Ok((org(&request.org)?, report))
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
        let (org, acquire) = acquire(&request()).unwrap();
        assert_eq!((org.as_str(), acquire.cost.as_slice()), ("acme", &[(Meter::executions(), 1)][..]));
    }

    #[test]
    fn every_bad_field_is_named() {
        let with = |change: fn(&mut v1::AcquireRequest)| {
            let mut request = request();
            change(&mut request);
            acquire(&request).unwrap_err().field
        };
        for (field, got) in [
            ("org", with(|r| r.org = "../..".into())),
            ("scope", with(|r| r.scope = "a//b".into())),
            ("scopes[1]", with(|r| r.scopes = vec!["a".into(), "a//b".into()])),
            ("scopes[0]", with(|r| r.scopes = vec![String::new()])),
            ("scopes", with(|r| r.scopes = (0..9).map(|n| format!("team/{n}")).collect())),
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
}
