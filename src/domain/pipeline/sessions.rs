//! The gates that only sessions pass: how many run at once, and the compute that is left for them.
//!
//! A start reserves a first slice: as much as the policy says, or what is left where that is less. So the
//! last minute of a quota can be used, and nothing of it is promised twice.

use std::sync::{Arc, LazyLock};

use super::{Check, Facts, budget_message, limit_gate, retry_after};
use crate::domain::{
    book::Book,
    command::Acquire,
    decision::{Code, Denial, Gate, LimitView},
    ids::{Meter, Scope},
    limit::Limit,
    window::{Calendar, Window},
};

static SESSIONS: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("sessions"));
static COUNTED: LazyLock<Option<Meter>> = LazyLock::new(|| Meter::parse("meter", "sessions").ok());

/// Whether the limit is the quota of the session that is asked for.
pub(super) fn is_quota(ask: &Acquire, check: &Check<'_>) -> bool {
    ask.is_session() && check.limit.meter == Meter::compute() && !check.limit.is_budget()
}

/// Whether a limit can keep the session from starting.
fn is_enforced(ask: &Acquire, check: &Check<'_>, facts: &Facts<'_>) -> bool {
    !check.limit.shadow && (facts.policy.sessions.enforce || !is_quota(ask, check))
}

/// Asks every limit on compute for the first slice of a session. At least something is asked, so that a
/// used-up limit denies.
pub(super) fn reserve_slice(checks: &mut [Check<'_>], ask: &Acquire, facts: &Facts<'_>) -> u64 {
    if !ask.is_session() {
        return 0;
    }
    let counts = |check: &&Check<'_>| check.limit.meter == Meter::compute() && ask.scope.counts_in(&check.scope);
    let left = checks.iter().filter(counts).filter(|check| is_enforced(ask, check, facts)).filter_map(|check| {
        let taken = check.used.saturating_add(check.reserved);
        Some(check.limit.amount?.saturating_sub(check.limit.buffer).saturating_sub(taken))
    });
    let slice = left.fold(facts.policy.sessions.first_slice, u64::min).max(1);
    for check in checks.iter_mut() {
        if counts(&&*check) {
            check.hold = slice;
        }
    }
    slice
}

/// R-SES-1: its own code.
pub(super) fn concurrency_gate(ask: &Acquire, facts: &Facts<'_>) -> Option<Denial> {
    let policy = &facts.policy.sessions;
    let max = policy.max.filter(|_| ask.is_session() && policy.enforce)?;
    (facts.sessions >= max).then(|| Denial {
        gate: Gate::Concurrency,
        code: Code::SessionLimitReached,
        retry_after: 0,
        message: format!("Session limit reached: {} of {max} run. End one to start another.", facts.sessions),
    })
}

/// R-SES-1, R-SES-5: what a UI shows.
pub(super) fn quota_gate(
    book: &mut Book,
    checks: &mut [Check<'_>],
    ask: &Acquire,
    facts: &Facts<'_>,
) -> Option<Denial> {
    if !facts.policy.sessions.enforce {
        return None;
    }
    let (check, retry_at) = limit_gate(book, checks, facts.now, |check| is_quota(ask, check))?;
    Some(Denial {
        gate: Gate::SessionQuota,
        code: Code::QuotaExceeded,
        retry_after: retry_after(retry_at, facts.now),
        message: match check.limit.window {
            Window::Calendar(Calendar::Month) => "Monthly quota exceeded — upgrade to continue.".to_owned(),
            _ => budget_message(check, retry_at),
        },
    })
}

/// `sessions` among the limits of a session or of a look, where there is one.
pub(super) fn view(ask: &Acquire, facts: &Facts<'_>, charged: bool) -> Option<LimitView> {
    let policy = &facts.policy.sessions;
    let max = policy.max.filter(|_| ask.is_session() || ask.explain)?;
    let limit = Limit {
        name: SESSIONS.clone(),
        meter: COUNTED.clone()?,
        window: Window::Concurrent,
        amount: Some(max),
        buffer: 0,
        shadow: !policy.enforce,
    };
    let running = facts.sessions.saturating_add(u64::from(charged && ask.is_session()));
    let limiting = !charged && ask.is_session() && policy.enforce && facts.sessions >= max;
    Some(LimitView { limiting, ..LimitView::of(&limit, &Scope::org(), running, 0) })
}
