//! What is announced without being asked for: each crossing once in its window, each spell of denials by its first and its
//! last, over restarts, and within bounds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    pools::{A, new},
    sessions::plan,
    trials::trial,
    *,
};
use crate::{
    bounds::{DENIAL_SPELL_MS, EVENTS_PER_MINUTE, SECOND_MS},
    domain::{
        alerts::Level,
        command::{End, Freeze, Grant, Lasts, NoteDenials, Refund, RefundOf, ResetWindow, SetOverride},
        events::{EventKind, Happening, NodeLog, Part},
        gate::{Cause, Gate},
        request::Rpc,
        rows::{OverrideSubject, Setting},
    },
};

const CLOCK_DAY: Window = Window::Aligned { len: DAY_MS };

impl OrgBench {
    /// The kinds of all events, with the percent of those of limits.
    fn announced(&mut self) -> Vec<(EventKind, u64)> {
        let percent = |what: &Happening| if let Happening::Limit(event) = what { event.level.percent() } else { 0 };
        self.events().iter().map(|row| (row.what.kind(), percent(&row.what))).collect()
    }

    fn kinds(&mut self) -> Vec<EventKind> {
        self.announced().into_iter().map(|(kind, _)| kind).collect()
    }

    fn spent(&mut self, amount: u64) {
        let id = format!("spent {}", self.next_id);
        self.record("", spend(amount), &id).unwrap();
    }

    fn of_kind(&mut self, kind: EventKind) -> usize {
        self.kinds().iter().filter(|known| **known == kind).count()
    }
}

use EventKind::{
    DenialsBegan, DenialsEnded, Exhausted, FailOpen, LeftOut, NearLimit, Operator, OverLimit, Recovered, SessionClosed,
    SessionExpired, SessionStarted, SessionStopped, SessionWarned,
};

#[test]
fn each_crossing_of_a_window_is_announced_once_over_restarts() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
    for amount in [79, 1, 5, 9, 1, 4] {
        org.spent(amount);
        org.restart();
    }
    assert_eq!(org.announced(), [(NearLimit, 80), (NearLimit, 95)], "R-PIPE-10");
    org.spent(1);
    org.crash();
    assert_eq!(org.announced(), [(NearLimit, 80), (NearLimit, 95)], "what is lost was not announced");
    org.spent(1);
    org.restart().spent(1);
    assert_eq!(org.restart().kinds(), [NearLimit, NearLimit, Exhausted, OverLimit]);
    let row = org.events().pop().unwrap();
    let Happening::Limit(over) = row.what else { panic!("{row:?}") };
    assert_eq!((over.used, over.amount, &*over.limit), (101, 100, "quota/spend/aligned/1d"));
    assert_eq!(over.ends_at, Some((T0 / DAY_MS + 1) * DAY_MS));
}

#[test]
fn a_window_that_ends_is_announced_by_itself_and_the_next_one_begins_anew() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
    org.spent(100);
    org.restart();
    let wake_at = org.disk.head().wake_at.unwrap();
    assert!(wake_at <= (T0 / DAY_MS + 1) * DAY_MS, "nobody has to call");
    org.at((T0 / DAY_MS + 1) * DAY_MS).sweep();
    assert_eq!(org.announced(), [(Exhausted, 100), (Recovered, 0)]);
    org.spent(80);
    assert_eq!(org.restart().announced(), [(Exhausted, 100), (Recovered, 0), (NearLimit, 80)]);
}

#[test]
fn a_rolling_limit_that_was_used_up_recovers_when_there_is_plenty() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 100)]);
    org.spent(50);
    org.after(30 * MINUTE_MS).spent(50);
    let recovers = org.restart().disk.head().wake_at.unwrap();
    org.at(recovers).sweep();
    org.at(T0 + HOUR_MS + 2 * MINUTE_MS).sweep();
    assert_eq!(org.announced(), [(Exhausted, 100), (Recovered, 0)]);
    org.spent(29);
    assert_eq!(org.kinds(), [Exhausted, Recovered], "79 percent");
}

#[test]
fn a_raised_limit_recovers_with_the_next_call_and_a_limit_of_nothing_is_never_announced() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100), spend_limit(HOURLY, 0)]);
    org.spent(100);
    org.reconfigure(|limits| *limits = vec![spend_limit(CLOCK_DAY, 1000)]);
    org.spent(1);
    assert_eq!(org.kinds(), [Exhausted, Recovered]);
}

#[test]
fn what_an_operator_does_frees_a_limit_at_once_and_so_does_the_end_of_it() {
    let of_day = || OverrideSubject::limit("limit", "quota/spend/aligned/1d").unwrap();
    let reason = || Reason::parse("reason", "").unwrap();
    let set = |setting, end, call: &str| {
        let (rpc, subject, idempotency) = (Rpc::SetOverride, of_day(), key(call));
        let (scope, expected_version, reason) = (Scope::org(), None, reason());
        Box::new(SetOverride { rpc, scope, subject, setting, end, expected_version, reason, idempotency })
    };
    let grant = |lasts, call: &str| {
        let (limit, idempotency, reason) = (of_day(), key(call), reason());
        Box::new(Grant { scope: Scope::org(), limit, amount: 5, lasts, reason, idempotency })
    };
    let reset = |limit, call: &str| {
        let (idempotency, reason) = (key(call), reason());
        Box::new(ResetWindow { scope: Scope::org(), limit, reason, idempotency })
    };
    type Act<'a> = (&'a str, Box<dyn Fn(&mut OrgBench) + 'a>);
    let acts: [Act<'_>; 7] = [
        ("a grant", Box::new(|org| drop(org.ask(grant(Lasts::Window, "g")).unwrap()))),
        ("until spent", Box::new(|org| drop(org.ask(grant(Lasts::UntilSpent(None), "s")).unwrap()))),
        ("a reset", Box::new(|org| drop(org.ask(reset(of_day(), "r")).unwrap()))),
        ("another amount", Box::new(|org| drop(org.ask(set(Some(Setting::Amount(101)), None, "a")).unwrap()))),
        ("no amount", Box::new(|org| drop(org.ask(set(Some(Setting::Unlimited), None, "u")).unwrap()))),
        (
            "a refund",
            Box::new(|org| {
                let of = RefundOf::Usage { scopes: Scopes::org(), amounts: spend(1), at: None };
                org.ask(Box::new(Refund { of, idempotency: key("f") })).unwrap();
            }),
        ),
        (
            "the end of a lower amount",
            Box::new(|org| {
                org.ask(set(Some(Setting::Amount(50)), Some(End::After(HOUR_MS)), "l")).unwrap();
                org.reconfigure(|limits| *limits = vec![spend_limit(CLOCK_DAY, 101)]);
                org.after(HOUR_MS).sweep();
            }),
        ),
    ];
    for (what, act) in acts {
        let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
        org.spent(100);
        act(&mut org);
        let seen: Vec<_> =
            org.restart().kinds().into_iter().filter(|kind| [Exhausted, Recovered].contains(kind)).collect();
        assert_eq!(seen, [Exhausted, Recovered], "R-PIPE-10: {what}");
    }
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
    org.spent(100);
    org.ask(grant(Lasts::Window, "g")).unwrap();
    org.spent(5);
    assert_eq!((org.of_kind(Exhausted), org.of_kind(Recovered)), (2, 1), "and it can be used up again");
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(1);
    org.run();
    org.ask(reset(OverrideSubject::rate(), "rate")).unwrap();
    assert_eq!((org.of_kind(Exhausted), org.of_kind(Recovered)), (1, 1), "the backstop as well");
}

#[test]
fn the_backstop_and_the_limits_of_scopes_are_announced_like_any_other() {
    let mut org = OrgBench::new().and_scope("workspace/a", [executions_limit(CLOCK_DAY, 5)]);
    org.policy.rate.amount = Some(10);
    for _ in 0..4 {
        assert!(org.acquire(ask_on("workspace/a")).allowed);
    }
    let row = org.events().pop().unwrap();
    let Happening::Limit(near) = row.what else { panic!("{row:?}") };
    assert_eq!((near.level, near.scope), (Level::Near80, scope("workspace/a")));
    for _ in 0..6 {
        org.run();
    }
    let told = org.announced();
    assert_eq!(told[1..], [(NearLimit, 80), (Exhausted, 100)], "of the backstop: 8 and 10 of 10");
    org.after(HOUR_MS).sweep();
    assert_eq!(org.kinds().last(), Some(&Recovered));
}

#[test]
fn what_is_held_and_given_back_is_no_crossing() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
    for number in 0..5 {
        let held = org.reserve(spend(100 - 10 * number));
        org.commit(held, spend(10), &format!("c{number}")).unwrap();
    }
    assert_eq!(org.kinds(), []);
    let held = org.reserve(spend(50));
    org.commit(held, spend(30), "c").unwrap();
    assert_eq!(org.announced(), [(NearLimit, 80)]);
}

#[test]
fn a_spell_of_denials_is_announced_by_its_first_and_its_last_with_their_number() {
    let mut org = OrgBench::with([executions_limit(CLOCK_DAY, 1)]);
    org.run();
    let before = org.kinds().len();
    for _ in 0..500 {
        assert_eq!(org.after(SECOND_MS).run(), Code::QuotaExceeded);
    }
    assert_eq!(org.kinds()[before..], [DenialsBegan]);
    let last = org.now;
    org.restart().after(DENIAL_SPELL_MS - 10 * SECOND_MS).sweep();
    assert_eq!(org.kinds()[before..], [DenialsBegan]);
    org.after(10 * SECOND_MS).sweep();
    assert_eq!(org.kinds()[before..], [DenialsBegan, DenialsEnded]);
    let row = org.events().pop().unwrap();
    let Happening::Denials(ended) = row.what else { panic!("{row:?}") };
    assert_eq!((ended.gate, &*ended.limit, ended.since), (Gate::Budgets, "quota/executions/aligned/1d", T0 + 1000));
    assert_eq!((ended.count, ended.last), (500, last), "it was stopped in good order");
    org.run();
    assert_eq!(org.kinds()[before..], [DenialsBegan, DenialsEnded, DenialsBegan], "another spell");
}

#[test]
fn after_a_crash_the_last_seconds_of_a_spell_are_missing() {
    let mut org = OrgBench::with([executions_limit(CLOCK_DAY, 1)]);
    org.run();
    for _ in 0..500 {
        org.after(SECOND_MS).run();
        org.flush();
    }
    let last = org.now;
    org.crash().after(DENIAL_SPELL_MS).sweep();
    let row = org.events().pop().unwrap();
    let Happening::Denials(ended) = row.what else { panic!("{row:?}") };
    assert!((490..=500).contains(&ended.count), "all but those of the last ten seconds: {}", ended.count);
    assert!(last - ended.last <= 10 * SECOND_MS);
}

#[test]
fn what_is_only_tried_or_peeked_at_announces_nothing() {
    let mut org = OrgBench::with([executions_limit(CLOCK_DAY, 0)]);
    org.peek(ask());
    org.acquire(Acquire { mode: Mode::Shadow, ..ask() });
    assert!(org.state.has_changes(), "the call itself is counted");
    assert_eq!(org.kinds(), []);
}

#[test]
fn an_open_gate_is_announced_once_while_it_stays_open() {
    let mut org = OrgBench::new();
    org.policy.balance.source = BalanceSource::Provider;
    let blind = || Acquire { balance: Some(BalanceVerdict::Unknown(Cause::Timeout)), ..ask() };
    for _ in 0..3 {
        assert!(org.after(MINUTE_MS).acquire(blind()).allowed);
    }
    assert_eq!(org.restart().kinds(), [FailOpen]);
    org.after(DENIAL_SPELL_MS).sweep();
    org.acquire(blind());
    assert_eq!(org.kinds(), [FailOpen, FailOpen]);
}

#[test]
fn a_session_is_announced_from_its_start_to_its_end() {
    let mut org = plan(1000, 5);
    org.policy.sessions.clamp = DAY_MS;
    org.start("vm");
    for seconds in [500, 850, 860, 960, 1000, 1001] {
        org.beat("vm", seconds);
        org.restart();
    }
    org.end("vm", None);
    let of_sessions: Vec<EventKind> =
        org.kinds().into_iter().filter(|kind| kind.name().starts_with("session")).collect();
    assert_eq!(of_sessions, [SessionStarted, SessionWarned, SessionWarned, SessionStopped, SessionClosed]);
}

#[test]
fn a_flood_is_bounded_and_what_is_left_out_is_counted() {
    let mut org = OrgBench::new();
    for number in 0..3 * EVENTS_PER_MINUTE {
        let name = format!("workspace/{number}");
        org.policy.scopes.insert(scope(&name), [spend_limit(CLOCK_DAY, 1)].into_iter().collect());
    }
    for number in 0..3 * EVENTS_PER_MINUTE {
        org.record(&format!("workspace/{number}"), spend(1), &format!("r{number}")).unwrap();
    }
    assert_eq!(org.kinds().len(), EVENTS_PER_MINUTE);
    org.freeze("f").unwrap();
    assert_eq!(org.kinds().last(), Some(&Operator), "what operators do is never left out");
    org.restart().after(MINUTE_MS).sweep();
    let row = org.events().pop().unwrap();
    let left_out = 2 * EVENTS_PER_MINUTE as u64;
    assert_eq!(row.what, Happening::LeftOut { count: left_out, since: T0 });
    assert_eq!(org.of_kind(LeftOut), 1);
    let numbers = org.numbers();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "without a gap");
}

#[test]
fn many_events_of_others_never_remove_what_operators_did() {
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
    org.freeze("f").unwrap();
    org.unfreeze("u").unwrap();
    org.bounds.events_per_org = 5;
    for _ in 0..20 {
        org.spent(100);
        org.after(DAY_MS).sweep();
    }
    let kinds = org.kinds();
    assert_eq!((kinds.len(), &kinds[..2]), (7, &[Operator, Operator][..]));
    assert_eq!(org.disk.count(|row| matches!(row, Row::Event(_))), org.events().len());
}

#[test]
fn numbers_that_do_not_fit_are_announced_once_for_each_number_of_them() {
    let mut org = OrgBench::new();
    org.run();
    for (found, told) in [(0, 0), (3, 1), (3, 1), (4, 2), (0, 2), (4, 3)] {
        org.restart().state.found_drift(found);
        org.run();
        assert_eq!(org.of_kind(EventKind::Drift), told, "{found}");
    }
}

/// What somebody does who wants to read every kind once.
fn of_everything() -> BTreeSet<EventKind> {
    let mut seen = BTreeSet::new();
    let mut keep = |org: &mut OrgBench| seen.extend(org.restart().kinds());
    let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
    let end = Some(End::After(MINUTE_MS));
    org.ask(Freeze { reason: Reason::none().clone(), end, idempotency: key("f") }).unwrap();
    for amount in [80, 15, 5, 1] {
        org.spent(amount);
    }
    org.run();
    org.after(DENIAL_SPELL_MS).sweep();
    org.after(DAY_MS).sweep();
    org.state.found_drift(1);
    org.run();
    keep(&mut org);
    let mut org = plan(1000, 5);
    org.policy.sessions.clamp = DAY_MS;
    org.start("vm");
    org.start("silent");
    org.beat("vm", 700);
    org.beat("vm", 1001);
    org.end("vm", None);
    org.after(DAY_MS).sweep();
    keep(&mut org);
    let mut org = OrgBench::with_pool([new(A, 1)]);
    org.pick();
    org.pick();
    org.after(DAY_MS).sweep();
    keep(&mut org);
    let mut org = trial(10);
    org.use_compute(10);
    keep(&mut org);
    let mut org = OrgBench::new();
    org.policy.balance.source = BalanceSource::Provider;
    org.acquire(Acquire { balance: Some(BalanceVerdict::Unknown(Cause::Timeout)), ..ask() });
    for number in 0..=EVENTS_PER_MINUTE {
        let name = format!("workspace/{number}");
        org.policy.scopes.insert(scope(&name), [spend_limit(CLOCK_DAY, 1)].into_iter().collect());
        org.record(&name, spend(1), &format!("r{number}")).unwrap();
    }
    org.after(MINUTE_MS).sweep();
    org.ask(NoteDenials { rows: vec![], unstored: 1 }).unwrap();
    keep(&mut org);
    let mut node = NodeLog::default();
    for part in [Part::Store, Part::Disk, Part::Clock] {
        node.is(part, Some("away"), T0);
        node.is(part, None, T0);
    }
    seen.extend(node.page(&super::events::all()).rows.iter().map(|row| row.kind));
    seen
}

#[test]
fn every_kind_of_event_comes_of_something_that_is_done() {
    let seen = of_everything();
    let missing: Vec<_> = EventKind::ALL.iter().filter(|kind| !seen.contains(kind)).collect();
    assert!(missing.is_empty(), "nothing emits {missing:?}");
    assert!(seen.contains(&SessionExpired));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However usage, time, restarts and crashes follow each other, each step of a window is announced exactly once where
    /// what announced it was kept.
    #[test]
    fn no_step_is_announced_twice_in_one_window(
        steps in prop::collection::vec((0..30_u64, prop::sample::select(vec![0, MINUTE_MS, 7 * HOUR_MS]), 0..3_u8), 1..60)
    ) {
        let mut org = OrgBench::with([spend_limit(CLOCK_DAY, 100)]);
        for (amount, passed, ending) in steps {
            org.after(passed).spent(amount);
            match ending {
                0 => {}
                1 => _ = org.restart(),
                _ => {
                    org.flush();
                    org.crash();
                }
            }
            let mut seen = BTreeSet::new();
            for row in org.events() {
                let Happening::Limit(event) = &row.what else { continue };
                if event.level != Level::Below {
                    prop_assert!(seen.insert((event.ends_at, event.level)), "{:?}", org.events());
                }
            }
            let used = org.used("quota/spend/aligned/1d");
            let window = (org.now / DAY_MS + 1) * DAY_MS;
            let highest = seen.iter().filter(|(ends_at, _)| *ends_at == Some(window)).map(|(_, level)| *level).max();
            prop_assert_eq!(highest.unwrap_or(Level::Below), Level::of(used, 100), "{} used", used);
        }
    }
}
