//! Usage that an operator gives back counts no more where it counted, and never more than was used is given back.

use super::*;
use crate::domain::{
    command::{GetUsage, ListEvents, NewSession, Refund, RefundOf, ResetWindow},
    events::{Happening, listed},
    ids::{Identity, SessionId},
    outbox::{OutboxKey, OutboxRow},
    outcome::{GivenBack, Refunded},
    policy::ExportWhen,
    refund::Charge,
    reply::RefundView,
    rows::OverrideSubject,
    window::{Calendar, HOUR_RETENTION_MS},
};

type Answer = Result<Shown<Refunded, Box<RefundView>>, OrgError>;

const CLOCK_DAY: Window = Window::Calendar(Calendar::Day);

fn org(limits: impl IntoIterator<Item = Limit>) -> OrgBench {
    let mut org = OrgBench::with(limits);
    org.policy.rate.amount = None;
    org
}

impl OrgBench {
    fn try_refund(&mut self, of: RefundOf, id: &str) -> Answer {
        self.ask(Box::new(Refund { of, idempotency: key(id) }))
    }

    /// Of usage in this scope so long ago. Answers what was given back.
    fn refund(&mut self, scope_name: &str, amounts: Amounts, ago: Millis, id: &str) -> Result<Vec<u64>, OrgError> {
        let at = Some(self.now - ago);
        let done = self.try_refund(RefundOf::Usage { scopes: scope(scope_name).into(), amounts, at }, id)?;
        Ok(done.outcome.amounts.iter().map(|of| of.given).collect())
    }

    fn refund_decision(&mut self, decision: DecisionId, id: &str) -> Answer {
        self.try_refund(RefundOf::Decision { id: decision, recent: None }, id)
    }

    fn count_drift(&mut self) -> u64 {
        self.ask(RunAudit).unwrap().unwrap_or_default().drifted
    }
}

/// Those of a decision that was admitted now, as its node remembers it.
fn recent(org: &OrgBench, scope_name: &str, cost: Amounts) -> Option<Box<Charge>> {
    Some(Box::new(Charge {
        scopes: scope(scope_name).into(),
        plane: Plane::unnamed(),
        admitted_at: org.now,
        cost,
        settled_at: 0,
        booked: Amounts::new(),
        completed: false,
    }))
}

#[test]
fn every_kind_of_window_counts_what_is_given_back_no_more() {
    let windows = [HOURLY, DAILY, CLOCK_HOUR, CLOCK_DAY, DAY_FROM_FIRST_USE, Window::parse("calendar/year").unwrap()];
    let mut org = org(windows.map(|window| spend_limit(window, 1000)));
    org.record("", spend(40), "early").unwrap();
    org.after(2 * HOUR_MS).record("", spend(30), "late").unwrap();
    let used = |org: &mut OrgBench| {
        let snapshot = org.restart().snapshot();
        assert_eq!(org.count_drift(), 0, "R-BUD-3");
        let quotas = || snapshot.limits.iter().filter(|limit| limit.name() != "rate");
        windows.map(|window| quotas().find(|limit| limit.label.window == window).unwrap().used)
    };
    assert_eq!(used(&mut org), [30, 70, 30, 70, 70, 70]);
    assert_eq!(org.refund("", spend(15), 2 * HOUR_MS, "r1"), Ok(vec![15]), "R-REF-1");
    assert_eq!(used(&mut org), [30, 55, 30, 55, 55, 55], "where it was charged, and nowhere else");
    assert_eq!(org.refund("", spend(10), 0, "r2"), Ok(vec![10]));
    assert_eq!(used(&mut org), [20, 45, 20, 45, 45, 45]);
}

#[test]
fn no_more_is_given_back_than_was_used_there() {
    let mut org = org([spend_limit(DAILY, 1000)]).and_scope("workspace/a", [spend_limit(DAILY, 1000)]);
    org.record("workspace/a", spend(20), "a").unwrap();
    org.record("workspace/b", spend(50), "b").unwrap();
    assert_eq!(org.refund("workspace/a", spend(100), 0, "r1"), Ok(vec![20]), "R-REF-1: what the scope has used");
    assert_eq!(org.limit_of("workspace/a", "budget/daily").used, 0);
    assert_eq!(org.restart().used("budget/daily"), 50);
    // What the org has used is all of the other scope's.
    let nothing = org.refund("", spend(1), 0, "r2");
    assert!(matches!(nothing, Err(OrgError::NothingUsed { hour: T0 })), "{nothing:?}");
    let of_another_hour = org.refund("workspace/b", spend(1), HOUR_MS, "r3");
    assert_eq!(of_another_hour, Err(OrgError::NothingUsed { hour: T0 - HOUR_MS }));
    assert_eq!((org.used("budget/daily"), org.count_drift()), (50, 0));
}

#[test]
fn it_is_taken_out_of_the_minute_that_is_named_before_any_other() {
    let mut org = org([spend_limit(HOURLY, 1000)]);
    for minute in [0, 10, 20] {
        org.at(T0 + minute * MINUTE_MS).record("", spend(10), &format!("m{minute}")).unwrap();
    }
    org.at(T0 + 30 * MINUTE_MS);
    assert_eq!(org.refund("", spend(15), 20 * MINUTE_MS, "r"), Ok(vec![15]));
    // Of minute 10 all of it, of minute 0 the half.
    let left = |minutes| org.at(T0 + HOUR_MS + minutes * MINUTE_MS).restart().used("budget/hourly");
    assert_eq!([0, 1, 11, 21].map(left), [15, 10, 10, 0]);
}

#[test]
fn what_a_window_carries_is_less_by_what_is_given_back_of_the_one_before() {
    let mut org = org([Limit { carries: true, ..spend_limit(CLOCK_HOUR, 100) }]);
    org.record("", spend(350), "over").unwrap();
    org.after(HOUR_MS);
    let name = "quota/spend/aligned/1h";
    assert_eq!(org.used(name), 250);
    assert_eq!(org.refund("", spend(200), HOUR_MS, "r"), Ok(vec![200]));
    assert_eq!((org.restart().used(name), org.count_drift()), (50, 0), "R-REF-1");
    assert_eq!(org.refund("", spend(200), HOUR_MS, "s"), Ok(vec![150]));
    assert_eq!(org.restart().used(name), 0, "never below nothing");
}

#[test]
fn a_committed_decision_gives_back_all_it_has_charged_once_and_where_it_was_charged() {
    let limits = [spend_limit(DAILY, 1000), executions_limit(CLOCK_DAY, 10)];
    let mut org = org(limits.clone()).and_scope("workspace/a", limits);
    let ask = Acquire { scopes: scope("workspace/a").into(), ..reserving(spend(90)) };
    let decision = org.acquire(ask).id.unwrap();
    assert_eq!(org.refund_decision(decision, "open"), Err(OrgError::ChargeOpen), "R-REF-1");
    org.after(2 * HOUR_MS).commit(decision, spend(70), "c").unwrap();
    org.after(HOUR_MS).restart();
    let done = org.refund_decision(decision, "r").unwrap();
    let given = |meter, amount| GivenBack { meter, asked: amount, given: amount };
    assert_eq!(done.outcome.amounts, [given(Meter::executions(), 1), given(Meter::spend(), 70)]);
    assert_eq!(done.outcome.scopes, scope("workspace/a").into());
    let used = |views: &[LimitView]| -> Vec<u64> { views.iter().map(|view| view.used).collect() };
    let before = done.view.before.as_deref().map(used);
    assert_eq!((before, used(&done.view.after)), (Some(vec![70, 1, 70, 1]), vec![0, 0, 0, 0]));
    for scope_name in ["", "workspace/a"] {
        assert_eq!(org.limit_of(scope_name, "budget/daily").used, 0, "{scope_name}");
    }
    // The same call again is answered again; another one is refused, whatever its id, and a restart knows it.
    org.restart();
    let again = org.refund_decision(decision, "r").unwrap();
    assert_eq!((again.replayed, &again.outcome, again.view.before), (true, &done.outcome, None), "R-PIPE-6");
    assert_eq!(org.refund_decision(decision, "s"), Err(OrgError::ChargeRefunded { at: org.now }));
    assert_eq!(org.refund_decision(decision, "r#other"), Err(OrgError::RequestIdReused));
    let settled = OrgError::ReservationSettled(Settlement::Refunded);
    assert_eq!(org.commit(decision, spend(1), "again"), Err(settled));
    assert_eq!(org.count_drift(), 0);
}

#[test]
fn a_refund_in_the_instant_of_the_commit_is_known_as_well() {
    let mut org = org([spend_limit(DAILY, 1000)]);
    let decision = org.reserve(spend(90));
    org.commit(decision, spend(70), "c").unwrap();
    org.refund_decision(decision, "r").unwrap();
    org.flush();
    assert_eq!(org.disk.ends(), 2, "one end does not write over the other");
    org.restart();
    assert!(matches!(org.refund_decision(decision, "s"), Err(OrgError::ChargeRefunded { .. })));
}

#[test]
fn a_decision_that_was_released_or_has_expired_gives_back_what_its_admission_was_charged() {
    let mut org = org([executions_limit(DAILY, 10), spend_limit(DAILY, 1000)]);
    let released = org.reserve(spend(90));
    org.release(released, "rel").unwrap();
    let expired = org.reserve(spend(90));
    assert_eq!(org.after(10 * MINUTE_MS).restart().used("budget/executions/daily"), 2);
    for (decision, left) in [(released, 1), (expired, 0)] {
        let done = org.refund_decision(decision, &format!("r{left}")).unwrap();
        assert_eq!(done.outcome.amounts, [GivenBack { meter: Meter::executions(), asked: 1, given: 1 }]);
        assert_eq!(org.restart().used("budget/executions/daily"), left);
        assert!(matches!(org.refund_decision(decision, "again"), Err(OrgError::ChargeRefunded { .. })));
    }
    let refused = org.commit(expired, spend(5), "late");
    assert_eq!(refused, Err(OrgError::ReservationSettled(Settlement::Refunded)));
}

#[test]
fn of_a_decision_that_is_not_known_any_more_amounts_are_asked() {
    let mut org = org([executions_limit(DAILY, 10), spend_limit(DAILY, 1000)]);
    let decision = org.reserve(spend(90));
    org.commit(decision, spend(70), "c").unwrap();
    org.after(DAY_MS).restart();
    assert_eq!(org.refund_decision(decision, "r"), Err(OrgError::ChargeUnknown));
    let plain = org.acquire(ask()).id.unwrap();
    assert_eq!(org.refund_decision(plain, "r"), Err(OrgError::ChargeUnknown));
    assert!(OrgError::ChargeUnknown.to_string().contains("Name amounts, scopes and at_ms"));
}

#[test]
fn what_the_node_remembers_of_a_plain_decision_is_given_back_once() {
    let mut org = org([executions_limit(DAILY, 10)]);
    let plain = org.acquire(ask_on("workspace/a")).id.unwrap();
    let of = RefundOf::Decision { id: plain, recent: recent(&org, "workspace/a", executions(1)) };
    org.after(MINUTE_MS);
    let done = org.try_refund(of.clone(), "r").unwrap();
    assert_eq!(done.outcome.amounts, [GivenBack { meter: Meter::executions(), asked: 1, given: 1 }]);
    assert_eq!(org.restart().used("budget/executions/daily"), 0);
    assert!(matches!(org.try_refund(of, "s"), Err(OrgError::ChargeRefunded { .. })), "R-REF-1");
}

#[test]
fn a_session_is_refunded_by_amounts() {
    let mut org = org([]);
    let id = SessionId::parse("session_id", "vm-1").unwrap();
    let identity = Identity::parse("identity", "u7").unwrap();
    let start = Acquire { run: Run::Session(NewSession { id, identity }), cost: Amounts::new(), ..ask() };
    let decision = org.acquire(start).id.unwrap();
    assert_eq!(org.refund_decision(decision, "r"), Err(OrgError::ChargeOfSession));
}

#[test]
fn a_time_of_which_usage_is_not_kept_is_refused_with_what_is_allowed() {
    let mut org = org([]);
    org.record("", spend(5), "u").unwrap();
    let of = |at| RefundOf::Usage { scopes: Scopes::org(), amounts: spend(1), at: Some(at) };
    let (now, oldest, latest) = (org.now, org.now - HOUR_RETENTION_MS, org.now + MINUTE_MS);
    for given in [oldest - 1, latest + 1] {
        let refused = org.try_refund(of(given), "r").unwrap_err();
        assert_eq!(refused, OrgError::RefundAt { given, oldest, latest });
        assert!(refused.to_string().starts_with(&format!("at_ms \"{given}\"")), "{refused}");
    }
    assert!(org.try_refund(of(latest), "r").is_ok(), "a clock that is ahead says now, {now}");
}

#[test]
fn usage_by_day_and_by_plane_is_less_by_it() {
    let mut org = org([]);
    let plane = |name: &str| Plane::parse("plane", name).unwrap();
    let ask = |name: &str, amount| Acquire { plane: plane(name), cost: spend(amount), ..ask() };
    org.acquire(ask("api", 50));
    org.acquire(ask("batch", 30));
    assert_eq!(org.refund("", spend(60), 0, "r"), Ok(vec![60]));
    let asked = GetUsage {
        from: 0,
        to: Millis::MAX,
        scope: None,
        meter: None,
        by_plane: true,
        after: None,
        after_plane: None,
        max: 100,
    };
    let usage = org.restart().ask(asked).unwrap().unwrap();
    let rows = usage.days.iter().map(|day| (day.plane.to_string(), day.amount));
    let shares: BTreeMap<String, u64> = rows.collect();
    assert_eq!(shares[""], 20);
    assert!(shares.iter().filter(|(plane, _)| !plane.is_empty()).map(|(_, amount)| amount).sum::<u64>() <= 20);
}

#[test]
fn it_is_in_the_log_with_old_and_new_and_a_limit_that_was_used_up_recovers() {
    let mut org = org([spend_limit(DAILY, 100_000_000)]);
    org.record("", spend(100_000_000), "u").unwrap();
    org.refund("", spend(60_000_000), 0, "r").unwrap();
    let page = org
        .ask(ListEvents { kinds: vec![], after: 0, since: None, until: None, max: 100, durable: false })
        .unwrap()
        .unwrap();
    let what: Vec<String> = page
        .rows
        .iter()
        .map(|row| match &row.what {
            Happening::Operated { command, changes, .. } => format!("{command} {}", listed(changes)),
            Happening::Limit(event) => format!("{:?}", event.level),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        what[what.len() - 2..],
        [
            "Below".to_owned(),
            "Refund spend used in the hour of 2026-06-21T16:00:00Z: $100.00 -> $40.00; spend used (budget/daily): \
             $100.00 -> $40.00"
                .to_owned()
        ],
        "R-EXPL-3, R-CTRL-3"
    );
}

fn billed(export: ExportWhen) -> OrgBench {
    let mut org = org([]);
    org.policy.balance.export = export;
    org.policy.balance.environment = "live".into();
    let features = [(Meter::executions(), "executions".into()), (Meter::spend(), "spend".into())];
    org.policy.balance.features = Arc::new(BTreeMap::from(features));
    org
}

/// What waits for the provider, by meter; below zero what is given back.
fn waiting(org: &mut OrgBench) -> Vec<(String, i64)> {
    let signed = |row: &OutboxRow| {
        let units = i64::try_from(row.units).unwrap();
        (row.meter.to_string(), if row.is_refund { -units } else { units })
    };
    let mut rows: Vec<_> = org.snapshot().exports.iter().map(signed).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn what_was_reported_is_corrected_at_the_provider_by_a_row_of_its_own() {
    let mut org = billed(ExportWhen::Completed);
    let held = org.reserve(spend(90));
    org.commit(held, spend(70), "c").unwrap();
    org.after(MINUTE_MS).refund_decision(held, "r").unwrap();
    let rows = [("executions", -1), ("executions", 1), ("spend", -70), ("spend", 70)];
    assert_eq!(waiting(org.restart()), rows.map(|(meter, units)| (meter.to_owned(), units)), "R-REF-1");
    org.refund_decision(held, "r").unwrap();
    assert_eq!(waiting(&mut org).len(), 4, "a retry reports nothing more");
    let keys: std::collections::BTreeSet<OutboxKey> = org.snapshot().exports.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), 4);
    org.record("", spend(9), "u").unwrap();
    org.refund("", spend(20), 0, "s").unwrap();
    assert!(waiting(&mut org).contains(&("spend".into(), -9)), "what was given back, not what was asked");
}

#[test]
fn what_one_meter_was_charged_twice_in_one_instant_is_corrected_twice() {
    let mut org = billed(ExportWhen::Admitted);
    let held = org.acquire(Acquire { cost: spend(5), ..reserving(spend(90)) }).id.unwrap();
    org.commit(held, spend(70), "c").unwrap();
    let done = org.refund_decision(held, "r").unwrap();
    assert_eq!(done.outcome.amounts, [GivenBack { meter: Meter::spend(), asked: 75, given: 75 }]);
    let units: Vec<i64> = waiting(&mut org).into_iter().map(|(_, units)| units).collect();
    assert_eq!(units, [-70, -5, 5, 70]);
}

#[test]
fn an_execution_that_is_given_back_before_it_completes_is_never_reported() {
    for (export, expected) in [(ExportWhen::Completed, vec![]), (ExportWhen::Admitted, vec![-1, 1])] {
        let mut org = billed(export);
        let plain = org.acquire(ask()).id.unwrap();
        let recent = recent(&org, "", executions(1));
        org.try_refund(RefundOf::Decision { id: plain, recent }, "r").unwrap();
        org.restart();
        let (scopes, decision, usage) = (Scopes::org(), Some(plain), Amounts::new());
        org.ask(Record { scopes, usage, decision, occurred_at: None, idempotency: key("end") }).unwrap();
        let units: Vec<i64> = waiting(&mut org).into_iter().map(|(_, units)| units).collect();
        assert_eq!(units, expected, "{export:?}");
    }
}

#[test]
fn what_had_completed_before_its_release_is_corrected_and_nothing_else() {
    for (completes, resumes, expected) in
        [(true, false, vec![-1, 1]), (false, false, vec![]), (true, true, vec![-1, 1]), (false, true, vec![])]
    {
        let mut org = billed(ExportWhen::Completed);
        let held = org.reserve(spend(90));
        if resumes {
            let execution = ExecutionId::parse("id", &held.to_string()).unwrap();
            org.ask(Resume { execution, idempotency: None }).unwrap();
        }
        if completes {
            let (scopes, decision, usage) = (Scopes::org(), Some(held), Amounts::new());
            org.ask(Record { scopes, usage, decision, occurred_at: None, idempotency: key("end") }).unwrap();
        }
        org.restart().release(held, "l").unwrap();
        org.restart().refund_decision(held, "r").unwrap();
        let units: Vec<i64> = waiting(&mut org).into_iter().map(|(_, units)| units).collect();
        assert_eq!(units, expected, "completes: {completes}, resumes: {resumes}");
    }
}

#[test]
fn refunds_that_find_the_outbox_full_are_set_aside_beside_usage() {
    let mut org = billed(ExportWhen::Completed);
    org.bounds.exports_per_org = 1;
    for id in ["a", "b"] {
        org.record("", spend(10), id).unwrap();
    }
    for id in ["r", "s"] {
        org.refund("", spend(4), 0, id).unwrap();
    }
    let rows = [("spend", -8), ("spend", 10), ("spend", 10)];
    assert_eq!(waiting(org.restart()), rows.map(|(meter, units)| (meter.to_owned(), units)));
}

#[test]
fn what_was_used_before_a_reset_makes_no_room_when_it_is_given_back() {
    let windows = [HOURLY, DAILY, CLOCK_HOUR, CLOCK_DAY, DAY_FROM_FIRST_USE];
    let mut org = org(windows.map(|window| spend_limit(window, 100)));
    let names = windows.map(|window| spend_limit(window, 100).name().to_owned());
    org.record("", spend(60), "before").unwrap();
    org.after(1);
    for (number, name) in names.iter().enumerate() {
        let limit = OverrideSubject::limit("limit", name).unwrap();
        let reason = Reason::parse("reason", "").unwrap();
        let idempotency = key(&format!("reset {number}"));
        org.ask(Box::new(ResetWindow { scope: Scope::org(), limit, reason, idempotency })).unwrap();
    }
    org.after(1).record("", spend(70), "after").unwrap();
    let used = |org: &mut OrgBench| names.clone().map(|name| org.restart().used(&name));
    assert_eq!(used(&mut org), [70; 5]);
    assert_eq!(org.refund("", spend(60), 2, "r1"), Ok(vec![60]));
    assert_eq!(used(&mut org), [70; 5], "R-REF-1, R-CTRL-6: it did not count");
    assert_eq!(org.refund("", spend(30), 0, "r2"), Ok(vec![30]));
    assert_eq!(used(&mut org), [40; 5], "what was used since does");
    org.record("", spend(5), "more").unwrap();
    assert_eq!(used(&mut org), [45; 5], "and no more is left out than there is");
    assert_eq!(org.count_drift(), 0);
}
