//! Random histories of an org with more scopes than ledgers, held against a model that keeps a list of what
//! happened and nothing else: where it is counted, and that no limit of a pattern admits more than it says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{properties::cases, *};
use crate::{
    bounds::SETTLEMENT_LEDGERS,
    domain::window::{Calendar, HOUR_RETENTION_MS},
};

/// What a pattern gives each agent, per window.
const AMOUNT: u64 = 4;
const WINDOWS: [Window; 4] = [HOURLY, DAILY, CLOCK_HOUR, Window::Calendar(Calendar::Day)];
const SCOPES: [&str; 9] = ["agent/0", "agent/1", "agent/2", "agent/3", "agent/4", "ws/0", "ws/1", "ws/2", "ws/named"];
const SHARED: &str = "other/agent/*";
const METERS: [&str; 2] = [Meter::EXECUTIONS, Meter::SPEND];

#[derive(Debug, Clone)]
enum Op {
    /// Scopes as bits, cost of each meter, executions to reserve.
    Acquire(u16, [u64; 2], u64),
    Commit(usize, [u64; 2]),
    Release(usize),
    Record(u16, [u64; 2]),
    Time(Millis),
    Sweep,
    Restart,
    Room(u32),
}

fn ops() -> impl Strategy<Value = Op> {
    let amounts = || [0..3u64, 0..2u64];
    let scopes = || (0..SCOPES.len(), 0..SCOPES.len(), any::<bool>());
    let bits = |(one, other, both): (usize, usize, bool)| 1u16 << one | if both { 1 << other } else { 0 };
    let minutes = prop_oneof![Just(1u64), Just(7), Just(45), Just(61), Just(25 * 60), Just(36 * 24 * 60)];
    prop_oneof![
        8 => (scopes(), amounts(), 0..3u64).prop_map(move |(set, cost, held)| Op::Acquire(bits(set), cost, held)),
        2 => (any::<usize>(), amounts()).prop_map(|(which, actual)| Op::Commit(which, actual)),
        1 => any::<usize>().prop_map(Op::Release),
        2 => (scopes(), amounts()).prop_map(move |(set, usage)| Op::Record(bits(set), usage)),
        3 => minutes.prop_map(|minutes| Op::Time(minutes * MINUTE_MS)),
        1 => Just(Op::Sweep),
        1 => Just(Op::Restart),
        1 => (2..6u32).prop_map(Op::Room),
    ]
}

type Pair = (String, &'static str);

/// What is held, and in which ledgers.
#[derive(Debug, Clone)]
struct Held {
    id: DecisionId,
    scopes: Vec<&'static str>,
    amount: u64,
    places: Vec<Pair>,
    expires_at: Millis,
}

struct Histories {
    org: OrgBench,
    window: Window,
    /// What happened, by the names of the calls: when, to whom, executions.
    truth: Vec<(Millis, Vec<&'static str>, u64)>,
    /// When and how much was counted in each ledger.
    counted: BTreeMap<Pair, Vec<(Millis, u64)>>,
    held: Vec<Held>,
    /// Ledgers of agents that were opened while others shared one.
    late: BTreeSet<String>,
    calls: u64,
}

fn named(bits: u16) -> Vec<&'static str> {
    SCOPES.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name).collect()
}

fn set(names: &[&str]) -> Scopes {
    names.iter().map(|name| scope(name)).collect()
}

fn amounts(of: [u64; 2]) -> Amounts {
    METERS.iter().zip(of).map(|(meter, amount)| (Meter::parse("meter", meter).unwrap(), amount)).collect()
}

impl Histories {
    fn new(window: Window) -> Self {
        let mut org = OrgBench::new().and_scope("ws/named", [executions_limit(window, 1_000)]);
        org.policy.scope_prefixes.insert("agent/".into(), vec![executions_limit(window, AMOUNT)].into());
        org.bounds.ledgers_per_org = 2;
        let (truth, counted, held, late) = (Vec::new(), BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { org, window, truth, counted, held, late, calls: 0 }
    }

    fn has_ledger(&self, pair: &Pair) -> bool {
        let holds = |held: &Held| held.places.contains(pair);
        self.counted.get(pair).is_some_and(|counted| !counted.is_empty()) || self.held.iter().any(holds)
    }

    /// Ledgers of scopes that are not shared.
    fn ledgers(&self) -> usize {
        let held = self.held.iter().flat_map(|held| held.places.iter().cloned());
        let pairs: BTreeSet<Pair> = self.counted.keys().cloned().chain(held).collect();
        let own = |pair: &&Pair| !pair.0.is_empty() && !pair.0.starts_with("other") && self.has_ledger(pair);
        pairs.iter().filter(own).count()
    }

    /// Where each meter is counted, of those that have an amount.
    fn places(&self, scopes: &[&'static str], of: [u64; 2], reserve: u64) -> Vec<Vec<Pair>> {
        let most = self.org.bounds.ledgers_per_org as usize;
        let (mut opened, mut places) = (self.ledgers(), Vec::new());
        // The reserve finds room behind the cost.
        let mut meters: Vec<_> = METERS.into_iter().zip([of[0] + reserve, of[1]]).collect();
        meters.rotate_left(usize::from(of[0] == 0));
        for (meter, amount) in meters {
            let mut of_meter: Vec<Pair> = Vec::new();
            for name in scopes.iter().filter(|_| amount > 0) {
                let pair = ((*name).to_owned(), meter);
                let limited = name.starts_with("agent/") && meter == Meter::EXECUTIONS;
                let room = if limited { SETTLEMENT_LEDGERS * most } else { most };
                let is_listed = *name == "ws/named" && meter == Meter::EXECUTIONS;
                if self.has_ledger(&pair) || is_listed {
                    of_meter.push(pair);
                } else if opened < room {
                    opened += 1;
                    of_meter.push(pair);
                } else {
                    of_meter.push((if limited { SHARED } else { "other" }.to_owned(), meter));
                }
            }
            if amount > 0 {
                of_meter.push((String::new(), meter));
            }
            of_meter.sort_unstable();
            of_meter.dedup();
            places.push(of_meter);
        }
        places.rotate_right(usize::from(of[0] == 0));
        places
    }

    fn folded(scopes: &[&'static str], places: &[Vec<Pair>]) -> Scopes {
        let counted = |name: &str, of_meter: &Vec<Pair>| of_meter.iter().any(|(place, _)| place == name);
        let is_folded = |name: &&&str| places.iter().any(|of_meter| !of_meter.is_empty() && !counted(name, of_meter));
        scopes.iter().filter(is_folded).map(|name| scope(name)).collect()
    }

    fn note_openings(&mut self, places: &[Vec<Pair>]) {
        let shares = self.has_ledger(&(SHARED.to_owned(), Meter::EXECUTIONS));
        for pair in places.iter().flatten().filter(|pair| pair.1 == Meter::EXECUTIONS && pair.0.starts_with("agent/")) {
            if shares && !self.has_ledger(pair) {
                self.late.insert(pair.0.clone());
            }
        }
    }

    fn count(&mut self, scopes: &[&'static str], places: &[Vec<Pair>], of: [u64; 2]) {
        self.truth.push((self.org.now, scopes.to_vec(), of[0]));
        for (of_meter, amount) in places.iter().zip(of).filter(|(_, amount)| *amount > 0) {
            for pair in of_meter {
                self.counted.entry(pair.clone()).or_default().push((self.org.now, amount));
            }
        }
    }

    /// What an agent has used in the window and holds, wherever it was counted.
    fn taken(&self, agent: &str) -> u64 {
        let from = self.window.start(self.org.now);
        let used = self.truth.iter().filter(|(at, scopes, _)| *at >= from && scopes.contains(&agent));
        let held = self.held.iter().filter(|held| held.scopes.contains(&agent));
        used.map(|(.., amount)| amount).chain(held.map(|held| &held.amount)).sum()
    }

    fn acquire(&mut self, scopes: &[&'static str], cost: [u64; 2], reserve: u64) {
        let places = self.places(scopes, cost, reserve);
        let reserved = if reserve > 0 { executions(reserve) } else { Amounts::new() };
        let ask = Acquire { scopes: set(scopes), cost: amounts(cost), reserve: reserved, ..ask() };
        let decision = self.org.acquire(ask);
        assert_eq!(decision.folded, Self::folded(scopes, &places), "{scopes:?}");
        let asked = cost[0] + reserve;
        let fits = |agent: &&&str| {
            let taken = self.taken(agent);
            if asked == 0 { taken < AMOUNT } else { taken + asked <= AMOUNT }
        };
        let agents: Vec<_> = scopes.iter().filter(|name| name.starts_with("agent/")).collect();
        let all_fit = agents.iter().all(fits);
        if decision.allowed {
            assert!(all_fit, "R-PIPE-3: never more than the limit of a scope: {scopes:?}");
        }
        let alone =
            |agent: &&str| !self.late.contains(*agent) && self.has_ledger(&((*agent).to_owned(), Meter::EXECUTIONS));
        let shares = self.has_ledger(&(SHARED.to_owned(), Meter::EXECUTIONS));
        if !shares || agents.iter().all(|agent| alone(agent)) {
            assert_eq!(decision.allowed, all_fit, "judged by its own ledger alone: {scopes:?}");
        }
        if decision.allowed {
            self.note_openings(&places);
            self.count(scopes, &places, cost);
            if let Some(hold) = decision.hold {
                let (scopes, places) = (scopes.to_vec(), places[0].clone());
                self.held.push(Held { id: hold.id, scopes, amount: reserve, places, expires_at: hold.expires_at });
            }
        }
    }

    fn settle(&mut self, which: usize, actual: Option<[u64; 2]>) {
        if self.held.is_empty() {
            return;
        }
        let at = which % self.held.len();
        let Some(actual) = actual else {
            let held = self.held.remove(at);
            self.org.release(held.id, &format!("r{}", self.calls)).unwrap();
            return;
        };
        let scopes = self.held[at].scopes.clone();
        let places = self.places(&scopes, actual, 0);
        self.note_openings(&places);
        let held = self.held.remove(at);
        self.count(&scopes, &places, actual);
        let done = self.org.settle(held.id, amounts(actual), &format!("c{}", self.calls)).unwrap();
        assert_eq!(done.view.folded, Self::folded(&scopes, &places));
    }

    fn record(&mut self, scopes: &[&'static str], usage: [u64; 2]) {
        let places = self.places(scopes, usage, 0);
        self.note_openings(&places);
        self.count(scopes, &places, usage);
        let idempotency = key(&format!("u{}", self.calls));
        let record =
            Record { scopes: set(scopes), usage: amounts(usage), decision: None, occurred_at: None, idempotency };
        assert_eq!(self.org.ask(record).unwrap().view, Self::folded(scopes, &places));
    }

    fn sweep(&mut self) {
        self.org.sweep();
        let now = self.org.now;
        for counted in self.counted.values_mut() {
            counted.retain(|(at, _)| at / DAY_MS * DAY_MS + DAY_MS + HOUR_RETENTION_MS > now);
        }
    }

    /// Of a ledger without usage nobody knows any more when it was opened.
    fn restart(&mut self) {
        self.org.restart();
        let pairs: Vec<Pair> = SCOPES.iter().map(|name| ((*name).to_owned(), Meter::EXECUTIONS)).collect();
        let unused = |pair: &&Pair| self.counted.get(*pair).is_none_or(Vec::is_empty) && self.has_ledger(pair);
        let shared = ["other", SHARED]
            .iter()
            .any(|name| METERS.iter().any(|meter| self.has_ledger(&((*name).to_owned(), meter))));
        let suspect: Vec<_> = pairs.iter().filter(unused).filter(|_| shared).map(|pair| pair.0.clone()).collect();
        self.late.extend(suspect);
    }

    fn step(&mut self, op: &Op) {
        self.calls += 1;
        match op {
            Op::Acquire(bits, cost, reserve) => self.acquire(&named(*bits), *cost, *reserve),
            Op::Commit(which, actual) => self.settle(*which, Some(*actual)),
            Op::Release(which) => self.settle(*which, None),
            Op::Record(bits, usage) => self.record(&named(*bits), *usage),
            Op::Time(passed) => {
                self.org.after(*passed);
                let now = self.org.now;
                self.held.retain(|held| held.expires_at > now);
            }
            Op::Sweep => self.sweep(),
            Op::Restart => self.restart(),
            Op::Room(ledgers) => self.org.bounds.ledgers_per_org = *ledgers,
        }
        self.compare();
        let unopened: Vec<_> =
            self.late.iter().filter(|name| !self.has_ledger(&((*name).clone(), Meter::EXECUTIONS))).cloned().collect();
        self.late.retain(|name| !unopened.contains(name));
    }

    /// Every ledger is what the model says, the one of the org with all that counts in it.
    fn compare(&mut self) {
        let Some(snapshot) = self.org.inspect() else { return };
        let mut expected: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for ((name, meter), counted) in self.counted.iter().filter(|(_, counted)| !counted.is_empty()) {
            let total = counted.iter().map(|(_, amount)| amount).sum();
            expected.insert((name.clone(), (*meter).to_owned()), (total, 0));
        }
        for held in &self.held {
            for (name, meter) in &held.places {
                expected.entry((name.clone(), (*meter).to_owned())).or_default().1 += held.amount;
            }
        }
        let found = snapshot.ledgers.iter().map(|view| {
            let total = view.hours.iter().map(|hour| hour.total).sum();
            ((view.scope.as_str().to_owned(), view.meter.to_string()), (total, view.reserved))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(self.org.ask(RunAudit).unwrap().unwrap().drift, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_charge_counts_in_the_org_and_in_one_ledger_of_each_scope_and_no_limit_admits_more_than_it_says(
        window in prop::sample::select(&WINDOWS[..]),
        history in prop::collection::vec(ops(), 1..60),
    ) {
        let mut histories = Histories::new(window);
        history.iter().for_each(|op| histories.step(op));
    }
}
