//! `overrun = "carry"`: what a window has over its limit is the first usage of the next one, window by window until
//! it is worked off, by the limits that were in force when each of them ended.

use super::*;
use crate::domain::window::Calendar;

const CLOCK_DAY: Window = Window::Calendar(Calendar::Day);
/// 2026-06-22 00:00 UTC.
const MIDNIGHT: Millis = T0 + 8 * HOUR_MS;
const HOUR: &str = "quota/spend/aligned/1h";

fn carrying(window: Window, amount: u64) -> Limit {
    Limit { carries: true, ..spend_limit(window, amount) }
}

fn org(window: Window, amount: u64) -> OrgBench {
    let mut org = OrgBench::with([carrying(window, amount)]);
    org.policy.rate.amount = None;
    org
}

/// Used and carried.
fn standing(org: &mut OrgBench, name: &str) -> (u64, u64) {
    let limit = org.limit(name);
    (limit.used, limit.carried)
}

#[test]
fn what_is_over_is_worked_off_window_by_window_over_restarts_and_crashes() {
    let mut org = org(CLOCK_HOUR, 100);
    org.record("", spend(500), "r").unwrap();
    assert_eq!(standing(&mut org, HOUR), (500, 0));
    for left in [400, 300, 200, 100, 0, 0] {
        org.after(HOUR_MS).restart();
        assert_eq!(standing(&mut org, HOUR), (left, left), "R-BUD-9");
    }
    // The same at one look, and with usage in between.
    org.record("", spend(250), "s").unwrap();
    org.after(HOUR_MS).record("", spend(20), "t").unwrap();
    assert_eq!(standing(&mut org, HOUR), (170, 150));
    org.flush();
    assert_eq!(standing(org.after(HOUR_MS).crash(), HOUR), (70, 70));
    assert_eq!(standing(org.after(HOUR_MS), HOUR), (0, 0));
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
}

#[test]
fn every_window_that_follows_itself_carries_and_no_other_does() {
    for (window, ends) in [
        (CLOCK_DAY, MIDNIGHT),
        (Window::Calendar(Calendar::Week), MIDNIGHT),
        (Window::Calendar(Calendar::Month), MIDNIGHT + 9 * DAY_MS),
        (Window::Calendar(Calendar::MonthFrom(25)), MIDNIGHT + 3 * DAY_MS),
        (Window::parse("calendar/day@Asia/Kolkata").unwrap(), T0 + 150 * MINUTE_MS),
        (Window::parse("calendar/year").unwrap(), MIDNIGHT + 193 * DAY_MS),
        (Window::Aligned { len: 7_000 }, T0 + 6000),
    ] {
        let mut org = org(window, 100);
        let name = org.policy.limits[0].name().to_owned();
        org.record("", spend(250), "r").unwrap();
        assert_eq!(standing(org.at(ends - 1).restart(), &name), (250, 0), "{window}");
        assert_eq!(standing(org.at(ends).restart(), &name), (150, 150), "{window}");
        let next = window.end(ends).unwrap();
        assert_eq!(org.limit(&name).resets_at, Some(next), "{window}: 50 are left after it");
        assert_eq!(standing(org.at(next), &name), (50, 50), "{window}");
        assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![], "{window}");
    }
    for window in [HOURLY, DAY_FROM_FIRST_USE, Window::Once, Window::Provider] {
        assert!(!window.follows_itself(), "{window}");
    }
}

#[test]
fn a_denial_says_what_was_carried_and_when_it_is_worked_off() {
    let mut org = org(CLOCK_HOUR, 100);
    org.record("", spend(500), "r").unwrap();
    let asking = |amount| Acquire { cost: both(executions(1), spend(amount)), ..ask() };
    let denied = org.after(HOUR_MS).acquire(asking(30));
    assert_eq!(denied.code(), Code::QuotaExceeded);
    assert_eq!(denied.retry_after(), 4 * HOUR_MS, "400, 300, 200, 100: the fourth has room for nothing, the fifth has");
    let said = "is used up: $0.0004 used ($0.0004 of it carried over from before) of $0.0001 per clock hour. It fits";
    assert!(denied.message().contains(said), "{}", denied.message());
    assert!(!org.after(4 * HOUR_MS - 1).acquire(asking(30)).allowed);
    assert!(org.after(1).acquire(asking(30)).allowed);
    // More than a window has: never. As much as it has: when all is worked off.
    assert_eq!(org.acquire(asking(101)).retry_after(), 0);
    assert_eq!(org.acquire(asking(100)).retry_after(), HOUR_MS);
}

#[test]
fn holds_that_end_in_between_are_part_of_the_time_to_wait() {
    let mut org = org(CLOCK_HOUR, 100);
    let hold = |ttl| Acquire { cost: Amounts::new(), reservation_ttl: ttl, ..reserving(spend(80)) };
    org.acquire(hold(150 * MINUTE_MS)).hold.unwrap();
    org.record("", spend(150), "r").unwrap();
    let asking = Acquire { cost: spend(40), ..ask() };
    // The next hour begins with 50, the one after with nothing, and the hold stands until half past.
    let denied = org.acquire(asking.clone());
    assert_eq!(denied.retry_after(), 150 * MINUTE_MS);
    assert!(!org.after(150 * MINUTE_MS - 1).peek(asking.clone()).allowed);
    assert!(org.after(1).acquire(asking).allowed);
}

#[test]
fn a_window_is_judged_by_the_limit_that_was_in_force_when_it_ended() {
    // Lowered, raised or taken away in the next window: nothing of the one before changes.
    for (amount, used) in [(Some(50), 400), (Some(1000), 400), (None, 400)] {
        let mut org = org(CLOCK_HOUR, 100);
        org.record("", spend(500), "r").unwrap();
        org.after(HOUR_MS).policy.limits = vec![Limit { amount, ..carrying(CLOCK_HOUR, 0) }].into();
        assert_eq!(standing(&mut org, HOUR).0, used, "{amount:?}");
        let next = amount.map_or(0, |amount| 400_u64.saturating_sub(amount));
        assert_eq!(standing(org.after(HOUR_MS), HOUR), (next, next), "{amount:?}");
    }
    // What was within the limit of its window is never over a lower one later.
    let mut org = org(CLOCK_HOUR, 500);
    org.record("", spend(500), "r").unwrap();
    org.after(HOUR_MS).policy.limits = vec![carrying(CLOCK_HOUR, 100)].into();
    assert_eq!(standing(&mut org, HOUR), (0, 0));
}

#[test]
fn a_change_counts_from_when_it_was_made_also_where_nobody_asked_meanwhile() {
    let mut org = org(CLOCK_HOUR, 100);
    org.record("", spend(1000), "r").unwrap();
    // 900, 800, then 50 an hour: 750, 700.
    org.after(2 * HOUR_MS + MINUTE_MS).reconfigure(|limits| limits[0].amount = Some(50));
    assert_eq!(standing(org.after(2 * HOUR_MS), HOUR), (700, 700));
    // Without a limit nothing is over; the same window still has what was carried into it.
    org.reconfigure(|limits| limits.clear());
    org.snapshot();
    org.reconfigure(|limits| limits.push(carrying(CLOCK_HOUR, 100)));
    assert_eq!(standing(&mut org, HOUR), (700, 700));
    org.reconfigure(|limits| limits.clear());
    org.after(HOUR_MS).reconfigure(|limits| limits.push(carrying(CLOCK_HOUR, 100)));
    org.snapshot();
    assert_eq!(standing(&mut org, HOUR).0, 600, "nobody asked while there was none");
}

#[test]
fn from_forget_to_carry_and_back() {
    for window in [CLOCK_HOUR, CLOCK_DAY] {
        let mut org = org(window, 100);
        org.policy.limits = vec![spend_limit(window, 100)].into();
        let name = org.policy.limits[0].name().to_owned();
        let length = if window == CLOCK_HOUR { HOUR_MS } else { DAY_MS };
        org.record("", spend(500), "r").unwrap();
        org.flush();
        // Within the window, and nobody asks until the next one.
        org.after(MINUTE_MS).reconfigure(|limits| limits[0].carries = true);
        assert_eq!(standing(org.after(length), &name), (400, 400), "{window}");
        org.after(MINUTE_MS).reconfigure(|limits| limits[0].carries = false);
        assert_eq!(standing(&mut org, &name), (0, 0), "{window}");
        org.reconfigure(|limits| limits[0].carries = true);
        assert_eq!(standing(&mut org, &name), (400, 400), "{window}: it was the same window");
        org.reconfigure(|limits| limits[0].carries = false);
        assert_eq!(standing(org.after(length), &name), (0, 0), "{window}");
        org.record("", spend(500), "s").unwrap();
        // What ended before the change was forgotten.
        org.after(length).reconfigure(|limits| limits[0].carries = true);
        assert_eq!(standing(org.restart(), &name), (0, 0), "{window}");
    }
}

#[test]
fn every_scope_carries_by_itself() {
    let mut org = org(CLOCK_DAY, 1000).and_scope("workspace/a", [carrying(CLOCK_DAY, 100)]);
    org.policy.scope_prefixes.insert("agent/".into(), vec![carrying(CLOCK_HOUR, 10)].into());
    let scopes: Scopes = [scope("workspace/a"), scope("agent/7")].into_iter().collect();
    org.ask(Record { scopes, usage: spend(250), decision: None, occurred_at: None, idempotency: key("r") }).unwrap();
    let day = "quota/spend/calendar/day";
    org.at(MIDNIGHT).restart();
    assert_eq!(org.limit(day).carried, 0, "250 of 1000");
    assert_eq!(org.limit_of("workspace/a", day).carried, 150);
    assert_eq!(org.limit_of("agent/7", HOUR).carried, 250 - 8 * 10, "since 16:00");
    assert_eq!(org.limit_of("agent/8", HOUR).carried, 0);
}

#[test]
fn an_org_is_kept_until_what_it_carries_is_worked_off() {
    let mut org = org(CLOCK_DAY, 1);
    org.record("", spend(60), "r").unwrap();
    org.flush();
    for _ in 0..1000 {
        let Some(wake_at) = org.inspect().filter(|org| !org.counters.is_empty()).and_then(|org| org.wake_at) else {
            break;
        };
        org.at(wake_at).sweep();
        org.restart();
    }
    // 59 at the first midnight, and one less with every other.
    let worked_off = MIDNIGHT + 59 * DAY_MS;
    assert!((worked_off..=worked_off + 2 * DAY_MS).contains(&org.now), "after {} days", (org.now - T0) / DAY_MS);
    assert_eq!(org.snapshot().counters, [], "what is left is its past usage");
}

#[test]
fn compute_of_sessions_is_carried_as_well() {
    let month = Window::Calendar(Calendar::Month);
    let quota = Limit { carries: true, ..Limit::new(Meter::compute(), month, Some(HOUR_MS)) };
    let mut org = OrgBench::with([quota]);
    org.record("", smallvec![(Meter::compute(), 3 * HOUR_MS)], "r").unwrap();
    org.at(MIDNIGHT + 9 * DAY_MS).restart();
    let status = org.ask(GetSessionStatus { scopes: Scopes::org(), known: Known::default() }).unwrap();
    assert_eq!((status.quota.used, status.decision.code()), (2 * HOUR_MS, Code::QuotaExceeded));
    // July, August; in September there is something left.
    assert_eq!(status.decision.retry_after(), (31 + 31) * DAY_MS);
}

/// Carries a command out by a policy that says nothing, as a command on a stopped node does.
fn without_limits(org: &mut OrgBench, command: impl Into<Command>) {
    let (id, none, bounds) = (id(), Arc::new(OrgPolicy::default()), Bounds::default());
    let (policy_since, decision, now) = (None, DecisionId(9), org.clocks());
    let offline = Context {
        org: &id,
        now,
        policy: &none,
        plans: &NoPlans,
        policy_since,
        bounds: &bounds,
        decision,
        store_fault: false,
        within: None,
        caller: "test",
        reason: Reason::none(),
        trace: None,
    };
    org.state.apply(&command.into(), &offline).unwrap();
}

#[test]
fn where_the_policy_is_not_that_of_the_org_nothing_carried_is_lost() {
    let mut org = org(CLOCK_HOUR, 100);
    org.record("", spend(500), "r").unwrap();
    org.flush();
    org.after(HOUR_MS).crash();
    without_limits(&mut org, Inspect);
    assert_eq!(standing(&mut org, HOUR), (400, 400));
}

#[test]
fn what_is_recorded_under_another_policy_keeps_what_is_carried() {
    let mut org = org(CLOCK_HOUR, 100);
    org.record("", spend(500), "r").unwrap();
    org.after(HOUR_MS).flush();
    org.crash();
    let (scopes, usage, idempotency) = (Scopes::org(), spend(30), key("offline"));
    let record = Record { scopes, usage, decision: None, occurred_at: None, idempotency };
    without_limits(&mut org, record);
    assert_eq!(standing(org.restart(), HOUR), (430, 400));
    assert_eq!(standing(org.after(HOUR_MS), HOUR), (330, 330));
}
