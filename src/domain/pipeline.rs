//! The gates in their order: freeze → upstream book → rate backstop → sessions at once → session quota → budgets and
//! quotas → balance → reserve.
//!
//! Cheapest first, the remote call last. Evaluating changes nothing; the caller charges what was
//! admitted. A gate answers three ways: it lets pass, it denies what is known to be exhausted, or
//! it could not be evaluated, and then its policy decides and the answer says so.
//!
//! ```text
//! pre-counted and reserved   admit iff used + reserved + asked <= amount - buffer
//! nothing asked of a meter   admit iff used + reserved < amount
//! ```

mod balance;
mod sessions;

use std::sync::{Arc, LazyLock};

use super::{
    balance::BalanceVerdict,
    book::Book,
    command::{Acquire, Need},
    decision::{Cause, Code, Denial, FailOpen, Gate, LimitView},
    ids::{Meter, Reason, Scope},
    limit::Limit,
    policy::{BalanceSource, Exemption, OnIndeterminate, OrgPolicy},
    rate::RateRecord,
    window::{Length, Millis, Window, iso},
};
use crate::bounds::SECOND_MS;

static RATE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("rate"));
static BALANCE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(BalanceSource::LIMIT));
static CALLS: LazyLock<Meter> = LazyLock::new(Meter::calls);

/// One limit with what is asked of it.
#[derive(Debug)]
struct Check<'p> {
    scope: Scope,
    limit: &'p Limit,
    used: u64,
    reserved: u64,
    cost: u64,
    hold: u64,
    limiting: bool,
}

impl Check<'_> {
    fn asked(&self) -> u64 {
        self.cost.saturating_add(self.hold)
    }

    fn admits(&self) -> bool {
        self.limit.admits(self.used, self.reserved, self.asked())
    }

    fn code(&self) -> Code {
        if self.limit.is_budget() { Code::BudgetExceeded } else { Code::QuotaExceeded }
    }

    /// As it will stand: after the charge where it is `charged`.
    fn view(&self, charged: bool, resets_at: Option<Millis>) -> LimitView {
        let used = self.used.saturating_add(if charged { self.cost } else { 0 });
        let reserved = self.reserved.saturating_add(if charged { self.hold } else { 0 });
        LimitView { resets_at, limiting: self.limiting, ..LimitView::of(self.limit, &self.scope, used, reserved) }
    }
}

/// The balance gate where nothing else of the pipeline can be evaluated: its denial, or what it let
/// through unevaluated.
pub fn balance_alone(
    ask: &Acquire,
    verdict: BalanceVerdict,
    policy: &OrgPolicy,
    now: Millis,
) -> (Option<Denial>, Vec<FailOpen>) {
    balance::alone(ask, verdict, policy, now)
}

/// What the gates said, with nothing changed yet.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) denial: Option<Denial>,
    pub(super) fail_open: Vec<FailOpen>,
    /// As they will stand: after the charge where it is admitted.
    pub(super) limits: Vec<LimitView>,
    /// Compute that a session reserves when it starts.
    pub(super) slice: u64,
}

/// What the gates look at.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) policy: &'a OrgPolicy,
    pub(super) frozen: Option<&'a Reason>,
    /// No upstream account is left of the pool that the call names.
    pub(super) hard_stop: Option<&'a Denial>,
    /// As it stands now.
    pub(super) rate: RateRecord,
    pub(super) store_fault: bool,
    /// Sessions that run.
    pub(super) sessions: u64,
    /// A limit of the org or of the scope is stored and can not be understood.
    pub(super) malformed: bool,
    /// Most of a limit that one reservation may hold.
    pub(super) share_percent: u64,
    /// False for a peek, which neither charges nor counts as blocked.
    pub(super) counts: bool,
    pub(super) now: Millis,
}

/// `Err`: the billing provider has to be asked first.
pub(super) fn evaluate(book: &mut Book, ask: &Acquire, facts: &Facts<'_>) -> Result<Verdict, Need> {
    let mut checks = checks(book, ask, facts);
    let slice = sessions::reserve_slice(&mut checks, ask, facts);
    let mut fail_open = Vec::new();
    let mut denial = freeze_gate(facts).or_else(|| facts.hard_stop.cloned());
    let mut rate = None;
    let mut balance = None;
    if denial.is_none() || ask.explain {
        rate = rate_gate(ask, facts, &mut fail_open)?;
        denial = denial.or_else(|| rate.clone());
    }
    if denial.is_none() || ask.explain {
        denial = denial.or(sessions::concurrency_gate(ask, facts));
    }
    if denial.is_none() || ask.explain {
        let quota = sessions::quota_gate(book, &mut checks, ask, facts);
        denial = denial.or(quota);
    }
    if denial.is_none() || ask.explain {
        let budgets = budget_gate(book, &mut checks, ask, facts, &mut fail_open);
        denial = denial.or(budgets);
    }
    if denial.is_none() || ask.explain {
        balance = balance::gate(book, ask, facts, &mut fail_open)?;
        denial = denial.or_else(|| balance.as_ref().and_then(|seen| seen.denial.clone()));
    }
    if denial.is_none() || ask.explain {
        let reserve = reserve_gate(&mut checks, ask, facts);
        denial = denial.or(reserve);
    }
    let charged = denial.is_none() && facts.counts;
    let rate_denies = rate.is_some_and(|denial| denial.code == Code::RateLimited);
    let mut limits = Vec::with_capacity(checks.len() + 3);
    limits.push(rate_view(facts, denial.as_ref(), rate_denies));
    limits.extend(sessions::view(ask, facts, charged));
    limits.extend(checks.iter().map(|check| check.view(charged, resets_at(book, check, facts.now))));
    limits.extend(balance.and_then(|seen| seen.view(charged)));
    Ok(Verdict { denial, fail_open, limits, slice })
}

/// Every limit of the scope and of the org, with what this call asks of it.
fn checks<'p>(book: &mut Book, ask: &Acquire, facts: &Facts<'p>) -> Vec<Check<'p>> {
    let scope = (!ask.scope.is_org()).then(|| ask.scope.clone());
    let mut checks = Vec::new();
    for scope in std::iter::once(Scope::org()).chain(scope) {
        for limit in facts.policy.limits_of(&scope) {
            checks.push(check(book, ask, scope.clone(), limit, facts.now));
        }
    }
    checks
}

/// One limit of `scope`, with what this call asks of it: nothing where it does not count there.
fn check<'p>(book: &mut Book, ask: &Acquire, scope: Scope, limit: &'p Limit, now: Millis) -> Check<'p> {
    let (used, reserved) = book.usage(&scope, limit, now);
    let counts = ask.scope.counts_in(&scope);
    let asked = |amounts: &[(Meter, u64)]| {
        amounts.iter().find(|(meter, _)| counts && *meter == limit.meter).map_or(0, |(_, amount)| *amount)
    };
    Check { cost: asked(&ask.cost), hold: asked(&ask.reserve), scope, limit, used, reserved, limiting: false }
}

fn freeze_gate(facts: &Facts<'_>) -> Option<Denial> {
    let reason = facts.frozen?;
    let why = if reason.as_str().is_empty() { String::new() } else { format!(": {reason}") };
    let message =
        format!("An operator has frozen this org{why}. Running executions may resume; new ones wait for the operator.");
    Some(Denial { gate: Gate::Freeze, code: Code::Frozen, retry_after: 0, message })
}

fn rate_gate(ask: &Acquire, facts: &Facts<'_>, fail_open: &mut Vec<FailOpen>) -> Result<Option<Denial>, Need> {
    let (rate, record) = (&facts.policy.rate, facts.rate);
    let Some(amount) = rate.amount.filter(|_| rate.exempt != Exemption::Always) else { return Ok(None) };
    if record.count >= amount {
        // Resolved only here, where it matters.
        if rate.exempt == Exemption::IfPaying && ask.exempt.ok_or(Need::Exemption)? {
            return Ok(None);
        }
        let wait = record.window_end().saturating_sub(facts.now);
        let message = format!(
            "Rate backstop reached: {} of {amount} calls in {}. This guards against abuse and is not your plan's quota; \
             it resets at {} (in {} s). Slow down, or ask the operator to raise `rate` for this org.",
            record.count,
            Length(record.len),
            iso(record.window_end()),
            wait.div_ceil(SECOND_MS),
        );
        return Ok(Some(Denial { gate: Gate::Rate, code: Code::RateLimited, retry_after: wait, message }));
    }
    if facts.store_fault {
        return Ok(indeterminate(Gate::Rate, Cause::StoreFault, rate.on_indeterminate, fail_open));
    }
    Ok(None)
}

/// What is known to be exhausted denies; a limit that can not be understood leaves the gate without an
/// answer.
fn budget_gate(
    book: &mut Book,
    checks: &mut [Check<'_>],
    ask: &Acquire,
    facts: &Facts<'_>,
    fail_open: &mut Vec<FailOpen>,
) -> Option<Denial> {
    let denied = limit_gate(book, checks, facts.now, |check| !sessions::is_quota(ask, check));
    let denied = denied.map(|(tightest, retry_at)| exceeded(Gate::Budgets, tightest, retry_at, facts.now));
    if denied.is_none() && facts.malformed {
        let policy = facts.policy.budgets_on_indeterminate;
        return indeterminate(Gate::Budgets, Cause::MalformedLimit, policy, fail_open);
    }
    denied
}

/// Limits on the scope of a pool itself, of which a pick asks one call.
pub(super) fn pool_limits(book: &mut Book, pool: &Scope, policy: &OrgPolicy, now: Millis) -> Option<Denial> {
    let limits = policy.limits_of(pool);
    if limits.is_empty() {
        return None;
    }
    let ask = Acquire::of(pool.clone(), vec![(Meter::calls(), 1)]);
    let mut checks: Vec<_> = limits.iter().map(|limit| check(book, &ask, pool.clone(), limit, now)).collect();
    let (tightest, retry_at) = limit_gate(book, &mut checks, now, |_| true)?;
    Some(exceeded(Gate::Accounts, tightest, retry_at, now))
}

fn exceeded(gate: Gate, tightest: &Check<'_>, retry_at: Option<Millis>, now: Millis) -> Denial {
    let (code, retry_after) = (tightest.code(), retry_after(retry_at, now));
    Denial { gate, code, retry_after, message: budget_message(tightest, retry_at) }
}

/// Of the limits that `concerns` picks, the tightest that does not admit, and when all of them do.
fn limit_gate<'c, 'p>(
    book: &mut Book,
    checks: &'c mut [Check<'p>],
    now: Millis,
    concerns: impl Fn(&Check<'p>) -> bool,
) -> Option<(&'c Check<'p>, Option<Millis>)> {
    let mut latest: Option<Millis> = Some(0);
    let mut tightest: Option<(i128, usize)> = None;
    for (index, check) in checks.iter_mut().enumerate() {
        if !concerns(check) || check.limit.shadow || check.admits() {
            continue;
        }
        check.limiting = true;
        let fits = book.fits_at(&check.scope, check.limit, check.asked(), now);
        latest = latest.zip(fits).map(|(a, b)| a.max(b));
        let left =
            i128::from(check.limit.amount.unwrap_or(u64::MAX)) - i128::from(check.used) - i128::from(check.reserved);
        if tightest.is_none_or(|(least, _)| left < least) {
            tightest = Some((left, index));
        }
    }
    Some((checks.get(tightest?.1)?, latest))
}

fn retry_after(retry_at: Option<Millis>, now: Millis) -> Millis {
    retry_at.map_or(0, |at| at.saturating_sub(now))
}

/// One reservation holds no more of a limit than an operator lets it.
fn reserve_gate(checks: &mut [Check<'_>], ask: &Acquire, facts: &Facts<'_>) -> Option<Denial> {
    if ask.reserve.is_empty() || facts.share_percent >= 100 {
        return None;
    }
    let share = |check: &Check<'_>| {
        let usable = check.limit.amount?.saturating_sub(check.limit.buffer);
        u64::try_from(u128::from(usable) * u128::from(facts.share_percent) / 100).ok()
    };
    let over = |check: &&mut Check<'_>| !check.limit.shadow && share(check).is_some_and(|most| check.hold > most);
    let check = checks.iter_mut().find(over)?;
    check.limiting = true;
    Some(Denial {
        gate: Gate::Reserve,
        code: check.code(),
        retry_after: 0,
        message: format!(
            "One reservation may hold at most {} {}, which is {} % of {}; {} were asked. Reserve less at a time.",
            share(check).unwrap_or(0),
            check.limit.meter,
            facts.share_percent,
            check.limit.name,
            check.hold,
        ),
    })
}

fn budget_message(check: &Check<'_>, resets_at: Option<Millis>) -> String {
    let limit = check.limit;
    let of = if check.scope.is_org() { "this org".into() } else { format!("scope {}", check.scope.shown()) };
    let kind = if limit.is_budget() { "Budget" } else { "Quota" };
    let held = if check.reserved > 0 { format!(" and {} reserved", check.reserved) } else { String::new() };
    let buffer = if limit.buffer > 0 { format!(" less a buffer of {}", limit.buffer) } else { String::new() };
    let when = resets_at
        .map_or("It will not fit while this limit stands".into(), |at| format!("It fits again at {}", iso(at)));
    format!(
        "{kind} {} of {of} is exceeded: {} used{held}, {} asked, limit {}{buffer} {} per {}. {when}.",
        limit.name,
        check.used,
        check.asked(),
        limit.amount.unwrap_or(0),
        limit.meter,
        limit.window,
    )
}

/// A gate that could not be evaluated: its policy decides, and every allow is flagged.
pub fn indeterminate(
    gate: Gate,
    cause: Cause,
    policy: OnIndeterminate,
    fail_open: &mut Vec<FailOpen>,
) -> Option<Denial> {
    match policy {
        OnIndeterminate::Allow => {
            fail_open.push(FailOpen { gate, cause });
            None
        }
        OnIndeterminate::Deny => Some(Denial {
            gate,
            code: Code::Indeterminate,
            retry_after: SECOND_MS,
            message: format!(
                "Gate {} could not be evaluated ({}), and its policy is to deny.",
                gate.name(),
                cause.name()
            ),
        }),
    }
}

/// When what was asked fits if nothing else happens, or the end of the window.
fn resets_at(book: &mut Book, check: &Check<'_>, now: Millis) -> Option<Millis> {
    let counts_down = !matches!(check.limit.window, Window::Rolling { .. }) && check.admits();
    if counts_down {
        book.window_end(&check.scope, check.limit, now)
    } else {
        book.fits_at(&check.scope, check.limit, check.asked(), now)
    }
}

fn rate_view(facts: &Facts<'_>, denial: Option<&Denial>, limiting: bool) -> LimitView {
    let rate = &facts.policy.rate;
    let blocks = facts.counts && denial.is_some_and(|denial| denial.gate.is_blocking());
    LimitView {
        name: RATE.clone(),
        scope: Scope::org(),
        meter: CALLS.clone(),
        window: Window::Aligned { len: rate.len },
        amount: rate.amount,
        buffer: 0,
        used: facts.rate.count.saturating_add(u64::from(denial.is_none() && facts.counts)),
        reserved: 0,
        resets_at: Some(facts.rate.window_end()),
        limiting,
        shadow: false,
        blocked: facts.rate.blocked.saturating_add(u64::from(blocks)),
    }
}
