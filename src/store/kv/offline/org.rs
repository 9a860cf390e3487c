//! What must be true among the rows of one org.

use std::collections::HashMap;

use super::{Report, timer_is_there};
use crate::{
    bounds::{AMOUNT_MAX, LONG_MEMORY_MS, MEMORY_FLOOR_MS, RESERVATION_TTL_MAX_MS, SHORT_MEMORY_MS},
    domain::{
        ids::{OrgId, RequestId},
        lease::{LeaseTime, Now},
        org::OrgState,
        outcome::Entry,
        request::Rpc,
        rows::{Head, OrgRows, ReservationRow, Row},
    },
};

/// Gaps in the journal and orgs without a head are found by the load already.
pub(super) fn check(org: &OrgId, rows: &[Row], report: &mut Report) {
    let Some(head) = rows.iter().find_map(|row| if let Row::Head(head) = row { Some(head) } else { None }) else {
        return;
    };
    if let Some(wake_at) = head.wake_at.filter(|wake_at| !timer_is_there(rows, *wake_at)) {
        report.note(Some(org), format!("the timer at {wake_at} that the head names is not there"));
    }
    // Lease time is never behind what an org has seen of it.
    let lease = report.mark.as_ref().map_or(LeaseTime(head.last_at), |mark| mark.lease);
    for row in rows {
        let wrong = match row {
            Row::Reservation(row) => reservation_is_wrong(row, lease),
            Row::LongJournal(row) if row.seq > head.seq => {
                Some(format!("long journal row {} is newer than the head's commit {}", row.seq, head.seq))
            }
            _ => None,
        };
        if let Some(what) = wrong {
            report.note(Some(org), what);
        }
    }
    for drift in OrgState::load(OrgRows { rows: rows.to_vec() }, Now::at(head.last_at)).audit_rows().drift {
        report.note(Some(org), drift.to_string());
    }
    for what in duplicates(rows, head) {
        report.note(Some(org), what);
    }
}

fn reservation_is_wrong(row: &ReservationRow, lease: LeaseTime) -> Option<String> {
    let left = row.expires_at.since(lease);
    if left > RESERVATION_TTL_MAX_MS {
        return Some(format!(
            "reservation {} expires in {left} ms, the latest possible is in {RESERVATION_TTL_MAX_MS} ms",
            row.id
        ));
    }
    let (meter, amount) = row.amounts.iter().find(|(_, amount)| *amount > AMOUNT_MAX)?;
    Some(format!("reservation {} holds {amount} {meter}, the most possible is {AMOUNT_MAX}", row.id))
}

/// Request ids that were admitted again while they were still remembered: each was charged twice.
fn duplicates(rows: &[Row], head: &Head) -> Vec<String> {
    // Of a durable call there is a row of its own beside the entry.
    let entries = rows.iter().flat_map(|row| match row {
        Row::Journal(row) => row.entries.iter().filter(|entry| !entry.long).collect(),
        Row::LongJournal(row) => row.entries.iter().collect(),
        _ => Vec::new(),
    });
    let mut by_id: HashMap<(Rpc, &RequestId), Vec<&Entry>> = HashMap::new();
    for entry in entries {
        if let Some(asked) = &entry.idempotency {
            by_id.entry((entry.rpc, &asked.id)).or_default().push(entry);
        }
    }
    let mut found = Vec::new();
    for ((rpc, id), mut entries) in by_id.into_iter().filter(|(_, entries)| entries.len() > 1) {
        entries.sort_by_key(|entry| entry.at);
        for pair in entries.windows(2) {
            let age = pair[1].at - pair[0].at;
            if age < retention(pair[0]) && !may_be_given_up(age, head) {
                found.push(format!("request id {id:?} of {rpc:?} was admitted twice, {age} ms apart"));
            }
        }
    }
    found.sort_unstable();
    found
}

fn retention(entry: &Entry) -> u64 {
    if entry.long { LONG_MEMORY_MS } else { SHORT_MEMORY_MS }
}

/// A full memory gives up ids that are older than a minute, and counts it.
fn may_be_given_up(age: u64, head: &Head) -> bool {
    head.evicted > 0 && age >= MEMORY_FLOOR_MS
}
