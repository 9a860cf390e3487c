//! What an org does, seen from outside: commands go in, replies and commits come out, and whatever
//! was committed is all that a restart finds.
//!
//! [`OrgBench`] is the one fixture: an org with a policy, a clock that only a test moves, and a disk
//! that is a map of rows. `model` is a second implementation of the same rules, as naive as
//! possible; `properties` holds the two against each other.

mod admission;
mod balance;
mod budgets;
mod carry;
mod clock_repair;
mod denials;
mod disk;
mod events;
mod folding;
mod folding_histories;
mod forecast;
mod grants;
mod histories;
mod kept_ids;
mod late;
mod leases;
mod model;
mod names;
mod outbox;
mod overrides;
mod overview;
mod pair;
mod past_usage;
mod policy;
mod pool_histories;
mod pool_keys;
mod pools;
mod properties;
mod rate_backstop;
mod refunds;
mod request_ids;
mod reservations;
mod resets;
mod scopes;
mod session_histories;
mod sessions;
mod sweeping;
mod takeover;
mod trials;
mod until_spent;
mod usage;
mod watch;
mod webhook;
mod window_resets;
mod zones;

use std::{collections::BTreeMap, sync::Arc};

use self::disk::Disk;
use smallvec::smallvec;

use super::{
    balance::BalanceVerdict,
    clock_repair::bring_back,
    command::{
        Acquire, Commit, Extend, Freeze, GetBudget, GetPool, GetSession, GetSessionStatus, Inspect, Known,
        ListSessions, Mode, Need, Pick, Purge, Record, Release, ReplayOutbox, ReportCumulative, Resume, RollPools, Run,
        RunAudit, SetBudget, SettleOutbox, TakeOutbox, Unfreeze,
    },
    commands::{Ask, Command, Reply},
    decision::{Decision, LimitView},
    gate::Code,
    holds,
    ids::{Amounts, DecisionId, ExecutionId, Incarnation, Meter, OrgId, Plane, Reason, RequestId, Scope, Source},
    lease::{LeaseTime, Now},
    limit::{Limit, Limits},
    org::{Context, OrgState},
    outcome::{Committed, Done, Extended, Frozen, OutcomeReported, Reported, Resumed, Settlement, Shown},
    policy::{BalanceSource, NoPlans, OrgPolicy, Plans},
    refusal::OrgError,
    reply::{Audit, Counted, OutboxReplayed, Purged, Snapshot},
    request::Idempotency,
    rows::{OrgWrite, Row},
    scopes::Scopes,
    upstream::Upstream,
    window::{Millis, Window},
};
use crate::{
    bounds::{Bounds, DAY_MS, HOUR_MS, MINUTE_MS},
    testing::{allowed, exhausted},
};

/// 2026-06-21 16:00:00 UTC, a Sunday: the start of an hour, of no day, week or month.
const T0: Millis = 495_016 * HOUR_MS;

const HOURLY: Window = Window::Rolling { len: HOUR_MS };
const DAILY: Window = Window::Rolling { len: DAY_MS };
const CLOCK_HOUR: Window = Window::Aligned { len: HOUR_MS };
const DAY_FROM_FIRST_USE: Window = Window::Anchored { len: DAY_MS };

fn id() -> OrgId {
    OrgId::parse("org", "acme").unwrap()
}

fn scope(text: &str) -> Scope {
    Scope::parse("scope", text).unwrap()
}

fn spend(amount: u64) -> Amounts {
    smallvec![(Meter::spend(), amount)]
}

fn executions(amount: u64) -> Amounts {
    smallvec![(Meter::executions(), amount)]
}

/// What both name; no meter is in both.
fn both(mut one: Amounts, other: Amounts) -> Amounts {
    one.extend(other);
    one
}

fn spend_limit(window: Window, amount: u64) -> Limit {
    Limit::new(Meter::spend(), window, Some(amount))
}

fn executions_limit(window: Window, amount: u64) -> Limit {
    Limit::new(Meter::executions(), window, Some(amount))
}

/// A request id; the text before `#` is the id, all of it the body.
fn key(text: &str) -> Idempotency {
    let id = text.split('#').next().unwrap();
    let fingerprint = text.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Idempotency::new(RequestId::parse("request_id", id).unwrap(), fingerprint)
}

/// A status and a text that are taken for `outcome`, where the upstream of a relay names no time.
fn said_by(outcome: Upstream) -> (u16, &'static str) {
    match outcome {
        Upstream::Ok => (200, ""),
        Upstream::QuotaExhausted => (429, "Quota exceeded"),
        Upstream::RateLimited => (429, ""),
        Upstream::Refused => (403, ""),
        Upstream::Unavailable => (503, ""),
        Upstream::Failed => (400, ""),
    }
}

/// One execution on the org itself.
fn ask() -> Acquire {
    Acquire { reservation_ttl: 5 * MINUTE_MS, balance: Some(allowed()), ..Acquire::of(Scopes::org(), executions(1)) }
}

fn ask_on(scope_name: &str) -> Acquire {
    Acquire { scopes: scope(scope_name).into(), ..ask() }
}

fn reserving(amounts: Amounts) -> Acquire {
    Acquire { reserve: amounts, ..ask() }
}

/// Plans by their names.
#[derive(Debug, Default)]
struct Configured(BTreeMap<&'static str, Arc<OrgPolicy>>);

impl Plans for Configured {
    fn with_plan(&self, _: &OrgId, plan: &str) -> Option<Arc<OrgPolicy>> {
        self.0.get(plan).cloned()
    }

    fn plan_names(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }
}

struct OrgBench {
    state: OrgState,
    policy: OrgPolicy,
    /// The policy as it was last handed over: the same one as long as nothing of it changes.
    shared: Arc<OrgPolicy>,
    /// Those that can be set at run time.
    plans: Configured,
    /// When it was.
    policy_since: Millis,
    bounds: Bounds,
    now: Millis,
    /// How far lease time is behind service time, and for how long the node was away.
    lag: Millis,
    absent: Millis,
    /// What the clocks say, where a test says it.
    clocks: Option<Now>,
    store_fault: bool,
    next_id: u128,
    disk: Disk,
    may_purge: bool,
}

impl OrgBench {
    /// An org without limits other than the backstop, never seen before.
    fn new() -> Self {
        Self {
            may_purge: true,
            state: OrgState::default(),
            policy: OrgPolicy::default(),
            shared: Arc::default(),
            plans: Configured::default(),
            policy_since: T0,
            bounds: Bounds::default(),
            now: T0,
            lag: 0,
            absent: 0,
            clocks: None,
            store_fault: false,
            next_id: 2,
            disk: Disk::default(),
        }
    }

    fn change_limits(&mut self, change: impl FnOnce(&mut Vec<Limit>)) {
        let mut limits = self.policy.limits.to_vec();
        change(&mut limits);
        self.policy.limits = limits.into();
    }

    /// A change of the limits that is configured now, and of which the org learns with its next command.
    fn reconfigure(&mut self, change: impl FnOnce(&mut Vec<Limit>)) {
        self.change_limits(change);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        if *self.shared != self.policy {
            self.shared = Arc::new(self.policy.clone());
            self.policy_since = self.now;
        }
    }

    fn with(limits: impl IntoIterator<Item = Limit>) -> Self {
        let mut bench = Self::new();
        bench.policy.limits = limits.into_iter().collect();
        bench
    }

    fn and_scope(mut self, name: &str, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.policy.scopes.insert(scope(name), limits.into_iter().collect());
        self
    }

    fn after(&mut self, passed: Millis) -> &mut Self {
        self.now += passed;
        self
    }

    fn at(&mut self, now: Millis) -> &mut Self {
        self.now = now;
        self
    }

    /// The node ends as if it was killed, and is back after `length`.
    fn away(&mut self, length: Millis) -> &mut Self {
        self.now += length;
        self.lag += length;
        self.absent += length;
        self.crash()
    }

    /// The wall clock was behind, and is put right.
    fn corrected(&mut self, by: Millis) -> &mut Self {
        self.now += by;
        self.lag += by;
        self
    }

    /// The clock was ahead and is put right by a repair of the stopped node.
    fn repaired(&mut self, now: Millis) -> &mut Self {
        self.flush();
        let write = bring_back(&id(), self.disk.rows_with_usage(), now).expect("an org that was ahead");
        self.disk.commit(&write);
        let ahead = self.now - now;
        (self.now, self.lag) = (now, self.lag.wrapping_sub(ahead));
        self.crash()
    }

    fn clocks(&self) -> Now {
        let lease = LeaseTime(self.now.wrapping_sub(self.lag));
        self.clocks.unwrap_or(Now {
            service: self.now,
            wall: self.now,
            lease,
            absent: self.absent,
            ahead: self.lag.cast_signed(),
        })
    }

    fn apply(&mut self, command: &Command) -> Result<Reply, OrgError> {
        let decision = DecisionId(self.next_id);
        self.next_id += 2;
        let wanted = self.state.wanted(std::slice::from_ref(command), self.now);
        self.state.take_found(self.disk.read(&wanted));
        self.in_context(decision, |state, ctx| state.apply(command, ctx))
    }

    /// The same with the answer that the command names.
    fn ask<C: Ask>(&mut self, command: C) -> Result<C::Answer, OrgError> {
        Ok(C::answer(self.apply(&command.into())?).expect("the answer of this command"))
    }

    fn in_context<T>(&mut self, decision: DecisionId, act: impl FnOnce(&mut OrgState, &Context<'_>) -> T) -> T {
        self.hand_over();
        let org = id();
        let ctx = Context {
            org: &org,
            now: self.clocks(),
            policy: &self.shared,
            plans: &self.plans,
            policy_since: Some(self.policy_since),
            bounds: &self.bounds,
            decision,
            store_fault: self.store_fault,
            within: None,
            caller: "test",
            reason: Reason::none(),
            trace: None,
        };
        act(&mut self.state, &ctx)
    }

    fn try_acquire(&mut self, ask: Acquire) -> Result<Result<Box<Decision>, Need>, OrgError> {
        self.ask(Arc::new(ask))
    }

    fn acquire(&mut self, ask: Acquire) -> Decision {
        *self.try_acquire(ask).unwrap().expect("a decision")
    }

    /// Whether one execution runs, and with which code.
    fn run(&mut self) -> Code {
        let decision = self.acquire(ask());
        assert_eq!(decision.allowed, decision.code() == Code::Allowed);
        decision.code()
    }

    fn peek(&mut self, ask: Acquire) -> Decision {
        self.acquire(Acquire { mode: Mode::CheckOnly, ..ask })
    }

    /// Reserves and answers the reservation.
    fn reserve(&mut self, amounts: Amounts) -> DecisionId {
        self.acquire(reserving(amounts)).hold.expect("a reservation").id
    }

    fn settle(
        &mut self,
        reservation: DecisionId,
        actual: Amounts,
        id: &str,
    ) -> Result<Box<Shown<Committed, Counted>>, OrgError> {
        self.ask(Commit { reservation, actual, idempotency: key(id) })
    }

    fn commit(&mut self, reservation: DecisionId, actual: Amounts, id: &str) -> Result<bool, OrgError> {
        self.settle(reservation, actual, id).map(|done| done.replayed)
    }

    fn release(&mut self, reservation: DecisionId, id: &str) -> Result<bool, OrgError> {
        self.ask(Release { reservation, idempotency: key(id) }).map(|done| done.replayed)
    }

    fn extend(&mut self, reservation: DecisionId, ttl: Millis, id: &str) -> Result<Shown<Extended, Millis>, OrgError> {
        self.ask(Extend { reservation, ttl, idempotency: key(id) })
    }

    fn record(&mut self, scope_name: &str, usage: Amounts, id: &str) -> Result<bool, OrgError> {
        self.ask(Record {
            scopes: scope(scope_name).into(),
            usage,
            decision: None,
            occurred_at: None,
            idempotency: key(id),
        })
        .map(|done| done.replayed)
    }

    fn report(&mut self, incarnation: &str, total: u64, id: &str) -> Result<Done<Reported>, OrgError> {
        let done = self.ask(Box::new(ReportCumulative {
            scopes: Scopes::org(),
            source: Source::parse("source", "meter-1").unwrap(),
            incarnation: Incarnation::parse("incarnation", incarnation).unwrap(),
            meter: Meter::spend(),
            total,
            idempotency: key(id),
        }))?;
        Ok(Done { outcome: done.outcome, replayed: done.replayed })
    }

    fn resume(&mut self, execution: &str, id: Option<&str>) -> Done<Resumed> {
        let execution = ExecutionId::parse("execution_id", execution).unwrap();
        self.ask(Resume { execution, idempotency: id.map(key) }).expect("R-BAL-8: never refused")
    }

    fn freeze(&mut self, id: &str) -> Result<Done<Frozen>, OrgError> {
        let done =
            self.ask(Freeze { reason: Reason::parse("reason", "fraud").unwrap(), end: None, idempotency: key(id) })?;
        Ok(Done { outcome: done.outcome, replayed: done.replayed })
    }

    fn unfreeze(&mut self, id: &str) -> Result<Done<Frozen>, OrgError> {
        self.ask(Unfreeze { idempotency: key(id) })
    }

    fn inspect(&mut self) -> Option<Box<Snapshot>> {
        self.ask(Inspect).unwrap()
    }

    fn snapshot(&mut self) -> Snapshot {
        *self.inspect().expect("a known org")
    }

    /// A limit of the org as it stands.
    fn limit(&mut self, name: &str) -> LimitView {
        self.limit_of("", name)
    }

    fn limit_of(&mut self, scope_name: &str, name: &str) -> LimitView {
        let decision = self.peek(ask_on(scope_name));
        let named = |view: &&LimitView| view.name() == name && view.scope == scope(scope_name);
        decision.limits.iter().find(named).unwrap_or_else(|| panic!("no limit {name}")).clone()
    }

    fn used(&mut self, name: &str) -> u64 {
        self.limit(name).used
    }

    fn sweep(&mut self) -> Option<OrgWrite> {
        self.sweep_without_commit();
        self.flush()
    }

    fn sweep_without_commit(&mut self) {
        let may_purge = self.may_purge;
        let wanted = self.state.wanted_by_sweep(self.now);
        self.state.take_found(self.disk.read(&wanted));
        self.in_context(DecisionId(0), |state, ctx| state.sweep(ctx, may_purge));
    }

    /// Commits what has changed.
    fn flush(&mut self) -> Option<OrgWrite> {
        let org = OrgId::parse("org", "acme").unwrap();
        let write = self.state.take_write(&org, &self.policy, self.may_purge)?;
        self.disk.commit(&write);
        assert_eq!(self.state.open_holds(), holds::open(self.disk.rows()), "as stored");
        self.state.stored_to(self.state.writes());
        Some(write)
    }

    /// Stops in good order and starts again from the disk.
    fn restart(&mut self) -> &mut Self {
        self.state.leave();
        self.flush();
        self.crash()
    }

    /// Loses everything that is not on the disk.
    fn crash(&mut self) -> &mut Self {
        self.state = OrgState::load(self.disk.rows(), self.clocks());
        assert_eq!(self.state.open_holds(), holds::open(self.disk.rows()), "as loaded");
        self.policy_since = self.now;
        self
    }
}
