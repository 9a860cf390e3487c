//! Denials are kept, counted and explained (R-PIPE-9, R-EXPL-1, R-EXPL-2).

use super::*;
use crate::{
    bounds::{DENIAL_DAYS_MS, DENIAL_RETENTION_MS, DENIAL_SPELL_MS, DENIALS_TOLD_APART},
    domain::{
        command::{AskWhy, Explain, ListDenials, NoteDenials, PoolAsk},
        denials::{Asked, DenialFilter, DenialRow, Explained, Operation, Until, Way, Why},
        events::Happening,
        gate::{Cause, FailOpen, Gate, Reports},
        rows::RowKind,
        trace::TraceId,
    },
};

const DAILY: Window = Window::Rolling { len: DAY_MS };

fn filter() -> DenialFilter {
    let (scope, max) = (Scope::org(), 100);
    DenialFilter { before: None, max, scope, gate: None, since: 0, until: Millis::MAX, let_through: true }
}

impl OrgBench {
    fn denials(&mut self) -> Vec<DenialRow> {
        self.ask(ListDenials(filter())).unwrap().rows
    }

    fn why(&mut self, scope_name: &str) -> Why {
        *self.ask(AskWhy { scope: scope(scope_name), at: None, known: Known::default() }).unwrap()
    }

    fn explain(&mut self, id: DecisionId) -> Option<Explained> {
        self.ask(Explain::Decision(id)).unwrap().map(|explained| *explained)
    }
}

/// `$2.00` a day for workspace/a, of which `$1.95` is used, and calls that reserve `$0.40`.
fn nearly_used_up() -> (OrgBench, Acquire) {
    let limit = Limit::new(Meter::spend(), DAILY, Some(2_000_000));
    let mut org = OrgBench::new().and_scope("workspace/a", [limit]);
    org.record("workspace/a", spend(1_950_000), "used").unwrap();
    let plane = Plane::parse("plane", "executor").unwrap();
    (org, Acquire { plane, reserve: spend(400_000), ..ask_on("workspace/a") })
}

#[test]
fn a_denial_is_kept_with_its_numbers_and_one_that_repeats_it_is_counted() {
    let (mut org, asking) = nearly_used_up();
    let first = org.acquire(asking.clone());
    let trace = Some(TraceId(7));
    let last = org.after(5_000).acquire(Acquire { trace, ..asking.clone() });
    let rows = org.restart().denials();
    let [row] = &rows[..] else { panic!("one row: {rows:?}") };
    assert_eq!((row.number, row.count, row.first_at, row.last_at), (1, 2, T0, T0 + 5_000), "R-PIPE-9");
    assert_eq!((row.first, row.last, row.trace), (first.id, last.id, trace));
    assert_eq!((row.denied_by(), row.message.as_str()), (Some((Gate::Budgets, Code::BudgetExceeded)), last.message()));
    assert_eq!((row.asked.operation, row.asked.plane.as_str()), (Operation::Execute, "executor"));
    assert_eq!(row.until, Until::At(org.now + last.retry_after()));
    let limit = row.limit().unwrap();
    assert_eq!((limit.texts.name.as_str(), limit.scope.as_str()), ("budget/daily", "workspace/a"));
    assert_eq!((limit.amount, limit.used, limit.asked, limit.missing()), (2_000_000, 1_950_000, 400_000, 350_000));

    org.after(DENIAL_SPELL_MS - 1).acquire(asking.clone());
    assert_eq!(org.denials().len(), 1, "the spell goes on");
    org.after(DENIAL_SPELL_MS).acquire(asking.clone());
    org.acquire(Acquire { plane: Plane::unnamed(), ..asking });
    let counts: Vec<_> = org.denials().iter().map(|row| (row.number, row.count)).collect();
    assert_eq!(counts, [(3, 1), (2, 1), (1, 3)], "another spell, and another plane");
}

#[test]
fn every_kind_of_denial_is_kept_and_what_counts_nothing_is_not() {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(1);
    org.run();
    org.run();
    org.peek(ask());
    org.acquire(Acquire { mode: Mode::Shadow, ..ask() });
    org.freeze("f").unwrap();
    org.run();
    let rows = org.denials();
    let kept: Vec<_> = rows.iter().map(|row| (row.denied_by().unwrap().1, row.shadow, row.count)).collect();
    assert_eq!(kept, [(Code::Frozen, false, 1), (Code::RateLimited, true, 1), (Code::RateLimited, false, 1)]);
    let days = org.ask(ListDenials(filter())).unwrap().days;
    assert_eq!((days.len(), days[0].allowed), (1, 1));
    assert_eq!(days[0].gates, [(Gate::Freeze, 1, 0), (Gate::Rate, 1, 0)], "R-PIPE-9: what was enforced");
}

#[test]
fn what_is_let_through_without_an_evaluated_gate_is_kept_too() {
    let mut org = OrgBench::new();
    org.policy.balance.source = BalanceSource::Provider;
    let unknown = Some(BalanceVerdict::Unknown(Cause::Timeout));
    let decision = org.acquire(Acquire { balance: unknown, ..ask() });
    assert!(decision.allowed);
    let rows = org.denials();
    assert_eq!((rows[0].denied_by(), rows[0].unevaluated()), (None, Some((Gate::Balance, Cause::Timeout))));
    assert_eq!(org.explain(decision.id.unwrap()).unwrap().row.count, 1);
    let days = org.ask(ListDenials(filter())).unwrap().days;
    assert_eq!((days[0].allowed, &days[0].gates[..]), (1, &[(Gate::Balance, 0, 1)][..]));
}

#[test]
fn an_exhausted_pool_is_a_denial_of_its_pick_and_of_an_acquire() {
    let pool = super::pools::pool();
    let mut org = super::pools::bench_of_one_call();
    let pick = |id: &str| Pick { pool: pool.clone(), idempotency: Some(key(id)) };
    assert!(org.ask(pick("p1")).unwrap().allowed);
    assert!(!org.ask(pick("p2")).unwrap().allowed);
    org.acquire(Acquire { pool: Some(PoolAsk { pool: pool.clone(), pick: false }), ..ask() });
    let rows = org.denials();
    let kept: Vec<_> = rows.iter().map(|row| (row.asked.operation, row.denied_by().unwrap().1)).collect();
    assert_eq!(kept, [(Operation::Execute, Code::AccountsExhausted), (Operation::Pick, Code::AccountsExhausted)]);
    let why = org.why("");
    assert_eq!((why.blocks.len(), why.blocks[0].count), (1, 2), "both, for the same reason");
    assert!(why.blocks[0].now.ways_through(org.now).contains(&Way::FreeAccount(pool)));
}

#[test]
fn a_flood_of_different_calls_stays_bounded_and_its_counts_exact() {
    let mut org = OrgBench::new();
    org.policy.rate.amount = Some(0);
    org.bounds.denials_per_org = 300;
    let calls = 3 * DENIALS_TOLD_APART;
    for number in 0..calls {
        org.acquire(ask_on(&format!("workspace/{number}")));
    }
    let rows = org.ask(ListDenials(DenialFilter { max: 1_000, ..filter() })).unwrap().rows;
    assert_eq!(rows.len(), DENIALS_TOLD_APART + 1);
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), calls as u64, "R-PIPE-9: exact");
    let mixed: Vec<_> = rows.iter().filter(|row| row.mixed).collect();
    assert_eq!((mixed.len(), mixed[0].count, mixed[0].asked.scopes.len()), (1, (calls - DENIALS_TOLD_APART) as u64, 0));
    for spell in 1..5 {
        org.at(T0 + spell * 2 * DENIAL_SPELL_MS);
        (0..100).for_each(|number| drop(org.acquire(ask_on(&format!("workspace/{number}")))));
    }
    assert_eq!(org.restart().ask(ListDenials(DenialFilter { max: 1_000, ..filter() })).unwrap().rows.len(), 300);
    let days = org.ask(ListDenials(filter())).unwrap().days;
    assert_eq!(days[0].gates, [(Gate::Rate, calls as u64 + 400, 0)], "rows go, the count stays");
}

#[test]
fn rows_are_kept_for_seven_days_and_the_counts_for_thirty_five() {
    let (mut org, asking) = nearly_used_up();
    org.acquire(asking);
    org.at(T0 + DENIAL_RETENTION_MS - 1).sweep();
    assert_eq!(org.restart().denials().len(), 1);
    org.at(T0 + DENIAL_RETENTION_MS).sweep();
    assert_eq!(org.restart().denials().len(), 0);
    let first_day = T0 / DAY_MS * DAY_MS;
    org.at(first_day + DENIAL_DAYS_MS - 1).sweep();
    assert_eq!(org.ask(ListDenials(filter())).unwrap().days.len(), 1);
    org.at(first_day + DENIAL_DAYS_MS).sweep();
    let kept = org.disk.rows().rows;
    assert!(!kept.iter().any(|row| matches!(row.kind(), RowKind::Denial | RowKind::Day)), "{kept:?}");
}

#[test]
fn a_decision_is_found_by_its_id_or_its_time() {
    let (mut org, asking) = nearly_used_up();
    let ids: Vec<_> = (0..3).map(|_| org.after(1_000).acquire(asking.clone()).id.unwrap()).collect();
    let certain: Vec<_> = ids.iter().map(|id| org.explain(*id).unwrap().certain).collect();
    assert_eq!(certain, [true, false, true], "R-EXPL-1: the one between is like the last");
    assert_eq!(org.ask(Explain::Last(Scope::org())).unwrap().unwrap().row.last, Some(ids[2]));
    assert_eq!(org.explain(DecisionId(ids[2].0 + 2)), None);
    assert_eq!(org.explain(DecisionId(1 << 64 | ids[1].0)), None, "of another life of the node");
    let at = |org: &mut OrgBench, at, name: &str| {
        org.ask(Explain::At(at, scope(name))).unwrap().map(|found| found.row.count)
    };
    assert_eq!(at(&mut org, T0 + 2_000, "workspace/a"), Some(3));
    assert_eq!(at(&mut org, T0 + 2_000, "workspace/b"), None);
    assert_eq!(at(&mut org, T0 + 999, ""), None, "before the first");
    assert_eq!(at(&mut org, T0 + 3_000 + DENIAL_SPELL_MS, ""), None, "the spell was over");
}

#[test]
fn why_answers_for_what_is_asked_and_not_for_what_is_not() {
    let (mut org, asking) = nearly_used_up();
    (0..10).for_each(|_| drop(org.after(1_000).acquire(asking.clone())));
    org.acquire(Acquire { plane: Plane::parse("plane", "sessions").unwrap(), ..asking.clone() });
    assert!(org.peek(ask()).allowed && org.peek(ask_on("workspace/a")).allowed, "one execution alone fits");
    let why = org.why("");
    let [block] = &why.blocks[..] else { panic!("R-EXPL-2: one limit blocks: {why:?}") };
    let limit = block.now.limit().unwrap();
    assert_eq!((limit.texts.name.as_str(), limit.scope.as_str()), ("budget/daily", "workspace/a"));
    assert_eq!((block.count, block.since, block.last_at), (11, T0 + 1_000, T0 + 10_000));
    let planes: Vec<_> = block.planes.iter().map(|(plane, count)| (plane.as_str(), *count)).collect();
    assert_eq!(planes, [("executor", 10), ("sessions", 1)]);
    assert!(matches!(&block.now.ways_through(org.now)[..], [Way::Raise { by: 350_000, .. }, Way::Wait(_)]));
    assert_eq!(org.why("workspace/b").blocks, [], "another scope");
    let status = org.ask(super::super::command::GetStatus { scopes: Scopes::org(), known: Known::default() }).unwrap();
    assert_eq!((status.decision.allowed, status.lately.denied), (true, 11), "R-EXPL-2: never allowed alone");

    let Until::At(until) = block.now.until else { panic!("{block:?}") };
    let why = org.at(until - 1).why("");
    assert_eq!(why.blocks.len(), 1, "until the very instant that was said");
    let why = org.at(until).why("");
    assert_eq!((why.blocks.len(), why.over.len()), (0, 2), "it would be allowed now");
    let at = org.ask(AskWhy { scope: Scope::org(), at: Some(T0 + 5_000), known: Known::default() }).unwrap();
    assert_eq!((at.blocks.len(), at.blocks[0].count), (1, 10), "as it was then");
}

#[test]
fn raising_a_limit_by_what_is_missing_lets_the_call_through() {
    for buffer in [0, 7] {
        for asked in [0, 1, 400_000] {
            let limit = Limit { buffer, ..Limit::new(Meter::spend(), DAILY, Some(2_000_000)) };
            let mut org = OrgBench::with([limit]);
            org.record("", spend(2_000_000), "used").unwrap();
            let asking = Acquire { cost: spend(asked), ..ask() };
            assert!(!org.acquire(asking.clone()).allowed);
            let missing = org.denials()[0].limit().unwrap().missing();
            org.reconfigure(|limits| limits[0].amount = Some(2_000_000 + missing - 1));
            assert!(!org.peek(asking.clone()).allowed, "{buffer} {asked}: one less is not enough");
            org.reconfigure(|limits| limits[0].amount = Some(2_000_000 + missing));
            assert!(org.peek(asking).allowed, "{buffer} {asked}: R-EXPL-1");
        }
    }
}

#[test]
fn a_freeze_says_who_must_act_and_stands_before_every_limit() {
    let mut org = OrgBench::with([executions_limit(DAILY, 1)]);
    org.run();
    org.freeze("f").unwrap();
    let why = org.why("");
    assert_eq!((why.blocks.len(), why.blocks[0].count), (1, 0), "nobody has asked since");
    assert!(matches!(&why.blocks[0].now.ways_through(org.now)[..], [Way::Unfreeze, Way::Raise { by: 1, .. }]));
    assert_eq!(why.blocks[0].now.until, Until::Unknown);
    assert_eq!(why.blocks[0].now.limit(), None, "no amount holds it up");
    org.unfreeze("u").unwrap();
    assert_eq!(org.why("").blocks[0].now.limit().unwrap().texts.name, "budget/executions/daily");
    assert!(!OrgBench::new().why("").is_known);
}

#[test]
fn what_was_decided_without_the_org_is_kept_when_it_can_be() {
    let mut org = OrgBench::new();
    let reports = Reports::of_admission(&[FailOpen { gate: Gate::Rate, cause: Cause::StoreFault }]);
    let decision = Decision::judged(Some(DecisionId(9 << 64)), reports, false);
    let mut row = DenialRow::of(Asked::of(&ask()), &decision, 0, None, &org.clocks(), &"n2".into());
    row.add(row.clone());
    org.ask(NoteDenials { rows: vec![row], unstored: 0 }).unwrap();
    let rows = org.restart().denials();
    assert_eq!((rows[0].count, &*rows[0].node), (2, "n2"), "R-PIPE-9: the emergency cap and fail-opens as well");
    org.ask(NoteDenials { rows: vec![], unstored: 3 }).unwrap();
    let events = org.restart().events();
    let over: Vec<_> = events.iter().map(|row| row.what.clone()).collect();
    assert_eq!(
        over,
        [Happening::OverAdmitted { calls: 2, since: T0 }, Happening::OverAdmitted { calls: 3, since: T0 }],
        "R-EXPL-3"
    );
    org.ask(NoteDenials { rows: vec![], unstored: 0 }).unwrap();
    assert_eq!(org.numbers(), [1, 2], "nothing was let through");
}

#[test]
fn a_purge_forgets_denials_and_a_bound_of_zero_keeps_none() {
    let (mut org, asking) = nearly_used_up();
    org.acquire(asking.clone());
    org.ask(Purge).unwrap();
    assert_eq!(org.denials(), []);
    let (mut org, asking) = { (nearly_used_up().0, asking) };
    org.bounds.denials_per_org = 0;
    org.acquire(asking);
    assert_eq!(org.denials(), []);
}
