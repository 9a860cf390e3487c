//! What an operator wants to know of without asking: limits that are nearly used up, spells of denials, sessions. Each is
//! announced once, as an event of the org's log in the commit of what it speaks of; the alert beside it says what was.
//!
//! Nothing here is read by a decision, and where nothing changes nothing is looked up but by comparison.

use std::sync::Arc;

use super::{Context, OrgState};
use crate::{
    bounds::{DENIAL_SPELL_MS, MINUTE_MS},
    domain::{
        alerts::{AlertRow, Level, Step, Subject, freed, has_ended, steps},
        decision::{Decision, LimitView},
        events::{DenialsEvent, Happening, LimitEvent, SessionChange},
        gate::{FailOpen, Gate},
        ids::{Meter, Scope},
        limit::{Label, Limit},
        reply::Action,
        rows::SessionRow,
        scopes::Scopes,
        window::{Millis, Window},
    },
};

/// Of a limit: what is used of it, and what may be. What is held does not count: each call that reserves what is left would
/// be an event, and another one when it gives it back.
type Taken = (u64, u64);

impl OrgState {
    /// Adds an event where there is room in this minute; what there is no room for is counted.
    pub(super) fn announce(&mut self, what: Happening) {
        if self.events.has_room_now(&what, self.now) {
            return self.happened(what);
        }
        let known = self.alerts.get(Scope::of_org(), &Subject::Flood).cloned();
        let row = known.unwrap_or_else(|| AlertRow::new(Scope::of_org(), Subject::Flood, self.now));
        let due = row.due.or(Some(self.now.saturating_add(MINUTE_MS)));
        self.alerts.put(AlertRow { last: self.now, count: row.count.saturating_add(1), due, ..row });
        self.changed = true;
    }

    /// What was asked of the gates, and what they said. A peek, and what is only tried, announces nothing.
    pub(super) fn watch_decision(&mut self, decision: &Decision, ctx: &Context<'_>) {
        self.watch_limits(&decision.limits, ctx);
        if !decision.allowed
            && let Some(gate) = decision.gate()
        {
            let limiting = decision.limits.iter().find(|view| view.limiting);
            let (scope, limit) = limiting.map_or((Scope::of_org(), ""), |view| (&view.scope, view.name()));
            self.denied(gate, scope, limit);
        }
        if !ctx.store_fault {
            for FailOpen { gate, cause } in decision.let_through() {
                let subject = Subject::FailOpen { gate, cause };
                if self.count(Scope::of_org(), &subject) {
                    self.announce(Happening::FailedOpen { gate, cause });
                }
            }
        }
    }

    /// A call was denied.
    pub(super) fn denied(&mut self, gate: Gate, scope: &Scope, limit: &str) {
        let subject = Subject::Denials { gate, limit: limit.into() };
        if self.count(scope, &subject) {
            let (scope, limit, now) = (scope.clone(), limit.into(), self.now);
            let began = DenialsEvent { gate, scope, limit, is_over: false, count: 1, since: now, last: now };
            self.announce(Happening::Denials(Box::new(began)));
        }
    }

    /// One more of a spell. Answers whether it is the first.
    fn count(&mut self, scope: &Scope, subject: &Subject) -> bool {
        match self.alerts.one_more(scope, subject, self.now) {
            Some(row) => {
                let is_first = row.count == 1;
                if is_first && !self.alerts.has_room() {
                    return false;
                }
                self.alerts.put(row);
                self.changed = true;
                is_first
            }
            None => false,
        }
    }

    /// Nothing more is asked of the org before it is loaded again: what is written seldom is in the next commit.
    pub fn leave(&mut self) {
        for row in self.alerts.ahead() {
            self.alerts.put(row);
            self.changed = true;
        }
    }

    /// The limits of a call as they stand after it.
    pub(super) fn watch_limits(&mut self, views: &[LimitView], ctx: &Context<'_>) {
        for view in views {
            let Some(amount) = view.amount.filter(|_| !view.shadow && is_watched(&view.label, &view.scope)) else {
                continue;
            };
            let taken = (view.used, amount.saturating_sub(view.buffer));
            if self.alerts.concerns(&view.scope, view.name(), taken, self.now) {
                self.step(&view.scope, &view.label, taken, ctx);
            }
        }
    }

    /// The same of what was recorded of a meter in these scopes.
    pub(super) fn watch_usage(&mut self, scopes: &Scopes, meter: &Meter, ctx: &Context<'_>) {
        for scope in scopes.charged() {
            for limit in ctx.policy.limits_of(scope).iter().filter(|limit| limit.meter() == meter) {
                let standing = self.book.standing(scope, limit, self.now);
                let view = LimitView::of(limit, scope, standing.used, standing.reserved).with(standing.spending);
                self.watch_limits(std::slice::from_ref(&view), ctx);
            }
        }
    }

    /// The same of what sessions have used since.
    pub(super) fn watch_compute(&mut self, ctx: &Context<'_>) {
        for scopes in std::mem::take(&mut self.used_compute) {
            self.watch_usage(&scopes, Meter::of_compute(), ctx);
        }
    }

    /// Announces what follows of a limit of which so much is taken.
    fn step(&mut self, scope: &Scope, label: &Label, (taken, usable): Taken, ctx: &Context<'_>) {
        let subject = Subject::Limit(label.name().into());
        let known = self.alerts.get(scope, &subject).cloned();
        if known.is_none() && !self.alerts.has_room() {
            return;
        }
        let row = known.unwrap_or_else(|| AlertRow::new(scope, subject.clone(), self.now));
        let (steps, level) = steps(row.level, has_ended(row.until, self.now), taken, usable);
        let ends_at = self.ends_at(scope, label, ctx);
        let count = row.count + steps.len() as u64;
        for step in steps {
            let level = if let Step::Reached(level) = step { level } else { Level::Below };
            self.announce_level(level, (scope, label), (taken, usable), ends_at);
        }
        self.keep_level(AlertRow { level, count, ..row }, label, (usable, ends_at), ctx);
    }

    fn announce_level(
        &mut self,
        level: Level,
        (scope, label): (&Scope, &Label),
        (used, amount): Taken,
        ends_at: Option<Millis>,
    ) {
        let (scope, limit, meter) = (scope.clone(), label.name().into(), label.meter.clone());
        self.announce(Happening::Limit(Box::new(LimitEvent { level, scope, limit, meter, used, amount, ends_at })));
    }

    /// What stays announced of a limit.
    fn keep_level(
        &mut self,
        row: AlertRow,
        label: &Label,
        (usable, ends_at): (u64, Option<Millis>),
        ctx: &Context<'_>,
    ) {
        let AlertRow { level, ref scope, ref subject, .. } = row;
        if level == Level::Below {
            self.alerts.remove(scope, subject);
        } else {
            let due = ends_at.or_else(|| self.recovers_at(scope, label, (level, usable), ctx));
            self.alerts.put(AlertRow { last: self.now, until: ends_at, due, ..row });
        }
        self.changed = true;
    }

    /// Limits that were used up and are not, since an operator has changed them or what is used of them, or since what one had set
    /// has ended.
    pub(super) fn announce_freed(&mut self, ctx: &Context<'_>) {
        if !std::mem::take(&mut self.limits_changed) {
            return;
        }
        for row in self.alerts.used_up() {
            let Subject::Limit(name) = &row.subject else { continue };
            let Some((label, (taken, usable))) = self.taken_of(&row.scope, name, ctx) else { continue };
            if let Some(level) = freed(row.level, taken, usable) {
                let ends_at = self.ends_at(&row.scope, &label, ctx);
                self.announce_level(Level::Below, (&row.scope, &label), (taken, usable), ends_at);
                self.keep_level(AlertRow { level, count: row.count + 1, ..row }, &label, (usable, ends_at), ctx);
            }
        }
    }

    /// What is taken of a limit, and what may be; `None` where there is no such limit.
    fn taken_of(&mut self, scope: &Scope, name: &str, ctx: &Context<'_>) -> Option<(Arc<Label>, Taken)> {
        if scope.is_org() && name == BACKSTOP {
            let amount = self.rate_spending(ctx).over_amount(ctx.policy.rate.amount);
            let taken = (self.rate_now(ctx).count, amount.unwrap_or(u64::MAX));
            return Some((self.rate_label(&ctx.policy.rate), taken));
        }
        let limit = ctx.policy.limit_named(scope, name)?.clone();
        let standing = self.book.standing(scope, &limit, self.now);
        let amount = standing.spending.over_amount(limit.amount);
        let usable = amount.map_or(u64::MAX, |amount| amount.saturating_sub(limit.buffer));
        Some((limit.label, (standing.used, usable)))
    }

    /// The end of the running window; `None` of a rolling one.
    fn ends_at(&mut self, scope: &Scope, label: &Label, ctx: &Context<'_>) -> Option<Millis> {
        let window = label.window;
        if !window.begins_with_use() {
            return window.end(window.start(self.now));
        }
        let limit = limit_of(scope, label.name(), ctx)?;
        self.book.standing(scope, &limit, self.now).ends_at
    }

    /// When a rolling limit that is used up will be usable again, if nothing happens: not before a minute.
    fn recovers_at(
        &mut self,
        scope: &Scope,
        label: &Label,
        (level, usable): (Level, u64),
        ctx: &Context<'_>,
    ) -> Option<Millis> {
        let limit = limit_of(scope, label.name(), ctx).filter(|_| level >= Level::Exhausted)?;
        let fits = self.book.fits_at(scope, None, &limit, usable / 5 + 1, &self.clocks);
        let soonest = self.now.saturating_add(MINUTE_MS);
        fits.map(|at| at.max(soonest))
    }

    /// Once its time has come, whatever is called.
    pub(super) fn settle_alerts(&mut self, ctx: &Context<'_>) {
        self.announce_freed(ctx);
        if let Some(numbers) = self.drift_found.take() {
            self.watch_drift(numbers);
        }
        self.watch_compute(ctx);
        while let Some(row) = self.alerts.next_due(self.now) {
            self.changed = true;
            match row.subject.clone() {
                Subject::Limit(name) => self.examine(row, &name, ctx),
                Subject::Denials { gate, limit } => {
                    if let Some(AlertRow { scope, count, since, last, .. }) = self.over(&row) {
                        let ended = DenialsEvent { gate, scope, limit, is_over: true, count, since, last };
                        self.announce(Happening::Denials(Box::new(ended)));
                    }
                }
                Subject::FailOpen { .. } => drop(self.over(&row)),
                Subject::Flood => {
                    self.alerts.remove(&row.scope, &row.subject);
                    self.happened(Happening::LeftOut { count: row.count, since: row.since });
                }
                Subject::Session(_) | Subject::Pool(_) | Subject::Account(_) | Subject::Trial | Subject::Drift => {
                    self.alerts.put(AlertRow { due: None, ..row })
                }
            }
        }
    }

    /// A limit whose window has ended, or that may be usable again.
    fn examine(&mut self, row: AlertRow, name: &str, ctx: &Context<'_>) {
        match self.taken_of(&row.scope, name, ctx) {
            Some((label, taken)) => self.step(&row.scope, &label, taken, ctx),
            // Nothing limits it any more.
            None => self.alerts.remove(&row.scope, &row.subject),
        }
    }

    /// The spell, if no other of it has come for ten minutes; otherwise it goes on.
    fn over(&mut self, row: &AlertRow) -> Option<AlertRow> {
        let spell = self.alerts.spell(&row.scope, &row.subject).unwrap_or_else(|| row.clone());
        let ends_at = spell.last.saturating_add(DENIAL_SPELL_MS);
        if self.now < ends_at {
            self.alerts.put(AlertRow { due: Some(ends_at), ..spell });
            return None;
        }
        self.alerts.remove(&row.scope, &row.subject);
        Some(spell)
    }

    /// What a heartbeat was answered, once for each step.
    pub(super) fn watch_session(&mut self, row: &SessionRow, action: Action) {
        let level = match action {
            Action::Continue => return,
            Action::Warn(percent) if percent < Level::Near95.percent() => Level::Near80,
            Action::Warn(_) => Level::Near95,
            Action::Stop(_) => Level::Exhausted,
        };
        let subject = Subject::Session(row.id.clone());
        let known = self.alerts.get(Scope::of_org(), &subject).cloned();
        if known.as_ref().map_or(Level::Below, |known| known.level) >= level
            || known.is_none() && !self.alerts.has_room()
        {
            return;
        }
        let known = known.unwrap_or_else(|| AlertRow::new(Scope::of_org(), subject, self.now));
        self.alerts.put(AlertRow { level, last: self.now, count: known.count + 1, ..known });
        self.changed = true;
        self.session_changed(
            row,
            match level {
                Level::Below | Level::Near80 => SessionChange::Warned80,
                Level::Near95 => SessionChange::Warned95,
                Level::Exhausted | Level::Over => SessionChange::Stopped,
            },
        );
    }

    /// Something has become of a session; what was announced of one that is over is forgotten.
    pub(super) fn session_changed(&mut self, row: &SessionRow, change: SessionChange) {
        self.announce(Happening::Session { id: row.id.clone(), change, used: row.booked });
        if matches!(change, SessionChange::Ended | SessionChange::Expired) {
            self.alerts.remove(Scope::of_org(), &Subject::Session(row.id.clone()));
        }
    }

    /// At a load: so many numbers do not fit together.
    pub fn found_drift(&mut self, numbers: u64) {
        self.drift_found = Some(numbers);
    }

    /// Each other number is announced once.
    fn watch_drift(&mut self, numbers: u64) {
        let known = self.alerts.get(Scope::of_org(), &Subject::Drift).map_or(0, |row| row.count);
        if known == numbers {
            return;
        }
        if numbers == 0 {
            self.alerts.remove(Scope::of_org(), &Subject::Drift);
        } else {
            let row = AlertRow::new(Scope::of_org(), Subject::Drift, self.now);
            self.alerts.put(AlertRow { count: numbers, ..row });
            self.announce(Happening::Drifted { numbers });
        }
        self.changed = true;
    }
}

/// The name of the backstop among limits.
const BACKSTOP: &str = "rate";

/// Limits of upstream accounts have announcements of their own; how many sessions run at once is no usage, and
/// what a provider says is no limit of ours.
fn is_watched(label: &Label, scope: &Scope) -> bool {
    !matches!(label.window, Window::Concurrent | Window::Provider) && (scope.is_org() || scope.counts_for_org())
}

fn limit_of(scope: &Scope, name: &str, ctx: &Context<'_>) -> Option<Limit> {
    ctx.policy.limit_named(scope, name).filter(|limit| limit.amount.is_some()).cloned()
}
