//! Holds: reserve, then commit, release, extend, or let expire.

use super::*;
use crate::domain::{
    command::ListReservations,
    outcome::{Committed, Entry, Settled, Settlement},
    request::Rpc,
    rows::{Head, JournalRow, Row},
};

const SETTLED: Result<bool, OrgError> = Ok(false);
const BUDGET: &str = "budget/hourly";

fn budgeted() -> OrgBench {
    OrgBench::with([spend_limit(HOURLY, 100)])
}

fn standing(org: &mut OrgBench) -> (u64, u64) {
    let limit = org.limit(BUDGET);
    (limit.used, limit.reserved)
}

#[test]
fn what_is_held_counts_against_the_limit_until_it_is_settled() {
    let mut org = budgeted();
    org.reserve(spend(60));
    assert!(!org.acquire(reserving(spend(41))).allowed);
    assert!(org.acquire(reserving(spend(40))).allowed);
    assert_eq!(standing(&mut org), (0, 100));
    assert!(!org.acquire(ask()).allowed, "R-PIPE-3: used + reserved >= amount");
}

#[test]
fn a_commit_books_what_was_really_used_whatever_was_held() {
    for (actual, used) in [(spend(10), 10), (spend(25), 25), (spend(60), 60), (spend(250), 250), (Amounts::new(), 0)] {
        let mut org = budgeted();
        let held = org.reserve(spend(25));
        assert_eq!(org.commit(held, actual, "c"), SETTLED);
        assert_eq!(standing(&mut org), (used, 0));
    }
}

#[test]
fn a_commit_above_the_limit_books_and_drives_remaining_negative() {
    let mut org = budgeted();
    let held = org.reserve(spend(100));
    org.commit(held, spend(130), "c").unwrap();
    assert_eq!(org.limit(BUDGET).remaining(), Some(-30), "R-PIPE-3");
    assert!(!org.acquire(ask()).allowed);
}

#[test]
fn a_commit_may_book_a_meter_that_was_not_held() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100), executions_limit(CLOCK_HOUR, 100)]);
    let held = org.reserve(spend(5));
    org.commit(held, executions(3), "c").unwrap();
    assert_eq!(standing(&mut org), (0, 0), "nothing of what was held was used");
    assert_eq!(org.used("quota/executions/aligned/1h"), 1 + 3);
}

#[test]
fn a_commit_counts_where_the_reservation_did() {
    let mut org = budgeted().and_scope("workspace/a", [spend_limit(HOURLY, 50)]);
    let held = org.acquire(Acquire { reserve: spend(20), ..ask_on("workspace/a") }).hold.unwrap().id;
    assert_eq!((standing(&mut org), org.limit_of("workspace/a", BUDGET).reserved), ((0, 20), 20));
    org.commit(held, spend(15), "c").unwrap();
    assert_eq!((standing(&mut org), org.limit_of("workspace/a", BUDGET).used), ((15, 0), 15));
}

#[test]
fn a_release_gives_everything_back() {
    let mut org = budgeted();
    let held = org.reserve(spend(100));
    assert_eq!(org.release(held, "r"), SETTLED);
    assert_eq!(standing(&mut org), (0, 0));
    assert!(org.acquire(reserving(spend(100))).allowed);
}

#[test]
fn a_hold_expires_at_its_instant_and_not_before() {
    let mut org = budgeted();
    let hold = org.acquire(Acquire { reservation_ttl: MINUTE_MS, ..reserving(spend(100)) }).hold.unwrap();
    assert_eq!(hold.expires_at, T0 + MINUTE_MS);
    org.after(MINUTE_MS - 1);
    assert_eq!(standing(&mut org), (0, 100));
    org.after(1);
    assert_eq!(standing(&mut org), (0, 0));
}

fn expired(org: &mut OrgBench, amounts: Amounts) -> DecisionId {
    let held = org.acquire(Acquire { reservation_ttl: MINUTE_MS, ..reserving(amounts) }).hold.unwrap().id;
    org.after(MINUTE_MS);
    assert_eq!(standing(org).1, 0, "what has expired holds nothing");
    held
}

#[test]
fn a_commit_up_to_a_day_after_expiry_books_what_happened_once() {
    let mut org = budgeted();
    let held = expired(&mut org, spend(90));
    org.restart();
    org.after(DAY_MS - 1);
    let done = org.settle(held, spend(500), "c").unwrap();
    assert!(done.outcome.late && !done.replayed);
    assert_eq!((done.outcome.booked.clone(), done.outcome.released()), (spend(500), Amounts::new()));
    assert_eq!(done.outcome.overrun(), spend(410));
    assert_eq!((standing(&mut org), org.limit(BUDGET).remaining()), ((500, 0), Some(-400)), "R-PIPE-3");
    org.restart();
    let again = org.settle(held, spend(500), "c").unwrap();
    assert_eq!((again.replayed, again.outcome), (true, done.outcome), "R-PIPE-6");
    let settled = Err(OrgError::ReservationSettled(Settlement::Committed));
    assert_eq!(org.commit(held, spend(500), "c2"), settled, "once, whatever the id");
    assert_eq!(standing(&mut org), (500, 0));
}

#[test]
fn a_day_after_its_expiry_a_reservation_is_forgotten_and_so_is_the_org() {
    let mut org = budgeted();
    let held = expired(&mut org, spend(5));
    org.after(DAY_MS);
    assert_eq!(org.commit(held, spend(5), "c"), Err(OrgError::ReservationNotFound));
    for _ in 0..4 {
        org.after(crate::bounds::USAGE_MONTHS_MS / 2).sweep();
    }
    assert!(org.inspect().is_none() && org.disk.is_empty());
}

#[test]
fn what_has_expired_can_only_be_committed() {
    let mut org = budgeted();
    let held = expired(&mut org, spend(10));
    assert_eq!(org.release(held, "r"), Err(OrgError::ReservationExpired));
    assert_eq!(org.extend(held, HOUR_MS, "e"), Err(OrgError::ReservationExpired));
    let released = org.reserve(spend(10));
    org.release(released, "r2").unwrap();
    org.after(HOUR_MS);
    let refused = Err(OrgError::ReservationSettled(Settlement::Released));
    assert_eq!(org.commit(released, spend(10), "c"), refused, "after a Release it stays refused");
}

#[test]
fn a_hold_that_expired_while_nobody_ran_is_given_back_on_the_next_call() {
    let mut org = budgeted();
    let held = org.reserve(spend(100));
    org.restart();
    org.after(HOUR_MS);
    assert_eq!(standing(&mut org), (0, 0));
    assert_eq!(org.commit(held, spend(1), "c"), SETTLED, "late");
}

#[test]
fn what_an_older_tollgate_remembers_as_expired_stays_refused() {
    let mut org = budgeted();
    let held = DecisionId(77);
    let entry = Entry {
        at: T0,
        rpc: Rpc::Release,
        idempotency: None,
        long: true,
        charge: None,
        outcome: Settled { reservation: held, how: Settlement::Expired }.into(),
    };
    let long = Row::LongJournal(JournalRow { seq: 1, at: T0, entries: vec![entry] });
    let short = Row::Journal(JournalRow { seq: 1, at: T0, entries: vec![] });
    let head = Row::Head(Head { seq: 1, journal_from: 1, last_at: T0, ..Head::default() });
    org.disk.commit(&OrgWrite { puts: vec![head, short, long], ..OrgWrite::empty(&id()) });
    org.crash();
    assert_eq!(org.commit(held, spend(5), "c"), Err(OrgError::ReservationSettled(Settlement::Expired)));
}

#[test]
fn a_commit_answers_what_it_booked_gave_back_and_ran_over() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100), executions_limit(CLOCK_HOUR, 100)]);
    let held = org.reserve(both(spend(90), executions(5)));
    let done = org.settle(held, both(spend(40), executions(7)), "c").unwrap();
    let Committed { late, booked, .. } = &done.outcome;
    assert_eq!((*late, booked), (false, &both(spend(40), executions(7))));
    assert_eq!((done.outcome.released(), done.outcome.overrun()), (spend(50), executions(2)));
    let budget = done.view.limits.iter().find(|view| view.name() == BUDGET).unwrap();
    assert_eq!((budget.used, budget.reserved), (40, 0), "the limits are those after it");
}

#[test]
fn past_their_bytes_the_first_to_expire_are_forgotten_and_counted() {
    let mut org = budgeted();
    org.bounds.expired_reservation_bytes_per_org = 4_096;
    let held: Vec<_> = (0..100)
        .map(|_| {
            org.after(1);
            org.acquire(Acquire { reservation_ttl: MINUTE_MS, ..reserving(spend(1)) }).hold.unwrap().id
        })
        .collect();
    org.after(HOUR_MS);
    assert_eq!(org.run(), Code::Allowed);
    let kept = org.snapshot().expired_reservations;
    assert!((5..50).contains(&kept), "{kept} in 4 KiB");
    assert_eq!(org.state.take_news().forgotten_reservations, 100 - kept as u64);
    assert_eq!(org.commit(held[0], spend(1), "a"), Err(OrgError::ReservationNotFound));
    assert_eq!(org.commit(held[99], spend(1), "b"), SETTLED);
}

#[test]
fn what_is_left_of_a_hold_is_as_it_is_now_also_in_a_replay() {
    let mut org = budgeted();
    let asked = || Acquire { idempotency: Some(key("a")), ..reserving(spend(10)) };
    let first = org.acquire(asked());
    let held = first.hold.unwrap().id;
    assert_eq!((first.at, first.remaining), (T0, 5 * MINUTE_MS));
    org.after(MINUTE_MS);
    let again = org.acquire(asked());
    assert_eq!((again.replayed, again.hold, again.remaining), (true, first.hold, 4 * MINUTE_MS), "R-PIPE-6");
    assert_eq!(org.extend(held, HOUR_MS, "e1").unwrap().view, HOUR_MS);
    org.restart();
    org.after(MINUTE_MS);
    assert_eq!(org.extend(held, HOUR_MS, "e1").unwrap().view, HOUR_MS - MINUTE_MS);
    assert_eq!(org.acquire(asked()).remaining, HOUR_MS - MINUTE_MS, "it was extended since");
    org.commit(held, spend(1), "c").unwrap();
    let ended = org.acquire(asked());
    assert_eq!((ended.hold, ended.remaining), (first.hold, 0));
    assert_eq!(org.extend(held, HOUR_MS, "e1").unwrap().view, 0);
}

#[test]
fn reservations_are_listed_by_state_scope_and_age_a_page_at_a_time() {
    let mut org = budgeted();
    let late = expired(&mut org, spend(1));
    let first = org.reserve(spend(2));
    org.after(MINUTE_MS);
    let second = org.acquire(Acquire { reserve: spend(3), ..ask_on("workspace/a") }).hold.unwrap().id;
    let all = ListReservations { after: None, max: 10, open: true, expired: true, scope: None, older_than: 0 };
    let mut listed =
        |list: ListReservations| -> Vec<DecisionId> { org.ask(list).unwrap().iter().map(|view| view.row.id).collect() };
    assert_eq!(listed(all.clone()), [late, first, second]);
    assert_eq!(listed(ListReservations { open: false, ..all.clone() }), [late]);
    assert_eq!(listed(ListReservations { expired: false, ..all.clone() }), [first, second]);
    assert_eq!(listed(ListReservations { older_than: MINUTE_MS, expired: false, ..all.clone() }), [first]);
    assert_eq!(listed(ListReservations { scope: Some(scope("workspace/a")), ..all.clone() }), [second]);
    assert_eq!(listed(ListReservations { max: 2, ..all.clone() }), [late, first]);
    assert_eq!(listed(ListReservations { after: Some(first), ..all }), [second]);
}

#[test]
fn settling_twice_is_refused_with_what_happened_first() {
    let mut org = budgeted();
    let (committed, released) = (org.reserve(spend(5)), org.reserve(spend(5)));
    org.commit(committed, spend(5), "c").unwrap();
    org.release(released, "r").unwrap();
    for _ in 0..2 {
        assert_eq!(org.commit(committed, spend(5), "c2"), Err(OrgError::ReservationSettled(Settlement::Committed)));
        assert_eq!(org.release(committed, "r2"), Err(OrgError::ReservationSettled(Settlement::Committed)));
        assert_eq!(org.commit(released, spend(5), "c3"), Err(OrgError::ReservationSettled(Settlement::Released)));
        assert_eq!(org.extend(released, DAY_MS, "e"), Err(OrgError::ReservationSettled(Settlement::Released)));
        org.restart();
    }
    assert_eq!(standing(&mut org), (5, 0));
    org.after(DAY_MS);
    assert_eq!(org.commit(committed, spend(5), "c4"), Err(OrgError::ReservationNotFound), "a day later");
    assert_eq!(org.commit(DecisionId(99), spend(5), "c5"), Err(OrgError::ReservationNotFound));
}

#[test]
fn every_settlement_is_replayed_and_charges_once() {
    let mut org = budgeted();
    let (first, second, third) = (org.reserve(spend(5)), org.reserve(spend(7)), org.reserve(spend(9)));
    let extended = org.extend(third, HOUR_MS, "e").unwrap();
    let expires_at = T0 + HOUR_MS;
    assert_eq!((extended.outcome, extended.replayed), (Extended { expires_at }, false));
    org.commit(first, spend(4), "c").unwrap();
    org.release(second, "r").unwrap();
    for _ in 0..2 {
        org.restart();
        org.after(MINUTE_MS);
        assert_eq!(org.commit(first, spend(4), "c"), Ok(true), "R-PIPE-6");
        assert_eq!(org.release(second, "r"), Ok(true));
        let again = org.extend(third, HOUR_MS, "e").unwrap();
        assert_eq!((again.outcome, again.replayed), (Extended { expires_at }, true));
    }
    assert_eq!(standing(&mut org), (4, 9));
}

#[test]
fn an_extension_never_shortens() {
    let mut org = budgeted();
    let held = org.acquire(Acquire { reservation_ttl: HOUR_MS, ..reserving(spend(10)) }).hold.unwrap().id;
    assert_eq!(org.extend(held, MINUTE_MS, "a").unwrap().outcome.expires_at, T0 + HOUR_MS);
    assert_eq!(org.extend(held, 2 * HOUR_MS, "b").unwrap().outcome.expires_at, T0 + 2 * HOUR_MS);
    org.restart();
    org.after(2 * HOUR_MS - 1);
    assert_eq!(standing(&mut org), (0, 10));
    org.after(1);
    assert_eq!(standing(&mut org), (0, 0));
}

#[test]
fn a_replayed_reservation_is_the_same_one_and_holds_once() {
    let mut org = budgeted();
    let keyed = || Acquire { idempotency: Some(key("a")), ..reserving(spend(10)) };
    let first = org.acquire(keyed());
    org.restart();
    let again = org.acquire(keyed());
    assert!(again.replayed && again.allowed);
    assert_eq!((again.id, again.hold), (first.id, first.hold), "R-PIPE-6");
    assert_eq!(standing(&mut org), (0, 10));
}

#[test]
fn a_full_table_of_reservations_refuses_and_changes_nothing() {
    let mut org = budgeted();
    org.bounds.reservations_per_org = 1;
    org.reserve(spend(1));
    assert_eq!(org.try_acquire(reserving(spend(1))), Err(OrgError::TooManyReservations { most: 1 }));
    assert_eq!((standing(&mut org), org.used("rate")), ((0, 1), 1));
    assert_eq!(org.run(), Code::Allowed, "a call that holds nothing needs no place");
}

#[test]
fn a_meter_in_cost_and_reserve_needs_one_ledger() {
    let mut org = OrgBench::new();
    org.bounds.ledgers_per_org = 1;
    assert!(org.acquire(Acquire { cost: spend(1), ..reserving(spend(1)) }).allowed);
    assert_eq!(org.try_acquire(ask()), Err(OrgError::TooManyMeters { most: 1 }), "another meter is another ledger");
}

fn known(text: &str, amount: u64) -> Amounts {
    smallvec![(Meter::parse("meter", text).unwrap(), amount)]
}

#[test]
fn what_happened_books_where_admission_takes_no_new_meter_any_more() {
    let mut org = OrgBench::new();
    org.bounds.ledgers_per_org = 3;
    let held = org.reserve(known("a", 1));
    let other = org.reserve(known("b", 1));
    assert_eq!(org.try_acquire(reserving(known("c", 1))), Err(OrgError::TooManyMeters { most: 3 }));
    assert_eq!(org.commit(held, both(known("a", 1), known("c", 2)), "c1"), SETTLED, "R-PIPE-3");
    assert!(org.record("", known("d", 3), "r1").is_ok() && org.report("life", 4, "p1").is_ok(), "R-PIPE-3");
    assert_eq!(org.snapshot().ledgers.len(), 6, "executions, a, b, c, d, spend");
    assert_eq!(
        org.commit(other, known("e", 1), "c2"),
        Err(OrgError::TooManyMeters { most: 6 }),
        "bounded all the same"
    );
    assert_eq!(org.record("workspace/a", known("f", 1), "r2"), Err(OrgError::TooManyMeters { most: 6 }));
    assert!(org.record("workspace/a", known("a", 1), "r2").is_ok(), "a scope is never refused");
    assert_eq!(org.snapshot().reservations.len(), 1, "what is refused has changed nothing");
    assert_eq!(org.commit(other, known("b", 1), "c2"), SETTLED, "what was reserved has its ledger");
}

#[test]
fn a_hold_of_nothing_leaves_no_ledger_behind() {
    let mut org = OrgBench::new();
    let held = org.reserve(spend(0));
    assert_eq!(org.snapshot().ledgers.len(), 1, "that of the execution");
    assert_eq!(org.commit(held, spend(0), "c"), SETTLED);
}
