//! Windows that an operator resets: from then on nothing of them is used.

use super::*;
use crate::domain::{
    command::ResetWindow,
    policy::{BalanceSource, Overrun},
    refusal::{NoReset, OrgError},
    reply::WindowChange,
    rows::OverrideSubject,
};

fn of(limit: &str) -> ResetWindow {
    ResetWindow {
        scope: Scope::org(),
        limit: OverrideSubject::limit("limit", limit).unwrap(),
        reason: Reason::parse("reason", "ticket 4711").unwrap(),
        idempotency: key("unnamed"),
    }
}

impl OrgBench {
    fn try_reset(&mut self, reset: ResetWindow, call: &str) -> Result<(bool, WindowChange), OrgError> {
        let done = self.ask(Box::new(ResetWindow { idempotency: key(call), ..reset }))?;
        Ok((done.replayed, done.view))
    }

    /// Answers what was used before and is after it.
    fn reset(&mut self, reset: ResetWindow) -> (u64, u64) {
        let call = format!("reset {}", self.next_id);
        let (replayed, change) = self.try_reset(reset, &call).unwrap();
        assert!(!replayed);
        (change.before.unwrap().used, change.after.unwrap().used)
    }

    fn assert_no_drift(&mut self) {
        let audit = self.ask(crate::domain::command::RunAudit).unwrap().unwrap();
        assert_eq!((audit.drifted, audit.drift), (0, vec![]), "R-BUD-3");
    }
}

#[test]
fn the_next_call_passes_and_only_that_limit_counts_anew() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 20), spend_limit(DAILY, 10)]);
    org.record("", spend(10), "used up").unwrap();
    assert_eq!(org.run(), Code::BudgetExceeded);
    assert_eq!(org.reset(of("budget/daily")), (10, 0), "R-CTRL-6: old → new");
    assert_eq!(org.run(), Code::Allowed, "R-PIPE-11: the next call");
    assert_eq!((org.used("budget/daily"), org.used("budget/hourly")), (0, 10), "every other limit is as it was");
    assert_eq!(org.limit("budget/daily").label.origin.counts_from, Some(T0));
    org.assert_no_drift();
    org.record("", spend(4), "more").unwrap();
    for _ in 0..2 {
        assert_eq!((org.used("budget/daily"), org.used("budget/hourly")), (4, 14));
        org.restart();
    }
    org.assert_no_drift();
    assert_eq!(org.reset(of("budget/daily")), (4, 0), "a second time");
    org.record("", spend(3), "still more").unwrap();
    assert_eq!((org.used("budget/daily"), org.used("budget/hourly")), (3, 17));
}

#[test]
fn the_window_lets_go_of_what_came_after_the_reset_alone_and_then_counts_as_ever() {
    for (window, name) in [(DAILY, "budget/daily"), (HOURLY, "budget/hourly")] {
        let mut org = OrgBench::with([spend_limit(window, 10)]);
        org.record("", spend(6), "before").unwrap();
        org.after(MINUTE_MS / 2);
        org.record("", spend(4), "also before").unwrap();
        org.reset(of(name));
        org.record("", spend(7), "after").unwrap();
        assert_eq!(org.used(name), 7);
        let slice = window.slice();
        let leaves = window.slice_leaves_at(org.now / slice * slice).unwrap();
        org.flush();
        assert_eq!(org.snapshot().wake_at.map(|at| at <= leaves), Some(true), "a stored timer");
        let denied = org.acquire(Acquire { cost: spend(5), ..ask() });
        assert_eq!(denied.code(), Code::BudgetExceeded);
        assert_eq!(denied.retry_after(), leaves - org.now, "{name}: not before what counts has left");
        org.restart().at(leaves - 1);
        assert_eq!(org.used(name), 7, "{name}");
        org.after(1);
        assert_eq!((org.used(name), org.limit(name).label.origin.counts_from), (0, None), "{name}: as ever");
        org.sweep();
        assert!(org.state.take_news().overrides_ended.is_empty(), "no override has ended");
        org.record("", spend(2), "later").unwrap();
        assert_eq!(org.used(name), 2);
        org.assert_no_drift();
    }
}

#[test]
fn a_window_that_ends_is_reset_until_it_does() {
    let day = Window::parse("calendar/day").unwrap();
    let of_use = Window::parse("anchored/6h").unwrap();
    for window in [CLOCK_HOUR, day, of_use] {
        let limit = executions_limit(window, 10);
        let name = limit.name().to_owned();
        let mut org = OrgBench::with([limit]);
        org.record("", executions(8), "before").unwrap();
        let ends = org.limit(&name).resets_at.unwrap();
        assert_eq!(org.reset(of(&name)), (8, 0), "{name}");
        org.record("", executions(3), "after").unwrap();
        assert_eq!((org.used(&name), org.limit(&name).resets_at), (3, Some(ends)), "{name}: the same window");
        org.restart().at(ends - 1);
        assert_eq!(org.used(&name), 3, "{name}");
        org.after(1);
        org.record("", executions(5), "the next window").unwrap();
        assert_eq!((org.used(&name), org.limit(&name).label.origin.counts_from), (5, None), "{name}");
        org.assert_no_drift();
    }
}

#[test]
fn what_reservations_hold_stays_held_and_counts_when_it_is_committed() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.record("", spend(4), "before").unwrap();
    let held = org.reserve(spend(6));
    org.reset(of("budget/daily"));
    let view = org.limit("budget/daily");
    assert_eq!((view.used, view.reserved, view.remaining()), (0, 6, Some(4)), "R-CTRL-6");
    org.commit(held, spend(5), "c").unwrap();
    assert_eq!((org.used("budget/daily"), org.limit("budget/daily").reserved), (5, 0));
}

#[test]
fn the_backstop_the_balance_and_limits_of_scopes_are_reset_as_well() {
    let mut org = OrgBench::new().and_scope("workspace/a", [spend_limit(HOURLY, 5)]);
    org.policy.rate.amount = Some(2);
    let included =
        Limit::named(BalanceSource::LIMIT, Meter::executions(), Window::parse("calendar/month").unwrap(), Some(2));
    org.policy.balance.source = BalanceSource::Included { limit: included, overage: false };
    assert_eq!([org.run(), org.run(), org.run()], [Code::Allowed, Code::Allowed, Code::RateLimited]);
    assert_eq!(org.reset(of("rate")), (2, 0));
    org.restart();
    assert_eq!(org.run(), Code::BalanceExhausted, "the backstop lets it pass, after a restart too");
    org.reset(of("balance"));
    assert_eq!(org.run(), Code::Allowed);
    org.record("workspace/a", spend(5), "scope").unwrap();
    assert_eq!(org.reset(ResetWindow { scope: scope("workspace/a"), ..of("budget/hourly") }), (5, 0));
    org.assert_no_drift();
}

#[test]
fn what_has_no_window_to_reset_is_refused_by_what_it_is() {
    let carried = Limit { carries: true, ..executions_limit(CLOCK_HOUR, 1) };
    let mut org = OrgBench::with([carried]);
    org.policy.overrun = Overrun::Carry;
    org.policy.sessions.max = Some(1);
    for (limit, why) in [
        ("sessions", NoReset::Concurrent),
        ("quota/executions/aligned/1h", NoReset::Carries),
        ("budget/daily", NoReset::NoLimit),
        ("balance", NoReset::NoLimit),
    ] {
        assert_eq!(org.try_reset(of(limit), "r"), Err(OrgError::NoReset(why)), "{limit}");
    }
    org.bounds.overrides_per_org = 0;
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.bounds.overrides_per_org = 0;
    assert_eq!(org.try_reset(of("budget/daily"), "r"), Err(OrgError::TooManyOverrides { most: 0 }));
}

#[test]
fn a_retry_resets_once_also_after_a_restart() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.record("", spend(10), "used up").unwrap();
    org.try_reset(of("budget/daily"), "r").unwrap();
    org.record("", spend(4), "after").unwrap();
    org.restart();
    let (replayed, change) = org.try_reset(of("budget/daily"), "r").unwrap();
    assert_eq!((replayed, change.before, change.after.unwrap().used), (true, None, 4), "R-PIPE-6");
    assert_eq!(org.used("budget/daily"), 4);
}
