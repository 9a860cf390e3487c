//! What an operator grants on top of limits, for a while.

use super::*;
use crate::domain::{
    command::{ConfigurePool, End, Grant, Lasts, ListOverrides, NewAccount, RevokeGrant, SetOverride},
    ids::{AccountId, PoolId},
    limit::LimitSource,
    outcome::Granted,
    policy::{BalanceSource, SessionPolicy},
    refusal::{NoGrant, OrgError},
    reply::OverrideChange,
    request::Rpc,
    rows::{OverrideSubject, Setting},
};

const FOR_AN_HOUR: Lasts = Lasts::To(End::After(HOUR_MS));

fn on(limit: &str, amount: u64) -> Grant {
    Grant {
        scope: Scope::org(),
        limit: OverrideSubject::limit("limit", limit).unwrap(),
        amount,
        lasts: FOR_AN_HOUR,
        reason: Reason::parse("reason", "ticket 4711").unwrap(),
        idempotency: key("unnamed"),
    }
}

impl OrgBench {
    fn try_grant(&mut self, grant: Grant, call: &str) -> Result<Shown<Granted, Box<OverrideChange>>, OrgError> {
        self.ask(Box::new(Grant { idempotency: key(call), ..grant }))
    }

    /// Answers the number.
    fn grant(&mut self, grant: Grant) -> u64 {
        let call = format!("grant {}", self.next_id);
        let done = self.try_grant(grant, &call).unwrap();
        assert!(!done.replayed);
        done.outcome.number
    }

    fn revoke(&mut self, number: u64, call: &str) -> Result<bool, OrgError> {
        let reason = Reason::parse("reason", "").unwrap();
        self.ask(Box::new(RevokeGrant { number, reason, idempotency: key(call) })).map(|done| done.replayed)
    }

    /// Amount, what of it is granted, and when the next grant ends.
    fn granted(&mut self, name: &str) -> (Option<u64>, u64, Option<Millis>) {
        let view = self.limit(name);
        (view.amount, view.label.origin.granted, view.label.origin.granted_until)
    }

    fn used_up(limits: impl IntoIterator<Item = Limit>, used: Amounts) -> Self {
        let mut org = Self::with(limits);
        org.record("", used, "used up").unwrap();
        org
    }
}

#[test]
fn a_grant_lets_the_next_call_pass_and_ends_by_itself_after_its_hour() {
    let mut org = OrgBench::used_up([spend_limit(DAILY, 10)], spend(10));
    assert_eq!(org.run(), Code::BudgetExceeded);
    let change = org.try_grant(on("budget/daily", 5), "g").unwrap().view;
    let before = change.before.unwrap().limit.unwrap();
    let after = change.after.limit.unwrap();
    assert_eq!((before.amount, after.amount, after.remaining()), (Some(10), Some(15), Some(5)), "R-CTRL-5: old → new");
    assert_eq!(org.run(), Code::Allowed, "R-PIPE-11: the next call");
    assert_eq!(org.granted("budget/daily"), (Some(15), 5, Some(T0 + HOUR_MS)));
    assert_eq!(org.limit("budget/daily").label.origin.source, LimitSource::Default, "below it is what was there");
    org.restart().after(HOUR_MS - 1);
    assert_eq!(org.run(), Code::Allowed, "over a restart");
    org.crash().after(1);
    assert_eq!(org.run(), Code::BudgetExceeded, "R-CTRL-5: it ends by itself");
    assert_eq!(org.granted("budget/daily"), (Some(10), 0, None));
}

#[test]
fn the_timer_wakes_the_org_for_the_end_which_is_announced_once() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.grant(on("budget/daily", 5));
    org.flush();
    assert_eq!(org.snapshot().wake_at, Some(T0 + HOUR_MS), "R-CTRL-5: a stored timer");
    org.restart().after(HOUR_MS);
    org.sweep();
    let ended = org.state.take_news().overrides_ended;
    assert_eq!(ended.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>(), ["grant/1/budget/daily"]);
    org.restart();
    org.sweep();
    assert!(org.state.take_news().overrides_ended.is_empty(), "announced once, also over a restart");
}

#[test]
fn a_grant_stands_on_what_is_in_force_and_several_add_up() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    assert_eq!(org.grant(on("budget/daily", 5)), 1);
    let later = Lasts::To(End::After(2 * HOUR_MS));
    assert_eq!(org.grant(Grant { lasts: later, ..on("budget/daily", 3) }), 2);
    assert_eq!(org.granted("budget/daily"), (Some(18), 8, Some(T0 + HOUR_MS)));
    let over = |setting, call| SetOverride {
        rpc: Rpc::SetOverride,
        scope: Scope::org(),
        subject: OverrideSubject::limit("limit", "budget/daily").unwrap(),
        setting,
        end: None,
        expected_version: None,
        reason: Reason::parse("reason", "").unwrap(),
        idempotency: key(call),
    };
    org.ask(Box::new(over(Some(Setting::Amount(20)), "over"))).unwrap();
    assert_eq!(org.granted("budget/daily"), (Some(28), 8, Some(T0 + HOUR_MS)), "over the override");
    org.ask(Box::new(over(Some(Setting::Unlimited), "lift"))).unwrap();
    assert_eq!(org.granted("budget/daily"), (None, 0, None), "nothing is added to what has no amount");
    let listed = org.ask(ListOverrides { ended: false }).unwrap();
    let ignored: Vec<_> = listed.iter().map(|view| (view.row.subject.as_str(), view.is_ignored)).collect();
    assert_eq!(
        ignored,
        [("budget/daily", false), ("grant/1/budget/daily", true), ("grant/2/budget/daily", true)],
        "and that is said"
    );
    org.ask(Box::new(over(None, "clear"))).unwrap();
    org.after(HOUR_MS);
    assert_eq!(org.granted("budget/daily"), (Some(13), 3, Some(T0 + 2 * HOUR_MS)), "the other one goes on");
}

#[test]
fn every_kind_of_limit_has_grants_which_hold_for_its_window() {
    let bytes = Meter::parse("meter", "bytes").unwrap();
    let month = Window::parse("calendar/month").unwrap();
    let day_of_use = Window::parse("anchored/1d").unwrap();
    let limits = [
        executions_limit(CLOCK_HOUR, 1),
        spend_limit(DAILY, 1),
        Limit::new(Meter::compute(), month, Some(60)),
        Limit::new(bytes, day_of_use, Some(7)),
    ];
    let month_end = month.end(month.start(T0)).unwrap();
    for (name, amount, ends) in [
        ("rate", 1000, (T0 / HOUR_MS + 1) * HOUR_MS),
        ("quota/executions/aligned/1h", 1, (T0 / HOUR_MS + 1) * HOUR_MS),
        ("budget/daily", 1, T0 + DAY_MS),
        ("quota/compute", 60, month_end),
        ("quota/bytes/anchored/1d", 7, T0 + DAY_MS),
    ] {
        let mut org = OrgBench::with(limits.clone());
        org.policy.rate.amount = Some(1000);
        org.grant(Grant { lasts: Lasts::Window, ..on(name, 5) });
        assert_eq!(org.granted(name), (Some(amount + 5), 5, Some(ends)), "{name}");
        org.at(ends);
        assert_eq!(org.granted(name), (Some(amount), 0, None), "{name}: it ends with the window");
    }
}

#[test]
fn sessions_a_balance_scopes_and_upstream_accounts_have_grants() {
    let sessions = SessionPolicy { max: Some(3), ..SessionPolicy::default() };
    let mut org = OrgBench::new().and_scope("workspace/a", [spend_limit(HOURLY, 1)]);
    org.policy.sessions = sessions;
    let included = Limit::named(BalanceSource::LIMIT, Meter::executions(), CLOCK_HOUR, Some(1));
    org.policy.balance.source = BalanceSource::Included { limit: included, overage: false };
    let id = AccountId::parse("account", "k1").unwrap();
    let account = NewAccount { id, daily_limit: Some(2), safety_buffer: Some(0), window: None, per_minute: None };
    let configure = ConfigurePool {
        pool: PoolId::parse("pool", "relay").unwrap(),
        accounts: vec![account],
        settings: None,
        expected_version: None,
        idempotency: key("p"),
    };
    org.ask(Box::new(configure)).unwrap();
    let amount = |org: &mut OrgBench, scope_name: &str, name: &str| {
        let ask = Acquire { explain: true, mode: Mode::CheckOnly, ..ask_on(scope_name) };
        let views = org.acquire(ask).limits;
        let view = views.iter().find(|view| view.name() == name).unwrap_or_else(|| panic!("no {name}"));
        (view.amount, view.label.origin.granted)
    };
    for (scope_name, name, base) in
        [("", "sessions", 3), ("", "balance", 1), ("workspace/a", "budget/hourly", 1), ("account/k1", "account", 2)]
    {
        assert_eq!(amount(&mut org, scope_name, name), (Some(base), 0), "{name}");
        let number = org.grant(Grant { scope: scope(scope_name), ..on(name, 4) });
        assert_eq!(amount(&mut org, scope_name, name), (Some(base + 4), 4), "{name}");
        org.revoke(number, &format!("revoke {name}")).unwrap();
        assert_eq!(amount(&mut org, scope_name, name), (Some(base), 0), "{name}");
    }
}

#[test]
fn what_there_is_nothing_to_add_to_is_refused_by_what_it_is() {
    let unlimited = Limit { amount: None, ..spend_limit(DAILY, 1) };
    let shadow = Limit { shadow: true, ..spend_limit(HOURLY, 1) };
    let mut org = OrgBench::with([unlimited, shadow, executions_limit(CLOCK_HOUR, 1)]);
    org.policy.rate.amount = None;
    org.policy.sessions.max = Some(1);
    let past = Lasts::To(End::At(T0));
    for (grant, refused) in [
        (on("budget/daily", 5), OrgError::NoGrant(NoGrant::Unlimited)),
        (on("rate", 5), OrgError::NoGrant(NoGrant::Unlimited)),
        (on("budget/hourly", 5), OrgError::NoGrant(NoGrant::Shadow)),
        (on("budget/weekly", 5), OrgError::NoGrant(NoGrant::NoLimit)),
        (on("balance", 5), OrgError::NoGrant(NoGrant::NoLimit)),
        (Grant { lasts: Lasts::Window, ..on("sessions", 5) }, OrgError::NoGrant(NoGrant::NoWindow)),
    ] {
        assert_eq!(org.try_grant(grant.clone(), "r"), Err(refused), "{grant:?}");
    }
    let ended = org.try_grant(Grant { lasts: past, ..on("quota/executions/aligned/1h", 5) }, "r");
    assert!(matches!(ended, Err(OrgError::EndNotThen { .. })), "{ended:?}");
    assert_eq!(org.revoke(1, "v"), Err(OrgError::GrantUnknown));
    assert!(org.ask(ListOverrides { ended: true }).unwrap().is_empty(), "what is refused changes nothing");
}

#[test]
fn a_retry_grants_once_and_revokes_once_also_after_a_restart() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    let number = org.try_grant(on("budget/daily", 5), "g").unwrap().outcome.number;
    org.restart();
    let again = org.try_grant(on("budget/daily", 5), "g").unwrap();
    assert_eq!((again.replayed, again.outcome.number, again.view.before), (true, number, None), "R-PIPE-6");
    assert_eq!(org.granted("budget/daily").1, 5, "once");
    assert_eq!(org.revoke(number, "v"), Ok(false));
    let other = org.grant(on("budget/daily", 7));
    org.restart();
    assert_eq!(org.revoke(number, "v"), Ok(true));
    assert_eq!(org.revoke(number, "v2"), Ok(false), "what has ended stays as it is");
    assert_eq!((org.granted("budget/daily").1, other), (7, number + 1));
}

#[test]
fn grants_are_bounded_with_overrides_and_what_has_ended_gives_way_but_no_number_comes_back() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.bounds.overrides_per_org = 2;
    org.grant(on("budget/daily", 1));
    org.grant(on("budget/daily", 1));
    assert_eq!(org.try_grant(on("budget/daily", 1), "r"), Err(OrgError::TooManyOverrides { most: 2 }));
    org.revoke(2, "v2").unwrap();
    org.after(1);
    org.revoke(1, "v1").unwrap();
    assert_eq!(org.grant(on("budget/daily", 1)), 3);
    let numbers = |org: &mut OrgBench| {
        let listed = org.ask(ListOverrides { ended: true }).unwrap();
        listed.iter().filter_map(|view| view.row.subject.grant()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut org), [1, 3], "the one that ended first gives way");
    org.restart();
    assert_eq!(numbers(&mut org), [1, 3]);
}

#[test]
fn no_number_comes_back_where_an_override_takes_the_room_of_the_last_grant() {
    let mut org = OrgBench::with([spend_limit(DAILY, 10)]);
    org.bounds.overrides_per_org = 1;
    assert_eq!(org.grant(on("budget/daily", 1)), 1);
    org.revoke(1, "v").unwrap();
    for (setting, call) in [(Some(Setting::Amount(5)), "set"), (None, "clear")] {
        org.after(1);
        org.ask(Box::new(SetOverride {
            rpc: Rpc::SetOverride,
            scope: Scope::org(),
            subject: OverrideSubject::rate(),
            setting,
            end: None,
            expected_version: None,
            reason: Reason::parse("reason", "").unwrap(),
            idempotency: key(call),
        }))
        .unwrap();
    }
    assert_eq!(org.restart().grant(on("budget/daily", 1)), 2, "R-CTRL-5");
    assert_eq!(org.try_grant(on("budget/daily", 1), "r"), Err(OrgError::TooManyOverrides { most: 1 }));
}
