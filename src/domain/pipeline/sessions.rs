//! The gates that only sessions pass: how many run at once, and the compute that is left for them.
//!
//! A start reserves a first slice: as much as the policy says, or what is left where that is less. So the
//! last minute of a quota can be used, and nothing of it is promised twice.

use std::sync::{Arc, LazyLock};

use super::{
    Run, denied,
    limits::{Check, exceeded},
};
use crate::domain::{
    command::Acquire,
    decision::LimitView,
    gate::{Code, Denial, Fits, Verdict},
    ids::{Meter, Scope},
    limit::{Label, Limit},
    policy::OrgPolicy,
    window::Window,
};

/// How many sessions run at once, among the limits.
static SESSIONS: LazyLock<Arc<Label>> =
    LazyLock::new(|| Label::new("sessions", Meter::concurrent_sessions(), Window::Concurrent));

/// Whether the limit is the quota of the session that is asked for.
pub(super) fn is_quota(ask: &Acquire, check: &Check<'_>) -> bool {
    ask.is_session() && is_compute_quota(check.limit)
}

fn is_compute_quota(limit: &Limit) -> bool {
    limit.meter().as_str() == Meter::COMPUTE && !limit.is_budget()
}

/// Whether a limit can keep the session from starting.
fn is_enforced(ask: &Acquire, check: &Check<'_>, policy: &OrgPolicy) -> bool {
    !check.limit.shadow && (policy.sessions.enforce || !is_quota(ask, check))
}

/// Asks every limit on compute for the first slice of a session. At least something is asked, so that a
/// used-up limit denies.
pub(super) fn reserve_slice(run: &mut Run<'_>) -> u64 {
    let (ask, policy) = (run.facts.ask, run.facts.policy);
    if !ask.is_session() {
        return 0;
    }
    let counts =
        |check: &&Check<'_>| check.limit.meter().as_str() == Meter::COMPUTE && ask.scopes.counts_in(check.scope);
    let enforced = run.checks.iter().filter(counts).filter(|check| is_enforced(ask, check, policy));
    let left = enforced.filter_map(|check| {
        let taken = check.used.saturating_add(check.reserved);
        Some(check.amount()?.saturating_sub(check.limit.buffer).saturating_sub(taken))
    });
    let slice = left.fold(policy.sessions.first_slice, u64::min).max(1);
    for check in run.checks.iter_mut() {
        if counts(&&*check) {
            check.hold = slice;
        }
    }
    slice
}

/// R-SES-1: a code of its own.
pub(super) fn concurrency(run: &mut Run<'_>) -> Verdict {
    let policy = &run.facts.policy.sessions;
    let is_enforced = policy.enforce && !policy.shadow;
    let Some(max) = policy.max.filter(|_| run.facts.ask.is_session() && is_enforced) else {
        return Verdict::Skipped;
    };
    match &run.facts.org {
        Ok(org) if org.sessions >= max => denied(all_run(org.sessions, max)),
        _ => run.passed(),
    }
}

/// Nobody knows when one ends.
fn all_run(running: u64, max: u64) -> Denial {
    let (fits, next) = match max {
        0 => (Fits::Never, "None may be started while `max_sessions` is 0."),
        _ => (Fits::Unknown, "End one to start another."),
    };
    Denial {
        code: Code::SessionLimitReached,
        fits,
        message: format!("Session limit reached: {running} of {max} run. {next}"),
        names: vec![format!("sessions ({running} of {max} run)")],
    }
}

/// R-SES-1, R-SES-5: what a UI shows.
pub(super) fn quota(run: &mut Run<'_>) -> Verdict {
    let (ask, policy, now) = (run.facts.ask, run.facts.policy, &run.facts.now);
    if !ask.is_session() || !policy.sessions.enforce {
        return Verdict::Skipped;
    }
    let Ok(org) = &mut run.facts.org else { return unread_quota(run) };
    if let Some(exceeded) = exceeded(org.book, &mut run.checks, now, |check| is_quota(ask, check)) {
        let mut denial = exceeded.denial(now);
        let window = exceeded.window();
        if window == Window::Once {
            denial.message = "Trial quota exceeded — upgrade to continue.".to_owned();
            denial.names.truncate(1);
        } else if window.is_of_plan() {
            denial.message = "Monthly quota exceeded — upgrade to continue.".to_owned();
            denial.names.truncate(1);
        }
        return denied(denial);
    }
    if run.checks.iter().any(|check| is_quota(ask, check)) { run.passed() } else { Verdict::Skipped }
}

/// Quotas are configured, so it is known without the book whether there are any.
fn unread_quota(run: &Run<'_>) -> Verdict {
    let (ask, policy) = (run.facts.ask, run.facts.policy);
    let of_scopes = ask.scopes.iter().flat_map(|scope| policy.limits_of(scope).iter());
    let mut configured = policy.limits.iter().chain(of_scopes);
    if configured.any(is_compute_quota) { run.passed() } else { Verdict::Skipped }
}

/// `sessions` among the limits of a session or of a query, where there is one.
pub(super) fn view(run: &Run<'_>, charged: bool) -> Option<LimitView> {
    let (ask, policy) = (run.facts.ask, &run.facts.policy.sessions);
    let max = policy.max.filter(|_| ask.is_session() || ask.explain)?;
    let running = run.facts.org.as_ref().ok()?.sessions;
    let shadow = policy.shadow || !policy.enforce;
    let label = SESSIONS.clone();
    let limit =
        Limit { label, amount: Some(max), buffer: 0, shadow, carries: false, counts_from: None, until_spent: false };
    let limit = limit.with_origin(policy.origin);
    let counted = running.saturating_add(u64::from(charged && ask.is_session()));
    let limiting = !charged && ask.is_session() && !shadow && running >= max;
    Some(LimitView { limiting, ..LimitView::of(&limit, &Scope::org(), counted, 0) })
}
