//! Events of an org.

use super::int;
use crate::{
    domain::{
        events::{
            Change, DenialsEvent, EventPage, EventRow, Happening, LimitEvent, NodeEvent, NodeEventPage, OverrideEnded,
        },
        ids::{Meter, OrgId},
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
        Happening::Limit(event) => {
            let LimitEvent { scope, limit, meter, used, amount, ends_at, .. } = &**event;
            admin::Event {
                scope: scope.shown().into_owned(),
                limit: limit.to_string(),
                meter: meter.to_string(),
                used: int(*used),
                amount: int(*amount),
                until_ms: int(ends_at.unwrap_or(0)),
                percent: int(event.level.percent()),
                ..plain
            }
        }
        Happening::Denials(event) => {
            let DenialsEvent { gate, scope, limit, count, since, last, .. } = &**event;
            admin::Event {
                gate: gate.name().to_owned(),
                scope: scope.shown().into_owned(),
                limit: limit.to_string(),
                count: int(*count),
                since_ms: int(*since),
                last_ms: int(*last),
                ..plain
            }
        }
        Happening::FailedOpen { gate, cause } => {
            admin::Event { gate: gate.name().to_owned(), cause: cause.name().to_owned(), ..plain }
        }
        Happening::Session { id, change, used } => admin::Event {
            session_id: id.to_string(),
            meter: Meter::COMPUTE.to_owned(),
            used: int(*used),
            percent: int(change.percent()),
            ..plain
        },
        Happening::Upstream { pool, account, until, .. } => admin::Event {
            pool: pool.to_string(),
            account: account.as_deref().unwrap_or_default().to_owned(),
            until_ms: int(until.unwrap_or(0)),
            ..plain
        },
        Happening::TrialEnded => plain,
        Happening::Drifted { numbers } => admin::Event { count: int(*numbers), ..plain },
        Happening::OverrideEnded(ended) => override_ended(ended, plain),
        Happening::OverAdmitted { calls, since } => admin::Event { count: int(*calls), since_ms: int(*since), ..plain },
        Happening::LeftOut { count, since } => admin::Event { count: int(*count), since_ms: int(*since), ..plain },
    }
}

fn override_ended(ended: &OverrideEnded, plain: admin::Event) -> admin::Event {
    let OverrideEnded { scope, subject, setting, set_at, until, reason } = ended;
    let (field, old, new) = (subject.to_string(), setting.to_string(), String::new());
    admin::Event {
        scope: scope.shown().into_owned(),
        limit: subject.to_string(),
        changes: vec![admin::EventChange { field, old, new }],
        reason: reason.to_string(),
        since_ms: int(*set_at),
        until_ms: int(*until),
        ..plain
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

/// One event of a node.
pub fn node_event(node: &str, row: &NodeEvent) -> admin::Event {
    admin::Event {
        node: node.to_owned(),
        number: int(row.number),
        at_ms: int(row.at),
        kind: row.kind.name().to_owned(),
        message: row.message.to_string(),
        since_ms: int(row.since.unwrap_or(0)),
        ..admin::Event::default()
    }
}

/// The same of the node.
pub fn node_events(node: &str, page: &NodeEventPage, max: usize) -> admin::ListEventsResponse {
    let last = page.rows.last().filter(|_| page.rows.len() == max);
    admin::ListEventsResponse {
        events: page.rows.iter().map(|row| node_event(node, row)).collect(),
        next_after_number: last.map_or(0, |row| int(row.number)),
        oldest_number: int(page.oldest),
        newest_number: int(page.newest),
    }
}
