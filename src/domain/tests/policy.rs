//! R-PIPE-11: limits change at run time and take effect with the next call.

use super::*;
use crate::domain::window::Calendar;

const QUOTA: &str = "quota/executions/aligned/1h";

fn quota(org: &mut OrgBench, amount: u64) {
    org.policy.limits = vec![executions_limit(CLOCK_HOUR, amount)].into();
}

#[test]
fn a_raised_limit_admits_at_once_and_a_lowered_one_denies_at_once() {
    let mut org = OrgBench::new();
    quota(&mut org, 1);
    assert_eq!((org.run(), org.run()), (Code::Allowed, Code::QuotaExceeded));
    quota(&mut org, 2);
    assert_eq!((org.run(), org.run()), (Code::Allowed, Code::QuotaExceeded), "R-PIPE-11: no sticky flag");
    quota(&mut org, 1);
    assert_eq!(org.run(), Code::QuotaExceeded);
    assert_eq!(org.limit(QUOTA).remaining(), Some(-1));
    org.policy.limits = Limits::default();
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn a_limit_added_in_mid_window_sees_what_came_before_it() {
    for window in [HOURLY, CLOCK_HOUR, Window::Calendar(Calendar::Day), Window::Aligned { len: DAY_MS }] {
        let mut org = OrgBench::new();
        org.run();
        org.after(30 * MINUTE_MS).run();
        org.policy.limits = vec![executions_limit(window, 3)].into();
        assert_eq!((org.run(), org.run().http_status()), (Code::Allowed, 402), "{window}");
    }
}

#[test]
fn an_anchored_limit_starts_with_its_first_use() {
    let mut org = OrgBench::new();
    org.run();
    org.policy.limits = vec![executions_limit(DAY_FROM_FIRST_USE, 1)].into();
    let name = "quota/executions/anchored/1d";
    assert_eq!(org.used(name), 0, "what came before it is not counted");
    let started = org.after(MINUTE_MS).now;
    org.run();
    org.after(DAY_MS - 1);
    assert_eq!(org.run(), Code::QuotaExceeded);
    assert_eq!(org.limit(name).resets_at, Some(started + DAY_MS));
    org.after(1);
    assert_eq!(org.run(), Code::Allowed, "a new one begins");
    assert_eq!(org.limit(name).resets_at, Some(started + 2 * DAY_MS));
}

#[test]
fn an_anchored_limit_of_another_length_is_a_new_limit_and_the_old_one_goes_on_meanwhile() {
    let mut org = OrgBench::with([executions_limit(DAY_FROM_FIRST_USE, 2)]);
    org.run();
    let half = executions_limit(Window::Anchored { len: DAY_MS / 2 }, 2);
    let day = std::mem::replace(&mut org.policy.limits, vec![half].into());
    assert_eq!((org.used("quota/executions/anchored/12h"), org.run()), (0, Code::Allowed));
    org.policy.limits = day;
    assert_eq!((org.used("quota/executions/anchored/1d"), org.run()), (2, Code::QuotaExceeded), "R-PIPE-3");
}

#[test]
fn a_limit_taken_away_and_put_back_knows_what_was_used_in_between() {
    for window in [CLOCK_HOUR, Window::Aligned { len: DAY_MS }, DAY_FROM_FIRST_USE] {
        let mut org = OrgBench::with([executions_limit(window, 10)]);
        org.run();
        let limits = std::mem::take(&mut org.policy.limits);
        for _ in 0..4 {
            org.run();
        }
        org.restart();
        org.policy.limits = limits;
        let name = org.policy.limits[0].name().to_string();
        assert_eq!(org.used(&name), 5, "R-PIPE-3: {window}");
    }
}

#[test]
fn a_limit_put_back_in_a_later_window_knows_what_that_window_saw() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 10)]);
    org.run();
    let limits = std::mem::take(&mut org.policy.limits);
    org.after(HOUR_MS).run();
    org.run();
    org.policy.limits = limits;
    assert_eq!(org.used(QUOTA), 2);
}

#[test]
fn a_limit_on_another_window_sees_the_usage_of_that_window() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 10)]);
    org.run();
    org.after(HOUR_MS).run();
    for (window, used) in
        [(Window::Aligned { len: DAY_MS }, 2), (HOURLY, 2), (CLOCK_HOUR, 1), (Window::Calendar(Calendar::Month), 2)]
    {
        org.policy.limits = vec![executions_limit(window, 10)].into();
        let name = org.policy.limits[0].name().to_string();
        assert_eq!(org.used(&name), used, "R-PIPE-11: {window}");
    }
}

#[test]
fn a_window_that_does_not_start_on_the_hour_counts_no_slice_twice() {
    let mut org = OrgBench::with([executions_limit(Window::Aligned { len: 90 * MINUTE_MS }, 10)]);
    let name = "quota/executions/aligned/90m";
    // 16:30 and 18:00 are borders of these windows; 16:29 is in the hour that 16:30 is in.
    let border = T0 + 30 * MINUTE_MS;
    assert_eq!(border % (90 * MINUTE_MS), 0);
    org.at(border - 1).run();
    for after in [0, HOUR_MS, HOUR_MS + 1, 90 * MINUTE_MS - 1] {
        org.at(border + after).sweep();
        assert_eq!(org.used(name), 0, "{after} ms into the next window");
    }
}

#[test]
fn the_longest_matching_prefix_limits_a_scope_without_limits_of_its_own() {
    let mut org = OrgBench::new();
    for (prefix, amount) in [("workspace/", 5), ("workspace/big", 50)] {
        org.policy.scope_prefixes.insert(prefix.into(), vec![spend_limit(HOURLY, amount)].into());
    }
    let fits = |org: &mut OrgBench, name, amount| org.peek(Acquire { cost: spend(amount), ..ask_on(name) }).allowed;
    assert!(fits(&mut org, "workspace/a", 5) && !fits(&mut org, "workspace/a", 6));
    assert!(fits(&mut org, "workspace/big-1", 50) && !fits(&mut org, "workspace/big-1", 51));
    org.record("workspace/a", spend(5), "a").unwrap();
    assert!(fits(&mut org, "workspace/b", 5), "every scope has a ledger of its own");
}
