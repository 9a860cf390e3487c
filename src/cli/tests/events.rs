//! `tollgate events` and `tollgate org changes`, and a node with a canned log.

use serde_json::json;
use tonic::{Code, Response, Status, codegen::BoxStream};

use super::{
    Exit, NOW, NOW_MS,
    node::{Node, Reply, Seen, as_json, broken},
};
use crate::wire::admin::v1::{
    Event, EventChange, EventGap, EventHeartbeat, ListAuditRequest, ListAuditResponse, ListEventsRequest,
    ListEventsResponse, WatchEventsRequest, WatchEventsResponse, watch_events_response::What,
};

fn event(number: i64) -> Event {
    let change =
        |field: &str, old: &str, new: &str| EventChange { field: field.into(), old: old.into(), new: new.into() };
    Event {
        org: "acme".into(),
        number,
        at_ms: NOW_MS - 185_000,
        kind: "operator".into(),
        message: "cert:ops called UpdateBudget: daily spend: $5.00 -> $10.00 (they have paid)".into(),
        caller: "cert:ops".into(),
        command: "UpdateBudget".into(),
        changes: vec![change("daily spend", "$5.00", "$10.00"), change("weekly spend", "as configured", "$0.00")],
        reason: "they have paid".into(),
        ..Event::default()
    }
}

/// A log of five events, two in a page at most.
pub(super) fn listed(request: &ListEventsRequest) -> Result<ListEventsResponse, Status> {
    match request.org.as_str() {
        "broken" => Err(broken("broken")),
        "nobody" => Err(Status::new(Code::NotFound, "nothing is kept of nobody")),
        _ => {
            let size = i64::from(request.page_size.min(2));
            let last = (request.after_number + size).min(5);
            let next_after_number = if last < 5 { last } else { 0 };
            let events = (request.after_number + 1..=last).map(event).collect();
            Ok(ListEventsResponse { events, next_after_number, oldest_number: 1, newest_number: 5 })
        }
    }
}

/// Streams that end after two events each, until the log is over: then the answer is an error.
pub(super) fn watched(seen: &mut Seen, request: WatchEventsRequest) -> Reply<BoxStream<WatchEventsResponse>> {
    seen.asked.push(as_json(&request));
    let after = request.after_number.unwrap_or(0);
    match (request.org.as_str(), after) {
        // Without an org there is one stream.
        ("", _) if seen.asked.len() > 1 => return Err(Status::permission_denied("no more")),
        ("broken", _) | (_, 5..) => return Err(Status::permission_denied("no more")),
        _ => {}
    }
    let beat = EventHeartbeat { after_number: Some(after), ..EventHeartbeat::default() };
    let gap = EventGap { org: request.org, from_number: 2, to_number: 3, restarted: false };
    let last = (after + 2).min(5);
    let events =
        (after + 1..=last).map(|number| if number == 3 { What::Gap(gap.clone()) } else { What::Event(event(number)) });
    let whats = std::iter::once(What::Heartbeat(beat)).chain(events);
    let responses: Vec<_> = whats.map(|what| Ok(WatchEventsResponse { what: Some(what) })).collect();
    Ok(Response::new(Box::pin(futures_util::stream::iter(responses))))
}

pub(super) fn audited(request: &ListAuditRequest) -> Result<ListAuditResponse, Status> {
    let ListAuditRequest { org, after_number, page_size, .. } = request.clone();
    let asked = ListEventsRequest { org, after_number, page_size, ..ListEventsRequest::default() };
    let ListEventsResponse { events, next_after_number, .. } = listed(&asked)?;
    Ok(ListAuditResponse { events, next_after_number })
}

#[test]
fn the_log_of_an_org_is_a_line_for_each_event_of_all_pages() {
    let node = Node::start();
    let ran = node.ask(&["events", "acme", "--kind", "operator", "--since", "2h", "--until", "2026-11-22T08:30:00Z"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let lines = ran.lines();
    assert_eq!((lines.len(), lines[0]), (6, "NUMBER  AT                    KIND      EVENT"));
    assert_eq!(
        lines[1],
        "     1  2026-11-22T08:26:55Z  operator  cert:ops called UpdateBudget: daily spend: $5.00 -> $10.00 (they have paid)"
    );
    let two_hours_ago = (NOW - 7_200_000).to_string();
    let asked = json!({
        "org": "acme", "kinds": ["operator"], "afterNumber": "0", "pageSize": 1000,
        "sinceMs": two_hours_ago, "untilMs": NOW.to_string(), "durable": false,
    });
    assert_eq!(node.seen().asked[0], asked);
}

#[test]
fn what_operators_changed_is_a_line_for_each_value() {
    let ran = Node::start().ask(&["org", "changes", "acme", "--limit", "1"]);
    let expected = "\
NUMBER  AT                    BY        COMMAND       CHANGED       FROM → TO              REASON
     1  2026-11-22T08:26:55Z  cert:ops  UpdateBudget  daily spend   $5.00 → $10.00         they have paid
     1  2026-11-22T08:26:55Z  cert:ops  UpdateBudget  weekly spend  as configured → $0.00  they have paid
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    assert_eq!(ran.err, "there are more: --after 1 continues\n");
    let on_screen = Node::start().ask_on_screen(&["org", "changes", "acme"]);
    let heading = on_screen.lines()[0].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(heading, "NUMBER AT BY COMMAND CHANGED FROM → TO REASON", "{}", on_screen.out);
}

#[test]
fn json_is_one_response_of_all_pages() {
    let ran = Node::start().ask(&["events", "acme", "--limit", "3", "--after", "1", "-o", "json"]);
    let value = ran.json();
    let numbers: Vec<_> = value["events"].as_array().unwrap().iter().map(|event| event["number"].clone()).collect();
    assert_eq!(numbers, [json!("2"), json!("3"), json!("4")]);
    assert_eq!((&value["nextAfterNumber"], &value["newestNumber"]), (&json!("4"), &json!("5")));
}

#[test]
fn an_org_without_records_and_a_node_that_fails_are_errors() {
    let node = Node::start();
    for args in [["events", "nobody"], ["events", "broken"]] {
        assert_eq!(node.ask(&args).exit, Exit::Error);
    }
    for args in [["events", "acme", "--kind", "weather"], ["events", "acme", "--since", "yesterday"]] {
        assert_eq!(node.ask(&args).exit, Exit::Usage);
    }
}

#[test]
fn what_is_followed_goes_on_behind_the_last_number_until_it_is_refused() {
    let node = Node::start();
    let ran = node.ask(&["events", "acme", "--follow", "--after", "0", "--kind", "operator", "-o", "json"]);
    assert_eq!(ran.exit, Exit::Error, "{}", ran.err);
    let lines: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<_> = lines.iter().map(|line| line["number"].as_str().or(line["toNumber"].as_str())).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"].map(Some), "one object a line: {}", ran.out);
    let asked: Vec<_> = node.seen().asked.iter().map(|asked| asked["afterNumber"].clone()).collect();
    assert_eq!(asked, ["0", "2", "4", "5"].map(|after| json!(after)));
}

#[test]
fn a_gap_is_said_beside_the_table_and_what_does_not_fit_is_refused() {
    let node = Node::start();
    let ran = node.ask(&["events", "acme", "-f", "--after", "2"]);
    assert!(ran.err.starts_with("acme: events 2 to 3 are not kept any more\n"), "{}", ran.err);
    assert_eq!(ran.lines()[0], "NUMBER  AT                    KIND      EVENT");
    assert_eq!(ran.lines().len(), 3, "{}", ran.out);
    for args in [
        vec!["events"],
        vec!["events", "--node", "acme"],
        vec!["events", "acme", "--follow", "--node"],
        vec!["events", "acme", "--follow", "--until", "1h"],
    ] {
        assert_eq!(node.ask(&args).exit, Exit::Usage, "{args:?}");
    }
}
