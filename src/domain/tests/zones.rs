//! Limits over windows in a zone and over a year: counted to the millisecond, over restarts and retention.

use super::*;

fn executions_per(window: &str, amount: u64) -> Limit {
    executions_limit(Window::parse(window).unwrap(), amount)
}

fn org(window: &str, amount: u64) -> OrgBench {
    let mut org = OrgBench::with([executions_per(window, amount)]);
    org.policy.rate.amount = None;
    org
}

fn name(window: &str) -> String {
    format!("quota/executions/{window}")
}

/// 2026-06-21 18:30 UTC, midnight in Kolkata: inside of an hour of the ledger.
const MIDNIGHT: Millis = T0 + 150 * MINUTE_MS;
const KOLKATA: &str = "calendar/day@Asia/Kolkata";

#[test]
fn an_amount_leaves_with_midnight_in_a_zone_whose_midnight_is_inside_of_an_hour() {
    let mut org = org(KOLKATA, 2);
    org.at(MIDNIGHT - 1).acquire(ask());
    org.acquire(ask());
    let denied = org.acquire(ask());
    assert_eq!((denied.code(), denied.retry_after()), (Code::QuotaExceeded, 1), "R-BUD-4");
    assert_eq!(org.limit(&name(KOLKATA)).resets_at, Some(MIDNIGHT));
    assert!(denied.message().contains("per calendar day in Asia/Kolkata"), "{}", denied.message());
    for _ in 0..2 {
        assert!(org.at(MIDNIGHT).restart().acquire(ask()).allowed, "the day before counts no more");
    }
    let denied = org.restart().acquire(ask());
    assert_eq!((denied.code(), denied.retry_after()), (Code::QuotaExceeded, DAY_MS));
    assert_eq!(org.at(MIDNIGHT + DAY_MS - 1).acquire(ask()).code(), Code::QuotaExceeded, "never early");
    assert!(org.at(MIDNIGHT + DAY_MS).acquire(ask()).allowed);
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
}

#[test]
fn a_limit_in_a_zone_that_is_added_later_counts_the_day_and_at_most_an_hour_more() {
    let mut org = OrgBench::new();
    org.at(MIDNIGHT - 1).acquire(ask());
    org.at(MIDNIGHT + 1).acquire(ask());
    org.at(MIDNIGHT + 6 * HOUR_MS);
    org.change_limits(|limits| limits.push(executions_per(KOLKATA, 10)));
    assert_eq!(org.used(&name(KOLKATA)), 2, "the hour that midnight is in counts whole: safe, for this first day");
    org.acquire(ask());
    assert_eq!(org.at(MIDNIGHT + DAY_MS).used(&name(KOLKATA)), 0);
}

#[test]
fn a_day_of_23_or_25_hours_ends_when_its_clocks_say_so() {
    const LOS_ANGELES: &str = "calendar/day@America/Los_Angeles";
    // 2026-03-08 and 2026-11-01 at midnight there.
    for (midnight, hours) in [(1_772_956_800_000, 23), (1_793_516_400_000, 25)] {
        let mut org = org(LOS_ANGELES, 1);
        org.at(midnight).acquire(ask());
        assert_eq!(org.limit(&name(LOS_ANGELES)).resets_at, Some(midnight + hours * HOUR_MS), "R-BUD-4");
        assert!(!org.at(midnight + hours * HOUR_MS - 1).restart().acquire(ask()).allowed);
        assert!(org.at(midnight + hours * HOUR_MS).acquire(ask()).allowed);
    }
}

/// 2027-01-01 00:00 UTC.
const NEW_YEAR: Millis = 1_798_761_600_000;

#[test]
fn a_year_counts_what_its_slices_have_forgotten_and_ends_with_it() {
    let mut org = org("calendar/year", 3);
    let year = name("calendar/year");
    org.acquire(ask());
    org.acquire(ask());
    org.after(100 * DAY_MS).sweep();
    assert_eq!(org.restart().used(&year), 2, "no slice lives that long");
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
    org.acquire(ask());
    let denied = org.acquire(ask());
    assert_eq!((denied.code(), denied.retry_after()), (Code::QuotaExceeded, NEW_YEAR - org.now));
    assert!(denied.message().contains("per calendar year"), "{}", denied.message());
    assert!(!org.at(NEW_YEAR - 1).restart().acquire(ask()).allowed);
    assert!(org.at(NEW_YEAR).acquire(ask()).allowed);
    assert_eq!(org.restart().used(&year), 1);
}

#[test]
fn a_limit_per_year_that_is_added_later_counts_what_the_ledger_still_has() {
    let mut org = OrgBench::new();
    org.acquire(ask());
    org.after(60 * DAY_MS).sweep();
    org.acquire(ask());
    org.after(DAY_MS);
    org.change_limits(|limits| limits.push(executions_per("calendar/year", 10)));
    // A period more may have the ledger keep slices for longer.
    let kept = if crate::domain::window::HOUR_RETENTION_MS > 61 * DAY_MS { 2 } else { 1 };
    assert_eq!(org.used(&name("calendar/year")), kept, "the last 35 days");
}
