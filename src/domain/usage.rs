//! Usage of past days and months of an org: what becomes of its slices when their time is over.
//!
//! ```text
//! slices    36 days, in memory: the days that a query sums up
//! day       one row per scope, meter and day, written by the commit that removes the slices of the day
//! month     one row per scope, meter and month, written by the commit that removes the rows of its days
//! ```
//!
//! Rows of days and months are on disk alone. A sweep reads the oldest before it begins, and only where something is
//! due. All slices of a day go at once, so a day is either in slices or in a row, and no row is ever changed.

use std::collections::BTreeMap;

use super::{
    ids::{Meter, Plane, Scope},
    lease::Now,
    rows::{Keeper, Row, RowKey, RowKind, RowsByKind, UsageDayRow, UsageKeptRow, UsageMonthRow},
    window::{Millis, month_end},
};
use crate::bounds::{HOUR_MS, USAGE_DAYS_MS, USAGE_MONTHS_MS};

/// Rows that one sweep reads: more than one scope and meter has in a month, and few enough for one commit.
pub const ROWS_READ: usize = 2_048;

/// Where usage of a day stands in the order of the rows of days: by month, scope, meter and day, and of names the
/// shorter ones first, as in the keys of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePlace {
    /// Start of the month.
    pub month: Millis,
    /// Whose usage it is.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Start of the day; 0 = before the first day of the month, where the month as a whole stands.
    pub start: Millis,
}

impl UsagePlace {
    /// Of a day.
    pub fn of(row: &UsageDayRow) -> Self {
        Self { month: row.month, scope: row.scope.clone(), meter: row.meter.clone(), start: row.start }
    }

    fn order(&self) -> (Millis, usize, &str, usize, &str, Millis) {
        let (scope, meter) = (self.scope.as_str(), self.meter.as_str());
        (self.month, scope.len(), scope, meter.len(), meter, self.start)
    }
}

impl Ord for UsagePlace {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for UsagePlace {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What is kept of an org, without its rows.
#[derive(Debug, Default)]
pub(super) struct KeptUsage {
    kept: UsageKeptRow,
    /// As stored.
    stored: UsageKeptRow,
    /// Rows that were read before this sweep.
    found: Vec<Row>,
    puts: Vec<Row>,
    dels: Vec<RowKey>,
    /// The write that last changed any row, and the last one that is on disk: what was read before it is there
    /// would show rows that are gone.
    changed_in: u64,
    stored_to: u64,
}

impl KeptUsage {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let kept = std::mem::take(&mut rows.usage_kept).pop().unwrap_or_default();
        Self { kept, stored: kept, ..Self::default() }
    }

    pub(super) fn kept(&self) -> UsageKeptRow {
        self.kept
    }

    /// Writes up to this one are on disk.
    pub(super) fn stored_to(&mut self, write: u64) {
        self.stored_to = self.stored_to.max(write);
    }

    /// Rows of which kind are to be read before a sweep at `now`, the oldest first.
    pub(super) fn wanted(&self, now: Millis) -> Option<RowKind> {
        if self.changed_in > self.stored_to {
            return None;
        }
        let is_due = |due: Option<Millis>| due.is_some_and(|at| at <= now);
        if is_due(self.days_due()) {
            Some(RowKind::UsageDay)
        } else if is_due(self.months_due()) {
            Some(RowKind::UsageMonth)
        } else {
            None
        }
    }

    /// What the store has of what was wanted, in the place of what it had before.
    pub(super) fn take_found(&mut self, rows: Vec<Row>) {
        self.found = rows;
    }

    fn days_due(&self) -> Option<Millis> {
        (self.kept.days > 0).then(|| days_due(self.kept.days_from))
    }

    fn months_due(&self) -> Option<Millis> {
        (self.kept.months > 0).then(|| months_due(self.kept.months_from))
    }

    /// Days of which the slices go with the next write, which is this one.
    pub(super) fn add_days(&mut self, days: Vec<UsageDayRow>, write: u64) {
        for row in days {
            let from = if self.kept.days == 0 { row.month } else { self.kept.days_from.min(row.month) };
            self.kept.days_from = from;
            self.kept.days += 1;
            self.puts.push(Row::UsageDay(row));
            self.changed_in = write;
        }
    }

    /// Makes months of days that are due, and removes months that are, of what was read. Days of a month whose slices
    /// are not all gone wait: no month is written twice. `sliced_from` is the oldest slice.
    pub(super) fn roll_up(&mut self, now: Millis, sliced_from: Option<Millis>, write: u64) {
        let found = std::mem::take(&mut self.found);
        let is_cut = found.len() >= ROWS_READ;
        let (mut days, mut months) = (Vec::new(), Vec::new());
        for row in found {
            if let Row::UsageDay(row) = row {
                days.push(row);
            } else if let Row::UsageMonth(row) = row {
                months.push(row);
            }
        }
        let before = self.kept;
        if !days.is_empty() {
            self.roll_days(days, is_cut, |month| {
                days_due(month) <= now && sliced_from.is_none_or(|from| month_end(month) <= from)
            });
        }
        for row in months {
            self.kept.months_from = row.start;
            if months_due(row.start) > now {
                break;
            }
            self.kept.months = self.kept.months.saturating_sub(1);
            let UsageMonthRow { start, scope, meter, plane, .. } = row;
            self.dels.push(RowKey::UsageMonth { start, scope, meter, plane });
        }
        if self.kept != before {
            self.changed_in = write;
        }
    }

    /// Rows of one month, scope and meter follow each other; the last ones may be cut.
    fn roll_days(&mut self, days: Vec<UsageDayRow>, is_cut: bool, is_due: impl Fn(Millis) -> bool) {
        let same = |a: &UsageDayRow, b: &UsageDayRow| (a.month, &a.scope, &a.meter) == (b.month, &b.scope, &b.meter);
        let groups: Vec<&[UsageDayRow]> = days.chunk_by(same).collect();
        for (at, group) in (1..).zip(&groups) {
            let Some(UsageDayRow { month, scope, meter, .. }) = group.first() else { continue };
            self.kept.days_from = *month;
            if !is_due(*month) || (is_cut && at == groups.len()) {
                return;
            }
            self.roll_month(*month, scope, meter, group);
        }
    }

    fn roll_month(&mut self, month: Millis, scope: &Scope, meter: &Meter, days: &[UsageDayRow]) {
        let mut by_plane: BTreeMap<&Plane, u64> = BTreeMap::new();
        for day in days {
            let amount = by_plane.entry(&day.plane).or_default();
            *amount = amount.saturating_add(day.amount);
            self.kept.days = self.kept.days.saturating_sub(1);
            let (start, plane) = (day.start, day.plane.clone());
            self.dels.push(RowKey::UsageDay { month, scope: scope.clone(), meter: meter.clone(), start, plane });
        }
        let from = if self.kept.months == 0 { month } else { self.kept.months_from.min(month) };
        self.kept.months_from = from;
        for (plane, amount) in by_plane {
            self.kept.months += 1;
            let (scope, meter, plane) = (scope.clone(), meter.clone(), plane.clone());
            self.puts.push(Row::UsageMonth(UsageMonthRow { start: month, scope, meter, plane, amount }));
        }
    }
}

fn days_due(month: Millis) -> Millis {
    month_end(month).saturating_add(USAGE_DAYS_MS)
}

fn months_due(month: Millis) -> Millis {
    month_end(month).saturating_add(USAGE_MONTHS_MS)
}

impl Keeper for KeptUsage {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        puts.append(&mut self.puts);
        dels.append(&mut self.dels);
        if self.kept == self.stored {
            return;
        }
        if !self.kept.is_empty() {
            puts.push(Row::UsageKept(self.kept));
        } else if !self.stored.is_empty() {
            dels.push(RowKey::UsageKept);
        }
        self.stored = self.kept;
    }

    fn is_spent(&self) -> bool {
        self.kept.is_empty()
    }

    fn next_wake(&self, _: &Now) -> Option<Millis> {
        let soonest = self.days_due().into_iter().chain(self.months_due()).min();
        soonest.map(|at| at.div_ceil(HOUR_MS) * HOUR_MS)
    }
}
