//! Usage that is reported after the fact: it always books.

use super::*;
use crate::{bounds::AMOUNT_MAX, domain::window::PERIODS};

fn reported(increment: u64, reset: bool) -> Result<Done<Reported>, OrgError> {
    Ok(Done { outcome: Reported { increment, reset, disputed: 0 }, replayed: false })
}

fn spent(org: &mut OrgBench) -> u64 {
    org.used("budget/monthly")
}

fn metered() -> OrgBench {
    OrgBench::with(PERIODS.iter().map(|(_, len)| Limit::new(Meter::spend(), Window::Rolling { len: *len }, None)))
}

#[test]
fn a_record_books_once_per_id_and_above_every_limit() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    assert_eq!(org.record("", spend(25), "a"), Ok(false));
    org.restart();
    assert_eq!(org.record("", spend(25), "a"), Ok(true), "R-BUD-5");
    assert_eq!(org.record("", spend(26), "a#other"), Err(OrgError::RequestIdReused));
    let limit = org.limit("budget/hourly");
    assert_eq!((limit.used, limit.remaining()), (25, Some(-15)), "R-PIPE-3: what happened always books");
}

#[test]
fn a_record_books_every_meter_in_its_scope_and_in_the_org() {
    let limits = || [spend_limit(HOURLY, 100), executions_limit(CLOCK_HOUR, 100)];
    let mut org = OrgBench::with(limits()).and_scope("workspace/a", limits()).and_scope("account/k", limits());
    org.record("workspace/a", both(spend(5), executions(2)), "a").unwrap();
    org.record("account/k", spend(7), "b").unwrap();
    assert_eq!((org.used("budget/hourly"), org.used("quota/executions/aligned/1h")), (5, 2));
    assert_eq!(org.limit_of("workspace/a", "budget/hourly").used, 5);
    assert_eq!(org.limit_of("account/k", "budget/hourly").used, 7);
}

#[test]
fn a_cumulative_total_books_what_was_added_and_a_lower_one_is_a_reset() {
    for (totals, booked) in [
        ([60, 120], 120),
        ([120, 60], 180),
        ([500, 400], 900),
        ([60, 60], 60),
        ([60, 0], 60),
        ([0, 60], 60),
        ([0, 0], 0),
    ] {
        let mut org = metered();
        for (index, total) in totals.into_iter().enumerate() {
            org.report("life", total, &format!("r{index}")).unwrap();
            org.restart();
        }
        assert_eq!(spent(&mut org), booked, "R-BUD-5: {totals:?}");
    }
}

#[test]
fn a_reset_is_reported_as_one() {
    let mut org = metered();
    assert_eq!(org.report("one", 60, "a"), reported(60, false));
    assert_eq!(org.report("one", 40, "b"), reported(40, true));
    assert_eq!(org.report("two", 50, "c"), reported(50, true), "R-BUD-5: a new incarnation counts whole");
    assert_eq!(org.report("two", 70, "d"), reported(20, false));
}

#[test]
fn a_total_of_zero_is_no_update_of_the_baseline_either() {
    let mut org = metered();
    org.report("one", 60, "a").unwrap();
    assert_eq!(org.report("one", 0, "b"), reported(0, false), "R-BUD-5");
    assert_eq!(org.report("two", 0, "c"), reported(0, false));
    assert_eq!(org.report("one", 65, "d"), reported(5, false), "the last total is still 60, of the first life");
}

#[test]
fn a_report_is_replayed_and_books_once() {
    let mut org = metered();
    org.report("one", 60, "a").unwrap();
    org.restart();
    let again = Done { outcome: Reported { increment: 60, reset: false, disputed: 0 }, replayed: true };
    assert_eq!(org.report("one", 60, "a"), Ok(again));
    assert_eq!(spent(&mut org), 60);
}

#[test]
fn the_booking_and_its_baseline_are_one_write() {
    let mut org = metered();
    org.report("one", 60, "a").unwrap();
    org.flush();
    org.report("one", 100, "b").unwrap();
    org.crash();
    assert_eq!(spent(&mut org), 60);
    assert_eq!(org.report("one", 100, "b"), reported(40, false), "R-BUD-5: neither was kept");
}

#[test]
fn what_is_not_believed_is_disputed_and_never_booked_twice() {
    let mut org = metered();
    let clamped =
        |increment, disputed| Ok(Done { outcome: Reported { increment, reset: false, disputed }, replayed: false });
    assert_eq!(org.report("one", AMOUNT_MAX + 5, "a"), clamped(AMOUNT_MAX, 5), "R-BUD-5");
    assert_eq!(org.report("one", AMOUNT_MAX + 8, "b"), clamped(0, 8));
    assert_eq!(org.report("one", AMOUNT_MAX + 8, "c"), clamped(0, 8), "the same excess is no other one");
    org.restart();
    let amounts: Vec<_> = org.snapshot().disputed.iter().map(|row| row.amount).collect();
    assert_eq!(amounts, [5, 3], "entries stand for the whole excess, once");
    assert_eq!(spent(&mut org), AMOUNT_MAX);
}

#[test]
fn another_life_of_a_source_disputes_its_own_excess() {
    let mut org = metered();
    org.report("one", AMOUNT_MAX + 5, "a").unwrap();
    org.report("two", AMOUNT_MAX + 3, "b").unwrap();
    org.report("two", 7, "c").unwrap();
    org.report("two", AMOUNT_MAX + 2, "d").unwrap();
    let amounts: Vec<_> = org.snapshot().disputed.iter().map(|row| row.amount).collect();
    assert_eq!(amounts, [5, 3, 2], "R-BUD-5: a clamped excess is kept, never dropped");
}

#[test]
fn a_full_table_of_sources_refuses_a_new_one_and_takes_the_known() {
    let mut org = metered();
    org.bounds.sources_per_org = 1;
    org.report("one", 5, "a").unwrap();
    let other = Box::new(ReportCumulative {
        scopes: Scopes::org(),
        source: Source::parse("source", "meter-2").unwrap(),
        incarnation: Incarnation::parse("incarnation", "one").unwrap(),
        meter: Meter::spend(),
        total: 5,
        idempotency: key("b"),
    });
    assert_eq!(org.ask(other), Err(OrgError::TooManySources { most: 1 }));
    assert_eq!(org.report("one", 9, "c"), reported(4, false));
    assert_eq!(spent(&mut org), 9);
}

#[test]
fn the_periods_nest_and_show_what_is_enforced() {
    let mut org = metered();
    let mut booked = 0;
    for (index, after) in [0, 30 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, DAY_MS, 6 * DAY_MS, 20 * DAY_MS].iter().enumerate()
    {
        org.after(*after).record("", spend(1 << index), &format!("r{index}")).unwrap();
        booked += 1 << index;
        let used: Vec<_> = PERIODS.iter().map(|(name, _)| org.used(&format!("budget/{name}"))).collect();
        assert!(used.is_sorted(), "R-BUD-3: {used:?}");
        assert_eq!(used[3], booked);
    }
    for (name, _) in PERIODS {
        let name = format!("budget/{name}");
        let used = org.used(&name);
        let index = org.policy.limits.iter().position(|limit| limit.name() == name).unwrap();
        org.change_limits(|limits| limits[index].amount = Some(used));
        assert!(!org.peek(ask()).allowed, "R-BUD-2: exceeded iff used >= limit, in {name}");
        org.change_limits(|limits| limits[index].amount = Some(used + 1));
        assert!(org.peek(ask()).allowed, "R-BUD-3: the number shown is the number enforced");
    }
}
