//! How an org stands as one line of a list.

use super::*;
use crate::domain::{
    command::{GetOverview, SetOverride},
    reply::{Overview, Today},
    request::Rpc,
    rows::{OverrideSubject, Setting},
};

impl OrgBench {
    fn overview(&mut self, from_percent: u64, limits: usize) -> Option<Overview> {
        self.ask(GetOverview { from_percent, limits }).unwrap().map(|overview| *overview)
    }

    fn line(&mut self) -> Overview {
        self.overview(0, 1).expect("a known org")
    }

    fn near(&mut self, percent: u64) -> Vec<(String, String, u64)> {
        let overview = self.overview(percent, 20).expect("a known org");
        let shown =
            |(view, percent): &(LimitView, u64)| (view.scope.shown().into_owned(), view.name().to_owned(), *percent);
        overview.fullest.iter().map(shown).collect()
    }
}

fn near(scope: &str, name: &str, percent: u64) -> (String, String, u64) {
    (scope.to_owned(), name.to_owned(), percent)
}

#[test]
fn an_org_of_which_nothing_is_kept_has_no_line() {
    let mut org = OrgBench::with([spend_limit(DAILY, 100)]);
    assert_eq!(org.overview(0, 1), None);
    org.record("", spend(1), "a").unwrap();
    assert!(org.overview(0, 1).is_some());
}

#[test]
fn the_fullest_limit_is_that_of_the_org_or_of_a_scope() {
    let limits = || [spend_limit(DAILY, 100), executions_limit(CLOCK_HOUR, 100)];
    let mut org = OrgBench::with([spend_limit(DAILY, 1_000)]).and_scope("workspace/a", limits());
    org.record("workspace/a", spend(60), "a").unwrap();
    org.record("", spend(790), "b").unwrap();
    assert_eq!(org.near(1), [near("", "budget/daily", 85), near("workspace/a", "budget/daily", 60)]);
    assert_eq!(org.near(86), [near("", "budget/daily", 85)], "the fullest one in any case");
    assert_eq!(org.line().fullest.len(), 1);
    org.record("workspace/a", spend(40), "c").unwrap();
    assert_eq!(org.near(80), [near("workspace/a", "budget/daily", 100), near("", "budget/daily", 89)]);
    let (fullest, _) = org.line().fullest.remove(0);
    let same = org.limit_of("workspace/a", "budget/daily");
    assert_eq!((fullest.resets_at, fullest.used), (same.resets_at, same.used), "as GetStatus has it");
    assert!(fullest.resets_at.is_some());
    org.restart();
    assert_eq!(org.near(80)[0], near("workspace/a", "budget/daily", 100));
}

#[test]
fn what_is_reserved_counts_and_what_does_not_deny_does_not() {
    let shadow = Limit { shadow: true, ..executions_limit(CLOCK_HOUR, 1) };
    let unlimited = Limit::new(Meter::spend(), HOURLY, None);
    let blocking = executions_limit(DAY_FROM_FIRST_USE, 0);
    let mut org = OrgBench::with([Limit { buffer: 50, ..spend_limit(DAILY, 100) }, shadow, unlimited]);
    org.record("", both(spend(10), executions(5)), "a").unwrap();
    org.reserve(spend(15));
    assert_eq!(org.near(1), [near("", "budget/daily", 50)]);
    org.change_limits(|limits| limits.push(blocking));
    assert_eq!(org.near(80), [near("", "quota/executions/anchored/1d", 100)], "nothing may be used of it");
}

#[test]
fn no_more_limits_are_answered_than_were_asked_for_and_accounts_are_none_of_them() {
    let mut org = OrgBench::with([spend_limit(DAILY, 100_000)]).and_scope("account/k", [spend_limit(DAILY, 10)]);
    for number in 0..30 {
        let name = format!("workspace/{number:02}");
        org = org.and_scope(&name, [spend_limit(DAILY, 100)]);
        org.record(&name, spend(50 + number), &format!("r{number}")).unwrap();
    }
    org.record("account/k", spend(10), "k").unwrap();
    let near_all = org.overview(1, 4).unwrap().fullest;
    let percents: Vec<u64> = near_all.iter().map(|(_, percent)| *percent).collect();
    assert_eq!(percents, [79, 78, 77, 76]);
}

#[test]
fn the_states_of_an_org() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    assert_eq!(org.run(), Code::Allowed);
    let states = |line: &Overview| (line.frozen, line.blocked, line.denied, line.exempt, line.overridden);
    assert_eq!(states(&org.line()), (false, true, false, false, false), "nobody has asked for more");
    assert_eq!(org.run(), Code::QuotaExceeded);
    assert_eq!(states(&org.line()), (false, true, true, false, false));
    org.freeze("f").unwrap();
    assert_eq!(states(&org.line()), (true, true, true, false, false));
    org.unfreeze("u").unwrap();
    org.ask(Box::new(SetOverride {
        rpc: Rpc::SetOverride,
        scope: Scope::org(),
        subject: OverrideSubject::parse("limit", "quota/executions/aligned/1h").unwrap(),
        setting: Some(Setting::Unlimited),
        end: None,
        expected_version: None,
        reason: Reason::parse("reason", "").unwrap(),
        idempotency: key("o"),
    }))
    .unwrap();
    assert_eq!(states(&org.line()), (false, false, true, false, true));
    org.after(2 * HOUR_MS);
    assert!(!org.line().denied, "not lately");
}

#[test]
fn today_is_the_running_day_of_utc() {
    let mut org = OrgBench::with([executions_limit(Window::Aligned { len: DAY_MS }, 2)]);
    for _ in 0..5 {
        org.run();
    }
    assert_eq!(org.line().today, Today { allowed: 2, denied: 3, failed_open: 0 });
    org.restart();
    assert_eq!((org.line().today.denied, org.line().admitted_total), (3, 2));
    org.after(DAY_MS);
    assert_eq!(org.line().today, Today::default());
    org.run();
    assert_eq!((org.line().today.allowed, org.line().admitted_total), (1, 3));
}
