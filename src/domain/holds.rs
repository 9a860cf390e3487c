//! Open reservations of an org that somebody has to settle, by its rows alone, so that no org is loaded to
//! count them.

use std::collections::BTreeSet;

use super::{
    ids::DecisionId,
    rows::{OrgRows, RowKind, RowsByKind},
};

/// The rows that say how many there are.
pub const KINDS: &[RowKind] = &[RowKind::Reservation, RowKind::Session];

/// How many there are among `rows`: the slice of a session is none, the session settles it. An org in memory
/// keeps the same number ([`OrgState::open_holds`](super::org::OrgState::open_holds)).
pub fn open(rows: OrgRows) -> u64 {
    let rows = RowsByKind::from(rows);
    let slices: BTreeSet<DecisionId> = rows.sessions.iter().map(|session| session.decision).collect();
    let open = rows.reservations.iter().filter(|row| row.is_open() && !slices.contains(&row.id));
    u64::try_from(open.count()).unwrap_or(u64::MAX)
}
