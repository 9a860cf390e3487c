//! Reservations: how one was settled, and which are known.

use super::{amounts, first, int, limits, scopes};
use crate::{
    domain::{
        ids::Amounts,
        outcome::{Committed, Shown},
        reply::{Counted, ReservationView},
    },
    wire::v1,
};

/// Each amount once for every scope that it counts in. Amounts are in the units of the meters.
pub fn committed(done: &Shown<Committed, Counted>) -> v1::CommitResponse {
    let committed = &done.outcome;
    v1::CommitResponse {
        replayed: done.replayed,
        late: committed.late,
        booked: scoped(committed, &committed.booked),
        released: scoped(committed, &committed.released()),
        overrun: scoped(committed, &committed.overrun()),
        limits: limits(&done.view.limits, done.view.at),
        folded_scopes: scopes(&done.view.folded),
    }
}

fn scoped(committed: &Committed, amounts: &Amounts) -> Vec<v1::ScopedAmount> {
    let mut scoped = Vec::new();
    for counted in committed.scopes.charged() {
        let of_scope = amounts.iter().filter(|(_, amount)| *amount > 0);
        scoped.extend(of_scope.map(|(meter, amount)| v1::ScopedAmount {
            scope: counted.shown().into_owned(),
            meter: meter.to_string(),
            amount: int(*amount),
        }));
    }
    scoped
}

/// Open, or expired within a day. Times are milliseconds since the epoch, 0 where one is not known.
pub fn reservation(view: &ReservationView) -> v1::Reservation {
    let row = &view.row;
    let state = if row.is_open() { v1::ReservationState::Open } else { v1::ReservationState::Expired };
    v1::Reservation {
        reservation_id: row.id.to_string(),
        scope: first(&row.scopes),
        scopes: scopes(&row.scopes),
        amounts: amounts(&row.amounts),
        state: state.into(),
        reserved_at_ms: int(row.reserved_at.unwrap_or(0)),
        expires_at_ms: int(view.expires_at.at),
        remaining_ms: int(view.expires_at.left),
        commit_within_ms: int(view.commit_by.map_or(0, |by| by.left)),
        folded_scopes: scopes(&row.folded.scopes()),
    }
}
