//! The gates in their order, as one table, for every call: of an org in memory, and of one whose state
//! cannot be read.
//!
//! ```text
//! freeze → scopes → accounts → rate → concurrency → session quota → budgets → balance → reserve
//! ```
//!
//! Cheapest first, the remote call last. Evaluating changes nothing; the caller charges what was admitted.
//! A gate passes, denies what is known to be exhausted, or could not be evaluated: then its policy decides,
//! in one place for all of them, and the answer says so. The first denial decides; the gates behind it add what
//! they know to be exhausted as well, so that the answer names every such limit and the time at which all fit.
//!
//! ```text
//! pre-counted and reserved   admit iff used + reserved + asked <= amount - buffer
//! nothing asked of a meter   admit iff used + reserved < amount
//! ```

mod balance;
mod limits;
mod scopes;
mod sentence;
mod sessions;

use std::sync::Arc;

use super::{
    balance::{Balance, DenyReason},
    book::Book,
    command::{Acquire, Need},
    decision::{LimitView, LimitViews},
    gate::{Cause, Code, Denial, Fits, Gate, Reports, Verdict},
    ids::{Reason, Scope},
    lease::Now,
    limit::Label,
    policy::{Exemption, OnIndeterminate, OrgPolicy},
    rate::RateRecord,
    spending::Spending,
    window::{Millis, Window, iso},
    words,
};
use crate::bounds::SECOND_MS;

use balance::Seen;
use limits::Check;

pub(super) use limits::pool_limits;

/// What is judged, and by what.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) ask: &'a Acquire,
    pub(super) policy: &'a OrgPolicy,
    /// The state of the org, or why it could not be read.
    pub(super) org: Result<OrgFacts<'a>, Cause>,
    /// Most of a limit that one reservation may hold.
    pub(super) share_percent: u64,
    pub(super) now: Now,
}

/// The state of the org, as far as gates ask for it.
#[derive(Debug)]
pub(super) struct OrgFacts<'a> {
    pub(super) book: &'a mut Book,
    pub(super) frozen: Option<&'a Reason>,
    /// When that ends by itself; `None` = an operator ends it.
    pub(super) frozen_until: Option<Millis>,
    /// No upstream account is left of the pool that the call names.
    pub(super) exhausted_pool: Option<&'a Denial>,
    pub(super) rate: RateRecord,
    pub(super) rate_label: &'a Arc<Label>,
    /// Grants on top of the backstop that last until they are spent.
    pub(super) rate_spending: Spending,
    /// Sessions that run.
    pub(super) sessions: u64,
    /// A limit of the org or of the scope is stored and cannot be understood.
    pub(super) malformed: bool,
    /// What the org holds in memory is not on disk and may be lost.
    pub(super) store_fault: bool,
}

/// What the gates said, with nothing changed yet.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) reports: Reports,
    /// As they will stand: after the charge where it is admitted. None where the state could not be read.
    pub(super) limits: LimitViews,
    /// Compute that a session reserves when it starts.
    pub(super) slice: u64,
}

/// One call on its way through the gates.
#[derive(Debug)]
struct Run<'a> {
    facts: Facts<'a>,
    /// Every limit that the call concerns, with what it asks of it.
    checks: Vec<Check<'a>>,
    slice: u64,
    balance: Option<Seen<'a>>,
    reports: Reports,
}

/// A gate. `Err`: the billing provider has to be asked first.
type Judge = for<'a> fn(&mut Run<'a>) -> Result<Verdict, Need>;

/// What happens to a call where its gate could not be evaluated.
type OfPolicy = fn(&OrgPolicy, Cause) -> OnIndeterminate;

/// Every gate with what evaluates it and with the policy that decides where it could not be evaluated.
const PIPELINE: [(Gate, Judge, OfPolicy); Gate::ALL.len()] = [
    (Gate::Freeze, |run| Ok(freeze(run)), always_allow),
    (Gate::Scopes, |run| Ok(scopes::gate(run)), always_allow),
    (Gate::Accounts, |run| Ok(accounts(run)), always_allow),
    (Gate::Rate, rate, |policy, _| policy.rate.on_indeterminate),
    (Gate::Concurrency, |run| Ok(sessions::concurrency(run)), always_allow),
    (Gate::SessionQuota, |run| Ok(sessions::quota(run)), of_budgets),
    (Gate::Budgets, |run| Ok(limits::budgets(run)), of_budgets),
    (Gate::Balance, balance::gate, balance::on_indeterminate),
    (Gate::Reserve, |run| Ok(limits::reserve(run)), always_allow),
];

fn always_allow(_: &OrgPolicy, _: Cause) -> OnIndeterminate {
    OnIndeterminate::Allow
}

fn of_budgets(policy: &OrgPolicy, _: Cause) -> OnIndeterminate {
    policy.budgets_on_indeterminate
}

/// Runs the gates. `Err`: the billing provider has to be asked first.
pub(super) fn evaluate(facts: Facts<'_>) -> Result<Judgement, Need> {
    let mut run = Run::new(facts);
    for (gate, judge, of_policy) in PIPELINE {
        let denied_by = run.reports.denial().map(|(gate, _)| gate);
        if let Some(denied_by) = denied_by.filter(|_| !run.facts.ask.explain) {
            if denied_by.stands_alone() {
                break;
            }
            // Nobody is asked for it, and nothing is said of what is not known.
            if let Ok(also @ Verdict::Denied(_)) = judge(&mut run) {
                run.reports.set(gate, also);
            }
            continue;
        }
        let verdict = match judge(&mut run)? {
            Verdict::Unevaluated(cause) => unevaluated(gate, cause, of_policy, &run.facts),
            certain @ (Verdict::Skipped | Verdict::Passed | Verdict::Denied(_)) => certain,
        };
        run.reports.set(gate, verdict);
    }
    sentence::of_all(&mut run.reports);
    Ok(Judgement { limits: run.views(), slice: run.slice, reports: run.reports })
}

/// The same gates for a call of an org whose state cannot be read because of `cause`: over what the policy,
/// the call and the billing provider say.
pub fn without_state(ask: &Acquire, policy: &OrgPolicy, cause: Cause, now: Now) -> Result<Reports, Need> {
    let facts = Facts { ask, policy, org: Err(cause), share_percent: 100, now };
    evaluate(facts).map(|judgement| judgement.reports)
}

/// A gate that could not be evaluated follows its policy.
fn unevaluated(gate: Gate, cause: Cause, of_policy: OfPolicy, facts: &Facts<'_>) -> Verdict {
    match of_policy(facts.policy, cause) {
        OnIndeterminate::Allow => Verdict::Unevaluated(cause),
        OnIndeterminate::Deny if cause == Cause::NoEntitlement => {
            let nothing_known = Balance::default();
            denied(balance::denial(DenyReason::NoEntitlement, &nothing_known, facts.ask, facts.policy, &facts.now))
        }
        OnIndeterminate::Deny => denied(Denial {
            code: Code::Indeterminate,
            fits: Fits::After(SECOND_MS),
            names: Vec::new(),
            message: format!(
                "Gate {} could not be evaluated ({}), and its policy is to deny.",
                gate.name(),
                cause.name()
            ),
        }),
    }
}

fn denied(denial: Denial) -> Verdict {
    Verdict::Denied(Box::new(denial))
}

impl<'a> Run<'a> {
    fn new(facts: Facts<'a>) -> Self {
        let mut run = Self { facts, checks: Vec::new(), slice: 0, balance: None, reports: Reports::default() };
        run.checks = limits::checks(&mut run.facts);
        run.slice = sessions::reserve_slice(&mut run);
        run
    }

    /// A gate whose counters say that the call fits: they may say less than what happened where the store
    /// has failed.
    fn passed(&self) -> Verdict {
        match &self.facts.org {
            Ok(org) if org.store_fault => Verdict::Unevaluated(Cause::StoreFault),
            Ok(_) => Verdict::Passed,
            Err(cause) => Verdict::Unevaluated(*cause),
        }
    }

    /// False for a peek, which neither charges nor counts as blocked.
    fn counts(&self) -> bool {
        self.facts.ask.counts()
    }

    fn views(&mut self) -> LimitViews {
        if self.facts.org.is_err() {
            return LimitViews::new();
        }
        let charged = self.reports.denial().is_none() && self.counts();
        // The backstop, the limits, and the balance where there is one.
        let expected = 1 + self.checks.len() + usize::from(self.balance.is_some());
        let mut views = LimitViews::with_capacity(expected);
        if let Some(rate) = self.rate_view(charged) {
            views.push(rate);
        }
        if let Some(sessions) = sessions::view(self, charged) {
            views.push(sessions);
        }
        limits::view(self, charged, &mut views);
        let balance = self.balance.as_ref();
        if let Some(balance) = balance.and_then(|seen| seen.view(charged, self.reports.of(Gate::Balance))) {
            views.push(balance);
        }
        views
    }

    fn rate_view(&self, charged: bool) -> Option<LimitView> {
        let org = self.facts.org.as_ref().ok()?;
        let (rate, record) = (&self.facts.policy.rate, org.rate);
        let denied_by = self.reports.denial().map(|(gate, _)| gate);
        let blocks = self.counts() && denied_by.is_some_and(Gate::is_blocking);
        let used = record.count.saturating_add(u64::from(charged));
        let spending = org.rate_spending.at(rate.amount.unwrap_or(u64::MAX), used);
        Some(LimitView {
            label: org.rate_label.clone(),
            scope: Scope::org(),
            amount: spending.over_amount(rate.amount),
            buffer: 0,
            used,
            carried: 0,
            reserved: 0,
            resets_at: Some(record.window_end()),
            limiting: self.reports.denies(Gate::Rate, Code::RateLimited),
            shadow: rate.shadow,
            stale: false,
            runs_out_at: None,
            spending,
            blocked: record.blocked.saturating_add(u64::from(blocks)),
        })
    }
}

/// Whether the org is frozen is known for certain where it is in memory. Where it is not, a freeze may be
/// stored.
fn freeze(run: &mut Run<'_>) -> Verdict {
    let (reason, until) = match &run.facts.org {
        Ok(org) => (org.frozen, org.frozen_until),
        Err(cause) => return Verdict::Unevaluated(*cause),
    };
    let Some(reason) = reason else { return Verdict::Passed };
    let why = if reason.as_str().is_empty() { String::new() } else { format!(": {reason}") };
    let (fits, next) = match until {
        None => (Fits::Unknown, "new ones wait for the operator".to_owned()),
        Some(at) => {
            let wait = run.facts.now.until(at);
            (Fits::After(wait), format!("new ones may begin at {} (in {})", iso(at), words::duration(wait)))
        }
    };
    let message = format!("An operator has frozen this org{why}. Running executions may resume; {next}.");
    denied(Denial { code: Code::Frozen, fits, message, names: Vec::new() })
}

/// The hard stop of a pool: all of its accounts are exhausted.
fn accounts(run: &mut Run<'_>) -> Verdict {
    if run.facts.ask.pool.is_none() {
        return Verdict::Skipped;
    }
    let exhausted = run.facts.org.as_ref().ok().and_then(|org| org.exhausted_pool);
    exhausted.cloned().map_or_else(|| run.passed(), denied)
}

fn rate(run: &mut Run<'_>) -> Result<Verdict, Need> {
    let rate = &run.facts.policy.rate;
    let is_enforced = rate.exempt != Exemption::Always && !rate.shadow;
    let Some(amount) = rate.amount.filter(|_| is_enforced) else {
        return Ok(Verdict::Skipped);
    };
    let Ok(OrgFacts { rate: record, rate_spending, .. }) = run.facts.org else { return Ok(run.passed()) };
    let amount = amount.saturating_add(rate_spending.more());
    if record.count < amount {
        return Ok(run.passed());
    }
    // Resolved only here, where it matters.
    if rate.exempt == Exemption::IfPaying && run.facts.ask.exempt.ok_or(Need::Exemption)? {
        return Ok(Verdict::Passed);
    }
    Ok(denied(backstop(record, amount, &run.facts.now)))
}

fn backstop(record: RateRecord, amount: u64, now: &Now) -> Denial {
    let (ends, wait) = (iso(record.window_end()), now.until(record.window_end()));
    let within = words::duration(wait);
    let of = format!("{} of {amount} calls per {}", record.count, words::window(Window::Aligned { len: record.len }));
    let message = format!(
        "Rate backstop reached: {of}. It guards against abuse and is not the quota of your plan. It resets at {ends} \
         (in {within}). Slow down, or ask the operator to raise `rate` for this org."
    );
    let names = vec![format!("the rate backstop ({of}, resets in {within})")];
    Denial { code: Code::RateLimited, fits: Fits::After(wait), message, names }
}

/// The denial of the emergency cap: what could not be evaluated, and when its window ends.
pub fn emergency(reports: &Reports, record: RateRecord, now: &Now) -> Denial {
    let wait = now.until(record.window_end());
    let message = format!(
        "Emergency cap reached: {} cannot be asked, and this node has let through {} calls of this org per {} \
         without. It resets at {} (in {}).",
        outage(reports),
        record.count,
        words::window(Window::Aligned { len: record.len }),
        iso(record.window_end()),
        words::duration(wait),
    );
    Denial { code: Code::RateLimited, fits: Fits::After(wait), message, names: Vec::new() }
}

/// What kept gates from being evaluated.
fn outage(reports: &Reports) -> String {
    let mut away = Vec::new();
    for (gate, cause) in reports.unevaluated().filter(|(_, cause)| *cause != Cause::NoEntitlement) {
        let what = match (gate, cause) {
            (_, Cause::StoreFault) => "the store",
            (Gate::Balance, _) => "the billing provider",
            (_, Cause::MalformedLimit) => "a stored limit",
            _ => "the counter of this org",
        };
        if !away.contains(&what) {
            away.push(what);
        }
    }
    away.join(" and ")
}
