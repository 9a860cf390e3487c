//! Scopes for which an org has no ledgers left: what they share, and by what their limits are judged.

use super::*;
use crate::domain::{
    command::{EndSession, GetStatus, Grant, Heartbeat, Lasts, ListReservations, SetOverride},
    gate::Gate,
    ids::{Identity, SessionId},
    policy::OnIndeterminate,
    reply::LedgerView,
    request::Rpc,
    rows::{OverrideSubject, Setting},
    window::HOUR_RETENTION_MS,
};

/// Ten executions an hour, and room for two ledgers that nothing limits.
fn crowded() -> OrgBench {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 10)]);
    org.bounds.ledgers_per_org = 2;
    for name in KNOWN {
        assert_eq!(org.acquire(naming(&[name])).folded, Scopes::org());
    }
    org
}

/// Those that found room.
const KNOWN: [&str; 2] = ["known/1", "known/2"];
const OF_KNOWN: [(&str, u64, u64); 2] = [("known/1 executions", 1, 0), ("known/2 executions", 1, 0)];

/// The same with two executions an hour for each agent; agents have room for two ledgers.
fn with_agents() -> OrgBench {
    let mut org = OrgBench::new();
    org.bounds.ledgers_per_org = 1;
    org.policy.scope_prefixes.insert("agent/".into(), vec![executions_limit(CLOCK_HOUR, 2)].into());
    for name in ["agent/1", "agent/2"] {
        assert_eq!(org.acquire(naming(&[name])).folded, Scopes::org());
    }
    org
}

fn naming(names: &[&str]) -> Acquire {
    Acquire { scopes: names.iter().map(|name| scope(name)).collect(), ..ask() }
}

/// Scope, meter, what is used and what is held.
fn ledgers(org: &mut OrgBench) -> Vec<(String, u64, u64)> {
    let total = |view: &LedgerView| view.hours.iter().map(|hour| hour.total).sum();
    let views = org.snapshot().ledgers;
    let text = |view: &LedgerView| format!("{} {}", view.scope.as_str(), view.meter);
    views.iter().map(|view| (text(view), total(view), view.reserved)).collect()
}

fn holds(org: &mut OrgBench, expected: &[(&str, u64, u64)]) {
    let expected: Vec<_> = expected.iter().map(|(name, used, held)| ((*name).to_owned(), *used, *held)).collect();
    assert_eq!(ledgers(org), expected);
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drifted, 0);
}

#[test]
fn scopes_past_the_ledgers_of_an_org_share_one_and_the_limits_of_the_org_decide() {
    let mut org = crowded();
    for number in 0..5 {
        let name = format!("workspace/{number}");
        let admitted = org.acquire(naming(&[&name, "known/1"]));
        assert_eq!((admitted.code(), admitted.folded), (Code::Allowed, scope(&name).into()));
    }
    let known = [("known/1 executions", 6, 0), ("known/2 executions", 1, 0)];
    holds(&mut org, &[&[(" executions", 7, 0)], &known[..], &[("other executions", 5, 0)]].concat());
    for _ in 0..3 {
        assert!(org.acquire(naming(&["workspace/a", "workspace/b"])).allowed, "both at once count once");
    }
    let denied = org.acquire(naming(&["workspace/9"]));
    assert_eq!((denied.code(), denied.folded), (Code::QuotaExceeded, scope("workspace/9").into()));
    let news = org.state.take_news();
    assert_eq!((news.folded, news.folds), (8, true));
    org.policy.limits = Limits::default();
    assert!(org.acquire(naming(&["workspace/9"])).allowed);
    assert!(org.restart().acquire(naming(&["workspace/9"])).allowed);
    assert!(!org.state.take_news().folds, "said once, also over a restart");
}

#[test]
fn what_finds_room_is_found_for_each_meter() {
    let mut org = crowded().and_scope("workspace/spends", [spend_limit(HOURLY, 5)]);
    let cost = || both(executions(1), spend(3));
    let admitted = org.acquire(Acquire { cost: cost(), ..naming(&["workspace/spends"]) });
    assert_eq!(admitted.folded, scope("workspace/spends").into());
    let of_org = [(" executions", 3, 0), (" spend", 3, 0)];
    let of_scope = [("other executions", 1, 0), ("workspace/spends spend", 3, 0)];
    holds(&mut org, &[&of_org[..], &OF_KNOWN, &of_scope].concat());
    let denied = org.acquire(Acquire { cost: cost(), ..naming(&["workspace/spends"]) });
    assert_eq!(denied.code(), Code::BudgetExceeded, "a limit that names its scope always has its ledger");
}

#[test]
fn scopes_that_a_pattern_limits_have_as_much_room_again_and_then_share_its_limits() {
    let mut org = with_agents();
    assert!(org.acquire(naming(&["agent/1"])).allowed, "each has two");
    assert_eq!(org.acquire(naming(&["agent/3"])).folded, scope("agent/3").into());
    assert_eq!(org.acquire(naming(&["agent/4"])).folded, scope("agent/4").into());
    for name in ["agent/3", "agent/5"] {
        let denied = org.acquire(naming(&[name]));
        assert_eq!((denied.code(), denied.gate()), (Code::QuotaExceeded, Some(Gate::Budgets)));
        assert!(denied.message().contains("counted with others in other/agent/*"), "{}", denied.message());
        assert_eq!(denied.retry_after(), HOUR_MS);
    }
    assert_eq!(org.limit_of("agent/9", "quota/executions/aligned/1h").used, 2, "what all of them share");
    assert_eq!(org.acquire(naming(&["agent/1"])).code(), Code::QuotaExceeded, "its own two");
    assert!(org.acquire(naming(&["agent/2"])).allowed, "what has a ledger keeps it");
    assert!(org.acquire(naming(&["workspace/1"])).allowed, "nothing limits it");
    let expected = [(" executions", 7, 0), ("agent/1 executions", 2, 0), ("agent/2 executions", 2, 0)];
    let shared = [("other executions", 1, 0), ("other/agent/* executions", 2, 0)];
    holds(&mut org, &[&expected[..], &shared].concat());
}

#[test]
fn a_scope_that_finds_room_again_has_no_second_allowance_in_the_same_window() {
    let mut org = with_agents();
    assert!(org.acquire(naming(&["agent/3"])).allowed);
    org.bounds.ledgers_per_org = 100;
    let admitted = org.acquire(naming(&["agent/3"]));
    assert_eq!((admitted.code(), admitted.folded), (Code::Allowed, Scopes::org()));
    assert_eq!(org.acquire(naming(&["agent/3"])).code(), Code::QuotaExceeded, "one there, one here");
    assert_eq!(org.after(HOUR_MS).acquire(naming(&["agent/3"])).code(), Code::Allowed);
    assert_eq!(org.acquire(naming(&["agent/3"])).code(), Code::Allowed, "the window before does not matter");
}

#[test]
fn a_limit_that_is_set_for_a_scope_is_judged_by_what_the_scope_shares() {
    const NAME: &str = "quota/executions/aligned/1h";
    let limit = || OverrideSubject::limit("limit", NAME).unwrap();
    let (of, reason) = (|| scope("agent/3"), || Reason::parse("reason", "").unwrap());
    for is_grant in [true, false] {
        let mut org = with_agents();
        for _ in 0..2 {
            assert!(org.acquire(naming(&["agent/3"])).allowed);
        }
        assert_eq!(org.acquire(naming(&["agent/3"])).code(), Code::QuotaExceeded);
        if is_grant {
            let (lasts, idempotency) = (Lasts::Window, key("g"));
            let grant = Grant { scope: of(), limit: limit(), amount: 2, lasts, reason: reason(), idempotency };
            org.ask(Box::new(grant)).unwrap();
        } else {
            org.ask(Box::new(SetOverride {
                rpc: Rpc::SetOverride,
                scope: of(),
                subject: limit(),
                setting: Some(Setting::Amount(4)),
                end: None,
                expected_version: None,
                reason: reason(),
                idempotency: key("o"),
            }))
            .unwrap();
        }
        let view = org.limit_of("agent/3", NAME);
        assert_eq!((view.used, view.amount), (2, Some(4)), "R-PIPE-12");
        for code in [Code::Allowed, Code::Allowed, Code::QuotaExceeded] {
            assert_eq!(org.restart().acquire(naming(&["agent/3"])).code(), code, "two more, wherever they count");
        }
        assert!(org.acquire(naming(&["agent/1"])).allowed, "the others have their own");
        assert_eq!(org.after(HOUR_MS).limit_of("agent/3", NAME).used, 0, "the window before does not matter");
    }
}

#[test]
fn a_hold_in_a_shared_ledger_counts_against_its_scope_also_after_that_has_its_own() {
    let mut org = with_agents();
    let hold = || Acquire { reserve: executions(1), cost: Amounts::new(), ..naming(&["agent/3"]) };
    let held = org.acquire(Acquire { reservation_ttl: 3 * HOUR_MS, ..hold() }).hold.unwrap().id;
    org.bounds.ledgers_per_org = 100;
    assert!(org.acquire(naming(&["agent/3"])).allowed);
    org.after(2 * HOUR_MS);
    assert!(org.acquire(naming(&["agent/3"])).allowed);
    let denied = org.acquire(naming(&["agent/3"]));
    assert_eq!((denied.code(), denied.retry_after()), (Code::QuotaExceeded, HOUR_MS), "one used, one held");
    assert_eq!(org.release(held, "r"), Ok(false));
    assert!(org.acquire(naming(&["agent/3"])).allowed);
}

#[test]
fn what_is_held_in_a_shared_ledger_is_given_back_there_and_settles_where_there_is_room() {
    let mut org = crowded();
    let held = org.acquire(Acquire { reserve: executions(2), cost: spend(1), ..naming(&["workspace/new"]) });
    let held = held.hold.unwrap().id;
    let listed = |org: &mut OrgBench| {
        let list = ListReservations {
            after: None,
            max: 9,
            open: true,
            expired: true,
            scope: Some(scope("workspace/new")),
            older_than: 0,
        };
        org.ask(list).unwrap().iter().map(|view| view.row.folded.scopes().text().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut org), ["workspace/new"], "R-RES-1: by its own name");
    org.restart();
    let of_org = [(" executions", 2, 2), (" spend", 1, 0)];
    let others = [("other executions", 0, 2), ("other spend", 1, 0)];
    holds(&mut org, &[&of_org[..], &OF_KNOWN, &others].concat());
    assert_eq!(listed(&mut org), ["workspace/new"]);
    let done = org.settle(held, both(executions(1), both(spend(4), known("tokens", 5))), "c").unwrap();
    assert_eq!(done.view.folded, scope("workspace/new").into(), "a meter that is new to the scope is no refusal");
    let of_org = [(" executions", 3, 0), (" spend", 5, 0), (" tokens", 5, 0)];
    let others = [("other executions", 1, 0), ("other spend", 5, 0), ("other tokens", 5, 0)];
    holds(&mut org, &[&of_org[..], &OF_KNOWN, &others].concat());
    org.bounds.ledgers_per_org = 100;
    assert_eq!(org.acquire(naming(&["workspace/new"])).folded, Scopes::org());
    let again = org.settle(held, both(executions(1), both(spend(4), known("tokens", 5))), "c").unwrap();
    assert_eq!((again.replayed, again.view.folded), (true, Scopes::org()), "as of this answer");
}

fn known(text: &str, amount: u64) -> Amounts {
    smallvec![(Meter::parse("meter", text).unwrap(), amount)]
}

#[test]
fn a_pair_that_a_limit_names_always_has_room() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 10)]).and_scope("workspace/a", [spend_limit(HOURLY, 5)]);
    org.bounds.ledgers_per_org = 1;
    org.record("workspace/x", both(known("a", 1), known("b", 1)), "r1").unwrap();
    org.policy.scope_prefixes.insert("workspace/".into(), vec![spend_limit(HOURLY, 5)].into());
    org.record("workspace/b", spend(1), "r2").unwrap();
    org.record("workspace/c", spend(2), "r3").unwrap();
    org.record("workspace/a", spend(3), "r4").unwrap();
    let kept = [(" a", 1, 0), (" b", 1, 0), (" spend", 6, 0), ("other b", 1, 0), ("other/workspace/* spend", 2, 0)];
    let own = [("workspace/a spend", 3, 0), ("workspace/b spend", 1, 0), ("workspace/x a", 1, 0)];
    holds(&mut org, &[&kept[..], &own].concat());
    assert_eq!((org.used("budget/hourly"), org.limit_of("workspace/a", "budget/hourly").used), (6, 3), "R-PIPE-3");
}

#[test]
fn room_comes_back_when_usage_is_purged() {
    let mut org = crowded();
    assert_eq!(org.acquire(naming(&["workspace/late"])).folded, scope("workspace/late").into());
    org.after(HOUR_RETENTION_MS + DAY_MS).sweep();
    org.state.take_news();
    assert_eq!(org.acquire(naming(&["workspace/late"])).folded, Scopes::org());
    assert_eq!(org.acquire(naming(&["known/2"])).folded, Scopes::org());
    assert_eq!(org.acquire(naming(&["known/1"])).folded, scope("known/1").into());
    assert!(org.state.take_news().folds, "said again where nothing is left of the last time");
    let own = [("known/2 executions", 1, 0), ("other executions", 1, 0), ("workspace/late executions", 1, 0)];
    holds(&mut org, &[&[(" executions", 3, 0)], &own[..]].concat());
}

#[test]
fn a_session_without_room_is_counted_where_others_are_from_its_start_to_its_end() {
    let mut org = OrgBench::with([Limit::new(Meter::compute(), DAILY, Some(DAY_MS))]);
    org.bounds.ledgers_per_org = 1;
    org.record("workspace/first", executions(1), "r").unwrap();
    let start = |id: &str| {
        let (id, identity) = (SessionId::parse("session_id", id).unwrap(), Identity::parse("identity", "vm").unwrap());
        let run = Run::Session(super::super::command::NewSession { id, identity });
        Acquire { run, cost: Amounts::new(), idempotency: Some(key("s")), ..naming(&["workspace/new"]) }
    };
    let admitted = org.acquire(start("one"));
    assert_eq!(admitted.folded, scope("workspace/new").into());
    let slice = admitted.session.unwrap().slice;
    let compute = |org: &mut OrgBench| ledgers(org).into_iter().filter(|(name, ..)| name.ends_with("compute"));
    let expected = |used, held| [" compute", "other compute"].map(|name| (name.to_owned(), used, held));
    assert_eq!(compute(&mut org).collect::<Vec<_>>(), expected(0, slice));
    let session = SessionId::parse("session_id", "one").unwrap();
    let identity = Identity::parse("identity", "vm").unwrap();
    let incarnation = Incarnation::parse("incarnation", "1").unwrap();
    org.restart().after(10_000);
    let beat = Heartbeat {
        session: session.clone(),
        identity: identity.clone(),
        incarnation: incarnation.clone(),
        total: 10_000,
        idempotency: None,
    };
    let beaten = org.ask(Box::new(beat)).unwrap();
    assert_eq!(beaten.view.folded, scope("workspace/new").into());
    assert_eq!(compute(&mut org).collect::<Vec<_>>(), expected(10_000, slice - 10_000));
    let end = EndSession { session, identity, last: Some((incarnation, 12_000)), idempotency: key("e") };
    let ended = org.ask(Box::new(end)).unwrap();
    assert_eq!(ended.view.folded, scope("workspace/new").into());
    assert_eq!(compute(&mut org).collect::<Vec<_>>(), expected(12_000, 0));
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drifted, 0);
}

#[test]
fn a_query_says_what_a_call_would_be_answered() {
    let mut org = with_agents();
    org.policy.budgets_on_indeterminate = OnIndeterminate::Deny;
    assert!(org.acquire(naming(&["agent/3"])).allowed);
    let status = |org: &mut OrgBench, name: &str| {
        let known = Known { balance: Some(allowed()), exempt: false };
        org.ask(GetStatus { scopes: scope(name).into(), known }).unwrap().decision
    };
    let shared = status(&mut org, "agent/9");
    assert_eq!((shared.allowed, shared.folded, shared.limits[1].used), (true, scope("agent/9").into(), 1));
    assert!(org.acquire(naming(&["agent/4"])).allowed);
    assert!(!status(&mut org, "agent/9").allowed);
    let own = status(&mut org, "agent/2");
    assert_eq!((own.allowed, own.folded, own.limits[1].used), (true, Scopes::org(), 1));
}
