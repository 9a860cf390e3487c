//! `tollgate session`, and a node with canned sessions.

use std::collections::HashMap;

use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{
    Exit, NOW_MS,
    node::{Canned, Node, Reply, broken, rate},
};
use crate::{
    domain::limit::LimitTexts,
    wire::v1::{batch_status_result::Result as Item, session_service_server::SessionService, *},
};

/// A request id that the node has seen before.
const SEEN_BEFORE: &str = "again";
const UPGRADE: &str = "https://example.com/upgrade";
/// Sessions of the org `acme`.
const ROWS: i32 = 1500;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

#[tonic::async_trait]
impl SessionService for Canned {
    async fn start_session(&self, request: Request<StartSessionRequest>) -> Reply<StartSessionResponse> {
        let request = self.keep(request);
        let replayed = request.request_id == SEEN_BEFORE;
        match request.org.as_str() {
            "broken" => Err(broken("broken")),
            "full" => Ok(Response::new(denied())),
            _ => Ok(Response::new(StartSessionResponse { replayed, ..allowed() })),
        }
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Reply<HeartbeatResponse> {
        let request = self.keep(request);
        match request.org.as_str() {
            "broken" => Err(broken("broken")),
            org => Ok(Response::new(beat(org, &request.session_id))),
        }
    }

    async fn end_session(&self, request: Request<EndSessionRequest>) -> Reply<EndSessionResponse> {
        let request = self.keep(request);
        let session = match request.org.as_str() {
            "broken" => return Err(broken("broken")),
            "empty" => None,
            _ => Some(ended(&request.session_id)),
        };
        Ok(Response::new(EndSessionResponse { session, replayed: request.request_id == SEEN_BEFORE }))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Reply<GetSessionResponse> {
        let request = self.keep(request);
        let session = match (request.org.as_str(), request.session_id.as_str()) {
            ("empty", _) => None,
            (_, "gone") => {
                let reason = ErrorDetails::with_error_info("SESSION_UNKNOWN", "tollgate", HashMap::new());
                return Err(Status::with_error_details(Code::NotFound, "there is no session gone", reason));
            }
            (_, id) => Some(session(id)),
        };
        Ok(Response::new(GetSessionResponse { session }))
    }

    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Reply<ListSessionsResponse> {
        let ListSessionsRequest { org, page_size, page_token, ended: with_ended } = self.keep(request);
        let rows = if org == "acme" { ROWS } else { 0 };
        let from: i32 = if page_token.is_empty() { 0 } else { page_token.parse().unwrap() };
        let to = (from + page_size).min(rows);
        let next_page_token = if to < rows { to.to_string() } else { String::new() };
        let row = |index: i32| {
            let id = format!("s-{index:04}");
            if index == 1 && with_ended { ended(&id) } else { session(&id) }
        };
        Ok(Response::new(ListSessionsResponse { sessions: (from..to).map(row).collect(), next_page_token }))
    }

    async fn batch_status(&self, request: Request<BatchStatusRequest>) -> Reply<BatchStatusResponse> {
        let mut items = self.keep(request).items;
        items.retain(|item| item.org != "dropped");
        let results = items.into_iter().map(|item| BatchStatusResult { result: status(item) }).collect();
        Ok(Response::new(BatchStatusResponse { results }))
    }
}

fn concurrent(used: i64, limiting: bool) -> Limit {
    Limit {
        texts: LimitTexts::new("sessions", "sessions", "concurrent"),
        amount: 3,
        used,
        remaining: 3 - used,
        exhausted: used >= 3,
        limiting,
        ..Limit::default()
    }
}

fn allowed() -> StartSessionResponse {
    StartSessionResponse {
        allowed: true,
        code: DecisionCode::Allowed.into(),
        decision_id: "0123456789abcdef0123456789abcdef".into(),
        limits: vec![rate(1, false), concurrent(1, false)],
        http_status_hint: 200,
        fail_open: vec![FailOpen { gate: "balance".into(), cause: "timeout".into() }],
        node: "n1".into(),
        first_slice_ms: MINUTE,
        heartbeat_interval_ms: 30_000,
        expires_at_ms: NOW_MS + 2 * MINUTE,
        ..StartSessionResponse::default()
    }
}

fn denied() -> StartSessionResponse {
    StartSessionResponse {
        code: DecisionCode::SessionLimitReached.into(),
        message: "3 sessions run at once.".into(),
        limits: vec![concurrent(3, true)],
        retry_after_ms: MINUTE,
        http_status_hint: 429,
        node: "n1".into(),
        upgrade_url: UPGRADE.into(),
        ..StartSessionResponse::default()
    }
}

fn beat(org: &str, session: &str) -> HeartbeatResponse {
    let beat = HeartbeatResponse {
        action: SessionAction::Continue.into(),
        state: SessionState::Running.into(),
        booked_ms: 30_000,
        used_ms: 2 * HOUR,
        reserved_ms: MINUTE,
        quota_ms: 4 * HOUR,
        expires_at_ms: NOW_MS + 2 * MINUTE,
        replayed: session == SEEN_BEFORE,
        ..HeartbeatResponse::default()
    };
    let told = |action: SessionAction, message: &str| HeartbeatResponse {
        action: action.into(),
        message: message.into(),
        upgrade_url: UPGRADE.into(),
        ..beat.clone()
    };
    match org {
        "endless" => HeartbeatResponse { unlimited: true, quota_ms: 0, disputed_ms: 5_000, ..beat },
        "late" => HeartbeatResponse { warn_percent: 95, ..told(SessionAction::Warn, "95 % is used.") },
        "full" => HeartbeatResponse { grace_ms: 30_000, ..told(SessionAction::Stop, "Monthly quota exceeded.") },
        "over" => HeartbeatResponse {
            state: SessionState::Expired.into(),
            ..told(SessionAction::Stop, "The session has expired.")
        },
        // An action of a newer node.
        "newer" => HeartbeatResponse { action: 9, ..beat },
        _ => beat,
    }
}

pub(super) fn session(id: &str) -> Session {
    Session {
        session_id: id.into(),
        scope: "workspace/w1".into(),
        identity: "vm 1".into(),
        state: SessionState::Running.into(),
        started_at_ms: NOW_MS - 185_000,
        heard_at_ms: NOW_MS - 30_000,
        ends_at_ms: NOW_MS + MINUTE,
        incarnation: "boot-1".into(),
        booked_ms: 30_000,
        disputed_ms: 0,
        reserved_ms: 30_000,
        stopping: false,
        decision_id: "0123456789abcdef0123456789abcdef".into(),
        scopes: Vec::new(),
        remaining_ms: MINUTE,
        folded_scopes: Vec::new(),
    }
}

fn ended(id: &str) -> Session {
    Session {
        state: SessionState::Ended.into(),
        scope: String::new(),
        ends_at_ms: NOW_MS - 30_000,
        disputed_ms: 5_000,
        reserved_ms: 0,
        ..session(id)
    }
}

fn status(item: SessionStatusRequest) -> Option<Item> {
    let SessionStatusRequest { org, scope, scopes } = item;
    let open = SessionStatus {
        org: org.clone(),
        scope,
        scopes,
        can_start: true,
        code: DecisionCode::Allowed.into(),
        plan: "free".into(),
        used_ms: HOUR,
        reserved_ms: HOUR,
        quota_ms: 4 * HOUR,
        sessions: 1,
        sessions_max: 3,
        ..SessionStatus::default()
    };
    match org.as_str() {
        "broken" => Some(Item::Error(ItemError {
            grpc_code: Code::Unavailable.into(),
            reason: "STORE_FAULT".into(),
            message: "the record cannot be read".into(),
        })),
        "mute" => None,
        "full" => Some(Item::Status(SessionStatus {
            can_start: false,
            code: DecisionCode::QuotaExceeded.into(),
            message: "Monthly quota exceeded.".into(),
            upgrade_url: UPGRADE.into(),
            used_ms: 4 * HOUR,
            reserved_ms: 0,
            retry_after_ms: 25 * HOUR,
            ..open
        })),
        "endless" => Some(Item::Status(SessionStatus {
            plan: "paid".into(),
            unlimited: true,
            quota_ms: 0,
            sessions_unlimited: true,
            sessions_max: 0,
            ..open
        })),
        _ => Some(Item::Status(open)),
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_start_that_is_allowed_says_what_is_granted_and_exits_0() {
    let node = Node::start();
    let ran = node.ask(&words("session start acme s1 --identity vm-1 --scope ws/1 --explain --request-id r-1"));
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
allowed  acme  s1  2 left of 3 (sessions, never resets)
decision       0123456789abcdef0123456789abcdef
first slice    1m
heartbeat      every 30s
expires        2026-11-22T08:32:00Z (in 2m)
not evaluated  balance (failed open: timeout)
node           n1

LIMIT     SCOPE  METER     WINDOW      USED  RESERVED  REMAINING    OF  RESETS IN  RESETS AT             NOTE
rate      -      calls     aligned/1h     1         0        999  1000  42m 10s    2026-11-22T09:12:10Z  -
sessions  -      sessions  concurrent     1         0          2     3  never      -                     -
";
    assert_eq!(ran.out, expected);
    let asked = json!({
        "org": "acme", "sessionId": "s1", "identity": "vm-1", "requestId": "r-1", "scope": "ws/1", "plane": "cli",
        "explain": true, "scopes": []
    });
    assert_eq!(node.seen().asked, [asked]);

    let again = node.ask(&words("session start acme s1 --identity vm-1 --request-id again"));
    assert!(again.out.contains("abcdef (replayed: nothing was charged again)\n"), "R-PIPE-6: {}", again.out);
}

#[test]
fn a_start_that_is_denied_is_data_with_the_way_to_more_and_exits_3() {
    let node = Node::start();
    let ran = node.ask(&words("session start full s1 --identity vm-1"));
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Denied, ""), "R-PIPE-5: a denial is not an error");
    let expected = "\
denied   full  s1  SESSION_LIMIT_REACHED  0 left of 3 (sessions, never resets)
3 sessions run at once.
try again in  1m
upgrade       https://example.com/upgrade
node          n1
";
    assert!(ran.out.starts_with(expected), "{}", ran.out);
    assert!(!ran.out.contains("heartbeat"), "nothing was granted: {}", ran.out);

    let json = node.ask(&words("session start full s1 --identity vm-1 --output json"));
    assert_eq!((json.exit, json.err.as_str()), (Exit::Denied, ""));
    let value = json.json();
    assert_eq!((&value["allowed"], &value["upgradeUrl"]), (&json!(false), &json!(UPGRADE)));
    assert_eq!(value["code"], "DECISION_CODE_SESSION_LIMIT_REACHED");
}

#[test]
fn a_start_or_an_end_in_doubt_says_how_to_repeat_it_safely() {
    let node = Node::start();
    for verb in ["start", "end"] {
        let ran = node.ask(&["session", verb, "broken", "s1", "--identity", "vm-1"]);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{verb}");
        let id = node.seen().asked.last().unwrap()["requestId"].as_str().unwrap().to_owned();
        assert!(id.starts_with("cli-") && id.len() == 36, "{id}");
        assert!(ran.err.contains(&format!("--request-id {id} repeats this call safely")), "R-PIPE-6: {}", ran.err);
    }
}

fn heartbeat(node: &Node, org: &str, session: &str, format: &str) -> super::Ran {
    let of = ["session", "heartbeat", org, session, "--identity", "vm 1", "--incarnation", "boot-1", "--total", "90"];
    node.ask(&[of.as_slice(), &["--output", format]].concat())
}

#[test]
fn a_heartbeat_goes_on_with_or_without_a_warning_and_exits_0() {
    let node = Node::start();
    let ran = heartbeat(&node, "acme", "s1", "table");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
continue  acme  s1
state    running
booked   30s
compute  #####.....  2h used, 1m reserved of 4h
expires  2026-11-22T08:32:00Z (in 2m)
";
    assert_eq!(ran.out, expected);
    let asked = json!({
        "org": "acme", "sessionId": "s1", "identity": "vm 1", "incarnation": "boot-1", "totalSeconds": "90",
        "requestId": ""
    });
    assert_eq!(node.seen().asked, [asked]);

    let warned = heartbeat(&node, "late", "s1", "table");
    assert_eq!((warned.exit, warned.err.as_str()), (Exit::Done, ""));
    assert_eq!(warned.lines()[..3], ["warn      late  s1", "95 % is used.", "state    running"]);
    assert_eq!(warned.lines().last(), Some(&"upgrade  https://example.com/upgrade"));

    let endless = heartbeat(&node, "endless", SEEN_BEFORE, "table");
    assert_eq!(endless.lines()[0], "continue  endless  again  (replayed)");
    assert_eq!(endless.lines()[3..5], ["disputed  5s", "compute   2h used, 1m reserved of unlimited"]);
}

#[test]
fn a_heartbeat_that_must_stop_exits_3_and_says_how_long_is_left() {
    let node = Node::start();
    for (org, said, within, state) in [
        ("full", "Monthly quota exceeded.", "end within  30s", "state       running"),
        ("over", "The session has expired.", "end within  0s: at once", "state       expired"),
    ] {
        let ran = heartbeat(&node, org, "s1", "table");
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Denied, ""), "{org}");
        assert_eq!(ran.lines()[..4], [&format!("stop      {org}  s1"), said, within, state]);
    }
    let json = heartbeat(&node, "full", "s1", "json");
    assert_eq!((json.exit, json.err.as_str()), (Exit::Denied, ""));
    let expected = json!({
        "action": "SESSION_ACTION_STOP", "graceMs": "30000", "heartbeatIntervalMs": "0", "warnPercent": 0,
        "message": "Monthly quota exceeded.", "state": "SESSION_STATE_RUNNING", "bookedMs": "30000",
        "disputedMs": "0", "usedMs": (2 * HOUR).to_string(), "reservedMs": MINUTE.to_string(),
        "quotaMs": (4 * HOUR).to_string(), "unlimited": false, "expiresAtMs": (NOW_MS + 2 * MINUTE).to_string(),
        "replayed": false, "upgradeUrl": UPGRADE, "remainingMs": "0", "foldedScopes": []
    });
    assert_eq!(json.json(), expected);
}

#[test]
fn an_unknown_answer_to_a_heartbeat_is_an_error_and_not_a_stop() {
    let node = Node::start();
    let newer = heartbeat(&node, "newer", "s1", "table");
    assert_eq!(newer.exit, Exit::Error, "R-PIPE-5");
    assert_eq!(newer.err, "error: the answer is neither to continue nor to stop: action 9\n");
    assert_eq!(newer.lines()[0], "unknown   newer  s1");
    let broken = heartbeat(&node, "broken", "s1", "table");
    assert_eq!((broken.exit, broken.out.as_str()), (Exit::Error, ""));
    assert_eq!(broken.err, "error: the store cannot promise durability (UNAVAILABLE, STORE_FAULT)\n");
}

#[test]
fn an_end_shows_what_was_booked() {
    let node = Node::start();
    let ran =
        node.ask(&words("session end acme s1 --identity vm-1 --incarnation boot-1 --total 90 --request-id again"));
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
ended  acme  s1  (replayed)
session         s1
scope           -
identity        vm 1
state           ended
started         2026-11-22T08:26:55Z (3m 5s ago)
last heartbeat  2026-11-22T08:29:30Z (30s ago)
ended           2026-11-22T08:29:30Z (30s ago)
incarnation     boot-1
booked          30s
reserved        0s
disputed        5s
decision        0123456789abcdef0123456789abcdef
";
    assert_eq!(ran.out, expected);
    let asked = json!({
        "org": "acme", "sessionId": "s1", "identity": "vm-1", "requestId": "again", "incarnation": "boot-1",
        "totalSeconds": "90"
    });
    assert_eq!(node.seen().asked[0], asked);

    let json = node.ask(&words("session end acme s1 --identity vm-1 --output json"));
    assert_eq!((json.exit, json.err.as_str()), (Exit::Done, ""));
    assert_eq!(
        (&json.json()["session"]["state"], &json.json()["replayed"]),
        (&json!("SESSION_STATE_ENDED"), &json!(false))
    );
    assert_eq!(node.seen().asked[1].get("totalSeconds"), None, "the node books the time since the last heartbeat");
}

#[test]
fn a_session_is_shown_as_facts_or_as_the_message() {
    let node = Node::start();
    let ran = node.ask(&["session", "show", "acme", "s1"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.lines()[1..4], ["scope           workspace/w1", "identity        vm 1", "state           running"]);
    assert_eq!(ran.lines()[6], "expires         2026-11-22T08:31:00Z (in 1m)");
    let value = node.ask(&["session", "show", "acme", "s1", "--output", "json"]).json();
    assert_eq!((&value["session"]["sessionId"], &value["session"]["bookedMs"]), (&json!("s1"), &json!("30000")));

    let gone = node.ask(&["session", "show", "acme", "gone"]);
    assert_eq!((gone.exit, gone.out.as_str()), (Exit::Error, ""));
    assert_eq!(gone.err, "error: there is no session gone (NOT_FOUND, SESSION_UNKNOWN)\n");
}

#[test]
fn an_answer_without_a_session_is_an_error() {
    let node = Node::start();
    for args in ["session show empty s1", "session end empty s1 --identity vm-1"] {
        let ran = node.ask(&words(args));
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{args}");
        assert_eq!(ran.err, "error: the node's answer is incomplete: it has no session\n");
    }
}

#[test]
fn sessions_are_listed_up_to_a_limit_and_the_list_says_how_to_go_on() {
    let node = Node::start();
    let ran = node.ask(&["session", "list", "acme", "--ended", "--limit", "1200"]);
    assert_eq!((ran.exit, ran.lines().len()), (Exit::Done, 1201));
    let expected = [
        "SESSION  SCOPE         IDENTITY  STATE    BOOKED  RESERVED  DISPUTED  STARTED                           LAST HEARTBEAT                  ENDS",
        "s-0000   workspace/w1  vm 1      running     30s       30s        0s  2026-11-22T08:26:55Z (3m 5s ago)  2026-11-22T08:29:30Z (30s ago)  2026-11-22T08:31:00Z (in 1m)",
        "s-0001   -             vm 1      ended       30s        0s        5s  2026-11-22T08:26:55Z (3m 5s ago)  2026-11-22T08:29:30Z (30s ago)  2026-11-22T08:29:30Z (30s ago)",
    ];
    assert_eq!(ran.lines()[..3], expected);
    assert_eq!(ran.err, "there are more: --after 1200 continues\n");
    let pages = [
        json!({"org": "acme", "pageSize": 1000, "pageToken": "", "ended": true}),
        json!({"org": "acme", "pageSize": 200, "pageToken": "1000", "ended": true}),
    ];
    assert_eq!(node.seen().asked, pages);

    let rest = node.ask(&["session", "list", "acme", "--after", "1200", "--output", "json"]);
    assert_eq!((rest.err.as_str(), rest.json()["sessions"].as_array().unwrap().len()), ("", 300));
    assert_eq!((&rest.json()["nextPageToken"], &node.seen().asked[2]["ended"]), (&json!(""), &json!(false)));
    let none = node.ask(&["session", "list", "quiet"]);
    assert_eq!((none.exit, none.lines().len(), none.err.as_str()), (Exit::Done, 1, ""));
}

#[test]
fn session_status_says_for_each_org_whether_a_session_could_start_and_what_is_left() {
    let node = Node::start();
    let ran = node.ask(&["session", "status", "acme", "full", "endless", "--scope", "ws/1", "--scope", "agent/7"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""), "a status denies nothing");
    let expected = "\
ORG      CAN START  CODE            PLAN  TAKEN       USED  RESERVED      QUOTA     SESSIONS  TRY AGAIN IN  MESSAGE                  UPGRADE
acme     yes        -               free  #####.....    1h        1h         4h          1/3  -             -                        -
full     no         QUOTA_EXCEEDED  free  ##########    4h        0s         4h          1/3  1d 1h         Monthly quota exceeded.  https://example.com/upgrade
endless  yes        -               paid  -             1h        1h  unlimited  1/unlimited  -             -                        -
";
    assert_eq!(ran.out, expected);
    assert_eq!(node.seen().asked[0]["items"][1], json!({"org": "full", "scope": "ws/1", "scopes": ["agent/7"]}));
}

#[test]
fn session_status_of_an_org_that_fails_is_an_error_beside_the_others() {
    let node = Node::start();
    let failed = "error: broken: the record cannot be read (UNAVAILABLE, STORE_FAULT)\n\
                  error: mute: the node sent neither an answer nor an error\n";
    let ran = node.ask(&["session", "status", "broken", "acme", "mute"]);
    assert_eq!((ran.exit, ran.err.as_str(), ran.lines().len()), (Exit::Error, failed, 2));
    assert!(ran.lines()[1].starts_with("acme"), "{}", ran.out);
    let json = node.ask(&["session", "status", "broken", "acme", "mute", "--output", "json"]);
    let messages: Vec<_> = json.errors().iter().map(|error| error["message"].clone()).collect();
    let expected = ["broken: the record cannot be read", "mute: the node sent neither an answer nor an error"];
    assert_eq!((json.exit, messages), (Exit::Error, expected.map(Value::from).to_vec()));
    assert_eq!(json.json()["results"][0]["error"]["reason"], "STORE_FAULT");
    assert_eq!(json.json()["results"][1]["status"]["sessionsMax"], "3");

    let short = node.ask(&["session", "status", "acme", "dropped"]);
    assert_eq!((short.exit, short.out.as_str()), (Exit::Error, ""));
    assert_eq!(short.err, "error: the node's answer is incomplete: it has not one result for each org\n");
}
