//! `tollgate events` and `tollgate org changes`: the log of an org.

use crate::{
    cli::{
        Exit,
        args::{ChangesArgs, EventsArgs, LogArgs, Since},
        connect::Connection,
        failure::Failure,
        output::{Output, View, number, table, text},
    },
    domain::{events::EventKind, window::Millis},
    rpc::table,
    wire::admin::v1::{Event, EventChange, ListAuditRequest, ListAuditResponse, ListEventsRequest, ListEventsResponse},
};

use super::format::iso;

/// Rows per page; the node's maximum.
const PAGE: u32 = 1000;

pub(super) async fn run(connection: &Connection, args: &EventsArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut all = ListEventsResponse::default();
    let now = output.now();
    let next = collect(&args.log, now, &mut all.events, async |part: Part| {
        let request = ListEventsRequest {
            org: args.org.as_ref().map(ToString::to_string).unwrap_or_default(),
            kinds: args.kind.clone(),
            after_number: part.after,
            page_size: part.size,
            since_ms: part.since,
            until_ms: part.until,
            durable: false,
        };
        let page = connection.ask::<table::ListEvents>(request).await?;
        (all.oldest_number, all.newest_number) = (page.oldest_number, page.newest_number);
        Ok((page.events, page.next_after_number))
    })
    .await?;
    all.next_after_number = next;
    output.answer(&all, |all, _| event_table(&all.events, false))?;
    continuation(next, output);
    Ok(Exit::Done)
}

pub(super) async fn changes(
    connection: &Connection,
    args: &ChangesArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut all = ListAuditResponse::default();
    let now = output.now();
    all.next_after_number = collect(&args.log, now, &mut all.events, async |part: Part| {
        let request = ListAuditRequest {
            org: args.org.to_string(),
            after_number: part.after,
            page_size: part.size,
            since_ms: part.since,
            until_ms: part.until,
        };
        let page = connection.ask::<table::ListAudit>(request).await?;
        Ok((page.events, page.next_after_number))
    })
    .await?;
    output.answer(&all, |all, _| change_table(&all.events))?;
    continuation(all.next_after_number, output);
    Ok(Exit::Done)
}

/// Which events a page has.
struct Part {
    after: i64,
    size: i32,
    since: i64,
    until: i64,
}

/// Adds as many events as were asked for. Answers the number to go on behind; 0 at the end of the log.
async fn collect(
    log: &LogArgs,
    now: Millis,
    events: &mut Vec<Event>,
    mut call: impl AsyncFnMut(Part) -> Result<(Vec<Event>, i64), Failure>,
) -> Result<i64, Failure> {
    let (since, until) = (instant(log.since, now), instant(log.until, now));
    let (mut after, mut wanted) = (log.after.unwrap_or(0), log.limit);
    loop {
        let size = i32::try_from(wanted.min(PAGE)).unwrap_or(i32::MAX);
        let (page, next) = call(Part { after, size, since, until }).await?;
        wanted = wanted.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        events.extend(page);
        after = next;
        if wanted == 0 || next == 0 {
            return Ok(next);
        }
    }
}

/// As requests have it; 0 = none is given.
pub(super) fn instant(given: Option<Since>, now: Millis) -> i64 {
    given.map_or(0, |given| i64::try_from(given.at(now)).unwrap_or(i64::MAX))
}

fn continuation(next: i64, output: &mut Output<'_>) {
    if next != 0 {
        output.remark(&format!("there are more: --after {next} continues"));
    }
}

/// With a column of orgs where they are several.
pub(super) fn event_table(events: &[Event], of_many: bool) -> View {
    let columns = [number("number"), text("at"), text("kind"), text("event")];
    let cells = |event: &Event| [event.number.to_string(), iso(event.at_ms), event.kind.clone(), event.message.clone()];
    if !of_many {
        return table(columns, events.iter().map(cells));
    }
    let [number, at, kind, message] = columns;
    let rows = events.iter().map(|event| {
        let [number, at, kind, message] = cells(event);
        [event.org.clone(), number, at, kind, message]
    });
    table([text("org"), number, at, kind, message], rows)
}

/// A line for each value that was changed.
fn change_table(events: &[Event]) -> View {
    let columns =
        [number("number"), text("at"), text("by"), text("command"), text("changed"), text("from → to"), text("reason")];
    let rows = events.iter().filter(|event| event.kind == EventKind::Operator.name()).flat_map(|event| {
        event.changes.iter().map(|EventChange { field, old, new }| {
            [
                event.number.to_string(),
                iso(event.at_ms),
                event.caller.clone(),
                event.command.clone(),
                field.clone(),
                format!("{old} → {new}"),
                event.reason.clone(),
            ]
        })
    });
    table(columns, rows)
}
