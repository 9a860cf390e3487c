//! What is asked about usage of the past.

use std::cmp::Ordering;

use crate::domain::{
    ids::{Meter, Plane, Scope},
    rows::UsageDayRow,
    usage::UsagePlace,
    window::Millis,
};

/// Usage by day of UTC, as far as there are slices of it, in the order of [`UsagePlace`]; what is older is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetUsage {
    /// The first day: its start.
    pub from: Millis,
    /// The end of the last day.
    pub to: Millis,
    /// Only of this scope; `None` = of each, and of the org.
    pub scope: Option<Scope>,
    /// Only of this meter; `None` = of each.
    pub meter: Option<Meter>,
    /// Only what comes behind; `None` = from the first.
    pub after: Option<UsagePlace>,
    /// Of the place itself, what comes behind this plane as well; `None` = nothing.
    pub after_plane: Option<Plane>,
    /// Of the org also what was used through each plane.
    pub by_plane: bool,
    /// The most days in the answer.
    pub max: usize,
}

impl GetUsage {
    /// Whether a day comes behind what was answered before.
    pub fn is_behind(&self, day: &UsageDayRow) -> bool {
        let Some(after) = &self.after else { return true };
        match UsagePlace::of(day).cmp(after) {
            Ordering::Less => false,
            Ordering::Equal => self.after_plane.as_ref().is_some_and(|plane| day.plane > *plane),
            Ordering::Greater => true,
        }
    }
}
