//! Sessions: long-running executions that pay as they go.
//!
//! ```text
//! start      one step of the pipeline: slot, quota, and a first slice of compute as a reservation
//! heartbeat  what the total grew by is booked, out of the slice as long as some is left
//!            → continue | warn | stop, the last only once the slice is used up
//! end        the rest of the slice is given back
//! expiry     no heartbeat: the time since the last one is booked as far as the slice has paid for it
//! ```
//!
//! Within one incarnation a total only grows: a lower one is a heartbeat that came late and records
//! nothing. A new incarnation counts from zero. What was booked without having been reported covers what is
//! reported next. One heartbeat books at most the clamp; what is beyond is disputed, never dropped.

use smallvec::smallvec;

use super::{Context, OrgState};
use crate::{
    bounds::{AMOUNT_MAX, SESSION_WARN_PERCENT},
    domain::{
        alerts::Subject,
        book::Standing,
        command::{Acquire, EndSession, Heartbeat, Known, ListSessions, NewSession, Run},
        decision::SessionGrant,
        events::{Happening, SessionChange},
        folded::Folded,
        ids::{Amounts, Identity, Incarnation, Meter, Scope, SessionId, Source},
        lease::Due,
        limit::Limit,
        outcome::{Beaten, SessionEnded, Shown},
        policy::{BalanceSource, OrgPolicy},
        refusal::OrgError,
        reply::{Action, Beat, Quota, SessionStatus, SessionView},
        request::Rpc,
        rows::{DisputedRow, Heard, ReservationRow, SessionRow, SessionState},
        scopes::Scopes,
        window::{Calendar, Millis, Window},
    },
};

impl OrgState {
    /// Everything that could refuse a session which the gates admit, before anything changes.
    pub(super) fn check_session(&mut self, new: &NewSession, ctx: &Context<'_>) -> Result<(), OrgError> {
        let known = self.sessions.get(&new.id);
        if known.is_some_and(|row| row.state == SessionState::Running) {
            return Err(OrgError::SessionExists);
        }
        if known.is_some_and(|row| !row.has_room_for_next(self.now)) {
            return Err(OrgError::SessionIdWornOut);
        }
        if known.is_none() && !self.sessions.make_room(ctx.bounds.sessions_per_org as usize) {
            return Err(OrgError::TooManySessions { most: ctx.bounds.sessions_per_org });
        }
        self.changed = true;
        Ok(())
    }

    /// Takes the slot and the first slice.
    pub(super) fn start_session(
        &mut self,
        new: &NewSession,
        (scopes, folded): (&Scopes, &Folded),
        slice: u64,
        ctx: &Context<'_>,
    ) -> SessionGrant {
        let policy = &ctx.policy.sessions;
        let expires_at = self.clocks.lease.after(policy.lease());
        let decision = ctx.decision.admitted();
        let former = self.sessions.get(&new.id).cloned().map(|row| row.into_former(self.now)).unwrap_or_default();
        let row = SessionRow {
            id: new.id.clone(),
            scopes: scopes.clone(),
            identity: new.identity.clone(),
            decision,
            state: SessionState::Running,
            started_at: self.now,
            last_heartbeat_at: self.now,
            heard: Heard::at(&self.clocks),
            expires_at,
            ended_at: None,
            incarnations: Vec::new(),
            booked: 0,
            booked_ahead: 0,
            disputed: 0,
            stopping_since: None,
            former,
        };
        self.hold_slice(&row, folded, slice);
        self.session_changed(&row, SessionChange::Started);
        self.sessions.put(row);
        SessionGrant { slice, heartbeat: policy.heartbeat, expires_at: self.clocks.shown(expires_at) }
    }

    /// Reserves what is left of a session's first slice until it expires. At its expiry the time since
    /// its last heartbeat is booked out of it.
    fn hold_slice(&mut self, row: &SessionRow, folded: &Folded, left: u64) {
        if left > 0 {
            let amounts: Amounts = smallvec![(Meter::compute(), left)];
            let id = row.decision;
            let held = ReservationRow::open(id, row.scopes.clone(), amounts, row.started_at, row.expires_at);
            self.book.reserve(held, folded);
            self.book.prepay(id, row.silence());
        }
    }

    /// Which scopes of a session share a ledger.
    fn placed_compute(&self, scopes: &Scopes, ctx: &Context<'_>) -> Folded {
        self.placed(scopes, std::iter::once(Meter::of_compute()), ctx)
    }

    /// Gives the slice back, and answers what was left of it.
    fn take_slice(&mut self, row: &SessionRow) -> u64 {
        let held = self.book.settle(row.decision);
        held.map_or(0, |held| held.amounts.iter().map(|(_, amount)| *amount).sum())
    }

    /// Ends sessions that had no heartbeat until the org's time, each at the instant of its expiry and by
    /// the policy at that time. Nothing of it is booked before `last`, when the org was last asked.
    pub(super) fn expire_sessions(&mut self, last: Millis, configured: &Context<'_>) {
        while let Some(mut row) = self.sessions.expired(self.clocks.lease) {
            let at = self.clocks.shown(row.expires_at).clamp(last, self.now);
            let policy = self.policy_at(at, configured);
            let ctx = Context { policy: &policy, ..*configured };
            self.mark_spending_at(at, configured);
            let folded = self.placed_compute(&row.scopes, &ctx);
            let booked = self.take_slice(&row).min(row.silence());
            row.state = SessionState::Expired;
            row.ended_at = Some(at);
            row.booked_ahead = row.booked_ahead.saturating_add(booked);
            self.book_session(&mut row, &folded, booked, at, &ctx);
            self.session_changed(&row, SessionChange::Expired);
            self.sessions.put(row);
            self.spend(at, configured);
            self.news.expired_sessions += 1;
            self.changed = true;
        }
    }

    fn book_session(&mut self, row: &mut SessionRow, folded: &Folded, amount: u64, at: Millis, ctx: &Context<'_>) {
        row.booked = row.booked.saturating_add(amount);
        if amount > 0 {
            self.count_folded(folded);
        }
        self.book.book(ctx.policy, (&row.scopes, folded), Meter::of_compute(), amount, at);
        // At the org's time, which comes later: what is booked now may lie before what is booked next.
        if !self.used_compute.contains(&row.scopes) {
            self.used_compute.push(row.scopes.clone());
        }
        let plane = self.planes.holder(row.decision);
        self.planes.add(at, &plane, Meter::of_compute(), amount);
        self.tell_trial_end(ctx);
        // No two amounts of a session share a name, nor do two sessions.
        let name = format!("{} {}", row.decision, row.booked);
        let booked: Amounts = smallvec![(Meter::compute(), amount)];
        self.export_as(&row.scopes, &booked, (&row.scopes, Rpc::Heartbeat, &name), at, ctx);
    }

    /// Books what a total adds. Answers what was booked and what was not believed.
    fn accrue(
        &mut self,
        row: &mut SessionRow,
        folded: &Folded,
        (incarnation, total): (&Incarnation, u64),
        ctx: &Context<'_>,
    ) -> (u64, u64) {
        let grown = row.grow(incarnation, total.min(AMOUNT_MAX));
        let covered = grown.min(row.booked_ahead);
        row.booked_ahead -= covered;
        // While the node was away nobody could report.
        let clamp = ctx.policy.sessions.clamp.saturating_add(row.heard.away(&self.clocks));
        row.heard.absent = self.clocks.absent;
        let booked = (grown - covered).min(clamp);
        let disputed = grown - covered - booked;
        row.disputed = row.disputed.saturating_add(disputed);
        let (scopes, source) = (row.scopes.clone(), Source::from(&row.id));
        let entry = DisputedRow { seq: 0, scopes, source, meter: Meter::compute(), amount: disputed, at: self.now };
        self.dispute_session(entry);
        self.book_session(row, folded, booked, self.now, ctx);
        (booked, disputed)
    }

    fn known(&self, id: &SessionId, identity: &Identity, ctx: &Context<'_>) -> Result<SessionRow, OrgError> {
        let row = self.visible(id, ctx)?;
        if row.identity == *identity { Ok(row.clone()) } else { Err(OrgError::OtherIdentity) }
    }

    fn visible(&self, id: &SessionId, ctx: &Context<'_>) -> Result<&SessionRow, OrgError> {
        self.sessions.get(id).filter(|row| ctx.may_see(&row.scopes)).ok_or(OrgError::SessionUnknown)
    }

    /// The same of what names a life of the machine. One of a session that had the id before is no sign of life
    /// of the one that has it now.
    fn known_life(
        &self,
        id: &SessionId,
        identity: &Identity,
        life: &Incarnation,
        ctx: &Context<'_>,
    ) -> Result<SessionRow, OrgError> {
        let row = self.known(id, identity, ctx)?;
        if row.former.had(life) { Err(OrgError::SessionReplaced) } else { Ok(row) }
    }

    /// R-SES-3: books what the total has grown by, and answers whether the session may go on.
    pub(in crate::domain) fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        ctx: &Context<'_>,
    ) -> Result<Shown<Beaten, Box<Beat>>, OrgError> {
        let (done, folded) = self.once_showing(Rpc::Heartbeat, beat.idempotency.as_ref(), ctx, |org| {
            let mut row = org.known_life(&beat.session, &beat.identity, &beat.incarnation, ctx)?;
            let folded = org.placed_compute(&row.scopes, ctx);
            let left = org.take_slice(&row);
            let (booked, disputed) = org.accrue(&mut row, &folded, (&beat.incarnation, beat.total), ctx);
            if row.state == SessionState::Running {
                row.last_heartbeat_at = org.now;
                row.heard = Heard::at(&org.clocks);
                row.expires_at = org.clocks.lease.after(ctx.policy.sessions.lease());
                org.hold_slice(&row, &folded, left.saturating_sub(booked));
            }
            let action = org.action(&row, ctx);
            let stops = matches!(action, Action::Stop(_));
            if row.state == SessionState::Running {
                org.watch_session(&row, action);
            }
            row.stopping_since = stops.then(|| row.stopping_since.unwrap_or(org.clocks.lease));
            org.sessions.put(row);
            org.watch_compute(ctx);
            org.changed = true;
            Ok((Beaten { booked, disputed }, folded.scopes()))
        })?;
        let row = self.known_life(&beat.session, &beat.identity, &beat.incarnation, ctx)?;
        Ok(done.show(Box::new(Beat {
            action: self.action(&row, ctx),
            state: row.state,
            quota: self.quota(&row.scopes, ctx.policy),
            heartbeat: ctx.policy.sessions.heartbeat,
            expires_at: self.session_ends_at(&row),
            folded: folded.unwrap_or_else(|| self.placed_compute(&row.scopes, ctx).scopes()),
        })))
    }

    /// The answer to the session: derived from the counters each time, so that a raised limit lets it go on.
    fn action(&mut self, row: &SessionRow, ctx: &Context<'_>) -> Action {
        let policy = &ctx.policy.sessions;
        let grace = if policy.trial { 0 } else { policy.grace };
        let left = row.stopping_since.map_or(grace, |since| since.after(grace).since(self.clocks.lease));
        if row.state != SessionState::Running {
            return Action::Stop(left);
        }
        let held = self.book.held(row.decision);
        let percent = self.percent_used(&row.scopes, held, ctx);
        if policy.enforce && held == 0 && percent >= 100 {
            return Action::Stop(left);
        }
        let warned = SESSION_WARN_PERCENT.into_iter().rfind(|from| percent >= *from);
        warned.map_or(Action::Continue, Action::Warn)
    }

    /// How much of the tightest limit on compute is taken, by others than the slice of `held`.
    fn percent_used(&mut self, scopes: &Scopes, held: u64, ctx: &Context<'_>) -> u64 {
        let mut most = 0;
        for scope in scopes.charged() {
            let others = self.book.others_of(ctx.policy, scope);
            let limits = ctx.policy.limits_of(scope).iter().filter(|limit| *limit.meter() == Meter::compute());
            for limit in limits.filter(|limit| !limit.shadow) {
                let Some(amount) = limit.amount else { continue };
                let standing = self.book.standing_among(scope, others.as_ref(), limit, self.now);
                let Standing { used, reserved, spending, .. } = standing;
                let taken = u128::from(used) + u128::from(reserved.saturating_sub(held));
                let usable = u128::from(amount.saturating_add(spending.more()).saturating_sub(limit.buffer));
                let percent = (taken * 100).checked_div(usable).unwrap_or(100);
                most = most.max(u64::try_from(percent).unwrap_or(u64::MAX));
            }
        }
        most
    }

    /// R-SES-1: nothing of the slice is kept that was not used.
    pub(in crate::domain) fn end_session(
        &mut self,
        end: &EndSession,
        ctx: &Context<'_>,
    ) -> Result<Shown<SessionEnded, Box<SessionView>>, OrgError> {
        let (done, folded) = self.once_showing(Rpc::EndSession, Some(&end.idempotency), ctx, |org| {
            let mut row = match &end.last {
                Some((life, _)) => org.known_life(&end.session, &end.identity, life, ctx)?,
                None => org.known(&end.session, &end.identity, ctx)?,
            };
            let folded = org.placed_compute(&row.scopes, ctx);
            org.close_session(&mut row, &folded, end, ctx);
            let decision = row.decision;
            org.sessions.put(row);
            org.watch_compute(ctx);
            Ok((SessionEnded { decision }, folded.scopes()))
        })?;
        let row = self.known(&end.session, &end.identity, ctx)?;
        // The id may be that of a later session by now.
        if row.decision != done.outcome.decision {
            return Err(OrgError::SessionReplaced);
        }
        let folded = folded.unwrap_or_else(|| self.placed_compute(&row.scopes, ctx).scopes());
        Ok(done.show(Box::new(SessionView { folded, ..self.session_view(row) })))
    }

    fn close_session(&mut self, row: &mut SessionRow, folded: &Folded, end: &EndSession, ctx: &Context<'_>) {
        let runs = row.state == SessionState::Running;
        self.take_slice(row);
        match &end.last {
            Some((incarnation, total)) => drop(self.accrue(row, folded, (incarnation, *total), ctx)),
            // Nobody says how long it ran: since its last heartbeat.
            None if runs => {
                let silent = row.heard.passed(&self.clocks);
                row.booked_ahead = row.booked_ahead.saturating_add(silent);
                self.book_session(row, folded, silent, self.now, ctx);
            }
            None => {}
        }
        if runs {
            row.state = SessionState::Ended;
            row.last_heartbeat_at = self.now;
            row.ended_at = Some(self.now);
            self.session_changed(row, SessionChange::Ended);
            self.news.ended_sessions += 1;
        }
    }

    pub(super) fn session_view(&self, row: SessionRow) -> SessionView {
        let held_by = self.book.reservation(row.decision, self.now);
        let folded = held_by.map(|held| held.folded.scopes()).unwrap_or_default();
        SessionView { held: self.book.held(row.decision), ends_at: self.session_ends_at(&row), folded, row }
    }

    /// When it expires without a heartbeat; when it ended, once it has.
    fn session_ends_at(&self, row: &SessionRow) -> Due {
        row.ended_at.map_or_else(|| self.clocks.ends(row.expires_at), Due::over)
    }

    pub(in crate::domain) fn session(&self, id: &SessionId, ctx: &Context<'_>) -> Result<Box<SessionView>, OrgError> {
        let row = self.visible(id, ctx)?;
        Ok(Box::new(self.session_view(row.clone())))
    }

    pub(in crate::domain) fn list_sessions(&self, list: &ListSessions, ctx: &Context<'_>) -> Vec<SessionView> {
        let rows = self.sessions.behind(list.after.as_ref()).filter(|row| ctx.may_see(&row.scopes));
        let rows = rows.filter(|row| !list.running || row.state == SessionState::Running);
        rows.take(list.max).cloned().map(|row| self.session_view(row)).collect()
    }

    /// R-SES-2: compute in the quota of the plan, which is one of a month or of a trial: the same number for
    /// a start, a heartbeat and a query. It accrues without a limit as well.
    fn quota(&mut self, scopes: &Scopes, policy: &OrgPolicy) -> Quota {
        let scope = if scopes.counts_in(Scope::of_org()) { Scope::of_org() } else { scopes.first() };
        let monthly = Limit::new(Meter::compute(), Window::Calendar(Calendar::Month), None);
        let is_of_plan = |limit: &&Limit| *limit.meter() == Meter::compute() && limit.window().is_of_plan();
        let limit = policy.limits_of(scope).iter().find(is_of_plan).unwrap_or(&monthly);
        let Standing { used, reserved, spending, .. } = self.book.standing(scope, limit, self.now);
        let amount = spending.over_amount(limit.amount).map(|amount| amount.saturating_sub(limit.buffer));
        Quota { used, reserved, amount }
    }

    pub(in crate::domain) fn session_status(
        &mut self,
        scopes: &Scopes,
        known: Known,
        ctx: &Context<'_>,
    ) -> Box<SessionStatus> {
        let ask = Acquire { run: Run::AnySession, ..Acquire::of(scopes.clone(), Amounts::new()) };
        let decision = self.peek(ask, known, ctx);
        Box::new(SessionStatus {
            decision,
            plan: ctx.policy.plan.clone(),
            quota: self.quota(scopes, ctx.policy),
            running: self.sessions.running(),
            max: ctx.policy.sessions.max,
            asks_provider: ctx.policy.balance.source == BalanceSource::Provider,
        })
    }

    /// A trial that has used up what it includes is announced once in the life of the org, whatever happens
    /// to its limits after it.
    pub(super) fn tell_trial_end(&mut self, ctx: &Context<'_>) {
        if !ctx.policy.sessions.trial || self.alerts.has(&Subject::Trial) {
            return;
        }
        let quota = self.quota(&Scopes::org(), ctx.policy);
        if quota.amount.is_some_and(|amount| quota.used >= amount) {
            self.alerts.set(Subject::Trial, true, self.now);
            self.announce(Happening::TrialEnded);
            self.news.trial_ended = true;
            self.changed = true;
            let once: Amounts = smallvec![(Meter::trial_ended(), 1)];
            self.export(&Scopes::org(), &once, Rpc::Heartbeat, &ctx.policy.plan, ctx);
        }
    }
}
