//! What goes to the billing provider: written in the commit of what it reports, handed out when due,
//! gone when delivered.
//!
//! ```text
//! completed   an admitted execution is remembered as open; its Commit, or a Record that names it,
//!             reports what it was charged
//! admitted    the admission itself reports it
//! both        Commit, Record and ReportCumulative report what they book
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::smallvec;

use super::{Context, Execution, OrgState};
use crate::{
    bounds::{EXPORT_GRACE_MS, EXPORT_LEASE_MS},
    domain::{
        command::{Acquire, ListOutbox, Mode},
        events::Change,
        ids::{Amounts, DecisionId, ExecutionId, Meter},
        lease::Now,
        outbox::{DeadCause, Delivery, OutboxKey, OutboxRow},
        policy::ExportWhen,
        reply::{OutboxReplayed, OutboxSettled},
        request::Rpc,
        rows::{Keeper, OpenExecution, Row, RowKey, RowsByKind},
        scopes::Scopes,
        table::Table,
        window::Millis,
    },
};

/// Rows that wait for the provider, and those that were set aside.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    rows: Table<OutboxKey, OutboxRow>,
    /// When each row that is not set aside is tried next, soonest first. In memory a new row is due
    /// at once, and one that was handed out when its lease ends; stored is what a restart goes by.
    due: BTreeSet<(Millis, OutboxKey)>,
    looks: HashMap<OutboxKey, Millis>,
    /// The row that takes what there is no room for, by scopes and meter, and whether it is given back.
    full: BTreeMap<(Scopes, Meter, bool), OutboxKey>,
}

impl Outbox {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let rows = std::mem::take(&mut rows.outbox);
        let mut outbox = Self::default();
        for row in &rows {
            outbox.look_at(row.key, row.dead.is_none().then_some(row.due_at));
            outbox.index(row);
        }
        outbox.rows = Table::load(rows.into_iter().map(|row| (row.key, row)));
        outbox
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &OutboxRow> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// When a row is to be delivered that nobody has in hand.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    fn look_at(&mut self, key: OutboxKey, at: Option<Millis>) {
        if let Some(old) = self.looks.remove(&key) {
            self.due.remove(&(old, key));
        }
        if let Some(at) = at {
            self.looks.insert(key, at);
            self.due.insert((at, key));
        }
    }

    /// A row that is tried again no longer grows.
    fn index(&mut self, row: &OutboxRow) {
        let place = (row.scopes.clone(), row.meter.clone(), row.is_refund);
        if row.dead == Some(DeadCause::Full) {
            self.full.insert(place, row.key);
        } else if self.full.get(&place) == Some(&row.key) {
            self.full.remove(&place);
        }
    }

    fn put(&mut self, row: OutboxRow, look_at: Millis) {
        self.index(&row);
        self.look_at(row.key, row.dead.is_none().then_some(look_at));
        self.rows.put(row.key, row);
    }

    fn remove(&mut self, key: OutboxKey) {
        self.look_at(key, None);
        self.rows.remove(&key);
    }

    /// Hands out rows whose time has come.
    pub(super) fn take_due(&mut self, max: usize, now: Millis) -> Vec<OutboxRow> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now).take(max);
        let keys: Vec<OutboxKey> = due.map(|(_, key)| *key).collect();
        for key in &keys {
            self.look_at(*key, Some(now.saturating_add(EXPORT_LEASE_MS)));
        }
        keys.iter().filter_map(|key| self.rows.get(key).cloned()).collect()
    }

    /// All of it, to be written again behind a wipe.
    pub(super) fn kept_over_a_wipe(self) -> Self {
        let mut kept = Self { due: self.due, looks: self.looks, full: self.full, ..Self::default() };
        for (key, row) in self.rows.iter() {
            kept.rows.put(*key, row.clone());
        }
        kept
    }
}

impl Keeper for Outbox {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.rows.take_rows(puts, dels, |_, row| Row::Outbox(row), |key| RowKey::Outbox { key });
    }

    fn is_spent(&self) -> bool {
        self.rows.is_empty()
    }

    /// Delivery begins with the commit and goes on by itself: the timer is for what a crash interrupted.
    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        self.next_due().map(|due| due.saturating_add(EXPORT_GRACE_MS))
    }
}

impl OrgState {
    /// Whether usage waits that can be delivered now.
    pub fn has_exports(&self) -> bool {
        self.outbox.next_due().is_some_and(|due| due <= self.now)
    }

    /// Executions that were admitted and never completed, so far.
    pub fn uncompleted(&self) -> u64 {
        self.uncompleted
    }

    /// With the admission: report it, or remember what its completion will report.
    pub(super) fn export_admission(&mut self, ask: &Acquire, id: DecisionId, ctx: &Context<'_>) {
        match ctx.policy.balance.export {
            ExportWhen::Admitted => {
                let decision = id.to_string();
                let named = ask.idempotency.as_ref().map_or(decision.as_str(), |known| known.id.as_str());
                self.export(&ask.scopes, &ask.cost, Rpc::Acquire, named, ctx);
            }
            // A session reports what it books, as it goes.
            ExportWhen::Completed if ask.is_session() => {}
            ExportWhen::Completed => {
                let cost: Amounts =
                    ask.cost.iter().filter(|(meter, _)| ctx.policy.balance.exports(meter)).cloned().collect();
                let execution = execution_id(id).and_then(|id| Some((self.execution(&id, ctx)?, id)));
                if let Some((execution, id)) = execution {
                    let open = Some(OpenExecution { scopes: ask.scopes.clone(), cost, admitted_at: self.now });
                    self.put_execution(id, Execution { open, last_seen: self.now, ..execution });
                }
            }
            ExportWhen::Never => {}
        }
        debug_assert!(ask.mode != Mode::CheckOnly, "a peek reports nothing");
    }

    /// An admitted execution ran to its end at `at`. What it was charged is reported once: under its own name,
    /// so that a second report of its end changes nothing. Where its admission was lost with a crash
    /// before it reached the disk, its id still says that there was one, of one execution.
    pub(super) fn complete(&mut self, scopes: &Scopes, decision: DecisionId, at: Millis, ctx: &Context<'_>) {
        // A session has charged no execution, and reports what it books by itself.
        if ctx.policy.balance.export != ExportWhen::Completed || self.sessions.began_with(decision) {
            return;
        }
        let known = execution_id(decision).and_then(|id| Some((self.executions.get(&id)?.clone(), id)));
        let (scopes, cost) = match known {
            Some((Execution { open: Some(open), continuations, admitted, last_seen }, id)) => {
                // A second report of its end has the same name, unless no execution was charged: then only a
                // memory of it can tell. And so does a Release of what it holds still.
                let unnamed = !open.cost.iter().any(|(meter, _)| *meter == Meter::executions());
                let holds = self.book.reservation(decision, self.now).is_some();
                if admitted || continuations > 0 || unnamed || holds {
                    self.put_execution(id, Execution { open: None, continuations, admitted, last_seen });
                } else {
                    self.executions.remove(&id);
                }
                (open.scopes, open.cost)
            }
            // It was completed before.
            Some(_) => return,
            None if decision.is_admitted() => (scopes.clone(), smallvec![(Meter::executions(), 1)]),
            None => return,
        };
        // Named for the org as a whole: a later report of the end may name other scopes.
        let name = decision.to_string();
        self.export_as(&scopes, &cost, (&Scopes::org(), Rpc::Acquire, &name), at, ctx);
    }

    /// An admitted execution will not run: nothing to report. Answers whether it had completed already.
    pub(super) fn abandon(&mut self, decision: DecisionId) -> bool {
        let Some(id) = execution_id(decision) else { return false };
        match self.executions.get(&id).cloned() {
            Some(Execution { open: Some(_), continuations: 0, admitted: false, .. }) => {
                self.executions.remove(&id);
                false
            }
            Some(execution) if execution.open.is_some() => {
                self.put_execution(id, Execution { open: None, ..execution });
                false
            }
            known => known.is_some(),
        }
    }

    /// An execution was given back before it completed: its completion reports nothing, for as long as it is known.
    /// Whether it was one.
    pub(super) fn forgive(&mut self, decision: DecisionId) -> bool {
        let Some(id) = execution_id(decision) else { return false };
        let known = self.executions.get(&id).cloned();
        let Some(execution) = known.filter(|execution| execution.open.is_some()) else { return false };
        self.put_execution(id, Execution { open: None, ..execution });
        true
    }

    /// Writes outbox rows for what is exported of `amounts`: one for each meter, however many scopes it counts in.
    pub(super) fn export(&mut self, scopes: &Scopes, amounts: &Amounts, rpc: Rpc, id: &str, ctx: &Context<'_>) {
        self.export_as(scopes, amounts, (scopes, rpc, id), self.now, ctx);
    }

    /// The same under a name with scopes of its own, of usage that was booked at `at`.
    pub(super) fn export_as(
        &mut self,
        scopes: &Scopes,
        amounts: &Amounts,
        name: (&Scopes, Rpc, &str),
        at: Millis,
        ctx: &Context<'_>,
    ) {
        let policy = &ctx.policy.balance;
        let (named, rpc, id) = name;
        for (meter, units) in amounts.iter().filter(|(meter, units)| *units > 0 && policy.exports(meter)) {
            let key = OutboxKey::of(&policy.environment, ctx.org, named, meter, rpc, id);
            if self.outbox.rows.get(&key).is_some() {
                continue;
            }
            if self.outbox.rows.len() >= ctx.bounds.exports_per_org as usize {
                self.set_aside(scopes, (meter, *units), rpc == Rpc::Refund, ctx);
                continue;
            }
            let row = OutboxRow::new(key, scopes.clone(), meter.clone(), *units, self.now);
            self.outbox.put(OutboxRow { at, is_refund: rpc == Rpc::Refund, ..row }, self.now);
            self.changed = true;
        }
    }

    /// The outbox is full: amounts of the same scopes and meter add up in one row that is not tried, so
    /// that it may grow, until an operator has it sent.
    fn set_aside(&mut self, scopes: &Scopes, (meter, units): (&Meter, u64), is_refund: bool, ctx: &Context<'_>) {
        let existing = self.outbox.full.get(&(scopes.clone(), meter.clone(), is_refund));
        let existing = existing.and_then(|key| self.outbox.rows.get(key)).cloned();
        let mut row = existing.unwrap_or_else(|| {
            let environment = &ctx.policy.balance.environment;
            let rpc = if is_refund { Rpc::Refund } else { Rpc::Record };
            let named = |at| OutboxKey::of(environment, ctx.org, scopes, meter, rpc, &format!("set aside {at}"));
            let mut names = (self.now..).map(named);
            let key = names.find(|key| self.outbox.rows.get(key).is_none()).unwrap_or_else(|| named(self.now));
            let row = OutboxRow::new(key, scopes.clone(), meter.clone(), 0, self.now);
            OutboxRow { dead: Some(DeadCause::Full), is_refund, ..row }
        });
        self.news.set_aside += u64::from(row.units == 0);
        row.units = row.units.saturating_add(units);
        self.outbox.put(row, self.now);
        self.changed = true;
    }

    /// Hands out at most `max` rows that are due. What a long stop kept from going out is set aside instead: an attempt whose
    /// outcome was lost may have been booked, and the provider no longer tells a repeat.
    pub(in crate::domain) fn take_outbox(&mut self, max: usize) -> Vec<OutboxRow> {
        loop {
            let rows = self.outbox.take_due(max, self.now);
            let (late, due): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_late(self.now));
            let any_late = !late.is_empty();
            for row in late {
                self.outbox.put(OutboxRow { dead: Some(DeadCause::Expired), ..row }, self.now);
                self.news.set_aside += 1;
                self.changed = true;
            }
            if !due.is_empty() || !any_late {
                return due;
            }
        }
    }

    pub(in crate::domain) fn settle_outbox(&mut self, outcomes: &[(OutboxKey, Delivery)]) -> OutboxSettled {
        for (key, delivery) in outcomes {
            let Some(row) = self.outbox.rows.get(key).cloned() else { continue };
            // Nothing of the row has changed, so nothing is written: a restart tries it at once.
            if let Delivery::NotTried { left, .. } = *delivery {
                self.outbox.look_at(*key, row.dead.is_none().then(|| row.asked_again_at(left, self.now)));
                continue;
            }
            self.changed = true;
            if matches!(delivery, Delivery::Delivered | Delivery::Duplicate) {
                self.outbox.remove(*key);
                continue;
            }
            let row = row.after(*delivery, self.now);
            self.news.set_aside += u64::from(row.dead.is_some());
            let due_at = row.due_at;
            self.outbox.put(row, due_at);
        }
        OutboxSettled { next_due: self.outbox.next_due() }
    }

    pub(in crate::domain) fn list_outbox(&self, list: &ListOutbox) -> Vec<OutboxRow> {
        let ListOutbox { after, max, set_aside } = *list;
        let from = after.unwrap_or(OutboxKey(0));
        let behind = self.outbox.rows.iter_from(&from);
        let wanted =
            behind.map(|(_, row)| row).filter(|row| after != Some(row.key) && (!set_aside || row.dead.is_some()));
        wanted.take(max).cloned().collect()
    }

    /// Set aside is what was rejected, what was tried for too long, and what found the outbox full.
    pub(in crate::domain) fn replay_outbox(&mut self, key: Option<OutboxKey>, ctx: &Context<'_>) -> OutboxReplayed {
        let wanted = |row: &&OutboxRow| row.dead.is_some() && key.is_none_or(|key| row.key == key);
        let dead: Vec<OutboxRow> = self.outbox.rows().filter(wanted).cloned().collect();
        let count = dead.len();
        for row in dead {
            // The time for attempts is counted from the operator's word.
            self.outbox.put(OutboxRow { dead: None, due_at: self.now, tried_since: self.now, ..row }, self.now);
            self.changed = true;
        }
        let replayed = (count > 0).then(|| Change::new("exports set aside", &count.to_string(), "tried again"));
        self.operated("ReplayExports", replayed.into_iter().collect(), ctx);
        OutboxReplayed { count }
    }
}

pub(super) fn execution_id(decision: DecisionId) -> Option<ExecutionId> {
    ExecutionId::parse("execution_id", &decision.to_string()).ok()
}
