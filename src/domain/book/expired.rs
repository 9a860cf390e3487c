//! Reservations that expired within a day: in which order they are forgotten, and what they take in memory.

use std::collections::BTreeSet;

use crate::domain::{ids::DecisionId, rows::ReservationRow, window::Millis};

#[derive(Debug, Default)]
pub(super) struct Expired {
    /// (when it expired, reservation), the first to expire first.
    order: BTreeSet<(Millis, DecisionId)>,
    /// What all of them take.
    pub(super) bytes: u64,
}

impl Expired {
    /// Adds one that has expired; an open one is none.
    pub(super) fn add(&mut self, row: &ReservationRow) {
        if let Some(at) = row.expired_at
            && self.order.insert((at, row.id))
        {
            self.bytes = self.bytes.saturating_add(bytes(row));
        }
    }

    pub(super) fn remove(&mut self, row: &ReservationRow) {
        if let Some(at) = row.expired_at
            && self.order.remove(&(at, row.id))
        {
            self.bytes = self.bytes.saturating_sub(bytes(row));
        }
    }

    /// The one that expired first.
    pub(super) fn first(&self) -> Option<(Millis, DecisionId)> {
        self.order.first().copied()
    }
}

/// A row and its names, each counted as if it were this row's alone.
fn bytes(row: &ReservationRow) -> u64 {
    let names = row.amounts.iter().map(|(meter, _)| size_of_val(&row.amounts[0]) + meter.as_str().len());
    let bytes = size_of::<ReservationRow>() + row.scopes.text().len() + names.sum::<usize>();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
