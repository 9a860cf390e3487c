//! Timers, sweeps and purges: what has run out goes, what is alive stays, and a spent org leaves
//! nothing behind.

use super::*;
use crate::{
    bounds::{DENIAL_DAYS_MS, USAGE_MONTHS_MS},
    domain::{
        rows::{Row, RowKey, RowKind},
        window::HOUR_RETENTION_MS,
    },
};

fn timers(write: &OrgWrite) -> Vec<Millis> {
    let at = |row: &Row| if let Row::Timer(timer) = row { Some(timer.wake_at) } else { None };
    write.puts.iter().filter_map(at).collect()
}

/// Sweeps whenever the timer says so, until `end` or until nothing is armed.
fn idle_until(org: &mut OrgBench, end: Millis) -> usize {
    let mut sweeps = 0;
    while let Some(at) = org.disk.head().wake_at.filter(|at| *at <= end) {
        assert!(at >= org.now, "a timer in the past would never rest: {at} at {}", org.now);
        org.at(at).restart().sweep();
        sweeps += 1;
        assert!(sweeps < 1000, "sweeps without end");
    }
    org.at(end);
    sweeps
}

#[test]
fn the_record_goes_when_two_whole_windows_have_passed_without_a_call() {
    let mut org = OrgBench::new();
    org.after(17 * MINUTE_MS).run();
    org.flush();
    org.at(T0 + 3 * HOUR_MS - 1).sweep();
    assert!(org.snapshot().rate.is_some(), "R-RATE-2");
    org.at(T0 + 3 * HOUR_MS).restart().sweep();
    assert_eq!(org.snapshot().rate, None, "R-RATE-2");
}

#[test]
fn a_denied_call_is_a_call_and_keeps_the_record() {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(1);
    org.run();
    org.run();
    org.flush();
    org.at(T0 + HOUR_MS);
    org.policy.limits = vec![executions_limit(CLOCK_HOUR, 0)].into();
    org.run();
    org.at(T0 + 3 * HOUR_MS).sweep();
    assert!(org.snapshot().rate.is_some(), "R-RATE-2: without a call");
    org.at(T0 + 4 * HOUR_MS).sweep();
    assert!(org.inspect().is_none_or(|snapshot| snapshot.rate.is_none()));
}

#[test]
fn the_timer_is_armed_once_per_window_and_not_rewritten_by_every_call() {
    let mut org = OrgBench::new();
    let mut armed = Vec::new();
    for call in 0..60 {
        org.at(T0 + call * MINUTE_MS).run();
        armed.extend(timers(&org.flush().unwrap()));
        org.crash();
    }
    assert_eq!(armed, [T0 + 3 * HOUR_MS], "R-RATE-2: not per increment");
}

#[test]
fn a_shorter_hold_moves_the_timer_forward() {
    let mut org = OrgBench::new();
    org.run();
    org.flush();
    org.acquire(Acquire { reservation_ttl: MINUTE_MS, ..reserving(spend(1)) });
    let write = org.flush().unwrap();
    assert_eq!(timers(&write), [T0 + MINUTE_MS]);
    assert!(write.dels.iter().any(|key| matches!(key, RowKey::Timer { .. })), "the other one is gone");
    org.at(T0 + MINUTE_MS).crash().sweep();
    assert_eq!(org.snapshot().reservations, [], "a sweep alone settles it");
}

#[test]
fn slices_roll_up_after_their_retention_and_go_after_theirs() {
    let mut org = OrgBench::with([spend_limit(Window::Rolling { len: 30 * DAY_MS }, 100)]);
    org.record("", spend(5), "a").unwrap();
    let minutes = |org: &mut OrgBench| org.snapshot().ledgers[0].hours[0].minutes.len();
    org.at(T0 + 3 * HOUR_MS - 1).sweep();
    assert_eq!(minutes(&mut org), 1, "minute slices live 2 h");
    org.at(T0 + 3 * HOUR_MS).sweep();
    assert_eq!((minutes(&mut org), org.used("budget/monthly")), (0, 5), "R-BUD-4");
    org.at(T0 + 30 * DAY_MS + HOUR_MS - 1).sweep();
    assert_eq!(org.used("budget/monthly"), 5);
    let day_ends = T0.next_multiple_of(DAY_MS);
    org.at(day_ends + HOUR_RETENTION_MS - 1).sweep();
    assert_eq!(org.snapshot().ledgers.len(), 1, "R-BUD-8");
    org.at(day_ends + HOUR_RETENTION_MS).sweep();
    assert_eq!(org.snapshot().ledgers, [], "and then usage is known by day");
}

#[test]
fn an_idle_org_is_swept_by_its_timers_until_nothing_is_left() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 50), executions_limit(DAY_FROM_FIRST_USE, 50)]);
    org.acquire(Acquire { idempotency: Some(key("a")), with_pause: true, ..reserving(spend(3)) });
    org.record("workspace/a", spend(2), "b").unwrap();
    org.resume("run", None);
    org.flush();
    let sweeps = idle_until(&mut org, T0 + USAGE_MONTHS_MS + 31 * DAY_MS);
    assert!(org.disk.is_empty(), "a spent org disappears entirely");
    assert!(org.inspect().is_none());
    assert!(sweeps < 60, "R-RATE-2: few sweeps, not {sweeps}");
}

#[test]
fn an_org_that_comes_back_after_it_was_forgotten_starts_clean() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    org.acquire(Acquire { idempotency: Some(key("a")), ..ask() });
    org.flush();
    idle_until(&mut org, T0 + USAGE_MONTHS_MS + 31 * DAY_MS);
    assert!(org.disk.is_empty());
    assert!(!org.acquire(Acquire { idempotency: Some(key("a")), ..ask() }).replayed);
    let write = org.flush().unwrap();
    assert!(!write.wipe);
    org.crash();
    let snapshot = org.snapshot();
    assert_eq!((snapshot.seq, snapshot.journal_from, snapshot.admitted_total), (1, 1, 1));
}

#[test]
fn what_an_operator_or_a_source_set_outlives_every_sweep() {
    let mut org = OrgBench::new();
    org.freeze("f").unwrap();
    org.report("life", 60, "r").unwrap();
    org.flush();
    idle_until(&mut org, T0 + HOUR_RETENTION_MS + 65 * DAY_MS);
    org.restart();
    assert_eq!(org.run(), Code::Frozen);
    assert_eq!(org.snapshot().baselines[0].total, 60, "R-BUD-5: the last total is never forgotten");
    assert_eq!(org.disk.count(|row| matches!(row, Row::Slice(_) | Row::Counter(_))), 0);
}

#[test]
fn nothing_is_purged_on_the_word_of_a_clock_that_is_not_believed() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 5)]);
    org.acquire(Acquire { idempotency: Some(key("a")), with_pause: true, reserve: spend(2), ..ask() });
    org.report("life", crate::bounds::AMOUNT_MAX + 1, "r").unwrap();
    org.flush();
    let before = org.snapshot();
    org.at(T0 + 400 * DAY_MS);
    org.may_purge = false;
    org.sweep_without_commit();
    org.flush();
    org.crash();
    let after = org.snapshot();
    assert_eq!(after.reservations, [], "holds end by themselves");
    assert_eq!((after.rate, after.counters, after.executions), (before.rate, before.counters, before.executions));
    assert_eq!((after.disputed, after.journal_from), (before.disputed, before.journal_from));
    let hours = |snapshot: &[crate::domain::reply::LedgerView]| -> Vec<_> {
        snapshot.iter().map(|ledger| ledger.hours.clone()).collect()
    };
    assert_eq!(hours(&after.ledgers), hours(&before.ledgers));
}

#[test]
fn whatever_is_alive_keeps_its_org() {
    type Act = fn(&mut OrgBench);
    let acts: [(&str, Act); 7] = [
        ("a freeze", |org| drop(org.freeze("f"))),
        ("a request id", |org| drop(org.unfreeze("u"))),
        ("an execution", |org| assert_eq!(org.resume("run", None).outcome.continuations, 1)),
        ("a baseline", |org| drop(org.report("life", 60, "r"))),
        ("a slice", |org| assert!(org.record("account/k", spend(1), "r").is_ok())),
        ("a hold", |org| drop(org.acquire(Acquire { cost: Amounts::new(), ..reserving(spend(1)) }))),
        ("a denied call", |org| {
            org.policy.rate.amount = Some(0);
            org.run();
        }),
    ];
    for (what, act) in acts {
        let mut org = OrgBench::new();
        act(&mut org);
        org.flush();
        // Sweeps of their own, so that nothing but the state itself speaks for it.
        for minute in [2, 4] {
            org.at(T0 + minute * MINUTE_MS).restart().sweep();
            assert!(!org.disk.is_empty(), "{what} is alive");
        }
        org.crash();
        assert!(org.inspect().is_some(), "{what} is known");
    }
}

#[test]
fn how_a_hold_ended_is_known_for_a_day_and_keeps_the_org_that_long() {
    let mut org = OrgBench::new();
    let unpaid = Acquire { cost: Amounts::new(), reservation_ttl: MINUTE_MS, ..reserving(spend(1)) };
    let held = org.acquire(unpaid).hold.unwrap().id;
    org.at(T0 + MINUTE_MS).sweep();
    org.at(T0 + DAY_MS + MINUTE_MS - 1).restart().sweep();
    assert_eq!(org.release(held, "r"), Err(OrgError::ReservationExpired));
    let write = org.at(T0 + DAY_MS + MINUTE_MS).sweep().unwrap();
    assert!(write.dels.iter().any(|key| key.kind() == RowKind::Reservation), "{write:?}");
    org.at(T0 / DAY_MS * DAY_MS + DENIAL_DAYS_MS).sweep();
    assert!(org.disk.is_empty(), "what was decided on the day goes last");
}

#[test]
fn a_purge_says_what_it_has_removed_by_kind() {
    let mut org = OrgBench::new();
    for id in ["a", "b", "c"] {
        org.record("", spend(2), id).unwrap();
        org.flush();
    }
    let stored = org.disk.rows().rows;
    org.state.take_stored(&stored);
    let purged = org.ask(Purge).unwrap();
    assert_eq!(purged.rows[&RowKind::RequestId], 3, "they are not loaded with the org");
    assert_eq!(purged.rows[&RowKind::Head], 1);
    let beside = stored.iter().filter(|row| row.kind() == RowKind::Journal).count();
    assert_eq!(purged.rows[&RowKind::Journal], u64::try_from(beside).unwrap());
    assert_eq!(purged.at, org.now);
    assert!(org.ask(Purge).unwrap().rows.is_empty());
}

#[test]
fn a_purge_forgets_everything_at_once() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    org.acquire(Acquire { idempotency: Some(key("a")), reserve: spend(2), ..ask() });
    org.freeze("f").unwrap();
    org.report("life", 60, "r").unwrap();
    org.flush();
    assert!(matches!(org.ask(Purge), Ok(Purged { existed: true, .. })));
    let write = org.flush().unwrap();
    assert!(write.wipe && write.purged);
    assert!(org.disk.is_empty() && org.inspect().is_none());
    assert!(matches!(org.ask(Purge), Ok(Purged { existed: false, .. })));
    assert!(org.flush().is_none());
    assert_eq!(org.run(), Code::Allowed);
    assert_eq!(
        org.report("life", 60, "r"),
        Ok(Done { outcome: Reported { increment: 60, reset: false, disputed: 0 }, replayed: false })
    );
}

#[test]
fn a_purge_and_what_follows_it_may_share_a_commit() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    org.record("", spend(9), "a").unwrap();
    org.flush();
    org.ask(Purge).unwrap();
    org.record("", spend(2), "b").unwrap();
    let write = org.flush().unwrap();
    assert!(write.wipe && write.purged);
    org.crash();
    assert_eq!((org.used("budget/hourly"), org.snapshot().ledgers.len(), org.snapshot().seq), (2, 1, 1));
}

#[test]
fn a_restart_in_the_middle_of_everything_changes_nothing() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 50), executions_limit(DAY_FROM_FIRST_USE, 50)])
        .and_scope("workspace/a", [spend_limit(DAILY, 20)]);
    org.acquire(Acquire { idempotency: Some(key("a")), cost: spend(1), reserve: spend(4), ..ask_on("workspace/a") });
    let held = org.reserve(spend(3));
    org.resume("run", Some("s"));
    org.report("life", 9, "r").unwrap();
    org.after(3 * MINUTE_MS).extend(held, HOUR_MS, "e").unwrap();
    org.flush();
    let before = org.snapshot();
    org.crash();
    assert_eq!(org.snapshot(), before);
    assert!(org.flush().is_none(), "loading and looking change nothing");
    org.crash();
    assert_eq!(org.snapshot(), before);
}

#[test]
fn the_clock_of_an_org_does_not_go_back_with_a_restart() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]);
    org.after(2 * HOUR_MS).record("", spend(10), "a").unwrap();
    org.at(T0).restart();
    assert_eq!(org.used("budget/hourly"), 10);
    org.run();
    org.at(T0 + 3 * HOUR_MS + MINUTE_MS - 1);
    assert!(!org.peek(ask()).allowed, "an hour after it was used");
    org.after(1);
    assert!(org.peek(ask()).allowed);
}

#[test]
fn after_a_repaired_clock_nothing_is_lost_and_nothing_stays_spent() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10), executions_limit(CLOCK_HOUR, 1)]);
    org.policy.rate.amount = Some(1);
    let asked = Acquire { cost: both(spend(4), executions(1)), ..reserving(spend(6)) };
    assert!(org.at(T0 + 365 * DAY_MS).acquire(asked).allowed);
    org.repaired(T0 + 30 * MINUTE_MS);
    assert_eq!(org.run(), Code::RateLimited);
    let budget = org.limit("budget/daily");
    assert_eq!((budget.used, budget.reserved, org.used("quota/executions/aligned/1h")), (4, 6, 1));
    org.at(T0 + HOUR_MS);
    assert_eq!(org.used("quota/executions/aligned/1h"), 0);
    org.at(T0 + 2 * DAY_MS);
    let budget = org.limit("budget/daily");
    assert_eq!((budget.used, budget.reserved, org.run()), (0, 0, Code::Allowed));
}
