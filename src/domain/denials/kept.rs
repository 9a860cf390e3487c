//! The list itself, and the counts by day.

use std::collections::BTreeMap;

use super::{DayRow, DayView, DenialFilter, DenialPage, DenialRow, Lately, views};
use crate::{
    bounds::{DAY_MS, DENIAL_DAYS_MS, DENIAL_RETENTION_MS, DENIAL_SPELL_MS, DENIALS_TOLD_APART},
    domain::{
        gate::Gate,
        ids::{DecisionId, Scope},
        lease::Now,
        rows::{Keeper, Row, RowKey, RowsByKind},
        table::Table,
        window::Millis,
    },
};

/// Names how alike two of them are.
type Likeness = u64;

#[derive(Debug, Default)]
pub(in crate::domain) struct Denials {
    rows: Table<u64, DenialRow>,
    /// The rows in which repetitions are counted, by what they are about.
    open: BTreeMap<Likeness, u64>,
    days: Table<Millis, DayRow>,
}

impl Denials {
    pub(in crate::domain) fn load(rows: &mut RowsByKind) -> Self {
        let denials = std::mem::take(&mut rows.denials);
        let days = std::mem::take(&mut rows.days);
        // The newest of those that are alike.
        let open = denials.iter().map(|row| (row.likeness(), row.number)).collect();
        Self {
            open,
            rows: Table::load(denials.into_iter().map(|row| (row.number, row))),
            days: Table::load(days.into_iter().map(|row| (row.start, row))),
        }
    }

    /// Counts a call that was denied, or let through without a gate: in the row that it repeats, or in one of its
    /// own. Whatever number the row has is replaced.
    pub(in crate::domain) fn note(&mut self, row: DenialRow, most: usize) {
        if most == 0 {
            return;
        }
        let row = match self.repeated(&row) {
            Some(number) => return self.repeat(number, row),
            None if self.open.len() < DENIALS_TOLD_APART || self.forget_over(row.last_at) => row,
            None => row.among_others(),
        };
        if let Some(number) = self.repeated(&row) {
            return self.repeat(number, row);
        }
        let number = self.rows.last_key().map_or(1, |last| last + 1);
        self.open.insert(row.likeness(), number);
        self.rows.put(number, DenialRow { number, ..row });
        while self.rows.len() > most {
            let Some(oldest) = self.rows.first_key().copied() else { break };
            self.remove(oldest);
        }
    }

    /// The row that a call repeats, if its spell is not over.
    fn repeated(&self, row: &DenialRow) -> Option<u64> {
        let number = *self.open.get(&row.likeness())?;
        let known = self.rows.get(&number)?;
        (row.last_at < known.last_at.saturating_add(DENIAL_SPELL_MS)).then_some(number)
    }

    fn repeat(&mut self, number: u64, row: DenialRow) {
        self.rows.change(&number, |known| known.add(row));
    }

    /// Whether that made room for another row to be told apart.
    fn forget_over(&mut self, now: Millis) -> bool {
        let rows = &self.rows;
        let runs = |row: &DenialRow| now < row.last_at.saturating_add(DENIAL_SPELL_MS);
        self.open.retain(|_, number| rows.get(number).is_some_and(runs));
        self.open.len() < DENIALS_TOLD_APART
    }

    fn remove(&mut self, number: u64) {
        if let Some(row) = self.rows.remove(&number)
            && self.open.get(&row.likeness()) == Some(&number)
        {
            self.open.remove(&row.likeness());
        }
    }

    /// The first call of a day notes how many were allowed before it.
    pub(in crate::domain) fn day_begins(&mut self, now: Millis, allowed_before: u64) {
        let start = now / DAY_MS * DAY_MS;
        if self.days.last_key().is_some_and(|last| *last >= start) {
            return;
        }
        let none = [0; Gate::ALL.len()];
        self.days.put(start, DayRow { start, allowed_before, denied: none, failed_open: none });
    }

    /// Counts calls of the running day that this gate denied, or that were let through without it.
    pub(in crate::domain) fn count(&mut self, gate: Gate, denied: bool, calls: u64) {
        let Some(start) = self.days.last_key().copied() else { return };
        self.days.change(&start, |day| {
            let counts = if denied { &mut day.denied } else { &mut day.failed_open };
            let count = &mut counts[gate as usize];
            *count = count.saturating_add(calls);
        });
    }

    /// What is past its time goes.
    pub(in crate::domain) fn purge(&mut self, now: Millis) {
        let gone = |row: &DenialRow| row.last_at.saturating_add(DENIAL_RETENTION_MS) <= now;
        let dead: Vec<u64> = self.rows.iter().filter(|(_, row)| gone(row)).map(|(number, _)| *number).collect();
        dead.into_iter().for_each(|number| self.remove(number));
        self.days.purge(|start, _| start.saturating_add(DENIAL_DAYS_MS) <= now);
    }

    /// The newest first.
    pub(in crate::domain) fn newest(&self) -> impl Iterator<Item = &DenialRow> {
        self.rows.iter().rev().map(|(_, row)| row)
    }

    pub(in crate::domain) fn page(&self, filter: &DenialFilter, allowed: u64) -> DenialPage {
        let wanted = |row: &&DenialRow| filter.takes(row);
        let rows: Vec<DenialRow> = self.newest().filter(wanted).take(filter.max).cloned().collect();
        DenialPage { rows, days: self.days_until_now(allowed) }
    }

    /// Each day, the oldest first. `allowed` is how many were allowed until now.
    pub(in crate::domain) fn days_until_now(&self, allowed: u64) -> Vec<DayView> {
        let ends = self.days.iter().skip(1).map(|(_, next)| next.allowed_before).chain([allowed]);
        self.days.iter().zip(ends).map(|((_, row), end)| DayView::of(row, end)).collect()
    }

    /// The row that counts this decision, and whether that is certain.
    pub(in crate::domain) fn of_decision(&self, id: DecisionId) -> Option<(&DenialRow, bool)> {
        let counted = self.newest().filter_map(|row| Some((row, row.counts(id)?)));
        counted.max_by_key(|(row, certain)| (*certain, row.number))
    }

    /// The row of the last call that was denied.
    pub(in crate::domain) fn last(&self, scope: &Scope) -> Option<&DenialRow> {
        let denied = self.newest().filter(|row| row.concerns(scope) && row.denied_by().is_some() && !row.shadow);
        denied.max_by_key(|row| (row.last_at, row.number))
    }

    /// The row of the last call that was denied at this time or before it, while its spell lasted.
    pub(in crate::domain) fn of_time(&self, at: Millis, scope: &Scope) -> Option<&DenialRow> {
        let held = |row: &&DenialRow| row.first_at <= at && at < row.last_at.saturating_add(DENIAL_SPELL_MS);
        let of_scope = self.newest().filter(|row| row.concerns(scope)).filter(held);
        of_scope.max_by_key(|row| (row.denied_by().is_some() && !row.shadow, row.last_at.min(at), row.number))
    }

    /// What was denied of late, for views that do not ask for it.
    pub(in crate::domain) fn lately(&self, now: Millis) -> Lately {
        views::lately(self.newest(), now)
    }
}

impl Keeper for Denials {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.rows.take_rows(puts, dels, |_, row| Row::Denial(row), |number| RowKey::Denial { number });
        self.days.take_rows(puts, dels, |_, row| Row::Day(row), |start| RowKey::Day { start });
    }

    fn is_spent(&self) -> bool {
        self.rows.is_empty() && self.days.is_empty()
    }

    /// The oldest row may have been repeated since: it wakes the org for the others early enough.
    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        let row = self.rows.iter().next().map(|(_, row)| row.last_at.saturating_add(DENIAL_RETENTION_MS));
        let day = self.days.iter().next().map(|(start, _)| start.saturating_add(DENIAL_DAYS_MS));
        [row, day].into_iter().flatten().min()
    }
}
