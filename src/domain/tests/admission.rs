//! What is admitted, what is charged for it, and what is not.

use super::*;
use crate::domain::{
    gate::{Cause, FailOpen, Gate},
    policy::OnIndeterminate,
};

/// Whether `asked` is admitted when `taken` of a limit with a buffer is used.
fn admits(amount: Option<u64>, buffer: u64, taken: u64, asked: u64) -> bool {
    let limit = Limit { buffer, ..Limit::new(Meter::spend(), HOURLY, amount) };
    let mut org = OrgBench::with([limit]);
    org.record("", spend(taken), "taken").unwrap();
    let decision = org.acquire(Acquire { cost: spend(asked), ..ask() });
    assert_eq!(org.used("budget/hourly"), if decision.allowed { taken + asked } else { taken });
    decision.allowed
}

#[test]
fn admission_is_exact_at_every_edge_of_a_limit() {
    for (amount, buffer, taken, asked, allowed) in [
        (Some(10), 0, 0, 9, true),
        (Some(10), 0, 0, 10, true),
        (Some(10), 0, 0, 11, false),
        (Some(10), 0, 9, 1, true),
        (Some(10), 0, 10, 1, false),
        (Some(10), 0, 9, 2, false),
        // Nothing is asked of it: it denies once it is used up.
        (Some(10), 0, 9, 0, true),
        (Some(10), 0, 10, 0, false),
        (Some(10), 0, 11, 0, false),
        (Some(1), 0, 0, 0, true),
        // The buffer is held back from what is asked, and only from that.
        (Some(10), 3, 0, 7, true),
        (Some(10), 3, 0, 8, false),
        (Some(10), 3, 9, 0, true),
        (Some(10), 10, 0, 1, false),
        (Some(10), 11, 0, 1, false),
        (Some(10), u64::MAX, 0, 1, false),
        // 0 blocks all, absent blocks nothing.
        (Some(0), 0, 0, 0, false),
        (Some(0), 0, 0, 1, false),
        (Some(0), 5, 0, 0, false),
        (None, 0, 0, u64::MAX / 4, true),
        (None, 5, u64::MAX / 4, u64::MAX / 4, true),
        (Some(u64::MAX), 0, u64::MAX / 2, u64::MAX / 2, true),
    ] {
        let got = admits(amount, buffer, taken, asked);
        assert_eq!(got, allowed, "R-PIPE-3: {asked} of {amount:?} less {buffer} with {taken} used");
    }
}

#[test]
fn cost_and_reserve_of_one_meter_are_asked_together() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    let both = |cost, reserve| Acquire { cost: spend(cost), reserve: spend(reserve), ..ask() };
    assert!(!org.acquire(both(5, 6)).allowed);
    assert!(org.acquire(both(5, 5)).allowed);
    let limit = org.limit("budget/hourly");
    assert_eq!((limit.used, limit.reserved, limit.remaining()), (5, 5, Some(0)));
}

#[test]
fn a_denied_call_charges_nothing_anywhere() {
    let workspace = "workspace/a";
    let limits = [spend_limit(HOURLY, 100), spend_limit(DAILY, 100), executions_limit(CLOCK_HOUR, 100)];
    let mut org = OrgBench::with(limits).and_scope(workspace, [spend_limit(DAILY, 5)]);
    let asked = Acquire { cost: both(spend(6), executions(1)), reserve: spend(1), ..ask_on(workspace) };
    let denied = org.acquire(asked.clone());
    assert_eq!((denied.code(), denied.hold), (Code::BudgetExceeded, None));
    let limiting: Vec<_> = denied.limits.iter().filter(|view| view.limiting).map(|view| view.scope.as_str()).collect();
    assert_eq!(limiting, [workspace], "R-PIPE-5: the limiting one is named");
    assert!(denied.limits.iter().all(|view| view.used == 0 && view.reserved == 0), "R-PIPE-4");
    assert_eq!(org.snapshot().ledgers, [], "R-PIPE-1: it is not recorded as usage");
    org.policy.scopes.clear();
    assert!(org.acquire(asked).allowed);
}

#[test]
fn a_charge_counts_in_its_scope_and_in_the_org_and_both_must_fit() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)])
        .and_scope("workspace/a", [spend_limit(HOURLY, 7)])
        .and_scope("workspace/b", [spend_limit(HOURLY, 7)]);
    let spending = |name, amount| Acquire { cost: spend(amount), ..ask_on(name) };
    assert!(org.acquire(spending("workspace/a", 7)).allowed);
    assert!(!org.acquire(spending("workspace/a", 1)).allowed, "its own limit");
    assert!(!org.acquire(spending("workspace/b", 4)).allowed, "R-BUD-7: the limit of the org");
    assert!(org.acquire(spending("workspace/b", 3)).allowed);
    assert_eq!(org.used("budget/hourly"), 10);
    assert_eq!(org.limit_of("workspace/b", "budget/hourly").used, 3);
}

#[test]
fn accounts_and_pools_stand_beside_the_org() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]).and_scope("account/k1", [spend_limit(HOURLY, 50)]);
    for name in ["account/k1", "pool/p"] {
        let asked = Acquire { cost: spend(40), reserve: spend(5), ..ask_on(name) };
        assert!(org.acquire(asked).allowed, "R-PIPE-4: {name}");
    }
    let limit = org.limit("budget/hourly");
    assert_eq!((limit.used, limit.reserved), (0, 0));
    let limit = org.limit_of("account/k1", "budget/hourly");
    assert_eq!((limit.used, limit.reserved), (40, 5));
}

#[test]
fn an_exhausted_org_denies_its_accounts_too() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    org.record("", spend(10), "a").unwrap();
    assert!(!org.acquire(ask_on("account/k1")).allowed, "R-PIPE-4: every limit of the org is evaluated");
}

#[test]
fn the_limit_that_fits_last_is_named_and_every_exhausted_one_is_shown() {
    let mut org = OrgBench::with([spend_limit(DAILY, 9), spend_limit(HOURLY, 5), executions_limit(CLOCK_HOUR, 50)]);
    org.record("", spend(9), "a").unwrap();
    let denied = org.acquire(ask());
    assert_eq!(
        denied.message(),
        "Budget budget/daily of this org is used up: $0.000009 used of $0.000009 per rolling day. It fits again at \
         2026-06-22T17:00:00Z (in 1 d 1 h). Also exceeded: budget/hourly of this org (used up, fits again in 1 h 1 min).",
        "R-BUD-7"
    );
    assert_eq!(org.now + denied.retry_after(), denied.limits[1].resets_at.unwrap());
    let exhausted: Vec<_> = denied.limits.iter().filter(|view| view.exhausted()).map(|view| view.name()).collect();
    assert_eq!(exhausted, ["budget/daily", "budget/hourly"], "R-PIPE-5");
    assert_eq!(denied.limits[0].name(), "rate", "in pipeline order, the backstop first");
}

#[test]
fn budgets_and_quotas_deny_with_their_own_codes() {
    for (window, code) in [(HOURLY, Code::BudgetExceeded), (CLOCK_HOUR, Code::QuotaExceeded)] {
        let mut org = OrgBench::with([executions_limit(window, 0)]);
        let denied = org.acquire(ask());
        assert_eq!((denied.code(), denied.gate(), denied.code().http_status()), (code, Some(Gate::Budgets), 402));
    }
}

#[test]
fn a_peek_consumes_nothing_and_leaves_no_trace() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    let peek = org.peek(Acquire { idempotency: Some(key("a")), reserve: spend(5), with_pause: true, ..ask() });
    assert!(peek.allowed && peek.id.is_none() && peek.hold.is_none(), "R-PIPE-7");
    assert!(org.inspect().is_none(), "the org is still unknown");
    assert!(org.flush().is_none());
    org.run();
    assert!(!org.peek(ask()).allowed);
    assert_eq!(org.limit("rate").blocked, 0, "a denied peek is not a blocked call");
}

#[test]
fn shadow_mode_says_what_would_have_happened_and_always_allows() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    let shadow = || Acquire { mode: Mode::Shadow, ..ask() };
    let first = org.acquire(shadow());
    assert_eq!((first.allowed, first.code()), (true, Code::Allowed));
    assert_eq!(org.used("quota/executions/aligned/1h"), 1, "what would have run is recorded");
    let second = org.acquire(shadow());
    assert_eq!(
        (second.allowed, second.code(), second.gate()),
        (true, Code::QuotaExceeded, Some(Gate::Budgets)),
        "R-PIPE-7"
    );
    assert_eq!(second.hold, None);
    org.freeze("f").unwrap();
    assert!(org.acquire(shadow()).allowed);
}

#[test]
fn a_limit_in_shadow_mode_is_counted_and_never_denies() {
    let shadow = Limit { shadow: true, ..executions_limit(CLOCK_HOUR, 1) };
    let mut org = OrgBench::with([shadow]);
    for _ in 0..3 {
        assert_eq!(org.run(), Code::Allowed, "R-PIPE-7");
    }
    let limit = org.limit("quota/executions/aligned/1h");
    assert!(limit.shadow && limit.exhausted() && !limit.limiting);
    assert_eq!(limit.used, 3);
}

#[test]
fn a_shadow_limit_beside_a_real_one_on_the_same_window_charges_it_once() {
    let real = executions_limit(CLOCK_HOUR, 10);
    let trial = Limit { amount: Some(5), shadow: true, ..real.clone() };
    let mut org = OrgBench::with([real, trial]);
    org.run();
    assert_eq!(org.used("quota/executions/aligned/1h"), 1, "R-PIPE-6: once");
}

#[test]
fn a_frozen_org_runs_nothing_new_and_settles_what_runs() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100)]);
    let held = org.reserve(spend(10));
    assert_eq!(org.freeze("f"), Ok(Done { outcome: Frozen { was_frozen: false }, replayed: false }));
    let denied = org.acquire(ask());
    assert_eq!((denied.code(), denied.gate(), denied.retry_after()), (Code::Frozen, Some(Gate::Freeze), 0));
    assert!(denied.message().contains("fraud"), "{}", denied.message());
    org.commit(held, spend(4), "c").unwrap();
    org.record("", spend(3), "r").unwrap();
    assert_eq!(org.resume("run-1", None), Done { outcome: Resumed { continuations: 1 }, replayed: false }, "R-BAL-8");
    assert_eq!(org.used("budget/hourly"), 7);
    org.restart();
    assert_eq!(org.run(), Code::Frozen, "a freeze survives a restart");
    assert_eq!(org.unfreeze("u"), Ok(Done { outcome: Frozen { was_frozen: true }, replayed: false }));
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn without_explain_the_first_denial_ends_the_evaluation_and_with_it_every_gate_speaks() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 0)]);
    org.policy.balance.source = BalanceSource::Provider;
    org.freeze("f").unwrap();
    let unasked = || Acquire { balance: None, ..ask() };
    let brief = org.acquire(unasked());
    assert_eq!(brief.code(), Code::Frozen);
    assert!(brief.limits.iter().all(|view| !view.limiting), "R-PIPE-1: cheapest first");
    let explained = org.try_acquire(Acquire { explain: true, ..unasked() });
    assert_eq!(explained, Ok(Err(Need::Balance)), "R-PIPE-1: explain runs every gate");
    let balance = Some(BalanceVerdict::Unknown(Cause::ProviderError));
    let explained = org.acquire(Acquire { explain: true, balance, ..ask() });
    assert_eq!((explained.code(), explained.gate()), (Code::Frozen, Some(Gate::Freeze)), "the first denial stands");
    assert!(explained.limits.iter().any(|view| view.limiting));
    assert_eq!(explained.fail_open(), [FailOpen { gate: Gate::Balance, cause: Cause::ProviderError }]);
}

#[test]
fn need_balance_changes_nothing_and_the_second_pass_evaluates_everything_again() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    org.policy.balance.source = BalanceSource::Provider;
    let unasked = || Acquire { balance: None, reserve: spend(5), idempotency: Some(key("a")), ..ask() };
    assert_eq!(org.try_acquire(unasked()), Ok(Err(Need::Balance)));
    assert!(org.inspect().is_none() && org.flush().is_none(), "R-PIPE-4: nothing was changed");
    assert_eq!(org.run(), Code::Allowed, "another call takes the last unit in between");
    let second = org.acquire(Acquire { balance: Some(allowed()), ..unasked() });
    assert_eq!(second.code(), Code::QuotaExceeded, "R-PIPE-4: the actor re-evaluates every gate");
}

#[test]
fn the_provider_is_not_asked_about_a_call_that_is_denied_anyway() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 0)]);
    org.policy.balance.source = BalanceSource::Provider;
    assert_eq!(org.acquire(Acquire { balance: None, ..ask() }).code(), Code::QuotaExceeded, "R-PIPE-1");
}

#[test]
fn an_exhausted_balance_denies_and_charges_nothing() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 5)]);
    org.policy.balance.source = BalanceSource::Provider;
    let denied = org.acquire(Acquire { balance: Some(exhausted()), ..ask() });
    assert_eq!((denied.code(), denied.gate()), (Code::BalanceExhausted, Some(Gate::Balance)));
    assert_eq!((org.used("quota/executions/aligned/1h"), org.used("rate")), (0, 0));
    assert_eq!(org.limit("rate").blocked, 1, "denied by a later gate");
    org.policy.balance.source = BalanceSource::None;
    assert!(org.acquire(Acquire { balance: Some(exhausted()), ..ask() }).allowed);
}

#[test]
fn a_gate_that_could_not_be_evaluated_follows_its_policy_and_says_so() {
    let unknown = || Acquire { balance: Some(BalanceVerdict::Unknown(Cause::Timeout)), ..ask() };
    let mut org = OrgBench::new();
    org.policy.balance.source = BalanceSource::Provider;
    let open = org.acquire(unknown());
    assert!(open.allowed, "R-PIPE-2: allow is the default");
    assert_eq!(open.fail_open(), [FailOpen { gate: Gate::Balance, cause: Cause::Timeout }]);
    org.store_fault = true;
    let open = org.acquire(unknown());
    let gates: Vec<_> = open.fail_open().iter().map(|open| open.gate).collect();
    assert_eq!(gates, [Gate::Rate, Gate::Balance], "both are flagged, for the emergency cap to see");
    org.policy.balance.on_indeterminate = OnIndeterminate::Deny;
    let denied = org.acquire(unknown());
    assert_eq!((denied.code(), denied.gate(), denied.allowed), (Code::Indeterminate, Some(Gate::Balance), false));
    assert!(denied.message().contains("balance") && denied.message().contains("timeout"), "{}", denied.message());
    org.policy.rate.on_indeterminate = OnIndeterminate::Deny;
    assert_eq!(org.acquire(unknown()).gate(), Some(Gate::Rate));
}

#[test]
fn what_is_known_to_be_exhausted_denies_also_while_the_store_fails() {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(1);
    org.run();
    org.store_fault = true;
    assert_eq!(org.run(), Code::RateLimited, "R-PIPE-2: known exhaustion is a denial");
}
