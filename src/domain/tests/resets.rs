//! R-BUD-4: `resets_at` and `retry_after` name the first instant at which the call fits if nothing
//! else happens: then it does, a millisecond earlier it does not.

use super::*;
use crate::domain::window::Calendar;

/// Denies `asked` now and checks that what it says about waiting is exact.
#[track_caller]
fn assert_exact(org: &mut OrgBench, asked: &Acquire) -> Millis {
    let denied = org.peek(asked.clone());
    assert!(!denied.allowed && denied.retry_after() > 0, "{denied:?}");
    let fits_at = org.now + denied.retry_after();
    org.restart();
    let now = org.now;
    org.at(fits_at - 1);
    assert!(!org.peek(asked.clone()).allowed, "R-BUD-4: it fits too early");
    org.at(fits_at);
    assert!(org.peek(asked.clone()).allowed, "R-BUD-4: it does not fit when it should");
    fits_at - now
}

fn spending(amount: u64) -> Acquire {
    Acquire { cost: spend(amount), ..ask() }
}

#[test]
fn a_rolling_window_frees_an_amount_when_its_slice_leaves() {
    let offset = 17 * MINUTE_MS + 31_234;
    for (window, slice) in [(HOURLY, MINUTE_MS), (DAILY, HOUR_MS)] {
        let mut org = OrgBench::with([spend_limit(window, 10)]);
        org.after(offset).record("", spend(10), "a").unwrap();
        let Window::Rolling { len } = window else { unreachable!() };
        let slice_start = org.now / slice * slice;
        let waited = assert_exact(&mut org, &spending(1));
        assert_eq!(T0 + offset + waited, slice_start + slice + len, "at most one slice late, never early");
    }
}

#[test]
fn only_as_many_slices_are_waited_for_as_the_call_needs() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    for minute in 0..5 {
        org.at(T0 + minute * MINUTE_MS).record("", spend(2), &format!("r{minute}")).unwrap();
    }
    let until = |org: &mut OrgBench, amount| {
        let now = org.now;
        now + org.peek(spending(amount)).retry_after()
    };
    for (amount, minute) in [(1, 61), (2, 61), (3, 62), (9, 65), (10, 65)] {
        assert_eq!(until(&mut org, amount), T0 + minute * MINUTE_MS, "{amount}");
    }
    assert_exact(&mut org, &spending(5));
}

#[test]
fn counted_and_calendar_windows_free_all_at_their_end() {
    for (window, waited) in [
        (CLOCK_HOUR, 25 * MINUTE_MS),
        (DAY_FROM_FIRST_USE, DAY_MS - 30 * MINUTE_MS),
        (Window::Calendar(Calendar::Day), 7 * HOUR_MS + 25 * MINUTE_MS),
        (Window::Calendar(Calendar::Week), 7 * HOUR_MS + 25 * MINUTE_MS),
        (Window::Calendar(Calendar::Month), (9 * 24 + 7) * HOUR_MS + 25 * MINUTE_MS),
    ] {
        let mut org = OrgBench::with([spend_limit(window, 10)]);
        org.after(5 * MINUTE_MS).record("", spend(10), "a").unwrap();
        org.after(30 * MINUTE_MS);
        assert_eq!(assert_exact(&mut org, &spending(1)), waited, "{window}");
    }
}

#[test]
fn a_hold_frees_its_amount_when_it_expires_and_the_first_that_suffices_counts() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    for minutes in [30, 10, 20] {
        org.acquire(Acquire { reservation_ttl: minutes * MINUTE_MS, ..reserving(spend(3)) });
    }
    let waited = |org: &mut OrgBench, amount| org.peek(spending(amount)).retry_after() / MINUTE_MS;
    assert_eq!((waited(&mut org, 2), waited(&mut org, 4), waited(&mut org, 5)), (10, 10, 20), "R-BUD-4: the earliest");
    assert_exact(&mut org, &spending(8));
}

#[test]
fn usage_that_leaves_and_holds_that_expire_are_taken_together() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    org.record("", spend(5), "a").unwrap();
    org.acquire(Acquire { reservation_ttl: MINUTE_MS, ..reserving(spend(5)) });
    assert_eq!(assert_exact(&mut org, &spending(5)), MINUTE_MS, "the hold goes first and is enough");
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    org.record("", spend(5), "a").unwrap();
    org.acquire(Acquire { reservation_ttl: 2 * HOUR_MS, ..reserving(spend(5)) });
    assert_eq!(assert_exact(&mut org, &spending(5)), 61 * MINUTE_MS, "the usage goes first and is enough");
}

#[test]
fn a_hold_that_outlives_a_counted_window_is_waited_for() {
    let mut org = OrgBench::with([spend_limit(CLOCK_HOUR, 10)]);
    org.acquire(Acquire { reservation_ttl: 3 * HOUR_MS, ..reserving(spend(8)) });
    assert_eq!(assert_exact(&mut org, &spending(5)), 3 * HOUR_MS);
    let mut org = OrgBench::with([spend_limit(CLOCK_HOUR, 10)]);
    org.acquire(Acquire { reservation_ttl: 3 * HOUR_MS, ..reserving(spend(8)) });
    let denied = org.peek(spending(5));
    assert_eq!(denied.limits[1].resets_at, Some(T0 + 3 * HOUR_MS), "the limit says what the decision says");
}

#[test]
fn several_limits_are_waited_for_together() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10), spend_limit(DAILY, 10), executions_limit(CLOCK_HOUR, 5)]);
    org.record("", spend(10), "a").unwrap();
    assert_eq!(assert_exact(&mut org, &spending(1)), 25 * HOUR_MS, "the last of them decides");
}

#[test]
fn what_never_fits_names_no_instant() {
    for (limit, asked) in [
        (spend_limit(HOURLY, 10), 11),
        (Limit { buffer: 4, ..spend_limit(HOURLY, 10) }, 7),
        (Limit { buffer: 10, ..spend_limit(CLOCK_HOUR, 10) }, 1),
        (spend_limit(HOURLY, 0), 0),
        (spend_limit(CLOCK_HOUR, 0), 0),
        (spend_limit(Window::Calendar(Calendar::Month), 0), 0),
    ] {
        let mut org = OrgBench::with([limit]);
        let denied = org.peek(spending(asked));
        assert!(!denied.allowed);
        assert_eq!((denied.retry_after(), denied.limits[1].resets_at), (0, None), "absent = never: {denied:?}");
    }
}

#[test]
fn a_limit_that_admits_says_when_its_window_ends_or_that_it_fits_now() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10), executions_limit(CLOCK_HOUR, 5)]);
    let allowed = org.after(MINUTE_MS).acquire(spending(1));
    let resets: Vec<_> = allowed.limits.iter().map(|view| view.resets_at).collect();
    assert_eq!(resets, [Some(T0 + HOUR_MS), Some(T0 + MINUTE_MS), Some(T0 + HOUR_MS)]);
}
