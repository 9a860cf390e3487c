//! What an operator sets over everything else, for a while or until it is cleared.

use super::*;
use crate::domain::{
    command::{End, Freeze, ListOverrides, NewAccount, SetOverride},
    events::{EventKind, Happening},
    limit::LimitSource,
    outcome::OverrideSet,
    policy::{Exemption, SessionPolicy},
    refusal::OrgError,
    reply::{OverrideChange, OverrideView},
    request::Rpc,
    rows::{OverrideSubject, Setting},
};

const FOR_AN_HOUR: Option<End> = Some(End::After(HOUR_MS));

fn to(limit: &str, setting: Option<Setting>) -> SetOverride {
    SetOverride {
        rpc: Rpc::SetOverride,
        scope: Scope::org(),
        subject: OverrideSubject::parse("limit", limit).unwrap(),
        setting,
        end: None,
        expected_version: None,
        reason: Reason::parse("reason", "ticket 4711").unwrap(),
        idempotency: key("unnamed"),
    }
}

fn amount(limit: &str, amount: u64) -> SetOverride {
    to(limit, Some(Setting::Amount(amount)))
}

impl OrgBench {
    fn try_set_override(
        &mut self,
        set: SetOverride,
        call: &str,
    ) -> Result<Shown<OverrideSet, Box<OverrideChange>>, OrgError> {
        self.ask(Box::new(SetOverride { idempotency: key(call), ..set }))
    }

    fn set_over(&mut self, set: SetOverride) -> OverrideChange {
        let call = format!("over {}", self.next_id);
        let done = self.try_set_override(set, &call).unwrap();
        assert!(!done.replayed);
        *done.view
    }

    fn overridden(&mut self) -> Vec<OverrideView> {
        self.ask(ListOverrides { ended: false }).unwrap()
    }

    fn source(&mut self, name: &str) -> (LimitSource, Option<Millis>) {
        let origin = self.limit(name).label.origin;
        (origin.source, origin.until)
    }
}

#[test]
fn what_a_window_with_a_raised_limit_had_room_for_is_not_carried_after_it_whoever_asks_next() {
    let mut org = OrgBench::with([Limit { carries: true, ..spend_limit(CLOCK_HOUR, 100) }]);
    let name = "quota/spend/aligned/1h";
    org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount(name, 100_000) });
    org.record("", spend(50_000), "r").unwrap();
    for _ in 0..4 {
        // The counter goes with its window, and what was used stays known.
        org.after(DAY_MS).sweep();
        org.flush();
        // Out of memory and back, by the configuration that the node had before the override.
        org.state = OrgState::load(org.disk.rows(), org.clocks());
        assert_eq!(org.limit(name).carried, 0, "the limit had room for all of it when its window ended");
    }
}

#[test]
fn a_raised_limit_lets_the_next_call_pass_and_ends_by_itself_after_its_hour() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.record("", spend(10), "used up").unwrap();
    assert_eq!(org.run(), Code::BudgetExceeded);
    let change = org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("budget/daily", 20) });
    let amounts = |view: &Option<LimitView>| view.as_ref().and_then(|view| view.amount);
    let before = change.before.unwrap();
    assert_eq!((amounts(&before.limit), amounts(&change.after.limit)), (Some(10), Some(20)), "R-CTRL-1: old → new");
    assert_eq!(org.run(), Code::Allowed, "R-PIPE-11: the next call");
    assert_eq!(org.source("budget/daily"), (LimitSource::Override, Some(T0 + HOUR_MS)));
    org.after(HOUR_MS - 1);
    assert_eq!(org.run(), Code::Allowed);
    org.after(1);
    assert_eq!(org.run(), Code::BudgetExceeded, "R-CTRL-1: it ends by itself");
    assert_eq!(org.source("budget/daily"), (LimitSource::Default, None));
    assert!(org.overridden().is_empty());
    let ended = org.ask(ListOverrides { ended: true }).unwrap();
    assert_eq!((ended[0].row.ended_at, ended[0].row.version), (Some(T0 + HOUR_MS), 2));
}

#[test]
fn an_end_is_the_same_instant_over_a_crash_an_absence_and_a_restart() {
    for away in [0, HOUR_MS / 2, HOUR_MS, 3 * HOUR_MS] {
        let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
        org.record("", spend(10), "used up").unwrap();
        org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("budget/daily", 20) });
        org.flush();
        org.away(away);
        let expected = if away < HOUR_MS { Code::Allowed } else { Code::BudgetExceeded };
        assert_eq!(org.run(), expected, "R-CTRL-1: service time goes on while the node is away");
        org.restart().at(T0 + HOUR_MS);
        assert_eq!(org.run(), Code::BudgetExceeded, "{away}");
    }
}

#[test]
fn the_timer_wakes_the_org_for_the_end_which_is_announced_once() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("budget/daily", 20) });
    org.flush();
    assert_eq!(org.snapshot().wake_at, Some(T0 + HOUR_MS), "R-CTRL-1: a stored timer");
    org.restart().after(HOUR_MS);
    org.sweep();
    let ended = org.state.take_news().overrides_ended;
    assert_eq!(ended.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>(), ["budget/daily"]);
    org.restart();
    org.sweep();
    assert!(org.state.take_news().overrides_ended.is_empty(), "announced once, also over a restart");
    let events = org.events();
    let of_end: Vec<_> = events.iter().filter(|row| row.what.kind() == EventKind::OverrideEnded).collect();
    assert_eq!(of_end.len(), 1, "R-EXPL-3: {events:?}");
    let Happening::OverrideEnded(ended) = &of_end[0].what else { panic!("{of_end:?}") };
    assert_eq!((&*ended.subject, ended.set_at, ended.until), ("budget/daily", T0, T0 + HOUR_MS));
    assert!(ended.setting.starts_with("$0.00002 until"), "{ended:?}");
}

#[test]
fn what_an_operator_ends_is_no_end_by_itself_and_a_freeze_that_ends_is_one() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("budget/daily", 20) });
    org.set_over(to("budget/daily", None));
    let reason = Reason::parse("reason", "fraud").unwrap();
    org.ask(Freeze { reason: reason.clone(), end: FOR_AN_HOUR, idempotency: key("freeze") }).unwrap();
    org.restart().after(HOUR_MS);
    let events = org.events();
    let ended: Vec<_> = events.iter().filter(|row| row.what.kind() == EventKind::OverrideEnded).collect();
    let Happening::OverrideEnded(of_freeze) = &ended[0].what else { panic!("{ended:?}") };
    assert_eq!((ended.len(), &*of_freeze.subject, &of_freeze.reason), (1, "freeze", &reason));
}

#[test]
fn every_kind_of_limit_is_raised_lowered_lifted_or_only_watched() {
    let compute = Limit::new(Meter::compute(), Window::parse("calendar/month").unwrap(), Some(60));
    let org = || {
        let limits = [executions_limit(CLOCK_HOUR, 1), spend_limit(DAILY, 1), compute.clone()];
        let mut org = OrgBench::with(limits).and_scope("workspace/a", [spend_limit(HOURLY, 1)]);
        org.policy.rate.amount = Some(1);
        org.record("workspace/a", both(both(spend(1), executions(1)), smallvec![(Meter::compute(), 60)]), "used")
            .unwrap();
        org
    };
    let names = ["rate", "budget/daily", "quota/compute", "quota/executions/aligned/1h"];
    let lift = |org: &mut OrgBench, but: &str| {
        for name in names.into_iter().filter(|name| *name != but) {
            org.set_over(to(name, Some(Setting::Unlimited)));
        }
        let of_scope = SetOverride { scope: scope("workspace/a"), ..to("budget/hourly", Some(Setting::Unlimited)) };
        org.set_over(of_scope);
    };
    for name in names {
        for (setting, allowed) in [
            (Setting::Amount(1_000), true),
            (Setting::Amount(0), false),
            (Setting::Unlimited, true),
            (Setting::Shadow, true),
        ] {
            let mut org = org();
            lift(&mut org, name);
            org.acquire(Acquire { cost: Amounts::new(), ..ask() });
            assert!(!org.acquire(ask_on("workspace/a")).allowed, "{name} denies without it");
            let change = org.set_over(to(name, Some(setting.clone())));
            assert_eq!(org.acquire(ask_on("workspace/a")).allowed, allowed, "{name} {setting:?}");
            let shown = change.after.limit.expect("the limit is shown");
            assert_eq!(
                (shown.amount.is_none(), shown.shadow),
                (setting == Setting::Unlimited, setting == Setting::Shadow)
            );
            org.set_over(to(name, None));
            assert!(!org.acquire(ask_on("workspace/a")).allowed, "{name} is as it was");
        }
    }
}

#[test]
fn an_override_stands_over_a_budget_which_is_there_again_when_it_ends() {
    let mut org = OrgBench::with([spend_limit(DAILY, 1)]);
    let budget = |amount| SetBudget {
        scope: Scope::org(),
        replace: false,
        periods: vec![("daily", Some(amount))],
        expected_version: None,
        idempotency: key(&format!("b{amount}")),
    };
    org.ask(Box::new(budget(5))).unwrap();
    assert_eq!(org.source("budget/daily"), (LimitSource::Budget, None));
    org.set_over(amount("budget/daily", 9));
    assert_eq!((org.limit("budget/daily").amount, org.source("budget/daily").0), (Some(9), LimitSource::Override));
    let set = org.ask(Box::new(budget(6))).unwrap().view;
    let daily = set.periods.iter().find(|period| period.period == "daily").unwrap();
    assert_eq!((daily.limit, daily.set, daily.origin.source), (Some(9), true, LimitSource::Override), "as enforced");
    org.set_over(to("budget/daily", None));
    assert_eq!((org.limit("budget/daily").amount, org.source("budget/daily").0), (Some(6), LimitSource::Budget));
}

#[test]
fn a_limit_that_a_scope_does_not_have_is_made_by_an_amount_alone() {
    let mut org = OrgBench::new();
    for (limit, on, setting) in [
        ("budget/daily", "", Setting::Unlimited),
        ("budget/daily", "workspace/a", Setting::Shadow),
        ("account", "workspace/a", Setting::Amount(5)),
        ("budget/daily", "account/k1", Setting::Amount(5)),
        ("balance", "", Setting::Amount(5)),
    ] {
        let set = SetOverride { scope: scope(on), ..to(limit, Some(setting)) };
        assert_eq!(org.try_set_override(set, "r"), Err(OrgError::LimitUnknown), "{limit}");
    }
    org.set_over(SetOverride { scope: scope("workspace/a"), ..amount("budget/bytes/rolling/12h", 5) });
    let bytes = |amount| smallvec![(Meter::parse("meter", "bytes").unwrap(), amount)];
    assert_eq!(org.acquire(Acquire { cost: bytes(6), ..ask_on("workspace/a") }).code(), Code::BudgetExceeded);
    assert_eq!(org.acquire(Acquire { cost: bytes(6), ..ask_on("workspace/b") }).code(), Code::Allowed);
    let lift = SetOverride { scope: scope("workspace/a"), ..to("budget/bytes/rolling/12h", Some(Setting::Unlimited)) };
    assert_eq!(org.try_set_override(lift, "r"), Err(OrgError::LimitUnknown), "there is none without the override");
}

#[test]
fn a_scope_behind_a_pattern_has_the_other_limits_of_its_pattern() {
    let mut org = OrgBench::new();
    let limits = [spend_limit(DAILY, 1), executions_limit(CLOCK_HOUR, 2)];
    org.policy.scope_prefixes.insert("workspace/".to_owned(), limits.into_iter().collect());
    org.set_over(SetOverride { scope: scope("workspace/a"), ..amount("budget/daily", 50) });
    assert_eq!(org.limit_of("workspace/a", "budget/daily").amount, Some(50));
    assert_eq!(org.limit_of("workspace/a", "quota/executions/aligned/1h").amount, Some(2));
    assert_eq!(org.limit_of("workspace/b", "budget/daily").amount, Some(1));
}

#[test]
fn a_denial_under_an_override_names_the_limit_as_before() {
    let mut org = OrgBench::with([spend_limit(DAILY, 100)]);
    org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("budget/daily", 5) });
    let denied = org.acquire(Acquire { cost: spend(6), ..ask() });
    assert!(
        denied.message().starts_with("Budget budget/daily of this org has too little left"),
        "{}",
        denied.message()
    );
}

#[test]
fn an_override_that_somebody_else_changed_is_not_overwritten_and_a_retry_changes_nothing() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    let set = |expected| SetOverride { expected_version: Some(expected), ..amount("budget/daily", 20) };
    assert_eq!(org.try_set_override(set(1), "a"), Err(OrgError::OverrideVersion { current: 0 }));
    let done = org.try_set_override(set(0), "a").unwrap();
    assert_eq!(done.view.now.as_ref().map(|now| now.row.version), Some(1));
    org.restart().after(MINUTE_MS);
    let again = org.try_set_override(set(0), "a").unwrap();
    assert_eq!((again.replayed, again.view.before.is_none()), (true, true), "R-PIPE-6, over a restart");
    assert_eq!(org.try_set_override(set(0), "b"), Err(OrgError::OverrideVersion { current: 1 }));
    assert_eq!(org.try_set_override(amount("budget/daily", 30), "a#2"), Err(OrgError::RequestIdReused));
    assert_eq!(org.limit("budget/daily").amount, Some(20));
    org.set_over(to("budget/daily", None));
    assert_eq!(org.try_set_override(set(1), "c"), Err(OrgError::OverrideVersion { current: 2 }), "its end is a change");
}

#[test]
fn an_end_that_has_passed_or_that_nobody_lives_to_see_is_refused() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    for at in [0, T0 - 1, T0, T0 + 3_651 * DAY_MS] {
        let refused = org.try_set_override(SetOverride { end: Some(End::At(at)), ..amount("budget/daily", 20) }, "r");
        assert!(matches!(refused, Err(OrgError::EndNotThen { given, .. }) if given == at), "{at}: {refused:?}");
    }
    assert_eq!(org.limit("budget/daily").amount, Some(10), "nothing has changed");
    let freeze = Freeze { reason: Reason::parse("reason", "").unwrap(), end: Some(End::At(T0)), idempotency: key("f") };
    assert!(matches!(org.ask(freeze), Err(OrgError::EndNotThen { .. })));
    assert!(!org.ask(Unfreeze { idempotency: key("u") }).unwrap().outcome.was_frozen);
}

#[test]
fn so_many_are_overridden_at_a_time_and_what_has_ended_gives_way() {
    let mut org = OrgBench::new();
    org.bounds.overrides_per_org = 2;
    let set = |name: &str| SetOverride { scope: scope(name), end: FOR_AN_HOUR, ..amount("budget/daily", 5) };
    org.set_over(set("w/1"));
    org.set_over(set("w/2"));
    assert_eq!(org.try_set_override(set("w/3"), "r"), Err(OrgError::TooManyOverrides { most: 2 }));
    org.set_over(set("w/2"));
    org.after(HOUR_MS);
    org.set_over(set("w/3"));
    let rows = org.ask(ListOverrides { ended: true }).unwrap();
    assert_eq!(rows.len(), 2);
    let freeze = Freeze { reason: Reason::parse("reason", "").unwrap(), end: FOR_AN_HOUR, idempotency: key("f") };
    assert!(org.ask(freeze).is_ok(), "one has ended");
}

#[test]
fn another_plan_holds_for_a_while_and_is_ignored_once_it_is_not_configured() {
    let mut org = OrgBench::with([spend_limit(DAILY, 1)]);
    org.policy.plan = "free".to_owned();
    let limits = [spend_limit(DAILY, 9).with_origin(crate::domain::limit::Origin::of(LimitSource::Plan))];
    let sessions = SessionPolicy { max: Some(3), ..SessionPolicy::default() };
    let pro =
        OrgPolicy { plan: "pro".to_owned(), limits: limits.into_iter().collect(), sessions, ..OrgPolicy::default() };
    org.plans.0.insert("pro", Arc::new(pro));
    let plan = |end| SetOverride { rpc: Rpc::SetPlan, end, ..to("plan", Some(Setting::Plan("pro".to_owned()))) };
    let change = org.set_over(plan(FOR_AN_HOUR));
    assert_eq!((change.before.unwrap().plan, change.after.plan), ("free".to_owned(), "pro".to_owned()), "R-CTRL-1");
    assert_eq!(
        (org.limit("budget/daily").amount, org.source("budget/daily")),
        (Some(9), (LimitSource::Plan, Some(T0 + HOUR_MS)))
    );
    org.set_over(amount("budget/daily", 20));
    assert_eq!(org.limit("budget/daily").amount, Some(20), "a limit stands over the plan");
    org.set_over(to("budget/daily", None));
    org.restart().after(HOUR_MS);
    assert_eq!((org.limit("budget/daily").amount, org.snapshot().plan.as_str()), (Some(1), "free"));
    org.set_over(plan(None));
    assert_eq!(org.snapshot().plan, "pro");
    assert!(!org.state.take_news().plan_missing);
    org.plans.0.clear();
    org.reconfigure(|limits| limits[0].amount = Some(2));
    assert_eq!((org.limit("budget/daily").amount, org.snapshot().plan.as_str()), (Some(2), "free"));
    assert!(org.overridden()[0].is_ignored);
    assert!(org.state.take_news().plan_missing, "a warning");
    org.run();
    assert!(!org.state.take_news().plan_missing, "once");
}

#[test]
fn an_exemption_is_set_over_what_is_configured() {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(1);
    org.run();
    assert_eq!(org.run(), Code::RateLimited);
    let exempt = |exempt| SetOverride { rpc: Rpc::SetExemption, ..to("exemption", exempt) };
    let change = org.set_over(SetOverride { end: FOR_AN_HOUR, ..exempt(Some(Setting::Exempt(true))) });
    assert_eq!((change.before.unwrap().exempt, change.after.exempt), (Exemption::Never, Exemption::Always));
    assert_eq!(org.run(), Code::Allowed);
    org.after(HOUR_MS);
    org.run();
    assert_eq!(org.run(), Code::RateLimited);
    org.policy.rate.exempt = Exemption::Always;
    assert_eq!(org.run(), Code::Allowed);
    org.set_over(exempt(Some(Setting::Exempt(false))));
    assert_eq!(org.run(), Code::RateLimited);
    org.set_over(exempt(None));
    assert_eq!(org.run(), Code::Allowed);
}

#[test]
fn a_freeze_ends_by_itself_also_over_a_crash_and_says_when() {
    let mut org = OrgBench::new();
    let freeze =
        |end, call: &str| Freeze { reason: Reason::parse("reason", "audit").unwrap(), end, idempotency: key(call) };
    let done = org.ask(freeze(FOR_AN_HOUR, "a")).unwrap();
    assert_eq!((done.outcome.was_frozen, done.view), (false, Some(T0 + HOUR_MS)), "R-CTRL-1");
    org.flush();
    org.crash().after(HOUR_MS - 1);
    let denied = org.acquire(ask());
    assert_eq!((denied.code(), denied.retry_after()), (Code::Frozen, 1));
    assert!(denied.message().contains("new ones may begin at 2026-06-21T17:00:00Z (in 1 ms)"), "{}", denied.message());
    org.after(1);
    assert_eq!(org.run(), Code::Allowed);
    org.ask(freeze(FOR_AN_HOUR, "b")).unwrap();
    assert_eq!(org.ask(freeze(None, "c")).unwrap().view, None, "until an operator ends it");
    org.after(2 * HOUR_MS);
    assert_eq!((org.run(), org.acquire(ask()).retry_after()), (Code::Frozen, 0));
    org.ask(freeze(FOR_AN_HOUR, "d")).unwrap();
    org.unfreeze("u").unwrap();
    assert_eq!((org.run(), org.overridden().len()), (Code::Allowed, 0));
    org.freeze("e").unwrap();
    org.after(2 * HOUR_MS);
    assert_eq!(org.run(), Code::Frozen, "nothing of the freeze before ends this one");
}

#[test]
fn sessions_and_the_limit_of_an_upstream_account_are_overridden_as_well() {
    let mut org = OrgBench::new();
    org.policy.sessions.max = Some(1);
    org.set_over(amount("sessions", 2));
    let status = org.ask(GetSessionStatus { scopes: Scopes::org(), known: Known::default() }).unwrap();
    assert_eq!(status.max, Some(2));
    let account = NewAccount {
        id: crate::domain::ids::AccountId::parse("account", "k1").unwrap(),
        daily_limit: Some(1),
        safety_buffer: Some(0),
        window: None,
        per_minute: None,
    };
    let pool = crate::domain::ids::PoolId::parse("pool", "relay").unwrap();
    let configure = crate::domain::command::ConfigurePool {
        pool: pool.clone(),
        accounts: vec![account],
        settings: None,
        expected_version: None,
        idempotency: key("p"),
    };
    org.ask(Box::new(configure)).unwrap();
    let pick = |org: &mut OrgBench| org.ask(Pick { pool: pool.clone(), idempotency: None }).unwrap().allowed;
    assert_eq!([pick(&mut org), pick(&mut org)], [true, false]);
    org.set_over(SetOverride { scope: scope("account/k1"), ..amount("account", 3) });
    assert_eq!([pick(&mut org), pick(&mut org), pick(&mut org)], [true, true, false]);
    let view = org.ask(GetPool { id: pool }).unwrap();
    assert_eq!(view.accounts[0].daily_limit, 3);
}

#[test]
fn what_a_plan_includes_is_raised_or_only_watched() {
    let mut org = OrgBench::new();
    org.policy.balance.source = BalanceSource::included(Some(1), crate::domain::window::Calendar::Month, false);
    org.run();
    assert_eq!(org.run(), Code::BalanceExhausted);
    org.set_over(amount("balance", 2));
    assert_eq!([org.run(), org.run()], [Code::Allowed, Code::BalanceExhausted]);
    org.set_over(to("balance", Some(Setting::Shadow)));
    assert_eq!(org.run(), Code::Allowed);
    org.set_over(to("balance", None));
    assert_eq!(org.run(), Code::BalanceExhausted);
}

#[test]
fn an_override_goes_with_a_purge_and_keeps_an_org_that_has_nothing_else() {
    let mut org = OrgBench::new();
    org.set_over(amount("budget/daily", 5));
    org.flush();
    org.after(40 * DAY_MS).sweep();
    assert_eq!(org.restart().overridden().len(), 1);
    org.ask(Purge).unwrap();
    assert!(org.restart().inspect().is_none());
}

#[test]
fn a_clock_that_is_put_right_brings_an_override_back() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.set_over(SetOverride { end: Some(End::After(3 * HOUR_MS)), ..amount("budget/daily", 20) });
    org.after(DAY_MS);
    assert_eq!(org.limit("budget/daily").amount, Some(10), "ended by a clock that is ahead");
    org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("rate", 7) });
    org.repaired(T0 + HOUR_MS);
    assert_eq!(org.limit("budget/daily").amount, Some(20), "it lasts until its end");
    assert_eq!(org.source("rate"), (LimitSource::Override, Some(T0 + 2 * HOUR_MS)), "one from the future begins now");
    org.after(2 * HOUR_MS);
    assert_eq!(org.limit("budget/daily").amount, Some(10));
}

#[test]
fn what_carries_goes_on_by_the_limit_at_the_end_of_each_window() {
    let quota = |amount| Limit { carries: true, ..executions_limit(CLOCK_HOUR, amount) };
    let carried = |raised: bool| {
        let mut org = OrgBench::with([quota(2)]);
        org.record("", executions(7), "r").unwrap();
        if raised {
            org.set_over(SetOverride { end: FOR_AN_HOUR, ..amount("quota/executions/aligned/1h", 6) });
        }
        org.flush();
        org.away(HOUR_MS + MINUTE_MS);
        let first = org.limit("quota/executions/aligned/1h").carried;
        org.after(HOUR_MS);
        (first, org.limit("quota/executions/aligned/1h").carried)
    };
    assert_eq!(carried(false), (5, 3));
    assert_eq!(carried(true), (1, 0), "the first hour had 6");
}
