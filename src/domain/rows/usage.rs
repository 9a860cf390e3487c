//! Usage of past days and months, for finance. Rows of days and months are not loaded with their org: there may be
//! millions of them, and no rule reads them.

use crate::domain::{
    ids::{DecisionId, Meter, Plane, Scope},
    window::{Millis, month},
};

/// What was used of one meter in one scope on one day of UTC, of which no slices are kept any more. The month leads
/// its key, so that what becomes one month lies together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDayRow {
    /// Start of the month that the day is in.
    pub month: Millis,
    /// Whose usage it is; empty is the org itself.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Start of the day.
    pub start: Millis,
    /// Through which plane; unnamed = through all of them, and through none.
    pub plane: Plane,
    /// In the unit of the meter.
    pub amount: u64,
}

/// What was used of one meter in one scope in one month of UTC, of which no days are kept any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageMonthRow {
    /// Start of the month.
    pub start: Millis,
    /// Whose usage it is; empty is the org itself.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Through which plane; unnamed = through all of them, and through none.
    pub plane: Plane,
    /// In the unit of the meter.
    pub amount: u64,
}

/// What there is of the two: loaded with the org, so that it is not forgotten, and that what is due is known without
/// reading any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageKeptRow {
    /// Rows of days.
    pub days: u64,
    /// No row of a day is of an earlier month; says nothing where there is none.
    pub days_from: Millis,
    /// Rows of months.
    pub months: u64,
    /// No row of a month is earlier; says nothing where there is none.
    pub months_from: Millis,
}

/// What was used through planes on one day of UTC of which slices are kept. Loaded with the org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneDayRow {
    /// Start of the day.
    pub start: Millis,
    /// Each plane and meter at most once.
    pub used: Vec<PlaneUse>,
}

/// Through which plane a reservation, or a session, was asked for: what it uses later is that plane's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneOfRow {
    /// The decision that reserved, or that let the session begin.
    pub id: DecisionId,
    /// Never unnamed.
    pub plane: Plane,
}

/// What was used of one meter through one plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneUse {
    /// Never unnamed.
    pub plane: Plane,
    /// What it counts.
    pub meter: Meter,
    /// In the unit of the meter.
    pub amount: u64,
}

impl UsageDayRow {
    /// Of the day that begins at `start`, all planes together.
    pub fn new(scope: Scope, meter: Meter, start: Millis, amount: u64) -> Self {
        Self { month: month(start), scope, meter, start, plane: Plane::unnamed(), amount }
    }
}

impl UsageKeptRow {
    /// Whether there is no row of either kind.
    pub fn is_empty(&self) -> bool {
        self.days == 0 && self.months == 0
    }
}
