//! Grants that last until they are spent.

use super::*;
use crate::domain::{
    command::{
        ConfigurePool, End, EndSession, Grant, Heartbeat, Lasts, ListOverrides, NewAccount, NewSession, Refund,
        RefundOf, ResetWindow, RevokeGrant, SetOverride,
    },
    events::Happening,
    ids::{AccountId, Identity, PoolId, SessionId},
    limit::LimitSource,
    policy::{Exemption, SessionPolicy},
    refusal::{NoGrant, OrgError},
    request::Rpc,
    rows::{OverrideRow, OverrideSubject, Setting},
    spending::Spending,
    window::Calendar,
};

const UNTIL_SPENT: Lasts = Lasts::UntilSpent(None);
const CLOCK_DAY: Window = Window::Calendar(Calendar::Day);
const OF_A_DAY: &str = "quota/spend/calendar/day";

fn on(limit: &str, amount: u64) -> Grant {
    Grant {
        scope: Scope::org(),
        limit: OverrideSubject::limit("limit", limit).unwrap(),
        amount,
        lasts: UNTIL_SPENT,
        reason: Reason::parse("reason", "ticket 4711").unwrap(),
        idempotency: key("unnamed"),
    }
}

fn costing(amount: u64) -> Acquire {
    Acquire { cost: spend(amount), ..ask() }
}

impl OrgBench {
    fn grants(&mut self, grant: Grant) -> u64 {
        let idempotency = key(&format!("grant {}", self.next_id));
        self.ask(Box::new(Grant { idempotency, ..grant })).unwrap().outcome.number
    }

    /// The amount in force, what is spent, and what is left.
    fn spending(&mut self, name: &str) -> (u64, u64, u64) {
        let LimitView { amount, spending, .. } = self.limit(name);
        (amount.unwrap(), spending.spent, spending.left())
    }

    fn row(&mut self, number: u64) -> OverrideRow {
        let listed = self.ask(ListOverrides { ended: true }).unwrap();
        listed.into_iter().map(|view| view.row).find(|row| row.subject.grant() == Some(number)).unwrap()
    }

    /// What the row of a grant says is spent, and whether it holds.
    fn spent_of(&mut self, number: u64) -> (u64, bool) {
        let row = self.row(number);
        let Setting::UntilSpent { spent, .. } = row.setting else { panic!("{row:?}") };
        (spent, row.is_in_force())
    }

    fn grants_ended(&mut self) -> Vec<String> {
        self.state.take_news().overrides_ended.iter().map(|row| row.subject.as_str().to_owned()).collect()
    }

    fn gives_back(&mut self, usage: Amounts) {
        let of = RefundOf::Usage { scopes: Scopes::org(), amounts: usage, at: None };
        let idempotency = key(&format!("refund {}", self.next_id));
        self.ask(Box::new(Refund { of, idempotency })).unwrap();
    }

    fn costs(&mut self, amount: u64) -> Code {
        self.acquire(costing(amount)).code()
    }
}

#[test]
fn usage_over_the_limit_spends_a_grant_over_as_many_windows_as_it_takes() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 50)]);
    assert_eq!(org.costs(45), Code::Allowed);
    let number = org.grants(on(OF_A_DAY, 20));
    assert_eq!(org.spending(OF_A_DAY), (70, 0, 20), "R-CTRL-7");
    assert_eq!(org.costs(8), Code::Allowed);
    assert_eq!((org.spending(OF_A_DAY), org.spent_of(number)), ((70, 3, 17), (3, true)));
    org.gives_back(spend(1));
    assert_eq!(org.spending(OF_A_DAY), (70, 2, 18), "a refund gives it back");
    org.crash();
    assert_eq!(org.spending(OF_A_DAY), (50, 0, 0), "nothing of it was on the disk");
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 50)]);
    org.record("", spend(45), "used").unwrap();
    let number = org.grants(on(OF_A_DAY, 20));
    org.record("", spend(7), "over").unwrap();
    org.restart().after(DAY_MS);
    assert_eq!(org.spending(OF_A_DAY), (68, 2, 18), "the next day: what was spent stays spent");
    assert_eq!(org.costs(60), Code::Allowed);
    assert_eq!(org.spending(OF_A_DAY), (68, 12, 8));
    org.restart();
    assert_eq!((org.costs(9), org.costs(8)), (Code::QuotaExceeded, Code::Allowed));
    assert_eq!(org.spent_of(number), (20, false), "it ends once it is spent");
    assert_eq!(org.costs(1), Code::QuotaExceeded);
    assert_eq!(org.limit(OF_A_DAY).amount, Some(50));
    assert_eq!(org.grants_ended(), ["grant/1/quota/spend/calendar/day"]);
    org.restart().sweep();
    assert!(org.grants_ended().is_empty(), "announced once, also over a restart");
    let events = org.events();
    let ended = events.iter().filter(|event| matches!(event.what, Happening::OverrideEnded(_)));
    assert_eq!(ended.count(), 1);
    assert_eq!(org.row(number).ended_at, Some(org.now));
    org.gives_back(spend(10));
    assert_eq!(org.spent_of(number), (20, false), "what has ended stays spent");
}

#[test]
fn what_was_over_before_the_grant_is_not_paid_of_it() {
    let mut org = OrgBench::with([spend_limit(DAILY, 50)]);
    org.record("", spend(80), "over").unwrap();
    assert_eq!(org.costs(1), Code::BudgetExceeded);
    org.grants(on("budget/daily", 20));
    assert_eq!(org.spending("budget/daily"), (100, 0, 20));
    assert_eq!(
        (org.costs(21), org.costs(20), org.costs(1)),
        (Code::BudgetExceeded, Code::Allowed, Code::BudgetExceeded)
    );
}

#[test]
fn below_its_limit_a_call_writes_nothing_more() {
    let mut org = OrgBench::with([spend_limit(DAILY, 50)]);
    org.grants(on("budget/daily", 20));
    org.flush();
    let rows = |org: &mut OrgBench| {
        let write = org.flush().unwrap();
        write.puts.iter().filter(|row| matches!(row, Row::Override(_))).count()
    };
    org.costs(50);
    assert_eq!(rows(&mut org), 0);
    org.costs(1);
    assert_eq!(rows(&mut org), 1, "in the commit of the charge");
    org.costs(1);
    org.costs(1);
    assert_eq!(rows(&mut org), 1);
}

#[test]
fn a_reservation_spends_and_gives_back_what_it_did_not_use() {
    for way in ["release", "expire", "less", "whole"] {
        let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 50)]);
        org.record("", spend(45), "used").unwrap();
        let number = org.grants(on(OF_A_DAY, 20));
        let held = org.acquire(Acquire { reserve: spend(25), cost: Amounts::new(), ..ask() }).hold.unwrap().id;
        assert_eq!(org.spent_of(number), (20, true), "{way}: all of it is held, and may come back");
        assert_eq!(org.costs(1), Code::QuotaExceeded, "{way}");
        let fits = org.acquire(costing(10)).retry_after();
        assert_eq!(fits, 5 * MINUTE_MS, "{way}: when the reservation ends");
        let left = match way {
            "release" => org.release(held, "r").map(|_| 20),
            "expire" => {
                org.after(5 * MINUTE_MS).sweep();
                Ok(20)
            }
            "less" => org.commit(held, spend(10), "c").map(|_| 15),
            _ => org.commit(held, spend(25), "c").map(|_| 0),
        };
        let left = left.unwrap();
        assert_eq!(org.spent_of(number), (20 - left, left > 0), "{way}");
        assert_eq!(org.restart().spending(OF_A_DAY).2, left, "{way}");
    }
}

#[test]
fn a_commit_of_what_was_reserved_before_the_grant_spends_nothing() {
    let mut org = OrgBench::with([spend_limit(DAILY, 50)]);
    let held = org.acquire(Acquire { reserve: spend(50), cost: Amounts::new(), ..ask() }).hold.unwrap().id;
    org.record("", spend(10), "over").unwrap();
    let number = org.grants(on("budget/daily", 20));
    let done = org.settle(held, spend(50), "c").unwrap();
    assert_eq!(org.spent_of(number), (0, true), "as much is taken as before");
    assert_eq!(done.view.limits.iter().find(|view| view.name() == "budget/daily").unwrap().amount, Some(80));
}

#[test]
fn several_are_spent_in_their_order_and_those_with_a_time_before_them() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 50)]);
    let (first, second) = (org.grants(on(OF_A_DAY, 5)), org.grants(on(OF_A_DAY, 10)));
    let timed = org.grants(Grant { lasts: Lasts::To(End::After(HOUR_MS)), ..on(OF_A_DAY, 7) });
    assert_eq!(timed, 3);
    assert_eq!(org.spending(OF_A_DAY), (72, 0, 15));
    org.record("", spend(57), "r1").unwrap();
    assert_eq!((org.spent_of(first), org.spent_of(second)), ((0, true), (0, true)), "the one that perishes first");
    org.record("", spend(8), "r2").unwrap();
    assert_eq!((org.spent_of(first), org.spent_of(second)), ((5, false), (3, true)));
    org.gives_back(spend(2));
    assert_eq!((org.spent_of(first), org.spent_of(second)), ((5, false), (1, true)));
    org.after(HOUR_MS);
    assert_eq!(
        org.spending(OF_A_DAY),
        (72, 1, 9),
        "what the end of the other leaves over the limit is not spent again"
    );
    org.ask(Box::new(RevokeGrant {
        number: second,
        reason: Reason::parse("reason", "").unwrap(),
        idempotency: key("v"),
    }))
    .unwrap();
    assert_eq!((org.spent_of(second), org.limit(OF_A_DAY).amount), ((1, false), Some(50)));
}

#[test]
fn an_end_in_time_bounds_it_and_both_are_told() {
    let mut org = OrgBench::with([spend_limit(DAILY, 50)]);
    let number = org.grants(Grant { lasts: Lasts::UntilSpent(Some(End::After(HOUR_MS))), ..on("budget/daily", 20) });
    org.record("", spend(55), "over").unwrap();
    assert_eq!(org.row(number).until, Some(T0 + HOUR_MS));
    org.restart().after(HOUR_MS).sweep();
    assert_eq!((org.spent_of(number), org.grants_ended().len()), ((5, false), 1));
    let past = Lasts::UntilSpent(Some(End::At(T0)));
    let refused = org.ask(Box::new(Grant { lasts: past, idempotency: key("p"), ..on("budget/daily", 1) }));
    assert!(matches!(refused, Err(OrgError::EndNotThen { .. })), "{refused:?}");
}

#[test]
fn time_spends_nothing_and_gives_nothing_back() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 50)]);
    org.record("", spend(30), "r1").unwrap();
    let number = org.grants(on("budget/hourly", 20));
    org.after(30 * MINUTE_MS).record("", spend(30), "r2").unwrap();
    assert_eq!((org.spent_of(number), org.spending("budget/hourly")), ((10, true), (70, 10, 10)));
    org.after(31 * MINUTE_MS);
    assert_eq!(org.spending("budget/hourly"), (60, 10, 10), "what was used an hour ago has left the window");
    org.after(30 * MINUTE_MS);
    assert_eq!(org.spending("budget/hourly"), (60, 10, 10));
    assert_eq!((org.costs(60), org.spent_of(number)), (Code::Allowed, (20, false)));
}

#[test]
fn a_reset_and_another_amount_give_nothing_back() {
    let mut org = OrgBench::with([spend_limit(DAILY, 50)]);
    org.record("", spend(45), "r1").unwrap();
    let number = org.grants(on("budget/daily", 20));
    org.record("", spend(10), "r2").unwrap();
    let limit = OverrideSubject::limit("limit", "budget/daily").unwrap();
    let reason = Reason::parse("reason", "").unwrap();
    let reset =
        ResetWindow { scope: Scope::org(), limit: limit.clone(), reason: reason.clone(), idempotency: key("reset") };
    let after = org.ask(Box::new(reset)).unwrap().view.after.unwrap();
    assert_eq!((after.used, after.amount, after.spending.spent), (0, Some(65), 5));
    assert_eq!(org.spending("budget/daily"), (65, 5, 15));
    org.gives_back(spend(3));
    assert_eq!((org.used("budget/daily"), org.spent_of(number)), (0, (5, true)), "what was left out makes no room");
    org.record("", spend(30), "r3").unwrap();
    let set = |amount, call| SetOverride {
        rpc: Rpc::SetOverride,
        scope: Scope::org(),
        subject: limit.clone(),
        setting: Some(Setting::Amount(amount)),
        end: None,
        expected_version: None,
        reason: reason.clone(),
        idempotency: key(call),
    };
    org.ask(Box::new(set(10, "lower"))).unwrap();
    assert_eq!(org.spending("budget/daily"), (45, 5, 15), "20 are over the new limit, and nobody has spent them");
    org.ask(Box::new(set(100, "higher"))).unwrap();
    assert_eq!(org.spending("budget/daily"), (115, 5, 15));
    assert_eq!(org.limit("budget/daily").label.origin.source, LimitSource::Override);
    assert_eq!((org.costs(85), org.spent_of(number)), (Code::Allowed, (20, false)));
}

#[test]
fn the_backstop_spends_its_grant_by_calls() {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(2);
    let number = org.grants(on("rate", 3));
    assert_eq!(org.spending("rate"), (5, 0, 3));
    for _ in 0..4 {
        assert_eq!(org.run(), Code::Allowed);
    }
    assert_eq!((org.spending("rate"), org.spent_of(number)), ((5, 2, 1), (2, true)));
    org.restart().after(HOUR_MS);
    assert_eq!(org.spending("rate"), (3, 2, 1), "the next window");
    assert_eq!(
        [org.run(), org.run(), org.run(), org.run()].map(|code| code == Code::Allowed),
        [true, true, true, false]
    );
    assert_eq!((org.spent_of(number), org.limit("rate").amount), ((3, false), Some(2)));
    org.policy.rate.exempt = Exemption::Always;
    let spared = org.grants(on("rate", 3));
    org.run();
    assert_eq!(org.spent_of(spared), (0, true), "an org that is spared spends none");
    let ask = Box::new(ResetWindow {
        scope: Scope::org(),
        limit: OverrideSubject::rate(),
        reason: Reason::parse("reason", "").unwrap(),
        idempotency: key("reset"),
    });
    org.policy.rate.exempt = Exemption::Never;
    org.run();
    let before = org.spent_of(spared).0;
    org.ask(ask).unwrap();
    assert_eq!((org.spent_of(spared).0, org.used("rate")), (before, 0));
}

#[test]
fn sessions_spend_a_grant_of_compute_as_they_go() {
    let (session, identity) =
        (SessionId::parse("session_id", "a").unwrap(), Identity::parse("identity", "vm").unwrap());
    let life = || Incarnation::parse("incarnation", "boot").unwrap();
    let month = Window::Calendar(Calendar::Month);
    let mut org = OrgBench::with([Limit::new(Meter::compute(), month, Some(100_000))]);
    org.policy.sessions.clamp = DAY_MS;
    let number = org.grants(on("quota/compute", 200_000));
    let new = NewSession { id: session.clone(), identity: identity.clone() };
    let start = Acquire { run: Run::Session(new), idempotency: Some(key("s")), cost: Amounts::new(), ..ask() };
    assert_eq!(org.acquire(start).session.unwrap().slice, 180_000, "the first slice is of both");
    assert_eq!(org.spent_of(number), (80_000, true));
    for (total, spent) in [(100_000, 80_000), (180_000, 80_000), (250_000, 150_000)] {
        let (session, identity) = (session.clone(), identity.clone());
        let beat = Heartbeat { session, identity, incarnation: life(), total, idempotency: None };
        org.ask(Box::new(beat)).unwrap();
        assert_eq!(org.spent_of(number), (spent, true), "{total}");
    }
    let status = *org.ask(GetSessionStatus { scopes: Scopes::org(), known: Known::default() }).unwrap();
    assert_eq!((status.quota.used, status.quota.amount), (250_000, Some(300_000)));
    let last = Some((life(), 300_000));
    org.ask(Box::new(EndSession { session, identity, last, idempotency: key("end") })).unwrap();
    assert_eq!((org.spent_of(number), org.limit("quota/compute").amount), ((200_000, false), Some(100_000)));
}

#[test]
fn a_silent_session_spends_what_its_slice_had_paid() {
    let mut org = OrgBench::with([Limit::new(Meter::compute(), Window::Calendar(Calendar::Month), Some(100_000))]);
    let number = org.grants(on("quota/compute", 200_000));
    let new = NewSession {
        id: SessionId::parse("session_id", "a").unwrap(),
        identity: Identity::parse("identity", "vm").unwrap(),
    };
    org.acquire(Acquire { run: Run::Session(new), idempotency: Some(key("s")), cost: Amounts::new(), ..ask() });
    org.flush();
    org.restart().after(HOUR_MS).sweep();
    assert_eq!(org.limit("quota/compute").used, 120_000);
    assert_eq!(org.spent_of(number), (20_000, true));
}

#[test]
fn upstream_accounts_scopes_and_late_usage_spend_as_well() {
    let mut org = OrgBench::new().and_scope("workspace/a", [spend_limit(DAILY, 50)]);
    let id = AccountId::parse("account", "k1").unwrap();
    let account = NewAccount { id, daily_limit: Some(2), safety_buffer: Some(0), window: None, per_minute: None };
    let pool = PoolId::parse("pool", "relay").unwrap();
    let configure = ConfigurePool {
        pool: pool.clone(),
        accounts: vec![account],
        settings: None,
        expected_version: None,
        idempotency: key("p"),
    };
    org.ask(Box::new(configure)).unwrap();
    let number = org.grants(Grant { scope: scope("account/k1"), ..on("account", 3) });
    let picked = |org: &mut OrgBench| {
        let idempotency = Some(key(&format!("pick {}", org.next_id)));
        org.ask(Pick { pool: pool.clone(), idempotency }).unwrap().account.map(|account| account.remaining)
    };
    let left: Vec<_> = (0..6).map(|_| picked(&mut org)).collect();
    assert_eq!(left, [Some(4), Some(3), Some(2), Some(1), Some(0), None]);
    assert_eq!(org.spent_of(number), (3, false));
    let number = org.grants(Grant { scope: scope("workspace/a"), ..on("budget/daily", 20) });
    org.after(2 * HOUR_MS);
    let occurred_at = Some(org.now - HOUR_MS);
    let late = Record {
        scopes: scope("workspace/a").into(),
        usage: spend(55),
        decision: None,
        occurred_at,
        idempotency: key("late"),
    };
    org.ask(late).unwrap();
    assert_eq!(org.spent_of(number), (5, true));
    assert_eq!(org.limit_of("workspace/a", "budget/daily").spending, Spending { granted: 20, spent: 5, over: 5 });
}

#[test]
fn what_a_buffer_holds_back_is_no_part_of_the_limit() {
    let mut org = OrgBench::with([Limit { buffer: 10, ..spend_limit(DAILY, 50) }]);
    org.record("", spend(38), "used").unwrap();
    let number = org.grants(on("budget/daily", 20));
    assert_eq!((org.costs(23), org.costs(22)), (Code::BudgetExceeded, Code::Allowed));
    assert_eq!(org.spent_of(number), (20, false), "all of it can be used");
    assert_eq!(org.costs(1), Code::BudgetExceeded);
}

#[test]
fn what_cannot_be_spent_is_refused_by_what_it_is() {
    let carries = Limit { carries: true, ..executions_limit(CLOCK_HOUR, 5) };
    let mut org = OrgBench::with([carries, Limit { shadow: true, ..spend_limit(DAILY, 5) }]);
    org.policy.sessions = SessionPolicy { max: Some(3), ..SessionPolicy::default() };
    org.policy.scope_prefixes.insert("agent/".into(), vec![executions_limit(CLOCK_HOUR, 2)].into());
    org.bounds.ledgers_per_org = 1;
    for name in ["agent/1", "agent/2", "agent/3"] {
        org.acquire(ask_on(name));
    }
    for (grant, why) in [
        (on("sessions", 5), NoGrant::Concurrent),
        (on("quota/executions/aligned/1h", 5), NoGrant::Carries),
        (on("budget/daily", 5), NoGrant::Shadow),
        (Grant { scope: scope("agent/3"), ..on("quota/executions/aligned/1h", 5) }, NoGrant::Shared),
    ] {
        let refused = org.ask(Box::new(Grant { idempotency: key("r"), ..grant.clone() }));
        assert_eq!(refused, Err(OrgError::NoGrant(why)), "{grant:?}");
    }
    org.grants(Grant { scope: scope("agent/1"), ..on("quota/executions/aligned/1h", 5) });
    org.change_limits(|limits| limits[0].carries = false);
    let number = org.grants(on("quota/executions/aligned/1h", 5));
    org.change_limits(|limits| limits[0].carries = true);
    for _ in 0..3 {
        org.acquire(ask());
    }
    let listed = org.ask(ListOverrides { ended: false }).unwrap();
    let view = listed.iter().find(|view| view.row.subject.grant() == Some(number)).unwrap();
    assert!(view.is_ignored, "a limit that carries by now spends none");
}
