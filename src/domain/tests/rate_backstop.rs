//! The rate backstop: which call is the last to run, and when the next one is.

use super::*;
use crate::domain::{gate::Gate, policy::RateLimit};

fn backstop(amount: u64) -> OrgBench {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(amount);
    org
}

#[test]
fn the_1000th_call_runs_and_the_1001st_does_not() {
    let mut org = OrgBench::new();
    for call in 1..=1000 {
        assert_eq!(org.run(), Code::Allowed, "R-RATE-1: call {call}");
    }
    assert_eq!(org.run(), Code::RateLimited, "R-RATE-1");
    let rate = org.limit("rate");
    assert_eq!((rate.used, rate.blocked, rate.remaining()), (1000, 1, Some(0)));
}

#[test]
fn a_denial_says_when_the_window_ends_and_then_a_call_runs() {
    let mut org = backstop(1);
    org.at(T0 + 17 * MINUTE_MS + 3).run();
    let denied = org.acquire(ask());
    assert_eq!((denied.code(), denied.gate()), (Code::RateLimited, Some(Gate::Rate)));
    assert_eq!(denied.retry_after(), 43 * MINUTE_MS - 3);
    assert!(
        denied.message().contains("abuse") && denied.message().contains("17:00:00Z"),
        "R-RATE-7: {}",
        denied.message()
    );
    org.at(T0 + HOUR_MS - 1);
    assert_eq!(org.run(), Code::RateLimited);
    org.after(1);
    assert_eq!(org.run(), Code::Allowed, "R-RATE-1: another window starts at 1");
    assert_eq!((org.used("rate"), org.limit("rate").blocked), (1, 0));
}

#[test]
fn only_admitted_calls_decide_so_a_raised_limit_unblocks_at_once() {
    let mut org = backstop(2);
    for _ in 0..50 {
        org.run();
    }
    assert_eq!((org.used("rate"), org.limit("rate").blocked), (2, 48));
    org.policy.rate.amount = Some(3);
    assert_eq!(org.run(), Code::Allowed, "R-PIPE-11");
    org.policy.rate.amount = Some(2);
    assert_eq!(org.run(), Code::RateLimited, "R-PIPE-11: a lowered one blocks at once");
}

#[test]
fn calls_are_counted_one_each_whatever_they_cost() {
    let mut org = backstop(2);
    org.acquire(Acquire { cost: executions(900), ..ask() });
    assert_eq!(org.used("rate"), 1, "R-RATE-1");
}

#[test]
fn replays_and_peeks_are_not_counted() {
    let mut org = backstop(10);
    let keyed = || Acquire { idempotency: Some(key("a")), ..ask() };
    org.acquire(keyed());
    org.acquire(keyed());
    org.peek(ask());
    assert_eq!(org.used("rate"), 1, "R-RATE-1");
}

#[test]
fn calls_that_a_later_gate_denies_are_blocked_and_frozen_ones_are_not() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 0)]);
    org.run();
    assert_eq!((org.used("rate"), org.limit("rate").blocked), (0, 1));
    org.freeze("f").unwrap();
    org.run();
    assert_eq!(org.limit("rate").blocked, 1, "the freeze comes before the backstop");
}

#[test]
fn the_count_survives_a_restart_and_a_crash_forgets_what_was_not_committed() {
    let mut org = backstop(3);
    org.run();
    org.run();
    org.restart();
    assert_eq!(org.used("rate"), 2);
    org.run();
    assert_eq!(org.run(), Code::RateLimited);
    org.crash();
    assert_eq!((org.used("rate"), org.limit("rate").blocked), (2, 0));
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn a_clock_that_steps_back_does_not_reopen_a_spent_window() {
    let mut org = backstop(1);
    org.after(HOUR_MS).run();
    org.at(T0 + HOUR_MS - 1);
    assert_eq!(org.run(), Code::RateLimited);
    org.restart();
    assert_eq!(org.run(), Code::RateLimited, "also after a restart");
    org.at(T0 + 2 * HOUR_MS);
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn another_length_neither_reopens_the_running_window_nor_outlives_it() {
    let mut org = backstop(1);
    org.run();
    for len in [10 * MINUTE_MS, DAY_MS] {
        org.policy.rate = RateLimit { amount: Some(1), len, ..RateLimit::default() };
        assert_eq!(org.run(), Code::RateLimited, "{len}");
    }
    org.policy.rate = RateLimit { amount: Some(1), len: 10 * MINUTE_MS, ..RateLimit::default() };
    org.at(T0 + DAY_MS);
    assert_eq!(org.run(), Code::Allowed);
    org.after(10 * MINUTE_MS);
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn a_backstop_that_is_switched_off_lets_pass_without_a_flag() {
    let mut org = backstop(1);
    org.policy.rate.amount = None;
    org.store_fault = true;
    org.run();
    let decision = org.acquire(ask());
    assert!(decision.allowed && decision.fail_open().is_empty(), "R-PIPE-2");
    assert_eq!(decision.limits[0].remaining(), None);
}
