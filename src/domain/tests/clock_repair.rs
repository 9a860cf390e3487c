//! R-CLOCK-2: after a clock that was ahead has been put right, every limit has what its window had
//! counted before and what was counted ahead, whatever windows were gone through in between.

use proptest::prelude::*;

use super::*;

const WINDOWS: [&str; 12] = [
    "aligned/1h",
    "aligned/24h",
    "aligned/7d",
    "calendar/day",
    "calendar/month",
    "calendar/year",
    "calendar/day@Asia/Kolkata",
    "calendar/day@America/Los_Angeles",
    "calendar/month@Asia/Kolkata",
    "rolling/1h",
    "rolling/24h",
    "rolling/30d",
];

const SCOPES: [&str; 3] = ["", "ws/a", "ws/b"];

fn window(text: &str) -> Window {
    Window::parse(text).unwrap()
}

/// Spend in one window, of the org and of each scope, as `limit` makes it.
fn org(limit: impl Fn() -> Limit) -> OrgBench {
    let mut org = OrgBench::with([limit()]).and_scope("ws/a", [limit()]).and_scope("ws/b", [limit()]);
    org.policy.rate.amount = Some(1_000_000);
    org
}

impl OrgBench {
    fn spends(&mut self, scope: &str, amount: u64) {
        let cost = both(executions(1), spend(amount));
        assert!(self.acquire(Acquire { cost, ..ask_on(scope) }).allowed);
    }

    fn used_of(&mut self, scope: &str, limit: &str) -> u64 {
        self.limit_of(scope, limit).used
    }

    fn drift(&mut self) -> Vec<crate::domain::reply::Drift> {
        self.ask(RunAudit).unwrap().unwrap().drift
    }
}

proptest! {
    /// Usage before, during a lead of any length, and the repair. A window that begins within an
    /// hour, which may have lost its minutes by then, counts all of that hour; any other exactly
    /// what it holds.
    #[test]
    fn every_limit_has_all_that_its_window_holds(
        text in prop::sample::select(&WINDOWS[..]),
        before in prop::collection::vec((0..180 * MINUTE_MS, 0..3usize, 1..1_000u64), 1..20),
        lead in prop_oneof![MINUTE_MS..3 * HOUR_MS, HOUR_MS..9 * DAY_MS, DAY_MS..40 * DAY_MS],
        ahead in prop::collection::vec((0..5 * HOUR_MS, 0..3usize, 1..1_000u64), 1..12),
        sweeps in any::<bool>(),
    ) {
        let mut org = org(|| spend_limit(window(text), 1_000_000_000));
        org.may_purge = lead < 2 * DAY_MS;
        let mut used = Vec::new();
        for (passed, scope, amount) in before {
            org.after(passed).spends(SCOPES[scope], amount);
            used.push((org.now, scope, amount));
        }
        let right = org.now + 1;
        org.after(lead).restart();
        for (passed, scope, amount) in ahead {
            if sweeps {
                org.sweep();
            }
            org.after(passed).spends(SCOPES[scope], amount);
            used.push((right, scope, amount));
        }
        org.repaired(right);
        let start = window(text).start(right);
        let name = spend_limit(window(text), 0).name().to_owned();
        for (at, scope) in SCOPES.iter().enumerate() {
            let since = |from: Millis| -> u64 {
                used.iter().filter(|(when, of, _)| *when >= from && (at == 0 || *of == at)).map(|(.., amount)| amount).sum()
            };
            let (least, most, shown) = (since(start), since(start / HOUR_MS * HOUR_MS), org.used_of(scope, &name));
            prop_assert!((least..=most).contains(&shown), "{scope} {text}: {shown} of {least} to {most}");
        }
        let calls = used.iter().filter(|(when, ..)| *when >= right / HOUR_MS * HOUR_MS).count();
        prop_assert_eq!(org.snapshot().rate.map(|rate| rate.count), Some(calls as u64), "the backstop");
        prop_assert_eq!(org.drift(), vec![]);
    }
}

/// R-BUD-3: the node was ahead for so long that an hour has lost its minutes, and a window begins within that hour.
#[test]
fn a_window_that_began_within_an_hour_and_runs_on_is_what_the_slices_say() {
    let windows = [window("calendar/day@Asia/Kolkata"), DAY_FROM_FIRST_USE];
    for (window, right_after) in windows.into_iter().flat_map(|it| [(it, 0), (it, 40 * MINUTE_MS)]) {
        let mut org = org(|| spend_limit(window, 1_000));
        let name = org.policy.limits[0].name().to_owned();
        org.at(T0 + 2 * HOUR_MS).spends("ws/a", 1);
        org.after(30 * MINUTE_MS).spends("ws/a", 2);
        let right = org.after(right_after).now;
        org.after(HOUR_MS).restart();
        org.at(T0 + 5 * HOUR_MS).sweep();
        org.at(T0 + 5 * HOUR_MS + 40 * MINUTE_MS).sweep();
        org.spends("ws/a", 4);
        org.repaired(right);
        let used = org.used_of("ws/a", &name);
        assert!((6..=7).contains(&used), "{window}: {used}");
        assert_eq!(org.drift(), vec![], "{window}, {right_after}");
    }
}

#[test]
fn a_window_that_began_with_its_use_begins_there_again() {
    for lead in [HOUR_MS, 30 * HOUR_MS, 9 * DAY_MS] {
        let mut org = org(|| spend_limit(DAY_FROM_FIRST_USE, 100));
        let name = org.policy.limits[0].name().to_owned();
        org.spends("ws/a", 50);
        org.after(10 * MINUTE_MS).spends("ws/a", 40);
        let right = org.now;
        org.after(lead).spends("ws/a", 10);
        org.repaired(right);
        for scope in ["", "ws/a"] {
            let limit = org.limit_of(scope, &name);
            assert_eq!((limit.used, limit.resets_at), (100, Some(T0 + DAY_MS)), "{lead}");
        }
        assert_eq!(org.drift(), vec![], "{lead}");
        org.at(T0 + DAY_MS);
        assert_eq!(org.used_of("", &name), 0);
    }
}

#[test]
fn usage_of_a_window_before_the_one_that_began_with_its_use_does_not_come_back() {
    let mut org = org(|| spend_limit(DAY_FROM_FIRST_USE, 100));
    let name = org.policy.limits[0].name().to_owned();
    org.spends("", 70);
    org.after(25 * HOUR_MS).spends("", 20);
    let right = org.now;
    org.after(3 * DAY_MS).spends("", 10);
    org.repaired(right);
    assert_eq!(org.used_of("", &name), 30);
    assert_eq!(org.drift(), vec![]);
}

#[test]
fn what_was_carried_into_the_window_is_carried_into_it_again() {
    let carrying = || Limit { carries: true, ..spend_limit(CLOCK_HOUR, 100) };
    for hours in [1, 2, 3, 5, 30] {
        let mut org = org(carrying);
        let name = org.policy.limits[0].name().to_owned();
        org.record("", spend(500), "r").unwrap();
        org.after(2 * HOUR_MS);
        let right = org.now;
        let before = org.limit(&name);
        assert_eq!((before.used, before.carried), (300, 300));
        for hour in 1..=hours {
            org.after(HOUR_MS).record("", spend(10), &format!("{hour}")).unwrap();
        }
        org.repaired(right);
        let after = org.limit(&name);
        assert_eq!((after.used, after.carried), (300 + 10 * hours, 300), "{hours} hours ahead");
        assert_eq!(org.drift(), vec![], "{hours}");
    }
}

#[test]
fn a_backstop_that_was_removed_by_the_wrong_clock_is_made_again() {
    let mut org = org(|| spend_limit(CLOCK_HOUR, 1_000));
    for _ in 0..7 {
        org.spends("", 1);
    }
    let right = org.now;
    org.after(8 * HOUR_MS).sweep();
    assert_eq!(org.snapshot().rate, None);
    org.repaired(right);
    assert_eq!(org.limit("rate").used, 7);
}
