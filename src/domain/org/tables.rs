//! Rows that need no more than a table: baselines of cumulative sources, executions, disputed amounts.

use super::OrgState;
use crate::{
    bounds::{EXECUTION_RETENTION_MS, HOUR_MS},
    domain::{
        ids::{DecisionId, ExecutionId, Incarnation, Meter, Source},
        lease::Now,
        rows::{BaselineRow, DisputedRow, ExecutionRow, Keeper, OpenExecution, Row, RowKey, RowsByKind},
        scopes::Scopes,
        table::Table,
        window::{HOUR_RETENTION_MS, Millis},
    },
};

#[derive(Debug, Clone)]
pub(super) struct Baseline {
    pub(super) incarnation: Incarnation,
    /// As reported, also above the believable: what exceeds it has been disputed.
    pub(super) total: u64,
}

pub(super) type BaselineKey = (Scopes, Source, Meter);

pub(super) fn load_baselines(rows: &mut RowsByKind) -> Table<BaselineKey, Baseline> {
    let rows = std::mem::take(&mut rows.baselines).into_iter();
    Table::load(rows.map(|row| {
        let BaselineRow { scopes, source, meter, incarnation, total } = row;
        ((scopes, source, meter), Baseline { incarnation, total })
    }))
}

pub(super) fn baseline_row((scopes, source, meter): BaselineKey, value: Baseline) -> BaselineRow {
    BaselineRow { scopes, source, meter, incarnation: value.incarnation, total: value.total }
}

impl Keeper for Table<BaselineKey, Baseline> {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.take_rows(
            puts,
            dels,
            |key, value| Row::Baseline(baseline_row(key, value)),
            |(scopes, source, meter)| RowKey::Baseline { scopes, source, meter },
        );
    }

    fn is_spent(&self) -> bool {
        self.is_empty()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Execution {
    pub(super) continuations: u64,
    pub(super) last_seen: Millis,
    pub(super) admitted: bool,
    pub(super) open: Option<OpenExecution>,
}

pub(super) fn load_executions(rows: &mut RowsByKind) -> Table<ExecutionId, Execution> {
    let rows = std::mem::take(&mut rows.executions).into_iter();
    Table::load(rows.map(|row| {
        let ExecutionRow { id, continuations, last_seen, admitted, open } = row;
        (id, Execution { continuations, last_seen, admitted, open })
    }))
}

pub(super) fn execution_row(id: ExecutionId, value: Execution) -> ExecutionRow {
    let Execution { continuations, last_seen, admitted, open } = value;
    ExecutionRow { id, continuations, last_seen, admitted, open }
}

/// The org wakes for them by [`OrgState::executions_from`], so that no commit goes through all of them.
impl Keeper for Table<ExecutionId, Execution> {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.take_rows(puts, dels, |id, value| Row::Execution(execution_row(id, value)), |id| RowKey::Execution { id });
    }

    fn is_spent(&self) -> bool {
        self.is_empty()
    }
}

pub(super) fn load_disputed(rows: &mut RowsByKind) -> Table<u64, DisputedRow> {
    Table::load(std::mem::take(&mut rows.disputed).into_iter().map(|row| (row.seq, row)))
}

impl Keeper for Table<u64, DisputedRow> {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.take_rows(puts, dels, |_, row| Row::Disputed(row), |seq| RowKey::Disputed { seq });
    }

    fn is_spent(&self) -> bool {
        self.is_empty()
    }

    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        self.iter().map(|(_, row)| row.at.saturating_add(HOUR_RETENTION_MS)).min()
    }
}

impl OrgState {
    pub(super) fn purge_disputed(&mut self) {
        let now = self.now;
        self.disputed.purge(|_, row| row.at.saturating_add(HOUR_RETENTION_MS) <= now);
    }

    pub(super) fn purge_executions(&mut self) {
        let (now, book) = (self.now, &self.book);
        let mut uncompleted = 0;
        // A Commit that is still taken reports what the admission was charged.
        let is_held = |id: &ExecutionId| {
            DecisionId::parse("execution_id", id.as_str()).is_ok_and(|id| book.reservation(id, now).is_some())
        };
        self.executions.purge(|id, execution| {
            let gone = execution.last_seen.saturating_add(EXECUTION_RETENTION_MS) <= now
                && !(execution.open.is_some() && is_held(id));
            uncompleted += u64::from(gone && execution.open.is_some());
            gone
        });
        self.uncompleted += uncompleted;
        // Those that are kept for their reservation are examined again in an hour.
        let again = now.saturating_sub(EXECUTION_RETENTION_MS).saturating_add(HOUR_MS);
        self.executions_from = first_seen(&self.executions).map(|from| from.max(again));
    }
}

/// None of them was last seen before.
pub(super) fn first_seen(executions: &Table<ExecutionId, Execution>) -> Option<Millis> {
    executions.iter().map(|(_, execution)| execution.last_seen).min()
}
