//! The balance gate against the org's own ledger: what a plan includes (R-BAL-4, R-BAL-5, R-BAL-9).

use super::*;
use crate::domain::{
    gate::{Cause, FailOpen, Gate},
    policy::OnIndeterminate,
    window::Calendar,
};

/// 2026-07-01 00:00:00 UTC, and the midnight after `T0`.
const NEXT_MONTH: Millis = T0 + 8 * HOUR_MS + 9 * DAY_MS;
const MIDNIGHT: Millis = T0 + 8 * HOUR_MS;

/// An org on plan `pro`, which includes `amount` executions per calendar month.
fn including(amount: Option<u64>, overage: bool) -> OrgBench {
    on_plan(BalanceSource::included(amount, Calendar::Month, overage))
}

fn on_plan(source: BalanceSource) -> OrgBench {
    let mut org = OrgBench::new();
    org.policy.plan = "pro".into();
    org.policy.balance.source = source;
    org
}

fn costing(amount: u64) -> Acquire {
    Acquire { cost: executions(amount), ..ask() }
}

#[test]
fn what_is_included_is_admitted_to_the_last_unit_and_no_further() {
    for (used, asked, overage, code) in [
        (8, 1, false, Code::Allowed),
        (9, 1, false, Code::Allowed),
        (10, 1, false, Code::BalanceExhausted),
        (11, 1, false, Code::BalanceExhausted),
        (9, 2, false, Code::BalanceExhausted),
        (0, 10, false, Code::Allowed),
        (0, 11, false, Code::BalanceExhausted),
        // A call that costs no execution still needs a balance.
        (9, 0, false, Code::Allowed),
        (10, 0, false, Code::BalanceExhausted),
        (10, 1, true, Code::Allowed),
        (500, 7, true, Code::Allowed),
    ] {
        for reserves in [false, true] {
            let mut org = including(Some(10), overage);
            org.record("", executions(used), "before").unwrap();
            let call =
                if reserves { Acquire { cost: smallvec![], ..reserving(executions(asked)) } } else { costing(asked) };
            let decision = org.acquire(call);
            assert_eq!(decision.code(), code, "R-BAL-4: {used} used, {asked} asked, overage {overage}");
            assert_eq!(decision.gate(), (code != Code::Allowed).then_some(Gate::Balance));
            let charged = if code == Code::Allowed && !reserves { asked } else { 0 };
            assert_eq!(org.used("balance"), used + charged, "a denial charges nothing");
        }
    }
}

#[test]
fn nothing_included_denies_and_unlimited_never_does() {
    assert_eq!(including(Some(0), false).run(), Code::BalanceExhausted);
    let mut org = including(None, false);
    org.record("", executions(crate::bounds::AMOUNT_MAX), "before").unwrap();
    assert_eq!(org.run(), Code::Allowed, "R-BAL-4");
    let view = org.limit("balance");
    assert_eq!((view.amount, view.remaining(), view.exhausted()), (None, None, false));
}

#[test]
fn overage_is_counted_and_shown_as_unbounded() {
    let mut org = including(Some(1), true);
    for _ in 0..3 {
        assert_eq!(org.run(), Code::Allowed);
    }
    let view = org.limit("balance");
    assert_eq!((view.used, view.amount, view.limiting), (3, None, false));
}

#[test]
fn a_denial_says_what_is_used_up_until_when_and_where_there_is_more() {
    let mut org = including(Some(1), false);
    org.policy.balance.upgrade_url = "https://example.com/upgrade".into();
    org.run();
    let denied = org.acquire(ask());
    assert_eq!(
        denied.message(),
        "The included executions of plan pro are used up (it includes 1). It resets at 2026-07-01T00:00:00Z \
         (in 9 d 8 h). To get more: https://example.com/upgrade",
        "R-BAL-9"
    );
    assert_eq!((denied.retry_after(), denied.code().http_status()), (NEXT_MONTH - T0, 402));
    assert_eq!(org.limit("rate").blocked, 1);
}

#[test]
fn the_balance_is_the_last_limit_and_stands_as_after_the_call() {
    let mut org = including(Some(10), false);
    org.policy.limits = vec![executions_limit(CLOCK_HOUR, 100)].into();
    let decision = org.acquire(Acquire { cost: executions(2), ..reserving(executions(3)) });
    let names: Vec<_> = decision.limits.iter().map(|view| view.name()).collect();
    assert_eq!(names, ["rate", "quota/executions/aligned/1h", "balance"], "R-PIPE-5");
    let view = &decision.limits[2];
    assert_eq!((view.amount, view.used, view.reserved, view.remaining()), (Some(10), 2, 3, Some(5)));
    assert_eq!((view.resets_at, view.label.window), (Some(NEXT_MONTH), Window::Calendar(Calendar::Month)));
    let denied = org.acquire(costing(6));
    let view = denied.limits.last().unwrap();
    assert!(view.limiting && view.remaining() == Some(5), "{view:?}");
}

#[test]
fn a_billing_period_begins_on_its_day() {
    let mut org = on_plan(BalanceSource::included(Some(1), Calendar::MonthFrom(22), false));
    org.run();
    assert_eq!(org.acquire(ask()).retry_after(), MIDNIGHT - T0);
    assert_eq!(org.at(MIDNIGHT - 1).run(), Code::BalanceExhausted);
    assert_eq!(org.at(MIDNIGHT).run(), Code::Allowed);
    assert_eq!(org.run(), Code::BalanceExhausted, "of the new period one is used as well");
    assert_eq!(org.at(NEXT_MONTH).run(), Code::BalanceExhausted, "the first of a month is no beginning");
    let end = MIDNIGHT + 30 * DAY_MS;
    assert_eq!(org.at(end - 1).restart().run(), Code::BalanceExhausted);
    assert_eq!(org.at(end).run(), Code::Allowed, "a period of June 22 ends on July 22");
}

#[test]
fn a_peek_takes_nothing_off_the_balance() {
    let mut org = including(Some(1), false);
    for _ in 0..3 {
        assert!(org.peek(ask()).allowed, "R-PIPE-7");
    }
    assert_eq!(org.used("balance"), 0);
    org.run();
    assert_eq!(org.peek(ask()).code(), Code::BalanceExhausted);
}

#[test]
fn a_replay_is_answered_as_before_and_takes_nothing() {
    let mut org = including(Some(1), false);
    let call = || Acquire { idempotency: Some(key("a")), ..ask() };
    let first = org.acquire(call());
    let again = org.acquire(call());
    assert!(again.allowed && again.replayed, "R-PIPE-6: though nothing is left");
    assert_eq!(again.id, first.id);
    let view = again.limits.last().unwrap();
    assert_eq!((view.name(), view.used, view.limiting), ("balance", 1, false));
    assert_eq!(org.used("balance"), 1);
}

#[test]
fn a_commit_above_its_reserve_is_booked_and_denies_the_next() {
    let mut org = including(Some(10), false);
    let held = org.acquire(Acquire { cost: smallvec![], ..reserving(executions(4)) }).hold.unwrap().id;
    assert_eq!(org.limit("balance").remaining(), Some(6));
    org.commit(held, executions(12), "c").unwrap();
    let view = org.limit("balance");
    assert_eq!((view.used, view.reserved, view.remaining()), (12, 0, Some(-2)), "what happened is not forgotten");
    assert_eq!(org.run(), Code::BalanceExhausted);
    org.restart();
    assert_eq!(org.used("balance"), 12);
}

#[test]
fn a_released_reserve_is_left_again() {
    let mut org = including(Some(1), false);
    let held = org.acquire(Acquire { cost: smallvec![], ..reserving(executions(1)) }).hold.unwrap().id;
    assert_eq!(org.run(), Code::BalanceExhausted);
    org.release(held, "r").unwrap();
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn not_included_is_not_exhausted() {
    let mut org = on_plan(BalanceSource::NotIncluded);
    let open = org.acquire(ask());
    assert!(open.allowed, "R-BAL-4: allow is the default");
    assert_eq!(open.fail_open(), [FailOpen { gate: Gate::Balance, cause: Cause::NoEntitlement }]);
    assert!(open.limits.iter().all(|view| view.name() != "balance"), "there is none to show");
    org.policy.balance.on_no_entitlement = OnIndeterminate::Deny;
    let denied = org.acquire(ask());
    assert_eq!((denied.code(), denied.gate(), denied.retry_after()), (Code::BalanceExhausted, Some(Gate::Balance), 0));
    assert_eq!(denied.message(), "Executions are not included in plan pro.");
    assert!(denied.fail_open().is_empty());
}

#[test]
fn a_quota_denies_before_the_balance_and_nobody_is_asked() {
    let mut org = including(Some(0), false);
    org.policy.limits = vec![executions_limit(CLOCK_HOUR, 0)].into();
    let unasked = || Acquire { balance: None, ..ask() };
    let denied = org.acquire(unasked());
    assert_eq!((denied.code(), denied.limits.len()), (Code::QuotaExceeded, 3), "R-PIPE-5: its own ledger is known");
    let mut asking = on_plan(BalanceSource::Provider);
    asking.policy.limits = org.policy.limits.clone();
    let denied = asking.acquire(unasked());
    assert_eq!((denied.code(), denied.limits.len()), (Code::QuotaExceeded, 2), "R-PIPE-1: cheapest first");
    let explained = org.acquire(Acquire { explain: true, ..unasked() });
    let limiting: Vec<_> = explained.limits.iter().filter(|view| view.limiting).map(|view| view.name()).collect();
    assert_eq!(limiting, ["quota/executions/aligned/1h", "balance"]);
}

#[test]
fn what_stands_beside_the_org_does_not_use_its_balance_up() {
    let mut org = including(Some(1), false);
    for _ in 0..2 {
        assert!(org.acquire(ask_on("account/k1")).allowed);
    }
    assert_eq!(org.used("balance"), 0);
    assert!(org.acquire(ask_on("workspace/a")).allowed);
    assert_eq!(org.run(), Code::BalanceExhausted, "a workspace counts");
}
