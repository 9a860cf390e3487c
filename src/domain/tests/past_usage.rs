//! Usage of past days and months: what finance gets is what happened, whatever became of the slices.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{
    disk::{Period, period},
    *,
};
use crate::{
    bounds::{USAGE_DAYS_MS, USAGE_MONTHS_MS},
    domain::{
        command::GetUsage,
        ids::Scope,
        rows::UsageKeptRow,
        window::{HOUR_RETENTION_MS, month, month_end},
    },
};

const fn day(at: Millis) -> Millis {
    at / DAY_MS * DAY_MS
}

impl OrgBench {
    fn sliced(&mut self, ask: GetUsage) -> Vec<(Period, u64)> {
        let sliced = self.ask(ask).unwrap();
        let days = sliced.map(|sliced| sliced.days).unwrap_or_default();
        days.into_iter().map(|row| (period(&row.scope, &row.plane, &row.meter, row.start), row.amount)).collect()
    }

    /// Every day that is in slices or has a row; none is in both.
    fn days(&mut self) -> BTreeMap<Period, u64> {
        let mut days: BTreeMap<_, _> = self.disk.usage_days().into_iter().collect();
        for (period, amount) in self.sliced(everything()) {
            assert_eq!(days.insert(period.clone(), amount), None, "{period:?} is in slices and in a row");
        }
        days
    }
}

fn named(scope: &Scope, meter: &Meter, start: Millis) -> Period {
    period(scope, &Plane::unnamed(), meter, start)
}

fn everything() -> GetUsage {
    GetUsage {
        from: 0,
        to: Millis::MAX,
        scope: None,
        meter: None,
        after: None,
        after_plane: None,
        by_plane: true,
        max: usize::MAX,
    }
}

/// Sweeps when the timers say so, with a while between two, until `end`.
fn idle(org: &mut OrgBench, end: Millis) {
    org.flush();
    while let Some(at) = org.disk.wake_at().filter(|at| *at <= end) {
        org.at(at.max(org.now + 10 * MINUTE_MS)).sweep();
    }
    org.now = org.now.max(end);
}

#[test]
fn a_day_goes_from_its_slices_into_a_row_and_from_there_into_its_month() {
    let mut org = OrgBench::new();
    org.record("workspace/a", spend(5), "a").unwrap();
    org.after(3 * HOUR_MS).record("", spend(2), "b").unwrap();
    org.after(DAY_MS).record("", spend(1), "c").unwrap();
    org.flush();
    let of = |name: &str, at| named(&scope(name), &Meter::spend(), day(at));
    let expected = BTreeMap::from([(of("", T0), 7), (of("workspace/a", T0), 5), (of("", T0 + DAY_MS), 1)]);
    assert_eq!(org.days(), expected, "R-CTRL-2");
    org.at(day(T0) + DAY_MS + HOUR_RETENTION_MS - 1).sweep();
    assert_eq!(org.disk.usage_days(), [], "all slices of a day stay until the day is over by their retention");
    org.at(day(T0) + DAY_MS + HOUR_RETENTION_MS).sweep();
    assert_eq!(org.disk.usage_days().len(), 2);
    assert_eq!(org.restart().days(), expected);
    org.at(day(T0) + 2 * DAY_MS + HOUR_RETENTION_MS).sweep();
    assert_eq!((org.disk.usage_days().len(), org.snapshot().ledgers), (3, vec![]));
    let june = month_end(T0);
    org.at(june + USAGE_DAYS_MS - 1).restart().sweep();
    assert_eq!(org.days(), expected, "400 days behind the end of their month");
    org.at(june + USAGE_DAYS_MS).restart().sweep();
    assert_eq!(org.days(), BTreeMap::new());
    let of_month = |name: &str| named(&scope(name), &Meter::spend(), month(T0));
    assert_eq!(org.disk.usage_months(), [(of_month(""), 8), (of_month("workspace/a"), 5)]);
    org.at(june + USAGE_MONTHS_MS - 1).restart().sweep();
    assert_eq!(org.disk.usage_months().len(), 2);
    org.at(june + USAGE_MONTHS_MS).restart().sweep();
    assert!(org.disk.is_empty(), "and then the org is spent");
}

#[test]
fn an_org_that_has_nothing_but_its_past_is_not_forgotten_and_loads_none_of_it() {
    let mut org = OrgBench::new();
    for at in 0..30 {
        org.at(T0 + at * DAY_MS).record("workspace/a", spend(1), &format!("r{at}")).unwrap();
    }
    idle(&mut org, T0 + HOUR_RETENTION_MS + 35 * DAY_MS);
    assert!(org.inspect().is_some_and(|snapshot| snapshot.ledgers.is_empty()));
    assert_eq!(org.disk.usage_days().len(), 60);
    // The head, its timer, and how many rows there are.
    assert_eq!(org.disk.rows().rows.len(), 3);
    org.ask(Purge).unwrap();
    org.flush();
    assert!(org.disk.is_empty(), "a purge forgets the past as well");
}

#[test]
fn a_page_goes_on_behind_its_last_day_whatever_the_names() {
    let mut org = OrgBench::new();
    for (at, name) in ["", "b", "aa", "workspace/a", "c"].into_iter().enumerate() {
        org.record(name, both(spend(1), executions(2)), &format!("r{at}")).unwrap();
        org.after(DAY_MS);
    }
    let all = org.ask(everything()).unwrap().unwrap().days;
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(crate::domain::usage::UsagePlace::of);
        let page = org.ask(GetUsage { after, max: 3, ..everything() }).unwrap().unwrap();
        assert!(page.days.len() <= 3);
        paged.extend(page.days);
        if !page.is_cut {
            break;
        }
    }
    assert_eq!(paged, all);
    let one = GetUsage { scope: Some(scope("aa")), meter: Some(Meter::spend()), ..everything() };
    assert_eq!(org.sliced(one), [(named(&scope("aa"), &Meter::spend(), day(T0) + 2 * DAY_MS), 1)]);
    let within = GetUsage { from: day(T0) + DAY_MS, to: day(T0) + 2 * DAY_MS, scope: Some(scope("b")), ..everything() };
    assert_eq!(org.sliced(within).len(), 2, "both meters of one day");
}

#[test]
fn what_a_session_and_a_hold_use_is_their_planes() {
    let mut org = OrgBench::new();
    let plane = |name: &str| Plane::parse("plane", name).unwrap();
    let asked = Acquire { plane: plane("eu-1"), cost: executions(1), ..reserving(spend(5)) };
    let held = org.acquire(asked).hold.unwrap().id;
    org.restart();
    org.commit(held, spend(7), "c").unwrap();
    let of = |name: &str, meter| period(&Scope::org(), &plane(name), &meter, day(T0));
    let (days, spent, ran) = (org.days(), of("eu-1", Meter::spend()), of("eu-1", Meter::executions()));
    assert_eq!((days.get(&spent), days.get(&ran)), (Some(&7), Some(&1)), "R-CTRL-2");
}

#[test]
fn a_clock_that_is_put_right_takes_what_it_had_put_away_back_into_slices() {
    let mut org = OrgBench::new();
    org.record("", spend(4), "a").unwrap();
    idle(&mut org, T0 + 500 * DAY_MS);
    assert_eq!(org.disk.usage_months().len(), 1);
    org.repaired(T0 + 2 * HOUR_MS);
    assert_eq!(org.disk.usage_months(), []);
    org.record("", spend(3), "b").unwrap();
    idle(&mut org, T0 + HOUR_RETENTION_MS + 3 * DAY_MS);
    let of = |amount| (named(&Scope::org(), &Meter::spend(), day(T0)), amount);
    assert_eq!(org.disk.usage_days(), [of(7)], "no row is written over another");
}

#[derive(Debug, Clone)]
enum Op {
    /// In one of the scopes, so much of one of the meters, so long ago.
    Use(u8, u8, u64, Millis),
    /// An execution of so many bytes, through one of the planes or through none; held before, or charged at once.
    Run(u8, u64, bool),
    /// With every sweep that is due.
    Idle(Millis),
    /// With none, as if the node was away.
    Jump(Millis),
    Sweep,
    Restart,
    Crash,
}

fn ops() -> impl Strategy<Value = Op> {
    let long = prop_oneof![
        4 => 0..3 * HOUR_MS,
        4 => 0..4 * DAY_MS,
        2 => 0..60 * DAY_MS,
        1 => 0..500 * DAY_MS,
        1 => 0..3_000 * DAY_MS,
    ];
    let late = prop_oneof![3 => Just(0), 1 => 0..HOUR_RETENTION_MS + HOUR_MS];
    prop_oneof![
        8 => (0..4_u8, 0..2_u8, 0..9_u64, late).prop_map(|(scope, meter, amount, late)| Op::Use(scope, meter, amount, late)),
        8 => (0..24_u8, 0..9_u64, any::<bool>()).prop_map(|(plane, amount, held)| Op::Run(plane, amount, held)),
        4 => long.clone().prop_map(Op::Idle),
        2 => long.prop_map(Op::Jump),
        1 => Just(Op::Sweep),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ]
}

const SCOPES: [&str; 4] = ["", "a", "workspace/b", "account/k"];

/// Everything that happened, as a list.
#[derive(Debug, Clone, Default)]
struct Told {
    events: Vec<(&'static str, Meter, Millis, u64)>,
    /// What went through a plane.
    through: Vec<(String, Meter, Millis, u64)>,
}

impl Told {
    fn totals(&self, of: impl Fn(Millis) -> Millis) -> BTreeMap<Period, u64> {
        let mut totals = BTreeMap::new();
        for (name, meter, at, amount) in self.events.iter().filter(|(.., amount)| *amount > 0) {
            let in_org = !name.starts_with("account/");
            let places = [Some(*name).filter(|name| !name.is_empty()), Some("").filter(|_| in_org)];
            for place in places.into_iter().flatten() {
                *totals.entry(named(&scope(place), meter, of(*at))).or_default() += amount;
            }
        }
        // The first sixteen planes of a day by their names, the rest as one.
        let mut known: BTreeMap<Millis, Vec<&str>> = BTreeMap::new();
        for (plane, meter, at, amount) in self.through.iter().filter(|(.., amount)| *amount > 0) {
            let known = known.entry(day(*at)).or_default();
            if !known.contains(&plane.as_str()) && known.len() < 16 {
                known.push(plane);
            }
            let plane = if known.contains(&plane.as_str()) { plane } else { "other" };
            let plane = Plane::parse("plane", plane).unwrap();
            *totals.entry(period(&Scope::org(), &plane, meter, of(*at))).or_default() += amount;
        }
        totals
    }
}

/// Every day is what the list says, or is in its month; every month is, unless its time is over.
fn check(org: &mut OrgBench, told: &Told) {
    let (days, months) = (org.days(), org.disk.usage_months());
    let by_month = told.totals(month);
    for (period, amount) in &months {
        assert_eq!(by_month.get(period), Some(amount), "{period:?} at {}", org.now);
        assert!(month_end(period.3) + USAGE_DAYS_MS <= org.now, "R-CTRL-2: too early: {period:?}");
    }
    let mut expected = told.totals(day);
    let rolled: BTreeMap<_, _> = months.into_iter().collect();
    expected.retain(|named, _| {
        let (scope, plane, meter, start) = named.clone();
        let of_month = (scope, plane, meter, month(start));
        let is_over = month_end(start) + USAGE_MONTHS_MS <= org.now && !days.contains_key(named);
        !rolled.contains_key(&of_month) && !is_over
    });
    assert_eq!(days, expected, "R-CTRL-2 at {}", org.now);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::properties::cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn totals_by_day_and_month_are_those_of_a_list_of_everything(history in prop::collection::vec(ops(), 1..40)) {
        let mut org = OrgBench::new();
        let (mut told, mut durable) = (Told::default(), Told::default());
        org.policy.rate.amount = None;
        for (step, op) in (0..).zip(&history) {
            match op {
                Op::Use(which, meter, amount, late) => {
                    let name = SCOPES[usize::from(*which)];
                    let meter = if *meter == 0 { Meter::executions() } else { Meter::bytes() };
                    let usage = smallvec![(meter.clone(), *amount)];
                    let (at, idempotency) = (org.now - late, key(&format!("r{step}")));
                    let occurred_at = (*late > 0).then_some(at);
                    let scopes = scope(name).into();
                    let done = org.ask(Record { scopes, usage, decision: None, occurred_at, idempotency });
                    if done.is_ok() {
                        told.events.push((name, meter, at, *amount));
                    } else {
                        prop_assert!(*late > HOUR_RETENTION_MS, "{done:?}");
                    }
                }
                Op::Run(plane, amount, held) => {
                    let (meter, used) = (Meter::bytes(), smallvec![(Meter::bytes(), *amount)]);
                    let name = if *plane == 0 { String::new() } else { format!("p{plane}") };
                    let plane = Plane::parse("plane", &name).unwrap();
                    let cost = if *held { Amounts::new() } else { used.clone() };
                    let reserve = if *held { used.clone() } else { Amounts::new() };
                    let asked = org.acquire(Acquire { plane, cost, reserve, ..ask() });
                    prop_assert!(asked.allowed);
                    if let Some(hold) = asked.hold {
                        org.restart();
                        durable = told.clone();
                        org.commit(hold.id, used, &format!("c{step}")).unwrap();
                    }
                    told.events.push(("", meter.clone(), org.now, *amount));
                    if !name.is_empty() {
                        told.through.push((name, meter, org.now, *amount));
                    }
                }
                Op::Idle(length) => {
                    let end = org.now + length;
                    idle(&mut org, end);
                    durable = told.clone();
                }
                Op::Jump(length) => {
                    org.flush();
                    org.after(*length);
                    durable = told.clone();
                }
                Op::Sweep => {
                    org.sweep();
                    durable = told.clone();
                }
                Op::Restart => {
                    org.restart();
                    durable = told.clone();
                }
                Op::Crash => {
                    org.crash();
                    told = durable.clone();
                }
            }
            check(&mut org, &told);
            if org.disk.is_empty() && org.inspect().is_none() {
                // Forgotten, or never stored.
                prop_assert!(org.disk.kept_usage() == UsageKeptRow::default());
            }
        }
    }
}
