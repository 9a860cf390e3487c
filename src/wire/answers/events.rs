//! Events of an org.

use super::int;
use crate::{
    domain::{
        events::{Change, EventPage, EventRow, Happening},
        ids::OrgId,
    },
    wire::admin::v1 as admin,
};

/// One event of an org.
pub fn event(org: &OrgId, row: &EventRow) -> admin::Event {
    let plain = admin::Event {
        org: org.to_string(),
        number: int(row.number),
        at_ms: int(row.at),
        kind: row.what.kind().name().to_owned(),
        message: row.what.sentence(),
        ..admin::Event::default()
    };
    match &row.what {
        Happening::Operated { caller, command, changes, reason } => admin::Event {
            caller: caller.to_string(),
            command: command.to_string(),
            changes: changes.iter().map(change).collect(),
            reason: reason.to_string(),
            ..plain
        },
    }
}

fn change(change: &Change) -> admin::EventChange {
    let Change { field, old, new } = change;
    admin::EventChange { field: field.to_string(), old: old.to_string(), new: new.to_string() }
}

/// Some events of an org; a page that is not full, of `max`, is the last.
pub fn events(org: &OrgId, page: &EventPage, max: usize) -> admin::ListEventsResponse {
    let last = page.rows.last().filter(|_| page.rows.len() == max);
    admin::ListEventsResponse {
        events: page.rows.iter().map(|row| event(org, row)).collect(),
        next_after_number: last.map_or(0, |row| int(row.number)),
        oldest_number: int(page.oldest),
        newest_number: int(page.newest),
    }
}
