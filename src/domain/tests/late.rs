//! Usage that is recorded later than it happened counts in the windows that it happened in.

use proptest::prelude::*;

use super::{properties::cases, *};
use crate::domain::{policy::ExportWhen, window::HOUR_RETENTION_MS};

const CLOCK_DAY: Window = Window::Calendar(crate::domain::window::Calendar::Day);

fn org(limits: impl IntoIterator<Item = Limit>) -> OrgBench {
    let mut org = OrgBench::with(limits);
    org.policy.rate.amount = None;
    org
}

fn late(org: &mut OrgBench, amount: u64, ago: Millis, id: &str) -> Result<bool, OrgError> {
    let occurred_at = Some(org.now - ago);
    let (scopes, usage, decision, idempotency) = (Scopes::org(), spend(amount), None, key(id));
    org.ask(Record { scopes, usage, decision, occurred_at, idempotency }).map(|done| done.replayed)
}

#[test]
fn every_kind_of_window_counts_what_happened_in_it() {
    let windows = [HOURLY, DAILY, CLOCK_HOUR, CLOCK_DAY, DAY_FROM_FIRST_USE, Window::parse("calendar/year").unwrap()];
    let mut org = org(windows.map(|window| spend_limit(window, 1000)));
    org.after(30 * MINUTE_MS).record("", spend(1), "now").unwrap();
    let mut used = move |ago, id: &str| {
        late(&mut org, 10, ago, id).unwrap();
        let snapshot = org.restart().snapshot();
        assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
        let quotas = || snapshot.limits.iter().filter(|limit| limit.name() != "rate");
        let of = |window| quotas().find(|limit| limit.label.window == window).unwrap().used;
        windows.map(of)
    };
    // In this clock hour; in the hour before, and the rolling hour; then one is left after the other.
    assert_eq!(used(20 * MINUTE_MS, "a"), [11, 11, 11, 11, 1, 11], "R-BUD-10");
    assert_eq!(used(40 * MINUTE_MS, "b"), [21, 21, 11, 21, 1, 21]);
    assert_eq!(used(3 * HOUR_MS, "c"), [21, 31, 11, 31, 1, 31]);
    assert_eq!(used(17 * HOUR_MS, "d"), [21, 41, 11, 31, 1, 41]);
    assert_eq!(used(30 * DAY_MS, "e"), [21, 41, 11, 31, 1, 51]);
}

#[test]
fn a_window_from_first_use_begins_with_late_usage_where_none_ran() {
    let mut org = org([spend_limit(DAY_FROM_FIRST_USE, 100)]);
    late(&mut org, 10, 5 * HOUR_MS, "a").unwrap();
    let name = "quota/spend/anchored/1d";
    assert_eq!((org.limit(name).used, org.limit(name).resets_at), (10, Some(T0 + 19 * HOUR_MS)));
    late(&mut org, 10, 30 * HOUR_MS, "b").unwrap();
    assert_eq!(org.restart().used(name), 10, "before it, nothing ran");
    assert_eq!(org.after(19 * HOUR_MS).used(name), 0);
}

/// A limit that is set after usage begins with nothing; late usage from before that would not.
#[test]
fn a_window_that_begins_with_late_usage_has_what_was_used_since() {
    let mut org = org([]);
    org.record("", spend(5), "now").unwrap();
    org.change_limits(|limits| limits.push(spend_limit(DAY_FROM_FIRST_USE, 100)));
    late(&mut org, 10, 5 * MINUTE_MS, "a").unwrap();
    assert_eq!(org.restart().used("quota/spend/anchored/1d"), 15);
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
}

#[test]
fn only_what_slices_are_kept_of_is_believed_and_a_retry_is_a_retry() {
    let mut org = org([]);
    let (now, oldest) = (org.now, org.now - HOUR_RETENTION_MS);
    assert_eq!(late(&mut org, 1, HOUR_RETENTION_MS, "oldest"), Ok(false));
    let latest = now + MINUTE_MS;
    for given in [oldest - 1, latest + 1] {
        let record = |id: &str| Record {
            scopes: Scopes::org(),
            usage: spend(1),
            decision: None,
            occurred_at: Some(given),
            idempotency: key(id),
        };
        assert_eq!(org.ask(record("x")).unwrap_err(), OrgError::OccurredAt { given, oldest, latest });
    }
    let shown = OrgError::OccurredAt { given: 5, oldest, latest }.to_string();
    let (from, to) = (format!("from {oldest} (20"), format!("to {latest} (2026-06-21T16:01:00Z)"));
    assert!(shown.starts_with("occurred_at_ms \"5\"") && shown.contains(&from) && shown.contains(&to), "{shown}");
    org.after(HOUR_MS);
    let again = Record {
        scopes: Scopes::org(),
        usage: spend(1),
        decision: None,
        occurred_at: Some(oldest),
        idempotency: key("oldest"),
    };
    assert!(org.ask(again).unwrap().replayed, "older than what is believed by now, and known");
}

#[test]
fn it_is_exported_with_its_time() {
    let mut org = org([]);
    org.policy.balance.export = ExportWhen::Completed;
    org.policy.balance.features = Arc::new([(Meter::spend(), "spend".into())].into());
    late(&mut org, 7, 3 * HOUR_MS, "a").unwrap();
    org.record("", spend(8), "b").unwrap();
    let rows = org.restart().snapshot().exports;
    let mut rows: Vec<_> = rows.iter().map(|row| (row.units, row.at, row.tried_since)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [(7, T0 - 3 * HOUR_MS, T0), (8, T0, T0)], "its attempts are counted from now");
}

#[test]
fn what_an_ended_window_had_room_for_is_not_carried() {
    let mut org = org([Limit { carries: true, ..spend_limit(CLOCK_HOUR, 100) }]);
    org.record("", spend(70), "a").unwrap();
    let hour = "quota/spend/aligned/1h";
    org.after(HOUR_MS).record("", spend(90), "b").unwrap();
    // The hour before has room for 30, this one begins with the rest.
    late(&mut org, 50, HOUR_MS, "c").unwrap();
    assert_eq!((org.limit(hour).used, org.limit(hour).carried), (110, 20));
    // Three hours later: 10 goes on, then nothing. Of 250 four hours ago 100 fit there and 90, 100 and 100 later.
    assert_eq!(org.after(HOUR_MS).used(hour), 10);
    org.after(2 * HOUR_MS);
    late(&mut org, 150, 4 * HOUR_MS, "d").unwrap();
    assert_eq!(org.used(hour), 0);
    late(&mut org, 500, 4 * HOUR_MS, "e").unwrap();
    assert_eq!(org.restart().limit(hour).carried, 500 - 40);
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// R-BUD-10: with one limit all along, what is carried is what it would be had it been recorded in time.
    #[test]
    fn late_usage_is_carried_as_if_it_had_been_recorded_in_time(
        window in prop::sample::select(vec![CLOCK_HOUR, CLOCK_DAY, Window::Aligned { len: 6 * HOUR_MS }]),
        over in 1..120_u64,
        steps in prop::collection::vec((0..40 * HOUR_MS, prop_oneof![Just(0), 0..90 * HOUR_MS], 0..200_u64), 1..30),
    ) {
        let mut org = org([Limit { carries: true, ..spend_limit(window, over) }]);
        let name = org.policy.limits[0].name().to_owned();
        let mut events: Vec<(Millis, u64)> = Vec::new();
        for (number, (passed, ago, amount)) in steps.into_iter().enumerate() {
            // Not before the limit was there.
            let ago = ago.min(org.after(passed).now - T0);
            late(&mut org, amount, ago, &format!("r{number}")).unwrap();
            events.push((org.now - ago, amount));
            let (mut start, mut carried) = (window.start(T0), 0_u64);
            while window.end(start).unwrap() <= org.now {
                let end = window.end(start).unwrap();
                let used: u64 = events.iter().filter(|(at, _)| (start..end).contains(at)).map(|(_, used)| used).sum();
                (start, carried) = (end, (carried + used).saturating_sub(over));
            }
            let own: u64 = events.iter().filter(|(at, _)| *at >= start).map(|(_, used)| used).sum();
            let shown = org.limit(&name);
            prop_assert_eq!((shown.carried, shown.used), (carried, carried + own));
        }
    }
}
