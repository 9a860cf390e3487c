//! The balance gate: the provider's word, or the org's own ledger against what its plan includes.
//!
//! | the balance | the gate |
//! | --- | --- |
//! | enough remains, unlimited, overage allowed | allows |
//! | used up, a cap is met, a payment is due | denies BALANCE_EXHAUSTED |
//! | the feature is not in the plan | `on_no_entitlement`; an allow is flagged |
//! | the provider does not know the org | `on_unknown_customer`; an allow is flagged |
//! | no word for any other reason | `on_indeterminate`; an allow is flagged |

use super::{Check, Facts, check, indeterminate};
use crate::{
    bounds::SECOND_MS,
    domain::{
        balance::{Balance, BalanceVerdict, DenyReason},
        book::Book,
        command::{Acquire, Need},
        decision::{Cause, Code, Denial, FailOpen, Gate, LimitView},
        ids::{Meter, Scope},
        policy::{BalanceSource, OnIndeterminate, OrgPolicy},
        window::{Millis, Window, iso},
    },
};

/// What the gate saw, for the answer.
#[derive(Debug)]
pub(super) struct Seen<'p> {
    pub(super) denial: Option<Denial>,
    balance: Balance,
    /// The balance as a limit of the org's own ledger.
    included: Option<Check<'p>>,
}

pub(super) fn gate<'p>(
    book: &mut Book,
    ask: &Acquire,
    facts: &Facts<'p>,
    fail_open: &mut Vec<FailOpen>,
) -> Result<Option<Seen<'p>>, Need> {
    let policy = &facts.policy.balance;
    match &policy.source {
        BalanceSource::None => Ok(None),
        BalanceSource::Provider => {
            let verdict = ask.balance.ok_or(Need::Balance)?;
            let asked = asked(ask);
            let denial = judge(enough_for(verdict, asked), facts.policy, facts.now, fail_open);
            let balance = match verdict {
                BalanceVerdict::Allowed(balance) | BalanceVerdict::Denied(_, balance) => balance,
                BalanceVerdict::Unknown(_) => Balance::default(),
            };
            Ok(Some(Seen { denial, balance, included: None }))
        }
        BalanceSource::NotIncluded => {
            let denial = judge(BalanceVerdict::not_included(), facts.policy, facts.now, fail_open);
            Ok(Some(Seen { denial, balance: Balance::default(), included: None }))
        }
        BalanceSource::Included { limit, overage } => {
            let mut check = check(book, ask, Scope::org(), limit, facts.now);
            let balance = Balance {
                granted: limit.amount,
                overage: *overage,
                resets_at: book.window_end(&check.scope, limit, facts.now),
                ..Balance::default()
            };
            check.limiting = !overage && !check.admits();
            let denied = check.limiting.then_some(BalanceVerdict::Denied(DenyReason::Exhausted, balance));
            let denial = denied.and_then(|verdict| judge(verdict, facts.policy, facts.now, fail_open));
            Ok(Some(Seen { denial, balance, included: Some(check) }))
        }
    }
}

/// Executions asked for at admission. A call that names none still needs a balance.
fn asked(ask: &Acquire) -> u64 {
    let executions = Meter::executions();
    let all = ask.cost.iter().chain(&ask.reserve).filter(|(meter, _)| *meter == executions);
    all.map(|(_, amount)| *amount).fold(0, u64::saturating_add)
}

/// The provider was asked for one; an expensive call needs all of what it asks.
fn enough_for(verdict: BalanceVerdict, asked: u64) -> BalanceVerdict {
    match verdict {
        BalanceVerdict::Allowed(balance) if balance.bound().is_some_and(|left| left < asked) => {
            BalanceVerdict::Denied(DenyReason::Exhausted, balance)
        }
        verdict => verdict,
    }
}

/// The provider's word alone, for a call whose counters can not be reached.
pub(super) fn alone(
    ask: &Acquire,
    verdict: BalanceVerdict,
    policy: &OrgPolicy,
    now: Millis,
) -> (Option<Denial>, Vec<FailOpen>) {
    let mut fail_open = Vec::new();
    let denial = judge(enough_for(verdict, asked(ask)), policy, now, &mut fail_open);
    (denial, fail_open)
}

fn judge(verdict: BalanceVerdict, org: &OrgPolicy, now: Millis, fail_open: &mut Vec<FailOpen>) -> Option<Denial> {
    let policy = &org.balance;
    match verdict {
        BalanceVerdict::Allowed(_) => None,
        BalanceVerdict::Denied(DenyReason::NoEntitlement, _) if policy.on_no_entitlement == OnIndeterminate::Allow => {
            fail_open.push(FailOpen { gate: Gate::Balance, cause: Cause::NoEntitlement });
            None
        }
        BalanceVerdict::Denied(reason, balance) => Some(denial(reason, &balance, org, now)),
        BalanceVerdict::Unknown(Cause::UnknownCustomer) => {
            indeterminate(Gate::Balance, Cause::UnknownCustomer, policy.on_unknown_customer, fail_open)
        }
        BalanceVerdict::Unknown(cause) => indeterminate(Gate::Balance, cause, policy.on_indeterminate, fail_open),
    }
}

fn denial(reason: DenyReason, balance: &Balance, policy: &OrgPolicy, now: Millis) -> Denial {
    let plan = match policy.plan.as_str() {
        "" => "the plan".to_owned(),
        plan => format!("plan {plan}"),
    };
    let granted = balance.granted.map_or_else(String::new, |granted| format!(" (it includes {granted})"));
    let what = match reason {
        DenyReason::Exhausted => format!("The included executions of {plan} are used up{granted}."),
        DenyReason::SpendCap => format!("The spending limit beyond the included executions of {plan} is reached."),
        DenyReason::UsageCap => format!("The usage limit of {plan} is reached."),
        DenyReason::NoEntitlement => format!("Executions are not included in {plan}."),
        DenyReason::PastDue => format!("A payment for {plan} is due."),
    };
    let wait = balance.resets_at.map(|at| at.saturating_sub(now)).filter(|wait| *wait > 0);
    let when = match (balance.resets_at, wait) {
        (Some(at), Some(wait)) => format!(" It resets at {} (in {} s).", iso(at), wait.div_ceil(SECOND_MS)),
        _ => String::new(),
    };
    let url = &policy.balance.upgrade_url;
    let upgrade = if url.is_empty() { String::new() } else { format!(" To get more: {url}") };
    Denial {
        gate: Gate::Balance,
        code: Code::BalanceExhausted,
        retry_after: wait.unwrap_or(0),
        message: format!("{what}{when}{upgrade}"),
    }
}

impl Seen<'_> {
    /// As it will stand: after the charge where it is `charged`. A provider's balance is as it was
    /// last told.
    pub(super) fn view(&self, charged: bool) -> Option<LimitView> {
        if let Some(check) = &self.included {
            let Balance { resets_at, overage, .. } = self.balance;
            let mut view = check.view(charged, resets_at);
            view.amount = view.amount.filter(|_| !overage);
            return Some(view);
        }
        let Balance { granted, remaining, unlimited, overage, resets_at, .. } = self.balance;
        if remaining.is_none() && !unlimited {
            return None;
        }
        let left = remaining.unwrap_or(0);
        // Without the whole, what is left is all that is known of it.
        let amount = granted.unwrap_or(left).max(left);
        let bounded = !unlimited && !overage;
        Some(LimitView {
            name: super::BALANCE.clone(),
            scope: Scope::org(),
            meter: Meter::executions(),
            window: Window::Provider,
            amount: bounded.then_some(amount),
            buffer: 0,
            used: if unlimited { 0 } else { amount - left },
            reserved: 0,
            resets_at,
            limiting: self.denial.as_ref().is_some_and(|denial| denial.code == Code::BalanceExhausted),
            shadow: false,
            blocked: 0,
        })
    }
}
