//! The org and the model side by side: every command goes to both, and after every step they are
//! compared.

mod checks;

use std::sync::Arc;

use self::checks::agree;
use super::{
    histories::{Amount, LIMITS, NAMES, Named, Op, Step},
    model::{Answer, Model, Rule, Rules},
    *,
};
use crate::{
    bounds::AMOUNT_MAX,
    domain::limit::Limits,
    domain::{
        command::{End, Grant, Lasts, Refund, RefundOf, ResetWindow, RevokeGrant, SetOverride},
        policy::{BalancePolicy, OnIndeterminate, RateLimit},
        request::Rpc,
        rows::OverrideSubject,
    },
};

/// The org and the model side by side.
pub(super) struct Pair {
    org: OrgState,
    policy: Arc<OrgPolicy>,
    policy_since: Millis,
    bounds: Bounds,
    model: Model,
    /// As configured, and with what was set at run time.
    configured: Rules,
    rules: Rules,
    /// The model as it was at the last commit.
    durable: Model,
    disk: Disk,
    clock: Millis,
    next: u128,
    sent: Vec<Command>,
}

impl Pair {
    pub(super) fn new(start: Millis) -> Self {
        let limit = |(scope_name, meter, window): &(&str, &str, Window)| Rule {
            scope: scope(scope_name),
            meter: Meter::parse("meter", meter).unwrap(),
            window: *window,
            amount: None,
            buffer: 0,
            shadow: false,
            carries: false,
            present: false,
            since: 0,
        };
        let rules = Rules {
            limits: LIMITS.iter().map(limit).collect(),
            rate_amount: Some(1000),
            rate_len: HOUR_MS,
            on_rate: OnIndeterminate::Allow,
            balance_required: false,
            on_balance: OnIndeterminate::Allow,
            store_fault: false,
        };
        let model = Model::new(start, &rules);
        Self {
            org: OrgState::default(),
            policy: Arc::default(),
            policy_since: start,
            bounds: Bounds::default(),
            durable: model.clone(),
            model,
            configured: rules.clone(),
            rules,
            disk: Disk::default(),
            clock: start,
            next: 1,
            sent: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, op: &Op) {
        match op {
            Op::Time(step) => self.pass(*step),
            Op::Limit { .. } | Op::Without(_) | Op::Rate(..) | Op::Balance(..) | Op::StoreFault(..) => {
                self.configure(op)
            }
            Op::Sweep(may_purge) => {
                let wanted = self.org.wanted_by_sweep(self.clock);
                self.org.take_found(self.disk.read(&wanted));
                let ctx = context((&NAMES.org, &self.policy, self.policy_since), &self.bounds, self.clock);
                self.org.sweep(&ctx, *may_purge);
                self.model.sweep(self.clock, *may_purge);
            }
            Op::Flush => self.flush(),
            Op::Restart => {
                self.flush();
                self.reload();
            }
            Op::Crash => self.reload(),
            _ => {
                if let Some(command) = self.command(op) {
                    self.send(&command);
                }
            }
        }
        self.model.tick(self.clock);
        self.rules = self.model.in_force(&self.configured);
        self.check();
    }

    fn pass(&mut self, step: Step) {
        match step {
            Step::By(by) => self.clock += by,
            // Further back is a repaired clock, and another matter.
            Step::Back(by) => self.clock = (self.clock - by).max(self.model.now - DAY_MS),
            Step::Turn(which, off) => {
                let points = self.model.turning_points(&self.rules);
                if let Some(at) = pick(&points, which) {
                    self.clock = at.saturating_add_signed(off.into());
                }
            }
        }
    }

    // ---- policy ----------------------------------------------------------------------------

    fn configure(&mut self, op: &Op) {
        let rules = &mut self.configured;
        match *op {
            Op::Limit { index, amount, buffer, shadow, carries } => {
                let now = self.model.now.max(self.clock);
                let rule = &mut rules.limits[usize::from(index)];
                let since = if rule.present { rule.since } else { now };
                let carries = carries && rule.window.follows_itself();
                *rule = Rule { amount, buffer, shadow, carries, present: true, since, ..rule.clone() };
            }
            Op::Without(index) => rules.limits[usize::from(index)].present = false,
            Op::Rate(amount, len) => (rules.rate_amount, rules.rate_len) = (amount, len),
            Op::Balance(required, policy) => (rules.balance_required, rules.on_balance) = (required, policy),
            Op::StoreFault(fault, policy) => (rules.store_fault, rules.on_rate) = (fault, policy),
            _ => unreachable!("not a change of policy"),
        }
        let limits_of = |name: &Scope| -> Limits {
            let present = self.configured.limits.iter().filter(|rule| rule.present && rule.scope == *name);
            present
                .map(|rule| Limit {
                    buffer: rule.buffer,
                    shadow: rule.shadow,
                    carries: rule.carries,
                    ..Limit::new(rule.meter.clone(), rule.window, rule.amount)
                })
                .collect()
        };
        let scopes = NAMES.scopes.iter().filter(|scope| !scope.is_org());
        self.policy = Arc::new(OrgPolicy {
            rate: RateLimit {
                amount: self.configured.rate_amount,
                len: self.configured.rate_len,
                on_indeterminate: self.configured.on_rate,
                ..RateLimit::default()
            },
            limits: limits_of(&Scope::org()),
            scopes: scopes.map(|scope| (scope.clone(), limits_of(scope))).collect(),
            balance: BalancePolicy {
                source: if self.configured.balance_required { BalanceSource::Provider } else { BalanceSource::None },
                on_indeterminate: self.configured.on_balance,
                ..BalancePolicy::default()
            },
            ..OrgPolicy::default()
        });
        self.policy_changed();
    }

    /// What is configured takes the place of what was.
    fn policy_changed(&mut self) {
        self.model.tick(self.clock);
        self.policy_since = self.model.now;
        self.model.carry_by(&self.configured);
    }

    // ---- commands --------------------------------------------------------------------------

    fn amount(&self, amount: Amount) -> u64 {
        let (which, off, whole) = match amount {
            Amount::Exactly(amount) => return amount,
            Amount::Left(which, off) => (which, off, false),
            Amount::Whole(which, off) => (which, off, true),
        };
        let present: Vec<usize> = (0..LIMITS.len()).filter(|index| self.rules.limits[*index].present).collect();
        let Some(index) = pick(&present, which) else { return 1 };
        let rule = &self.rules.limits[index];
        let more = self.model.lent_over(&self.rules, index).map_or(0, |(lent, over)| lent.more(over));
        let usable = rule.amount.unwrap_or(9).saturating_add(more).saturating_sub(rule.buffer);
        let taken = self.model.used(&self.rules, index, self.model.now).0 + self.model.reserved(rule, self.model.now);
        let edge = if whole { usable } else { usable.saturating_sub(taken) };
        edge.saturating_add_signed(off.into()).min(AMOUNT_MAX)
    }

    fn amounts(&self, wanted: &[Option<Amount>; 2]) -> Amounts {
        let named = NAMES.meters.iter().zip(wanted);
        named.filter_map(|(meter, amount)| amount.map(|amount| (meter.clone(), self.amount(amount)))).collect()
    }

    fn fresh_key(&self) -> Idempotency {
        key(&format!("r{}", self.next))
    }

    fn reservation(&self, which: u8) -> Option<DecisionId> {
        pick(&self.model.holds, which).map(|held| held.id)
    }

    fn command(&self, op: &Op) -> Option<Command> {
        let idempotency = self.fresh_key();
        Some(match op {
            Op::Acquire(ask) => Command::Acquire(std::sync::Arc::new(Acquire {
                run: Run::Execution,
                scopes: named(ask.scopes),
                plane: Plane::unnamed(),
                trace: None,
                idempotency: ask.keyed.then_some(idempotency),
                cost: self.amounts(&ask.cost),
                reserve: self.amounts(&ask.reserve),
                reservation_ttl: ask.ttl,
                mode: ask.mode,
                explain: ask.explain,
                with_pause: ask.with_pause,
                pool: None,
                balance: ask.balance,
                exempt: None,
            })),
            Op::Commit(which, actual) => Command::Commit(Commit {
                reservation: self.reservation(*which)?,
                actual: self.amounts(actual),
                idempotency,
            }),
            Op::Release(which) => Command::Release(Release { reservation: self.reservation(*which)?, idempotency }),
            Op::Extend(which, ttl) => {
                Command::Extend(Extend { reservation: self.reservation(*which)?, ttl: *ttl, idempotency })
            }
            Op::Record(scopes, usage, late) => Command::Record(Record {
                scopes: named(*scopes),
                usage: self.amounts(usage),
                decision: None,
                occurred_at: late.map(|late| self.clock.max(self.model.now).saturating_add_signed(-late)),
                idempotency,
            }),
            Op::Refund(scopes, usage, ago) => Command::Refund(Box::new(Refund {
                of: RefundOf::Usage {
                    scopes: named(*scopes),
                    amounts: self.amounts(usage),
                    at: ago.map(|ago| self.clock.max(self.model.now).saturating_add_signed(-ago)),
                },
                idempotency,
            })),
            Op::RefundDecision(which) => Command::Refund(Box::new(Refund {
                of: RefundOf::Decision { id: self.reservation(*which)?, recent: None },
                idempotency,
            })),
            Op::Report { scopes, source, incarnation, total } => {
                Command::ReportCumulative(Box::new(ReportCumulative {
                    scopes: named(*scopes),
                    source: Source::parse("source", &format!("s{source}")).unwrap(),
                    incarnation: Incarnation::parse("incarnation", &format!("i{incarnation}")).unwrap(),
                    meter: Meter::spend(),
                    total: *total,
                    idempotency,
                }))
            }
            Op::SetBudget { index, amount, replace, expect } => {
                let (scope_name, _, window) = LIMITS[usize::from(*index)];
                let scope = self::scope(scope_name);
                let version = self.model.budget_version(&scope);
                Command::SetBudget(Box::new(SetBudget {
                    replace: *replace,
                    periods: vec![(window.period().unwrap(), *amount)],
                    expected_version: expect.map(|off| version.saturating_add_signed(off.into())),
                    scope,
                    idempotency,
                }))
            }
            Op::Resume(execution, keyed) => Command::Resume(Resume {
                execution: ExecutionId::parse("execution_id", &format!("e{execution}")).unwrap(),
                idempotency: keyed.then_some(idempotency),
            }),
            Op::Freeze(lasts) => Command::Freeze(Freeze {
                reason: Reason::parse("reason", "fraud").unwrap(),
                end: lasts.map(End::After),
                idempotency,
            }),
            Op::Unfreeze => Command::Unfreeze(Unfreeze { idempotency }),
            Op::SetOverride { index, setting, lasts, expect } => {
                let version = self.model.override_version(usize::from(*index));
                Command::SetOverride(Box::new(SetOverride {
                    setting: Some(setting.clone()),
                    end: lasts.map(End::After),
                    expected_version: expect.map(|off| version.saturating_add_signed(off.into())),
                    ..overridden(*index, Rpc::SetOverride, idempotency)
                }))
            }
            Op::ClearOverride(index) => {
                Command::SetOverride(Box::new(overridden(*index, Rpc::ClearOverride, idempotency)))
            }
            Op::Grant { index, amount, lasts, until_spent } => {
                let granted = granted(*index, *amount, *lasts, idempotency);
                let until_spent = until_spent.then_some(Lasts::UntilSpent(lasts.map(End::After)));
                Command::Grant(Box::new(Grant { lasts: until_spent.unwrap_or(granted.lasts), ..granted }))
            }
            Op::ResetWindow(index) => {
                let SetOverride { scope, subject: limit, reason, idempotency, .. } =
                    overridden(*index, Rpc::ResetWindow, idempotency);
                Command::ResetWindow(Box::new(ResetWindow { scope, limit, reason, idempotency }))
            }
            Op::RevokeGrant(back) => {
                let last = self.model.given().last().map_or(0, |given| given.number);
                let (number, reason) = (last.saturating_sub((*back).into()), Reason::parse("reason", "").unwrap());
                Command::RevokeGrant(Box::new(RevokeGrant { number, reason, idempotency }))
            }
            Op::Repeat(which, clash) => repeated(pick(&self.sent, *which)?, *clash),
            Op::Purge => Command::Purge(Purge),
            other => unreachable!("no command: {other:?}"),
        })
    }

    /// Service time may go back here; lease time does not.
    fn now(&self) -> Now {
        Now { service: self.clock, ..Now::at(self.model.now.max(self.clock)) }
    }

    fn send(&mut self, command: &Command) {
        let decision = DecisionId(self.next);
        self.next += 2;
        self.sent.push(command.clone());
        let before = self.model.clone();
        let expected = self.model.apply(command, decision, &self.rules, self.clock);
        let known = self.org.has_changes() || !self.disk.is_empty();
        let org = id();
        let ctx = Context {
            org: &org,
            now: self.now(),
            policy: &self.policy,
            plans: &NoPlans,
            policy_since: Some(self.policy_since),
            bounds: &self.bounds,
            decision,
            store_fault: self.rules.store_fault,
            within: None,
            caller: "test",
            reason: Reason::none(),
            trace: None,
        };
        let wanted = self.org.wanted(std::slice::from_ref(command), self.clock);
        self.org.take_found(self.disk.read(&wanted));
        let reply = self.org.apply(command, &ctx);
        let mut asked = None;
        if let Command::Acquire(ask) = command {
            asked = Some(ask);
            if expected == Answer::Open {
                self.adopt(ask, decision, &reply);
                return;
            }
        }
        let context = || format!("\n{command:?}\nat {} against {:?}", before.now.max(self.clock), self.present());
        match (&expected, &reply) {
            (Answer::Purged { .. }, Ok(Reply::Purge(Purged { existed, .. }))) => assert_eq!(*existed, known),
            (expected, reply) => {
                assert!(agree(expected, reply, false), "expected {expected:?}, got {reply:?}{}", context())
            }
        }
        if let (Some(ask), Ok(Reply::Acquire(Ok(decision)))) = (asked, &reply) {
            self.check_decision(ask, decision, &before);
        }
    }

    fn present(&self) -> Vec<&Rule> {
        self.rules.limits.iter().filter(|rule| rule.present).collect()
    }

    /// Follows the org where the model leaves it open.
    fn adopt(&mut self, ask: &Acquire, id: DecisionId, reply: &Result<Reply, OrgError>) {
        match reply {
            Ok(Reply::Acquire(Err(Need::Balance))) => {}
            Ok(Reply::Acquire(Ok(_))) if ask.mode == Mode::CheckOnly => {}
            Ok(Reply::Acquire(Ok(decision))) if decision.code() == Code::Allowed => {
                let now = self.model.now;
                self.model.spending(now, |model| model.admit(ask, id, &self.rules));
            }
            Ok(Reply::Acquire(Ok(decision))) => {
                self.model.deny(&self.rules, decision.code(), ask.mode != Mode::Shadow);
            }
            other => panic!("no decision: {other:?}"),
        }
    }

    // ---- the disk --------------------------------------------------------------------------

    fn flush(&mut self) {
        let Some(write) = self.org.take_write(&NAMES.org, &self.policy, true) else {
            // An org that was spent before its first commit leaves nothing to delete.
            if self.snapshot().is_none() && !self.model.is_live(&self.rules) {
                self.model.forget_all();
            }
            return;
        };
        if write.wipe && write.puts.is_empty() {
            assert!(!self.model.is_live(&self.rules), "forgotten while something of it was alive: {:?}", self.model);
            self.model.forget_all();
        }
        self.disk.commit(&write);
        self.org.stored_to(self.org.writes());
        self.durable = self.model.clone();
        let live = self.snapshot();
        assert_eq!(self.org.open_holds(), holds::open(self.disk.rows()));
        let mut stored = OrgState::load(self.disk.rows(), self.now());
        let stored = inspect(&mut stored, (&self.policy, self.policy_since), &self.bounds, self.clock);
        assert_eq!(comparable(stored), comparable(live), "what is stored is what is live");
    }

    fn reload(&mut self) {
        self.model = self.durable.clone();
        // Of what ended meanwhile it is not known what was configured at that time.
        self.model.configured = Some(self.configured.clone());
        if self.disk.is_empty() {
            self.model = Model::new(self.clock, &self.configured);
        }
        self.org = OrgState::load(self.disk.rows(), self.now());
        self.policy_changed();
    }
}

/// Clears what is set over a limit.
fn overridden(index: u8, rpc: Rpc, idempotency: Idempotency) -> SetOverride {
    let named = |(scope_name, meter, window): &(&str, &str, Window)| {
        let limit = Limit::new(Meter::parse("meter", meter).unwrap(), *window, None);
        (scope(scope_name), OverrideSubject::limit("limit", limit.name()).unwrap())
    };
    let (scope, subject) =
        LIMITS.get(usize::from(index)).map_or_else(|| (Scope::org(), OverrideSubject::rate()), named);
    let reason = Reason::parse("reason", "").unwrap();
    SetOverride { rpc, scope, subject, setting: None, end: None, expected_version: None, reason, idempotency }
}

/// For as long as is said, or else for the window that runs; one that begins with its use has an hour.
fn granted(index: u8, amount: u64, lasts: Option<Millis>, idempotency: Idempotency) -> Grant {
    let SetOverride { scope, subject: limit, reason, .. } = overridden(index, Rpc::Grant, idempotency.clone());
    let is_anchored = LIMITS.get(usize::from(index)).is_some_and(|(.., window)| window.begins_with_use());
    let lasts = lasts.or_else(|| is_anchored.then_some(HOUR_MS));
    let lasts = lasts.map_or(Lasts::Window, |length| Lasts::To(End::After(length)));
    Grant { scope, limit, amount, lasts, reason, idempotency }
}

/// Whose policy it is, and since when.
type Of<'a> = (&'a OrgId, &'a Arc<OrgPolicy>, Millis);

fn context<'a>((org, policy, since): Of<'a>, bounds: &'a Bounds, now: Millis) -> Context<'a> {
    let (now, policy_since, decision) = (Now::at(now), Some(since), DecisionId(0));
    Context {
        org,
        now,
        policy,
        plans: &NoPlans,
        policy_since,
        bounds,
        decision,
        store_fault: false,
        within: None,
        caller: "test",
        reason: Reason::none(),
        trace: None,
    }
}

type Since<'a> = (&'a Arc<OrgPolicy>, Millis);

fn inspect(org: &mut OrgState, (policy, since): Since<'_>, bounds: &Bounds, now: Millis) -> Option<Box<Snapshot>> {
    match org.apply(&Command::Inspect(Inspect), &context((&NAMES.org, policy, since), bounds, now)) {
        Ok(Reply::Inspect(snapshot)) => snapshot,
        other => panic!("no snapshot: {other:?}"),
    }
}

/// Ids past their time are forgotten when it suits, and are not compared.
fn comparable(snapshot: Option<Box<Snapshot>>) -> Option<Box<Snapshot>> {
    snapshot.map(|snapshot| Box::new(Snapshot { remembered: 0, ids_known_from: 0, ..*snapshot }))
}

/// The scopes whose bits are set, the other way round: a set has no order.
fn named(scopes: Named) -> Scopes {
    let named: Vec<_> = NAMES.scopes.iter().filter(|scope| !scope.is_org()).enumerate().collect();
    named.into_iter().rev().filter(|(bit, _)| scopes >> bit & 1 == 1).map(|(_, scope)| scope.clone()).collect()
}

fn pick<T: Clone>(from: &[T], which: u8) -> Option<T> {
    from.iter().rev().cycle().nth(usize::from(which)).cloned()
}

fn repeated(mut command: Command, clash: bool) -> Command {
    let idempotency = match &mut command {
        Command::Acquire(ask) => std::sync::Arc::make_mut(ask).idempotency.as_mut(),
        Command::Commit(Commit { idempotency, .. })
        | Command::Release(Release { idempotency, .. })
        | Command::Extend(Extend { idempotency, .. })
        | Command::Record(Record { idempotency, .. })
        | Command::Freeze(Freeze { idempotency, .. })
        | Command::Unfreeze(Unfreeze { idempotency }) => Some(idempotency),
        Command::ReportCumulative(report) => Some(&mut report.idempotency),
        Command::SetBudget(set) => Some(&mut set.idempotency),
        Command::SetOverride(set) => Some(&mut set.idempotency),
        Command::Refund(refund) => Some(&mut refund.idempotency),
        Command::Grant(grant) => Some(&mut grant.idempotency),
        Command::RevokeGrant(revoke) => Some(&mut revoke.idempotency),
        Command::ResetWindow(reset) => Some(&mut reset.idempotency),
        Command::Rename(rename) => Some(&mut rename.idempotency),
        Command::EndSession(end) => Some(&mut end.idempotency),
        Command::ConfigurePool(set) => Some(&mut set.idempotency),
        Command::ClearAccount(clear) => Some(&mut clear.idempotency),
        Command::Pick(Pick { idempotency, .. }) => idempotency.as_mut(),
        Command::ReportOutcome(report) => report.idempotency.as_mut(),
        Command::Heartbeat(beat) => beat.idempotency.as_mut(),
        Command::Resume(Resume { idempotency, .. }) => idempotency.as_mut(),
        Command::Purge(_)
        | Command::ClaimName(_)
        | Command::FreeName(_)
        | Command::ForgetNames(_)
        | Command::GetNames(_)
        | Command::GetStatus(_)
        | Command::Inspect(_)
        | Command::GetBudget(_)
        | Command::GetSessionStatus(_)
        | Command::GetSession(_)
        | Command::ListSessions(_)
        | Command::ListReservations(_)
        | Command::GetPool(_)
        | Command::RollPools(_)
        | Command::ListDenials(_)
        | Command::Explain(_)
        | Command::AskWhy(_)
        | Command::NoteDenials(_)
        | Command::ListOverrides(_)
        | Command::RunAudit(_)
        | Command::GetUsage(_)
        | Command::TryLimits(_)
        | Command::GetOverview(_)
        | Command::TakeOutbox(_)
        | Command::SettleOutbox(_)
        | Command::TakeUndelivered(_)
        | Command::NoteDelivered(_)
        | Command::ListEvents(_)
        | Command::ListOutbox(_)
        | Command::ReplayOutbox(_) => None,
    };
    if let Some(idempotency) = idempotency.filter(|_| clash) {
        idempotency.fingerprint ^= 1;
    }
    command
}
