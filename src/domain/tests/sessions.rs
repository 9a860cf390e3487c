//! Sessions: a slot, a first slice, time that is paid as it goes, and an end of every kind.

use super::*;
use crate::{
    bounds::SESSION_FORMER_LIVES,
    domain::{
        command::{EndSession, Heartbeat, NewSession},
        gate::Gate,
        ids::{Identity, SessionId},
        outcome::{Beaten, SessionEnded, Shown},
        policy::{ExportWhen, SessionPolicy},
        reply::{Action, Beat, SessionStatus, SessionView},
        rows::SessionState,
        window::Calendar,
    },
};

pub(super) type Told = Shown<Beaten, Box<Beat>>;
type Ended = Shown<SessionEnded, Box<SessionView>>;

const SECOND: Millis = 1_000;
const MONTHLY: Window = Window::Calendar(Calendar::Month);

/// An org with that many seconds of compute a month and sessions at once.
pub(super) fn plan(seconds: u64, sessions: u64) -> OrgBench {
    let mut org = OrgBench::with([Limit::new(Meter::compute(), MONTHLY, Some(seconds * SECOND))]);
    org.policy.sessions.max = Some(sessions);
    org
}

fn session(id: &str) -> SessionId {
    SessionId::parse("session_id", id).unwrap()
}

fn identity(text: &str) -> Identity {
    Identity::parse("identity", text).unwrap()
}

impl OrgBench {
    fn try_start(&mut self, id: &str, key_of_call: &str) -> Result<Decision, OrgError> {
        let new = NewSession { id: session(id), identity: identity("vm") };
        self.try_acquire(Acquire {
            run: Run::Session(new),
            idempotency: Some(key(key_of_call)),
            cost: Amounts::new(),
            ..ask()
        })
        .map(|decided| *decided.expect("a decision"))
    }

    pub(super) fn start(&mut self, id: &str) -> Decision {
        let call = format!("start {id} {}", self.next_id);
        self.try_start(id, &call).unwrap()
    }

    fn try_beat(&mut self, id: &str, who: &str, life: &str, seconds: u64) -> Result<Told, OrgError> {
        self.ask(Box::new(Heartbeat {
            session: session(id),
            identity: identity(who),
            incarnation: Incarnation::parse("incarnation", life).unwrap(),
            total: seconds * SECOND,
            idempotency: None,
        }))
    }

    fn beat_of(&mut self, id: &str, life: &str, seconds: u64) -> Told {
        self.try_beat(id, "vm", life, seconds).unwrap()
    }

    pub(super) fn beat(&mut self, id: &str, seconds: u64) -> Told {
        self.beat_of(id, "boot", seconds)
    }

    fn try_end(&mut self, id: &str, last: Option<(&str, u64)>, call: &str) -> Result<Ended, OrgError> {
        let last = last.map(|(life, seconds)| (Incarnation::parse("incarnation", life).unwrap(), seconds * SECOND));
        let (session, identity) = (session(id), identity("vm"));
        self.ask(Box::new(EndSession { session, identity, last, idempotency: key(call) }))
    }

    pub(super) fn end(&mut self, id: &str, last: Option<(&str, u64)>) -> SessionView {
        let call = format!("end {id} {}", self.next_id);
        *self.try_end(id, last, &call).unwrap().view
    }

    fn look(&mut self, id: &str) -> SessionView {
        *self.ask(GetSession { id: session(id) }).unwrap()
    }

    fn can_start(&mut self) -> SessionStatus {
        let known = Known { balance: Some(allowed()), exempt: false };
        *self.ask(GetSessionStatus { scopes: Scopes::org(), known }).unwrap()
    }

    /// Seconds of compute this month, used and reserved.
    fn compute(&mut self) -> (u64, u64) {
        let quota = self.can_start().quota;
        assert!(quota.used.is_multiple_of(SECOND) && quota.reserved.is_multiple_of(SECOND), "{quota:?}");
        (quota.used / SECOND, quota.reserved / SECOND)
    }
}

#[test]
fn a_start_takes_a_slot_and_a_first_slice_as_one_step() {
    let mut org = plan(3600, 1);
    let started = org.start("a");
    let grant = started.session.unwrap();
    assert_eq!((grant.slice, grant.heartbeat, grant.expires_at), (180_000, 30_000, T0 + 120_000));
    assert_eq!(org.compute(), (0, 180));
    let denied = org.start("b");
    assert_eq!((denied.code(), denied.gate()), (Code::SessionLimitReached, Some(Gate::Concurrency)), "R-SES-1");
    let view = denied.limits.iter().find(|view| view.name() == "sessions").unwrap();
    assert_eq!((view.amount, view.used, view.limiting, view.label.window), (Some(1), 1, true, Window::Concurrent));
    assert_eq!(org.compute(), (0, 180), "a denial takes nothing");
}

#[test]
fn a_used_up_quota_denies_with_the_sentence_that_a_ui_shows() {
    let mut org = plan(100, 1);
    org.record("", smallvec![(Meter::compute(), 100 * SECOND)], "r").unwrap();
    let denied = org.start("a");
    assert_eq!((denied.code(), denied.gate()), (Code::QuotaExceeded, Some(Gate::SessionQuota)), "R-SES-1");
    assert_eq!(denied.message(), "Monthly quota exceeded — upgrade to continue.", "R-SES-5");
    let status = org.can_start();
    assert_eq!((status.decision.allowed, status.decision.message()), (false, denied.message()), "R-SES-2");
    assert!(denied.retry_after() > 0, "with the month");
}

#[test]
fn the_last_minute_of_a_quota_can_be_used_and_is_promised_once() {
    let mut org = plan(200, 5);
    assert_eq!(org.start("a").session.unwrap().slice, 180_000);
    assert_eq!(org.start("b").session.unwrap().slice, 20_000);
    assert_eq!(org.start("c").code(), Code::QuotaExceeded, "R-PIPE-3: used + reserved");
    assert_eq!(org.compute(), (0, 200));
}

#[test]
fn a_session_is_not_stopped_inside_its_slice_and_at_the_next_heartbeat_after_it() {
    let mut org = plan(180, 1);
    org.start("a");
    for seconds in [30, 60, 120, 150, 179] {
        let beat = org.after(30 * SECOND).beat("a", seconds);
        assert!(!matches!(beat.view.action, Action::Stop(_)), "{seconds}: {beat:?}");
        assert_eq!(org.compute(), (seconds, 180 - seconds), "the slice pays");
    }
    let stop = org.after(30 * SECOND).beat("a", 180);
    assert_eq!(stop.view.action, Action::Stop(30_000), "R-SES-1, R-SES-3");
    let later = org.after(20 * SECOND).beat("a", 200);
    assert_eq!((later.view.action, later.outcome.booked), (Action::Stop(10_000), 20_000), "what runs is booked");
    assert_eq!(org.after(20 * SECOND).beat("a", 220).view.action, Action::Stop(0));
    assert_eq!(org.compute(), (220, 0), "R-PIPE-3: what happened is recorded past the quota");
}

#[test]
fn a_raised_quota_lets_a_stopped_session_go_on() {
    let mut org = plan(180, 1);
    org.start("a");
    assert_eq!(org.after(60 * SECOND).beat("a", 180).view.action, Action::Stop(30_000));
    org.change_limits(|limits| limits[0].amount = Some(1000 * SECOND));
    assert_eq!(org.beat("a", 180).view.action, Action::Continue, "R-PIPE-11: no sticky flag");
    org.change_limits(|limits| limits[0].amount = Some(180 * SECOND));
    assert_eq!(org.after(SECOND).beat("a", 181).view.action, Action::Stop(30_000), "a new stop has its whole grace");
}

#[test]
fn warnings_come_at_80_and_95_percent() {
    let mut org = plan(1000, 1);
    org.policy.sessions.clamp = DAY_MS;
    org.start("a");
    for (seconds, action) in [
        (799, Action::Continue),
        (800, Action::Warn(80)),
        (949, Action::Warn(80)),
        (950, Action::Warn(95)),
        (999, Action::Warn(95)),
        (1000, Action::Stop(30_000)),
    ] {
        assert_eq!(org.after(SECOND).beat("a", seconds).view.action, action, "R-SES-3: {seconds}");
    }
}

#[test]
fn a_total_books_what_it_grew_by_in_each_life_of_the_machine() {
    let mut org = plan(100_000, 1);
    org.start("a");
    for (life, seconds, booked) in [
        ("one", 60, 60),
        ("one", 120, 60),
        ("one", 120, 0),
        ("one", 90, 0),
        ("two", 10, 10),
        ("one", 120, 0),
        ("two", 40, 30),
        ("one", 130, 10),
    ] {
        assert_eq!(org.beat_of("a", life, seconds).outcome.booked, booked * SECOND, "{life} {seconds}");
    }
    assert_eq!(org.compute().0, 170, "no total is ever booked whole a second time");
}

#[test]
fn a_gap_books_the_clamp_and_disputes_the_rest_in_one_entry() {
    let mut org = plan(100_000, 1);
    org.start("a");
    let beat = org.beat("a", 1000);
    assert_eq!((beat.outcome.booked, beat.outcome.disputed), (300_000, 700_000), "R-SES-3");
    let beat = org.beat("a", 2000);
    assert_eq!((beat.outcome.booked, beat.outcome.disputed), (300_000, 700_000));
    let disputed = org.snapshot().disputed;
    assert_eq!((disputed.len(), disputed[0].amount), (1, 1_400_000), "kept, not thrown away");
    assert_eq!((disputed[0].source.as_str(), &disputed[0].meter), ("a", &Meter::compute()));
}

#[test]
fn a_full_table_of_disputes_keeps_no_session_from_its_heartbeat() {
    let mut org = plan(100_000_000, 2000);
    org.policy.rate.amount = None;
    for number in 0..1005 {
        let id = format!("s{number}");
        org.start(&id);
        assert_eq!(org.beat(&id, 301).outcome.disputed, SECOND);
    }
    let disputed = org.snapshot().disputed;
    assert_eq!(disputed.iter().map(|row| row.amount).sum::<u64>(), 1005 * SECOND, "none is dropped");
    assert_eq!(disputed.len(), 1001);
}

#[test]
fn another_identity_is_refused_and_books_nothing() {
    let mut org = plan(1000, 1);
    org.start("a");
    assert_eq!(org.try_beat("a", "other", "boot", 60), Err(OrgError::OtherIdentity), "R-SES-4");
    assert_eq!(org.try_beat("b", "vm", "boot", 60), Err(OrgError::SessionUnknown));
    assert_eq!(org.compute(), (0, 180));
}

#[test]
fn a_silent_session_expires_pays_for_its_silence_out_of_its_slice_and_frees_its_slot() {
    let mut org = plan(3600, 1);
    org.start("a");
    org.after(30 * SECOND).beat("a", 30);
    org.after(120 * SECOND - 1);
    assert_eq!(org.look("a").row.state, SessionState::Running);
    org.after(1);
    let expired = org.look("a");
    assert_eq!((expired.row.state, expired.row.booked, expired.held), (SessionState::Expired, 150_000, 0), "R-SES-3");
    assert_eq!((org.compute(), org.can_start().running), ((150, 0), 0));
    let late = org.beat("a", 100);
    assert_eq!((late.outcome.booked, late.view.action), (0, Action::Stop(30_000)), "its silence is paid for");
    assert_eq!(org.beat("a", 200).outcome.booked, 50_000, "what it ran beyond is not");
    assert_eq!(org.beat_of("a", "reborn", 7).outcome.booked, 7_000);
    assert!(org.start("b").allowed);
    assert_eq!(org.state.take_news().expired_sessions, 1);
}

#[test]
fn silence_is_paid_once_also_where_the_machine_was_born_again_in_it() {
    let mut org = plan(3600, 1);
    org.start("a");
    org.after(30 * SECOND).beat_of("a", "one", 30);
    org.after(200 * SECOND);
    assert_eq!(org.compute().0, 150);
    assert_eq!(org.beat_of("a", "two", 160).outcome.booked, 40_000, "120 of the 160 s are paid for");
    assert_eq!(org.compute().0, 190);
}

#[test]
fn after_its_slice_a_silent_session_pays_nothing_that_was_not_reported() {
    let mut org = plan(3600, 1);
    org.start("a");
    org.after(30 * SECOND).beat("a", 200);
    org.after(DAY_MS / 2);
    assert_eq!(org.compute(), (200, 0));
}

#[test]
fn an_expiry_that_was_missed_happens_when_it_was_due() {
    let mut org = plan(3600, 1);
    // The last minute of June.
    let end_of_month = Calendar::Month;
    let july = Window::Calendar(end_of_month).end(Window::Calendar(end_of_month).start(T0)).unwrap();
    org.at(july - 150 * SECOND).start("a");
    org.restart();
    org.at(july + DAY_MS);
    assert_eq!(org.compute(), (0, 0), "it expired in June and paid in June");
    assert_eq!(org.look("a").row.booked, 120_000);
    assert_eq!(org.sweep().unwrap().org, id());
}

#[test]
fn an_org_that_nobody_calls_is_woken_for_the_expiry() {
    let mut org = plan(3600, 1);
    org.start("a");
    org.flush();
    assert_eq!(org.disk.head().wake_at, Some(T0 + 120_000));
    org.after(120 * SECOND).sweep();
    assert_eq!(org.compute(), (120, 0));
}

#[test]
fn an_end_books_the_last_total_or_the_time_since_the_last_word_and_gives_the_rest_back() {
    for (last, booked) in [(Some(("boot", 50)), 50), (Some(("boot", 30)), 30), (None, 75), (Some(("reborn", 5)), 35)] {
        let mut org = plan(3600, 1);
        org.start("a");
        org.after(30 * SECOND).beat("a", 30);
        let ended = org.after(45 * SECOND).end("a", last);
        assert_eq!(
            (ended.row.state, ended.row.booked, ended.held),
            (SessionState::Ended, booked * SECOND, 0),
            "{last:?}"
        );
        assert_eq!((org.compute(), org.can_start().running), ((booked, 0), 0));
        assert_eq!(org.end("a", last).row.booked, booked * SECOND, "a second report of the end records nothing");
        assert_eq!(org.beat("a", 60).view.action, Action::Stop(30_000), "and an ended session stops");
    }
}

#[test]
fn start_and_end_over_and_over_give_nothing_away() {
    let mut org = plan(60, 1);
    for round in 0..100 {
        let id = format!("s{round}");
        if org.start(&id).allowed {
            org.after(20 * SECOND).end(&id, None);
        }
    }
    assert_eq!(org.compute(), (60, 0), "R-SES-1: three times 20 s, and then nothing");
    assert_eq!(org.snapshot().sessions.len(), 3);
}

#[test]
fn calls_are_answered_again_and_carried_out_once() {
    let mut org = plan(3600, 1);
    let first = org.try_start("a", "s1").unwrap();
    let again = org.try_start("a", "s1").unwrap();
    assert!(again.replayed && again.id == first.id && again.session == first.session, "R-PIPE-6");
    assert_eq!(org.try_start("a", "s1#other"), Err(OrgError::RequestIdReused));
    assert_eq!(org.compute(), (0, 180));
    org.restart();
    assert!(org.try_start("a", "s1").unwrap().replayed);
    org.after(30 * SECOND);
    let ended = org.try_end("a", None, "e1").unwrap();
    assert_eq!(org.state.take_news().ended_sessions, 1);
    let again = org.try_end("a", None, "e1").unwrap();
    assert_eq!(again, Ended { replayed: true, ..ended });
    assert_eq!(org.state.take_news().ended_sessions, 0, "counted once");
    assert_eq!(org.compute(), (30, 0));
}

#[test]
fn an_id_may_be_used_again_once_its_session_has_ended() {
    let mut org = plan(3600, 1);
    let first = org.try_start("a", "s1").unwrap();
    org.policy.sessions.max = Some(2);
    assert_eq!(org.try_start("a", "s2"), Err(OrgError::SessionExists), "it runs");
    org.beat_of("a", "boot 1", 20);
    org.after(30 * SECOND);
    org.try_end("a", Some(("boot 1", 30)), "e1").unwrap();
    let second = org.try_start("a", "s2").unwrap();
    assert!(second.allowed && !second.replayed && second.id != first.id);
    for _ in 0..2 {
        let late = org.try_start("a", "s1").unwrap();
        assert!(late.replayed && late.id == first.id, "R-PIPE-6: a late retry of the first start is known by its id");
        assert_eq!(org.try_beat("a", "vm", "boot 1", 90), Err(OrgError::SessionReplaced), "of the first machine");
        let ended = org.try_end("a", Some(("boot 1", 90)), "e2");
        assert_eq!(ended, Err(OrgError::SessionReplaced), "nor does it end the second");
        assert_eq!(org.try_end("a", Some(("boot 1", 30)), "e1"), Err(OrgError::SessionReplaced), "a late retry");
        assert_eq!(org.ask(GetSession { id: session("a") }).unwrap().row.state, SessionState::Running);
        org.restart();
    }
    assert_eq!(org.compute(), (30, 180));
    org.beat_of("a", "boot 2", 10);
    assert_eq!(org.end("a", Some(("boot 2", 15))).row.booked, 15 * SECOND);
    assert_eq!(org.compute(), (45, 0), "each second once");
}

#[test]
fn the_decision_of_a_session_whose_id_was_used_again_is_no_execution() {
    let mut org = plan(3600, 1);
    org.policy.balance.export = ExportWhen::Completed;
    let first = org.start("a").id.unwrap();
    org.end("a", None);
    org.start("a");
    let (scopes, usage) = (Scopes::org(), spend(5));
    org.ask(Record { scopes, usage, decision: Some(first), occurred_at: None, idempotency: key("late") }).unwrap();
    let exported = org.snapshot().exports;
    assert!(exported.iter().all(|row| row.meter != Meter::executions()), "{exported:?}");
}

#[test]
fn an_id_that_is_used_again_needs_no_place_of_its_own() {
    let mut org = plan(3600, 5);
    org.bounds.sessions_per_org = 1;
    for _ in 0..20 {
        assert!(org.start("a").allowed);
        org.beat_of("a", &format!("boot {}", org.next_id), 1);
        org.end("a", None);
    }
    assert_eq!(org.snapshot().sessions.len(), 1);
    let former = &org.snapshot().sessions[0].row.former;
    assert_eq!((former.decisions.len(), former.lives.len()), (8, 19), "each within its bound");
}

#[test]
fn every_life_of_the_sessions_that_had_an_id_before_is_refused() {
    let mut org = plan(3600, 1);
    for life in 0..40 {
        org.start("a");
        org.beat_of("a", &format!("boot {life}"), 1);
        org.end("a", None);
    }
    org.start("a");
    // The last of these 12 push the first out of what totals are known of.
    for life in 100..112 {
        org.beat_of("a", &format!("boot {life}"), 1);
    }
    org.restart();
    let before = org.compute();
    for life in 0..40 {
        let beat = org.try_beat("a", "vm", &format!("boot {life}"), 200);
        assert_eq!(beat, Err(OrgError::SessionReplaced), "R-SES-8: {life}");
    }
    assert_eq!(org.compute(), before);
    org.end("a", None);
    org.start("a");
    assert_eq!(org.try_beat("a", "vm", "boot 100", 200), Err(OrgError::SessionReplaced), "its total was given up");
}

#[test]
fn an_id_is_refused_past_the_lives_that_are_remembered_and_taken_again_a_day_later() {
    let mut org = plan(360_000, 1);
    for life in 0..SESSION_FORMER_LIVES {
        org.start("a");
        org.beat_of("a", &format!("boot {life}"), 1);
        org.end("a", None);
        org.after(SECOND);
    }
    org.start("a");
    org.beat_of("a", "one more", 1);
    org.end("a", None);
    assert_eq!(org.try_start("a", "again"), Err(OrgError::SessionIdWornOut), "R-SES-8");
    assert!(org.start("b").allowed);
    org.end("b", None);
    org.after(DAY_MS - SESSION_FORMER_LIVES as u64 * SECOND);
    assert!(org.try_start("a", "again").unwrap().allowed, "the first has been forgotten");
    assert_eq!(org.try_beat("a", "vm", "one more", 200), Err(OrgError::SessionReplaced));
}

#[test]
fn a_refused_start_changes_nothing() {
    let mut org = plan(3600, 5);
    org.bounds.sessions_per_org = 2;
    org.start("a");
    org.start("b");
    let before = org.snapshot();
    assert_eq!(org.try_start("c", "c"), Err(OrgError::TooManySessions { most: 2 }));
    assert_eq!(org.snapshot(), before);
    org.end("a", None);
    assert!(org.start("c").allowed, "one that has ended gives way");
    assert_eq!(org.try_beat("a", "vm", "boot", 1), Err(OrgError::SessionUnknown));
}

#[test]
fn the_slice_of_a_session_is_no_reservation_of_a_callers() {
    let mut org = plan(3600, 1);
    let slice = org.start("a").id.unwrap();
    assert_eq!(org.commit(slice, Amounts::new(), "c"), Err(OrgError::ReservationNotFound));
    assert_eq!(org.release(slice, "r"), Err(OrgError::ReservationNotFound));
    assert_eq!(org.extend(slice, HOUR_MS, "x"), Err(OrgError::ReservationNotFound));
    assert_eq!(org.compute(), (0, 180));
}

#[test]
fn watching_only_denies_and_stops_nobody_and_counts_all_the_same() {
    let mut org = plan(100, 1);
    org.policy.sessions.enforce = false;
    assert!(org.start("a").allowed && org.start("b").allowed, "R-SES-6");
    for id in ["a", "b"] {
        assert_eq!(org.after(30 * SECOND).beat(id, 250).view.action, Action::Warn(95));
    }
    assert_eq!(org.compute().0, 500);
    assert!(org.start("c").allowed);
    let view = org.can_start().decision.limits.into_iter().find(|view| view.name() == "sessions").unwrap();
    assert!(view.shadow && !view.limiting);
}

#[test]
fn a_plan_without_an_end_of_compute_skips_the_check_and_counts() {
    let mut org = OrgBench::with([Limit::new(Meter::compute(), MONTHLY, None)]);
    org.start("a");
    assert_eq!(org.after(30 * SECOND).beat("a", 300).view.action, Action::Continue, "R-SES-6");
    assert_eq!((org.compute().0, org.can_start().quota.amount, org.can_start().max), (300, None, None));
}

#[test]
fn a_session_passes_the_other_gates_as_well() {
    let mut org = plan(3600, 1);
    org.freeze("f").unwrap();
    assert_eq!(org.start("a").code(), Code::Frozen);
    org.unfreeze("u").unwrap();
    org.policy.rate.amount = Some(1);
    org.run();
    assert_eq!(org.start("a").code(), Code::RateLimited);
    org.policy.rate.amount = Some(1000);
    org.change_limits(|limits| limits.push(spend_limit(HOURLY, 0)));
    assert_eq!(org.start("a").code(), Code::BudgetExceeded, "R-BUD-2: 0 blocks all");
}

#[test]
fn a_trial_stops_without_a_grace_and_its_end_is_told_once() {
    let mut org = plan(180, 1);
    org.policy.sessions = SessionPolicy { trial: true, ..org.policy.sessions.clone() };
    org.start("a");
    assert_eq!(org.after(30 * SECOND).beat("a", 180).view.action, Action::Stop(0));
    assert!(org.state.take_news().trial_ended);
    org.restart();
    org.change_limits(|limits| limits[0].amount = Some(1000 * SECOND));
    assert_eq!(org.beat("a", 181).view.action, Action::Continue);
    org.change_limits(|limits| limits[0].amount = Some(180 * SECOND));
    assert_eq!(org.beat("a", 182).view.action, Action::Stop(0));
    assert!(!org.state.take_news().trial_ended, "once in the life of the org");
    assert_eq!(org.snapshot().trial_ended_at, Some(T0 + 30 * SECOND));
}

#[test]
fn the_end_of_a_trial_that_an_older_tollgate_had_announced_is_not_announced_again() {
    let mut org = plan(180, 1);
    org.policy.sessions.trial = true;
    org.record("", smallvec![(Meter::compute(), 180 * SECOND)], "r").unwrap();
    assert!(org.state.take_news().trial_ended);
    org.flush();
    org.disk = std::mem::take(&mut org.disk).with_former_alerts();
    for _ in 0..2 {
        org.crash();
        org.record("", smallvec![(Meter::compute(), SECOND)], &format!("r{}", org.next_id)).unwrap();
        assert!(!org.state.take_news().trial_ended, "once in the life of the org");
        assert_eq!(org.snapshot().trial_ended_at, Some(T0));
        org.flush();
    }
    assert!(!org.disk.rows().rows.iter().any(|row| matches!(row, Row::TrialEnded(_))), "it has moved");
}

#[test]
fn a_trial_ends_by_whatever_uses_it_up() {
    let mut org = plan(180, 1);
    org.policy.sessions.trial = true;
    org.record("", smallvec![(Meter::compute(), 180 * SECOND)], "r").unwrap();
    assert!(org.state.take_news().trial_ended);
}

#[test]
fn what_a_session_will_book_when_it_expires_is_no_room_until_that_leaves_its_window() {
    let limit = Limit::new(Meter::compute(), HOURLY, Some(200 * SECOND));
    let mut org = OrgBench::with([limit]);
    org.start("a");
    let asked = |seconds: u64| Acquire { reserve: smallvec![(Meter::compute(), seconds * SECOND)], ..ask() };
    let wait = |org: &mut OrgBench, seconds| org.peek(asked(seconds)).retry_after();
    assert_eq!(wait(&mut org, 80), 120 * SECOND, "60 s of the slice are given back");
    let leaves = HOURLY.slice_leaves_at((T0 + 120 * SECOND) / MINUTE_MS * MINUTE_MS).unwrap();
    assert_eq!(wait(&mut org, 81), leaves - T0, "120 s are booked then");
    org.restart();
    assert_eq!(wait(&mut org, 81), leaves - T0);
    org.at(leaves - 1);
    assert!(!org.peek(asked(81)).allowed);
    org.after(1);
    assert!(org.peek(asked(81)).allowed);
}

#[test]
fn sessions_are_listed_in_order_and_forgotten_after_a_day() {
    let mut org = plan(100_000, 9);
    for id in ["c", "a", "b"] {
        org.start(id);
    }
    org.end("b", None);
    let mut list = |after: Option<&str>, max, running| {
        let sessions = org.ask(ListSessions { after: after.map(session), max, running }).unwrap();
        sessions.iter().map(|view| view.row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2, false), ["a", "b"]);
    assert_eq!(list(Some("b"), 2, false), ["c"]);
    assert_eq!(list(None, 9, true), ["a", "c"]);
    org.after(DAY_MS + 120 * SECOND).sweep();
    assert!(org.snapshot().sessions.is_empty());
    assert_eq!(org.disk.count(|row| matches!(row, crate::domain::rows::Row::Session(_))), 0);
}
