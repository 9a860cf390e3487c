//! Domain → proto.

mod budgets;
mod control;
mod events;
mod explain;
mod names;
mod orgs;
mod pools;
mod reservations;
mod sessions;
mod usage;

use super::{admin::v1 as admin, v1};
use crate::bounds::MINUTE_MS;
use crate::domain::{
    balance::{Balance, BalanceVerdict},
    decision::{Decision, LimitView},
    denials::LatelyBy,
    gate::{Cause, Code},
    ids::{Amounts, DecisionId, Meter, OrgId, Scope},
    lease::{Due, Now},
    ledger::HourSlice,
    limit::LimitSource,
    outbox::{DeadCause, OutboxRow},
    policy::JudgedBalance,
    rate::Counter,
    reply::{LedgerView, Snapshot, Status},
    rows::{BaselineRow, DisputedRow, ExecutionRow},
    scopes::Scopes,
    window::{Millis, Window},
};

use names::{former_names, name};

pub use self::{
    budgets::*, control::*, events::*, explain::*, names::*, orgs::*, pools::*, reservations::*, sessions::*, usage::*,
};

/// Amounts are u64 inside and int64 on the wire; what does not fit is shown as the largest.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count as int64; what does not fit is shown as the largest.
pub fn size(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// What those see who know one scope only.
fn first(scopes: &Scopes) -> String {
    scopes.first().shown().into_owned()
}

/// Each as it is shown, in the order of their names.
pub fn scopes(scopes: &Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.shown().into_owned()).collect()
}

/// From `now` until an instant in milliseconds; 0 where it is over, or is none.
fn until(at: Option<Millis>, now: Millis) -> i64 {
    int(at.map_or(0, |at| at.saturating_sub(now)))
}

/// 0 where there is none.
fn at(due: Option<Due>) -> i64 {
    int(due.map_or(0, |due| due.at))
}

/// 0 where it has come, or there is none.
fn left(due: Option<Due>) -> i64 {
    int(due.map_or(0, |due| due.left))
}

fn code(code: Code) -> v1::DecisionCode {
    match code {
        Code::Allowed => v1::DecisionCode::Allowed,
        Code::RateLimited => v1::DecisionCode::RateLimited,
        Code::BalanceExhausted => v1::DecisionCode::BalanceExhausted,
        Code::BudgetExceeded => v1::DecisionCode::BudgetExceeded,
        Code::QuotaExceeded => v1::DecisionCode::QuotaExceeded,
        Code::SessionLimitReached => v1::DecisionCode::SessionLimitReached,
        Code::AccountsExhausted => v1::DecisionCode::AccountsExhausted,
        Code::Frozen => v1::DecisionCode::Frozen,
        Code::ScopeRequired => v1::DecisionCode::ScopeRequired,
        Code::Indeterminate => v1::DecisionCode::Indeterminate,
    }
}

/// Times are milliseconds since the epoch, waits milliseconds; 0 where there is none.
pub fn decision(decision: &Decision, node: &str) -> v1::AcquireResponse {
    let fail_open = decision.fail_open().into_iter();
    let fail_open =
        fail_open.map(|open| v1::FailOpen { gate: open.gate.name().into(), cause: open.cause.name().into() });
    let status = if decision.allowed { 200 } else { decision.code().http_status() };
    v1::AcquireResponse {
        allowed: decision.allowed,
        code: code(decision.code()).into(),
        decision_id: decision.id.map(DecisionId::text).unwrap_or_default(),
        retry_after_ms: int(decision.retry_after()),
        http_status_hint: status.into(),
        fail_open: fail_open.collect(),
        reservation_id: decision.hold.map(|hold| hold.id.text()).unwrap_or_default(),
        reservation_expires_at_ms: int(decision.hold.map_or(0, |hold| hold.expires_at)),
        reservation_remaining_ms: int(decision.hold.map_or(0, |_| decision.remaining)),
        folded_scopes: scopes(&decision.folded),
        replayed: decision.replayed,
        node: node.into(),
        message: decision.message().to_owned(),
        limits: limits(&decision.limits, decision.at),
    }
}

/// The limits of an answer that is given at `now` by the wall clock.
fn limits(views: &[LimitView], now: Millis) -> Vec<v1::Limit> {
    views.iter().map(|view| limit(view, now)).collect()
}

fn limit(view: &LimitView, now: Millis) -> v1::Limit {
    v1::Limit {
        remaining: view.remaining().unwrap_or(0),
        exhausted: view.exhausted(),
        texts: view.label.texts.clone(),
        scope: view.scope.shown_shared(),
        unlimited: view.amount.is_none(),
        amount: int(view.amount.unwrap_or(0)),
        used: int(view.used),
        carried: int(view.carried),
        reserved: int(view.reserved),
        resets_at_ms: int(view.resets_at.unwrap_or(0)),
        resets_in_ms: until(view.resets_at, now),
        limiting: view.limiting,
        buffer: int(view.buffer),
        shadow: view.shadow,
        blocked: int(view.blocked),
        stale: view.stale,
        source: source(view.label.origin.source).into(),
        source_until_ms: int(view.label.origin.until.unwrap_or(0)),
        granted: int(view.label.origin.granted),
        counts_from_ms: int(view.label.origin.counts_from.unwrap_or(0)),
        granted_until_ms: int(view.label.origin.granted_until.unwrap_or(0)),
        runs_out_at_ms: int(view.runs_out_at.unwrap_or(0)),
        runs_out_in_ms: until(view.runs_out_at, now),
        granted_until_spent: int(view.spending.granted),
        granted_spent: int(view.spending.spent),
        granted_left: int(view.spending.left()),
    }
}

fn source(source: LimitSource) -> v1::LimitSource {
    match source {
        LimitSource::Default => v1::LimitSource::Default,
        LimitSource::Plan => v1::LimitSource::Plan,
        LimitSource::Org => v1::LimitSource::Org,
        LimitSource::Budget => v1::LimitSource::Budget,
        LimitSource::Pool => v1::LimitSource::Pool,
        LimitSource::Override => v1::LimitSource::Override,
        LimitSource::Provider => v1::LimitSource::Provider,
    }
}

/// Every limit, and what an Acquire of one execution would be answered.
pub fn status(status: Status, org: &OrgId, asked: &Scopes) -> v1::GetStatusResponse {
    let decision = status.decision;
    v1::GetStatusResponse {
        org: org.to_string(),
        scope: first(asked),
        allowed: decision.allowed,
        code: code(decision.code()).into(),
        message: decision.message().to_owned(),
        retry_after_ms: int(decision.retry_after()),
        limits: limits(&decision.limits, decision.at),
        frozen: status.frozen,
        plan: status.plan,
        scopes: scopes(asked),
        folded_scopes: scopes(&decision.folded),
        unknown: !status.is_known,
        denied_lately: int(status.lately.denied),
        denied_by: status.lately.by.iter().map(denied_lately).collect(),
        name: name(status.name.as_ref()),
    }
}

fn denied_lately(by: &LatelyBy) -> v1::DeniedLately {
    v1::DeniedLately {
        gate: by.gate.name().into(),
        code: code(by.code).into(),
        limit: by.limit.clone(),
        scope: by.scope.shown().into_owned(),
        count: int(by.count),
        first_at_ms: int(by.first_at),
        last_at_ms: int(by.last_at),
    }
}

/// Everything that is kept of the org. Accounts are masked; times are milliseconds since the epoch.
pub fn snapshot(snapshot: Snapshot, org: &OrgId) -> admin::GetOrgResponse {
    let at = |at: Option<Millis>| int(at.unwrap_or(0));
    let dead = snapshot.exports.iter().filter(|row| row.dead.is_some()).count();
    let pending = snapshot.exports.len() - dead;
    admin::GetOrgResponse {
        org: org.to_string(),
        plan: snapshot.plan,
        frozen: snapshot.frozen.is_some(),
        freeze_reason: snapshot.frozen.map(|reason| reason.to_string()).unwrap_or_default(),
        rate: snapshot.rate.map(|rate| admin::RateRecord {
            window_id: int(rate.window_id),
            window_length_ms: int(rate.len),
            count: int(rate.count),
            blocked: int(rate.blocked),
        }),
        limits: limits(&snapshot.limits, snapshot.at),
        ledgers: snapshot.ledgers.into_iter().map(ledger).collect(),
        counters: snapshot.counters.into_iter().map(counter).collect(),
        reservations: snapshot.reservations.iter().map(reservation).collect(),
        baselines: snapshot.baselines.iter().map(baseline).collect(),
        executions: snapshot.executions.iter().map(execution).collect(),
        disputed: snapshot.disputed.iter().map(disputed).collect(),
        timers: Some(admin::Timers {
            wake_at_ms: at(snapshot.wake_at),
            rate_purge_at_ms: at(snapshot.rate_purge_at),
            next_expiry_at_ms: at(snapshot.next_expiry_at),
        }),
        sequence: int(snapshot.seq),
        journal_from_sequence: int(snapshot.journal_from),
        remembered_request_ids: int(snapshot.remembered),
        request_ids_evicted: int(snapshot.evicted),
        request_id_bytes: int(snapshot.kept.bytes),
        request_ids_known_from_ms: int(snapshot.ids_known_from),
        request_ids_forgotten: int(snapshot.kept.forgotten),
        admitted_total: int(snapshot.admitted_total),
        exports_pending: size(pending),
        exports_set_aside: size(dead),
        executions_uncompleted: int(snapshot.uncompleted),
        budgets: snapshot.budgets.iter().map(budget_limits).collect(),
        sessions: snapshot.sessions.iter().map(session).collect(),
        overrides: in_force(&snapshot.overrides, snapshot.at),
        frozen_until_ms: at(snapshot.frozen_until),
        trial_ended_at_ms: at(snapshot.trial_ended_at),
        pools: pools::org_pools(&snapshot.pools),
        reservations_expired: size(snapshot.expired_reservations),
        name: name(snapshot.names.as_ref().and_then(|names| names.shown(org))),
        former_names: snapshot.names.as_ref().map(former_names).unwrap_or_default(),
        purged_at_ms: at(snapshot.names.as_ref().and_then(|names| names.purged_at)),
    }
}

fn counter((scope, meter, window, counter): (Scope, Meter, Window, Counter)) -> admin::Counter {
    admin::Counter {
        scope: scope.shown().into_owned(),
        meter: meter.to_string(),
        window: window.to_string(),
        start_ms: int(counter.start),
        used: int(counter.used),
        carried: int(counter.carried),
    }
}

fn baseline(row: &BaselineRow) -> admin::Baseline {
    admin::Baseline {
        scope: first(&row.scopes),
        source: row.source.to_string(),
        meter: row.meter.to_string(),
        incarnation: row.incarnation.to_string(),
        total: int(row.total),
        scopes: scopes(&row.scopes),
    }
}

fn execution(row: &ExecutionRow) -> admin::Execution {
    admin::Execution {
        execution_id: row.id.to_string(),
        continuations: int(row.continuations),
        last_seen_at_ms: int(row.last_seen),
        admitted: row.admitted,
        open: row.open.is_some(),
    }
}

/// Units are whole; `*_known` tells a 0 from what the provider did not say.
pub fn balance(judged: JudgedBalance, now: &Now) -> admin::RefreshBalanceResponse {
    let (verdict, reason, cause, balance) = match judged.verdict {
        BalanceVerdict::Allowed(balance) => (admin::BalanceVerdict::Allowed, "", "", balance),
        BalanceVerdict::Denied(reason, balance) => (admin::BalanceVerdict::Denied, reason.name(), "", balance),
        BalanceVerdict::Unknown(cause) => (admin::BalanceVerdict::Unspecified, "", cause.name(), Balance::default()),
    };
    admin::RefreshBalanceResponse {
        verdict: verdict.into(),
        reason: reason.into(),
        cause: cause.into(),
        granted: int(balance.granted.unwrap_or(0)),
        granted_known: balance.granted.is_some(),
        remaining: int(balance.remaining.unwrap_or(0)),
        remaining_known: balance.remaining.is_some() && !balance.unlimited,
        unlimited: balance.unlimited,
        overage_allowed: balance.overage,
        resets_at_ms: int(balance.resets_at.unwrap_or(0)),
        allowed: judged.allowed,
        decided_by: judged.decided_by.unwrap_or_default().into(),
        resets_in_ms: left(balance.resets_at.map(|at| now.due(at))),
    }
}

/// A row of the outbox; the amount is in the unit of its meter.
pub fn export(row: &OutboxRow) -> admin::Export {
    admin::Export {
        key: row.key.to_string(),
        scope: first(&row.scopes),
        meter: row.meter.to_string(),
        amount: if row.is_refund { -int(row.units) } else { int(row.units) },
        at_ms: int(row.at),
        attempts: row.attempts.into(),
        due_at_ms: if row.dead.is_some() { 0 } else { int(row.due_at) },
        last_error: row.last_error.map(Cause::name).unwrap_or_default().into(),
        set_aside: row.dead.map(DeadCause::name).unwrap_or_default().into(),
        scopes: scopes(&row.scopes),
    }
}

fn disputed(row: &DisputedRow) -> admin::Disputed {
    admin::Disputed {
        scope: first(&row.scopes),
        source: row.source.to_string(),
        meter: row.meter.to_string(),
        amount: int(row.amount),
        at_ms: int(row.at),
        scopes: scopes(&row.scopes),
    }
}

fn ledger(view: LedgerView) -> admin::Ledger {
    admin::Ledger {
        scope: view.scope.shown().into_owned(),
        meter: view.meter.to_string(),
        hours: view.hours.iter().map(hour).collect(),
        reserved: int(view.reserved),
    }
}

fn hour(slice: &HourSlice) -> admin::HourSlice {
    let minute = |(minute, amount): &(u8, u64)| admin::MinuteSlice {
        start_ms: int(slice.start + u64::from(*minute) * MINUTE_MS),
        amount: int(*amount),
    };
    admin::HourSlice {
        start_ms: int(slice.start),
        total: int(slice.total),
        minutes: slice.minutes.iter().map(minute).collect(),
    }
}

fn amounts(amounts: &Amounts) -> Vec<v1::Amount> {
    amounts.iter().map(|(meter, amount)| v1::Amount { meter: meter.to_string(), amount: int(*amount) }).collect()
}
