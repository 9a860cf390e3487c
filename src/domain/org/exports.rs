//! What goes to the billing provider: written in the commit of what it reports, handed out when due,
//! gone when delivered.
//!
//! ```text
//! completed   an admitted execution is remembered as open; its Commit, or a Record that names it,
//!             reports what it was charged
//! admitted    the admission itself reports it
//! both        Commit, Record and ReportCumulative report what they book
//! ```

use std::collections::BTreeMap;

use super::{Context, Execution, OpenExecution, OrgState};
use crate::{
    bounds::{EXPORT_BATCH, EXPORT_LEASE_MS},
    domain::{
        balance::ExportWhen,
        command::{Acquire, Amounts, Mode, Reply, SettledExports},
        exports::{DeadCause, Delivery, ExportKey, ExportRow},
        ids::{DecisionId, ExecutionId, Meter, Scope},
        journal::Rpc,
        rows::{Row, RowKey},
        table::Table,
        window::Millis,
    },
};

/// Rows that wait for the provider, and those that were set aside.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    rows: Table<ExportKey, ExportRow>,
    /// (due, row) of all that are not set aside. Nothing else is looked through.
    due: std::collections::BTreeSet<(Millis, ExportKey)>,
    /// Handed out, and until when nobody else gets them. Not stored: after a crash they go out again.
    leased: BTreeMap<ExportKey, Millis>,
    /// Written since the last look and not handed out yet.
    fresh: Vec<ExportKey>,
}

impl Outbox {
    pub(super) fn load(rows: Vec<ExportRow>) -> Self {
        let due = rows.iter().filter(|row| row.dead.is_none()).map(|row| (row.due_at, row.key)).collect();
        Self { rows: Table::load(rows.into_iter().map(|row| (row.key, row))), due, ..Self::default() }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &ExportRow> {
        self.rows.iter().map(|(_, row)| row)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When a row is to be looked at that nobody has in hand.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether rows wait that can go out now.
    pub(super) fn has_due(&self, now: Millis) -> bool {
        !self.fresh.is_empty() || self.next_due().is_some_and(|due| due <= now)
    }

    fn put(&mut self, row: ExportRow) {
        if let Some(old) = self.rows.get(&row.key) {
            self.due.remove(&(old.due_at, old.key));
        }
        if row.dead.is_none() {
            self.due.insert((row.due_at, row.key));
        }
        self.rows.put(row.key, row);
    }

    fn remove(&mut self, key: &ExportKey) {
        if let Some(row) = self.rows.remove(key) {
            self.due.remove(&(row.due_at, row.key));
        }
    }

    /// Rows to deliver: new ones, and old ones whose time has come.
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<ExportRow> {
        let overdue = self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, key)| *key);
        let fresh = self.fresh.drain(..self.fresh.len().min(EXPORT_BATCH));
        let mut taken = Vec::new();
        for key in fresh.collect::<Vec<_>>().into_iter().chain(overdue.collect::<Vec<_>>()) {
            if taken.len() == EXPORT_BATCH {
                break;
            }
            let Some(row) = self.rows.get(&key).filter(|row| row.dead.is_none()) else { continue };
            if self.leased.get(&key).is_some_and(|until| now < *until) {
                continue;
            }
            self.leased.insert(key, now.saturating_add(EXPORT_LEASE_MS));
            taken.push(row.clone());
        }
        taken
    }

    pub(super) fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        for (key, row) in self.rows.take_dirty() {
            match row {
                Some(row) => puts.push(Row::Export(row)),
                None => dels.push(RowKey::Export { key }),
            }
        }
    }

    /// All of it, to be written again behind a wipe.
    pub(super) fn kept_over_a_wipe(self) -> Self {
        let mut kept = Self { leased: self.leased, fresh: self.fresh, ..Self::default() };
        let rows: Vec<ExportRow> = self.rows.iter().map(|(_, row)| row.clone()).collect();
        rows.into_iter().for_each(|row| kept.put(row));
        kept
    }
}

impl OrgState {
    /// Whether usage waits that can be delivered now.
    pub fn has_exports(&self) -> bool {
        self.outbox.has_due(self.now)
    }

    /// With the admission: report it, or remember what its completion will report.
    pub(super) fn export_admission(&mut self, ask: &Acquire, id: DecisionId, ctx: &Context<'_>) {
        match ctx.policy.balance.export {
            ExportWhen::Admitted => {
                let decision = id.to_string();
                let named = ask.idempotency.as_ref().map_or(decision.as_str(), |known| known.id.as_str());
                self.export(&ask.scope, &ask.cost, Rpc::Acquire, named, ctx);
            }
            ExportWhen::Completed => {
                let cost: Amounts =
                    ask.cost.iter().filter(|(meter, _)| ctx.policy.balance.exports(meter)).cloned().collect();
                let execution = execution_id(id).and_then(|id| Some((self.execution(&id, ctx)?, id)));
                if let Some((execution, id)) = execution {
                    let open = Some(OpenExecution { scope: ask.scope.clone(), cost, admitted_at: self.now });
                    self.executions.put(id, Execution { open, last_seen: self.now, ..execution });
                }
            }
            ExportWhen::Never => {}
        }
        debug_assert!(ask.mode != Mode::CheckOnly, "a peek reports nothing");
    }

    /// An admitted execution ran to its end. What it was charged is reported once: under its own name,
    /// so that a second word of its end changes nothing. Where its admission was lost with a crash
    /// before it reached the disk, its id still says that there was one, of one execution.
    pub(super) fn complete(&mut self, scope: &Scope, decision: DecisionId, ctx: &Context<'_>) {
        if ctx.policy.balance.export != ExportWhen::Completed {
            return;
        }
        let known = execution_id(decision).and_then(|id| Some((self.executions.get(&id)?.clone(), id)));
        let (scope, cost) = match known {
            Some((Execution { open: Some(open), continuations, admitted, last_seen }, id)) => {
                if admitted || continuations > 0 {
                    self.executions.put(id, Execution { open: None, continuations, admitted, last_seen });
                } else {
                    self.executions.remove(&id);
                }
                (open.scope, open.cost)
            }
            // It was completed before.
            Some(_) => return,
            None if decision.is_admitted() => (scope.clone(), vec![(Meter::executions(), 1)]),
            None => return,
        };
        self.export(&scope, &cost, Rpc::Acquire, &decision.to_string(), ctx);
    }

    /// An admitted execution will not run: nothing to report.
    pub(super) fn abandon(&mut self, decision: DecisionId) {
        let Some(id) = execution_id(decision) else { return };
        match self.executions.get(&id).cloned() {
            Some(Execution { open: Some(_), continuations: 0, admitted: false, .. }) => {
                self.executions.remove(&id);
            }
            Some(execution) if execution.open.is_some() => {
                self.executions.put(id, Execution { open: None, ..execution });
            }
            _ => {}
        }
    }

    /// Writes outbox rows for what is exported of `amounts`.
    pub(super) fn export(&mut self, scope: &Scope, amounts: &Amounts, rpc: Rpc, id: &str, ctx: &Context<'_>) {
        let policy = &ctx.policy.balance;
        for (meter, units) in amounts.iter().filter(|(meter, units)| *units > 0 && policy.exports(meter)) {
            let key = ExportKey::of(&policy.environment, ctx.org, scope, meter, rpc, id);
            if self.outbox.rows.get(&key).is_some() {
                continue;
            }
            if self.outbox.rows.len() >= ctx.bounds.exports_per_org as usize {
                self.set_aside(scope, meter, *units, ctx);
                continue;
            }
            self.outbox.put(ExportRow::new(key, scope.clone(), meter.clone(), *units, self.now));
            self.outbox.fresh.push(key);
            self.changed = true;
        }
    }

    /// The outbox is full: amounts of one scope and meter add up in one row that is not tried, so
    /// that it may grow, until an operator has it sent.
    fn set_aside(&mut self, scope: &Scope, meter: &Meter, units: u64, ctx: &Context<'_>) {
        let environment = &ctx.policy.balance.environment;
        let key = |number: u64| {
            ExportKey::of(environment, ctx.org, scope, meter, Rpc::Record, &format!("set aside {number}"))
        };
        let grows = |row: &ExportRow| row.dead == Some(DeadCause::Full) && row.attempts == 0;
        let free = |key: &ExportKey| self.outbox.rows.get(key).is_none_or(grows);
        let started = self.now;
        let Some(key) = (0..u64::MAX).map(|number| key(started.wrapping_add(number))).find(free) else { return };
        let existing = self.outbox.rows().find(|row| grows(row) && row.scope == *scope && row.meter == *meter).cloned();
        let mut row = existing.unwrap_or_else(|| ExportRow {
            dead: Some(DeadCause::Full),
            ..ExportRow::new(key, scope.clone(), meter.clone(), 0, started)
        });
        row.units = row.units.saturating_add(units);
        self.outbox.put(row);
        self.changed = true;
    }

    pub(super) fn settle_exports(&mut self, outcomes: &[(ExportKey, Delivery)]) -> Reply {
        let mut settled = SettledExports::default();
        for (key, delivery) in outcomes {
            self.outbox.leased.remove(key);
            let Some(row) = self.outbox.rows.get(key).cloned() else { continue };
            self.changed = true;
            if matches!(delivery, Delivery::Delivered | Delivery::Duplicate) {
                self.outbox.remove(key);
                settled.delivered += 1;
                continue;
            }
            let row = row.after(*delivery, self.now);
            if row.dead.is_some() {
                settled.dead += 1;
            } else {
                settled.retried += 1;
            }
            self.outbox.put(row);
        }
        Reply::ExportsSettled(settled)
    }

    /// Set aside is what was rejected, what was tried for too long, and what found the outbox full.
    pub(super) fn replay_exports(&mut self, key: Option<ExportKey>) -> Reply {
        let wanted = |row: &&ExportRow| row.dead.is_some() && key.is_none_or(|key| row.key == key);
        let dead: Vec<ExportRow> = self.outbox.rows().filter(wanted).cloned().collect();
        let count = dead.len();
        for row in dead {
            // Time to retry is counted from the operator's word.
            self.outbox.put(ExportRow {
                dead: None,
                due_at: self.now,
                at: self.now,
                attempts: row.attempts.max(1),
                ..row
            });
            self.changed = true;
        }
        Reply::ExportsReplayed { count }
    }
}

fn execution_id(decision: DecisionId) -> Option<ExecutionId> {
    ExecutionId::parse("execution_id", &decision.to_string()).ok()
}
