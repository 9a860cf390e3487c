//! Random lives of sessions, held against a model that is a list of what was booked when.
//!
//! The model knows no ledger, no reservation rows and no tables: it adds up. After every step the
//! org must show the same compute in its month, the same holds and the same sessions, and no start may
//! ever have passed the quota.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    command::{EndSession, Heartbeat, NewSession},
    ids::{Identity, SessionId},
    reply::{Action, SessionView},
    rows::SessionState,
    window::Calendar,
};

const SECOND: Millis = 1_000;
const SLICE: Millis = 180 * SECOND;
const LEASE: Millis = 120 * SECOND;
const CLAMP: Millis = 300 * SECOND;
const MONTHLY: Window = Window::Calendar(Calendar::Month);

#[derive(Debug, Clone)]
enum Op {
    Start(u8),
    /// Session, life, and seconds beyond (or below) the highest total so far.
    Beat(u8, u8, i16),
    /// A session, and one of the lives of those that had its id before.
    BeatOfPast(u8, u8),
    /// With the same, or without a total.
    End(u8, Option<(u8, i16)>),
    Record(u16),
    Quota(u16),
    Slots(u8),
    Pass(Millis),
    Sweep,
    Flush,
    Restart,
    Crash,
}

fn ops() -> impl Strategy<Value = Op> {
    let grown = prop_oneof![6 => 0..60_i16, 2 => -50..0_i16, 1 => 250..900_i16];
    let time = prop_oneof![
        6 => (1..60_u64).prop_map(|seconds| seconds * SECOND),
        2 => prop::sample::select(vec![LEASE - 1, LEASE, LEASE + 1, SLICE]),
        1 => prop::sample::select(vec![HOUR_MS, DAY_MS, 31 * DAY_MS]),
    ];
    prop_oneof![
        6 => (0..4_u8).prop_map(Op::Start),
        12 => (0..4_u8, 0..3_u8, grown.clone()).prop_map(|(which, life, by)| Op::Beat(which, life, by)),
        3 => (0..4_u8, any::<u8>()).prop_map(|(which, past)| Op::BeatOfPast(which, past)),
        4 => (0..4_u8, prop::option::of((0..3_u8, grown))).prop_map(|(which, last)| Op::End(which, last)),
        1 => (0..200_u16).prop_map(Op::Record),
        2 => (0..1500_u16).prop_map(Op::Quota),
        1 => (0..5_u8).prop_map(Op::Slots),
        10 => time.prop_map(Op::Pass),
        2 => Just(Op::Sweep),
        2 => Just(Op::Flush),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ]
}

#[derive(Debug, Clone)]
struct Modelled {
    id: SessionId,
    state: SessionState,
    heard: Millis,
    held: Millis,
    totals: BTreeMap<u8, Millis>,
    booked: Millis,
    /// Booked and not reported yet.
    booked_ahead: Millis,
    ended: Millis,
    /// Tells it from those that had its id before.
    generation: u32,
}

#[derive(Debug, Clone, Default)]
struct Model {
    now: Millis,
    sessions: BTreeMap<u8, Modelled>,
    /// When, and how much.
    booked: Vec<(Millis, Millis)>,
    disputed: Millis,
    /// Lives of the sessions that had an id before, and when each session ended.
    past: BTreeMap<u8, Vec<(Incarnation, Millis)>>,
}

impl Model {
    fn tick(&mut self, now: Millis) {
        let due = |session: &Modelled| session.state == SessionState::Running && session.heard + LEASE <= now;
        let mut expired: Vec<_> = self.sessions.iter().filter(|(_, session)| due(session)).map(|(id, _)| *id).collect();
        expired.sort_by_key(|id| self.sessions[id].heard);
        for id in expired {
            let session = self.sessions.get_mut(&id).unwrap();
            let paid = session.held.min(LEASE);
            session.state = SessionState::Expired;
            session.ended = session.heard + LEASE;
            session.held = 0;
            session.booked_ahead += paid;
            session.booked += paid;
            self.booked.push((session.ended, paid));
        }
        self.now = now;
    }

    fn used(&self) -> Millis {
        let start = MONTHLY.start(self.now);
        self.booked.iter().filter(|(at, _)| *at >= start).map(|(_, amount)| *amount).sum()
    }

    fn held(&self) -> Millis {
        self.sessions.values().map(|session| session.held).sum()
    }

    fn running(&self) -> usize {
        self.sessions.values().filter(|session| session.state == SessionState::Running).count()
    }

    /// Another session takes the id.
    fn replace(&mut self, which: u8) {
        let now = self.now;
        let past = self.past.entry(which).or_default();
        past.retain(|(_, ended)| now < ended + DAY_MS);
        if let Some(old) = self.sessions.get(&which).filter(|old| now < old.ended + DAY_MS) {
            past.extend(old.totals.keys().map(|life| (named(old.generation, *life), old.ended)));
        }
    }

    /// Answers what is booked.
    fn report(&mut self, id: u8, life: u8, total: Millis) -> Millis {
        let session = self.sessions.get_mut(&id).unwrap();
        let highest = session.totals.entry(life).or_insert(0);
        let grown = total.saturating_sub(*highest);
        *highest += grown;
        let covered = grown.min(session.booked_ahead);
        session.booked_ahead -= covered;
        let booked = (grown - covered).min(CLAMP);
        self.disputed += grown - covered - booked;
        session.booked += booked;
        self.booked.push((self.now, booked));
        booked
    }
}

fn named(generation: u32, life: u8) -> Incarnation {
    Incarnation::parse("incarnation", &format!("life {generation}.{life}")).unwrap()
}

struct Side {
    org: OrgBench,
    model: Model,
    durable: Model,
    calls: u32,
}

impl Side {
    fn new(quota: u16) -> Self {
        let limit = Limit::new(Meter::compute(), MONTHLY, Some(u64::from(quota) * SECOND));
        let mut org = OrgBench::with([limit]);
        org.policy.rate.amount = None;
        org.policy.sessions.max = Some(3);
        let model = Model { now: T0, ..Model::default() };
        Self { org, durable: model.clone(), model, calls: 0 }
    }

    fn id(&self, which: u8) -> SessionId {
        self.model.sessions[&which].id.clone()
    }

    fn identity() -> Identity {
        Identity::parse("identity", "vm").unwrap()
    }

    /// A life of its machine: no two sessions of one id share one.
    fn life(&self, which: u8, life: u8) -> Incarnation {
        named(self.model.sessions[&which].generation, life)
    }

    fn call(&mut self) -> Idempotency {
        self.calls += 1;
        key(&format!("call {}", self.calls))
    }

    fn total(&self, which: u8, life: u8, by: i16) -> Millis {
        let highest = self.model.sessions[&which].totals.get(&life).copied().unwrap_or(0) / SECOND;
        highest.saturating_add_signed(by.into()) * SECOND
    }

    fn step(&mut self, op: &Op) {
        self.model.tick(self.org.now);
        match op {
            Op::Start(which) => self.start(*which),
            Op::Beat(which, life, by) => self.beat(*which, *life, *by),
            Op::BeatOfPast(which, past) => self.beat_of_past(*which, *past),
            Op::End(which, last) => self.end(*which, *last),
            Op::Record(seconds) => {
                let amount = u64::from(*seconds) * SECOND;
                let idempotency = self.call();
                let usage = smallvec![(Meter::compute(), amount)];
                let record = Command::Record(Record {
                    scopes: Scopes::org(),
                    usage,
                    decision: None,
                    occurred_at: None,
                    idempotency,
                });
                self.org.apply(&record).unwrap();
                self.model.booked.push((self.model.now, amount));
            }
            Op::Quota(seconds) => {
                let amount = Some(u64::from(*seconds) * SECOND);
                self.org.change_limits(|limits| limits[0].amount = amount);
            }
            Op::Slots(slots) => self.org.policy.sessions.max = Some((*slots).into()),
            Op::Pass(by) => drop(self.org.after(*by)),
            Op::Sweep => {
                self.org.sweep();
                self.durable = self.model.clone();
            }
            Op::Flush => {
                // An expiry is written with whatever touches the org next.
                self.org.snapshot_quietly();
                self.org.flush();
                self.durable = self.model.clone();
            }
            Op::Restart => {
                self.org.snapshot_quietly();
                self.org.restart();
                self.durable = self.model.clone();
            }
            Op::Crash => {
                self.org.crash();
                self.model = Model { now: self.model.now, ..self.durable.clone() };
            }
        }
        self.model.tick(self.org.now);
        self.check();
    }

    fn start(&mut self, which: u8) {
        let idempotency = self.call();
        // One that runs is refused, one that has ended gives its id to the next.
        let known = self.model.sessions.get(&which);
        let is_known = known.is_some_and(|session| session.state == SessionState::Running);
        let generation = self.calls;
        let id = SessionId::parse("session_id", &format!("s{which}")).unwrap();
        let new = NewSession { id: id.clone(), identity: Self::identity() };
        let ask = Acquire { run: Run::Session(new), idempotency: Some(idempotency), cost: Amounts::new(), ..ask() };
        let quota = self.org.policy.limits[0].amount.unwrap();
        let left = quota.saturating_sub(self.model.used() + self.model.held());
        let slots = self.org.policy.sessions.max.unwrap();
        let reply = self.org.try_acquire(ask);
        let expected = match self.model.running() as u64 >= slots {
            true => Code::SessionLimitReached,
            false if left == 0 => Code::QuotaExceeded,
            false => Code::Allowed,
        };
        if is_known && expected == Code::Allowed {
            return assert_eq!(reply, Err(OrgError::SessionExists));
        }
        let decision = reply.unwrap().expect("a decision");
        assert_eq!(decision.code(), expected, "{:?}", self.model);
        if expected == Code::Allowed {
            let held = SLICE.min(left);
            assert_eq!(decision.session.unwrap().slice, held);
            self.model.replace(which);
            let (state, heard) = (SessionState::Running, self.model.now);
            let (totals, booked, booked_ahead, ended) = (BTreeMap::new(), 0, 0, 0);
            let session = Modelled { id, state, heard, held, totals, booked, booked_ahead, ended, generation };
            self.model.sessions.insert(which, session);
            assert!(self.model.used() + self.model.held() <= quota, "R-PIPE-3: a start passed the quota");
        }
    }

    /// R-SES-8: what comes late of a session that had the id before is refused, however often it was used since.
    fn beat_of_past(&mut self, which: u8, past: u8) {
        let Some(session) = self.model.sessions.get(&which) else { return };
        let lives = self.model.past.get(&which).map_or(&[][..], Vec::as_slice);
        let Some((incarnation, _)) = lives.get(usize::from(past) % lives.len().max(1)) else { return };
        if session.state != SessionState::Running {
            return;
        }
        let (session, total) = (session.id.clone(), 200 * SECOND);
        let incarnation = incarnation.clone();
        let beat = Heartbeat { session, identity: Self::identity(), incarnation, total, idempotency: None };
        assert_eq!(self.org.ask(Box::new(beat)), Err(OrgError::SessionReplaced), "{:?}", self.model);
    }

    fn beat(&mut self, which: u8, life: u8, by: i16) {
        if !self.model.sessions.contains_key(&which) {
            return;
        }
        let total = self.total(which, life, by);
        let beat = Heartbeat {
            session: self.id(which),
            identity: Self::identity(),
            incarnation: self.life(which, life),
            total,
            idempotency: None,
        };
        let reply = self.org.ask(Box::new(beat));
        let booked = self.model.report(which, life, total);
        let (now, quota) = (self.model.now, self.org.policy.limits[0].amount.unwrap());
        let session = self.model.sessions.get_mut(&which).unwrap();
        if session.state == SessionState::Running {
            session.heard = now;
            session.held = session.held.saturating_sub(booked);
        }
        let (runs, held) = (session.state == SessionState::Running, session.held);
        let over = self.model.used() + self.model.held() - held >= quota;
        let beat = reply.unwrap();
        assert_eq!(beat.outcome.booked, booked);
        let stops = matches!(beat.view.action, Action::Stop(_));
        assert_eq!(stops, !runs || over && held == 0, "R-SES-1, R-SES-3: {beat:?} {:?}", self.model);
    }

    fn end(&mut self, which: u8, last: Option<(u8, i16)>) {
        let Some(session) = self.model.sessions.get(&which) else { return };
        let (runs, silent) = (session.state == SessionState::Running, self.model.now - session.heard);
        let last = last.map(|(life, by)| (life, self.total(which, life, by)));
        let idempotency = self.call();
        let end = EndSession {
            session: self.id(which),
            identity: Self::identity(),
            last: last.map(|(life, total)| (self.life(which, life), total)),
            idempotency,
        };
        self.org.ask(Box::new(end)).unwrap();
        assert_eq!(self.org.state.take_news().ended_sessions, u64::from(runs));
        match last {
            Some((life, total)) => drop(self.model.report(which, life, total)),
            None if runs => {
                self.model.booked.push((self.model.now, silent));
                let session = self.model.sessions.get_mut(&which).unwrap();
                session.booked += silent;
                session.booked_ahead += silent;
            }
            None => {}
        }
        let now = self.model.now;
        let session = self.model.sessions.get_mut(&which).unwrap();
        if runs {
            (session.state, session.ended, session.held) = (SessionState::Ended, now, 0);
        }
    }

    fn check(&mut self) {
        let known = Known { balance: Some(allowed()), exempt: false };
        let status = self.org.ask(GetSessionStatus { scopes: Scopes::org(), known }).unwrap();
        let shown = (status.quota.used, status.quota.reserved, usize::try_from(status.running).unwrap());
        assert_eq!(shown, (self.model.used(), self.model.held(), self.model.running()), "R-SES-2: {:?}", self.model);
        for (which, modelled) in &self.model.sessions {
            let id = self.id(*which);
            match self.org.ask(GetSession { id }) {
                Ok(view) => {
                    let SessionView { row, held, .. } = *view;
                    let shown = (row.state, row.booked, row.booked_ahead, held);
                    assert_eq!(shown, (modelled.state, modelled.booked, modelled.booked_ahead, modelled.held));
                }
                // A sweep forgets what ended a day ago.
                Err(OrgError::SessionUnknown) => assert!(modelled.ended + DAY_MS <= self.model.now, "{modelled:?}"),
                other => panic!("{other:?}"),
            }
        }
        let unknown =
            |modelled: &Modelled| modelled.state != SessionState::Running && modelled.ended + DAY_MS <= self.model.now;
        let forgotten: Vec<u8> = self.model.sessions.iter().filter(|(_, m)| unknown(m)).map(|(id, _)| *id).collect();
        for which in forgotten {
            if self.org.ask(GetSession { id: self.id(which) }) == Err(OrgError::SessionUnknown) {
                self.model.sessions.remove(&which);
            }
        }
        let audit = self.org.ask(RunAudit).unwrap();
        assert_eq!(audit.unwrap_or_default().drift, vec![], "R-BUD-3");
        if let Some(snapshot) = self.org.inspect() {
            let disputed: u64 = snapshot.disputed.iter().map(|row| row.amount).sum();
            // They are kept for as long as the ledger.
            assert!(disputed <= self.model.disputed);
        }
    }
}

impl OrgBench {
    /// Lets what has run out happen.
    fn snapshot_quietly(&mut self) {
        self.inspect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::properties::cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_life_of_a_session_agrees_with_the_naive_model(
        quota in 0..1500_u16,
        history in prop::collection::vec(ops(), 1..60),
    ) {
        let mut side = Side::new(quota);
        for op in &history {
            side.step(op);
        }
    }
}
