//! The balance gate: the provider's answer, or the org's own ledger against what its plan includes.
//!
//! | the balance | the gate |
//! | --- | --- |
//! | enough remains, unlimited, overage allowed | allows |
//! | used up, a cap is met, a payment is due | denies BALANCE_EXHAUSTED |
//! | was used up, and the provider cannot be asked again | the same for `deny_stale`, flagged `stale` |
//! | the feature is not in the plan | `on_no_entitlement`; an allow is flagged |
//! | the provider does not know the org | `on_unknown_customer`; an allow is flagged |
//! | no answer for any other reason | `on_indeterminate`; an allow is flagged |

use std::sync::{Arc, LazyLock};

use super::{Run, denied, limits::Check};
use crate::domain::{
    balance::{Balance, BalanceVerdict, DenyReason},
    command::{Acquire, Need},
    decision::LimitView,
    gate::{Cause, Code, Denial, Fits, Verdict},
    ids::{Meter, Scope},
    lease::Now,
    limit::{Label, LimitSource, Origin},
    policy::{BalanceSource, OnIndeterminate, OrgPolicy},
    spending::Spending,
    window::{Window, iso},
    words,
};

/// The balance of a provider among the limits.
static BALANCE: LazyLock<Arc<Label>> = LazyLock::new(|| {
    let label = Label::new(BalanceSource::LIMIT, Meter::executions(), Window::Provider);
    Arc::new(Label { origin: Origin::of(LimitSource::Provider), ..(*label).clone() })
});

/// The balance as the gate saw it, for the answer.
#[derive(Debug)]
pub(super) struct Seen<'p> {
    balance: Balance,
    /// The balance as a limit of the org's own book.
    included: Option<Check<'p>>,
}

pub(super) fn gate(run: &mut Run<'_>) -> Result<Verdict, Need> {
    let (ask, policy) = (run.facts.ask, run.facts.policy);
    let verdict = match &policy.balance.source {
        BalanceSource::None => return Ok(Verdict::Skipped),
        BalanceSource::Included { .. } => return Ok(included(run)),
        BalanceSource::Provider => enough_for(ask.balance.ok_or(Need::Balance)?, asked(ask)),
        BalanceSource::NotIncluded => BalanceVerdict::not_included(),
    };
    let (verdict, balance) = match verdict {
        BalanceVerdict::Allowed(balance) => (Verdict::Passed, balance),
        BalanceVerdict::Denied(DenyReason::NoEntitlement, balance) => {
            (Verdict::Unevaluated(Cause::NoEntitlement), balance)
        }
        BalanceVerdict::Denied(reason, balance) => {
            (denied(denial(reason, &balance, ask, policy, &run.facts.now)), balance)
        }
        BalanceVerdict::Unknown(cause) => (Verdict::Unevaluated(cause), Balance::default()),
    };
    run.balance = Some(Seen { balance, included: None });
    Ok(verdict)
}

/// What happens to a call where there is no balance to judge it by.
pub(super) fn on_indeterminate(policy: &OrgPolicy, cause: Cause) -> OnIndeterminate {
    policy.balance.without_answer(cause).0
}

/// The org's own book against what its plan includes.
fn included(run: &mut Run<'_>) -> Verdict {
    let (ask, policy, now) = (run.facts.ask, run.facts.policy, run.facts.now);
    let BalanceSource::Included { limit, overage } = &policy.balance.source else { return Verdict::Skipped };
    let Ok(org) = &mut run.facts.org else { return run.passed() };
    let standing = org.book.standing(Scope::of_org(), limit, now.service);
    let mut check = Check::new(ask, Scope::of_org(), limit, standing);
    check.limiting = !overage && !check.admits();
    let exhausted = check.limiting;
    let resets_at = if exhausted {
        org.book.fits_at(check.scope, None, limit, check.cost.saturating_add(check.hold), &now)
    } else {
        check.ends_at
    };
    let taken = check.used.saturating_add(check.reserved);
    let amount = check.amount();
    let remaining = amount.map(|amount| amount.saturating_sub(taken));
    let balance = Balance { granted: amount, remaining, overage: *overage, resets_at, ..Balance::default() };
    run.balance = Some(Seen { balance, included: Some(check) });
    if exhausted { denied(denial(DenyReason::Exhausted, &balance, run.facts.ask, policy, &now)) } else { run.passed() }
}

/// Executions asked for at admission. A call that names none still needs a balance.
fn asked(ask: &Acquire) -> u64 {
    let all = ask.cost.iter().chain(&ask.reserve).filter(|(meter, _)| meter.as_str() == Meter::EXECUTIONS);
    all.map(|(_, amount)| *amount).fold(0, u64::saturating_add)
}

/// The provider was asked for one; an expensive call needs all of what it asks.
fn enough_for(verdict: BalanceVerdict, asked: u64) -> BalanceVerdict {
    let BalanceVerdict::Allowed(balance) = verdict else { return verdict };
    if balance.bound().is_some_and(|left| left < asked) {
        return BalanceVerdict::Denied(DenyReason::Exhausted, balance);
    }
    verdict
}

pub(super) fn denial(reason: DenyReason, balance: &Balance, ask: &Acquire, policy: &OrgPolicy, now: &Now) -> Denial {
    let plan = match policy.plan.as_str() {
        "" => "the plan".to_owned(),
        plan => format!("plan {plan}"),
    };
    let granted = balance.granted.map_or_else(String::new, |granted| format!(" (it includes {granted})"));
    let left = balance.bound().filter(|left| *left > 0);
    let what = match (reason, left) {
        (DenyReason::Exhausted, Some(left)) => {
            format!("The included executions of {plan} do not suffice{granted}: {} asked, {left} left.", asked(ask))
        }
        (DenyReason::Exhausted, None) => format!("The included executions of {plan} are used up{granted}."),
        (DenyReason::SpendCap, _) => format!("The spending limit beyond the included executions of {plan} is reached."),
        (DenyReason::UsageCap, _) => format!("The usage limit of {plan} is reached."),
        (DenyReason::NoEntitlement, _) => format!("Executions are not included in {plan}."),
        (DenyReason::PastDue, _) => format!("A payment for {plan} is due."),
    };
    // More than a whole period includes fits in none.
    let ever = balance.granted.is_none_or(|granted| asked(ask) <= granted);
    let wait = balance.resets_at.filter(|_| ever).map(|at| now.until(at));
    let wait = wait.filter(|wait| *wait > 0);
    let when = match (balance.resets_at, wait) {
        _ if !ever => " One period does not include as much.".to_owned(),
        (Some(at), Some(wait)) => format!(" It resets at {} (in {}).", iso(at), words::duration(wait)),
        _ => String::new(),
    };
    let url = &policy.balance.upgrade_url;
    let upgrade = if url.is_empty() { String::new() } else { format!(" To get more: {url}") };
    let stale = balance.stale.map_or_else(String::new, |cause| {
        format!(" This is the last answer of the billing provider, which cannot be asked now ({}).", cause.name())
    });
    let fits = match wait {
        _ if !ever => Fits::Never,
        Some(wait) => Fits::After(wait),
        None => Fits::Unknown,
    };
    let names = vec![in_brief(reason, left, asked(ask), fits)];
    Denial { code: Code::BalanceExhausted, fits, message: format!("{what}{when}{upgrade}{stale}"), names }
}

/// `the balance (used up, resets in 9 d)`
fn in_brief(reason: DenyReason, left: Option<u64>, asked: u64, fits: Fits) -> String {
    let what = match (reason, left) {
        (DenyReason::Exhausted, Some(left)) => format!("{asked} asked, {left} left"),
        (DenyReason::Exhausted, None) => "used up".to_owned(),
        (DenyReason::SpendCap, _) => "at its spending limit".to_owned(),
        (DenyReason::UsageCap, _) => "at its usage limit".to_owned(),
        (DenyReason::NoEntitlement, _) => "not included in the plan".to_owned(),
        (DenyReason::PastDue, _) => "a payment is due".to_owned(),
    };
    let when = match fits {
        Fits::Unknown => String::new(),
        Fits::After(wait) => format!(", resets in {}", words::duration(wait)),
        Fits::Never => ", one period does not include as much".to_owned(),
    };
    format!("the balance ({what}{when})")
}

impl Seen<'_> {
    /// As it will stand: after the charge where it is `charged`. A provider's balance is as it
    /// last answered.
    pub(super) fn view(&self, charged: bool, verdict: &Verdict) -> Option<LimitView> {
        if let Some(check) = &self.included {
            let Balance { resets_at, overage, .. } = self.balance;
            let mut view = check.view(charged, resets_at);
            view.amount = view.amount.filter(|_| !overage);
            return Some(view);
        }
        let Balance { granted, remaining, unlimited, overage, resets_at, stale, .. } = self.balance;
        if remaining.is_none() && !unlimited {
            return None;
        }
        let left = remaining.unwrap_or(0);
        // Without the whole, what is left is all that is known of it.
        let amount = granted.unwrap_or(left).max(left);
        let bounded = !unlimited && !overage;
        Some(LimitView {
            label: BALANCE.clone(),
            scope: Scope::org(),
            amount: bounded.then_some(amount),
            buffer: 0,
            used: if unlimited { 0 } else { amount - left },
            carried: 0,
            reserved: 0,
            resets_at,
            limiting: matches!(verdict, Verdict::Denied(denial) if denial.code == Code::BalanceExhausted),
            shadow: false,
            blocked: 0,
            stale: stale.is_some(),
            runs_out_at: None,
            spending: Spending::default(),
        })
    }
}
