//! What a trial includes is there once: over months, restarts, other plans, and what the ledger forgets.

use super::*;
use crate::domain::{
    reply::Quota,
    window::{Calendar, HOUR_RETENTION_MS},
};

const SECOND: Millis = 1_000;
const MONTHLY: Window = Window::Calendar(Calendar::Month);

fn compute(window: Window, seconds: u64) -> Limit {
    Limit::new(Meter::compute(), window, Some(seconds * SECOND))
}

/// An org with that many seconds of compute in its trial.
pub(super) fn trial(seconds: u64) -> OrgBench {
    let mut org = OrgBench::with([compute(Window::Once, seconds)]);
    org.policy.sessions.trial = true;
    org
}

impl OrgBench {
    pub(super) fn use_compute(&mut self, seconds: u64) {
        let call = format!("use {}", self.next_id);
        self.record("", smallvec![(Meter::compute(), seconds * SECOND)], &call).unwrap();
    }

    /// Seconds, and whether one more session could begin.
    fn trial_used(&mut self) -> (u64, bool) {
        let known = Known { balance: Some(allowed()), exempt: false };
        let status = self.ask(GetSessionStatus { scopes: Scopes::org(), known }).unwrap();
        let Quota { used, .. } = status.quota;
        (used / SECOND, status.decision.allowed)
    }

    fn drifted(&mut self) -> u64 {
        self.ask(RunAudit).unwrap().map_or(0, |audit| audit.drifted)
    }

    fn next_month(&mut self) {
        let month_end = MONTHLY.end(MONTHLY.start(self.now)).unwrap();
        self.at(month_end);
    }
}

/// R-SES-7
#[test]
fn the_compute_of_a_trial_is_not_there_again_in_the_next_month() {
    let mut org = trial(3600);
    org.use_compute(3000);
    assert_eq!(org.trial_used(), (3000, true));
    org.next_month();
    assert_eq!(org.trial_used(), (3000, true), "a limit of the month would begin anew");
    org.use_compute(600);
    for _ in 0..6 {
        org.next_month();
        assert_eq!(org.trial_used(), (3600, false));
        org.sweep();
        org.restart();
        assert_eq!(org.trial_used(), (3600, false), "not by a restart");
        assert_eq!(org.drifted(), 0, "although the ledger knows less by now");
    }
    let known = Known { balance: Some(allowed()), exempt: false };
    let status = org.ask(GetSessionStatus { scopes: Scopes::org(), known }).unwrap();
    assert_eq!(status.decision.message(), "Trial quota exceeded — upgrade to continue.");
    assert_eq!(status.decision.retry_after(), 0, "never");
    let view = status.decision.limits.iter().find(|view| view.name() == "quota/compute").unwrap();
    assert_eq!((view.label.window, view.resets_at, view.limiting), (Window::Once, None, true));
}

#[test]
fn another_plan_in_between_gives_a_trial_nothing_back() {
    let mut org = trial(3600);
    org.use_compute(3000);
    org.change_limits(|limits| *limits = vec![compute(MONTHLY, 100_000)]);
    org.next_month();
    assert_eq!(org.trial_used(), (0, true), "the other plan renews with the month");
    org.use_compute(10);
    org.after(HOUR_RETENTION_MS + DAY_MS).sweep();
    org.restart();
    org.change_limits(|limits| *limits = vec![compute(Window::Once, 3600)]);
    assert_eq!(org.trial_used(), (3010, true), "what was used since the trial began");
    assert_eq!(org.drifted(), 0);
}

/// Before a trial was counted once it was counted by the month: the count of that month goes on.
#[test]
fn a_trial_that_was_counted_by_the_month_goes_on_with_its_count() {
    let mut org = OrgBench::with([compute(MONTHLY, 3600)]);
    org.policy.sessions.trial = true;
    org.use_compute(50);
    org.next_month();
    org.use_compute(3000);
    let before = org.trial_used();
    org.restart();
    org.change_limits(|limits| *limits = vec![compute(Window::Once, 3600)]);
    assert_eq!((before, org.trial_used()), ((3000, true), (3000, true)));
    org.use_compute(600);
    org.next_month();
    assert_eq!(org.trial_used(), (3600, false));
}

#[test]
fn a_purge_forgets_a_trial_and_nothing_else_does() {
    let mut org = trial(3600);
    org.use_compute(3600);
    org.after(400 * DAY_MS).sweep();
    assert_eq!(org.trial_used(), (3600, false), "an idle org");
    org.ask(Purge).unwrap();
    assert_eq!(org.trial_used(), (0, true));
}
