//! May it execute now? Judged by the pipeline, charged as one step, answered again to a known id.

use std::sync::Arc;

use super::{Context, OrgState, outbox::execution_id, placement::asked, pools::Chosen};
use crate::{
    bounds::RESERVATION_TTL_DEFAULT_MS,
    domain::{
        balance::{Balance, BalanceVerdict},
        command::{Acquire, Known, Mode, Need, Run},
        decision::{Decision, Hold, LimitView, LimitViews, PickedAccount, SessionGrant},
        denials::Asked,
        folded::Folded,
        gate::{Denial, FailOpen, Gate, Reports},
        ids::{Amounts, DecisionId, Meter},
        limit::Label,
        outcome::{Admitted, Picked, Started},
        pipeline::{self, Facts, Judgement, OrgFacts},
        policy::RateLimit,
        rate::{RateRecord, backstop_label},
        refusal::OrgError,
        rows::{ReservationRow, SessionRow, SessionState},
        scopes::Scopes,
        window::{Millis, Window},
    },
};

impl OrgState {
    pub(in crate::domain) fn acquire(
        &mut self,
        ask: &Acquire,
        ctx: &Context<'_>,
    ) -> Result<Result<Box<Decision>, Need>, OrgError> {
        let counts = ask.counts();
        if counts && let Some(admission) = self.recall_admission(ask)? {
            let mut replayed = Box::new(self.replay(admission, ask, ctx));
            self.say_what_is_left(&mut replayed);
            return Ok(Ok(replayed));
        }
        let folded = self.placed(&ask.scopes, asked(ask), ctx);
        let chosen = ask.pool.as_ref().map(|named| self.choose(&named.pool, ctx)).transpose()?;
        let exhausted_pool = chosen.as_ref().and_then(|chosen| chosen.as_ref().err());
        let judgement = match self.judge(ask, exhausted_pool, ctx) {
            Ok(judgement) => judgement,
            Err(need) => return Ok(Err(need)),
        };
        let denied_by = judgement.reports.denial().map(|(gate, _)| gate);
        if counts && denied_by.is_none() {
            self.check_room(ask, ctx)?;
        }
        if counts && let Some(named) = ask.pool.as_ref().filter(|named| named.pick) {
            self.count_call(&named.pool, ctx);
        }
        let mut granted = Granted::default();
        if counts && denied_by.is_none() {
            granted = self.charge(ask, &folded, &judgement, chosen.and_then(Result::ok), ctx);
        } else if counts && denied_by.is_some_and(Gate::is_blocking) {
            let rate = self.rate_now(ctx);
            self.rate = Some(RateRecord { blocked: rate.blocked.saturating_add(1), ..rate });
            self.changed = true;
        }
        let id = counts.then(|| if denied_by.is_none() { ctx.decision.admitted() } else { ctx.decision });
        let slice = judgement.slice;
        let mut decision = Box::new(self.decision(id, judgement, ask.mode));
        if counts && !decision.reports.is_plain() {
            self.keep_denial(Asked::of(ask), &decision, slice, ask.trace, ctx);
        }
        decision.hold = granted.hold;
        decision.session = granted.session;
        decision.account = granted.account;
        decision.folded = folded.scopes();
        self.say_what_is_left(&mut decision);
        if counts {
            self.watch_decision(&decision, ctx);
        }
        Ok(Ok(decision))
    }

    fn say_what_is_left(&self, decision: &mut Decision) {
        let granted = decision.id.filter(|_| decision.hold.is_some() || decision.session.is_some());
        decision.remaining = granted.map_or(0, |id| self.left_of(id));
    }

    /// What the id was granted before. An admission is remembered as what it was: an execution, a session,
    /// or a pick.
    fn recall_admission(&mut self, ask: &Acquire) -> Result<Option<Admission>, OrgError> {
        let (rpc, idempotency, promise) = (ask.rpc(), ask.idempotency.as_ref(), ask.promise());
        if ask.is_session() {
            return Ok(self.recall(rpc, idempotency, promise)?.map(Admission::Session));
        }
        if ask.picks() {
            return Ok(self.recall(rpc, idempotency, promise)?.map(Admission::Pick));
        }
        Ok(self.recall(rpc, idempotency, promise)?.map(Admission::Execution))
    }

    /// The backstop's record as it stands now.
    pub(super) fn rate_now(&self, ctx: &Context<'_>) -> RateRecord {
        RateRecord::at(self.rate, &ctx.policy.rate, self.now)
    }

    /// What the backstop is called, kept from answer to answer.
    pub(super) fn rate_label(&mut self, rate: &RateLimit) -> Arc<Label> {
        let (window, origin) = (Window::Aligned { len: rate.len }, rate.origin);
        let kept = self.rate_label.take().filter(|label| (label.window, label.origin) == (window, origin));
        self.rate_label.insert(kept.unwrap_or_else(|| backstop_label(rate.len, origin))).clone()
    }

    /// Runs the gates over the org's state.
    fn judge(&mut self, ask: &Acquire, exhausted_pool: Option<&Denial>, ctx: &Context<'_>) -> Result<Judgement, Need> {
        let rate_label = self.rate_label(&ctx.policy.rate);
        let org = OrgFacts {
            rate: self.rate_now(ctx),
            rate_label: &rate_label,
            rate_spending: self.rate_spending(ctx),
            sessions: self.sessions.running(),
            malformed: self.budgets.is_malformed(&ask.scopes),
            frozen: self.frozen.as_ref(),
            frozen_until: self.frozen_until(),
            book: &mut self.book,
            exhausted_pool,
            store_fault: ctx.store_fault,
        };
        let share_percent = ctx.bounds.reservation_share_percent.into();
        pipeline::evaluate(Facts { ask, policy: ctx.policy, org: Ok(org), share_percent, now: self.clocks })
    }

    fn decision(&self, id: Option<DecisionId>, judgement: Judgement, mode: Mode) -> Decision {
        let mut decision = Decision::judged(id, judgement.reports, mode == Mode::Shadow);
        decision.limits = judgement.limits;
        decision.at = self.clocks.wall;
        decision.decided_at = self.now;
        decision
    }

    /// Everything that could refuse an admitted call, before anything changes.
    pub(super) fn check_room(&mut self, ask: &Acquire, ctx: &Context<'_>) -> Result<(), OrgError> {
        self.make_room(ask.idempotency.as_ref(), ask.promise(), ctx)?;
        let holds = !ask.reserve.is_empty() || ask.is_session();
        if holds && self.book.open_reservations() >= ctx.bounds.reservations_per_org as usize {
            return Err(OrgError::TooManyReservations { most: ctx.bounds.reservations_per_org });
        }
        if !ask.reserve.is_empty() {
            self.check_ttl(ask.reservation_ttl, ctx)?;
        }
        self.check_meters(&ask.scopes, asked(ask), ctx.bounds.ledgers_per_org as usize, ctx)?;
        match &ask.run {
            Run::Session(new) => self.check_session(new, ctx),
            Run::Execution | Run::AnySession => Ok(()),
        }
    }

    /// A client that leaks its reservations starves the org for no longer than this.
    pub(super) fn check_ttl(&self, ttl: Millis, ctx: &Context<'_>) -> Result<(), OrgError> {
        let most = ctx.bounds.reservation_ttl_max_ms.into();
        if ttl > most { Err(OrgError::ReservationTooLong { most }) } else { Ok(()) }
    }

    fn charge(
        &mut self,
        ask: &Acquire,
        folded: &Folded,
        judgement: &Judgement,
        chosen: Option<Chosen>,
        ctx: &Context<'_>,
    ) -> Granted {
        let id = ctx.decision.admitted();
        let rate = self.rate_now(ctx);
        self.rate = Some(RateRecord { count: rate.count.saturating_add(1), ..rate });
        self.denials.day_begins(self.now, self.admitted_total);
        self.admitted_total += 1;
        self.count_folded(folded);
        self.book(&ask.scopes, folded, &ask.cost, ctx);
        self.went_through(&ask.plane, &ask.cost);
        if !ask.reserve.is_empty() || matches!(ask.run, Run::Session(_)) {
            self.planes.hold(id, &ask.plane);
        }
        let hold = (!ask.reserve.is_empty()).then(|| {
            let ttl = match ask.reservation_ttl {
                0 => RESERVATION_TTL_DEFAULT_MS.min(ctx.bounds.reservation_ttl_max_ms.into()),
                given => given,
            };
            let expires_at = self.clocks.lease.after(ttl);
            let held = ReservationRow::open(id, ask.scopes.clone(), ask.reserve.clone(), self.now, expires_at);
            self.book.reserve(ReservationRow { cost: ask.cost.clone(), ..held }, folded);
            Hold { id, expires_at: self.clocks.shown(expires_at) }
        });
        if ask.with_pause
            && let Some(execution) = execution_id(id)
        {
            self.remember_execution(&execution, 0, ctx);
        }
        self.export_admission(ask, id, ctx);
        let fail_open = judgement.reports.fail_open();
        let session = match &ask.run {
            Run::Session(new) => Some(self.start_session(new, (&ask.scopes, folded), judgement.slice, ctx)),
            Run::Execution | Run::AnySession => None,
        };
        let account = chosen.filter(|_| ask.picks()).map(|chosen| self.charge_account(chosen, ctx));
        let (rpc, idempotency) = (ask.rpc(), ask.idempotency.as_ref());
        match (session, &account) {
            (Some(grant), _) => self.note(rpc, idempotency, Started { decision: id, grant, fail_open }),
            (None, Some(PickedAccount { id: account, .. })) => {
                let (account, decision) = (account.clone(), Some(id));
                self.note(rpc, idempotency, Picked { account, decision, hold, fail_open });
            }
            (None, None) => self.note(rpc, idempotency, Admitted { decision: id, hold, fail_open }),
        }
        Granted { hold, session, account }
    }

    pub(super) fn book(&mut self, scopes: &Scopes, folded: &Folded, amounts: &Amounts, ctx: &Context<'_>) {
        self.book_at(None, (scopes, folded), amounts, ctx);
    }

    /// The same of what happened at `at`; `None` = now.
    pub(super) fn book_at(
        &mut self,
        at: Option<Millis>,
        (scopes, folded): (&Scopes, &Folded),
        amounts: &Amounts,
        ctx: &Context<'_>,
    ) {
        for (meter, amount) in amounts {
            match at {
                None => self.book.book(ctx.policy, (scopes, folded), meter, *amount, self.now),
                Some(at) => self.book.backdate(ctx.policy, (scopes, folded), (meter, *amount), at, self.now),
            }
        }
        if ctx.policy.sessions.trial && amounts.iter().any(|(meter, _)| *meter == Meter::compute()) {
            self.tell_trial_end(ctx);
        }
    }

    /// The outcome as it was; the limits, and what shares a ledger, as they are now.
    fn replay(&mut self, admission: Admission, ask: &Acquire, ctx: &Context<'_>) -> Decision {
        let (run, scopes) = (ask.run.clone(), ask.scopes.clone());
        let known = Known { balance: ask.balance, exempt: false };
        let limits = self.limits_after(Acquire { run, ..Acquire::of(scopes, Amounts::new()) }, known, ctx);
        let at = self.clocks.wall;
        let folded = self.placed(&ask.scopes, asked(ask), ctx).scopes();
        let admitted = |id: Option<DecisionId>, fail_open: &[FailOpen]| Decision {
            limits,
            folded,
            replayed: true,
            at,
            ..Decision::judged(id, Reports::of_admission(fail_open), false)
        };
        match admission {
            Admission::Execution(Admitted { decision, hold, fail_open }) => {
                Decision { hold: self.hold_now(hold), ..admitted(Some(decision), &fail_open) }
            }
            Admission::Session(Started { decision, grant, fail_open }) => {
                let session = Some(self.grant_now(ask, decision, grant));
                Decision { session, ..admitted(Some(decision), &fail_open) }
            }
            Admission::Pick(Picked { account, decision, hold, fail_open }) => {
                let picked_at = self.journal.answered_at(ask.rpc(), ask.idempotency.as_ref(), self.now);
                let account = Some(self.picked_before(account, picked_at, ctx));
                Decision { hold: self.hold_now(hold), account, ..admitted(decision, &fail_open) }
            }
        }
    }

    /// What is left of what a decision was granted: of the hold, which may have been extended since, or of the
    /// lease of the session, which every heartbeat moves.
    pub(super) fn left_of(&self, decision: DecisionId) -> Millis {
        let session = self.sessions.of_decision(decision);
        let lease = session.filter(|row| row.state == SessionState::Running).map(|row| row.expires_at);
        let open = || self.book.reservation(decision, self.now).filter(|row| row.is_open());
        let ends_at = if session.is_some() { lease } else { open().map(|row| row.expires_at) };
        ends_at.map_or(0, |at| at.since(self.clocks.lease))
    }

    /// Every limit as it stands now, whatever one more call would be answered.
    fn limits_after(&mut self, ask: Acquire, known: Known, ctx: &Context<'_>) -> LimitViews {
        let peeked = self.peek(ask, known, ctx);
        peeked.limits.into_iter().map(|view| LimitView { limiting: false, ..view }).collect()
    }

    /// The same of a scope and the org.
    pub(super) fn limits_now(&mut self, scopes: Scopes, ctx: &Context<'_>) -> LimitViews {
        self.limits_after(Acquire::of(scopes, Amounts::new()), Known::default(), ctx)
    }

    /// A hold as it was granted, with its end as it is now: it may have moved since.
    fn hold_now(&self, granted: Option<Hold>) -> Option<Hold> {
        let Hold { id, expires_at } = granted?;
        let now = self.book.expires_at(id).map_or(expires_at, |end| self.clocks.shown(end));
        Some(Hold { id, expires_at: now })
    }

    fn grant_now(&self, ask: &Acquire, decision: DecisionId, granted: SessionGrant) -> SessionGrant {
        let Run::Session(new) = &ask.run else { return granted };
        let running = |row: &&SessionRow| row.decision == decision && row.ended_at.is_none();
        let Some(row) = self.sessions.get(&new.id).filter(running) else { return granted };
        SessionGrant { expires_at: self.clocks.shown(row.expires_at), ..granted }
    }

    /// What an Acquire would be answered, from the org's own state and what is known of its balance.
    pub(super) fn peek(&mut self, ask: Acquire, known: Known, ctx: &Context<'_>) -> Decision {
        self.peek_of_pool(ask, None, known, ctx)
    }

    /// The same where the accounts of its pool may be exhausted.
    pub(super) fn peek_of_pool(
        &mut self,
        ask: Acquire,
        exhausted_pool: Option<&Denial>,
        known: Known,
        ctx: &Context<'_>,
    ) -> Decision {
        let ask = Acquire {
            mode: Mode::CheckOnly,
            explain: true,
            balance: Some(known.balance.unwrap_or(BalanceVerdict::Allowed(Balance::default()))),
            exempt: Some(known.exempt),
            ..ask
        };
        let folded = self.placed(&ask.scopes, asked(&ask), ctx).scopes();
        match self.judge(&ask, exhausted_pool, ctx) {
            Ok(judgement) => Decision { folded, ..self.decision(None, judgement, Mode::CheckOnly) },
            // Both words of the provider's are given.
            Err(_) => Decision::allowed(None),
        }
    }
}

/// An admission as it is remembered.
enum Admission {
    Execution(Admitted),
    Session(Started),
    Pick(Picked),
}

/// What an admission was given to settle later.
#[derive(Debug, Clone, Default)]
pub(super) struct Granted {
    hold: Option<Hold>,
    session: Option<SessionGrant>,
    account: Option<PickedAccount>,
}
