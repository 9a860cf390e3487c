//! Random lives of upstream accounts, held against a model that is a list of what was picked and said when.
//!
//! The model knows no ledger, no counters and no rows: it adds up. After every step each pool must show
//! what the model comes to, every pick must be the one that the model would make, and what was announced of
//! exhausted accounts must be what is so.

mod day;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::model::{Answer, Model};
use super::*;
use crate::domain::{
    command::{ClearAccount, ConfigurePool, NewAccount, PoolAsk, ReportOutcome},
    gate::Gate,
    ids::{AccountId, PoolId},
    org::PoolNews,
    policy::{PoolPolicy, PoolRules, PoolSettings},
    reply::{AccountView, Exhaustion, PoolSummary, PoolView, Route},
    rows::Reported,
    window::Calendar,
};

const SECOND: Millis = 1_000;
const POOLS: u8 = 2;

/// What is said of an account: limit, buffer, window.
type Said = (Option<u8>, Option<u8>, Option<Window>);

#[derive(Debug, Clone)]
enum Op {
    /// Pool, and its accounts.
    Configure(u8, BTreeMap<u8, Said>),
    /// The same accounts, with something else said of one.
    Adjust(u8, Said),
    /// Pool, and a key that may have been used before.
    Pick(u8, Option<u8>),
    /// The same, through the gates of the org.
    Gated(u8, Option<u8>),
    /// Through the gates, without an account; or only to see whether one would be picked, or is there.
    Ask(u8, Option<bool>),
    /// Pool, account or none, bytes.
    Report(u8, Option<u8>, Upstream, u32, u32),
    /// Pool, account, with the time that the upstream names, and how long ago the account was picked.
    Say(u8, u8, Upstream, Option<Millis>, Option<Millis>),
    /// Pool and account.
    Clear(u8, u8),
    /// The last report once more.
    ReportAgain,
    /// What the node is configured with: limit, buffer.
    Defaults(u8, u8),
    Freeze(bool),
    Pass(Millis),
    /// To one of the next instants at which something ends, or a millisecond off.
    PassTo(u8, i8),
    Roll,
    Sweep,
    Flush,
    Restart,
    Crash,
}

fn windows() -> impl Strategy<Value = Window> {
    prop::sample::select(vec![
        Window::Anchored { len: HOUR_MS },
        DAY_FROM_FIRST_USE,
        CLOCK_HOUR,
        Window::Aligned { len: DAY_MS },
        HOURLY,
        DAILY,
        Window::Calendar(Calendar::Day),
    ])
}

fn said() -> impl Strategy<Value = Said> {
    (prop::option::of(0..12_u8), prop::option::of(0..4_u8), prop::option::of(windows()))
}

fn accounts() -> impl Strategy<Value = BTreeMap<u8, Said>> {
    prop::collection::btree_map(0..5_u8, said(), 0..5)
}

fn ops() -> impl Strategy<Value = Op> {
    let pool = || prop_oneof![7 => Just(0), 1 => Just(1_u8)];
    let key = || prop::option::weighted(0.3, 0..3_u8);
    let outcome = upstream();
    let named = prop::option::of(prop::sample::select(vec![0, SECOND, MINUTE_MS, HOUR_MS, 2 * DAY_MS]));
    let picked = prop::option::of(prop::sample::select(vec![0, 1, SECOND, MINUTE_MS, HOUR_MS]));
    let time = prop_oneof![
        6 => (1..60_u64).prop_map(|seconds| seconds * SECOND),
        2 => prop::sample::select(vec![MINUTE_MS - 1, MINUTE_MS, MINUTE_MS + 1]),
        2 => prop::sample::select(vec![HOUR_MS / 2, HOUR_MS, 5 * HOUR_MS, DAY_MS, 2 * DAY_MS]),
    ];
    let account = prop::option::weighted(0.9, 0..5_u8);
    prop_oneof![
        4 => (pool(), accounts()).prop_map(|(pool, accounts)| Op::Configure(pool, accounts)),
        3 => (0..5_u8, said()).prop_map(|(id, said)| Op::Adjust(id, said)),
        24 => (pool(), key()).prop_map(|(pool, key)| Op::Pick(pool, key)),
        8 => (pool(), key()).prop_map(|(pool, key)| Op::Gated(pool, key)),
        2 => (pool(), any::<Option<bool>>()).prop_map(|(pool, check)| Op::Ask(pool, check)),
        12 => (pool(), account, outcome, 0..2_000_000_u32, 0..2_000_000_u32)
            .prop_map(|(pool, account, outcome, up, down)| Op::Report(pool, account, outcome, up, down)),
        8 => (pool(), 0..5_u8, upstream(), named, picked)
            .prop_map(|(pool, account, outcome, named, picked)| Op::Say(pool, account, outcome, named, picked)),
        2 => (pool(), 0..5_u8).prop_map(|(pool, account)| Op::Clear(pool, account)),
        1 => Just(Op::ReportAgain),
        2 => (0..12_u8, 0..4_u8).prop_map(|(limit, buffer)| Op::Defaults(limit, buffer)),
        1 => any::<bool>().prop_map(Op::Freeze),
        8 => time.prop_map(Op::Pass),
        8 => (0..4_u8, -1..=1_i8).prop_map(|(which, off)| Op::PassTo(which, off)),
        2 => Just(Op::Roll),
        2 => Just(Op::Sweep),
        2 => Just(Op::Flush),
        2 => Just(Op::Restart),
        2 => Just(Op::Crash),
    ]
}

fn upstream() -> impl Strategy<Value = Upstream> {
    prop::sample::select(vec![
        Upstream::Ok,
        Upstream::QuotaExhausted,
        Upstream::Refused,
        Upstream::Unavailable,
        Upstream::Failed,
    ])
}

fn account(id: u8) -> AccountId {
    AccountId::parse("account", &format!("account-{id}")).unwrap()
}

fn pool_id(id: u8) -> PoolId {
    PoolId::parse("pool", &format!("pool-{id}")).unwrap()
}

fn new_account(id: u8, (limit, buffer, window): Said) -> NewAccount {
    let (daily_limit, safety_buffer) = (limit.map(u64::from), buffer.map(u64::from));
    // One of them has a limit per minute as well.
    let per_minute = (id == 4).then_some(2);
    NewAccount { id: account(id), daily_limit, safety_buffer, window, per_minute }
}

/// The number at the end of a name.
fn number(name: &str) -> u8 {
    name.rsplit('-').next().unwrap().parse().unwrap()
}

struct Side {
    org: OrgBench,
    model: Model,
    durable: Model,
    /// What the gates of the org let pass in an hour.
    rate: u64,
    calls: u32,
    last_report: Option<(u8, Option<u8>, ReportOutcome, Upstream)>,
    /// Something has changed that nobody had to examine yet: it is announced later.
    late: bool,
}

impl Side {
    fn new(rate: u64) -> Self {
        let mut org = OrgBench::new();
        org.policy.rate.amount = Some(rate);
        let model = Model::new(org.policy.pools.clone());
        Self { org, durable: model.clone(), model, rate, calls: 0, last_report: None, late: false }
    }

    fn call(&mut self) -> Idempotency {
        self.calls += 1;
        key(&format!("call {}", self.calls))
    }

    fn step(&mut self, op: &Op) {
        self.model.now = self.org.now;
        match op {
            Op::Configure(pool, accounts) => {
                self.configure(*pool, accounts.iter().map(|(id, said)| new_account(*id, *said)).collect());
            }
            Op::Adjust(id, said) => {
                if let Some((pool, _)) = self.model.configured(*id) {
                    let accounts = self.model.pools[&pool].accounts.values().filter(|old| old.id != account(*id));
                    let changed = new_account(*id, *said);
                    self.configure(pool, accounts.cloned().chain([changed]).collect());
                }
            }
            Op::Pick(pool, key) => self.pick(*pool, *key),
            Op::Gated(pool, key) => self.gated(*pool, *key),
            Op::Ask(pool, check) => self.ask(*pool, *check),
            Op::Report(pool, id, outcome, up, down) => {
                let (bytes_up, bytes_down) = ((*up).into(), (*down).into());
                let report = ReportOutcome { bytes_up, bytes_down, ..self.said(*pool, *id, *outcome) };
                self.report(*pool, *id, report, *outcome);
            }
            Op::Say(pool, id, outcome, retry_after, picked) => {
                let picked_at = picked.map(|ago| self.org.now - ago);
                let report =
                    ReportOutcome { retry_after: *retry_after, picked_at, ..self.said(*pool, Some(*id), *outcome) };
                // A refusal of 429 that names a time only asks to wait.
                let limited = *outcome == Upstream::Refused && retry_after.is_some();
                let status = if limited { 429 } else { report.status };
                let outcome = if limited { Upstream::RateLimited } else { *outcome };
                self.report(*pool, Some(*id), ReportOutcome { status, ..report }, outcome);
            }
            Op::Clear(pool, id) => self.clear(*pool, *id),
            Op::ReportAgain => {
                if let Some((pool, id, report, outcome)) = self.last_report.clone() {
                    self.report(pool, id, report, outcome);
                }
            }
            Op::Defaults(limit, buffer) => {
                let (daily_limit, safety_buffer) = ((*limit).into(), (*buffer).into());
                let rules = PoolRules { daily_limit, safety_buffer, ..PoolRules::default() };
                self.org.policy.pools = Arc::new(PoolPolicy { rules, ..PoolPolicy::default() });
                self.model.policy = self.org.policy.pools.clone();
                self.late = true;
            }
            Op::Freeze(frozen) => {
                let call = self.call();
                let id = call.id.as_str();
                if *frozen { self.org.freeze(id) } else { self.org.unfreeze(id) }.unwrap();
                self.model.frozen = *frozen;
            }
            Op::Pass(by) => drop(self.org.after(*by)),
            Op::PassTo(which, off) => {
                let ends = self.model.ends();
                if let Some(at) = ends.get(usize::from(*which) % ends.len().max(1)) {
                    self.org.now = at.saturating_add_signed((*off).into());
                }
            }
            Op::Roll | Op::Sweep | Op::Flush | Op::Restart | Op::Crash => self.keep(op),
        }
        self.model.now = self.org.now;
        self.check();
    }

    /// What the node does by itself.
    fn keep(&mut self, op: &Op) {
        match op {
            Op::Roll => drop(self.org.ask(RollPools)),
            Op::Sweep => drop(self.org.sweep()),
            Op::Restart => drop(self.org.restart()),
            Op::Crash => {
                self.org.crash();
                self.model = self.model.lost_all_but(&self.durable);
            }
            _ => drop(self.org.flush()),
        }
        self.late = match op {
            Op::Roll | Op::Sweep => false,
            Op::Restart | Op::Crash => true,
            _ => self.late,
        };
        if matches!(op, Op::Sweep) {
            // What it told is kept with it.
            self.hear();
        }
        if !matches!(op, Op::Roll) {
            self.durable = self.model.clone();
        }
    }

    fn configure(&mut self, pool: u8, accounts: Vec<NewAccount>) {
        let (idempotency, expected_version) = (self.call(), None);
        let (pool_id, settings) = (pool_id(pool), None);
        let set = ConfigurePool { pool: pool_id, accounts: accounts.clone(), settings, expected_version, idempotency };
        let reply = self.org.ask(Box::new(set));
        let by_id = accounts.into_iter().map(|new| (number(new.id.as_str()), new)).collect();
        match self.model.configure(pool, by_id) {
            true => {
                let done = reply.unwrap();
                assert!(!done.replayed);
                assert_eq!(done.view.version, self.model.view(pool).version);
            }
            false => assert!(matches!(reply, Err(OrgError::AccountInOtherPool { .. })), "{reply:?}"),
        }
    }

    fn pick(&mut self, pool: u8, key: Option<u8>) {
        let name = key.map(|key| format!("plain {key} of {pool}"));
        let answer = self.model.ask(pool, None, name.as_deref());
        let idempotency = name.as_deref().map(super::key);
        let reply = self.org.ask(Pick { pool: pool_id(pool), idempotency });
        self.model.pick(pool, answer, name);
        self.compare(pool, answer, &reply);
    }

    fn gated(&mut self, pool: u8, key: Option<u8>) {
        let name = key.map(|key| format!("gated {key} of {pool}"));
        let answer = self.model.ask(pool, Some(self.rate), name.as_deref());
        let idempotency = name.as_deref().map(super::key);
        let named = Some(PoolAsk { pool: pool_id(pool), pick: true });
        let reply = self.decide(Acquire { pool: named, idempotency, ..ask() });
        self.model.pick(pool, answer, name);
        if matches!(answer, Answer::Picked { .. }) {
            self.model.admit();
        }
        self.compare(pool, answer, &reply);
    }

    fn decide(&mut self, ask: Acquire) -> Result<Box<Decision>, OrgError> {
        self.org.try_acquire(ask).map(|decided| decided.expect("a decision"))
    }

    fn ask(&mut self, pool: u8, check: Option<bool>) {
        let mode = if check.is_some() { Mode::CheckOnly } else { Mode::Normal };
        let named = Some(PoolAsk { pool: pool_id(pool), pick: check.unwrap_or(false) });
        let answer = match self.model.ask(pool, Some(self.rate), None) {
            Answer::Picked { .. } => Answer::Passed,
            other => other,
        };
        let reply = self.decide(Acquire { pool: named, mode, ..ask() });
        if answer == Answer::Passed && mode == Mode::Normal {
            self.model.admit();
        }
        self.compare(pool, answer, &reply);
    }

    /// The model has taken the call already.
    fn compare(&self, pool: u8, answer: Answer, reply: &Result<Box<Decision>, OrgError>) {
        if answer == Answer::PoolUnknown {
            return assert_eq!(reply, &Err(OrgError::PoolUnknown));
        }
        let decision = reply.as_ref().unwrap();
        let picked = |id: u8, last_resort| {
            let view = self.model.configured(id).map(|(home, _)| self.model.views(home));
            let name = account(id).masked();
            let left = view.and_then(|views| views.iter().find(|view| view.account == name).map(|view| view.left));
            Some((account(id), left.unwrap_or(0), last_resort))
        };
        let (code, account) = match answer {
            Answer::Again(id) => (Code::Allowed, picked(id, false)),
            Answer::Picked { account, last_resort } => (Code::Allowed, picked(account, last_resort)),
            Answer::Denied(code) => (code, None),
            Answer::Passed | Answer::PoolUnknown => (Code::Allowed, None),
        };
        let shown = decision.account.clone().map(|picked| (picked.id, picked.remaining, picked.last_resort));
        assert_eq!((decision.code(), shown), (code, account), "R-POOL-2: {:?}", self.model.view(pool));
        assert_eq!(decision.allowed, code == Code::Allowed);
        assert_eq!(decision.replayed, matches!(answer, Answer::Again(_)));
        if code == Code::AccountsExhausted {
            let soonest = self.model.view(pool).summary.soonest_reset;
            // A plain pick passes no other gate, and shows no limits.
            let is_over = !decision.limits.is_empty() && self.model.admitted() >= self.rate;
            let backstop = if is_over { HOUR_MS - self.model.now % HOUR_MS } else { 0 };
            let retry_after = soonest.map_or(0, |due| backstop.max(due.at - self.model.now));
            let said = (decision.gate(), decision.retry_after());
            assert_eq!(said, (Some(Gate::Accounts), retry_after), "R-POOL-3, R-PIPE-5");
        }
    }

    fn said(&mut self, pool: u8, id: Option<u8>, outcome: Upstream) -> ReportOutcome {
        let (status, text) = said_by(outcome);
        ReportOutcome {
            pool: pool_id(pool),
            account: id.map(account),
            status,
            text: text.to_owned(),
            retry_after: None,
            picked_at: None,
            bytes_up: 0,
            bytes_down: 0,
            idempotency: Some(self.call()),
        }
    }

    fn report(&mut self, pool: u8, id: Option<u8>, report: ReportOutcome, outcome: Upstream) {
        let reply = self.org.ask(Box::new(report.clone()));
        match self.model.report(pool, id, &report, outcome) {
            None => assert_eq!(reply, Err(OrgError::PoolUnknown)),
            Some((known, replayed)) => {
                let outcome = OutcomeReported { outcome, known };
                assert_eq!(reply, Ok(Done { outcome, replayed }));
            }
        }
        self.last_report = Some((pool, id, report, outcome));
    }

    fn clear(&mut self, pool: u8, id: u8) {
        let idempotency = self.call();
        let reply = self.org.ask(Box::new(ClearAccount { pool: pool_id(pool), account: account(id), idempotency }));
        match self.model.clear(pool, id) {
            Ok(was_held) => {
                let done = reply.unwrap();
                assert_eq!((done.outcome.was_held, done.view.route, done.replayed), (was_held, None, false));
            }
            Err(refused) => assert_eq!(reply.map(|_| ()), Err(refused)),
        }
    }

    /// Takes what was announced: each change once.
    fn hear(&mut self) {
        for news in self.org.state.take_news().pools {
            let model = &mut self.model;
            let new = match &news {
                PoolNews::AccountExhausted { account, by, .. } => {
                    let id = number(&account.account);
                    let home = model.configured(id).unwrap().0;
                    let view = model.views(home).into_iter().find(|view| view.account == account.account).unwrap();
                    assert_eq!(view.exhausted, Some(*by));
                    model.told.insert(id)
                }
                PoolNews::AccountUsable { account, .. } => model.told.remove(&number(&account.account)),
                PoolNews::PoolExhausted { pool, accounts } => {
                    assert_eq!(accounts.len(), model.pools[&number(pool.as_str())].accounts.len());
                    model.told_pools.insert(number(pool.as_str()))
                }
                PoolNews::PoolUsable { pool } => model.told_pools.remove(&number(pool.as_str())),
            };
            assert!(new, "R-POOL-6: told twice: {news:?}");
        }
    }

    fn check(&mut self) {
        for pool in 0..POOLS {
            let reply = self.org.ask(GetPool { id: pool_id(pool) });
            if !self.model.pools.contains_key(&pool) {
                assert_eq!(reply, Err(OrgError::PoolUnknown));
                continue;
            }
            let mut shown = reply.unwrap();
            shown.accounts.iter_mut().for_each(|account| account.reported.until = 0);
            assert_eq!(*shown, self.model.view(pool));
        }
        self.hear();
        if !self.late {
            let told = (self.model.told.clone(), self.model.told_pools.clone());
            assert_eq!(told, self.model.exhausted(), "R-POOL-6: what was announced is what is so");
        }
        assert_eq!(self.org.used("rate"), self.model.admitted(), "both are charged or neither");
        let audit = self.org.ask(RunAudit).unwrap();
        assert_eq!(audit.unwrap_or_default().drift, vec![], "R-BUD-3");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::properties::cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_life_of_an_account_agrees_with_the_naive_model(
        rate in 1..8_u64,
        first in accounts(),
        history in prop::collection::vec(ops(), 1..60),
    ) {
        let mut side = Side::new(rate);
        side.step(&Op::Configure(0, first));
        for op in &history {
            side.step(op);
        }
    }
}

#[test]
fn what_was_reported_before_a_window_counts_in_it_and_ends_with_it() {
    let mut side = Side::new(1);
    let report = |outcome| Op::Report(0, Some(2), outcome, 0, 0);
    for op in [
        Op::Configure(0, [(2, (None, None, None))].into()),
        report(Upstream::Refused),
        Op::Pass(HOUR_MS),
        report(Upstream::QuotaExhausted),
        // The end of what began with the refusal is not the end of the window.
        Op::Pass(DAY_MS - HOUR_MS),
        Op::Pass(HOUR_MS),
    ] {
        side.step(&op);
    }
}
